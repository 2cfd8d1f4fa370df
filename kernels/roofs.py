"""What the processor can do at most: fused multiply-adds, and bytes copied, a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu.pool import run_chunks

# Sums that are independent of each other, a cache line each, to hide the latency of an
# operation: the first fit into 16 registers of 32 bytes, the others into 32 of 64.
_CHAINS, _LINE = (6, 12), 64
_ROUNDS = 500_000


def _fused(bits: int, chains: int) -> Any:
    """Loop of ``n`` rounds of fused multiply-adds on registers, as a kernel."""
    number = {32: ir.FloatType(), 64: ir.DoubleType()}[bits]
    vector = ir.VectorType(number, 8 * _LINE // bits)

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

    fused: Any = intrinsic(loop)

    @njit(types.float64(types.intp), nogil=True)
    def kernel(n):
        return fused(n)

    return kernel


def fused_loop(bits: int) -> Callable[[int], float]:
    """Function that does so many rounds of multiply-adds on registers: a measure of pace."""
    return _fused(bits, _CHAINS[-1])  # type: ignore[no-any-return]


def fma_rate(bits: int, n_threads: int, runs: int = 25) -> float:
    """Operations a second of fused multiply-adds, of which each is two.

    The best of a loop on registers and of BLAS's product of matrices; ``bits`` is 32 or 64.
    """
    rates = []
    for chains in _CHAINS:
        kernel = _fused(bits, chains)
        work = 2 * chains * (8 * _LINE // bits) * _ROUNDS * n_threads

        def loop(_: int, kernel: Any = kernel) -> None:
            kernel(_ROUNDS)

        took = _seconds(lambda loop=loop: run_chunks(loop, n_threads, n_threads), runs)  # type: ignore[misc]
        rates.append(work / min(took))
    side = 1536
    a = np.random.default_rng(0).random((side, side)).astype(f"float{bits}")
    product = min(_seconds(lambda: a @ a, min(runs, 5)))
    return max(*rates, 2.0 * side**3 / product)


def copy_rate(n_threads: int, n_bytes: int = 2**28, runs: int = 7) -> float:
    """Bytes a second that are read and written together, of blocks far beyond any cache."""
    source, target = np.ones(n_bytes, np.uint8), np.zeros(n_bytes, np.uint8)
    step = 2**22

    def copy(chunk: int) -> None:
        np.copyto(target[chunk * step : (chunk + 1) * step], source[chunk * step :][:step])

    return 2 * n_bytes / min(_seconds(lambda: run_chunks(copy, n_bytes // step, n_threads), runs))


def _seconds(work: Callable[[], object], runs: int) -> list[float]:
    """Times of some runs, after one that compiles."""
    work()
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return took
