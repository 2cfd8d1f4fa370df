"""Nearest centres of a tile of points: found in float32, and made sure of in float64.

Where the two best centres are no farther apart than rounding may move them, the
point is decided by the float64 distances that are used everywhere. So the labels
are those of float64, at the price of half as many bytes and fused operations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Centres that are compared while a vector of points is in the registers.
ABREAST = 4
# What overflows float32 is beyond this.
LARGEST = 1e38
# Half the distance from one float32 to the next, relative to it.
UNIT = 2.0**-24
# Share of doubtful points beyond which float64 decides all of a tile at once.
MANY = 1 / 8


@njit(nogil=True)
def tile_size(unroll):
    """Points in a tile: many, so that its start does not show; its planes stay in the L1 cache."""
    if len(unroll) <= 4:
        return 1024
    return 512 if len(unroll) <= 8 else 256


@njit(nogil=True)
def narrow_centers(
    centers,  # IN (n_clusters, n_features) float64
    origin,  # OUT (n_features,) float32, amid the centres
    narrow,  # OUT (n_clusters padded to ABREAST, n_features) float32, about the origin
    halves,  # OUT (n_clusters padded,) float32, half their squared lengths; infinite beyond
    reach,  # OUT (n_features + 1,) float64, largest coordinates, and largest of the halves
):
    """Centres in float32 about an origin amid them."""
    n_clusters, n_features = centers.shape
    for f in range(n_features):
        total = 0.0
        for j in range(n_clusters):
            total += centers[j, f] / n_clusters
        origin[f] = np.float32(total)
    reach[:] = 0.0
    narrow[:] = np.float32(0.0)
    halves[:] = np.float32(np.inf)
    for j in range(n_clusters):
        half = 0.0
        for f in range(n_features):
            c = centers[j, f] - np.float64(origin[f])
            narrow[j, f] = np.float32(c)
            reach[f] = max(reach[f], abs(c))
            half += 0.5 * c * c
        halves[j] = np.float32(half)
        reach[n_features] = max(reach[n_features], half)


@njit(nogil=True)
def load_narrow(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    origin,  # IN (n_features,) float32
    unroll,  # tuple of n_features
    planes,  # OUT (n_features, tile) float32, about the origin
):
    """Copy a tile of points into planes."""
    # Unsigned, so that nothing asks for each point whether it counts from the end.
    start = np.uint64(first) * np.uint64(len(unroll))
    for i in range(tile_size(unroll)):
        at = start + np.uint64(i) * np.uint64(len(unroll))
        for f in range(len(unroll)):
            planes[f, i] = np.float32(flat[at + np.uint64(f)] - origin[f])


@njit(nogil=True)
def load_rest(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    size,  # points of the tile
    origin,  # IN (n_features,) float32
    unroll,  # tuple of n_features
    planes,  # OUT (n_features, tile) float32, about the origin; the rest stays as it is
):
    """Copy what is left of the points into planes."""
    for f in range(len(unroll)):
        for i in range(size):
            planes[f, i] = np.float32(flat[(first + i) * len(unroll) + f] - origin[f])


@njit(nogil=True)
def load_wide(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    size,  # points of the tile
    unroll,  # tuple of n_features
    planes,  # OUT (n_features, tile) float64
):
    """Copy a tile of points into planes of float64."""
    start = np.uint64(first) * np.uint64(len(unroll))
    for i in range(size):
        at = start + np.uint64(i) * np.uint64(len(unroll))
        for f in range(len(unroll)):
            planes[f, i] = np.float64(flat[at + np.uint64(f)])


@njit(nogil=True)
def largest(
    bits,  # IN (n_features, tile) uint32, of float32
    f,  # which plane
    unroll,  # tuple of n_features
):
    """Bits of the largest absolute value of a plane; whole numbers are compared side by side."""
    found = np.uint32(0)
    for i in range(tile_size(unroll)):
        x = bits[f, i] & np.uint32(0x7FFFFFFF)
        found = x if x > found else found
    return found


# Contracted into fused operations: the bound on the error holds with and without.
@njit(nogil=True, fastmath={"contract"})
def score(planes, narrow, halves, j, i, unroll):
    """Half the squared distance of a point to a centre, less what is the same for all centres."""
    s = halves[j]
    for f in range(len(unroll)):
        s -= planes[f, i] * narrow[j, f]
    return s


@njit(nogil=True, fastmath={"contract"})
def two_best(
    planes,  # IN (n_features, tile) float32
    narrow,  # IN (n_clusters padded, n_features) float32
    halves,  # IN (n_clusters padded,) float32
    unroll,  # tuple of n_features
    best,  # OUT (tile,) float32, the lowest score
    second,  # OUT (tile,) float32, the lowest but one
    nearest,  # OUT (tile,) uint32
):
    """Lowest two scores of every point of a tile, and the centre of the lowest."""
    for i in range(tile_size(unroll)):
        best[i] = np.float32(np.inf)
        second[i] = np.float32(np.inf)
        nearest[i] = np.uint32(0)
    if len(unroll) <= 4:
        for j in range(0, narrow.shape[0], ABREAST):
            for i in range(tile_size(unroll)):
                b, t, n = best[i], second[i], nearest[i]
                for a in range(ABREAST):
                    s = score(planes, narrow, halves, j + a, i, unroll)
                    t = min(t, max(b, s))
                    closer = s < b
                    b = s if closer else b
                    n = np.uint32(j + a) if closer else n
                best[i], second[i], nearest[i] = b, t, n
    else:
        # More at once would not stay in the registers.
        for j in range(narrow.shape[0]):
            for i in range(tile_size(unroll)):
                s = score(planes, narrow, halves, j, i, unroll)
                b = best[i]
                second[i] = min(second[i], max(b, s))
                closer = s < b
                best[i] = s if closer else b
                nearest[i] = np.uint32(j) if closer else nearest[i]


@njit(nogil=True)
def nearest_to(
    flat,  # IN (n_points * n_features,)
    point,  # which point
    centers,  # IN (n_clusters, n_features) float64
    unroll,  # tuple of n_features
):
    """Nearest centre of a point in float64; the lowest index wins a tie."""
    start = np.uint64(point) * np.uint64(len(unroll))
    least, nearest = np.inf, 0
    for j in range(centers.shape[0]):
        d = 0.0
        for f in range(len(unroll)):
            t = np.float64(flat[start + np.uint64(f)]) - centers[j, f]
            d += t * t
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
    nearest,  # OUT (tile,) uint32
):
    """Nearest centre of every point of a tile, all in float64; the lowest index wins a tie."""
    planes, least = np.zeros((len(unroll), tile_size(unroll))), np.full(tile_size(unroll), np.inf)
    load_wide(flat, first, size, unroll, planes)
    for j in range(centers.shape[0]):
        for i in range(tile_size(unroll)):
            d = 0.0
            for f in range(len(unroll)):
                t = planes[f, i] - centers[j, f]
                d += t * t
            if d < least[i]:
                least[i] = d
                nearest[i] = np.uint32(j)


@njit(nogil=True)
def least_gap(
    bits,  # IN (tile,) uint32, of the gaps, which are float32 and not negative
    unroll,  # tuple of n_features
):
    """Bits of the least gap between the two best centres of a point."""
    found = np.uint32(0xFFFFFFFF)
    for i in range(tile_size(unroll)):
        x = bits[i]
        found = x if x < found else found
    return found


@njit(nogil=True)
def nearest_of_tile(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    size,  # points of the tile
    centers,  # IN (n_clusters, n_features) float64
    origin,  # IN, as of narrow_centers
    narrow,  # IN
    halves,  # IN
    reach,  # IN
    unroll,  # tuple of n_features
    planes,  # SCRATCH (n_features, tile) float32
    best,  # SCRATCH (tile,) float32
    second,  # SCRATCH (tile,) float32
    word,  # SCRATCH (1,) uint32
    nearest,  # OUT (tile,) uint32
):
    """Nearest centre in float64 of every point of a tile; the lowest index wins a tie."""
    if size == tile_size(unroll):
        load_narrow(flat, first, origin, unroll, planes)
    else:
        load_rest(flat, first, size, origin, unroll, planes)
    two_best(planes, narrow, halves, unroll, best, second, nearest)
    for i in range(tile_size(unroll)):
        second[i] -= best[i]
    # Every operation errs by a unit of what has been added up to it at most, centres,
    # points and halves by a unit each; twice, for two scores, and a little for the rest.
    terms = reach[len(unroll)]
    for f in range(len(unroll)):
        word[0] = largest(planes.view(np.uint32), f, unroll)
        terms += reach[f] * np.float64(word.view(np.float32)[0])
    bound = 2.1 * (2 * len(unroll) + 5) * (UNIT * terms + 2.0**-149)
    word[0] = least_gap(second.view(np.uint32), unroll)
    # Of what overflows nothing is sure.
    if bound < LARGEST and word.view(np.float32)[0] > bound:
        return
    n_doubtful = 0
    for i in range(size):
        n_doubtful += not second[i] > bound
    if n_doubtful > MANY * tile_size(unroll):
        nearest_in_float64(flat, first, size, centers, unroll, nearest)
        return
    for i in range(size):
        if not second[i] > bound:
            nearest[i] = nearest_to(flat, first + i, centers, unroll)
