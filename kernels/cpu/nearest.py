"""Nearest centres of a tile of points: found in float32, and made sure of in float64.

Where the two best centres are no farther apart than rounding may move them, the
point is decided by the float64 distances that are used everywhere. So the labels
are those of float64, at the price of half as many bytes and fused operations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .lanes import ABREAST
from .proposing import nearest_of_points

# Points in a tile.
TILE = 512
# Doubtful points of a tile beyond which float64 decides all of them at once.
MANY = TILE // 8


@njit(nogil=True)
def narrow_centers(
    centers,  # IN (n_clusters, n_features) float64
    group,  # centres that points are compared with at once
):
    """Centres in float32 about an origin amid them, as the kernels of proposing.py take them.

    That is the origin (n_features,), the centres (n_groups * n_features * group,), feature
    by feature in each group, half their squared lengths (n_groups * group,), and the
    largest coordinates and the largest of the halves (n_features + 1,). What fills up
    the last group is infinitely far.
    """
    n_clusters, n_features = centers.shape
    n_groups = -(-n_clusters // group)
    origin, reach = np.empty(n_features, np.float32), np.zeros(n_features + 1, np.float32)
    narrow = np.zeros((n_groups, n_features, group), np.float32)
    halves = np.full(n_groups * group, np.float32(np.inf))
    middle = np.zeros(n_features)
    for j in range(n_clusters):
        for f in range(n_features):
            middle[f] += centers[j, f] / n_clusters
    for f in range(n_features):
        origin[f] = np.float32(middle[f])
    flat = narrow.reshape(-1)
    for j in range(n_clusters):
        half = 0.0
        # Unsigned, so that nothing asks whether it counts from the end.
        row, at = np.uint64(j), np.uint64(j // group * group * n_features + j % group)
        for f in range(np.uint64(n_features)):
            c = centers[row, f] - np.float64(origin[f])
            narrowed = np.float32(c)
            flat[at + f * np.uint64(group)] = narrowed
            reach[f] = max(reach[f], abs(narrowed))
            half += 0.5 * c * c
        halves[j] = np.float32(half)
        reach[n_features] = max(reach[n_features], halves[j])
    return origin, flat, halves, reach


@njit(nogil=True)
def load_wide(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    size,  # points of the tile
    unroll,  # tuple of n_features
    planes,  # OUT (n_features, TILE) float64
):
    """Copy a tile of points into planes of float64."""
    # Unsigned, so that nothing asks for each point whether it counts from the end.
    start = np.uint64(first) * np.uint64(len(unroll))
    for i in range(size):
        at = start + np.uint64(i) * np.uint64(len(unroll))
        for f in range(len(unroll)):
            planes[f, i] = np.float64(flat[at + np.uint64(f)])


@njit(nogil=True)
def squared_distance(
    flat,  # IN (n_points * n_features,)
    point,  # which point
    centers,  # IN (n_clusters, n_features) float64
    j,  # which centre
    unroll,  # tuple of n_features
):
    """Squared distance of a point to a centre."""
    start = np.uint64(point) * np.uint64(len(unroll))
    d = 0.0
    for f in range(len(unroll)):
        t = np.float64(flat[start + np.uint64(f)]) - centers[j, f]
        d += t * t
    return d


@njit(nogil=True)
def nearest_to(
    flat,  # IN (n_points * n_features,)
    point,  # which point
    centers,  # IN (n_clusters, n_features) float64
    unroll,  # tuple of n_features
):
    """Nearest centre of a point in float64; the lowest index wins a tie."""
    least, nearest = np.inf, 0
    for j in range(centers.shape[0]):
        d = squared_distance(flat, point, centers, j, unroll)
        if d < least:
            least, nearest = d, j
    return np.uint32(nearest)


@njit(nogil=True)
def nearest_in_float64(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    size,  # points of the tile
    centers,  # IN (n_clusters, n_features) float64
    unroll,  # tuple of n_features
    nearest,  # OUT (TILE,) uint32
):
    """Nearest centre of every point of a tile, all in float64; the lowest index wins a tie."""
    planes, least = np.zeros((len(unroll), TILE)), np.full(TILE, np.inf)
    load_wide(flat, first, size, unroll, planes)
    for j in range(centers.shape[0]):
        for i in range(TILE):
            d = 0.0
            for f in range(len(unroll)):
                t = planes[f, i] - centers[j, f]
                d += t * t
            if d < least[i]:
                least[i] = d
                nearest[i] = np.uint32(j)


@njit(nogil=True)
def nearest_of_tile(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    size,  # points of the tile
    centers,  # IN (n_clusters, n_features) float64
    about,  # IN, what narrow_centers returns for them
    unroll,  # tuple of n_features
    doubtful,  # SCRATCH (TILE,) uint32
    planes,  # OUT (n_features * TILE,) float32, all points abreast, where float32 holds them
    nearest,  # OUT (TILE,) uint32
):
    """Nearest centre in float64 of every point of a tile; the lowest index wins a tie."""
    origin, narrow, halves, reach = about
    whole = size // ABREAST * ABREAST
    for i in range(0, whole, ABREAST):
        nearest_of_points(
            flat, np.uint64(first + i), origin, narrow, halves, reach, np.uint64(len(halves)),
            np.uint64(i), nearest, doubtful, planes, np.uint64(TILE), unroll,
        )  # fmt: skip
    for i in range(whole, size):
        nearest[i] = nearest_to(flat, first + i, centers, unroll)
    n_doubtful = 0
    for i in range(whole):
        n_doubtful += doubtful[i]
    if n_doubtful == 0:
        return
    if n_doubtful > MANY:
        nearest_in_float64(flat, first, size, centers, unroll, nearest)
        return
    for i in range(whole):
        if doubtful[i]:
            nearest[i] = nearest_to(flat, first + i, centers, unroll)
