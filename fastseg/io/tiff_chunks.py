"""TIFF, BigTIFF and OME-TIFF read region by region: all that is asked of tifffile.

Segments (tiles or strips) are read from the file here and decoded by tifffile's function
for their page, in as many threads as call.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chunked import ChunkedImage, DamagedBlock, NotInPieces, Part, Region, shape_of
from .failures import reading, words_of
from .inner_sizes import check_inner
from .tiff import check_directories
from .tiff_pages import (
    JPEG,
    PALETTE,
    PICTURES,
    WHITE_IS_ZERO,
    arranged,
    check_bytes,
    check_kind,
    check_segments,
    is_raw,
    needs,
    orientation_of,
)
from .tiff_place import nodata_of, place_of

_ALPHA = (1, 2)  # of ExtraSamples: associated, unassociated

# What tifffile logs is raised by it or by us. It is told once: whoever asks for a logger, or sets
# a level, takes a lock that stays locked in all threads where Ctrl-C comes at the wrong moment.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def open_chunks(path: str, part: Part) -> TiffChunks:
    """Open a TIFF file to be read in regions, whose picture stands upright in it.

    Raises as `open_pages`.
    """
    image = open_pages(path, part)
    if image.orientation == 1:
        return image
    image.close()
    raise NotInPieces(
        f"{path}: is stored turned (orientation {image.orientation}) and read as a whole alone;"
        " leave out series, level and pages"
    )


def open_pages(path: str, part: Part) -> TiffChunks:
    """Open a TIFF file to be read in regions of what is stored, however it is to be turned.

    Raises
    ------
    NotInPieces
        It is of a kind that is not read so.
    ValueError
        The file is damaged, or has no such part.
    ImportError
        tifffile, or what it decodes this file with, is not installed.
    """
    try:
        import imagecodecs  # noqa: F401  tifffile decodes with it
        import tifffile
    except ImportError as error:
        raise ImportError(
            f"{path}: reading this TIFF file, in full or in pieces, needs tifffile and imagecodecs:"
            ' pip install "fastseg[deep]"'
        ) from error
    with _failures(path):
        check_directories(path)
        file = tifffile.TiffFile(path)
        try:
            image = TiffChunks(path, file, part)
        except BaseException:
            file.close()
            raise
        try:
            image.take_place(part)
            return image
        except BaseException:
            image.close()
            raise


@contextlib.contextmanager
def _failures(path: str) -> Iterator[None]:
    """Name the file in whatever tifffile raises."""
    try:
        yield
    except MemoryError as error:
        raise ValueError(f"{path}: the TIFF file is damaged (its sizes are absurd)") from error
    except Exception as error:
        words = words_of(error)
        if words.startswith(path):
            raise
        raise ValueError(f"{path}: the TIFF file is truncated or damaged ({words})") from error


class TiffChunks(ChunkedImage):
    """Pages of a TIFF file: one of them, or several along leading axes or as channels."""

    def __init__(self, path: str, file: Any, part: Part) -> None:
        self._tiff = file
        self._pages, leading, n_page_channels, notes = arranged(path, file, part)
        page = self._page = self._pages[0].keyframe
        check_kind(path, page)
        self.orientation = orientation_of(page)
        planes, _, height, width, samples = page.shaped
        self._inner = (height, width)
        tiled = page.is_tiled
        self._what = "tile" if tiled else "strip"
        self._segment = (
            (page.tilelength, page.tilewidth) if tiled else (min(page.rowsperstrip, height), width)
        )
        # Of values as they are, in order, any rows can be read.
        self._raw = is_raw(self._pages)
        if self._raw:
            self._segment = (1, width)
        self._counts = tuple(-(-n // s) for n, s in zip(self._inner, self._segment, strict=True))
        self._planes, self._samples = planes, samples
        for number, one in enumerate(self._pages):
            n_segments = planes * math.prod(self._counts)
            check_segments(path, one, number, 1 if self._raw else n_segments)
            if self._raw:
                check_bytes(path, one, number, math.prod((planes, height, width, samples)))
        self._jpeg = {"jpegheader": page.jpegheader} if page.compression in JPEG else None
        self._decode = page.decode
        self._colors = _palette(page)
        inverted = page.photometric == WHITE_IS_ZERO and page.dtype.kind == "u"
        self._white = (1 << page.bitspersample) - 1 if inverted else None
        stored = planes * samples
        self._alpha = _alpha(page, stored)
        shown = 3 if self._colors is not None else stored - (self._alpha is not None)
        n_channels = shown * n_page_channels
        self._size = os.path.getsize(path)
        self._lock = threading.Lock()
        grid = (*leading, height, width)
        dtype = np.dtype(np.uint8) if self._colors is not None else page.dtype
        super().__init__(
            path, grid, dtype, n_channels, len(grid) if n_channels > 1 else None,
            (1,) * len(leading) + self._segment, may_hide=self._alpha is not None,
            nodata=self._nodata(path), notes=(*notes, *_notes(page, self._alpha)),
        )  # fmt: skip
        # Last, for what has failed by then is not closed.
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._page_channels = n_page_channels

    def _nodata(self, path: str) -> float | None:
        """Value for no data, as values are meant."""
        if self._colors is not None:
            return None
        found = nodata_of(path, self._page.dtype)
        return found if found is None or self._white is None else self._white - found

    def take_place(self, part: Part) -> None:
        """Take the place on the ground from tags of GeoTIFF."""
        place = place_of(self.name)
        if place is not None and (part.level or part.series or part.pages not in (None, (0, 1))):
            note = "The place on the ground is that of another image in the file, and was left."
            self.notes = (*self.notes, note)
        else:
            self.metadata = place

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`."""
        *leading, rows, columns = region
        shape = shape_of(region)
        with reading(self.name):
            parts = [self._read_page(n, rows, columns) for n in self._numbers(leading)]
        if len(parts) == 1:
            values = parts[0].reshape(*shape, -1)
        else:
            # Pages along leading axes come first, the channels of a pixel last.
            stack = np.stack(parts).reshape(-1, self._page_channels, *parts[0].shape)
            values = np.moveaxis(stack, 1, -2).reshape(*shape, -1)
        return self._meant(values)

    def _numbers(self, leading: list[slice]) -> Iterator[int]:
        """Pages of a region, in their order, those of its channels together."""
        counts = self.grid[: len(leading)]
        for index in np.ndindex(*(part.stop - part.start for part in leading)):
            at = 0
            for i, part, n in zip(index, leading, counts, strict=True):
                at = at * n + part.start + i
            yield from range(at * self._page_channels, (at + 1) * self._page_channels)

    def _read_page(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Values (rows, columns, planes x samples) of a page."""
        if self._raw:
            return self._raw_rows(number, rows)[:, columns]
        (height, width), (n_down, n_right) = self._segment, self._counts
        downs = range(rows.start // height, -(-rows.stop // height))
        rights = range(columns.start // width, -(-columns.stop // width))
        size = (rows.stop - rows.start, columns.stop - columns.start)
        if len(downs) == len(rights) == self._planes == 1:
            tile = self._decoded(number, downs[0] * n_right + rights[0])
            cut = _within(rows, downs[0] * height), _within(columns, rights[0] * width)
            if tile is not None:
                return tile[cut]
        values = np.zeros((*size, self._planes * self._samples), self._page.dtype)
        for plane in range(self._planes):
            channels = slice(plane * self._samples, (plane + 1) * self._samples)
            for down in downs:
                for right in rights:
                    index = (plane * n_down + down) * n_right + right
                    tile = self._decoded(number, index)
                    if tile is None:
                        continue  # left out by who wrote the file: zeros
                    top, left = down * height, right * width
                    r0, r1 = max(rows.start, top), min(rows.stop, top + len(tile))
                    c0, c1 = max(columns.start, left), min(columns.stop, left + tile.shape[1])
                    values[
                        r0 - rows.start : r1 - rows.start,
                        c0 - columns.start : c1 - columns.start,
                        channels,
                    ] = tile[r0 - top : r1 - top, c0 - left : c1 - left]
        return values

    def _raw_rows(self, number: int, rows: slice) -> NDArray[Any]:
        """Values (rows, width, planes x samples) of a page that is not compressed."""
        height, width = self._inner
        n_rows, row = rows.stop - rows.start, width * self._samples * self._page.dtype.itemsize
        stored = self._page.dtype.newbyteorder(self._tiff.byteorder)
        planes = []
        for plane in range(self._planes):
            start = int(self._pages[number].dataoffsets[0]) + (plane * height + rows.start) * row
            data = self._bytes(number, rows.start, start, n_rows * row)
            planes.append(np.frombuffer(data, stored).reshape(n_rows, width, self._samples))
        values = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1)
        return values.astype(self._page.dtype, copy=False)

    def _decoded(self, number: int, index: int) -> NDArray[Any] | None:
        """Values (rows, columns, samples) of a tile or strip, or None for one that is not there."""
        page = self._pages[number]
        offset, size = int(page.dataoffsets[index]), int(page.databytecounts[index])
        if size == 0 or offset == 0:
            return None
        data = self._bytes(number, index, offset, size)
        more = {} if self._jpeg is None else {**self._jpeg, "jpegtables": page.jpegtables}
        try:
            if page.keyframe.compression in PICTURES:
                check_inner(data, math.prod(self._segment) * self._samples)
            values, _, _ = self._decode(data, index, **more)
        except ImportError as error:
            raise needs(self.name, self._page, error) from error
        except Exception as error:
            raise self._damaged(number, index, words_of(error)) from error
        tile: NDArray[Any] = values[0]
        (top, left), (height, width) = self._place(index), self._segment
        least = (min(height, self._inner[0] - top), min(width, self._inner[1] - left))
        if tile.shape[0] < least[0] or tile.shape[1] < least[1]:
            raise self._damaged(number, index, f"it holds {tile.shape[:2]} pixels, not {least}")
        if tile.shape[2] != self._samples:
            raise self._damaged(number, index, f"its pixels hold {tile.shape[2]} values")
        return tile

    def _bytes(self, number: int, index: int, offset: int, size: int) -> bytes:
        """What stands in the file of a segment of a page."""
        if offset + size > self._size:
            raise self._damaged(number, index, "it lies beyond the end of the file")
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), size, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def _place(self, index: int) -> tuple[int, int]:
        """First row and column of a segment."""
        down, right = divmod(index % math.prod(self._counts), self._counts[1])
        return down * self._segment[0], right * self._segment[1]

    def _damaged(self, number: int, index: int, why: str) -> DamagedBlock:
        top, left = self._place(index)
        page = f" of page {number}" if len(self._pages) > 1 else ""
        return DamagedBlock(
            f"{self.name}: the {self._what} {index}{page}, at row {top} and column {left}, cannot"
            f" be read ({why}); get a fresh copy"
        )

    def _meant(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Values as colours and greys are meant, and which pixels alpha leaves in."""
        if self._colors is not None:
            return self._colors[values[..., 0]], None
        valid = None
        if self._alpha is not None:
            valid = values[..., self._alpha] != 0
            values = np.delete(values, self._alpha, axis=-1)
        if self._white is not None:
            values = values.dtype.type(self._white) - values
        return values, valid

    def close(self) -> None:
        """See `ChunkedImage.close`."""
        self._file.close()
        self._tiff.close()


def _within(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)


def _palette(page: Any) -> NDArray[np.uint8] | None:
    """Colours (n_values, 3) of a page of indices."""
    if page.photometric != PALETTE:
        return None
    table = np.asarray(page.colormap)
    if table.shape != (3, 1 << page.bitspersample):
        raise ValueError(f"its colour table has the shape {table.shape}")
    colors: NDArray[np.uint8] = (table.T >> 8).astype(np.uint8)
    return colors


def _alpha(page: Any, n_stored: int) -> int | None:
    """Which of the stored channels is alpha."""
    extra = [int(kind) for kind in page.extrasamples]
    first = next((i for i, kind in enumerate(extra) if kind in _ALPHA), None)
    return None if first is None or n_stored < 2 else n_stored - len(extra) + first


def _notes(page: Any, alpha: int | None) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if alpha is not None and 1 in [int(kind) for kind in page.extrasamples]:
        notes = ("The colours are multiplied by alpha in the file, and were taken so.",)
    if page.photometric == WHITE_IS_ZERO:
        done = "inverted" if page.dtype.kind == "u" else "taken as they are"
        notes = (*notes, f"In this file zero is white; the values were {done}.")
    return notes
