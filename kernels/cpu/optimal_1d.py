"""Kernels of the global optimum of weighted k-means on one channel.

On ascending values the clusters of an optimum are segments, and a layer of a dynamic
programme (Wang and Song 2011) finds for every prefix of the values the best start of
its last segment. The sum of w x**2 is the same for all partitions, so what is
maximised is the gain, the sum over segments of (sum w x)**2 / (sum w), and no sum of
squares is needed. Best starts ascend with the prefix and with the number of segments,
which bounds the candidates of a prefix between its neighbours' starts (divide and
conquer, Grønlund et al. 2017) and above its start in the layer before. SMAWK
(Aggarwal et al. 1987) looks at fewer candidates, but not at neighbouring ones: here
neighbours fill the lanes of a vector.

Sums, gains and their comparison are in double-double arithmetic (Dekker 1971): in
float64 the gain of a long prefix hides the differences between short ones, and a
candidate that is wrongly excluded there may be the best of a prefix before it. The
order of operations matters, so they must not be contracted or reassociated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import frexp, ldexp
from typing import Any

import numpy as np
from numba import njit, types

from ..backend import Array, FloatArray, Tick
from .double_double import add, two_product, two_sum
from .jit import array, compiled
from .pool import run_chunks

# Candidates evaluated at a time, in the L1 cache.
BATCH = 512
# Rows with more candidates than this are not gathered with others.
LONG = 32
# Rows that a task solves on its own, between two that are known; powers of two.
_MIN_BLOCK, _MAX_BLOCK = 2**11, 2**14
# Values summed up by one call.
_CHUNK = 2**18
# Below this many rows a layer takes less than waking another thread.
_MIN_PARALLEL = 2**13
# From this many rows on, the few long rows that come first are shared as well.
_MIN_PARALLEL_COARSE = 2**17

# np.uint64 subscripts spare a test for negative ones, which keeps loops from vectorising.
U = np.uint64


@njit(nogil=True, error_model="numpy")
def add_gain(s, s_low, w, w_low, g, g_low):
    """``g + s**2 / w`` in double-double."""
    p, p_low = two_product(s, s)
    p_low += 2.0 * s * s_low
    q = p / w
    x, x_low = two_product(q, w)
    q_low = ((((p - x) - x_low) + p_low) - q * w_low) / w
    y, y_low = two_sum(g, q)
    y_low += g_low + q_low
    high = y + y_low
    return high, y_low - (high - y)


def prefix_sums(
    values,  # IN (m,) float64
    weights,  # IN (m,) float64
    origin,  # subtracted from the values
    scale,  # of the values, a power of two
    weight_scale,  # a power of two
    start,  # first value of the chunk, up to which the sums are known
    stop,
    sums,  # INOUT (4, m + 1) float64: sums of w x, their low parts, sums of w, low parts
    gains,  # INOUT (2, m + 1) float64, gains of single segments, low parts
):
    """Sums over the prefixes of the values, and the layer of one segment."""
    s, s_low, w, w_low = sums[0, start], sums[1, start], sums[2, start], sums[3, start]
    for i in range(start, stop):
        x, x_low = two_sum(values[i], -origin)
        weight = weights[i] * weight_scale
        p, p_low = two_product(x * scale, weight)
        s, s_low = add(s, s_low, p, p_low + x_low * scale * weight)
        w, w_low = add(w, w_low, weight, 0.0)
        sums[0, i + 1], sums[1, i + 1], sums[2, i + 1], sums[3, i + 1] = s, s_low, w, w_low
        gains[0, i + 1], gains[1, i + 1] = add_gain(s, s_low, w, w_low, 0.0, 0.0)


@njit(nogil=True)
def long_row(
    sums,  # IN (4, m + 1) float64
    before,  # IN (2, m + 1) float64, gains of the layer before
    row,  # uint64, end of the last segment
    first,  # uint64, first candidate
    last,  # uint64, last candidate
    batch,  # SCRATCH (6, BATCH) float64
):
    """Best start of the last segment, the lowest of equals, with the gain and its low part."""
    s, s_low, w, w_low = sums[0], sums[1], sums[2], sums[3]
    g, g_low = before[0], before[1]
    high, low = batch[0], batch[1]
    s_row, s_row_low, w_row, w_row_low = s[row], s_low[row], w[row], w_low[row]
    best, best_low, start = -np.inf, 0.0, first
    while first <= last:
        stop = min(first + U(BATCH), last + U(1))
        for j in range(first, stop):
            a, a_low = add(s_row, s_row_low, -s[j], -s_low[j])
            b, b_low = add(w_row, w_row_low, -w[j], -w_low[j])
            high[j - first], low[j - first] = add_gain(a, a_low, b, b_low, g[j], g_low[j])
        for t in range(stop - first):
            if high[t] >= best and (high[t] > best or low[t] > best_low):
                best, best_low, start = high[t], low[t], first + t
        first = stop
    return np.int64(start), best, best_low


@njit(nogil=True)
def short_rows(
    sums,  # IN (4, m + 1) float64
    before,  # IN (2, m + 1) float64, gains of the layer before
    pairs,  # IN (2, BATCH) uint64, row and candidate, row by row
    ends,  # IN (BATCH,) uint64, end of each row's pairs
    n_rows,  # uint64
    batch,  # SCRATCH (6, BATCH) float64
    after,  # OUT (2, m + 1) float64, gains
    starts,  # OUT (m + 1,) int32, starts of the last segments
):
    """What `long_row` does, for many rows of few candidates each."""
    s, s_low, w, w_low = sums[0], sums[1], sums[2], sums[3]
    g, g_low = before[0], before[1]
    a, a_low, b, b_low, high, low = batch[0], batch[1], batch[2], batch[3], batch[4], batch[5]
    rows, candidates = pairs[0], pairs[1]
    n_pairs = ends[n_rows - U(1)] if n_rows > U(0) else U(0)
    for t in range(n_pairs):
        i, j = rows[t], candidates[t]
        a[t], a_low[t] = add(s[i], s_low[i], -s[j], -s_low[j])
        b[t], b_low[t] = add(w[i], w_low[i], -w[j], -w_low[j])
        high[t], low[t] = g[j], g_low[j]
    for t in range(n_pairs):
        high[t], low[t] = add_gain(a[t], a_low[t], b[t], b_low[t], high[t], low[t])
    first: Any = U(0)
    for r in range(n_rows):
        best = first
        for t in range(first + U(1), ends[r]):
            if high[t] >= high[best] and (high[t] > high[best] or low[t] > low[best]):
                best = t
        i = rows[first]
        after[0, i], after[1, i], starts[i] = high[best], low[best], candidates[best]
        first = ends[r]


def lowest_row(
    sums,  # IN (4, m + 1) float64, from `prefix_sums`
    before,  # IN (2, m + 1) float64, gains of the layer before, low parts
    starts_before,  # IN (m + 1,) int32
    lowest_before,  # lowest row of the layer before that is solved
    n_later,  # layers after this one
):
    """Lowest row that the later layers look at: starts ascend with the layer, too."""
    batch = np.empty((6, BATCH))
    row = last = len(starts_before) - 1
    for _ in range(n_later):
        if row <= lowest_before:
            break
        first = max(int(starts_before[row]), lowest_before)
        last = max(first, min(last, row - 1))
        row = last = long_row(sums, before, U(row), U(first), U(last), batch)[0]
    return max(row, lowest_before + 1)


def solve_rows(
    sums,  # IN (4, m + 1) float64, from `prefix_sums`
    before,  # IN (2, m + 1) float64, gains of the layer before, low parts
    starts_before,  # IN (m + 1,) int32
    lowest_before,  # lowest row of the layer before that is solved
    lowest,  # lowest row of this layer to solve
    begin,  # rows begin + stride, begin + 3 stride, ... below end,
    end,  # then the same for half the stride, and so on
    stride,  # the first
    last_stride,
    after,  # OUT (2, m + 1) float64, gains of this layer, low parts
    starts,  # INOUT (m + 1,) int32, starts of the last segments
):
    """Solve rows between rows that are known; a row is the end of a prefix."""
    m = len(starts) - 1
    batch = np.empty((6, BATCH))
    pairs = np.empty((2, BATCH), np.uint64)
    ends = np.empty(BATCH, np.uint64)
    while stride >= last_stride:
        n_pairs, n_rows = 0, 0
        skipped = max(0, (lowest - begin + stride - 1) // (2 * stride))
        for row in range(begin + stride + 2 * stride * skipped, end, 2 * stride):
            first, last = max(int(starts_before[row]), lowest_before), row - 1
            if row - stride >= lowest:
                first = max(first, int(starts[row - stride]))
            if row + stride <= m:
                # Rounding decides exact ties, and then bounds can cross.
                last = max(first, min(last, int(starts[row + stride])))
            if last - first >= LONG:
                start, gain, low = long_row(sums, before, U(row), U(first), U(last), batch)
                after[0, row], after[1, row], starts[row] = gain, low, start
                continue
            if n_pairs + last - first >= BATCH:
                short_rows(sums, before, pairs, ends, U(n_rows), batch, after, starts)
                n_pairs, n_rows = 0, 0
            for j in range(first, last + 1):
                pairs[0, n_pairs] = row
                pairs[1, n_pairs] = j
                n_pairs += 1
            ends[n_rows] = n_pairs
            n_rows += 1
        short_rows(sums, before, pairs, ends, U(n_rows), batch, after, starts)
        stride //= 2


@cache
def _kernels() -> tuple[Any, Any, Any]:
    vector, table, n = array("float64"), array("float64", 2), types.intp
    out, starts = array("float64", 2, written=True), array("int32", written=True)
    layer = table, table, array("int32"), n
    return (
        compiled(prefix_sums, vector, vector, *(types.float64,) * 3, n, n, out, out),
        compiled(lowest_row, *layer, n),
        compiled(solve_rows, *layer, *(n,) * 5, out, starts),
    )


@dataclass(frozen=True)
class Solution:
    """Best partitions of every prefix of m values, and what their means are made of.

    ``starts[k - 1, i]`` is the start of the last of k segments of the first i values; of
    the last k only ``i = m`` is computed. The values i to j - 1 have the mean ``origin``
    + s / w / ``scale``, with s and w the differences of columns j and i of ``sums``.
    """

    starts: Array  # (max_clusters, m + 1) int32
    sums: FloatArray  # (4, m + 1), s, its low part, w, its low part
    origin: float
    scale: float


def solve(
    values: FloatArray,
    weights: FloatArray,
    max_clusters: int,
    n_threads: int,
    tick: Callable[[int], Tick | None] = lambda layer: None,
) -> Solution:
    """Best partitions of ascending values into 1 to ``max_clusters`` segments.

    ``tick(layer)`` makes the function to call between the chunks of a layer.
    """
    m = len(values)
    origin = float(values[m // 2])
    # Powers of two, which lose nothing, keep squares and their errors from over- and underflow.
    scale, weight_scale = (
        ldexp(1.0, -max(frexp(x)[1], -1000)) for x in (values[-1] - values[0], weights.sum())
    )
    sums, before, after = np.zeros((4, m + 1)), np.zeros((2, m + 1)), np.empty((2, m + 1))
    starts = np.zeros((max_clusters, m + 1), np.int32)
    given = values, weights, origin, scale, weight_scale

    def sum_up(chunk: int) -> None:
        stop = min((chunk + 1) * _CHUNK, m)
        _kernels()[0](*given, chunk * _CHUNK, stop, sums, before)

    # One after the other, because each starts from the sums of the one before.
    run_chunks(sum_up, -(-m // _CHUNK), 1, tick=_of_values(tick(1), _CHUNK, m))
    lowest = 1
    for k in range(2, max_clusters + 1):
        layer, n_later = (sums, before, starts[k - 2], lowest), max_clusters - k
        lowest = _solve_layer(layer, n_later, after, starts[k - 1], n_threads, tick(k))
        before, after = after, before
    return Solution(starts, sums, origin, scale)


def _solve_layer(
    layer: tuple[FloatArray, FloatArray, Array, int],
    n_later: int,
    after: FloatArray,
    starts: Array,
    n_threads: int,
    tick: Tick | None,
) -> int:
    """Solve one layer, rows far apart before the blocks between; return the lowest row solved."""
    m = len(starts) - 1
    _, find_lowest, solve_some = _kernels()
    lowest = int(find_lowest(*layer, n_later))

    def run(size: int, stride: int, last_stride: int, min_parallel: int) -> None:
        skipped = lowest // size

        def task(chunk: int) -> None:
            begin = (skipped + chunk) * size
            end = min(begin + size, m + 1)
            solve_some(*layer, lowest, begin, end, stride, last_stride, after, starts)

        threads = n_threads if m - lowest >= min_parallel else 1
        run_chunks(task, m // size + 1 - skipped, threads, tick=_of_values(tick, size, m))

    block = min(_MAX_BLOCK, max(_MIN_BLOCK, (1 << m.bit_length()) // 32))
    stride = 1 << m.bit_length() - 1
    while stride >= block:
        run(2 * stride, stride, stride, _MIN_PARALLEL_COARSE)
        stride //= 2
    run(block, block // 2, 1, _MIN_PARALLEL)
    return lowest


def _of_values(tick: Tick | None, size: int, m: int) -> Callable[[int], None] | None:
    """The tick of `run_chunks`, for chunks of ``size`` of m values."""
    return None if tick is None else lambda n: tick(min(n * size, m), m)
