"""A sample of an image in parts, and its moments: what stands for pixels that hardly repeat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ..io.chunked import shape_of
from ..kernels.backend import Array, Tick
from ..streaming.counting import START_SAMPLE, Moments
from .cluster import Cluster, Part
from .pieces import Piece


def survey(
    cluster: Cluster, pieces: list[Part], grid: tuple[int, ...], tick: Tick | None
) -> tuple[Moments, Array]:
    """Moments of all pixels of the pieces of a grid, and a sample (m, channels) of them."""
    moments, lot = cluster.reduce(pieces, _survey, _merged, grid, tick=tick)
    return moments, lot.values


def _survey(piece: Piece, grid: tuple[int, ...]) -> tuple[Moments, Lot]:
    moments = Moments(piece.values.shape[1])
    moments.add(piece.values)
    return moments, Lot.of(piece, grid).drawn(START_SAMPLE)


def _merged(found: list[tuple[Moments, Lot]]) -> tuple[Moments, Lot]:
    moments = reduce(Moments.merge, [each for each, _ in found])
    return moments, Lot.merged([lot for _, lot in found]).drawn(START_SAMPLE)


@dataclass(frozen=True)
class Lot:
    """Pixels that a sample is drawn from: those of the smallest numbers.

    The number of a pixel follows from its place, so that the sample depends neither on chunks
    nor on workers. ``places`` (n,) are in the order of the image.
    """

    places: Array
    values: Array

    @classmethod
    def of(cls, piece: Piece, grid: tuple[int, ...]) -> Lot:
        """All pixels of a piece."""
        shape = shape_of(piece.region)
        inner = np.arange(len(piece.values))
        if piece.kept is not None:
            inner = np.flatnonzero(piece.kept)
        index = np.unravel_index(inner, shape)
        whole = [i + part.start for i, part in zip(index, piece.region, strict=True)]
        return cls(np.ravel_multi_index(whole, grid).astype(np.uint64), piece.values)

    @classmethod
    def merged(cls, lots: list[Lot]) -> Lot:
        """Pixels of several."""
        places = np.concatenate([lot.places for lot in lots])
        order = np.argsort(places)
        return cls(places[order], np.concatenate([lot.values for lot in lots])[order])

    def drawn(self, size: int) -> Lot:
        """The ``size`` pixels of the smallest numbers, in their order."""
        if len(self.places) <= size:
            return self
        rows = np.sort(np.argpartition(_mixed(self.places), size - 1)[:size])
        return Lot(self.places[rows], self.values[rows])


def _mixed(places: Array) -> Array:
    """Number of each place, as if drawn: SplitMix64 (Steele, Lea and Flood 2014), no two alike."""
    mixed = (places + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
