"""Points whose nearest centre cannot have changed: exact pruning by two bounds a point.

A point keeps an upper bound on the distance to its centre and a lower bound on those to
all others; both give way by as much as centres move, and while they do not meet the
point keeps its cluster without a look at any centre (Hamerly, "Making k-means even
faster", SIAM International Conference on Data Mining 2010). The points are added up
again all the same, in the order of the plain pass, so that the sums are its bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from ..backend import Array, FloatArray
from .jit import array, compiled
from .lanes import ABREAST, add_row
from .many_features import distance_at_once, nearest_of_group, scratch_for
from .nearest import relative_error

# Points whose clusters are found before they are added up.
TILE = 256
# Clusters from which on bounds are kept: with 64, of 16 features, a pass takes half as long
# again where no point is spared, and a quarter of the time where nine of ten are.
MIN_BOUNDED = 64
# Share of spared points from which on bounds are used, and how many points are asked: with a
# third or so a pass is as fast as a plain one, but bounds of a while ago spare fewer.
_WORTH, _ASKED = 1 / 2, 1000
# What is lost to rounding when bounds give way, as a share of them.
_UP, _DOWN = np.float32(1.0 + 2.0**-20), np.float32(1.0 - 2.0**-20)


@dataclass
class Bounds:
    """Clusters of all points by the ``centers``, and bounds on distances to them.

    ``labels`` (n,) uint32; ``upper`` (n,) float32, on the distance to the own centre;
    ``lower`` (n,) float32, on the distance to every other. ``last`` are the centres of the
    last pass, which may have been a plain one; before the first there are none.
    """

    centers: FloatArray
    last: FloatArray | None
    labels: Array
    upper: Array
    lower: Array

    @classmethod
    def unknown(cls, centers: FloatArray, n_points: int) -> Bounds:
        """Bounds that tell nothing."""
        return cls(
            centers,
            None,
            np.zeros(n_points, np.uint32),
            np.full(n_points, np.inf, np.float32),
            np.zeros(n_points, np.float32),
        )

    def pay(self, centers: FloatArray) -> bool:
        """Whether it is worth while to keep them: what bounds like these spare of such a step."""
        if self.last is None:
            return True
        moved, others = moved_between(self.last, centers)
        asked = slice(None, None, -(-len(self.labels) // _ASKED))
        own = self.labels[asked]
        spared = self.upper[asked] + moved[own] < self.lower[asked] - others[own]
        return bool(spared.mean() > _WORTH)


def moved_between(before: FloatArray, after: FloatArray) -> tuple[Array, Array]:
    """How far each centre moved, and the farthest that any other did, (k,) float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.sqrt(((after - before) ** 2).sum(axis=1)) * (1 + 2.0**-20)
        moved = np.nextafter(moved.astype(np.float32), np.float32(np.inf))
    others = np.full(len(moved), moved.max())
    if len(moved) > 1:
        most = int(moved.argmax())
        others[most] = np.delete(moved, most).max()
    return moved, others


@njit(nogil=True)
def bound_group(
    size,  # points of the group
    n_features,
    scratch,  # of `nearest_of_group`, which has just found their nearest centres
    upper,  # OUT (ABREAST,) float32
    lower,  # OUT (ABREAST,) float32
):
    """Bounds on the distances of some points to their centres, and to all others."""
    _, _, doubtful, scores, _ = scratch
    # As in proposing.py: what scores may be wrong by, and then the lengths.
    of_score = np.float32(relative_error(n_features))
    of_length = np.float32(1.1 * (n_features + 3) * 2.0**-23)
    for i in range(size):
        length, best, second = scores[2, i], scores[0, i], scores[1, i]
        about = of_length * length + np.float32(2.0**-120)
        near = length + np.float32(2.0) * best + about
        near += of_score * (np.float32(20.0) * length + np.float32(18.0) * best)
        far = length + np.float32(2.0) * second - about - np.float32(2.0) * of_score * length
        # Centres beyond what float32 holds are farther than this.
        far = min(far, np.float32(1e37))
        # What is in doubt, or not a number, stays without bounds.
        sure = doubtful[i] == 0 and near < np.inf and far > 0.0
        upper[i] = np.sqrt(max(near, np.float32(0.0))) * _UP if sure else np.float32(np.inf)
        lower[i] = np.sqrt(far) * _DOWN if sure else np.float32(0.0)


@njit(nogil=True)
def give_way(
    first,  # first point
    size,  # how many
    moves,  # IN how far each centre moved, and the farthest that any other did
    known,  # INOUT labels and bounds of all points
    is_open,  # OUT (ABREAST,) bool, where the bounds meet
):
    """Let the bounds of some points give way."""
    (moved, others), (labels, upper, lower) = moves, known
    for i in range(np.uint64(size)):
        point = np.uint64(first) + i
        j = np.uint64(labels[point])
        near, far = (upper[point] + moved[j]) * _UP, (lower[point] - others[j]) * _DOWN
        upper[point], lower[point] = near, far
        is_open[i] = not near * _UP < far


@njit(nogil=True)
def decide(
    group,  # IN (ABREAST * n_features,), points side by side
    chosen,  # IN (ABREAST,) uint64, what they are among all points
    size,  # how many of them count
    centers,  # IN (n_clusters, n_features) float64
    scratch,  # what scratch_for returns for them
    found,  # SCRATCH labels (ABREAST,) uint32 and bounds (ABREAST,) float32
    known,  # INOUT labels and bounds of all points
):
    """Find the nearest centres of a group, and bounds, anew."""
    nearest_of_group(group, 0, ABREAST, centers, scratch, found[0])
    bound_group(size, centers.shape[1], scratch, found[1], found[2])
    for i in range(size):
        point = chosen[i]
        known[0][point] = found[0][i]
        known[1][point] = found[1][i]
        known[2][point] = found[2][i]


@njit(nogil=True)
def assign_tile(
    flat,  # IN (n_points * n_features,)
    first,  # first point of the tile
    last,  # end of the tile
    centers,  # IN (n_clusters, n_features) float64
    moves,  # IN how far each centre moved, and the farthest that any other did
    scratch,  # what scratch_for returns for the centres
    group,  # SCRATCH (ABREAST * n_features,) of the points' type
    chosen,  # SCRATCH (ABREAST,) uint64
    is_open,  # SCRATCH (ABREAST,) bool
    found,  # SCRATCH labels (ABREAST,) uint32 and bounds (ABREAST,) float32
    known,  # INOUT labels and bounds of all points
):
    """Assign those points of a tile whose cluster may have changed."""
    n = np.uint64(centers.shape[1])
    n_chosen = np.uint64(0)  # no literal, for which `decide` would be compiled as well
    for at in range(first, last, ABREAST):
        size = min(ABREAST, last - at)
        give_way(at, size, moves, known, is_open)
        for i in range(size):
            if not is_open[i]:
                continue
            point = np.uint64(at + i)
            for f in range(n):
                group[n_chosen * n + f] = flat[point * n + f]
            chosen[n_chosen] = point
            n_chosen += np.uint64(1)
            if n_chosen == ABREAST:
                decide(group, chosen, n_chosen, centers, scratch, found, known)
                n_chosen = np.uint64(0)
    if n_chosen > 0:
        decide(group, chosen, n_chosen, centers, scratch, found, known)


def accumulate_bounded(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    moved,  # IN (n_clusters,) float32, how far each centre moved since the last pass
    others,  # IN (n_clusters,) float32, the farthest that any other centre moved
    labels,  # INOUT (n_points,) uint32
    upper,  # INOUT (n_points,) float32
    lower,  # INOUT (n_points,) float32
    with_inertia,  # whether inertia is wanted
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Assign a chunk anew and sum it up; return its inertia, or zero."""
    flat, rows = points.reshape(-1), sums.reshape(-1)
    n = np.uint64(points.shape[1])
    scratch = scratch_for(centers)
    # Zeros, for what is beyond the last chosen point is looked at as well.
    group = np.zeros(np.uint64(ABREAST) * n, flat.dtype)
    chosen = np.empty(ABREAST, np.uint64)
    is_open = np.empty(ABREAST, np.bool_)
    found = (
        np.empty(ABREAST, np.uint32),
        np.empty(ABREAST, np.float32),
        np.empty(ABREAST, np.float32),
    )
    known = (labels, upper, lower)
    rows[:] = 0.0
    totals[:] = 0.0
    inertia, weight = 0.0, 1.0
    for first in range(start, stop, TILE):
        last = min(first + TILE, stop)
        assign_tile(
            flat, first, last, centers, (moved, others), scratch, group, chosen, is_open, found,
            known,
        )  # fmt: skip
        for i in range(first, last):
            point = np.uint64(i)
            j = np.uint64(labels[point])
            if len(weights) > 0:
                weight = weights[point]
            totals[j] += weight
            add_row(flat, point * n, weight, rows, j * n, n)
            if with_inertia:
                inertia += weight * distance_at_once(flat, point * n, centers, j)
    return inertia


@cache
def bounded_kernel(dtype: str) -> Any:
    """`accumulate_bounded` for a type of points."""
    return compiled(
        accumulate_bounded,
        array(dtype, 2),
        array("float64"),
        array("float64", 2),
        *(types.intp,) * 2,
        *(array("float32"),) * 2,
        array("uint32", written=True),
        *(array("float32", written=True),) * 2,
        types.boolean,
        array("float64", 2, written=True),
        array("float64", written=True),
    )
