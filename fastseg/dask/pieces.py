"""The pixels of one part, as a worker holds them, and what it is asked of them."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from ..backends import backend_named
from ..color import ColorSpace
from ..io.chunked import Region, shape_of
from ..kernels.backend import Array, Farthest, FloatArray, Partials, Points, Sampler
from ..pixels import Pixels
from ..streaming.counting import Sums


class Piece:
    """Pixels that take part, in a region of the grid.

    Nothing that a piece remembers changes what it answers: one that is read again after its
    worker was lost, or copied to another, gives the same bits.

    Attributes
    ----------
    values : ndarray of shape (n, channels)
        Pixels that are kept, in image units and in their order.
    kept : ndarray of bool or None
        Which of the region's pixels they are; None for all.
    region : tuple of slice
        Where the pixels lie.
    """

    def __init__(self, pixels: Pixels, region: Region) -> None:
        self.values: Array = pixels.values
        self.kept: Array | None = pixels.kept
        self.region = region
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._inside: tuple[str, Array] | None = None
        self._drawn: tuple[FloatArray, Sampler] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values, "kept": self.kept, "region": self.region}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __sizeof__(self) -> int:
        # Dask asks what a piece takes; 8 bytes a pixel are the distances that a sampler keeps.
        own = self.values.nbytes + (0 if self.kept is None else self.kept.nbytes)
        return own + 8 * len(self.values) + object.__sizeof__(self)

    def values_in(self, space: ColorSpace) -> Array:
        """Values (n, channels) in a space, of which a piece sees one only."""
        if space.name == "rgb" or not len(self.values):
            return self.values
        if self._inside is None:
            self._inside = space.name, space.forward(self.values)
        return self._inside[1]

    def _points(self, space: ColorSpace, n_threads: int) -> Points:
        # Made anew for each pass: what points learn of one shows in the last bits of the next.
        return backend_named("cpu").put(self.values_in(space), n_threads=n_threads)

    def accumulate(self, centers: FloatArray, space: ColorSpace, n_threads: int) -> Partials:
        """See `Points.accumulate`."""
        self._drawn = None
        return self._points(space, n_threads).accumulate(centers)

    def farthest(
        self, centers: FloatArray, size: int, space: ColorSpace, n_threads: int
    ) -> Farthest:
        """See `Points.farthest`."""
        return self._points(space, n_threads).farthest(centers, size)

    def label_alike(
        self, centers: FloatArray, others: FloatArray, space: ColorSpace, n_threads: int
    ) -> bool:
        """See `PointsInParts.label_alike`."""
        points = self._points(space, n_threads)
        return np.array_equal(points.assign(centers), points.assign(others))

    def sums(self, centers: FloatArray, space: ColorSpace, n_threads: int) -> Sums:
        """Sums in image units of the pixels of each centre."""
        labels = self._points(space, n_threads).assign(centers)
        return Sums.of(self.values, labels, len(centers))

    def potentials(
        self, centers: FloatArray, candidates: FloatArray, space: ColorSpace, n_threads: int
    ) -> list[FloatArray]:
        """Inertia (m,) that adding each candidate to the centres would leave, in a list.

        The distances to the centres are kept for the next call, which adds to them.
        """
        with self._lock:
            before, sampler = self._drawn or (centers[:0], None)
            self._drawn = None
            if sampler is None or not np.array_equal(centers[: len(before)], before):
                before, sampler = centers[:0], self._points(space, n_threads).sampler()
            for center in centers[len(before) :]:
                sampler.add(center)
            found = sampler.potentials(candidates)
            self._drawn = centers, sampler
        return [found]

    def line_masses(
        self, centers: FloatArray | None, space: ColorSpace, n_threads: int
    ) -> list[FloatArray]:
        """Masses of the pixels of each line along the last axis, in a list; NaN for none."""
        shape = shape_of(self.region)
        n_lines = math.prod(shape[:-1])
        places = np.arange(len(self.values)) if self.kept is None else np.flatnonzero(self.kept)
        lines = places // shape[-1]
        weights = self._masses(slice(0, len(lines)), centers, space, n_threads)
        masses = np.bincount(lines, weights, n_lines).astype(np.float64)
        masses[np.bincount(lines, minlength=n_lines) == 0] = np.nan
        by_line: FloatArray = masses.reshape(shape[:-1])
        return [by_line]

    def pick(
        self,
        line: int | None,
        threshold: float,
        centers: FloatArray | None,
        space: ColorSpace,
        n_threads: int,
    ) -> list[Array]:
        """Pixel of a line, or of all, at which the running sum of masses reaches a threshold."""
        rows = slice(0, len(self.values)) if line is None else self._rows_of(line)
        ends = np.cumsum(self._masses(rows, centers, space, n_threads))
        row = rows.start + min(int(np.searchsorted(ends, threshold)), len(ends) - 1)
        return [self.values_in(space)[row]]

    def _rows_of(self, line: int) -> slice:
        width = shape_of(self.region)[-1]
        if self.kept is None:
            return slice(line * width, (line + 1) * width)
        flat = self.kept.reshape(-1)
        start = int(np.count_nonzero(flat[: line * width]))
        return slice(start, start + int(np.count_nonzero(flat[line * width :][:width])))

    def _masses(
        self, rows: slice, centers: FloatArray | None, space: ColorSpace, n_threads: int
    ) -> FloatArray:
        """Squared distances of pixels to their nearest centre, by the kernels' formula; or ones."""
        values = self.values_in(space)[rows]
        masses = np.zeros(len(values))
        if centers is None:
            return masses + 1.0
        points = backend_named("cpu").put(np.ascontiguousarray(values), n_threads=n_threads)
        nearest = centers[points.assign(centers)]
        for channel, center in zip(values.T, nearest.T, strict=True):
            masses += (channel - center) ** 2
        return masses
