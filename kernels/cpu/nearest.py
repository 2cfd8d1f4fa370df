"""Nearest centres of a tile of points: found in float32, and made sure of in float64.

Where the two best centres are no farther apart than rounding may move them, the
point is decided by the float64 distances that are used everywhere. So the labels
are those of float64, at the price of half as many bytes and fused operations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .lanes import ABREAST
from .proposing import OF_STEP, nearest_by_tags, nearest_of_points, tagging_pays_of

# Points in a tile.
TILE = 1024
# Half the squared length of a centre that is none of a point for which float32 decides.
_FAR = 1e37
# Above this relative error, of some 80,000 features, its square would count: float64 decides.
_MOST_ERROR = 0.01
# Points that float64 decides at once.
BLOCK = 16


@njit(nogil=True)
def relative_error(n_features):
    """What a score is wrong by: a product, a sum and their rounding, of all that is added up."""
    return (2 * n_features + 5) * OF_STEP


@njit(nogil=True)
def origin_amid(
    centers,  # IN (n_clusters, n_features) float64
    origin,  # OUT (n_features,) float32
):
    """Find the mean of the centres that are not far from most, coordinate by coordinate.

    Float32 is finest about it, and one far centre must not draw it away from all points.
    """
    k, n_features = np.uint64(centers.shape[0]), np.uint64(centers.shape[1])
    mean, spread, total = np.zeros(n_features), np.zeros(n_features), np.zeros(n_features)
    n_near, share = np.zeros(n_features), 1.0 / k
    for j in range(k):
        for f in range(n_features):
            mean[f] += centers[j, f] * share
    for j in range(k):
        for f in range(n_features):
            spread[f] += abs(centers[j, f] - mean[f]) * share
    for j in range(k):
        for f in range(n_features):
            # As near as the average, and a little for rounding.
            is_near = not abs(centers[j, f] - mean[f]) > spread[f] * (1.0 + 1e-9)
            total[f] += centers[j, f] if is_near else 0.0
            n_near[f] += is_near
    for f in range(n_features):
        origin[f] = np.float32(total[f] / n_near[f])


@njit(nogil=True)
def narrow_centers(
    centers,  # IN (n_clusters, n_features) float64
    group,  # centres that points are compared with at once
):
    """Centres in float32 about an origin amid them, as the kernels of proposing.py take them.

    That is the origin (n_features,), the centres (n_groups * n_features * group,), feature
    by feature in each group, and half their squared lengths less their errors
    (n_groups * group,). What fills up the last group is as far as can be; so are centres
    that float32 could not hold, which are none of a point for which it decides.
    """
    n_clusters, n_features = centers.shape
    n_groups = -(-n_clusters // group)
    n_all = n_groups * group
    origin = np.empty(n_features, np.float32)
    flat = np.zeros(n_all * n_features, np.float32)
    halves = np.empty(2 * n_all, np.float32)
    bits = halves.view(np.uint32)
    # One by one: the errors of a slice take a second to compile.
    for j in range(n_all):
        halves[j] = np.float32(3e38)
        bits[n_all + j] = j
    origin_amid(centers, origin)
    error = relative_error(n_features)
    for j in range(n_clusters):
        half = 0.0
        for f in range(n_features):
            c = centers[j, f] - np.float64(origin[f])
            half += 0.5 * c * c
        if not half < _FAR or error > _MOST_ERROR:
            continue
        halves[j] = np.float32(half * (1.0 - 2.0 * error))
        # Unsigned, so that nothing asks whether it counts from the end.
        row, at = np.uint64(j), np.uint64(j // group * group * n_features + j % group)
        for f in range(np.uint64(n_features)):
            flat[at + f * np.uint64(group)] = np.float32(centers[row, f] - np.float64(origin[f]))
    return origin, flat, halves


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
def nearest_in_float64(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    chosen,  # IN (TILE,) uint32, points of the tile
    n_chosen,  # how many they are
    centers,  # IN (n_clusters, n_features) float64
    unroll,  # tuple of n_features
    nearest,  # OUT (TILE,) uint32
):
    """Nearest centres of chosen points in float64; the lowest index wins a tie."""
    n_blocks = -(-n_chosen // BLOCK)
    planes = np.zeros((len(unroll), n_blocks * BLOCK))
    least, owners = np.full(n_blocks * BLOCK, np.inf), np.zeros(n_blocks * BLOCK, np.uint32)
    for i in range(n_chosen):
        # Unsigned, so that nothing asks whether it counts from the end.
        at = (np.uint64(first) + np.uint64(chosen[i])) * np.uint64(len(unroll))
        for f in range(len(unroll)):
            planes[f, i] = np.float64(flat[at + np.uint64(f)])
    for block in range(0, n_blocks * BLOCK, BLOCK):
        for j in range(centers.shape[0]):
            for i in range(np.uint64(BLOCK)):
                d = 0.0
                for f in range(len(unroll)):
                    t = planes[f, np.uint64(block) + i] - centers[j, f]
                    d += t * t
                if d < least[np.uint64(block) + i]:
                    least[np.uint64(block) + i] = d
                    owners[np.uint64(block) + i] = np.uint32(j)
    for i in range(n_chosen):
        nearest[chosen[i]] = owners[i]


@njit(nogil=True, inline="always")  # not compiled for itself first
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
    origin, narrow, halves = about
    whole = size // ABREAST * ABREAST
    k = np.uint64(len(halves) // 2)
    if k <= tagging_pays_of(unroll):
        for i in range(0, whole, ABREAST):
            nearest_by_tags(
                flat, np.uint64(first + i), origin, narrow, halves, k, np.uint64(i),
                nearest, doubtful, planes, np.uint64(TILE), unroll,
            )  # fmt: skip
    else:
        for i in range(0, whole, ABREAST):
            nearest_of_points(
                flat, np.uint64(first + i), origin, narrow, halves, k, np.uint64(i),
                nearest, doubtful, planes, np.uint64(TILE), unroll,
            )  # fmt: skip
    n_doubtful = size - whole
    for i in range(whole):
        n_doubtful += doubtful[i]
    if n_doubtful == 0:
        return
    n_doubtful = np.int64(0)  # no literal, for which all that follows would be compiled as well
    for i in range(size):
        if i >= whole or doubtful[i]:
            doubtful[n_doubtful] = i
            n_doubtful += 1
    nearest_in_float64(flat, first, doubtful, n_doubtful, centers, unroll, nearest)
