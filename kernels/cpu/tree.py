"""Ward's tree of weighted values, by the kernels of `ward`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types

from ..backend import Array, FloatArray, Tick
from . import ward
from .double_double import two_product
from .jit import array, compiled

# Merges, and searches of the chain, between two ticks.
_MERGES, _SEARCHES = 2**16, 2**9


@cache
def _kernels(one_channel: bool) -> tuple[Any, ...]:
    vector, sums = array("float64", written=True), array("float64", 3, written=True)
    table, whole = array("float64", 2, written=True), array("int64", written=True)
    pairs, n = array("int64", 2, written=True), types.intp
    if one_channel:
        return (
            compiled(ward.start_tournament, sums, vector, whole, table, whole),
            compiled(
                ward.merge_neighbours, n, n, sums, vector, whole, whole, whole, table, whole, pairs,
                table,
            ),
        )  # fmt: skip
    return (
        compiled(
            ward.follow_chain, n, sums, vector, array("float64"), table, whole, whole, whole, pairs,
            table,
        ),
    )  # fmt: skip


def tree_1d(values: FloatArray, weights: FloatArray, tick: Tick | None) -> tuple[Array, FloatArray]:
    """Merges of ascending values (m,), the cheapest first: nodes (m - 1, 2) and costs (2, m - 1).

    Node i is the i-th value, and node m + i the i-th merge; the lower node stands first.
    """
    start, merge_some = _kernels(True)
    m = len(values)
    sums, weights = _weighted(values[:, None], weights), weights.copy()
    following, before, nodes = np.arange(1, m + 1), np.arange(-1, m - 1), np.arange(m)
    costs, winners = np.empty((2, m)), np.empty(1 << max(1, (m - 1).bit_length()), np.int64)
    merged, heights = np.empty((m - 1, 2), np.int64), np.empty((2, m - 1))
    start(sums, weights, following, costs, winners)
    for first in range(0, m - 1, _MERGES):
        last = min(first + _MERGES, m - 1)
        merge_some(
            first, last, sums, weights, following, before, nodes, costs, winners, merged, heights
        )
        if tick is not None:
            tick(last, m - 1)
    return merged, heights


def tree_nd(
    values: FloatArray, weights: FloatArray, luminance: FloatArray, tick: Tick | None
) -> tuple[Array, FloatArray]:
    """Merges of values (m, d) of at most 1, in the order in which the chain meets them.

    As in `tree_1d`, the costs being followed by what ties are decided by: luminance and mean
    (d,) of the brighter cluster, and of the darker, (2 d + 4, m - 1) in all.
    """
    (follow,) = _kernels(False)
    m, d = values.shape
    sums, weights = _weighted(values, weights), weights.copy()
    centers = np.full((d + 2, -(-m // ward.LANES) * ward.LANES), ward.FAR)
    centers[d:] = 1.0
    light = sum(share * channel for share, channel in zip(luminance, values.T, strict=True))
    centers[:, :m] = [*values.T, weights, np.rint(light * ward.LIGHT) / ward.LIGHT]
    nodes, chain, state = np.arange(m), np.empty(m + 1, np.int64), np.array([m, 0])
    merged, heights = np.empty((m - 1, 2), np.int64), np.empty((2 * d + 4, m - 1))
    while state[0] > 1:
        follow(_SEARCHES, sums, weights, luminance, centers, nodes, chain, state, merged, heights)
        if tick is not None:
            tick(int(m - state[0]), m - 1)
    return merged, heights


def leaves_below(merged: Array) -> FloatArray:
    """Number of leaves (m - 1,) below each of the merges (m - 1, 2), which are in order."""
    leaves = np.empty(len(merged))
    counted = compiled(ward.count_leaves, array("int64", 2), array("float64", written=True))
    counted(np.ascontiguousarray(merged), leaves)
    return leaves


def _weighted(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Values (m, d) times their weights, with what rounding takes away, (2, d, m)."""
    sums = np.empty((2, values.shape[1], len(values)))
    for f, channel in enumerate(values.T):
        sums[0, f], sums[1, f] = two_product.py_func(channel, weights)
    return sums
