"""Repeated points in cells, most of which belong to one centre or a few."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numba import types

from ..backend import Array, FloatArray, Partials, Tick
from . import filtering
from .jit import array, compiled
from .pool import run_chunks
from .table_counter import in_chunks

T = TypeVar("T")

# Below these a plain pass is as fast.
_MIN_POINTS = 4096
MIN_CLUSTERS = 3
_MAX_FEATURES = 8
# Integers of up to 2**53 are exact in float64, and so are their sums in any order.
_EXACT_SUM = 2.0**53
_BLOCKS_PER_CHUNK = 24
CELLS_PER_CHUNK = 128


def possible(values: Array) -> bool:
    """Whether there are cells of such points."""
    return bool(1 < values.shape[1] <= _MAX_FEATURES)


def worthwhile(values: Array) -> bool:
    """Whether cells of such points pay."""
    return possible(values) and len(values) >= _MIN_POINTS


class Cells:
    """Points in Z-order, and box, sum, weight and scatter of each run and block of runs."""

    def __init__(self, values: Array, weights: FloatArray, n_threads: int) -> None:
        self.n_threads = n_threads
        low, high = extent(values)
        self.order = z_order(values, low, high)
        n, d = values.shape
        n_cells = -(-n // filtering.CELL)
        self.planes = np.empty((n_cells, d, filtering.CELL), values.dtype)
        self.weights = np.empty((n_cells, filtering.CELL))
        self.low, self.high, self.sums = (np.empty((n_cells, d)) for _ in range(3))
        self.totals, self.scatter = np.empty(n_cells), np.empty(n_cells)
        read, vector = array("float64"), array("float64", written=True)
        table = array("float64", 2, written=True)
        lay_out = compiled(
            filtering.lay_out_cells,
            array(values.dtype.name, 2),
            read,
            array("uint32"),
            types.intp,
            types.intp,
            array(values.dtype.name, 3, written=True),
            *(table,) * 4,
            vector,
            vector,
        )
        in_chunks(
            lambda start, stop: lay_out(
                values, weights, self.order, start, stop, self.planes, self.weights,
                self.low, self.high, self.sums, self.totals, self.scatter,
            ),
            n_cells,
            CELLS_PER_CHUNK,
            n_threads,
        )  # fmt: skip
        self._make_blocks()
        self.extent = np.maximum(np.abs(low), np.abs(high))
        largest = float(self.extent.max()) * float(weights.sum())
        self.exact = values.dtype.kind in "ui" and largest < _EXACT_SUM

    def _make_blocks(self) -> None:
        cells = np.arange(len(self.totals))
        starts = cells[:: filtering.BLOCK]
        self.block_low = np.minimum.reduceat(self.low, starts)
        self.block_high = np.maximum.reduceat(self.high, starts)
        self.block_sums = np.add.reduceat(self.sums, starts)
        self.block_totals = np.add.reduceat(self.totals, starts)
        means = (self.block_sums / self.block_totals[:, None])[cells // filtering.BLOCK]
        away = ((self.sums / self.totals[:, None] - means) ** 2).sum(axis=1)
        self.block_scatter = np.add.reduceat(self.scatter + self.totals * away, starts)

    def accumulate(self, centers: FloatArray, tick: Tick | None) -> Partials:
        """See `Points.accumulate`."""
        kernel = self._accumulate
        columns, margin = self._columns(centers)
        total: list[Partials] = []

        def task(start: int, stop: int) -> Partials:
            sums, totals = np.empty_like(centers), np.empty(len(centers))
            inertia = kernel(
                self.planes, self.weights, self.low, self.high, self.sums, self.totals,
                self.scatter, self.block_low, self.block_high, self.block_sums,
                self.block_totals, self.block_scatter, self.exact, columns, margin,
                start, stop, self._unroll, sums, totals,
            )  # fmt: skip
            return Partials(sums, totals, inertia)

        def consume(chunk: int, part: Partials) -> None:
            total[:] = [total[0].merge(part)] if total else [part]

        self._run(task, consume, tick)
        return total[0]

    @cached_property
    def _accumulate(self) -> Any:
        # Once: it takes as long to find the kernel as some cells take to add.
        read, table = array("float64"), array("float64", 2)
        return compiled(
            filtering.accumulate_cells,
            array(self.planes.dtype.name, 3),
            *(table,) * 4,
            *(read,) * 2,
            *(table,) * 3,
            *(read,) * 2,
            types.boolean,
            table,
            types.float64,
            types.intp,
            types.intp,
            self._unroll_type,
            array("float64", 2, written=True),
            array("float64", written=True),
        )

    def assign(
        self, centers: FloatArray, labels: Array, first_label: int, tick: Tick | None
    ) -> None:
        """See `Points.assign`."""
        table = array("float64", 2)
        kernel = compiled(
            filtering.assign_cells,
            array(self.planes.dtype.name, 3),
            array("uint32"),
            *(table,) * 5,
            types.float64,
            types.intp,
            types.intp,
            self._unroll_type,
            types.intp,
            array(labels.dtype.name, written=True),
        )
        columns, margin = self._columns(centers)

        def task(start: int, stop: int) -> None:
            kernel(
                self.planes, self.order, self.low, self.high, self.block_low, self.block_high,
                columns, margin, start, stop, self._unroll, first_label, labels,
            )  # fmt: skip

        self._run(task, lambda chunk, result: None, tick)

    def _columns(self, centers: FloatArray) -> tuple[FloatArray, float]:
        """Centres feature by feature, and the rounding errors that squares of this size carry."""
        reach = np.maximum(self.extent, np.abs(centers).max(axis=0))
        return np.ascontiguousarray(centers.T), 1e-12 * float((reach**2).sum())

    @property
    def _unroll(self) -> tuple[int, ...]:
        return (0,) * int(self.planes.shape[1])

    @property
    def _unroll_type(self) -> Any:
        return types.UniTuple(types.int64, self.planes.shape[1])

    def _run(
        self, task: Callable[[int, int], T], consume: Callable[[int, T], None], tick: Tick | None
    ) -> None:
        n_blocks, n = len(self.block_totals), len(self.order)
        size = _BLOCKS_PER_CHUNK * filtering.BLOCK * filtering.CELL
        run_chunks(
            lambda chunk: task(
                chunk * _BLOCKS_PER_CHUNK, min((chunk + 1) * _BLOCKS_PER_CHUNK, n_blocks)
            ),
            -(-n_blocks // _BLOCKS_PER_CHUNK),
            self.n_threads,
            consume,
            None if tick is None else lambda done: tick(min(done * size, n), n),
        )


def extent(values: Array) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest value of each channel."""
    # Channel by channel: along rows of a few values NumPy is slow.
    return (
        np.array([channel.min() for channel in values.T], np.float64),
        np.array([channel.max() for channel in values.T], np.float64),
    )


def z_order(values: Array, low: FloatArray, high: FloatArray) -> Array:
    """Order of points along the Z-order curve; equal places keep their order."""
    n, d = values.shape
    # The number of the point takes the lower half of what is sorted.
    n_bits = min(10, 31 // d)
    places = np.arange(2**n_bits, dtype=np.uint64)
    spread = np.zeros_like(places)
    for b in range(n_bits):
        spread |= ((places >> np.uint64(b)) & np.uint64(1)) << np.uint64(b * d)
    # A span whose reciprocal overflows is none.
    scale = (2**n_bits - 1) / np.where(high - low > 1e-300, high - low, 1.0)
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
    return (keys & np.uint64(2**32 - 1)).astype(np.uint32)
