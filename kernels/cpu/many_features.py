"""The Numba kernels of k-means on points of many features, which no registers hold."""

from __future__ import annotations

import numpy as np
from numba import njit

# Points in a tile: few, as each is long.
TILE = 64


@njit(nogil=True)
def load_tile(
    points,  # IN (n_points, n_features)
    start,  # first point of the tile
    size,  # points in the tile
    planes,  # OUT (n_features, TILE) float64
):
    """Copy a tile of points into planes."""
    for i in range(size):
        for f in range(points.shape[1]):
            planes[f, i] = points[start + i, f]


@njit(nogil=True)
def distances_in_tile(
    planes,  # IN (n_features, TILE) float64
    center,  # IN (n_features,) float64
    distances,  # OUT (TILE,) float64
):
    """Squared distances of a tile to one centre."""
    for i in range(TILE):
        distances[i] = 0.0
    for f in range(planes.shape[0]):
        c = center[f]
        for i in range(TILE):
            t = planes[f, i] - c
            distances[i] += t * t


@njit(nogil=True)
def nearest_in_tile(
    planes,  # IN (n_features, TILE) float64
    centers,  # IN (n_clusters, n_features) float64
    distances,  # SCRATCH (TILE,) float64
    best,  # OUT (TILE,) float64, squared distance to the nearest centre
    labels,  # OUT (TILE,) int64, as wide as a distance so that one mask serves both
):
    """Nearest centre of every point of a tile; the lowest index wins a tie."""
    for i in range(TILE):
        best[i] = np.inf
        labels[i] = 0
    for j in range(centers.shape[0]):
        distances_in_tile(planes, centers[j], distances)
        for i in range(TILE):
            if distances[i] < best[i]:
                best[i] = distances[i]
                labels[i] = j


def accumulate(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # empty tuple
    with_inertia,  # whether inertia is wanted; it costs nothing here
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Assign a chunk and sum it up; return its inertia."""
    planes = np.zeros((points.shape[1], TILE))
    distances, best, labels = np.empty(TILE), np.empty(TILE), np.empty(TILE, np.int64)
    sums[:] = 0.0
    totals[:] = 0.0
    inertia, weight = 0.0, 1.0
    for first in range(start, stop, TILE):
        size = min(TILE, stop - first)
        load_tile(points, first, size, planes)
        nearest_in_tile(planes, centers, distances, best, labels)
        for i in range(size):
            if len(weights) > 0:
                weight = weights[first + i]
            j = np.uint64(labels[i])
            for f in range(points.shape[1]):
                sums[j, f] += weight * planes[f, i]
            totals[j] += weight
            inertia += weight * best[i]
    return inertia


def assign(
    points,  # IN (n_points, n_features)
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # empty tuple
    first_label,  # added to every label
    labels,  # OUT (n_points,) uint8, uint16 or int32
    distances,  # OUT (n_points,) float64, or (0,): not wanted
):
    """Label a chunk with its nearest centres."""
    planes = np.zeros((points.shape[1], TILE))
    scratch, best, nearest = np.empty(TILE), np.empty(TILE), np.empty(TILE, np.int64)
    for first in range(start, stop, TILE):
        size = min(TILE, stop - first)
        load_tile(points, first, size, planes)
        nearest_in_tile(planes, centers, scratch, best, nearest)
        for i in range(size):
            labels[first + i] = nearest[i] + first_label
        if len(distances) > 0:
            for i in range(size):
                distances[first + i] = best[i]


def potentials(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    candidates,  # IN (n_candidates, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # empty tuple
    closest,  # INOUT (n_points,) float64, squared distance to the centres so far
    update,  # whether the candidates become centres
    totals,  # OUT (n_candidates,) float64, inertia that each candidate would leave
):
    """Weigh up candidates of k-means++ on a chunk."""
    planes = np.zeros((points.shape[1], TILE))
    distances = np.empty(TILE)
    totals[:] = 0.0
    for first in range(start, stop, TILE):
        size = min(TILE, stop - first)
        load_tile(points, first, size, planes)
        for c in range(candidates.shape[0]):
            distances_in_tile(planes, candidates[c], distances)
            for i in range(size):
                d = min(distances[i], closest[first + i])
                if update:
                    closest[first + i] = d
                totals[c] += d * weights[first + i] if len(weights) > 0 else d
