"""Repeated points in cells, so that most of them are assigned many at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from ..backend import Array, FloatArray, Partials, Tick
from . import filtering
from .jit import array, compiled
from .pool import run_chunks

# Below these a plain pass is as fast.
_MIN_POINTS = 4096
MIN_CLUSTERS = 3
_MAX_FEATURES = 8
# Integers of up to 2**53 are exact in float64, and so are their sums in any order.
_EXACT_SUM = 2.0**53
_BLOCKS_PER_CHUNK = 64


def worthwhile(values: Array) -> bool:
    """Whether cells of such points pay."""
    return len(values) >= _MIN_POINTS and 1 < values.shape[1] <= _MAX_FEATURES


class Cells:
    """Points in Z-order, and box, sum, weight and scatter of each run of them."""

    def __init__(self, values: Array, weights: FloatArray, n_threads: int) -> None:
        self.n_threads = n_threads
        # Channel by channel: along rows of a few values NumPy is slow.
        low = np.array([channel.min() for channel in values.T], np.float64)
        high = np.array([channel.max() for channel in values.T], np.float64)
        order = _z_order(values, low, high)
        self.values, self.weights = values.take(order, axis=0), weights.take(order)
        n, d = values.shape
        n_cells = -(-n // filtering.CELL)
        self.low, self.high, self.sums = (np.empty((n_cells, d)) for _ in range(3))
        self.totals, self.scatter = np.empty(n_cells), np.empty(n_cells)
        self._kernel(filtering.summarize_cells)(
            self.values, self.weights, self.low, self.high, self.sums, self.totals, self.scatter
        )
        starts = np.arange(0, n_cells, filtering.BLOCK)
        self.block_sums = np.add.reduceat(self.sums, starts)
        self.block_totals = np.add.reduceat(self.totals, starts)
        means = (self.block_sums / self.block_totals[:, None])[
            np.arange(n_cells) // filtering.BLOCK
        ]
        away = ((self.sums / self.totals[:, None] - means) ** 2).sum(axis=1)
        self.block_scatter = np.add.reduceat(self.scatter + self.totals * away, starts)
        self.extent = np.maximum(np.abs(low), np.abs(high))
        largest = float(self.extent.max()) * float(weights.sum())
        self.exact = values.dtype.kind in "ui" and largest < _EXACT_SUM

    def accumulate(self, centers: FloatArray, tick: Tick | None) -> Partials:
        """See `Points.accumulate`."""
        kernel = self._kernel(filtering.accumulate_cells)
        unroll = (0,) * self.values.shape[1]
        columns = np.ascontiguousarray(centers.T)
        # Squares of this size carry rounding errors of some 1e-15 of themselves.
        reach = np.maximum(self.extent, np.abs(centers).max(axis=0))
        margin = 1e-12 * float((reach**2).sum())
        step = filtering.BLOCK * _BLOCKS_PER_CHUNK
        total: list[Partials] = []

        def task(chunk: int) -> Partials:
            sums, totals = np.empty_like(centers), np.empty(len(centers))
            stop = min((chunk + 1) * step, len(self.totals))
            inertia = kernel(
                self.values, self.weights, self.low, self.high, self.sums, self.totals,
                self.scatter, self.block_sums, self.block_totals, self.block_scatter,
                self.exact, columns, margin, chunk * step, stop, unroll, sums, totals,
            )  # fmt: skip
            return Partials(sums, totals, inertia)

        def consume(chunk: int, part: Partials) -> None:
            total[:] = [total[0].merge(part)] if total else [part]

        n, size = len(self.values), step * filtering.CELL
        run_chunks(
            task,
            -(-len(self.totals) // step),
            self.n_threads,
            consume,
            None if tick is None else lambda done: tick(min(done * size, n), n),
        )
        return total[0]

    def _kernel(self, kernel: Callable[..., Any]) -> Any:
        points, read, table = (
            array(self.values.dtype.name, 2),
            array("float64"),
            array("float64", 2),
        )
        out, table_out = array("float64", written=True), array("float64", 2, written=True)
        if kernel is filtering.summarize_cells:
            return compiled(kernel, points, read, table_out, table_out, table_out, out, out)
        unroll = types.UniTuple(types.int64, self.values.shape[1])
        return compiled(
            kernel, points, read, table, table, table, read, read, table, read, read,
            types.boolean, table,
            types.float64, types.intp, types.intp, unroll, table_out, out,
        )  # fmt: skip


def _z_order(values: Array, low: FloatArray, high: FloatArray) -> Array:
    """Order of points along the Z-order curve; equal places keep their order."""
    n, d = values.shape
    # The number of the point takes the lower half of what is sorted.
    n_bits = min(10, 31 // d)
    places = np.arange(2**n_bits, dtype=np.uint64)
    spread = np.zeros_like(places)
    for b in range(n_bits):
        spread |= ((places >> np.uint64(b)) & np.uint64(1)) << np.uint64(b * d)
    scale = (2**n_bits - 1) / np.where(high > low, high - low, 1.0)
    keys = np.empty(n, np.uint64)
    kernel = compiled(
        filtering.z_keys,
        array(values.dtype.name, 2),
        array("float64"),
        array("float64"),
        array("uint64"),
        types.UniTuple(types.int64, d),
        array("uint64", written=True),
    )
    kernel(values, low, scale, spread, (0,) * d, keys)
    keys.sort()
    return (keys & np.uint64(2**32 - 1)).astype(np.int64)
