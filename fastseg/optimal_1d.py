"""The global optimum of k-means on one channel, for all numbers of clusters at once."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import as_points
from .kernels.backend import Array, FloatArray
from .progress import Progress

if TYPE_CHECKING:
    from .kernels.cpu.optimal_1d import Solution


@dataclass(frozen=True)
class Optimum:
    """Globally optimal partitions of weighted values into 1 to ``max_clusters`` segments.

    Attributes
    ----------
    values : ndarray of shape (m,), float64
        The distinct values, ascending.
    weights : ndarray of shape (m,), float64
        Their weights.
    max_clusters : int
        Largest number of clusters solved.
    """

    values: FloatArray
    weights: FloatArray
    max_clusters: int
    _solution: Solution

    def starts(self, n_clusters: int) -> Array:
        """Index of the first value of each cluster, ascending, (n_clusters,) int64."""
        if not 1 <= n_clusters <= self.max_clusters:
            raise ValueError(f"n_clusters must be in 1..{self.max_clusters}, got {n_clusters}")
        starts = np.empty(n_clusters, np.int64)
        end = len(self.values)
        for k in reversed(range(n_clusters)):
            starts[k] = end = self._solution.starts[k, end]
        return starts

    def centers(self, n_clusters: int) -> FloatArray:
        """Weighted means of the clusters, ascending, (n_clusters,) float64.

        Computed from double-double sums in rational arithmetic and rounded once: for
        integers and counts, whose sums are exact, the correctly rounded means.
        """
        return np.array([float(mean) for mean in self._means(n_clusters)])

    def inertia(self, n_clusters: int) -> float:
        """Weighted sum of squared distances to the centre of each value's cluster.

        A cluster of one value adds exactly zero, and the rest is accurate to the last
        digits however small it is.
        """
        means = self._means(n_clusters)
        centers = np.array([float(mean) for mean in means])
        # What rounding took from the means, which counts where clusters are narrow.
        rest = np.array([float(m - Fraction(c)) for m, c in zip(means, centers, strict=True)])
        sizes = np.diff(self.starts(n_clusters), append=len(self.values))
        distances = (self.values - np.repeat(centers, sizes)) - np.repeat(rest, sizes)
        return float(np.sum(self.weights * distances * distances))

    def _means(self, n_clusters: int) -> list[Fraction]:
        solution = self._solution
        ends = [*self.starts(n_clusters).tolist(), len(self.values)]
        columns = [[Fraction(x) for x in column] for column in solution.sums[:, ends].T.tolist()]
        origin, scale = Fraction(solution.origin), Fraction(solution.scale)
        means = []
        for (i, j), (a, b) in zip(pairwise(ends), pairwise(columns), strict=True):
            if j == i + 1:
                # Sums of weights that are no integers are rounded.
                means.append(Fraction(float(self.values[i])))
            else:
                s, w = b[0] - a[0] + b[1] - a[1], b[2] - a[2] + b[3] - a[3]
                means.append(origin + s / w / scale)
        return means


def optimal_1d(
    values: Any,
    weights: Any,
    max_clusters: int,
    *,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Optimum:
    """Solve weighted k-means on one channel outright, for every k up to ``max_clusters``.

    Takes O(max_clusters m log m) steps and about 4 (max_clusters + 24) m bytes.

    Parameters
    ----------
    values : array_like of shape (m,)
        Distinct values, ascending.
    weights : array_like of shape (m,) or None
        Weights of the values, for instance their counts; positive. None weighs all
        values alike.
    max_clusters : int
        Largest number of clusters, at most ``m``.
    n_threads : int, optional
        Threads; -1 or by default all that may be used. The result does not depend on it.
    progress : Progress, optional
        Told of stage "optimal", the layers done and ``max_clusters``.

    Returns
    -------
    Optimum
        Starts, centres and inertia of the best partition for each k.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    Stopped
        If the callback of ``progress`` returned True.

    Notes
    -----
    Sums of squares are compared in double-double arithmetic, to about 1e-30 of that
    of all values about their mean. Of partitions that are equal in it, the one whose
    last cluster starts lowest is taken, then the one whose last but one does, and so
    on; the result is the same for every number of threads.

    References
    ----------
    H. Wang, M. Song, "Ckmeans.1d.dp: optimal k-means clustering in one dimension by
    dynamic programming", The R Journal 3(2), 2011.
    A. Grønlund, K. G. Larsen, A. Mathiasen, J. S. Nielsen, S. Schneider, M. Song, "Fast
    exact k-means, k-medians and Bregman divergence clustering in 1D", 2017.
    T. J. Dekker, "A floating-point technique for extending the available precision",
    Numerische Mathematik 18, 1971.
    """
    from .kernels.cpu.optimal_1d import solve
    from .kernels.cpu.threads import resolve_n_threads

    x, w = _check(values, weights)
    if isinstance(max_clusters, (bool, np.bool_)) or not isinstance(
        max_clusters, (int, np.integer)
    ):
        raise TypeError(f"max_clusters must be a whole number, got {max_clusters!r}")
    k = int(max_clusters)
    if not 1 <= k <= len(x):
        raise ValueError(
            f"max_clusters must be in 1..{len(x)}, the number of values, got {max_clusters}"
        )
    told = progress or Progress()

    def tick(layer: int) -> Any:
        return told.heartbeat("optimal", layer - 1, k)

    return Optimum(x, w, k, solve(x, w, k, resolve_n_threads(n_threads), tick))


def _check(values: Any, weights: Any) -> tuple[FloatArray, FloatArray]:
    """Values and weights as float64 vectors."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"values must have 1 dimension, got shape {array.shape}")
    x = as_points(array[:, None], "values")[:, 0].astype(np.float64)
    if not (x[1:] > x[:-1]).all():
        raise ValueError("values must be distinct and ascend; np.unique sorts and counts them")
    if not np.isfinite(float(x[-1]) - float(x[0])):
        raise ValueError("values span more than float64 can hold; scale them down")
    w = np.ones(len(x)) if weights is None else np.array(weights, np.float64, order="C")
    if w.shape != x.shape:
        raise ValueError(f"weights must have the shape of values {x.shape}, got {w.shape}")
    if not ((w > 0).all() and np.isfinite(w.sum())):
        raise ValueError("weights must be positive and finite; leave out values that weigh nothing")
    return x, w
