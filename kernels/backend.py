"""The protocol between the solver and a backend: read this before adding one.

A backend puts points where it computes and answers questions about them. What
crosses the boundary is of size k x d, and it adds up: the partials of two chunks
are the merge of their partials. Threads, streamed files and devices all rest on
that one law.

Distances are squared Euclidean in float64, the channels added in ascending order
and never contracted into fused multiply-adds; the lowest index wins a tie. So
every backend labels every pixel alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FloatArray = NDArray[np.float64]

# Point types that are computed on as they are, without a copy to float.
DTYPES = ("uint8", "uint16", "int16", "float32", "float64")

# Called between chunks in the calling thread with (points done, points in all);
# stops the work by raising.
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Partials:
    """What the update step needs to know about a set of points.

    ``sums`` (n_clusters, n_features) are the weighted sums of the points nearest
    to each centre, ``weights`` (n_clusters,) their total weight, ``inertia`` the
    weighted sum of squared distances to the nearest centre. Sums of integer
    points are exact: float64 holds every integer up to 2**53, which 1.3e11
    pixels of 16 bits do not pass.
    """

    sums: FloatArray
    weights: FloatArray
    inertia: float

    def merge(self, other: Partials) -> Partials:
        """Partials of both sets of points together."""
        return Partials(
            self.sums + other.sums, self.weights + other.weights, self.inertia + other.inertia
        )


@dataclass(frozen=True)
class Farthest:
    """The single points farthest from their centres, the farthest first.

    ``values`` (m, n_features) float64, ``weights`` (m,), ``labels`` (m,) and
    ``distances`` (m,) describe at most ``size`` points; equal distances are
    ordered by value, so that neither chunks nor the order of pixels matter.
    """

    size: int
    values: FloatArray
    weights: FloatArray
    labels: Array
    distances: FloatArray

    @classmethod
    def of(
        cls,
        size: int,
        values: Array,
        weights: Array | None,
        labels: Array,
        distances: FloatArray,
        repeated: bool,
    ) -> Farthest:
        """Select the farthest points; ``repeated`` weights count single points."""
        rows = np.arange(len(distances))
        if size < len(rows):
            bound = np.partition(distances, -size)[-size]
            rows = np.flatnonzero(distances >= bound)
        keys = [values[rows, f] for f in reversed(range(values.shape[1]))]
        rows = rows[np.lexsort([*keys, -distances[rows]])][:size]
        chosen = np.ones(len(rows)) if weights is None else weights[rows].astype(np.float64)
        if repeated and weights is not None:
            rows = np.repeat(rows, np.minimum(chosen, size).astype(np.int64))[:size]
            chosen = np.ones(len(rows))
        return cls(size, values[rows].astype(np.float64), chosen, labels[rows], distances[rows])

    def merge(self, other: Farthest) -> Farthest:
        """Farthest points of both sets together."""
        return Farthest.of(
            self.size,
            np.concatenate([self.values, other.values]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.distances, other.distances]),
            repeated=False,
        )


class Sampler(Protocol):
    """Draws points with probability proportional to weight x squared distance."""

    def add(self, center: FloatArray, tick: Tick | None = None) -> float:
        """Add a centre; return the inertia of the centres added so far."""

    def potentials(self, candidates: FloatArray, tick: Tick | None = None) -> FloatArray:
        """Inertia (m,) that adding each of the candidates (m, n_features) would leave."""

    def draw(self, thresholds: FloatArray) -> Array:
        """Points (m, n_features) at which the running sum of w x d**2 reaches the thresholds."""


class Assignable(Protocol):
    """Points that can be assigned to centres, all that Lloyd's iterations ask of them."""

    n_points: int
    n_features: int

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """Assign every point to its nearest centre and sum up; stores nothing of size n."""

    def farthest(self, centers: FloatArray, size: int, tick: Tick | None = None) -> Farthest:
        """Single points farthest from their nearest centres."""


class Points(Assignable, Protocol):
    """Points where a backend computes on them."""

    def assign(
        self,
        centers: FloatArray,
        *,
        labels: Array | None = None,
        first_label: int = 0,
        tick: Tick | None = None,
    ) -> Array:
        """Label every point with ``first_label`` + the index of its nearest centre.

        ``labels`` is an array to write into (uint8, uint16 or int32, as long as
        the points); without it an int32 array is made.
        """

    def label(self, centers: FloatArray, tick: Tick | None = None) -> tuple[Array, float]:
        """Index (n_points,) int32 of every point's nearest centre, and the inertia."""

    def sampler(self) -> Sampler:
        """Sampler over these points, with no centre yet."""


@runtime_checkable
class PointsInParts(Assignable, Protocol):
    """Points that are never held at once."""

    def label_alike(self, centers: FloatArray, others: FloatArray) -> bool:
        """Whether all points get the same labels from two tables of centres."""


class Drawable(Protocol):
    """Points that starts can be drawn from."""

    n_features: int

    def sampler(self) -> Sampler:
        """Sampler over these points, with no centre yet."""


class Counter(Protocol):
    """Counts distinct pixels, and finds them again.

    What it gives depends neither on the chunks nor on the order in which they came.
    """

    may_give_up: bool

    @property
    def full(self) -> bool:
        """Whether there are more distinct values than are worth keeping."""

    @property
    def pays(self) -> bool:
        """Whether clustering the distinct values is cheaper than clustering the pixels."""

    def add(self, pixels: Array, tick: Tick | None = None, *, again: bool = False) -> None:
        """Count pixels (n, n_features), C-contiguous.

        ``again`` promises that `look_up` will be given this very array, unchanged: a
        device may then keep what it was sent.
        """

    def distinct(self) -> tuple[Array, Array]:
        """Distinct values (m, n_features) in ascending order, and their counts (m,) int64.

        To be called once: counting is over then.
        """

    def look_up(self, pixels: Array, table: Array, labels: Array, tick: Tick | None = None) -> None:
        """Write ``table[i]`` into ``labels`` (n,) where a pixel is the i-th distinct value.

        To be called after `distinct`, for pixels that were counted.
        A table that is given again is taken to be as it was.
        """


@dataclass(frozen=True)
class Problem:
    """What a backend needs to know to say whether it can run.

    ``on_device`` says that the points are in a GPU's memory already.
    """

    n_points: int
    n_features: int
    n_clusters: int
    dtype: str
    on_device: bool = False

    @classmethod
    def of(cls, values: Any, n_clusters: int) -> Problem:
        """Problem of clustering values (n, d), on the host or on a device."""
        on_device = getattr(values, "on_device", False)
        n_points, n_features = values.shape
        return cls(n_points, n_features, n_clusters, values.dtype.name, on_device)


class Backend(Protocol):
    """A place to compute."""

    name: str

    def unavailable(self) -> str | None:
        """Why this machine cannot use the backend, or None."""

    def reason_against(self, problem: Problem) -> str | None:
        """Why the backend cannot take this problem, or None."""

    def counter(
        self, dtype: np.dtype[Any], n_features: int, *, n_threads: int | None = None
    ) -> Counter:
        """Counter of pixels of one of ``DTYPES``."""

    def put(
        self,
        values: Array,
        weights: FloatArray | None = None,
        *,
        repeated: bool = False,
        n_threads: int | None = None,
    ) -> Points:
        """Put points (n, d) of one of ``DTYPES``, C-contiguous, where they are computed on.

        ``weights`` (n,) weigh the points; with ``repeated`` they are counts of
        equal points, of which an empty cluster takes a single one, and the points
        are distinct and in ascending order.
        """
