"""Numba kernels of the filtering algorithm: cells of nearby points that few centres can own.

A centre that is farther than another from all of a cell's box cannot own a point of
it (Kanungo et al., "An efficient k-means clustering algorithm: analysis and
implementation", IEEE Trans. Pattern Anal. Mach. Intell. 24, 2002). What is left is
decided by the same distances as everywhere, so the labels are those of plain Lloyd.
Cells are runs of points in Z-order; eight of them make a block. They keep the labels
of the last pass, so that only what changed its cluster is added and taken away.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Points in a cell, and cells in a block.
CELL = 256
BLOCK = 8


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
    low,  # IN (>= box, n_features) float64, boxes
    high,  # IN (>= box, n_features) float64
    box,  # which of them
    margin,  # what rounding may hide
    gap,  # SCRATCH (>= n,) float64
    kept_centers,  # OUT (n_features, >= n) float64
    kept_ids,  # OUT (>= n,) int64
):
    """Keep the candidates that may be nearest to a point of the box; return their number."""
    n_features = centers.shape[0]
    if n == 1:
        kept_ids[0] = ids[0]
        for f in range(n_features):  # a slice would bring the words of its errors with it
            kept_centers[f, 0] = centers[f, 0]
        return 1
    for j in range(n):
        gap[j] = 0.0
    for f in range(n_features):
        middle = 0.5 * (low[box, f] + high[box, f])
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
        z, lo, hi = centers[f, best], low[box, f], high[box, f]
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
    planes,  # IN (n_cells, n_features, CELL)
    cell,  # which cell
    centers,  # IN (n_features, >= n) float64, candidates in ascending order of their ids
    ids,  # IN (>= n,) int64
    n,  # number of candidates
    unroll,  # tuple of n_features
    wide,  # OUT (n_features, CELL) float64, the points
    best,  # OUT (CELL,) float64, squared distance to the nearest candidate
    nearest,  # OUT (CELL,) int64, its id
):
    """Nearest candidate of every point of a cell; the lowest wins a tie."""
    for f in range(len(unroll)):
        for i in range(CELL):
            wide[f, i] = planes[cell, f, i]
    own = ids[0]
    for i in range(CELL):
        d = 0.0
        for f in range(len(unroll)):
            t = wide[f, i] - centers[f, 0]
            d += t * t
        best[i] = d
        nearest[i] = own
    for j in range(1, n):
        own = ids[j]
        for i in range(CELL):
            d = 0.0
            for f in range(len(unroll)):
                t = wide[f, i] - centers[f, j]
                d += t * t
            if d < best[i]:
                best[i] = d
                nearest[i] = own


@njit(nogil=True)
def move_points(
    wide,  # IN (n_features, CELL) float64, the points
    weights,  # IN (n_cells, CELL) float64
    cell,  # which cell
    nearest,  # IN (CELL,) int64, where they belong now
    labels,  # INOUT (n_cells, CELL) uint16, where they were
    unroll,  # tuple of n_features
    sums,  # INOUT (n_clusters, n_features) float64
    totals,  # INOUT (n_clusters,) float64
):
    """Move the points that changed their cluster."""
    changed = 0
    for i in range(CELL):
        changed += nearest[i] != labels[cell, i]
    if changed == 0:
        return
    for i in range(CELL):
        old, new = labels[cell, i], nearest[i]
        if old != new:
            labels[cell, i] = new
            totals[old] -= weights[cell, i]
            totals[new] += weights[cell, i]
            for f in range(len(unroll)):
                t = weights[cell, i] * wide[f, i]
                sums[old, f] -= t
                sums[new, f] += t


@njit(nogil=True)
def move_cell(
    cell_sums,  # IN (n_cells, n_features) float64, weighted
    cell_totals,  # IN (n_cells,) float64
    cell,  # which cell
    old,  # cluster
    new,  # cluster
    sums,  # INOUT (n_clusters, n_features) float64
    totals,  # INOUT (n_clusters,) float64
):
    """Move all points of a cell from one cluster to another."""
    totals[old] -= cell_totals[cell]
    totals[new] += cell_totals[cell]
    for f in range(cell_sums.shape[1]):
        sums[old, f] -= cell_sums[cell, f]
        sums[new, f] += cell_sums[cell, f]


def filter_cells(
    planes,  # IN (n_cells, n_features, CELL)
    weights,  # IN (n_cells, CELL) float64
    cell_low,  # IN (n_cells, n_features) float64
    cell_high,  # IN (n_cells, n_features) float64
    cell_sums,  # IN (n_cells, n_features) float64
    cell_totals,  # IN (n_cells,) float64
    cell_scatter,  # IN (n_cells,) float64
    block_low,  # IN (n_blocks, n_features) float64
    block_high,  # IN (n_blocks, n_features) float64
    centers,  # IN (n_features, n_clusters) float64
    margin,  # what rounding may hide of a difference of squared distances
    start,  # first block of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    owners,  # INOUT (n_cells,) int32, the cluster of a whole cell; -1 where its points differ
    labels,  # INOUT (n_cells, CELL) uint16, clusters of the points where they differ
    sums,  # OUT (n_clusters, n_features) float64, by how much the clusters' sums change
    totals,  # OUT (n_clusters,) float64, by how much their weights change
    inertia,  # OUT (n_blocks,) float64
):
    """Assign the points of a chunk of blocks anew."""
    n_features, k = centers.shape
    gap = np.empty(k)
    # Of the types of those below, so that `keep_owners` is compiled once.
    all_centers, all_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    block_centers, block_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    own_centers, own_ids = np.empty((n_features, k)), np.empty(k, np.int64)
    wide, best, nearest = np.empty((n_features, CELL)), np.empty(CELL), np.empty(CELL, np.int64)
    lanes = np.empty(8)
    for j in range(k):
        all_ids[j] = j
        totals[j] = 0.0
        for f in range(n_features):
            all_centers[f, j] = centers[f, j]
            sums[j, f] = 0.0
    for block in range(start, stop):
        whole = 0.0
        for lane in range(8):
            lanes[lane] = 0.0
        n = keep_owners(
            all_centers, all_ids, k, block_low, block_high, block, margin, gap, block_centers,
            block_ids,
        )  # fmt: skip
        for cell in range(block * BLOCK, min((block + 1) * BLOCK, len(cell_totals))):
            n_own = keep_owners(
                block_centers, block_ids, n, cell_low, cell_high, cell, margin, gap, own_centers,
                own_ids,
            )  # fmt: skip
            old = owners[cell]
            if old >= 0 and n_own == 1:
                if old != own_ids[0]:
                    move_cell(cell_sums, cell_totals, cell, old, own_ids[0], sums, totals)
                    owners[cell] = own_ids[0]
            else:
                if old >= 0:
                    for i in range(CELL):
                        labels[cell, i] = old
                    owners[cell] = -1
                nearest_in_cell(
                    planes, cell, own_centers, own_ids, n_own, unroll, wide, best, nearest
                )
                move_points(wide, weights, cell, nearest, labels, unroll, sums, totals)
                if n_own == 1:
                    owners[cell] = own_ids[0]
            if n_own == 1:
                away = 0.0
                for f in range(n_features):
                    t = cell_sums[cell, f] / cell_totals[cell] - own_centers[f, 0]
                    away += t * t
                whole += cell_scatter[cell] + cell_totals[cell] * away
            else:
                for i in range(0, CELL, 8):
                    for lane in range(8):
                        lanes[lane] += weights[cell, i + lane] * best[i + lane]
        total = 0.0
        for lane in range(8):
            total += lanes[lane]
        inertia[block] = whole + total


def sum_cells(
    planes,  # IN (n_cells, n_features, CELL)
    weights,  # IN (n_cells, CELL) float64
    owners,  # IN (n_cells,) int32
    labels,  # IN (n_cells, CELL) uint16
    start,  # first block of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    sums,  # OUT (n_clusters, n_features) float64
    totals,  # OUT (n_clusters,) float64
):
    """Sum up the points of a chunk of blocks, cluster by cluster, in the order of the points."""
    sums[:] = 0.0
    totals[:] = 0.0
    for cell in range(start * BLOCK, min(stop * BLOCK, len(owners))):
        for i in range(CELL):
            j = np.int64(labels[cell, i]) if owners[cell] < 0 else np.int64(owners[cell])
            totals[j] += weights[cell, i]
            for f in range(len(unroll)):
                sums[j, f] += weights[cell, i] * np.float64(planes[cell, f, i])


def label_cells(
    owners,  # IN (n_cells,) int32
    cell_labels,  # IN (n_cells, CELL) uint16
    order,  # IN (n_points,) uint32, points in Z-order
    start,  # first block of the chunk
    stop,  # end of the chunk
    first_label,  # added to every label
    labels,  # OUT (n_points,) uint8, uint16 or int32
):
    """Write the labels of a chunk of blocks in the order of the points."""
    for cell in range(start * BLOCK, min(stop * BLOCK, len(owners))):
        for i in range(min(CELL, len(order) - cell * CELL)):
            j = np.int64(cell_labels[cell, i]) if owners[cell] < 0 else np.int64(owners[cell])
            labels[order[cell * CELL + i]] = j + first_label
