"""Points in main memory: the protocol over the Numba kernels, chunk by chunk on our threads."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from ..backend import Array, Farthest, FloatArray, Partials, Tick
from . import lloyd
from .bounded import MIN_BOUNDED, Bounds, bounded_kernel, moved_between
from .cell_sampler import CellSampler
from .cells import MAX_CLUSTERS, Cells, possible, worthwhile
from .pool import run_chunks

T = TypeVar("T")

_NONE = np.empty(0)

# A chunk takes milliseconds, so that Ctrl-C and progress are answered, and is at
# least a tile. Its size depends on the problem and never on the threads.
_CHUNK_WORK = 2**25
_MAX_CHUNK = 2**18
_MIN_CHUNK = 2**10
# So many chunks at least where each is worth waking a thread for: some 80 microseconds.
_MIN_CHUNKS = 4
_MIN_CHUNK_WORK = 2**21
# Features of all points, times clusters, below which bounds take longer than they spare.
_MIN_BOUNDED_WORK = 2**23
# Features of all points below which it takes longer to derive inertia than to add it up.
_MIN_DERIVED = 2**15
# Share of the largest sum of squares below which a difference of such sums is not trusted.
_MIN_LEFT = 2.0**-8


def chunk_size(n_features: int, n_clusters: int) -> int:
    """Points in a chunk, a multiple of every kernel's tile."""
    wanted = _CHUNK_WORK // (n_features * n_clusters)
    return max(_MIN_CHUNK, min(_MAX_CHUNK, wanted) // _MIN_CHUNK * _MIN_CHUNK)


def chunk_of(n_points: int, n_features: int, n_clusters: int) -> int:
    """`chunk_size`, or less where so few points are work for several threads all the same."""
    work = n_points * (n_features * (n_clusters + 8) + 8)
    n_chunks = max(1, min(_MIN_CHUNKS, work // _MIN_CHUNK_WORK))
    share = -(-n_points // (n_chunks * _MIN_CHUNK)) * _MIN_CHUNK
    return min(chunk_size(n_features, n_clusters), share)


@dataclass(frozen=True)
class _Scatter:
    """Mean of the points, and the weighted sum of their squared distances to it.

    It is the inertia of any clusters and what they explain, so that one pass that adds
    distances up tells the inertia of the passes that do not.
    """

    mean: FloatArray
    about_mean: float
    largest: float  # of what it was computed from

    @classmethod
    def of(cls, centers: FloatArray, partials: Partials) -> _Scatter | None:
        """Scatter of points from what their clusters add up to; None if that is not known."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean = partials.sums.sum(axis=0) / partials.weights.sum()
            about_mean = partials.inertia + _explained(mean, centers, partials)
            squares = about_mean + float(partials.weights.sum() * (mean**2).sum())
        found = cls(mean, about_mean, max(squares, partials.inertia))
        return found if found._is_known(about_mean) else None

    def inertia(self, centers: FloatArray, partials: Partials) -> float | None:
        """Inertia of clusters, or None where so little is left that rounding would show."""
        inertia = self.about_mean - _explained(self.mean, centers, partials)
        return inertia if self._is_known(inertia) else None

    def _is_known(self, difference: float) -> bool:
        # What overflowed is NaN or infinite, and not trusted either.
        return _MIN_LEFT * self.largest < difference < np.inf


def _explained(mean: FloatArray, centers: FloatArray, partials: Partials) -> float:
    """Squared distances to the mean of all, less those to the centres."""
    with np.errstate(over="ignore", invalid="ignore"):
        away = centers - mean
        means = partials.sums - partials.weights[:, None] * mean
        return float((2.0 * means * away - partials.weights[:, None] * away**2).sum())


class CpuPoints:
    """Points in main memory, used in place."""

    def __init__(
        self, values: Array, weights: FloatArray | None, repeated: bool, n_threads: int
    ) -> None:
        self.values = values
        self.n_points, self.n_features = values.shape
        self.weights = weights
        self.repeated = repeated
        self.n_threads = n_threads
        self.cells: Cells | None = None
        self.bounds: Bounds | None = None
        self.scatter: _Scatter | None = None
        # Number of centres for which the scatter did not tell the inertia.
        self.not_derived = 0
        self.unroll = (0,) * (self.n_features if self.n_features <= lloyd.MAX_FEATURES else 0)

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Points.accumulate`."""
        cells = self._cells(len(centers))
        if cells is not None:
            return cells.accumulate(centers, tick)
        if self.values.size < _MIN_DERIVED:
            return self._accumulate(centers, True, tick)
        if self.scatter is None or len(centers) in (1, self.not_derived):
            partials = self._accumulate(centers, True, tick)
            self.scatter = self.scatter or _Scatter.of(centers, partials)
            return partials
        partials = self._accumulate(centers, False, tick)
        inertia = self.scatter.inertia(centers, partials)
        if inertia is None:
            self.not_derived = len(centers)
            return self._accumulate(centers, True, tick)
        return Partials(partials.sums, partials.weights, inertia)

    def _accumulate(self, centers: FloatArray, with_inertia: bool, tick: Tick | None) -> Partials:
        work = self.values.size * len(centers)
        if len(centers) >= MIN_BOUNDED and not self.unroll and work >= _MIN_BOUNDED_WORK:
            known = self.bounds
            if known is None or len(known.centers) != len(centers):
                known = Bounds.unknown(centers, self.n_points)
            if known.pay(centers):
                return self._accumulate_bounded(known, centers, with_inertia, tick)
            self.bounds = replace(known, last=centers.copy())
        given = (self.unroll, with_inertia)
        return self._sum_up(self._kernel("accumulate"), centers, given, tick)

    def _sum_up(
        self, kernel: Any, centers: FloatArray, given: tuple[Any, ...], tick: Tick | None
    ) -> Partials:
        """Partials of all chunks by a kernel, ``given`` what it takes besides."""
        weights = self._weights()

        def task(start: int, stop: int) -> Partials:
            sums = np.empty_like(centers)
            totals = np.empty(len(centers))
            inertia = kernel(self.values, weights, centers, start, stop, *given, sums, totals)
            return Partials(sums, totals, inertia)

        return self._fold(task, Partials.merge, len(centers), tick)

    def _accumulate_bounded(
        self, known: Bounds, centers: FloatArray, with_inertia: bool, tick: Tick | None
    ) -> Partials:
        self.bounds = None  # what an interrupted pass leaves is of no use
        moved, others = moved_between(known.centers, centers)
        given = (moved, others, known.labels, known.upper, known.lower, with_inertia)
        partials = self._sum_up(bounded_kernel(self.values.dtype.name), centers, given, tick)
        now = centers.copy()
        self.bounds = replace(known, centers=now, last=now)
        return partials

    def assign(
        self,
        centers: FloatArray,
        *,
        labels: Array | None = None,
        first_label: int = 0,
        tick: Tick | None = None,
    ) -> Array:
        """See `Points.assign`."""
        if labels is None:
            labels = np.empty(self.n_points, np.int32)
        cells = self._cells(len(centers))
        if cells is not None:
            cells.assign(centers, labels, first_label, tick)
            return labels
        if self.bounds is not None and np.array_equal(self.bounds.centers, centers):
            np.add(self.bounds.labels, first_label, out=labels, casting="unsafe")
            return labels
        kernel = self._kernel("assign", labels.dtype.name)

        def task(start: int, stop: int) -> None:
            kernel(self.values, centers, start, stop, self.unroll, first_label, labels, _NONE)

        self._fold(task, lambda a, b: None, len(centers), tick)
        return labels

    def label(self, centers: FloatArray, tick: Tick | None = None) -> tuple[Array, float]:
        """See `Points.label`."""
        if self.repeated:
            return self.assign(centers, tick=tick), self.accumulate(centers, tick).inertia
        kernel = self._kernel("assign", "int32")
        labels = np.empty(self.n_points, np.int32)

        def task(start: int, stop: int) -> float:
            part = slice(start, stop)
            distances = np.empty(stop - start)
            kernel(
                self.values[part], centers, 0, stop - start, self.unroll, 0, labels[part], distances
            )
            if self.weights is not None:
                distances *= self.weights[part]
            return float(distances.sum())

        return labels, self._fold(task, operator.add, len(centers), tick)

    def farthest(self, centers: FloatArray, size: int, tick: Tick | None = None) -> Farthest:
        """See `Points.farthest`."""
        kernel = self._kernel("assign", "int32")

        def task(start: int, stop: int) -> Farthest:
            values = self.values[start:stop]
            weights = None if self.weights is None else self.weights[start:stop]
            labels = np.empty(len(values), np.int32)
            distances = np.empty(len(values))
            kernel(values, centers, 0, len(values), self.unroll, 0, labels, distances)
            return Farthest.of(size, values, weights, labels, distances, self.repeated)

        return self._fold(task, Farthest.merge, len(centers), tick)

    def sampler(self) -> CpuSampler | CellSampler:
        """See `Points.sampler`."""
        # Not a matter of size, so that every image is sampled in one order.
        if self.repeated and self.weights is not None and possible(self.values):
            if self.cells is None:
                self.cells = Cells(self.values, self.weights, self.n_threads)
            return CellSampler(self.cells)
        return CpuSampler(self)

    def _cells(self, n_clusters: int) -> Cells | None:
        """Cells of these points, where they are faster for so many centres."""
        if not self.repeated or self.weights is None or not worthwhile(self.values):
            return None
        if n_clusters > MAX_CLUSTERS:
            return None
        if self.cells is None:
            self.cells = Cells(self.values, self.weights, self.n_threads)
        return self.cells

    def _kernel(self, name: str, out: str = "") -> Any:
        return _kernel_for(name, self.values.dtype, self.n_features, out)

    def _weights(self) -> FloatArray:
        return _NONE if self.weights is None else self.weights

    def _fold(
        self,
        task: Callable[[int, int], T],
        merge: Callable[[T, T], T],
        n_clusters: int,
        tick: Tick | None,
    ) -> T:
        """Results of ``task(start, stop)`` of all chunks, merged in their order."""
        step = chunk_of(self.n_points, self.n_features, n_clusters)
        total: list[T] = []

        def consume(chunk: int, result: T) -> None:
            total[:] = [merge(total[0], result)] if total else [result]

        n = self.n_points
        run_chunks(
            lambda chunk: task(chunk * step, min((chunk + 1) * step, n)),
            -(-n // step),
            self.n_threads,
            consume,
            None if tick is None else lambda done: tick(min(done * step, n), n),
        )
        return total[0]


# Types take longer to compare than small problems to solve.
@cache
def _kernel_for(name: str, dtype: np.dtype[Any], n_features: int, out: str) -> Any:
    return lloyd.kernel_for(name, dtype.name, n_features, out)


def _joined(a: list[FloatArray], b: list[FloatArray]) -> list[FloatArray]:
    return a + b


class CpuSampler:
    """Sampler of k-means++, which keeps every point's distance to its closest centre.

    A new centre is brought in by the next pass over the points: until then only the
    chunks in which points are drawn need know of it.
    """

    def __init__(self, points: CpuPoints) -> None:
        self.points = points
        self.closest = np.full(points.n_points, np.inf)
        self.step = chunk_of(points.n_points, points.n_features, 1)
        self.added = self.candidates = np.empty((0, points.n_features))
        self.chunk_totals = self.candidate_totals = np.empty((0, 0))

    def add(self, center: FloatArray, tick: Tick | None = None) -> float:
        """See `Sampler.add`."""
        asked = np.flatnonzero((self.candidates == center).all(axis=1))
        if len(asked) == 0:
            self.potentials(center[None], tick)
            asked = np.zeros(1, np.intp)
        self.chunk_totals = self.candidate_totals[:, asked[0]]
        self.added = center[None].astype(np.float64)
        self.candidates = self.candidates[:0]
        return float(np.cumsum(self.chunk_totals)[-1])

    def potentials(self, candidates: FloatArray, tick: Tick | None = None) -> FloatArray:
        """See `Sampler.potentials`."""

        def task(start: int, stop: int) -> list[FloatArray]:
            return [self._pass(candidates, start, stop)]

        totals: list[FloatArray] = self.points._fold(task, _joined, 1, tick)
        self.candidate_totals = np.stack(totals)
        self.candidates, self.added = candidates, self.added[:0]
        potentials: FloatArray = np.cumsum(self.candidate_totals, axis=0)[-1]
        return potentials

    def draw(self, thresholds: FloatArray) -> Array:
        """See `Sampler.draw`."""
        points = self.points
        ends = np.cumsum(self.chunk_totals)
        rows = np.empty(len(thresholds), np.int64)
        chunks = np.minimum(np.searchsorted(ends, thresholds), len(ends) - 1)
        for chunk in np.unique(chunks):
            part = slice(chunk * self.step, min((chunk + 1) * self.step, points.n_points))
            self._pass(self.candidates[:0], part.start, part.stop)
            masses = self.closest[part]
            if points.weights is not None:
                masses = masses * points.weights[part]
            before = ends[chunk - 1] if chunk else 0.0
            here = np.flatnonzero(chunks == chunk)
            found = np.searchsorted(np.cumsum(masses), thresholds[here] - before)
            rows[here] = part.start + np.minimum(found, len(masses) - 1)
        return points.values[rows]

    def _pass(self, candidates: FloatArray, start: int, stop: int) -> FloatArray:
        """Bring what was added into a chunk; return what each candidate would leave there."""
        points = self.points
        totals = np.empty(len(candidates))
        points._kernel("potentials")(
            points.values, points._weights(), self.added, candidates, start, stop, points.unroll,
            self.closest, totals,
        )  # fmt: skip
        return totals
