"""The Numba kernels of k-means on points of many features.

As in nearest.py float32 proposes and float64 decides what is closer than rounding.
Points are compared feature by feature, so that one kernel serves any number of them;
two points abreast of eight centres keep as many sums as there are registers, which on
a processor with wide vectors is faster than the products of a BLAS.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .columns import load_columns
from .lanes import ABREAST, WIDE, add_row, together
from .nearest import narrow_centers
from .proposing import nearest_of_columns

GROUP = together(ABREAST)
# What rounding may make of a sum of squares, in the units of one addition.
_SLACK = 4.0 * 2.0**-53


@njit(nogil=True)
def squared_distance(flat, start, centers, j):
    """Squared distance of a point to a centre."""
    d = 0.0
    for f in range(centers.shape[1]):
        t = np.float64(flat[start + np.uint64(f)]) - centers[j, f]
        d += t * t
    return d


# In any order, several at once: for what decides nothing.
@njit(nogil=True, fastmath={"reassoc"})
def distance_at_once(flat, start, centers, j):
    """Squared distance of a point to a centre, up to rounding."""
    d = 0.0
    for f in range(centers.shape[1]):
        t = np.float64(flat[start + np.uint64(f)]) - centers[np.uint64(j), np.uint64(f)]
        d += t * t
    return d


@njit(nogil=True)
def nearest_to(flat, start, centers, distances):
    """Nearest centre of a point in float64; the lowest index wins a tie."""
    n_clusters, n_features = centers.shape
    least = np.inf
    for j in range(n_clusters):
        distances[j] = distance_at_once(flat, start, centers, j)
        least = min(least, distances[j])
    # Added up in order, only those can be least that are near it in any order.
    bound = least + least * _SLACK * (n_features + 2) + 1e-300
    least, nearest = np.inf, 0
    for j in range(n_clusters):
        if distances[j] <= bound:
            d = squared_distance(flat, start, centers, j)
            if d < least:
                least, nearest = d, j
    return np.uint32(nearest)


@njit(nogil=True)
def scratch_for(centers):
    """What `nearest_of_group` works with.

    That is the centres in float32, the columns of a group, its doubts, scores and squared
    lengths, and distances to the centres.
    """
    n_clusters, n_features = centers.shape
    return (
        narrow_centers(centers, GROUP),
        np.empty(n_features * ABREAST, np.float32),
        np.empty(ABREAST, np.uint32),
        np.empty((3, ABREAST), np.float32),
        np.empty(n_clusters),
    )


@njit(nogil=True, inline="always")  # not compiled for itself first
def nearest_of_group(
    flat,  # IN (n_points * n_features,)
    first,  # first point
    size,  # points of the group, ABREAST at most
    centers,  # IN (n_clusters, n_features) float64
    scratch,  # what scratch_for returns for them
    nearest,  # OUT (ABREAST,) uint32
):
    """Nearest centre in float64 of some points; the lowest index wins a tie."""
    (origin, narrow, halves), columns, doubtful, scores, distances = scratch
    n = np.uint64(centers.shape[1])
    start = np.uint64(first) * n
    if size == ABREAST:
        for f in range(0, centers.shape[1], WIDE):
            # The last features once more, rather than fewer of them.
            feature = min(np.uint64(f), n - np.uint64(WIDE))
            load_columns(flat, start + feature, n, origin, feature, columns)
        nearest_of_columns(
            columns, narrow, halves, n, np.uint64(len(halves) // 2), np.uint64(0), nearest,
            doubtful, scores[0], scores[1], scores[2],
        )  # fmt: skip
    else:
        doubtful[:] = 1
    for i in range(size):
        if doubtful[i]:
            nearest[i] = nearest_to(flat, start + np.uint64(i) * n, centers, distances)


def accumulate(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # empty tuple
    with_inertia,  # whether inertia is wanted
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Assign a chunk and sum it up; return its inertia, or zero."""
    flat, rows = points.reshape(-1), sums.reshape(-1)
    n = np.uint64(points.shape[1])
    scratch = scratch_for(centers)
    nearest = np.empty(ABREAST, np.uint32)
    rows[:] = 0.0
    totals[:] = 0.0
    inertia, weight = 0.0, 1.0
    for first in range(start, stop, ABREAST):
        size = min(ABREAST, stop - first)
        nearest_of_group(flat, first, size, centers, scratch, nearest)
        for i in range(size):
            j = np.uint64(nearest[i])
            at = np.uint64(first + i) * n
            if len(weights) > 0:
                weight = weights[first + i]
            totals[j] += weight
            add_row(flat, at, weight, rows, j * n, n)
            if with_inertia:
                inertia += weight * distance_at_once(flat, at, centers, j)
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
    flat = points.reshape(-1)
    n = np.uint64(points.shape[1])
    scratch = scratch_for(centers)
    nearest = np.empty(ABREAST, np.uint32)
    for first in range(start, stop, ABREAST):
        size = min(ABREAST, stop - first)
        nearest_of_group(flat, first, size, centers, scratch, nearest)
        for i in range(size):
            labels[first + i] = nearest[i] + first_label
            if len(distances) > 0:
                at = np.uint64(first + i) * n
                distances[first + i] = squared_distance(flat, at, centers, nearest[i])


def potentials(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    added,  # IN (n_added, n_features) float64, centres that are new
    candidates,  # IN (n_candidates, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # empty tuple
    closest,  # INOUT (n_points,) float64, squared distance to the centres so far
    totals,  # OUT (n_candidates,) float64, inertia that each candidate would leave
):
    """Bring new centres in, and weigh up candidates of k-means++, on a chunk."""
    flat = points.reshape(-1)
    totals[:] = 0.0
    for i in range(start, stop):
        at = np.uint64(i) * np.uint64(points.shape[1])
        for j in range(len(added)):
            closest[i] = min(closest[i], distance_at_once(flat, at, added, j))
        for c in range(len(candidates)):
            left = min(closest[i], distance_at_once(flat, at, candidates, c))
            totals[c] += left * weights[i] if len(weights) > 0 else left
