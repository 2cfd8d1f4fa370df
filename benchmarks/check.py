"""A guard against slower kernels, which needs no quiet machine: `make bench-check`.

    python benchmarks/check.py [--save]

Times each kernel on one thread, in turns with a yardstick (a loop of fused multiply-adds on
registers), and compares the ratio of the two with the committed one of this processor; fails
where one is more than 15 % above it. No absolute time is compared.

What else the machine does only ever adds time, and it adds it to both. So pieces of work
are short enough to fit between interruptions, of many rounds the fastest of each is taken,
and what seems too slow is measured again, up to three times, of which the lowest counts.
The rounds are divided into three parts as well: their ratios show how steady the figure is.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from cases import kernel_problem, photograph

from fastseg.bench import machine
from fastseg.kernels import roofs
from fastseg.kernels.cpu import CpuBackend
from fastseg.optimal_1d import optimal_1d

COMMITTED = Path(__file__).parent / "results" / "ratios.json"
LIMIT = 0.15
ROUNDS, TRIES = 150, 3
_FMA = roofs.fused_loop(32)


def _points(n, n_features, n_clusters):
    problem = kernel_problem("float32", n, n_features, n_clusters)
    return CpuBackend().put(problem.values, n_threads=1), problem.start


def accumulate(*shape):
    points, start = _points(*shape)
    return lambda: points.accumulate(start)


def assign(*shape):
    points, start = _points(*shape)
    labels = np.empty(shape[0], np.uint8)
    return lambda: points.assign(start, labels=labels)


def count_and_look_up():
    """On tables that are there: to clear 16 MB takes five times as long, and as memory likes."""
    pixels = np.resize(photograph(small=True).reshape(-1, 3), (500_000, 3))
    labels = np.empty(len(pixels), np.uint8)
    counting, looking = (CpuBackend().counter(pixels.dtype, 3, n_threads=1) for _ in range(2))
    looking.add(pixels)
    of_values = np.zeros(len(looking.distinct()[0]), np.uint8)

    def work():
        counting.add(pixels)
        looking.look_up(pixels, of_values, labels)

    return work


def optimum():
    counts = np.random.default_rng(0).integers(1, 10**6, 4096).astype(np.float64)
    values = np.arange(4096.0)
    return lambda: optimal_1d(values, counts, 4, n_threads=1)


# Makers of what is timed.
WORKS = {
    "accumulate, 3 features, 8 clusters": lambda: accumulate(500_000, 3, 8),
    "accumulate, 3 features, 64 clusters": lambda: accumulate(200_000, 3, 64),
    "accumulate, 13 features, 16 clusters": lambda: accumulate(100_000, 13, 16),
    "accumulate, 32 features, 32 clusters": lambda: accumulate(50_000, 32, 32),
    "assign, 3 features, 8 clusters": lambda: assign(500_000, 3, 8),
    "count and look up": count_and_look_up,
    "optimum of 4096 values": optimum,
}


def yardstick():
    _FMA(20_000)


def seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(work):
    """Ratio of the fastest of all rounds, and the lowest and highest of three parts of them."""
    work(), yardstick()
    times = np.array([(seconds(yardstick), seconds(work)) for _ in range(ROUNDS)])
    parts = [part.min(axis=0) for part in np.array_split(times, 3)]
    ratios = sorted(float(own / pace) for pace, own in parts)
    pace, own = times.min(axis=0)
    return float(own / pace), ratios[0], ratios[-1]


def lowest(name, limit):
    """As `measure`; where it is above a limit measured again, and the lowest taken."""
    work, found = WORKS[name](), []
    while len(found) < TRIES and (not found or min(found)[0] > limit):
        found.append(measure(work))
    return min(found)


def where():
    """What a ratio depends on: the processor, and the compiler of the kernels."""
    facts = machine.facts(1)
    return f"{facts['processor']}, {platform.machine()}, numba {facts['versions']['numba']}"


def main(args=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--save", action="store_true", help="make these ratios the committed ones")
    given = parser.parse_args(args)
    stored = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    committed = {} if given.save else stored.get(where())
    if committed is None:
        raise SystemExit(
            f"no ratios are committed for {where()} (there are: {'; '.join(stored) or 'none'});"
            " run benchmarks/check.py --save at the commit to compare with, and then this again"
        )
    found, slower = {}, []
    for name in WORKS:
        before = committed.get(name)
        limit = np.inf if before is None else (1 + LIMIT) * before
        ratio, low, high = lowest(name, limit)
        found[name] = round(ratio, 4)
        change = "" if before is None else f"; committed {before:.3f}, {ratio / before - 1:+.1%}"
        print(f"{name}: {ratio:.3f} ({low:.3f} to {high:.3f}){change}", flush=True)
        if ratio > limit:
            slower.append(name)
    if given.save:
        COMMITTED.write_text(json.dumps(stored | {where(): found}, indent=1) + "\n")
    elif slower:
        raise SystemExit(f"slower by more than {LIMIT:.0%}: {'; '.join(slower)}")


if __name__ == "__main__":
    main()
