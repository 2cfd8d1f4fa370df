"""Numba kernels of the filtering algorithm: cells of nearby points that few centres can own.

A centre that is farther than another from all of a cell's box cannot own a point of
it (Kanungo et al., "An efficient k-means clustering algorithm: analysis and
implementation", IEEE Trans. Pattern Anal. Mach. Intell. 24, 2002). What is left is
decided by the same distances as everywhere, so the labels are those of plain Lloyd.
Cells are runs of points in Z-order; eight of them make a block.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Points in a cell, and cells in a block.
CELL = 256
BLOCK = 8
# Candidates up to which masked sums are faster than adding point by point.
MAX_MASKED = 16


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
            # Rounding must not lead out of the table.
            if place < 0:
                place = np.int64(0)
            elif place >= len(spread):
                place = np.int64(len(spread) - 1)
            key |= spread[place] << np.uint64(f)
        keys[i] = (key << np.uint64(32)) | np.uint64(i)


def lay_out_cells(
    values,  # IN (n_points, n_features)
    weights,  # IN (n_points,) float64
    order,  # IN (n_points,) uint32, points in Z-order
    start,  # first cell of the chunk
    stop,  # end of the chunk
    planes,  # OUT (n_cells, n_features, CELL), what is beyond the last point repeats it
    plane_weights,  # OUT (n_cells, CELL) float64, zero beyond the last point
    low,  # OUT (n_cells, n_features) float64, the cell's box
    high,  # OUT (n_cells, n_features) float64
    sums,  # OUT (n_cells, n_features) float64, weighted
    totals,  # OUT (n_cells,) float64, weights
    scatter,  # OUT (n_cells,) float64, weighted squared distances to the cell's mean
):
    """Points of every cell channel by channel, and its box, sum, weight and scatter."""
    n, n_features = values.shape
    for cell in range(start, stop):
        totals[cell] = 0.0
        for i in range(CELL):
            at = cell * CELL + i
            point = order[min(at, n - 1)]
            plane_weights[cell, i] = weights[point] if at < n else 0.0
            totals[cell] += plane_weights[cell, i]
            for f in range(n_features):
                planes[cell, f, i] = values[point, f]
        scatter[cell] = 0.0
        for f in range(n_features):
            low[cell, f], high[cell, f], sums[cell, f] = np.inf, -np.inf, 0.0
            for i in range(CELL):
                x = np.float64(planes[cell, f, i])
                low[cell, f] = min(low[cell, f], x)
                high[cell, f] = max(high[cell, f], x)
                sums[cell, f] += plane_weights[cell, i] * x
            mean = sums[cell, f] / totals[cell]
            for i in range(CELL):
                t = np.float64(planes[cell, f, i]) - mean
                scatter[cell] += plane_weights[cell, i] * (t * t)


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
def nearest_in_cell(
    planes,  # IN (n_features, CELL)
    centers,  # IN (n_features, >= n) float64, candidates
    n,  # number of candidates
    unroll,  # tuple of n_features
    wide,  # OUT (n_features, CELL) float64, the points
    best,  # OUT (CELL,) float64, squared distance to the nearest candidate
    nearest,  # OUT (CELL,) int64
):
    """Nearest candidate of every point of a cell; the lowest wins a tie."""
    for f in range(len(unroll)):
        for i in range(CELL):
            wide[f, i] = planes[f, i]
    for i in range(CELL):
        best[i] = np.inf
        nearest[i] = 0
    for j in range(n):
        for i in range(CELL):
            d = 0.0
            for f in range(len(unroll)):
                t = wide[f, i] - centers[f, j]
                d += t * t
            if d < best[i]:
                best[i] = d
                nearest[i] = j


@njit(nogil=True, fastmath={"reassoc"})
def masked_sum(
    plane,  # IN (CELL,) float64, integers: their sum is exact in any order
    nearest,  # IN (CELL,) int64
    j,  # what to sum up
):
    """Sum of what belongs to one candidate."""
    total = 0.0
    for i in range(CELL):
        total += plane[i] if nearest[i] == j else 0.0
    return total


@njit(nogil=True)
def add_cell(
    wide,  # INOUT (n_features, CELL) float64, the points; weighted afterwards
    weights,  # IN (CELL,) float64
    best,  # IN (CELL,) float64
    nearest,  # IN (CELL,) int64
    ids,  # IN (>= n,) int64, of the candidates
    n,  # number of candidates
    exact,  # whether sums may be added in any order
    cell_sums,  # IN (n_features,) float64
    cell_total,  # weight of the cell
    unroll,  # tuple of n_features
    lanes,  # INOUT (8,) float64, inertia of every eighth point
    sums,  # INOUT (n_clusters, n_features) float64
    totals,  # INOUT (n_clusters,) float64
):
    """Add the points of a cell to their clusters."""
    for i in range(0, CELL, 8):
        for lane in range(8):
            lanes[lane] += weights[i + lane] * best[i + lane]
    for f in range(len(unroll)):
        for i in range(CELL):
            wide[f, i] *= weights[i]
    if exact and n <= MAX_MASKED:
        # The first candidate gets what the others leave.
        rest = cell_total
        for j in range(1, n):
            total = masked_sum(weights, nearest, j)
            totals[ids[j]] += total
            rest -= total
        totals[ids[0]] += rest
        for f in range(len(unroll)):
            rest = cell_sums[f]
            for j in range(1, n):
                total = masked_sum(wide[f], nearest, j)
                sums[ids[j], f] += total
                rest -= total
            sums[ids[0], f] += rest
    else:
        for i in range(CELL):
            j = ids[nearest[i]]
            for f in range(len(unroll)):
                sums[j, f] += wide[f, i]
            totals[j] += weights[i]


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
    planes,  # IN (n_cells, n_features, CELL)
    weights,  # IN (n_cells, CELL) float64
    cell_low,  # IN (n_cells, n_features) float64
    cell_high,  # IN (n_cells, n_features) float64
    cell_sums,  # IN (n_cells, n_features) float64
    cell_totals,  # IN (n_cells,) float64
    cell_scatter,  # IN (n_cells,) float64
    block_low,  # IN (n_blocks, n_features) float64
    block_high,  # IN (n_blocks, n_features) float64
    block_sums,  # IN (n_blocks, n_features) float64
    block_totals,  # IN (n_blocks,) float64
    block_scatter,  # IN (n_blocks,) float64
    exact,  # whether sums may be added in any order: whole cells and blocks at once
    centers,  # IN (n_features, n_clusters) float64
    margin,  # what rounding may hide of a difference of squared distances
    start,  # first block of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Assign the points of a chunk of blocks and sum them up; return their inertia."""
    n_features, k = centers.shape
    every, gap = np.arange(k), np.empty(k)
    block_centers, block_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    own_centers, own_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    wide, best, nearest = np.empty((n_features, CELL)), np.empty(CELL), np.empty(CELL, np.int64)
    lanes = np.zeros(8)
    sums[:] = 0.0
    totals[:] = 0.0
    inertia = 0.0
    for block in range(start, stop):
        n = keep_owners(
            centers, every, k, block_low[block], block_high[block], margin, gap, block_centers,
            block_ids,
        )  # fmt: skip
        if n == 1 and exact:
            inertia += add_whole(
                block_centers[:, 0], block_ids[0], block_sums[block], block_totals[block],
                block_scatter[block], sums, totals,
            )  # fmt: skip
            continue
        for cell in range(block * BLOCK, min((block + 1) * BLOCK, len(cell_totals))):
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
                nearest_in_cell(planes[cell], own_centers, owners, unroll, wide, best, nearest)
                add_cell(
                    wide, weights[cell], best, nearest, own_ids, owners, exact, cell_sums[cell],
                    cell_totals[cell], unroll, lanes, sums, totals,
                )  # fmt: skip
    return inertia + lanes.sum()


def assign_cells(
    planes,  # IN (n_cells, n_features, CELL)
    order,  # IN (n_points,) uint32, points in Z-order
    cell_low,  # IN (n_cells, n_features) float64
    cell_high,  # IN (n_cells, n_features) float64
    block_low,  # IN (n_blocks, n_features) float64
    block_high,  # IN (n_blocks, n_features) float64
    centers,  # IN (n_features, n_clusters) float64
    margin,  # what rounding may hide of a difference of squared distances
    start,  # first block of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    first_label,  # added to every label
    labels,  # OUT (n_points,) uint8, uint16 or int32
):
    """Label the points of a chunk of blocks with their nearest centres."""
    n_features, k = centers.shape
    every, gap = np.arange(k), np.empty(k)
    block_centers, block_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    own_centers, own_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    wide, best, nearest = np.empty((n_features, CELL)), np.empty(CELL), np.empty(CELL, np.int64)
    for block in range(start, stop):
        n = keep_owners(
            centers, every, k, block_low[block], block_high[block], margin, gap, block_centers,
            block_ids,
        )  # fmt: skip
        for cell in range(block * BLOCK, min((block + 1) * BLOCK, len(cell_low))):
            owners = keep_owners(
                block_centers, block_ids, n, cell_low[cell], cell_high[cell], margin, gap,
                own_centers, own_ids,
            )  # fmt: skip
            nearest[:] = 0
            if owners > 1:
                nearest_in_cell(planes[cell], own_centers, owners, unroll, wide, best, nearest)
            for i in range(min(CELL, len(order) - cell * CELL)):
                labels[order[cell * CELL + i]] = own_ids[nearest[i]] + first_label
