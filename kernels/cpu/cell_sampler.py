"""k-means++ on cells: a candidate changes only the cells it is near to."""

from __future__ import annotations

import numpy as np
from numba import types

from ..backend import Array, FloatArray, Tick
from . import filtering
from .cells import CELLS_PER_CHUNK, Cells
from .jit import array, compiled
from .pool import run_chunks
from .seeding import cell_potentials


class CellSampler:
    """Sampler over repeated points, which draws along their Z-order."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        n_cells = len(cells.totals)
        self.closest = np.full((n_cells, filtering.CELL), np.inf)
        self.potential, self.farthest = np.full(n_cells, np.inf), np.full(n_cells, np.inf)

    def add(self, center: FloatArray, tick: Tick | None = None) -> float:
        """See `Sampler.add`."""
        self._totals(center[None], True, tick)
        return float(np.cumsum(self.potential)[-1])

    def potentials(self, candidates: FloatArray, tick: Tick | None = None) -> FloatArray:
        """See `Sampler.potentials`."""
        return self._totals(candidates, False, tick)

    def draw(self, thresholds: FloatArray) -> Array:
        """See `Sampler.draw`."""
        cells = self.cells
        ends = np.cumsum(self.potential)
        drawn = np.empty((len(thresholds), cells.planes.shape[1]), cells.planes.dtype)
        for row, threshold in zip(drawn, thresholds, strict=True):
            cell = min(int(np.searchsorted(ends, threshold)), len(ends) - 1)
            masses = np.cumsum(cells.weights[cell] * self.closest[cell])
            before = ends[cell - 1] if cell else 0.0
            # What is beyond the last point has no mass, and repeats that point.
            i = min(int(np.searchsorted(masses, threshold - before)), filtering.CELL - 1)
            row[:] = cells.planes[cell, :, i]
        return drawn

    def _totals(self, candidates: FloatArray, update: bool, tick: Tick | None) -> FloatArray:
        cells = self.cells
        table, table_out = array("float64", 2), array("float64", 2, written=True)
        vector_out = array("float64", written=True)
        n_features = cells.planes.shape[1]
        kernel = compiled(
            cell_potentials,
            array(cells.planes.dtype.name, 3),
            *(table,) * 4,
            types.intp,
            types.intp,
            types.UniTuple(types.int64, n_features),
            table_out,
            *(vector_out,) * 2,
            types.boolean,
            vector_out,
        )
        n_cells, n = len(cells.totals), len(cells.order)
        sums: list[FloatArray] = []

        def task(chunk: int) -> FloatArray:
            totals = np.empty(len(candidates))
            kernel(
                cells.planes, cells.weights, cells.low, cells.high, candidates,
                chunk * CELLS_PER_CHUNK, min((chunk + 1) * CELLS_PER_CHUNK, n_cells),
                (0,) * n_features, self.closest, self.potential, self.farthest, update, totals,
            )  # fmt: skip
            return totals

        size = CELLS_PER_CHUNK * filtering.CELL
        run_chunks(
            task,
            -(-n_cells // CELLS_PER_CHUNK),
            cells.n_threads,
            lambda _, totals: sums.append(totals),
            None if tick is None else lambda done: tick(min(done * size, n), n),
        )
        totals: FloatArray = np.cumsum(sums, axis=0)[-1]
        return totals
