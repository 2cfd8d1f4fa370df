"""What the kernels reach of the machine's arithmetic and of its memory.

    python benchmarks/roofline.py [--threads N] [--quick] [--output roofline.svg]

Measured are, on all threads, the roofs (fused multiply-adds of float32 and float64, and
copying from memory to memory) and the kernels on float32 points; `fastseg.bench.roofline`
says what counts as an operation and as a byte.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fastseg.bench import plots
from fastseg.bench.roofline import CASES, Rate, Roofs, measure_rates, measure_roofs
from fastseg.kernels.cpu.threads import resolve_n_threads


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=None, help="by default all")
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the points")
    parser.add_argument("--output", type=Path, help="draw the plot into this .svg file")
    args = parser.parse_args()
    n_threads = resolve_n_threads(args.threads)
    cases = [(n // 16 if args.quick else n, d, k) for n, d, k in CASES]
    roofs = measure_roofs(n_threads, quick=args.quick)
    rates = measure_rates(cases, n_threads=n_threads)
    print(f"{n_threads} threads")
    print("\n".join(table(roofs, rates)))
    if args.output is not None:
        args.output.write_text(plots.svg(plots.roofline(roofs, rates)))


if __name__ == "__main__":
    main()
