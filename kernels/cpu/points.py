"""Points in main memory: the protocol over the Numba kernels, chunk by chunk on our threads."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np

from ..backend import Array, Farthest, FloatArray, Partials, Tick
from . import lloyd
from .blas import one_blas_thread
from .cell_sampler import CellSampler
from .cells import MAX_CLUSTERS, MIN_CLUSTERS, Cells, possible, worthwhile
from .pool import run_chunks

T = TypeVar("T")

_NONE = np.empty(0)

# A chunk takes milliseconds, so that Ctrl-C and progress are answered, and is at
# least a tile. Its size depends on the problem and never on the threads.
_CHUNK_WORK = 2**25
_MAX_CHUNK = 2**18
_MIN_CHUNK = 2**10
# Up to so many clusters it takes longer to add distances up than to find the nearest centre.
_MAX_DERIVED = 32
# Features of all points below which it takes longer to derive inertia from the sums.
_MIN_DERIVED = 2**15
# Share of the largest sum of squares below which a difference of such sums is not trusted.
_MIN_LEFT = 2.0**-8


def chunk_size(n_features: int, n_clusters: int) -> int:
    """Points in a chunk, a multiple of every kernel's tile."""
    wanted = _CHUNK_WORK // (n_features * n_clusters)
    return max(_MIN_CHUNK, min(_MAX_CHUNK, wanted) // _MIN_CHUNK * _MIN_CHUNK)


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
        self.unroll = (0,) * (self.n_features if self.n_features <= lloyd.MAX_FEATURES else 0)

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Points.accumulate`."""
        cells = self._cells(len(centers))
        if cells is not None:
            return cells.accumulate(centers, tick)
        if not (1 < len(centers) <= _MAX_DERIVED and self.unroll) or (
            self.values.size < _MIN_DERIVED
        ):
            return self._accumulate(centers, True, tick)
        partials = self._accumulate(centers, False, tick)
        inertia = self._derived_inertia(centers, partials)
        if inertia is None:
            return self._accumulate(centers, True, tick)
        return Partials(partials.sums, partials.weights, inertia)

    def _accumulate(self, centers: FloatArray, with_inertia: bool, tick: Tick | None) -> Partials:
        kernel = self._kernel("accumulate")
        weights = self._weights()

        def task(start: int, stop: int) -> Partials:
            sums = np.empty_like(centers)
            totals = np.empty(len(centers))
            inertia = kernel(
                self.values, weights, centers, start, stop, self.unroll, with_inertia, sums, totals
            )
            return Partials(sums, totals, inertia)

        return self._fold(task, Partials.merge, len(centers), tick)

    def _derived_inertia(self, centers: FloatArray, partials: Partials) -> float | None:
        """Inertia from the sums: those of squares about the mean, less what the clusters explain.

        None where so little is left that rounding would show.
        """
        mean, about_mean = self._moments
        with np.errstate(over="ignore", invalid="ignore"):
            means = partials.sums - partials.weights[:, None] * mean
            away = centers - mean
            gained = 2.0 * means * away - partials.weights[:, None] * away**2
            inertia = about_mean - float(gained.sum())
            largest = about_mean + float(partials.weights.sum() * (mean**2).sum())
        # What overflowed is NaN or infinite, and not trusted either.
        return inertia if _MIN_LEFT * largest < inertia < np.inf else None

    @cached_property
    def _moments(self) -> tuple[FloatArray, float]:
        """Mean of the points, and the weighted sum of their squared distances to it."""
        origin = self._accumulate(np.zeros((1, self.n_features)), False, None)
        mean = origin.sums[0] / origin.weights[0]
        return mean, self._accumulate(mean[None], True, None).inertia

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
        kernel = self._kernel("assign", labels.dtype.name)

        def task(start: int, stop: int) -> None:
            kernel(self.values, centers, start, stop, self.unroll, first_label, labels, _NONE)

        self._fold(task, lambda a, b: None, len(centers), tick)
        return labels

    def label(self, centers: FloatArray, tick: Tick | None = None) -> tuple[Array, float]:
        """See `Points.label`."""
        if self.repeated:
            return self.assign(centers, tick=tick), self.accumulate(centers).inertia
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
        if not MIN_CLUSTERS <= n_clusters <= MAX_CLUSTERS:
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
        step = chunk_size(self.n_features, n_clusters)
        total: list[T] = []

        def consume(chunk: int, result: T) -> None:
            total[:] = [merge(total[0], result)] if total else [result]

        n = self.n_points
        with nullcontext() if self.unroll else one_blas_thread():
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
    """Sampler of k-means++, which keeps every point's distance to its closest centre."""

    def __init__(self, points: CpuPoints) -> None:
        self.points = points
        self.closest = np.full(points.n_points, np.inf)
        self.step = chunk_size(points.n_features, 1)
        self.chunk_totals = _NONE

    def add(self, center: FloatArray, tick: Tick | None = None) -> float:
        """See `Sampler.add`."""
        self.chunk_totals = self._totals(center[None], True, tick)[:, 0]
        return float(np.cumsum(self.chunk_totals)[-1])

    def potentials(self, candidates: FloatArray, tick: Tick | None = None) -> FloatArray:
        """See `Sampler.potentials`."""
        potentials: FloatArray = np.cumsum(self._totals(candidates, False, tick), axis=0)[-1]
        return potentials

    def draw(self, thresholds: FloatArray) -> Array:
        """See `Sampler.draw`."""
        points = self.points
        ends = np.cumsum(self.chunk_totals)
        rows = np.empty(len(thresholds), np.int64)
        for i, threshold in enumerate(thresholds):
            chunk = min(int(np.searchsorted(ends, threshold)), len(ends) - 1)
            part = slice(chunk * self.step, min((chunk + 1) * self.step, points.n_points))
            masses = self.closest[part]
            if points.weights is not None:
                masses = masses * points.weights[part]
            before = ends[chunk - 1] if chunk else 0.0
            row = int(np.searchsorted(np.cumsum(masses), threshold - before))
            rows[i] = part.start + min(row, len(masses) - 1)
        return points.values[rows]

    def _totals(self, candidates: FloatArray, update: bool, tick: Tick | None) -> FloatArray:
        points = self.points
        kernel = points._kernel("potentials")
        weights = points._weights()

        def task(start: int, stop: int) -> list[FloatArray]:
            totals = np.empty(len(candidates))
            kernel(
                points.values, weights, candidates, start, stop, points.unroll,
                self.closest, update, totals,
            )  # fmt: skip
            return [totals]

        totals: list[FloatArray] = points._fold(task, _joined, 1, tick)
        return np.stack(totals)
