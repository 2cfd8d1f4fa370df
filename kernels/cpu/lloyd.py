"""The Numba kernels of k-means on points of few features.

``unroll`` is a tuple whose length is the number of features: its values do not
matter, but the compiler knows its length and unrolls over it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from . import many_features
from .closest import closest_of_points
from .column_sums import add_columns, clusters_summed_of
from .jit import array, compiled
from .lanes import ABREAST, ALIGNED, WIDE, add_point, together_of, width_of
from .nearest import TILE, narrow_centers, nearest_of_tile, squared_distance

# Above this many features other kernels are faster: see many_features.py.
MAX_FEATURES = 15
# Sums are kept so many times, so that a point need not wait for the sum of the one before
# it; where that would leave the first cache, once.
COPIES = 4
MAX_COPIED = 2048


@njit(nogil=True)
def aligned_zeros(n):
    """Zeros that begin where a vector may."""
    room = np.zeros(n + ALIGNED)
    return room[-(room.ctypes.data // 8) % ALIGNED :]


def accumulate(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    with_inertia,  # whether inertia is wanted
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Assign a chunk and sum it up; return its inertia, or zero."""
    flat = points.reshape(-1)
    n_clusters, n_features = centers.shape
    about = narrow_centers(centers, together_of(unroll))
    doubtful, nearest = np.empty(TILE, np.uint32), np.empty(TILE, np.uint32)
    planes = np.empty(n_features * TILE, np.float32)
    width = width_of(unroll)
    k = np.uint64(n_clusters)
    last_copy = np.uint64(COPIES - 1 if n_clusters * width <= MAX_COPIED else 0)
    rows = aligned_zeros((last_copy + np.uint64(1)) * k * width)
    n_summed = clusters_summed_of(unroll)
    few = k <= n_summed and len(weights) == 0 and flat.itemsize < 8
    columns = aligned_zeros(n_summed * np.uint64(len(unroll) * ALIGNED))
    counts = np.zeros(n_summed, np.int64)
    inertia = 0.0
    weight = 1.0
    for first in range(start, stop, TILE):
        size = min(TILE, stop - first)
        nearest_of_tile(flat, first, size, centers, about, unroll, doubtful, planes, nearest)
        at = np.uint64(first)
        done = 0
        if few:
            done = size // ABREAST * ABREAST
            add_columns(planes, np.uint64(TILE), nearest, np.uint64(done), columns, counts, unroll)
        if len(weights) > 0:
            for i in range(size):
                row = (np.uint64(i) & last_copy) * k + np.uint64(nearest[i])
                weight = weights[at + np.uint64(i)]
                add_point(flat, at + np.uint64(i), weight, rows, row, unroll)
        else:
            for i in range(done, size):
                row = (np.uint64(i) & last_copy) * k + np.uint64(nearest[i])
                add_point(flat, at + np.uint64(i), 1.0, rows, row, unroll)
        if with_inertia:
            for i in range(size):
                if len(weights) > 0:
                    weight = weights[first + i]
                inertia += weight * squared_distance(flat, first + i, centers, nearest[i], unroll)
    if few:
        for j in range(n_clusters):
            row = np.uint64(j) * width
            for f in range(n_features):
                for lane in range(ALIGNED):
                    rows[row + np.uint64(f)] += columns[(j * n_features + f) * ALIGNED + lane]
            rows[row + np.uint64(n_features)] += counts[j]
    for j in range(n_clusters):
        for f in range(n_features + 1):
            total = 0.0
            for copy in range(last_copy + np.uint64(1)):
                total += rows[(copy * k + np.uint64(j)) * width + np.uint64(f)]
            if f < n_features:
                sums[j, f] = total
            else:
                totals[j] = total
    return inertia


def assign(
    points,  # IN (n_points, n_features)
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    first_label,  # added to every label
    labels,  # OUT (n_points,) uint8, uint16 or int32
    distances,  # OUT (n_points,) float64, or (0,): not wanted
):
    """Label a chunk with its nearest centres."""
    flat = points.reshape(-1)
    about = narrow_centers(centers, together_of(unroll))
    doubtful, nearest = np.empty(TILE, np.uint32), np.empty(TILE, np.uint32)
    planes = np.empty(len(unroll) * TILE, np.float32)
    for first in range(start, stop, TILE):
        size = min(TILE, stop - first)
        nearest_of_tile(flat, first, size, centers, about, unroll, doubtful, planes, nearest)
        at = np.uint64(first)
        for i in range(size):
            labels[at + np.uint64(i)] = nearest[i] + first_label
        if len(distances) > 0:
            for i in range(size):
                distances[first + i] = squared_distance(
                    flat, first + i, centers, nearest[i], unroll
                )


def potentials(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    added,  # IN (n_added, n_features) float64, centres that are new
    candidates,  # IN (n_candidates, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    closest,  # INOUT (n_points,) float64, squared distance to the centres so far
    totals,  # OUT (n_candidates,) float64, inertia that each candidate would leave
):
    """Bring new centres in, and weigh up candidates of k-means++, on a chunk."""
    flat, new, asked = points.reshape(-1), added.reshape(-1), candidates.reshape(-1)
    n_added, n_candidates = np.uint64(len(added)), np.uint64(len(candidates))
    lanes = np.zeros(len(candidates) * WIDE)
    whole = start + (stop - start) // WIDE * WIDE
    weighted = len(weights) > 0
    for first in range(start, whole, WIDE):
        closest_of_points(
            flat, np.uint64(first), new, n_added, asked, n_candidates, weights, weighted, closest,
            lanes, unroll,
        )  # fmt: skip
    for c in range(len(candidates)):
        totals[c] = 0.0
        for lane in range(WIDE):
            totals[c] += lanes[c * WIDE + lane]
    for i in range(whole, stop):
        for j in range(len(added)):
            closest[i] = min(closest[i], squared_distance(flat, i, added, j, unroll))
        for c in range(len(candidates)):
            left = min(closest[i], squared_distance(flat, i, candidates, c, unroll))
            totals[c] += left * weights[i] if weighted else left


def kernel_for(name: str, dtype: str, n_features: int, labels: str = "") -> Any:
    """Kernel of this file for a type of points and of labels, or its like of many_features.py."""
    few = n_features <= MAX_FEATURES
    kernel = globals()[name] if few else getattr(many_features, name)
    points, centers = array(dtype, 2), array("float64", 2)
    read, written = array("float64"), array("float64", written=True)
    chunk = (types.intp, types.intp, types.UniTuple(types.int64, n_features if few else 0))
    if name == "accumulate":
        sums = array("float64", 2, written=True)
        return compiled(kernel, points, read, centers, *chunk, types.boolean, sums, written)
    if name == "assign":
        out = array(labels, written=True)
        return compiled(kernel, points, centers, *chunk, types.intp, out, written)
    return compiled(kernel, points, read, centers, centers, *chunk, written, written)
