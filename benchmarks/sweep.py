"""KMeans.fit of float32 points against scikit-learn's, over sizes: a table and a map of ratios.

    python benchmarks/sweep.py                          # all cells, some 15 minutes
    python benchmarks/sweep.py --n 1000 --features 64   # some of them
    python benchmarks/sweep.py --quick                  # three iterations, and fewer runs
    python benchmarks/sweep.py --resume                 # only what results/sweep.csv lacks
    python benchmarks/sweep.py --draw                   # the map of results/sweep.csv alone

Both get the same points (normal, so that they do not repeat), starts, number of iterations
and of threads. Kernels are compiled before, and the answers compared: see `check`. Calls of
either side alternate in blocks, with a pause for the other one's threads to come to rest; a
cell is the median of the ratios of its pairs of blocks. A ratio above 1 is in fastseg's favour.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
import warnings
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans as SklearnKMeans
from threadpoolctl import threadpool_limits

import fastseg

N_POINTS = (1_000, 10_000, 100_000, 1_000_000)
N_FEATURES = (1, 2, 3, 4, 8, 16, 32, 64, 128)
N_CLUSTERS = (2, 8, 32, 128, 512)
TINY = (1_000, 2, 3)
# Nowhere may fastseg take more than a tenth longer.
LEAST = 0.9
# Factor between two estimates of a ratio beyond which neither is worth much.
UNSTEADY = 1.5

# Seconds of a block of calls that are shorter, and of the pause after it.
BLOCK, PAUSE = 0.03, 0.05
# Pairs of blocks, as long as they fit into so many seconds a cell; from LONG seconds a pair
# on two must do.
MAX_PAIRS, MIN_PAIRS, BUDGET, LONG = 11, 3, 4.0, 1.5


@dataclass(frozen=True)
class Cell:
    """A measured cell: medians in milliseconds, and how far the answers agree.

    ``ratio`` is the median of the pairs', ``of_least`` that of the least times: where they
    differ much, something else was at work on the machine. OpenMP's threads, scikit-learn's,
    wait for each other, and take a hundred times as long when one has to wait for a processor.
    """

    n: int
    features: int
    clusters: int
    sklearn_ms: float
    fastseg_ms: float
    ratio: float
    lowest: float
    highest: float
    of_least: float
    pairs: int
    equal_labels: float


def cells(args) -> list[tuple[int, int, int]]:
    """Sizes to measure."""
    every = [(n, d, k) for n in args.n for d in args.features for k in args.clusters if k < n / 10]
    tiny = TINY[0] in args.n and TINY[1] in args.features
    return ([TINY] if tiny else []) + every


def seconds(work, times: int) -> float:
    """Median of some calls."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def check(ours, theirs, points) -> float:
    """Share of equal labels; exit where our answer is not that of float64.

    scikit-learn computes in float32, so that points near a border end elsewhere, and move
    centres of few points. Where that shows, it is asked again in float64.
    """
    differ = difference(ours, theirs)
    if differ is not None:
        wide = clone(theirs).set_params(init=theirs.init.astype(np.float64))
        differ = difference(ours, wide.fit(points.astype(np.float64)))
    if differ is not None:
        raise SystemExit(f"the answers differ: {differ}; no times are shown")
    return float(np.mean(ours.labels_ == theirs.labels_))


def difference(ours, theirs) -> str | None:
    """In what two fits differ by more than rounding of float32 in few points explains."""
    equal = float(np.mean(ours.labels_ == theirs.labels_))
    inertia = abs(ours.inertia_ / theirs.inertia_ - 1)
    size = float(np.std(ours.cluster_centers_))
    away = np.median(np.abs(ours.cluster_centers_ - theirs.cluster_centers_).max(axis=1)) / size
    if equal > 0.99 and inertia < 1e-3 and away < 1e-2 and ours.n_iter_ == theirs.n_iter_:
        return None
    return (
        f"{equal:.4f} of the labels are equal, the inertia differs by {inertia:.2g}, centres by"
        f" {away:.2g}, iterations are {ours.n_iter_} and {theirs.n_iter_}"
    )


def measure(points, k: int, args) -> Cell:
    n, d = points.shape
    start = points[np.random.default_rng(k).choice(n, k, replace=False)]
    given = {"init": start, "n_init": 1, "max_iter": args.iterations, "tol": 0.0}
    ours = fastseg.KMeans(k, n_threads=args.threads, **given)
    theirs = SklearnKMeans(k, **given)
    few = points[: max(2_000, k)]
    ours.fit(few)  # compiles
    theirs.fit(few)
    theirs_took = seconds(lambda: theirs.fit(points), 1)
    ours_took = seconds(lambda: ours.fit(points), 1)
    equal = check(ours, theirs, points)
    # Of a long call the first one counts as well.
    long = theirs_took + ours_took > LONG
    pairs = [(theirs_took, ours_took)] if long else []
    least, most = (2, 2) if long else (MIN_PAIRS, MAX_PAIRS)
    end = time.perf_counter() + args.budget
    while len(pairs) < least or (len(pairs) < most and time.perf_counter() < end):
        time.sleep(PAUSE)
        theirs_took = seconds(lambda: theirs.fit(points), max(1, int(BLOCK / theirs_took)))
        time.sleep(PAUSE)
        ours_took = seconds(lambda: ours.fit(points), max(1, int(BLOCK / ours_took)))
        pairs.append((theirs_took, ours_took))
    ratios = [a / b for a, b in pairs]
    return Cell(
        n, d, k,
        1e3 * statistics.median(a for a, _ in pairs), 1e3 * statistics.median(b for _, b in pairs),
        statistics.median(ratios), min(ratios), max(ratios),
        min(a for a, _ in pairs) / min(b for _, b in pairs), len(pairs), equal,
    )  # fmt: skip


def read(path: Path) -> dict[tuple[int, int, int], Cell]:
    """Cells of a file, by their sizes."""
    if not path.exists():
        return {}
    kinds = {"float": float, "int": int}
    with path.open(newline="") as file:
        found = [
            Cell(*(kinds[f.type](row[f.name]) for f in fields(Cell)))
            for row in csv.DictReader(file)
        ]
    return {(cell.n, cell.features, cell.clusters): cell for cell in found}


def write(path: Path, found: dict[tuple[int, int, int], Cell]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(asdict(next(iter(found.values()))))
        for _, cell in sorted(found.items()):
            table.writerow(f"{x:.5g}" if isinstance(x, float) else x for x in astuple(cell))
    beside.replace(path)


def draw(path: Path, found: dict[tuple[int, int, int], Cell]) -> None:
    """Map of the ratios: a panel for each number of points, features by clusters."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import TwoSlopeNorm

    sizes = sorted({n for n, _, _ in found})
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(1.2 + 3.3 * len(sizes), 4.8), squeeze=False, layout="constrained"
    )
    norm = TwoSlopeNorm(0.0, -2.0, 3.0)
    for panel, n in zip(panels[0], sizes, strict=True):
        grid = np.full((len(N_FEATURES), len(N_CLUSTERS)), np.nan)
        for row, d in enumerate(N_FEATURES):
            for column, k in enumerate(N_CLUSTERS):
                if (n, d, k) in found:
                    ratio = found[n, d, k].ratio
                    grid[row, column] = np.log2(ratio)
                    strong = not -1 < np.log2(ratio) < 1.7
                    panel.text(
                        column, row, f"{ratio:.{2 if ratio < 2 else 1 if ratio < 10 else 0}f}",
                        ha="center", va="center", fontsize=9, color="white" if strong else "black",
                        fontweight="bold" if ratio < LEAST else "normal",
                    )  # fmt: skip
        colors = panel.imshow(grid, cmap="RdBu", norm=norm, aspect="auto")
        panel.set_xticks(range(len(N_CLUSTERS)), N_CLUSTERS)
        panel.set_yticks(range(len(N_FEATURES)), N_FEATURES)
        panel.set_xlabel("clusters")
        panel.set_title(f"{n:,} points")
    panels[0, 0].set_ylabel("features")
    bar = figure.colorbar(colors, ax=panels, label="scikit-learn's time / fastseg's", extend="both")
    ticks = [0.25, 0.5, 1, 2, 4, 8]
    bar.set_ticks([np.log2(t) for t in ticks], labels=[f"{t:g}" for t in ticks])
    if TINY in found:
        figure.supxlabel(f"{TINY[0]:,} x {TINY[1]}, k = {TINY[2]}: {found[TINY].ratio:.2f}")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def summary(found: list[Cell]) -> str:
    least = min(found, key=lambda cell: cell.ratio)
    slow = sorted((cell for cell in found if cell.ratio < LEAST), key=lambda cell: cell.ratio)
    words = ", ".join(f"{c.n:,} x {c.features} k={c.clusters} ({c.ratio:.2f})" for c in slow)
    unsteady = sum(not 1 / UNSTEADY < cell.ratio / cell.of_least < UNSTEADY for cell in found)
    return (
        f"{len(found)} cells; the lowest ratio is {least.ratio:.2f} at {least.n:,} x"
        f" {least.features}, k={least.clusters}; below {LEAST}: {len(slow)} cells"
        + (f": {words}" if slow else "")
        + (f"; unsteady, to be measured again: {unsteady}" if unsteady else "")
    )


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=N_POINTS, help="numbers of points")
    parser.add_argument("--features", type=int, nargs="+", default=N_FEATURES)
    parser.add_argument("--clusters", type=int, nargs="+", default=N_CLUSTERS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="three iterations, fewer runs")
    parser.add_argument("--resume", action="store_true", help="keep what the file has already")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "sweep",
        help="path of the .csv and .png, without suffix",
    )  # fmt: skip
    args = parser.parse_args()
    args.budget = 0.5 if args.quick else BUDGET
    args.iterations = min(3, args.iterations) if args.quick else args.iterations
    return args


def main() -> None:
    args = arguments()
    table = args.output.with_suffix(".csv")
    found = read(table)
    wanted = [] if args.draw else cells(args)
    if args.resume:
        wanted = [cell for cell in wanted if cell not in found]
    print(f"{'n':>9} {'D':>4} {'k':>4}  {'scikit-learn':>12} {'fastseg':>11}  ratio (spread)")
    if wanted and hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5:
        print(
            f"The load is {os.getloadavg()[0]:.1f}: other work distorts the times, OpenMP's most."
        )
    began = time.perf_counter()
    points = np.empty((0, 0))
    with threadpool_limits(args.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
        for n, d, k in wanted:
            if points.shape != (n, d):
                points = np.random.default_rng(d).normal(size=(n, d)).astype(np.float32)
            cell = found[n, d, k] = measure(points, k, args)
            print(
                f"{n:>9} {d:>4} {k:>4}  {cell.sklearn_ms:>9.3f} ms {cell.fastseg_ms:>8.3f} ms "
                f" {cell.ratio:.2f} ({cell.lowest:.2f} to {cell.highest:.2f})",
                flush=True,
            )
            write(table, found)
    if not found:
        raise SystemExit(f"{table} holds no cells to draw")
    draw(args.output.with_suffix(".png"), found)
    print(f"{len(wanted)} cells in {time.perf_counter() - began:.0f} s; all of {table}:")
    print(summary(list(found.values())))


if __name__ == "__main__":
    main()
