"""The Numba kernel of k-means++ on cells of points."""

from __future__ import annotations

import numpy as np

from .filtering import CELL


def cell_potentials(
    planes,  # IN (n_cells, n_features, CELL)
    weights,  # IN (n_cells, CELL) float64
    cell_low,  # IN (n_cells, n_features) float64
    cell_high,  # IN (n_cells, n_features) float64
    candidates,  # IN (n_candidates, n_features) float64
    start,  # first cell of the chunk
    stop,  # end of the chunk
    unroll,  # tuple of n_features
    closest,  # INOUT (n_cells, CELL) float64, squared distance to the centres so far
    potential,  # INOUT (n_cells,) float64, weighted sum of them
    farthest,  # INOUT (n_cells,) float64, largest of them
    update,  # whether the candidates become centres
    totals,  # OUT (n_candidates,) float64, inertia that each candidate would leave
):
    """Weigh up candidates of k-means++ on a chunk of cells; those out of reach stay as they are."""
    wide, lanes = np.empty((len(unroll), CELL)), np.empty(8)
    totals[:] = 0.0
    for c in range(candidates.shape[0]):
        for cell in range(start, stop):
            away = 0.0
            for f in range(len(unroll)):
                x = candidates[c, f]
                t = max(cell_low[cell, f] - x, x - cell_high[cell, f], 0.0)
                away += t * t
            # Rounding can bring a point nearer than its box, but not by so much.
            if away * (1.0 - 1e-12) >= farthest[cell]:
                totals[c] += potential[cell]
                continue
            for f in range(len(unroll)):
                for i in range(CELL):
                    t = np.float64(planes[cell, f, i]) - candidates[c, f]
                    wide[f, i] = t * t
            lanes[:] = 0.0
            for i in range(CELL):
                d = 0.0
                for f in range(len(unroll)):
                    d += wide[f, i]
                wide[0, i] = min(d, closest[cell, i])
            for i in range(0, CELL, 8):
                for lane in range(8):
                    lanes[lane] += weights[cell, i + lane] * wide[0, i + lane]
            total = lanes.sum()
            totals[c] += total
            if update:
                potential[cell] = total
                farthest[cell] = 0.0
                for i in range(CELL):
                    closest[cell, i] = wide[0, i]
                    farthest[cell] = max(farthest[cell], wide[0, i])
