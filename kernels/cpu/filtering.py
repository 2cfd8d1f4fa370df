"""Numba kernels of the filtering algorithm: cells of nearby points that few centres can own.

A centre that is farther than another from all of a cell's box cannot own a point of
it (Kanungo et al., "An efficient k-means clustering algorithm: analysis and
implementation", IEEE Trans. Pattern Anal. Mach. Intell. 24, 2002). What is left is
decided by the same distances as everywhere, so the labels are those of plain Lloyd.
Cells are runs of points in Z-order; sixteen of them make a block.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Points in a cell, and cells in a block.
CELL = 64
BLOCK = 16


def z_keys(
    values,  # IN (n_points, n_features)
    low,  # IN (n_features,) float64, smallest value of each feature
    scale,  # IN (n_features,) float64, from values to places in ``spread``
    spread,  # IN (2**n_bits,) uint64, the bits of whole numbers, n_features apart
    unroll,  # tuple of n_features
    keys,  # OUT (n_points,) uint64, the features' bits interleaved above the point's number
):
    """Place of each point on the Z-order curve."""
    for i in range(values.shape[0]):
        key = np.uint64(0)
        for f in range(len(unroll)):
            place = np.int64((np.float64(values[i, f]) - low[f]) * scale[f])
            key |= spread[place] << np.uint64(f)
        keys[i] = (key << np.uint64(32)) | np.uint64(i)


def summarize_cells(
    values,  # IN (n_points, n_features), in Z-order
    weights,  # IN (n_points,) float64
    low,  # OUT (n_cells, n_features) float64, the cell's box
    high,  # OUT (n_cells, n_features) float64
    sums,  # OUT (n_cells, n_features) float64, weighted
    totals,  # OUT (n_cells,) float64, weights
    scatter,  # OUT (n_cells,) float64, weighted squared distances to the cell's mean
):
    """Box, sum, weight and scatter of every cell."""
    n, n_features = values.shape
    for cell in range(len(totals)):
        first, last = cell * CELL, min((cell + 1) * CELL, n)
        low[cell], high[cell], sums[cell] = np.inf, -np.inf, 0.0
        totals[cell] = 0.0
        for i in range(first, last):
            totals[cell] += weights[i]
            for f in range(n_features):
                x = np.float64(values[i, f])
                low[cell, f] = min(low[cell, f], x)
                high[cell, f] = max(high[cell, f], x)
                sums[cell, f] += weights[i] * x
        scatter[cell] = 0.0
        for i in range(first, last):
            for f in range(n_features):
                t = np.float64(values[i, f]) - sums[cell, f] / totals[cell]
                scatter[cell] += weights[i] * (t * t)


@njit(nogil=True)
def keep_owners(
    centers,  # IN (n_features, >= n) float64, candidates in ascending order of their ids
    ids,  # IN (>= n,) int64
    n,  # number of candidates
    low,  # IN (n_features,) float64, box
    high,  # IN (n_features,) float64
    margin,  # what rounding may hide
    gap,  # SCRATCH (>= n,) float64
    kept_centers,  # OUT (n_features, >= n) float64
    kept_ids,  # OUT (>= n,) int64
):
    """Keep the candidates that may be nearest to a point of the box; return their number."""
    n_features = centers.shape[0]
    for j in range(n):
        gap[j] = 0.0
    for f in range(n_features):
        middle = 0.5 * (low[f] + high[f])
        for j in range(n):
            t = centers[f, j] - middle
            gap[j] += t * t
    best = 0
    for j in range(1, n):
        if gap[j] < gap[best]:
            best = j
    # Least of |x - c|**2 - |x - best|**2 over the box: at the corner towards c.
    for j in range(n):
        gap[j] = 0.0
    for f in range(n_features):
        z, lo, hi = centers[f, best], low[f], high[f]
        for j in range(n):
            c = centers[f, j]
            corner = hi if c > z else lo
            gap[j] += (c - z) * (c + z - 2.0 * corner)
    kept = 0
    for j in range(n):
        if gap[j] <= margin:
            kept_ids[kept] = ids[j]
            for f in range(n_features):
                kept_centers[f, kept] = centers[f, j]
            kept += 1
    return kept


@njit(nogil=True)
def add_cell(
    values,  # IN (n_points, n_features), in Z-order
    weights,  # IN (n_points,) float64
    first,  # first point of the cell
    last,  # end of the cell
    centers,  # IN (n_features, >= n) float64, candidates
    ids,  # IN (>= n,) int64
    n,  # number of candidates
    unroll,  # tuple of n_features
    planes,  # SCRATCH (n_features, CELL) float64
    best,  # SCRATCH (CELL,) float64
    nearest,  # SCRATCH (CELL,) int64
    sums,  # INOUT (n_clusters, n_features) float64
    totals,  # INOUT (n_clusters,) float64
):
    """Assign the points of a cell to their nearest candidates; return their inertia."""
    for i in range(last - first):
        for f in range(len(unroll)):
            planes[f, i] = values[first + i, f]
    for i in range(CELL):
        best[i] = np.inf
        nearest[i] = 0
    for j in range(n):
        for i in range(CELL):
            d = 0.0
            for f in range(len(unroll)):
                t = planes[f, i] - centers[f, j]
                d += t * t
            if d < best[i]:
                best[i] = d
                nearest[i] = j
    inertia = 0.0
    for i in range(last - first):
        w = weights[first + i]
        j = ids[nearest[i]]
        for f in range(len(unroll)):
            sums[j, f] += w * planes[f, i]
        totals[j] += w
        inertia += w * best[i]
    return inertia


@njit(nogil=True)
def add_whole(
    center,  # IN (n_features,) float64, the owner
    j,  # its id
    cell_sums,  # IN (n_features,) float64
    weight,  # total weight
    scatter,  # weighted squared distances to the mean
    sums,  # INOUT (n_clusters, n_features) float64
    totals,  # INOUT (n_clusters,) float64
):
    """Give all points of a cell or block to their owner; return their inertia."""
    away = 0.0
    for f in range(len(center)):
        sums[j, f] += cell_sums[f]
        t = cell_sums[f] / weight - center[f]
        away += t * t
    totals[j] += weight
    return scatter + weight * away


def accumulate_cells(
    values,  # IN (n_points, n_features), in Z-order
    weights,  # IN (n_points,) float64
    cell_low,  # IN (n_cells, n_features) float64
    cell_high,  # IN (n_cells, n_features) float64
    cell_sums,  # IN (n_cells, n_features) float64
    cell_totals,  # IN (n_cells,) float64
    cell_scatter,  # IN (n_cells,) float64
    block_sums,  # IN (n_blocks, n_features) float64
    block_totals,  # IN (n_blocks,) float64
    block_scatter,  # IN (n_blocks,) float64
    exact,  # whether sums may be added in any order: whole cells and blocks at once
    centers,  # IN (n_features, n_clusters) float64
    margin,  # what rounding may hide of a difference of squared distances
    start,  # first cell of the chunk, a multiple of BLOCK
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Assign the points of a chunk of cells and sum them up; return their inertia."""
    n_features, k = centers.shape
    every = np.arange(k)
    gap, low, high = np.empty(k), np.empty(n_features), np.empty(n_features)
    block_centers, block_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    own_centers, own_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    planes, best = np.zeros((n_features, CELL)), np.empty(CELL)
    nearest = np.empty(CELL, np.int64)
    sums[:] = 0.0
    totals[:] = 0.0
    inertia = 0.0
    for block in range(start, stop, BLOCK):
        end = min(block + BLOCK, stop)
        for f in range(n_features):
            low[f] = cell_low[block:end, f].min()
            high[f] = cell_high[block:end, f].max()
        n = keep_owners(centers, every, k, low, high, margin, gap, block_centers, block_ids)
        if n == 1 and exact:
            b = block // BLOCK
            inertia += add_whole(
                block_centers[:, 0], block_ids[0], block_sums[b], block_totals[b],
                block_scatter[b], sums, totals,
            )  # fmt: skip
            continue
        for cell in range(block, end):
            owners = keep_owners(
                block_centers, block_ids, n, cell_low[cell], cell_high[cell], margin, gap,
                own_centers, own_ids,
            )  # fmt: skip
            if owners == 1 and exact:
                inertia += add_whole(
                    own_centers[:, 0], own_ids[0], cell_sums[cell], cell_totals[cell],
                    cell_scatter[cell], sums, totals,
                )  # fmt: skip
            else:
                first = cell * CELL
                inertia += add_cell(
                    values, weights, first, min(first + CELL, len(weights)), own_centers, own_ids,
                    owners, unroll, planes, best, nearest, sums, totals,
                )  # fmt: skip
    return inertia
