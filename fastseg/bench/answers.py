"""Judging answers: by nobody's code but NumPy's, and before any time is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.backend import Array, FloatArray

# Arithmetic of the same kind ends in the same clusters, but for what rounding decides.
SAME = 1e-9
# Sums and distances in float32 put some points into other clusters.
IN_FLOAT32 = 1e-3


@dataclass(frozen=True, eq=False)
class Answer:
    """What an implementation found: labels (n,), or centres (k, d) where it gives no labels."""

    labels: Array | None = None
    centers: Array | None = None


@dataclass(frozen=True)
class Verdict:
    """How an answer compares with the reference.

    Attributes
    ----------
    inertia : float
        Sum of squared distances of the points to the means of their clusters.
    excess : float
        By which share that is above the reference's; negative where it is below.
    equal_labels : float
        Share of the points in the same cluster as the reference puts them.
    agrees : bool
        Whether the inertia is close enough for the time to mean something.
    """

    inertia: float
    excess: float
    equal_labels: float
    agrees: bool


class Judge:
    """Compares answers about some points with the first one, the reference.

    Parameters
    ----------
    values : ndarray of shape (n, d)
        The points; of more distinct ones than there are clusters, so that no inertia is 0.
    """

    def __init__(self, values: Array) -> None:
        self._values = values
        self._center = values[:: max(1, len(values) // 4096)].mean(axis=0, dtype=np.float64)
        self._reference: tuple[Array, float] | None = None

    def verdict(self, answer: Answer, tolerance: float | None) -> Verdict:
        """Compare an answer; ``tolerance`` of its inertia, or None for a different aim."""
        labels = self._labels(answer)
        inertia = self._inertia(labels)
        if self._reference is None:
            self._reference = labels, inertia
        first, least = self._reference
        equal = equal_share(first, labels)
        # Of the same clusters only the order of a sum can differ.
        excess = 0.0 if equal == 1.0 else inertia / least - 1.0
        agrees = tolerance is None or abs(excess) <= tolerance
        return Verdict(inertia, excess, equal, agrees)

    def _labels(self, answer: Answer) -> Array:
        if answer.labels is not None:
            return answer.labels
        from sklearn.metrics import pairwise_distances_argmin

        assert answer.centers is not None
        return np.asarray(pairwise_distances_argmin(self._values, answer.centers))

    def _inertia(self, labels: Array) -> float:
        counts = np.maximum(np.bincount(labels), 1)
        total = 0.0
        for column, center in zip(self._values.T, self._center, strict=True):
            # Less a value near the mean, so that the sums of the clusters lose no digits.
            x = column - center
            x -= (np.bincount(labels, weights=x) / counts)[labels]
            total += float(x @ x)
        return total


def equal_share(first: Array, second: Array) -> float:
    """Share of points with equal labels, clusters being matched so that it is largest."""
    from scipy.optimize import linear_sum_assignment

    width = int(second.max()) + 1
    codes = first.astype(np.int64) * width + second
    both = np.bincount(codes, minlength=(int(first.max()) + 1) * width).reshape(-1, width)
    return float(both[linear_sum_assignment(both, maximize=True)].sum() / len(first))


def starting_centers(values: Array, n_clusters: int, seed: int = 0) -> FloatArray:
    """Draw starting centres: distinct points, moved by fractions to which nothing can tie.

    Raises
    ------
    ValueError
        If there are no more distinct points than clusters.
    """
    rng = np.random.default_rng(seed)
    some: Any = values if len(values) <= 20_000 else values[rng.choice(len(values), 20_000)]
    found = np.unique(some, axis=0)
    if len(found) <= n_clusters and len(some) < len(values):
        found = np.unique(values, axis=0)
    if len(found) <= n_clusters:
        raise ValueError(
            f"the image has {len(found)} distinct values, and to time {n_clusters} clusters takes"
            " more; give another image"
        )
    chosen = found[rng.choice(len(found), n_clusters, replace=False)].astype(np.float64)
    if values.dtype.kind != "f":
        return chosen + rng.random(chosen.shape)
    chosen += rng.random(chosen.shape) * found.std(axis=0, dtype=np.float64) / 100
    # As all can take them: some keep centres in the points' own type.
    return np.asarray(chosen.astype(values.dtype), np.float64)
