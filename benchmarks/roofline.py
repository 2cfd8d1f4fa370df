"""What the kernels reach of the machine's arithmetic and of its memory.

    python benchmarks/roofline.py [--threads N] [--quick] [--output roofline.png]

Measured are, on all threads: fused multiply-adds of float32 and float64, the best of a loop on
registers and of BLAS's product of matrices; copying from memory to memory, read and written
bytes together; and the kernels on float32 points. A pass of n points of D features and
k clusters is taken as 2 n k D operations (a product and a sum, as half a centre's squared
length less its product with the point takes) and 4 n D bytes read, and those of the labels
written: what must be done, whatever else a kernel does. See S. Williams, A. Waterman,
D. Patterson, "Roofline: an insightful visual performance model for multicore architectures", 2009.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cpu.pool import run_chunks
from fastseg.kernels.cpu.threads import resolve_n_threads

CASES = (
    (8_000_000, 3, 8),
    (8_000_000, 3, 64),
    (8_000_000, 1, 4),
    (2_000_000, 13, 16),
    (1_000_000, 32, 32),
    (200_000, 128, 1024),
)
# Sums that are independent of each other, a cache line each, to hide the latency of an
# operation: the first fit into 16 registers of 32 bytes, the others into 32 of 64.
CHAINS, LINE = (6, 12), 64
COPIED = 2**28  # bytes, far beyond any cache


@dataclass(frozen=True)
class Roofs:
    """Operations (an FMA is two) and bytes a second."""

    float32: float
    float64: float
    copy: float


@dataclass(frozen=True)
class Rate:
    """What one kernel reached on one problem."""

    kernel: str
    n: int
    features: int
    clusters: int
    seconds: float

    @property
    def operations(self) -> float:
        return 2.0 * self.n * self.features * self.clusters

    @property
    def bytes(self) -> float:
        return 4.0 * self.n * (self.features + (self.kernel == "assign"))

    @property
    def name(self) -> str:
        n = f"{self.n / 1e6:g} M" if self.n >= 10**6 else f"{self.n / 1e3:g} k"
        return f"{n} x {self.features}, k={self.clusters}"


def seconds(work: Callable[[], object], runs: int = 7) -> list[float]:
    """Times of some runs, after one that compiles."""
    work()
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return took


def _fused(bits: int, chains: int):
    """Loop of ``n`` rounds of fused multiply-adds on registers, as a kernel."""
    number = {32: ir.FloatType(), 64: ir.DoubleType()}[bits]
    vector = ir.VectorType(number, 8 * LINE // bits)

    def loop(typing_context, n):
        def build(context, builder, signature, arguments):
            module = builder.module
            kind = ir.FunctionType(vector, [vector] * 3)
            name = f"llvm.fma.v{vector.count}f{bits}"
            fma = cgutils.get_or_insert_function(module, kind, name)
            factor = ir.Constant(vector, [0.9999] * vector.count)
            sums = [
                cgutils.alloca_once_value(builder, ir.Constant(vector, [i + 1.0] * vector.count))
                for i in range(chains)
            ]
            with cgutils.for_range(builder, arguments[0]):
                for total in sums:
                    builder.store(builder.call(fma, [builder.load(total), factor, factor]), total)
            result = builder.load(sums[0])
            for total in sums[1:]:
                result = builder.fadd(result, builder.load(total))
            last = builder.extract_element(result, ir.Constant(ir.IntType(32), 0))
            return builder.fpext(last, ir.DoubleType()) if bits == 32 else last

        return types.float64(types.intp), build

    loop = intrinsic(loop)

    @njit(types.float64(types.intp), nogil=True)
    def kernel(n):
        return loop(n)

    return kernel


def fma_rate(bits: int, n_threads: int) -> float:
    """Operations a second of fused multiply-adds."""
    rounds, rates = 500_000, []
    for chains in CHAINS:
        kernel = _fused(bits, chains)
        work = 2 * chains * (8 * LINE // bits) * rounds * n_threads
        took = seconds(lambda: run_chunks(lambda _: kernel(rounds), n_threads, n_threads), 25)  # noqa: B023
        rates.append(work / min(took))
    side = 1536
    a = np.random.default_rng(0).random((side, side)).astype(f"float{bits}")
    product = min(seconds(lambda: a @ a, 5))
    return max(*rates, 2.0 * side**3 / product)


def copy_rate(n_threads: int) -> float:
    """Bytes a second that are read and written together."""
    source, target = np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)
    step = 2**22

    def copy(chunk: int) -> None:
        np.copyto(target[chunk * step : (chunk + 1) * step], source[chunk * step :][:step])

    return 2 * COPIED / min(seconds(lambda: run_chunks(copy, COPIED // step, n_threads)))


def measure_roofs(n_threads: int) -> Roofs:
    """Rates of this machine."""
    return Roofs(fma_rate(32, n_threads), fma_rate(64, n_threads), copy_rate(n_threads))


def measure_rates(
    cases: Iterable[tuple[int, int, int]], n_threads: int, runs: int = 7
) -> list[Rate]:
    """Rates of the kernels on float32 points that do not repeat."""
    rates = []
    for n, d, k in cases:
        rng = np.random.default_rng(0)
        points = rng.random((n, d), dtype=np.float32)
        centers = points[rng.choice(n, k, replace=False)].astype(np.float64)
        resident = CpuBackend().put(points, n_threads=n_threads)
        resident.accumulate(centers)
        labels = np.empty(n, np.int32)

        def work(kernel, resident=resident, centers=centers, labels=labels):
            resident.bounds = None  # as if no point could be passed over
            if kernel == "accumulate":
                resident.accumulate(centers)
            else:
                resident.assign(centers, labels=labels)

        for kernel in ("accumulate", "assign"):
            took = statistics.median(seconds(partial(work, kernel), runs))
            rates.append(Rate(kernel, n, d, k, took))
    return rates


def table(roofs: Roofs, rates: list[Rate]) -> list[str]:
    """Lines of a table."""
    lines = [
        f"fused multiply-adds: {roofs.float32 / 1e9:.0f} GFLOP/s of float32,"
        f" {roofs.float64 / 1e9:.0f} of float64; copy {roofs.copy / 1e9:.1f} GB/s",
        f"{'points, clusters':<22} {'kernel':<10} {'ms':>8} {'ns/point':>8} {'GFLOP/s':>8}"
        f" {'% FMA32':>7} {'GB/s':>6} {'% copy':>6}",
    ]
    for rate in rates:
        flops, moved = rate.operations / rate.seconds, rate.bytes / rate.seconds
        lines.append(
            f"{rate.name:<22} {rate.kernel:<10} {1e3 * rate.seconds:>8.2f}"
            f" {1e9 * rate.seconds / rate.n:>8.2f} {flops / 1e9:>8.1f}"
            f" {100 * flops / roofs.float32:>7.1f} {moved / 1e9:>6.2f}"
            f" {100 * moved / roofs.copy:>6.1f}"
        )
    return lines


def draw(path: Path, roofs: Roofs, rates: list[Rate], title: str = "") -> None:
    """Roofline plot: operations a second over operations for a byte, and the roofs."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5.2), layout="constrained")
    intensity = [rate.operations / rate.bytes for rate in rates]
    ends = np.array([min(intensity) / 2, max(intensity) * 8])
    for flops, words, dash in ((roofs.float32, "float32", "-"), (roofs.float64, "float64", "--")):
        ridge = flops / roofs.copy
        x = np.array([ends[0], ridge, ends[1]])
        axes.plot(x, np.minimum(flops, roofs.copy * x) / 1e9, dash, color="0.35", lw=1.4)
        axes.annotate(
            f"{words} FMA {flops / 1e9:.0f} GFLOP/s", (ends[1], flops / 1e9), ha="right",
            va="bottom", xytext=(0, 2), textcoords="offset points", fontsize=9,
        )  # fmt: skip
    left = 1.6 * ends[0]
    axes.annotate(
        f"copy {roofs.copy / 1e9:.1f} GB/s", (left, roofs.copy * left / 1e9), ha="left", va="top",
        xytext=(4, -8), textcoords="offset points", fontsize=9,
    )  # fmt: skip
    for kernel, mark, color in (("accumulate", "o", "tab:blue"), ("assign", "^", "tab:orange")):
        chosen = [rate for rate in rates if rate.kernel == kernel]
        axes.plot(
            [r.operations / r.bytes for r in chosen],
            [r.operations / r.seconds / 1e9 for r in chosen],
            mark, color=color, label=kernel, ls="none", ms=7,
        )  # fmt: skip
        if kernel == "accumulate":
            for rate in chosen:
                place = rate.operations / rate.bytes, rate.operations / rate.seconds / 1e9
                axes.annotate(
                    rate.name, place, xytext=(8, -4), textcoords="offset points", fontsize=8,
                    va="top",
                )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlim=ends, title=title,
        xlabel="operations for a byte of points and labels", ylabel="GFLOP/s",
    )  # fmt: skip
    axes.grid(which="both", color="0.92")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=None, help="by default all")
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the points")
    parser.add_argument("--output", type=Path, help="draw the plot into this .png file")
    args = parser.parse_args()
    n_threads = resolve_n_threads(args.threads)
    cases = [(n // 16 if args.quick else n, d, k) for n, d, k in CASES]
    roofs = measure_roofs(n_threads)
    rates = measure_rates(cases, n_threads)
    print(f"{n_threads} threads")
    print("\n".join(table(roofs, rates)))
    if args.output is not None:
        draw(args.output, roofs, rates, f"float32 points on {n_threads} threads")


if __name__ == "__main__":
    main()
