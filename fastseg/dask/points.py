"""Pixels on workers as points for Lloyd's iterations.

What crosses the network are centres, and sums of size k x d. Starts are drawn from all pixels
in the order of the image, however it is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ..arrays import check_magnitude
from ..color import ColorSpace
from ..io.chunked import Region
from ..kernels.backend import Array, Farthest, FloatArray, Partials, Tick
from ..memory import memory_budget
from ..pixels import Pixels
from ..streaming.counting import Sums
from .cluster import Cluster, Merge, Part, joined
from .images import Source
from .pieces import Piece

# Bytes that a sampler keeps of a pixel, and that a mask takes.
_EXTRA_BYTES = 9


class Pieces:
    """All pixels of an image, on the workers.

    ``regions`` and ``sizes`` (n_pieces,) tell where the pieces lie and how many pixels they
    hold, one at least; ``low`` and ``high`` (channels,) are their extremes.
    """

    def __init__(self, source: Source, cluster: Cluster, n_threads: int, tick: Tick | None) -> None:
        self.cluster = cluster
        self.n_threads = n_threads
        needed = source.n_pixels * (source.n_channels * source.stored.itemsize + _EXTRA_BYTES)
        parts = pieces_of(source, cluster, held=cluster.is_remote or needed <= memory_budget())
        found = cluster.reduce(parts, _described, joined, tick=tick)
        filled = [i for i, (n, _, _) in enumerate(found) if n]
        self.parts = [parts[i] for i in filled]
        self.regions = [source.regions[i] for i in filled]
        self.sizes = np.array([found[i][0] for i in filled], np.int64)
        if filled:
            self.low = np.min([found[i][1] for i in filled], axis=0)
            self.high = np.max([found[i][2] for i in filled], axis=0)
            check_magnitude(np.stack([self.low, self.high]), "image")


def pieces_of(source: Source, cluster: Cluster, *, held: bool) -> list[Part]:
    """Give all parts as `Piece`; where they are not held, they are read whenever they are used."""
    placed = zip(source.regions, source.parts, strict=True)
    return cluster.keep([(r, *part) for r, part in placed], _piece, source.read, held=held)


def _piece(*given: Any) -> Piece:
    region, *part, read = given
    pixels: Pixels = read(*part)
    return Piece(pixels, region)


def _described(piece: Piece) -> list[tuple[int, Any, Any]]:
    values = piece.values
    if not len(values):
        return [(0, None, None)]
    return [(len(values), values.min(axis=0), values.max(axis=0))]


class DaskPoints:
    """Points in a space, see `PointsInParts` and `Drawable`."""

    def __init__(self, pieces: Pieces, space: ColorSpace) -> None:
        self.pieces, self.space = pieces, space
        self.n_points = int(pieces.sizes.sum())
        self.n_features = len(pieces.low)

    def ask(
        self,
        question: Callable[..., Any],
        merge: Merge,
        *arguments: Any,
        parts: list[Part] | None = None,
        tick: Tick | None = None,
    ) -> Any:
        """Answers of all pieces, or of some parts, to a method of `Piece`, merged."""
        pieces = self.pieces
        return pieces.cluster.reduce(
            pieces.parts if parts is None else parts, question, merge, *arguments, self.space,
            pieces.n_threads, tick=tick,
        )  # fmt: skip

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Assignable.accumulate`."""
        partials: Partials = self.ask(Piece.accumulate, _merged, centers, tick=tick)
        return partials

    def farthest(self, centers: FloatArray, size: int, tick: Tick | None = None) -> Farthest:
        """See `Assignable.farthest`."""
        farthest: Farthest = self.ask(Piece.farthest, _merged, centers, size, tick=tick)
        return farthest

    def label_alike(self, centers: FloatArray, others: FloatArray) -> bool:
        """See `PointsInParts.label_alike`."""
        return bool(self.ask(Piece.label_alike, all, centers, others))

    def mean_values(self, centers: FloatArray) -> FloatArray:
        """Mean in image units (n_clusters, channels) of the pixels of each centre."""
        sums: Sums = self.ask(Piece.sums, _merged, centers)
        return sums.means

    def sampler(self) -> DaskSampler:
        """See `Drawable.sampler`."""
        return DaskSampler(self)

    def find(self, thresholds: FloatArray, totals: FloatArray, centers: FloatArray | None) -> Array:
        """Pixels (m, n_features) at which the running sum of masses reaches the thresholds.

        The sum runs in the order of the image. ``totals`` (n_pieces,) are those of the
        pieces, and masses the squared distances to the centres, or ones.
        """
        bands = _Bands(self.pieces.regions)
        band_totals = np.bincount(bands.of, totals)
        ends = np.cumsum(band_totals)
        chosen = np.minimum(np.searchsorted(ends, thresholds), len(ends) - 1)
        rests = thresholds - np.concatenate([[0.0], ends])[chosen]
        asked = [i for band in np.unique(chosen) for i in bands.pieces(band) if bands.is_cut(band)]
        lines: dict[int, FloatArray] = {}
        if asked:
            parts = [self.pieces.parts[i] for i in asked]
            found = self.ask(Piece.line_masses, joined, centers, parts=parts)
            lines = dict(zip(asked, found, strict=True))
        wanted = [bands.locate(b, t, lines) for b, t in zip(chosen, rests, strict=True)]
        parts = [(*self.pieces.parts[i], line, t) for i, line, t in wanted]
        return np.stack(self.ask(Piece.pick, joined, centers, parts=parts))


def _merged(results: list[Any]) -> Any:
    return reduce(lambda a, b: a.merge(b), results)


class _Bands:
    """Pieces side by side along the first axis of the grid; the order of pixels runs across."""

    def __init__(self, regions: list[Region]) -> None:
        self._regions = regions
        starts = [region[0].start for region in regions]
        _, self.of = np.unique(starts, return_inverse=True)

    def pieces(self, band: int) -> list[int]:
        """Pieces of a band, in their order."""
        return [int(i) for i in np.flatnonzero(self.of == band)]

    def is_cut(self, band: int) -> bool:
        """Whether there are several pieces in a band."""
        return int(np.count_nonzero(self.of == band)) > 1

    def locate(
        self, band: int, threshold: float, lines: dict[int, FloatArray]
    ) -> tuple[int, int | None, float]:
        """Piece, its line and what is left of the threshold there; no line in a band of one."""
        pieces = self.pieces(band)
        if len(pieces) == 1:
            return pieces[0], None, threshold
        # All lines of the band: its leading axes, and the pieces along the last one.
        ends = [max(self._regions[i][a].stop for i in pieces) for a in range(len(self._regions[0]))]
        columns = sorted({self._regions[i][-1].start for i in pieces})
        first = self._regions[pieces[0]][0]
        table = np.full((first.stop - first.start, *ends[1:-1], len(columns)), np.nan)
        owner = np.zeros(table.shape, np.int64)
        for i in pieces:
            region = self._regions[i]
            index: Any = (slice(None), *region[1:-1], columns.index(region[-1].start))
            table[index], owner[index] = lines[i], i
        flat = table.reshape(-1)
        held = np.flatnonzero(~np.isnan(flat))
        sums = np.cumsum(flat[held])
        at = min(int(np.searchsorted(sums, threshold)), len(held) - 1)
        place = np.unravel_index(held[at], table.shape)[:-1]
        piece = int(owner.reshape(-1)[held[at]])
        corner = [0, *(part.start for part in self._regions[piece][1:-1])]
        inner = tuple(int(p) - start for p, start in zip(place, corner, strict=True))
        line = int(np.ravel_multi_index(inner, lines[piece].shape))
        return piece, line, float(threshold - (sums[at - 1] if at else 0.0))


class DaskRows:
    """The pixels by their number in the order of the image, see `Rows`."""

    def __init__(self, points: DaskPoints) -> None:
        self._points = points

    def __len__(self) -> int:
        return self._points.n_points

    def __getitem__(self, rows: Any) -> Array:
        wanted = np.atleast_1d(rows) + 1.0
        found = self._points.find(wanted, self._points.pieces.sizes.astype(np.float64), None)
        return found[0] if np.ndim(rows) == 0 else found


class DaskSampler:
    """Sampler of k-means++ over pieces, see `Sampler`."""

    def __init__(self, points: DaskPoints) -> None:
        self._points = points
        self._added = self._candidates = np.empty((0, points.n_features))
        self._totals = self._candidate_totals = np.empty((0, 0))

    def add(self, center: FloatArray, tick: Tick | None = None) -> float:
        """See `Sampler.add`."""
        asked = np.flatnonzero((self._candidates == center).all(axis=1))
        if len(asked) == 0:
            self.potentials(center[None], tick)
            asked = np.zeros(1, np.intp)
        self._totals = self._candidate_totals[:, asked[0]]
        self._added = np.concatenate([self._added, center[None].astype(np.float64)])
        self._candidates = self._candidates[:0]
        return float(np.cumsum(self._totals)[-1])

    def potentials(self, candidates: FloatArray, tick: Tick | None = None) -> FloatArray:
        """See `Sampler.potentials`."""
        found = self._points.ask(Piece.potentials, joined, self._added, candidates, tick=tick)
        self._candidate_totals, self._candidates = np.stack(found), candidates
        potentials: FloatArray = np.cumsum(self._candidate_totals, axis=0)[-1]
        return potentials

    def draw(self, thresholds: FloatArray) -> Array:
        """See `Sampler.draw`."""
        return self._points.find(thresholds, self._totals, self._added)
