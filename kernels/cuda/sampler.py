"""k-means++ on a device: every point's distance to its closest centre stays there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..backend import Array, FloatArray, Sampler, Tick
from ..cpu import CpuBackend
from ..cpu.cells import extent, possible, z_order
from .device import NULL, DeviceArray, OutOfMemory
from .transfer import Feed, Guest

if TYPE_CHECKING:
    from .points import CudaPoints

# Points whose sum is kept: a drawn threshold is looked for among so many on the host.
_PIECE = 2**12
_THREADS = 256


def host_sampler(points: CudaPoints) -> Sampler:
    """Sampler on the host over points that are there."""
    resident = CpuBackend().put(
        points.values, points.weights, repeated=points.repeated, n_threads=points.n_threads
    )
    return resident.sampler()


class DeviceSampler(Guest):
    """Sampler over points on a device, in the order in which the CPU backend draws.

    Sums of integers are exact, so that the same thresholds draw the same points there.
    """

    def __init__(self, points: CudaPoints) -> None:
        super().__init__(points.device)
        self.n_features = points.n_features
        self.kernel = "assign.cu", points.options, "potentials"
        self.n_blocks = points.device.max_blocks(self.kernel, _THREADS)
        n = points.n_points
        self.n_points, self.n_pieces = n, -(-n // _PIECE)
        feed = points.feed
        if points.repeated and points.weights is not None and possible(points.values):
            values, weights = points.values, points.weights
            if points.on_device:
                values, weights = self.device.to_host(values), self.device.to_host(weights)
            order = z_order(values, *extent(values))
            feed = Feed(self.device, [values[order], weights[order]], keep=0.8)
            feed.load()
        if feed.resident is None:
            raise OutOfMemory(feed.shortage(values.nbytes + weights.nbytes))
        self.feed = feed
        self.values: DeviceArray = feed.resident[0]
        self.weights: DeviceArray = feed.resident[1] if len(feed.resident) > 1 else None
        self.closest = self.device.full((n,), np.float64, np.inf)
        self.piece_totals: FloatArray = np.empty(0)

    def add(self, center: FloatArray, tick: Tick | None = None) -> float:
        """See `Sampler.add`."""
        self.piece_totals = self._totals(center[None], True, tick)[:, 0]
        return float(np.cumsum(self.piece_totals)[-1])

    def potentials(self, candidates: FloatArray, tick: Tick | None = None) -> FloatArray:
        """See `Sampler.potentials`."""
        potentials: FloatArray = np.cumsum(self._totals(candidates, False, tick), axis=0)[-1]
        return potentials

    def draw(self, thresholds: FloatArray) -> Array:
        """See `Sampler.draw`."""
        ends = np.cumsum(self.piece_totals)
        drawn = []
        for threshold in thresholds:
            piece = min(int(np.searchsorted(ends, threshold)), len(ends) - 1)
            part = slice(piece * _PIECE, min((piece + 1) * _PIECE, self.n_points))
            masses = self.device.to_host(self.closest[part])
            if self.weights is not None:
                masses = masses * self.device.to_host(self.weights[part])
            before = ends[piece - 1] if piece else 0.0
            row = int(np.searchsorted(np.cumsum(masses), threshold - before))
            row = part.start + min(row, len(masses) - 1)
            drawn.append(self.device.to_host(self.values[row : row + 1]))
        return np.concatenate(drawn)

    def _totals(self, candidates: FloatArray, update: bool, tick: Tick | None) -> FloatArray:
        """Inertia (n_pieces, n_candidates) that each candidate would leave in each piece."""
        n_candidates = len(candidates)
        totals = self.device.empty((self.n_pieces, n_candidates), np.float64)
        self.device.launch(
            self.kernel,
            min(self.n_pieces, self.n_blocks),
            _THREADS,
            (
                self.values, NULL if self.weights is None else self.weights,
                self.device.to_device(np.ascontiguousarray(candidates, np.float64)), np.int64(0),
                np.int64(self.n_points), np.int64(_PIECE), np.int32(n_candidates),
                np.int32(self.n_features), self.closest, np.int32(update), totals,
            ),
        )  # fmt: skip
        found: FloatArray = self.device.to_host(totals)
        if tick is not None:
            tick(self.n_points, self.n_points)
        return found
