"""k-means on points of many features: matrix products by BLAS, decided in float64.

As in nearest.py float32 proposes and float64 decides what is closer than rounding;
only that the products of points and centres are BLAS's.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from ..backend import Array, FloatArray
from .jit import array, compiled

# Numbers in the points of a tile, and in their products with the centres: half a megabyte
# of each stays in the second cache, and is work enough for a call from Python.
_MAX_NUMBERS = 2**17
_FEW = 64


def tile_size(n_features: int, n_clusters: int) -> int:
    """Points whose products are taken at once."""
    return max(_FEW, _MAX_NUMBERS // max(n_features, n_clusters))


class _Tiles:
    """Centres in float32 about their middle, and nearest centres of one tile after the other."""

    def __init__(self, points: Array, centers: FloatArray) -> None:
        self.points, self.centers = points, centers
        self.origin = centers.mean(axis=0).astype(np.float32)
        away = centers - self.origin
        with np.errstate(over="ignore", invalid="ignore"):
            self.narrow = away.astype(np.float32)
            self.halves = (0.5 * (away**2).sum(axis=1)).astype(np.float32)
        # A product of lengths is at least the sum of the products.
        self.reach = 1.001 * float(np.linalg.norm(np.abs(away).max(axis=0)))
        self.step = tile_size(points.shape[1], len(centers))
        self.rows = np.empty((self.step, points.shape[1]), np.float32)
        self.products = np.zeros((len(centers), self.step), np.float32)
        scratch = np.empty((2, self.step), np.float32)
        self.best, self.second = scratch
        self.nearest = np.empty(self.step, np.uint32)
        self.narrow_rows = compiled(
            narrow_rows,
            array(points.dtype.name, 2),
            types.intp,
            types.intp,
            array("float32"),
            array("float32", 2, written=True),
        )
        self.kernel = compiled(
            nearest_by_products,
            array(points.dtype.name, 2),
            types.intp,
            types.intp,
            array("float64", 2),
            array("float32", 2),
            array("float32", 2),
            array("float32"),
            types.float64,
            *(array("float32", written=True),) * 2,
            array("uint32", written=True),
        )

    def find(self, first: int, size: int) -> None:
        """Nearest centres of some points."""
        rows = self.rows[:size]
        self.narrow_rows(self.points, first, size, self.origin, rows)
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(self.narrow, rows.T, out=self.products[:, :size])
        self.kernel(
            self.points, first, size, self.centers, rows, self.products, self.halves, self.reach,
            self.best, self.second, self.nearest,
        )  # fmt: skip


def accumulate(
    points: Array,
    weights: FloatArray,
    centers: FloatArray,
    start: int,
    stop: int,
    unroll: tuple[int, ...],
    with_inertia: bool,
    sums: FloatArray,
    totals: FloatArray,
) -> float:
    """Do as `lloyd.accumulate`."""
    add = compiled(
        add_tile,
        array(points.dtype.name, 2),
        array("float64"),
        types.intp,
        types.intp,
        array("float64", 2),
        array("uint32"),
        types.boolean,
        array("float64", 2, written=True),
        array("float64", written=True),
    )
    tiles = _Tiles(points, centers)
    sums[:], totals[:], inertia = 0.0, 0.0, 0.0
    for first in range(start, stop, tiles.step):
        size = min(tiles.step, stop - first)
        tiles.find(first, size)
        inertia += add(
            points, weights, first, size, centers, tiles.nearest, with_inertia, sums, totals
        )
    return inertia


def assign(
    points: Array,
    centers: FloatArray,
    start: int,
    stop: int,
    unroll: tuple[int, ...],
    first_label: int,
    labels: Array,
    distances: FloatArray,
) -> None:
    """Do as `lloyd.assign`."""
    measure = compiled(
        distances_of_tile,
        array(points.dtype.name, 2),
        types.intp,
        types.intp,
        array("float64", 2),
        array("uint32"),
        array("float64", written=True),
    )
    tiles = _Tiles(points, centers)
    for first in range(start, stop, tiles.step):
        size = min(tiles.step, stop - first)
        tiles.find(first, size)
        labels[first : first + size] = tiles.nearest[:size] + np.uint32(first_label)
        if len(distances) > 0:
            measure(points, first, size, centers, tiles.nearest, distances)


@njit(nogil=True)
def squared_distance(points, point, centers, j):
    """Squared distance of a point to a centre."""
    d = 0.0
    for f in range(points.shape[1]):
        t = np.float64(points[point, f]) - centers[j, f]
        d += t * t
    return d


def narrow_rows(
    points,  # IN (n_points, n_features)
    first,  # first point of the tile
    size,  # points of the tile
    origin,  # IN (n_features,) float32
    rows,  # OUT (size, n_features) float32, about the origin
):
    """Copy a tile of points to float32."""
    for i in range(size):
        point = np.uint64(first + i)
        for f in range(points.shape[1]):
            rows[i, f] = np.float32(points[point, f] - origin[f])


# In any order, several at once: for what decides nothing.
@njit(nogil=True, fastmath={"reassoc"})
def distance_at_once(points, point, centers, j):
    """Squared distance of a point to a centre, up to rounding."""
    d = 0.0
    for f in range(points.shape[1]):
        t = np.float64(points[point, f]) - centers[j, f]
        d += t * t
    return d


@njit(nogil=True, fastmath={"reassoc"})
def squared_length(rows, i):
    """Squared length of a row, up to rounding."""
    total = np.float32(0.0)
    for f in range(rows.shape[1]):
        total += rows[i, f] * rows[i, f]
    return total


def nearest_by_products(
    points,  # IN (n_points, n_features)
    first,  # first point of the tile
    size,  # points of the tile
    centers,  # IN (n_clusters, n_features) float64
    rows,  # IN (size, n_features) float32, the points about an origin
    products,  # IN (n_clusters, tile) float32, of centres and points about the origin
    halves,  # IN (n_clusters,) float32, half the centres' squared lengths
    reach,  # float64, length of the vector of the centres' largest coordinates
    best,  # SCRATCH (tile,) float32
    second,  # SCRATCH (tile,) float32
    nearest,  # OUT (tile,) uint32
):
    """Nearest centre in float64 of every point of a tile; the lowest index wins a tie."""
    n_features = points.shape[1]
    largest = np.float64(0.0)
    for i in range(size):
        best[i] = np.float32(np.inf)
        second[i] = np.float32(np.inf)
        nearest[i] = np.uint32(0)
    for j in range(centers.shape[0]):
        half = halves[j]
        largest = max(largest, np.float64(half))
        for i in range(size):
            s = half - products[j, i]
            b = best[i]
            second[i] = min(second[i], max(b, s))
            closer = s < b
            best[i] = s if closer else b
            nearest[i] = np.uint32(j) if closer else nearest[i]
    # As in lanes.py: each operation errs by half a unit of what was added up to it at most.
    relative = 2.1 * (2 * n_features + 5) * 2.0**-24
    for i in range(size):
        terms = largest + np.sqrt(np.float64(squared_length(rows, i)) + 1e-37) * reach
        gap = np.float64(second[i]) - np.float64(best[i])
        if terms < 1e38 and gap > relative * terms + n_features * 2.0**-144:
            continue
        least = np.inf
        for j in range(centers.shape[0]):
            d = squared_distance(points, first + i, centers, j)
            if d < least:
                least = d
                nearest[i] = np.uint32(j)


def add_tile(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    first,  # first point of the tile
    size,  # points of the tile
    centers,  # IN (n_clusters, n_features) float64
    nearest,  # IN (tile,) uint32
    with_inertia,  # whether inertia is wanted
    sums,  # INOUT (n_clusters, n_features) float64
    totals,  # INOUT (n_clusters,) float64
):
    """Add the points of a tile to the sums of their clusters; return their inertia, or zero."""
    inertia, weight = 0.0, 1.0
    for i in range(size):
        j, point = nearest[i], np.uint64(first + i)
        if len(weights) > 0:
            weight = weights[point]
        totals[j] += weight
        for f in range(points.shape[1]):
            sums[j, f] += weight * np.float64(points[point, f])
        if with_inertia:
            inertia += weight * distance_at_once(points, point, centers, j)
    return inertia


def distances_of_tile(
    points,  # IN (n_points, n_features)
    first,  # first point of the tile
    size,  # points of the tile
    centers,  # IN (n_clusters, n_features) float64
    nearest,  # IN (tile,) uint32
    distances,  # OUT (n_points,) float64
):
    """Squared distances of the points of a tile to their centres."""
    for i in range(size):
        distances[first + i] = squared_distance(points, first + i, centers, nearest[i])


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
    totals[:] = 0.0
    for i in range(start, stop):
        for c in range(candidates.shape[0]):
            d = min(distance_at_once(points, i, candidates, c), closest[i])
            if update:
                closest[i] = d
            totals[c] += d * weights[i] if len(weights) > 0 else d
