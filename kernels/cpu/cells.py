"""Repeated points in cells, most of which belong to one centre or a few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, TypeVar

import numpy as np
from numba import types

from ..backend import Array, FloatArray, Partials, Tick
from . import filtering
from .jit import array, compiled
from .pool import run_chunks
from .table_counter import in_chunks

T = TypeVar("T")

# Below so many a plain pass is as fast.
_MIN_POINTS = 4096
# More labels than the cells' own type holds.
MAX_CLUSTERS = 2**16
_MAX_FEATURES = 8
# Integers of up to 2**53 are exact in float64, and so are their sums in any order.
_EXACT_SUM = 2.0**53
# Blocks in a chunk: a millisecond or few.
_MAX_CHUNK = 64
_MIN_CHUNK = 8
CELLS_PER_CHUNK = 128


def possible(values: Array) -> bool:
    """Whether there are cells of such points."""
    return bool(1 < values.shape[1] <= _MAX_FEATURES)


def worthwhile(values: Array) -> bool:
    """Whether cells of such points pay."""
    return possible(values) and len(values) >= _MIN_POINTS


@dataclass
class _Assignment:
    """Clusters of the cells and points of the last pass, and what they sum up to.

    See `filtering.filter_cells`; the sums hold as far as they are exact.
    """

    owners: Array
    labels: Array
    sums: FloatArray
    totals: FloatArray


class Cells:
    """Points in Z-order, and box, sum, weight and scatter of each run of them."""

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
        starts = np.arange(0, n_cells, filtering.BLOCK)
        self.block_low = np.minimum.reduceat(self.low, starts)
        self.block_high = np.maximum.reduceat(self.high, starts)
        self.extent = np.maximum(np.abs(low), np.abs(high))
        largest = float(self.extent.max()) * float(weights.sum())
        self.exact = values.dtype.kind in "ui" and largest < _EXACT_SUM
        self.assignment: _Assignment | None = None

    def accumulate(self, centers: FloatArray, tick: Tick | None) -> Partials:
        """See `Points.accumulate`."""
        now, inertia = self._assign(centers, tick)
        if self.exact:
            return Partials(now.sums.copy(), now.totals.copy(), inertia)
        parts: list[Partials] = []

        def task(start: int, stop: int) -> Partials:
            part = Partials(np.empty_like(now.sums), np.empty_like(now.totals), 0.0)
            self._sum(
                self.planes, self.weights, now.owners, now.labels, start, stop, self._unroll,
                part.sums, part.weights,
            )  # fmt: skip
            return part

        self._run(task, lambda _, part: parts.append(part), tick)
        total = reduce(Partials.merge, parts)
        return Partials(total.sums, total.weights, inertia)

    def assign(
        self, centers: FloatArray, labels: Array, first_label: int, tick: Tick | None
    ) -> None:
        """See `Points.assign`."""
        now, _ = self._assign(centers, tick)
        kernel = compiled(
            filtering.label_cells,
            array("int32"),
            array("uint16", 2),
            array("uint32"),
            *(types.intp,) * 3,
            array(labels.dtype.name, written=True),
        )
        self._run(
            lambda start, stop: kernel(
                now.owners, now.labels, self.order, start, stop, first_label, labels
            ),
            lambda _, result: None,
            tick,
        )

    def _assign(self, centers: FloatArray, tick: Tick | None) -> tuple[_Assignment, float]:
        """Assignment to the nearest of the centres, and its inertia."""
        k, n_features = centers.shape
        now = self.assignment
        if now is None or len(now.totals) != k:
            now = self._all_in_the_first(k)
        self.assignment = None  # what an interrupted pass leaves is of no use
        columns, margin = self._columns(centers)
        inertia = np.empty(len(self.block_low))

        def task(start: int, stop: int) -> Partials:
            change = Partials(np.empty((k, n_features)), np.empty(k), 0.0)
            self._filter(
                self.planes, self.weights, self.low, self.high, self.sums, self.totals,
                self.scatter, self.block_low, self.block_high, columns, margin, start, stop,
                self._unroll, now.owners, now.labels, change.sums, change.weights, inertia,
            )  # fmt: skip
            return change

        def consume(_: int, change: Partials) -> None:
            now.sums += change.sums
            now.totals += change.weights

        # What changes is exact or of no use, so chunks may depend on the threads.
        step = len(self.block_low) // (2 * self.n_threads)
        self._run(task, consume, tick, min(max(step, _MIN_CHUNK), _MAX_CHUNK))
        self.assignment = now
        return now, float(inertia.sum())

    def _all_in_the_first(self, n_clusters: int) -> _Assignment:
        n_cells, n_features = self.sums.shape
        now = _Assignment(
            np.zeros(n_cells, np.int32),
            np.zeros((n_cells, filtering.CELL), np.uint16),
            np.zeros((n_clusters, n_features)),
            np.zeros(n_clusters),
        )
        now.sums[0], now.totals[0] = self.sums.sum(axis=0), self.totals.sum()
        return now

    # Once each: it takes as long to find a kernel as some cells take to filter.
    @cached_property
    def _filter(self) -> Any:
        read, table = array("float64"), array("float64", 2)
        return compiled(
            filtering.filter_cells,
            array(self.planes.dtype.name, 3),
            *(table,) * 4,
            *(read,) * 2,
            *(table,) * 3,
            types.float64,
            *(types.intp,) * 2,
            self._unroll_type,
            array("int32", written=True),
            array("uint16", 2, written=True),
            array("float64", 2, written=True),
            *(array("float64", written=True),) * 2,
        )

    @cached_property
    def _sum(self) -> Any:
        return compiled(
            filtering.sum_cells,
            array(self.planes.dtype.name, 3),
            array("float64", 2),
            array("int32"),
            array("uint16", 2),
            *(types.intp,) * 2,
            self._unroll_type,
            array("float64", 2, written=True),
            array("float64", written=True),
        )

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
        self,
        task: Callable[[int, int], T],
        consume: Callable[[int, T], None],
        tick: Tick | None,
        step: int = _MAX_CHUNK,
    ) -> None:
        """Results of ``task(first block, end)`` of all chunks of ``step`` blocks."""
        n_blocks, n = len(self.block_low), len(self.order)
        size = step * filtering.BLOCK * filtering.CELL
        run_chunks(
            lambda chunk: task(chunk * step, min((chunk + 1) * step, n_blocks)),
            -(-n_blocks // step),
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
