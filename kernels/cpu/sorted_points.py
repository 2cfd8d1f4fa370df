"""Points of one feature in ascending order, on which an iteration costs O(k log n).

The points of a centre are a segment between two binary searches, and what they add up
to is the difference of two prefix sums, in double-double arithmetic (Dekker 1971). The
sums are kept for every ``STEP``-th point only; the few points from there to the end of
a segment are added each time.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numba import njit, types

from ..backend import Array, Farthest, FloatArray, Partials, Tick
from .double_double import add, two_product
from .jit import array, compiled
from .points import CpuPoints
from .pool import run_chunks

# Points between two prefix sums.
STEP = 64
# Points summed up by one task.
_CHUNK = STEP * 2**11


@njit(nogil=True)
def plus(a, b):
    """Sum of two double-doubles (high, low)."""
    return add(a[0], a[1], b[0], b[1])


@njit(nogil=True)
def times(a, b):
    """Product of two double-doubles."""
    p, low = two_product(a[0], b[0])
    low += a[0] * b[1] + a[1] * b[0]
    high = p + low
    return high, low - (high - p)


@njit(nogil=True)
def minus(a, b):
    """Difference of two double-doubles."""
    return plus(a, (-b[0], -b[1]))


@njit(nogil=True)
def add_points(
    values,  # IN (n,)
    weights,  # IN (n,) float64, or (0,): every point weighs one
    origin,  # subtracted from the values
    start,
    stop,
    w,  # double-double: sum of weights
    s,  # sum of w x
    q,  # sum of w x**2
):
    """The sums, with the points from ``start`` to ``stop`` added."""
    for i in range(start, stop):
        x = plus((float(values[i]), 0.0), (-origin, 0.0))
        weight = (weights[i] if len(weights) > 0 else 1.0), 0.0
        p = times(weight, x)
        w, s, q = plus(w, weight), plus(s, p), plus(q, times(p, x))
    return w, s, q


def step_sums(
    values,  # IN (n,)
    weights,  # IN (n,) float64, or (0,): every point weighs one
    origin,  # subtracted from the values
    start,  # first point of the chunk, a multiple of STEP
    stop,
    sums,  # OUT (n // STEP + 1, 6) float64: sums of w, w x and w x**2 with low parts
):
    """Sum up every STEP points of a chunk, those from row x STEP on into the row."""
    zero = (0.0, 0.0)
    for first in range(start, stop, STEP):
        last = min(first + STEP, stop)
        w, s, q = add_points(values, weights, origin, first, last, zero, zero, zero)
        row = first // STEP
        sums[row, 0], sums[row, 1] = w
        sums[row, 2], sums[row, 3] = s
        sums[row, 4], sums[row, 5] = q


def sum_up(
    sums,  # INOUT (n // STEP + 1, 6) float64: what a row holds becomes what those before it hold
):
    """Turn the sums of steps into prefix sums."""
    w, s, q = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
    for row in range(len(sums)):
        a, b, c = w, s, q
        w = plus(w, (sums[row, 0], sums[row, 1]))
        s = plus(s, (sums[row, 2], sums[row, 3]))
        q = plus(q, (sums[row, 4], sums[row, 5]))
        sums[row, 0], sums[row, 1] = a
        sums[row, 2], sums[row, 3] = b
        sums[row, 4], sums[row, 5] = c


def find_bounds(
    values,  # IN (n,)
    centers,  # IN (k,) float64, distinct and ascending
    order,  # IN (k,) int64, index of each centre
    bounds,  # OUT (k + 1,) int64, the points of centre s are bounds[s] to bounds[s + 1]
):
    """Cut the points between neighbouring centres, where `nearest_in_tile` of lloyd.py does."""
    bounds[0] = 0
    for s in range(1, len(centers)):
        a, b = centers[s - 1], centers[s]
        low, high = bounds[s - 1], len(values)
        while low < high:
            middle = (low + high) // 2
            x = float(values[middle])
            to_a, to_b = (x - a) * (x - a), (x - b) * (x - b)
            if to_b < to_a or (to_b == to_a and order[s] < order[s - 1]):
                high = middle
            else:
                low = middle + 1
        bounds[s] = low
    bounds[len(centers)] = len(values)


def sum_segments(
    values,  # IN (n,)
    weights,  # IN (n,) float64, or (0,): every point weighs one
    origin,  # subtracted from the values
    sums,  # IN (n // STEP + 1, 6) float64, prefix sums
    bounds,  # IN (k + 1,) int64
    centers,  # IN (k,) float64
    out,  # OUT (3, k) float64: sums of w x, sums of w, inertia
):
    """What the points between the bounds add up to."""
    w, s, q = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
    for c in range(len(centers)):
        end = bounds[c + 1]
        row = end // STEP
        w0, s0, q0 = w, s, q
        w = sums[row, 0], sums[row, 1]
        s = sums[row, 2], sums[row, 3]
        q = sums[row, 4], sums[row, 5]
        w, s, q = add_points(values, weights, origin, row * STEP, end, w, s, q)
        dw, ds, dq = minus(w, w0), minus(s, s0), minus(q, q0)
        center = plus((centers[c], 0.0), (-origin, 0.0))
        # sum w (x - c)**2 = (q - c s) - c (s - c w)
        inner = minus(ds, times(center, dw))
        out[2, c] = max(0.0, minus(minus(dq, times(center, ds)), times(center, inner))[0])
        out[0, c] = plus(ds, times((origin, 0.0), dw))[0]
        out[1, c] = dw[0]
        if bounds[c] == end:
            out[:, c] = 0.0


class SortedPoints(CpuPoints):
    """Points (n, 1) in ascending order, used in place."""

    def __init__(
        self, values: Array, weights: FloatArray | None, repeated: bool, n_threads: int
    ) -> None:
        super().__init__(values, weights, repeated, n_threads)
        self.line = values[:, 0]
        if values.shape[1] != 1 or not (self.line[1:] >= self.line[:-1]).all():
            raise ValueError("values must have one feature and ascend")
        self.origin = float(self.line[len(values) // 2])
        # The last row is for what ends with the last point.
        self.sums = np.zeros((self.n_points // STEP + 1, 6))
        line, read, written = self._line_type(), array("float64"), array("float64", 2, written=True)
        kernel = compiled(step_sums, line, read, types.float64, types.intp, types.intp, written)

        def task(chunk: int) -> None:
            stop = min((chunk + 1) * _CHUNK, self.n_points)
            kernel(self.line, self._weights(), self.origin, chunk * _CHUNK, stop, self.sums)

        run_chunks(task, -(-self.n_points // _CHUNK), n_threads)
        compiled(sum_up, written)(self.sums)

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Points.accumulate`."""
        cut = self._cut(centers)
        if cut is None:
            return super().accumulate(centers, tick)
        order, bounds = cut
        out = np.empty((3, len(order)))
        line, read, table = self._line_type(), array("float64"), array("float64", 2)
        kernel = compiled(
            sum_segments, line, read, types.float64, table, array("int64"), read,
            array("float64", 2, written=True),
        )  # fmt: skip
        kernel(self.line, self._weights(), self.origin, self.sums, bounds, centers[order, 0], out)
        sums, totals = np.zeros_like(centers), np.zeros(len(centers))
        sums[order, 0], totals[order] = out[0], out[1]
        return Partials(sums, totals, float(out[2].sum()))

    def assign(
        self,
        centers: FloatArray,
        *,
        labels: Array | None = None,
        first_label: int = 0,
        tick: Tick | None = None,
    ) -> Array:
        """See `Points.assign`."""
        cut = self._cut(centers)
        if cut is None:
            return super().assign(centers, labels=labels, first_label=first_label, tick=tick)
        if labels is None:
            labels = np.empty(self.n_points, np.int32)
        for label, start, stop in zip(cut[0], cut[1][:-1], cut[1][1:], strict=True):
            labels[start:stop] = label + first_label
        return labels

    def farthest(self, centers: FloatArray, size: int, tick: Tick | None = None) -> Farthest:
        """See `Points.farthest`."""
        cut = self._cut(centers)
        if cut is None:
            return super().farthest(centers, size, tick)
        order, bounds = cut
        pieces = [
            self._ends(float(centers[label, 0]), int(start), int(stop), size)
            for label, start, stop in zip(order, bounds[:-1], bounds[1:], strict=True)
        ]
        labels = np.repeat(order, [len(piece) for piece in pieces]).astype(np.int32)
        rows = np.concatenate(pieces)
        values = self.values[rows]
        distances = (values[:, 0].astype(np.float64) - centers[labels, 0]) ** 2
        weights = None if self.weights is None else self.weights[rows]
        return Farthest.of(size, values, weights, labels, distances, self.repeated)

    def _ends(self, center: float, start: int, stop: int, size: int) -> Array:
        """Rows of a segment among which are its ``size`` farthest points, ascending.

        Of equally far points the first ones, which only takes care on the right.
        """

        def distance(row: int) -> float:
            return (float(self.line[row]) - center) ** 2

        middle = start + bisect_left(
            range(start, stop), center, key=lambda row: float(self.line[row])
        )
        left = np.arange(start, min(start + size, middle))
        right: list[Array] = []
        while size > 0 and stop > middle:
            first = middle + bisect_left(range(middle, stop), distance(stop - 1), key=distance)
            right.insert(0, np.arange(first, min(first + size, stop)))
            size -= len(right[0])
            stop = first
        return np.concatenate([left, *right])

    def _cut(self, centers: FloatArray) -> tuple[Array, Array] | None:
        """Indices of the distinct centres, ascending, and the bounds of their points.

        None where centres are so close that rounded distances to points far away no
        longer tell them apart: then the points of a centre need not be neighbours.
        """
        ascending, order = np.unique(centers[:, 0], return_index=True)
        order = order.astype(np.int64)
        if len(order) > 1:
            gap = float(np.diff(ascending).min())
            extent = float(max(ascending[-1], self.line[-1])) - float(
                min(ascending[0], self.line[0])
            )
            if not (gap > extent * 2.0**-50 and gap > 1e-140 and extent < 1e150):
                return None
        bounds = np.empty(len(order) + 1, np.int64)
        kernel = compiled(
            find_bounds, self._line_type(), array("float64"), array("int64"),
            array("int64", written=True),
        )  # fmt: skip
        kernel(self.line, ascending, order, bounds)
        return order, bounds

    def _line_type(self) -> Any:
        return array(self.values.dtype.name)
