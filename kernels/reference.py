"""What every kernel computes, in plain NumPy: slow on purpose, the oracle of the tests."""

from __future__ import annotations

import numpy as np

from .backend import Array, FloatArray, Partials


def distances(points: Array, centers: FloatArray) -> FloatArray:
    """Squared distances (n_points, n_centers), channels added in ascending order."""
    total = np.zeros((len(points), len(centers)))
    for f in range(points.shape[1]):
        total += np.square(points[:, f, None].astype(np.float64) - centers[None, :, f])
    return total


def assign(points: Array, centers: FloatArray) -> tuple[Array, FloatArray]:
    """Index of, and squared distance to, the nearest centre; the lowest index wins a tie."""
    all_distances = distances(points, centers)
    labels = all_distances.argmin(axis=1)
    return labels, all_distances[np.arange(len(points)), labels]


def accumulate(points: Array, weights: Array | None, centers: FloatArray) -> Partials:
    """Weighted sums, weights and inertia of the points nearest to each centre."""
    labels, nearest = assign(points, centers)
    weights = np.ones(len(points)) if weights is None else weights
    sums = np.zeros(centers.shape)
    np.add.at(sums, labels, weights[:, None] * points.astype(np.float64))
    totals = np.zeros(len(centers))
    np.add.at(totals, labels, weights)
    return Partials(sums, totals, float(weights @ nearest))


def potentials(
    points: Array, weights: Array | None, closest: FloatArray, candidates: FloatArray
) -> FloatArray:
    """Inertia that adding each candidate would leave, ``closest`` being the distances so far."""
    weights = np.ones(len(points)) if weights is None else weights
    return np.minimum(closest[:, None], distances(points, candidates)).T @ weights
