"""A backend to begin with: all that is asked of points, from one question that is answered.

Every method can be replaced by one that is faster where the points are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .backend import DTYPES, Array, Counter, Farthest, FloatArray, Partials, Problem, Sampler, Tick
from .cpu import CpuBackend


class SimplePoints(ABC):
    """Points whose nearest centres are all that a subclass has to find.

    Parameters
    ----------
    values : ndarray of shape (n_points, n_features)
        Points of one of ``backend.DTYPES``, C-contiguous.
    weights : ndarray of shape (n_points,), float64, optional
        Weights of the points.
    repeated : bool
        Whether the weights are counts of equal points.
    """

    def __init__(self, values: Array, weights: FloatArray | None, repeated: bool) -> None:
        self.values, self.weights, self.repeated = values, weights, repeated
        self.n_points, self.n_features = values.shape

    @abstractmethod
    def nearest(self, centers: FloatArray) -> tuple[Array, FloatArray]:
        """Index of, and squared distance to, the nearest centre of each point.

        Computed in float64, the features added in ascending order and without fused
        multiply-adds; the lowest index wins a tie. As in ``reference.assign``.
        """

    def label(self, centers: FloatArray, tick: Tick | None = None) -> tuple[Array, float]:
        """See `Points.label`."""
        labels, distances = self._answer(centers, tick)
        return labels.astype(np.int32, copy=False), self._inertia(distances)

    def assign(
        self,
        centers: FloatArray,
        *,
        labels: Array | None = None,
        first_label: int = 0,
        tick: Tick | None = None,
    ) -> Array:
        """See `Assignable.assign`."""
        found, _ = self._answer(centers, tick)
        if labels is None:
            labels = np.empty(self.n_points, np.int32)
        labels[:] = found + first_label
        return labels

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Assignable.accumulate`."""
        labels, distances = self._answer(centers, tick)
        sums = np.empty(centers.shape)
        for f, feature in enumerate(self.values.T):
            weighted = feature if self.weights is None else self.weights * feature
            sums[:, f] = np.bincount(labels, weighted, len(centers))
        totals = np.bincount(labels, self.weights, len(centers)).astype(np.float64)
        return Partials(sums, totals, self._inertia(distances))

    def farthest(self, centers: FloatArray, size: int, tick: Tick | None = None) -> Farthest:
        """See `Assignable.farthest`."""
        labels, distances = self._answer(centers, tick)
        return Farthest.of(size, self.values, self.weights, labels, distances, self.repeated)

    def sampler(self) -> Sampler:
        """See `Points.sampler`; the CPU's, whose draws all backends share."""
        return CpuBackend().put(self.values, self.weights, repeated=self.repeated).sampler()

    def _answer(self, centers: FloatArray, tick: Tick | None) -> tuple[Array, FloatArray]:
        found = self.nearest(centers)
        if tick is not None:
            tick(self.n_points, self.n_points)
        return found

    def _inertia(self, distances: FloatArray) -> float:
        return float((distances if self.weights is None else self.weights * distances).sum())


class SimpleBackend:
    """A backend of `SimplePoints`; pixels are counted by the CPU.

    Subclasses set ``name``, and ``points`` to a subclass of `SimplePoints`.
    """

    name: str
    points: type[SimplePoints]

    def unavailable(self) -> str | None:
        """See `Backend.unavailable`."""
        return None

    def reason_against(self, problem: Problem) -> str | None:
        """See `Backend.reason_against`."""
        return None if problem.dtype in DTYPES else f"it has no kernels for {problem.dtype}"

    def counter(
        self, dtype: np.dtype[Any], n_features: int, *, n_threads: int | None = None
    ) -> Counter:
        """See `Backend.counter`."""
        return CpuBackend().counter(dtype, n_features, n_threads=n_threads)

    def put(
        self,
        values: Array,
        weights: FloatArray | None = None,
        *,
        repeated: bool = False,
        n_threads: int | None = None,
    ) -> SimplePoints:
        """See `Backend.put`."""
        return self.points(values, weights, repeated)
