"""Points of many features: matrix products on tiles that stay in the device's cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import FloatArray, Partials, Tick
from .device import NULL, DeviceArray
from .points import CudaPoints

MIN_FEATURES = 32

# Products of a tile, and values of its points, which the next kernels read from the cache:
# as many as half of it holds, for to queue a tile's work takes as long as the work on a small one.
_TILE_VALUES = 2**23
_TILE_POINTS = 2**16
_THREADS = 128


class WidePoints(CudaPoints):
    """Points on a device whose distances come from products with all centres at once."""

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Points.accumulate`."""
        k, d = centers.shape
        sums = self.device.full((k, d + 2), np.float64, 0.0)
        products = _Products(self, centers)
        for _, stop, chunk in self.feed.chunks(self._chunk_rows(products.tile), products.tile):
            for first in range(0, len(chunk[0]), products.tile):
                rows = [array[first : first + products.tile] for array in chunk]
                labels, distances = products.assign(rows[0], 0)
                self.device.launch(
                    ("wide.cu", self.options, "add_labelled"),
                    k,
                    _THREADS,
                    (
                        rows[0], rows[1] if len(rows) > 1 else NULL, labels, distances,
                        np.int64(len(rows[0])), np.int32(d), sums,
                    ),
                )  # fmt: skip
            if tick is not None:
                tick(stop, self.n_points)
        total = self.device.to_host(sums)
        return Partials(
            np.ascontiguousarray(total[:, :d]),
            np.ascontiguousarray(total[:, d]),
            float(total[:, d + 1].sum()),
        )

    def _labelled(
        self,
        centers: FloatArray,
        dtype: Any,
        first_label: int,
        target: Any,
        distances: bool = False,
    ) -> Any:
        products = _Products(self, centers)
        beside = np.dtype(dtype).itemsize + 8 * distances
        rows = self._chunk_rows(products.tile)
        for start, stop, chunk in self.feed.chunks(rows, products.tile, beside):
            n = stop - start
            found = self.device.empty((n,), dtype) if target is None else target[start:stop]
            far = self._far(n) if distances else None
            for first in range(0, n, products.tile):
                part = slice(first, min(first + products.tile, n))
                labels, exact = products.assign(chunk[0][part], first_label)
                self.device.copy(labels, found[part])
                if far is not None:
                    self.device.copy(exact, far[part])
            yield start, stop, found, (chunk, far)

    def _chunk_rows(self, tile: int = 1) -> int:
        """Rows sent or labelled at once: many tiles."""
        return max(1, 2**18 // tile) * tile


class _Products:
    """Centres, and room for the products of a tile of points with them."""

    def __init__(self, points: CudaPoints, centers: FloatArray) -> None:
        device, k = points.device, len(centers)
        self.device, self.options = device, points.options
        double = points.dtype == np.float64
        self.real = np.dtype(np.float64 if double else np.float32)
        # Twice the rounding error for the two sides of a difference, and some more.
        self.unit = self.real.type(1.25 * 2.0 ** (-52 if double else -23))
        most = _TILE_VALUES // max(k, points.n_features) // 256 * 256
        self.tile = min(max(256, most), _TILE_POINTS)
        norms = np.square(centers).sum(axis=1)
        with np.errstate(over="ignore"):
            self.largest = self.real.type(1.001 * np.sqrt(norms.max()))
            self.norms = device.to_device(norms.astype(self.real))
            self.rounded = device.to_device(np.ascontiguousarray(centers.astype(self.real)))
        self.exact = device.to_device(np.ascontiguousarray(centers, np.float64))
        self.shape = centers.shape
        rows = min(self.tile, points.n_points)
        self.products = device.empty((rows, k), self.real)
        self.labels = device.empty((rows,), np.int32)
        self.distances = device.empty((rows,), np.float64)

    def assign(self, tile: DeviceArray, first_label: int) -> tuple[DeviceArray, DeviceArray]:
        """Labels and squared distances of a tile, until the next one."""
        n, (k, d) = len(tile), self.shape
        values = tile
        if tile.dtype != self.real:
            values = self.device.empty(tile.shape, self.real)
            self.device.copy(tile, values)
        self.device.multiply(values, self.rounded, self.products[:n])
        kernel = "wide.cu", self.options, "assign_products"
        self.device.launch(
            kernel,
            min(-(-n // (_THREADS // 32)), self.device.max_blocks(kernel, _THREADS)),
            _THREADS,
            (
                tile, self.exact, self.norms, self.products, self.largest, self.unit, np.int64(n),
                np.int32(k), np.int32(d), np.int32(first_label), self.labels, self.distances,
            ),
        )  # fmt: skip
        return self.labels[:n], self.distances[:n]
