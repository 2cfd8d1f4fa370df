"""Whole slides of microscopes, read region by region: all that is asked of OpenSlide.

https://openslide.org/api/python
"""

from __future__ import annotations

import math
import threading
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chunked import (
    ChunkedImage,
    DamagedBlock,
    Part,
    Region,
    blocks_in,
    check_number,
    refuse_parts,
    shape_of,
)
from .failures import words_of
from .tiff_tags import RATIONAL, SHORT, Tag
from .tiff_writer import TiffPlace

# Side of what is read at once where the slide does not say how it is stored.
_SIDE = 512
# Pixels of a tile, of 4 bytes each.
_MOST_TILE = 2**28
_MICROMETRES = 10_000  # in the centimetre of TIFF's resolution
_LEVEL_NOTE = (
    "The level is no whole fraction of the full size: OpenSlide interpolates its pixels by less"
    " than one of the full size."
)


def open_chunks(path: str, part: Part) -> SlideChunks:
    """Open a slide to be read in regions.

    Raises
    ------
    ValueError
        It is no slide, or has no such level.
    ImportError
        OpenSlide is not installed.
    """
    try:
        import openslide
    except (ImportError, OSError) as error:  # OSError: the library that it binds to
        raise ImportError(
            f'{path}: slides need openslide-python and openslide-bin: pip install "fastseg[slides]"'
        ) from error
    refuse_parts(path, part, "a slide has levels alone", but=("level", "channels"))
    return SlideChunks(path, openslide, part.level or 0)


class SlideChunks(ChunkedImage):
    """Red, green and blue of a level of a slide; what was not scanned is no part of it."""

    def __init__(self, path: str, openslide: Any, level: int) -> None:
        self._openslide, self._path, self._level = openslide, path, level
        self._lock = threading.Lock()
        self._slide = self._opened()
        try:
            check_number(path, "level", level, self._slide.level_count)
        except ValueError:
            self._slide.close()
            raise
        self._check_tiles()
        width, height = self._slide.level_dimensions[level]
        self._downsample = self._slide.level_downsamples[level]
        block = self._tile(height, width)
        exact = float(self._downsample).is_integer()
        self._whole = exact and self._fits(level)
        super().__init__(
            path, (height, width), np.dtype(np.uint8), 3, 2, block, may_hide=True,
            metadata=self._resolution(), notes=() if self._whole else (_LEVEL_NOTE,),
        )  # fmt: skip

    def _opened(self) -> Any:
        try:
            return self._openslide.OpenSlide(self._path)
        except self._openslide.OpenSlideError as error:
            raise ValueError(
                f"{self._path}: cannot be read, it is truncated, damaged or no slide"
                f" ({words_of(error)})"
            ) from error

    def _check_tiles(self) -> None:
        """Refuse tiles for which OpenSlide, where memory is short, would end the process."""
        for level in range(self._slide.level_count):
            height, width = self._tile_of(level)
            if height * width > _MOST_TILE:
                self._slide.close()
                raise ValueError(
                    f"{self._path}: has tiles of {width:,} x {height:,} pixels, and no more than"
                    f" {_MOST_TILE:,} are decoded at once; the file is damaged, or store it in"
                    " smaller tiles"
                )

    def _tile_of(self, level: int) -> tuple[int, int]:
        """Rows and columns of a tile of a level, as the slide says."""
        name = f"openslide.level[{level}].tile-"
        properties = self._slide.properties
        return int(properties.get(f"{name}height", _SIDE)), int(
            properties.get(f"{name}width", _SIDE)
        )

    def _fits(self, level: int) -> bool:
        """Whether the sides are those of the full size, divided and rounded."""
        full, own = self._slide.level_dimensions[0], self._slide.level_dimensions[level]
        step = int(self._downsample)
        return all(small in (n // step, -(-n // step)) for n, small in zip(full, own, strict=True))

    def _tile(self, height: int, width: int) -> tuple[int, int]:
        tile = self._tile_of(self._level)
        return min(tile[0], height), min(tile[1], width)

    def _resolution(self) -> TiffPlace | None:
        """Tags of the size of a pixel, for labels on the same grid."""
        tags = []
        for code, axis in ((282, "x"), (283, "y")):
            size = self._slide.properties.get(f"openslide.mpp-{axis}")
            if size is None or not float(size) > 0 or not math.isfinite(float(size)):
                return None
            per_cm = Fraction(_MICROMETRES / (float(size) * self._downsample))
            value = per_cm.limit_denominator(10_000)
            tags.append(Tag.of(code, RATIONAL, [value.numerator, value.denominator]))
        return TiffPlace((*tags, Tag.of(296, SHORT, 3)))

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`.

        Where OpenSlide interpolates, tiles are read as they lie, so that no pixel depends on
        the region it is asked for in.
        """
        if self._whole:
            values = self._read(region)
        else:
            values = np.empty((*shape_of(region), 4), np.uint8)
            for tile in blocks_in(region, self.block, self.grid):
                inner, outer = _overlap(tile, region)
                values[outer] = self._read(tile)[inner]
        return np.ascontiguousarray(values[..., :3]), values[..., 3] != 0

    def _read(self, region: Region) -> NDArray[np.uint8]:
        """Colours and alpha (rows, columns, 4) of a region."""
        slide = self._slide
        try:
            return self._pixels(slide, region)
        except self._openslide.OpenSlideError as error:
            # A handle is of no use after its first error, whichever thread made it.
            with self._lock:
                if self._slide is slide:
                    self._slide = self._opened()
            return self._again(region, error)

    def _again(self, region: Region, error: Exception) -> NDArray[np.uint8]:
        """Read tile by tile, each with a handle of its own, to find the one that is damaged."""
        values = np.empty((*shape_of(region), 4), np.uint8)
        for tile in blocks_in(region, self.block, self.grid):
            with self._opened() as slide:
                inner, outer = _overlap(tile, region)
                row, column = tile[0].start, tile[1].start
                try:
                    values[outer] = self._pixels(slide, tile)[inner]
                except self._openslide.OpenSlideError as reason:
                    raise DamagedBlock(
                        f"{self.name}: the tile at row {row} and column {column} of"
                        f" level {self._level} cannot be read ({words_of(reason)});"
                        " get a fresh copy"
                    ) from error
        return values

    def _pixels(self, slide: Any, region: Region) -> NDArray[np.uint8]:
        rows, columns = region
        corner = (round(columns.start * self._downsample), round(rows.start * self._downsample))
        size = (columns.stop - columns.start, rows.stop - rows.start)
        return np.asarray(slide.read_region(corner, self._level, size))

    def close(self) -> None:
        """See `ChunkedImage.close`."""
        self._slide.close()


def _overlap(tile: Region, region: Region) -> tuple[Region, Region]:
    """What a tile and a region share, as slices of the one and of the other."""
    shared = [
        (max(t.start, r.start), min(t.stop, r.stop), t.start, r.start)
        for t, r in zip(tile, region, strict=True)
    ]
    return (
        tuple(slice(start - t, stop - t) for start, stop, t, _ in shared),
        tuple(slice(start - r, stop - r) for start, stop, _, r in shared),
    )
