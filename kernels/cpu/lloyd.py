"""The Numba kernels of k-means on the CPU.

Points are copied tile by tile into float64 planes in the L1 cache, one plane per
channel, so that neighbouring pixels fill the lanes of a vector; centres are the
outer loop. ``unroll`` is a tuple whose length is the number of features: its
values do not matter, but the compiler knows its length and unrolls over it. An
empty tuple stands for any number of features.

All kernels of one call chain stand in this file, because Numba's cache notices a
change of the file that holds a kernel and of no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

from .jit import array, compiled

# Above this many features a loop over features replaces the unrolled code.
MAX_UNROLLED = 16


@njit(nogil=True)
def tile_size(unroll):
    """Points in a tile: the planes should fit in half of a 32 KiB L1 cache."""
    if len(unroll) == 0:
        return 64
    if len(unroll) <= 4:
        return 512
    return 256 if len(unroll) <= 8 else 128


@njit(nogil=True)
def load_tile(
    points,  # IN (n_points, n_features)
    start,  # first point of the tile
    size,  # points in the tile
    unroll,  # tuple of n_features, or empty
    planes,  # OUT (n_features, tile) float64
):
    """Copy a tile of points into planes."""
    if len(unroll) > 0:
        for i in range(size):
            for f in range(len(unroll)):
                planes[f, i] = points[start + i, f]
    else:
        for i in range(size):
            for f in range(points.shape[1]):
                planes[f, i] = points[start + i, f]


@njit(nogil=True)
def distances_in_tile(
    planes,  # IN (n_features, tile) float64
    center,  # IN (n_features,) float64
    unroll,  # tuple of n_features, or empty
    distances,  # OUT (tile,) float64
):
    """Squared distances of a tile to one centre."""
    tile = tile_size(unroll)
    if len(unroll) > 0:
        for i in range(tile):
            d = 0.0
            for f in range(len(unroll)):
                t = planes[f, i] - center[f]
                d += t * t
            distances[i] = d
    else:
        for i in range(tile):
            distances[i] = 0.0
        for f in range(planes.shape[0]):
            c = center[f]
            for i in range(tile):
                t = planes[f, i] - c
                distances[i] += t * t


@njit(nogil=True)
def nearest_in_tile(
    planes,  # IN (n_features, tile) float64
    centers,  # IN (n_clusters, n_features) float64
    unroll,  # tuple of n_features, or empty
    distances,  # SCRATCH (tile,) float64
    best,  # OUT (tile,) float64, squared distance to the nearest centre
    labels,  # OUT (tile,) int64, as wide as a distance so that one mask serves both
):
    """Nearest centre of every point of a tile; the lowest index wins a tie."""
    tile = tile_size(unroll)
    for i in range(tile):
        best[i] = np.inf
        labels[i] = 0
    for j in range(centers.shape[0]):
        if len(unroll) > 0:
            # Fused by hand: the distances never leave the registers.
            for i in range(tile):
                d = 0.0
                for f in range(len(unroll)):
                    t = planes[f, i] - centers[j, f]
                    d += t * t
                if d < best[i]:
                    best[i] = d
                    labels[i] = j
        else:
            distances_in_tile(planes, centers[j], unroll, distances)
            for i in range(tile):
                if distances[i] < best[i]:
                    best[i] = distances[i]
                    labels[i] = j


@njit(nogil=True)
def weigh_tile(
    planes,  # INOUT (n_features, tile) float64
    best,  # INOUT (tile,) float64
    weights,  # IN (tile,) float64
):
    """Multiply what a tile adds by its weights."""
    for f in range(planes.shape[0]):
        plane = planes[f]
        for i in range(len(weights)):
            plane[i] *= weights[i]
    for i in range(len(weights)):
        best[i] *= weights[i]


@njit(nogil=True)
def add_tile(
    planes,  # IN (n_features, tile) float64, weighted
    labels,  # IN (tile,) int64
    best,  # IN (tile,) float64, weighted
    weights,  # IN (tile,) float64, zero for what is beyond the last point
    unroll,  # tuple of n_features, or empty
    copies,  # INOUT (2, n_clusters, n_features + 1) float64, sums and total weights
    inertia,  # INOUT (8,) float64, the sums of every eighth point
):
    """Add a tile to the sums of its clusters."""
    tile = tile_size(unroll)
    n_features = planes.shape[0]
    for i in range(0, tile, 8):
        for lane in range(8):
            inertia[lane] += best[i + lane]
    # Neighbouring pixels often share a cluster: adding them to one sum in turn
    # would wait for the store of the one before, so odd and even pixels alternate.
    for i in range(0, tile, 2):
        for copy in range(2):
            j = labels[i + copy]
            if len(unroll) > 0:
                for f in range(len(unroll)):
                    copies[copy, j, f] += planes[f, i + copy]
            else:
                for f in range(n_features):
                    copies[copy, j, f] += planes[f, i + copy]
            copies[copy, j, n_features] += weights[i + copy]


def accumulate(
    points,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64, or (0,): every point weighs one
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features, or empty
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Assign a chunk and sum it up; return its inertia."""
    tile = tile_size(unroll)
    planes = np.zeros((points.shape[1], tile))
    distances = np.empty(tile)
    best = np.empty(tile)
    labels = np.empty(tile, np.int64)
    weighted = len(weights) > 0
    copies = np.zeros((2, centers.shape[0], points.shape[1] + 1))
    inertia = np.zeros(8)
    tile_weights = np.ones(tile)
    for first in range(start, stop, tile):
        size = min(tile, stop - first)
        load_tile(points, first, size, unroll, planes)
        nearest_in_tile(planes, centers, unroll, distances, best, labels)
        if weighted:
            for i in range(size):
                tile_weights[i] = weights[first + i]
        if weighted or size < tile:
            tile_weights[size:] = 0.0
            weigh_tile(planes, best, tile_weights)
        add_tile(planes, labels, best, tile_weights, unroll, copies, inertia)
    for j in range(centers.shape[0]):
        for f in range(points.shape[1]):
            sums[j, f] = copies[0, j, f] + copies[1, j, f]
        totals[j] = copies[0, j, points.shape[1]] + copies[1, j, points.shape[1]]
    return inertia.sum()


def assign(
    points,  # IN (n_points, n_features)
    centers,  # IN (n_clusters, n_features) float64
    start,  # first point of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features, or empty
    first_label,  # added to every label
    labels,  # OUT (n_points,) uint8, uint16 or int32
    distances,  # OUT (n_points,) float64, or (0,): not wanted
):
    """Label a chunk with its nearest centres."""
    tile = tile_size(unroll)
    planes = np.zeros((points.shape[1], tile))
    scratch = np.empty(tile)
    best = np.empty(tile)
    nearest = np.empty(tile, np.int64)
    for first in range(start, stop, tile):
        size = min(tile, stop - first)
        load_tile(points, first, size, unroll, planes)
        nearest_in_tile(planes, centers, unroll, scratch, best, nearest)
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
    unroll,  # tuple of n_features, or empty
    closest,  # INOUT (n_points,) float64, squared distance to the centres so far
    update,  # whether the candidates become centres
    totals,  # OUT (n_candidates,) float64, inertia that each candidate would leave
):
    """Weigh up candidates of k-means++ on a chunk."""
    tile = tile_size(unroll)
    planes = np.zeros((points.shape[1], tile))
    distances = np.empty(tile)
    totals[:] = 0.0
    for first in range(start, stop, tile):
        size = min(tile, stop - first)
        load_tile(points, first, size, unroll, planes)
        for c in range(candidates.shape[0]):
            distances_in_tile(planes, candidates[c], unroll, distances)
            for i in range(size):
                distances[i] = min(distances[i], closest[first + i])
            if update:
                for i in range(size):
                    closest[first + i] = distances[i]
            if len(weights) > 0:
                for i in range(size):
                    distances[i] *= weights[first + i]
            total = 0.0
            for i in range(size):
                total += distances[i]
            totals[c] += total


def kernel_for(kernel: Callable[..., Any], dtype: str, n_features: int, labels: str = "") -> Any:
    """One of the kernels above, for a type of points and labels and a number of features."""
    points, centers = array(dtype, 2), array("float64", 2)
    read, written = array("float64"), array("float64", written=True)
    n_unrolled = n_features if n_features <= MAX_UNROLLED else 0
    chunk = (types.intp, types.intp, types.UniTuple(types.int64, n_unrolled))
    if kernel is accumulate:
        sums = array("float64", 2, written=True)
        return compiled(kernel, points, read, centers, *chunk, sums, written)
    if kernel is assign:
        out = array(labels, written=True)
        return compiled(kernel, points, centers, *chunk, types.intp, out, written)
    return compiled(kernel, points, read, centers, *chunk, written, types.boolean, written)
