"""Label images as tiled TIFF or BigTIFF, tile by tile in any order."""

from __future__ import annotations

import contextlib
import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..kernels.tasks import Task
from .atomic import atomic_write
from .chunked import REGION_BYTES, LabelPlan, Region, shape_of
from .threads import Threads
from .tiff_tags import ASCII, CLASSIC_BYTES, LONG, SHORT, Directories, Tag

_SIDE = 512
_SIDES = (512, 256, 128, 64, 32, 16)
_SMALLEST, _LARGEST = 128, 2048
_GREY, _PALETTE = 1, 3
_N_COLORS = 256
_N_VALUES = 1 << 16
# The smallest level of a pyramid fits a tile.
_MOST_LEVELS = 16
_LEVEL = 4  # of deflate

Bytes = bytes | bytearray
Tick = Callable[[int, int], None]


def _deflate(data: Any) -> Bytes:
    try:
        import imagecodecs
    except ImportError:
        return zlib.compress(data, _LEVEL)
    packed: Bytes = imagecodecs.deflate_encode(data, _LEVEL)
    return packed


def _zstd(data: Any) -> Bytes:
    packed: Bytes = _imagecodecs("zstd").zstd_encode(data, 3)
    return packed


def _unzstd(data: Bytes) -> Bytes:
    unpacked: Bytes = _imagecodecs("zstd").zstd_decode(data)
    return unpacked


def _imagecodecs(name: str) -> Any:
    try:
        import imagecodecs
    except ImportError as error:
        raise ImportError(
            f'compression {name!r} needs imagecodecs: pip install "fastseg[deep]"'
        ) from error
    return imagecodecs


# name -> TIFF's number, how to pack, how to unpack
COMPRESSIONS: dict[str, tuple[int, Callable[[Any], Bytes], Callable[[Any], Bytes]]] = {
    "deflate": (8, _deflate, zlib.decompress),
    "zstd": (50000, _zstd, _unzstd),
    "none": (1, bytes, bytes),
}


@contextlib.contextmanager
def create(path: str, plan: LabelPlan, *, overwrite: bool) -> Iterator[TiffWriter]:
    """Begin a file of labels: a page, or one for each plane of a grid of more axes.

    Raises
    ------
    ValueError
        TIFF cannot hold such labels.
    """
    with atomic_write(path, overwrite=overwrite) as file:
        yield TiffWriter(path, file, plan)


class TiffWriter:
    """Writes labels as grey values, or as indices of the clusters' colours."""

    def __init__(self, path: str, file: BinaryIO, plan: LabelPlan) -> None:
        if len(plan.grid) < 2:
            raise ValueError(f"{path}: a TIFF page has two axes, these labels {plan.grid}")
        dtype = np.dtype(plan.dtype)
        if dtype.itemsize > 2:
            raise ValueError(
                f"{path}: a TIFF holds {_N_VALUES} label values, and here are more; write .npy"
            )
        if plan.pyramid and len(plan.grid) > 2:
            raise ValueError(
                f"{path}: a pyramid is for two axes, but the grid is {plan.grid}; leave out"
                " pyramid (--pyramid)"
            )
        name = plan.compression or "deflate"
        if name not in COMPRESSIONS:
            listed = ", ".join(COMPRESSIONS)
            raise ValueError(f"{path}: compression must be one of {listed}, got {name!r}")
        self._code, self._pack, self._unpack = COMPRESSIONS[name]
        self._pack(b"\0")  # what is missing is known before the work
        self._file, self._plan, self._dtype = file, plan, dtype
        self._tile = _tile_of(plan)
        self.block = (1,) * (len(plan.grid) - 2) + self._tile
        *leading, height, width = plan.grid
        self._pages = [
            _Page((height, width), self._tile, self._code) for _ in range(math.prod(leading))
        ]
        size = math.prod(plan.grid) * dtype.itemsize * (2 if plan.pyramid else 1)
        self._directories = Directories(file, size + 16 * _n_tiles(self._pages) > CLASSIC_BYTES)

    def encode(self, region: Region, labels: NDArray[Any]) -> list[tuple[int, int, int, Bytes]]:
        """See `LabelWriter.encode`: page, row and column of each tile, and its bytes."""
        *leading, rows, columns = region
        planes = labels.reshape(-1, *shape_of((rows, columns)))
        counts = self._plan.grid[:-2]
        done = []
        shape = tuple(part.stop - part.start for part in leading)
        for plane, index in zip(planes, np.ndindex(*shape), strict=True):
            page = 0
            for i, part, n in zip(index, leading, counts, strict=True):
                page = page * n + part.start + i
            for down, right, tile in _tiles_of(plane, rows.start, columns.start, self._tile):
                done.append((page, down, right, self._packed(tile)))
        return done

    def write(self, region: Region, encoded: list[tuple[int, int, int, Bytes]]) -> None:
        """See `LabelWriter.write`."""
        for page, down, right, data in encoded:
            self._append(self._pages[page], down, right, data)

    def _append(self, page: _Page, down: int, right: int, data: Bytes) -> None:
        page.offsets[down, right] = self._file.tell()
        page.sizes[down, right] = len(data)
        self._file.write(data)

    def _packed(self, tile: NDArray[Any]) -> Bytes:
        whole = tile
        if tile.shape != self._tile:
            whole = np.zeros(self._tile, self._dtype)
            whole[: tile.shape[0], : tile.shape[1]] = tile
        little = self._dtype.newbyteorder("<")
        return self._pack(np.ascontiguousarray(whole, little).view(np.uint8).data)

    def finish(self, tick: Tick | None = None, n_threads: int = 1) -> None:
        """See `LabelWriter.finish`."""
        levels = self._smaller(tick, n_threads) if self._plan.pyramid else []
        for number, page in enumerate(self._pages):
            self._directories.append([*page.tags(self._directories), *self._meaning(number)])
        for page in levels:
            reduced = Tag.of(254, LONG, 1)
            tags = [*page.tags(self._directories), *self._colors(), reduced]
            self._directories.append(tags)

    def _meaning(self, number: int) -> list[Tag]:
        """Tags of what the values stand for, and of where the image lies."""
        tags = self._colors()
        if number == 0:
            tags.append(Tag.of(305, ASCII, b"fastseg"))
            if self._plan.legend.names:
                tags.append(Tag.of(270, ASCII, self._plan.legend.text))
        if self._plan.legend.left_out:
            tags.append(Tag.of(42113, ASCII, b"0"))  # what GDAL takes for no data
        like = self._plan.like
        if like is not None and isinstance(like.metadata, TiffPlace):
            tags += like.metadata.tags
        return tags

    def _colors(self) -> list[Tag]:
        bits = Tag.of(258, SHORT, 8 * self._dtype.itemsize)
        colors = self._plan.legend.colors
        if colors is None or len(colors) > _N_COLORS or self._dtype.itemsize > 1:
            return [bits, Tag.of(262, SHORT, _GREY)]
        table = np.zeros((3, _N_COLORS), np.uint16)
        table[:, : len(colors)] = np.asarray(colors, np.uint16).T * 257
        return [bits, Tag.of(262, SHORT, _PALETTE), Tag.of(320, SHORT, table.ravel())]

    def _smaller(self, tick: Tick | None, n_threads: int) -> list[_Page]:
        """Write levels of half the sides each, of every second label, till one fits a tile."""
        levels = [self._pages[0]]
        while max(levels[-1].counts) > 1 and len(levels) < _MOST_LEVELS:
            height, width = levels[-1].shape
            levels.append(_Page((-(-height // 2), -(-width // 2)), self._tile, self._code))
        total, done = _n_tiles(levels[1:]), 0
        with Threads(n_threads) as threads:
            for finer, coarser in itertools.pairwise(levels):
                for down in range(coarser.counts[0]):
                    # A row at a time: the finer tiles are read here, and halved by the threads.
                    halving = [
                        Task(partial(self._halved, self._children(finer, down, right)))
                        for right in range(coarser.counts[1])
                    ]
                    for task in halving:
                        threads.begin(task)
                    for right, task in enumerate(halving):
                        self._append(coarser, down, right, task.result())
                    done += coarser.counts[1]
                    if tick is not None:
                        tick(done, total)
        return levels[1:]

    def _children(self, finer: _Page, down: int, right: int) -> list[list[Bytes]]:
        """Bytes of the four tiles under one of the next level; fewer at the edges."""
        rows = range(2 * down, min(2 * down + 2, finer.counts[0]))
        columns = range(2 * right, min(2 * right + 2, finer.counts[1]))
        found = []
        for r in rows:
            row: list[Bytes] = []
            for c in columns:
                self._file.seek(int(finer.offsets[r, c]))
                row.append(self._file.read(int(finer.sizes[r, c])))
            found.append(row)
        self._file.seek(0, 2)
        return found

    def _halved(self, children: list[list[Bytes]]) -> Bytes:
        height, width = self._tile
        tile = np.zeros((2 * height, 2 * width), self._dtype)
        for r, row in enumerate(children):
            for c, data in enumerate(row):
                part = np.frombuffer(self._unpack(data), self._dtype.newbyteorder("<"))
                place = slice(r * height, (r + 1) * height), slice(c * width, (c + 1) * width)
                tile[place] = part.reshape(self._tile)
        return self._packed(tile[::2, ::2])


class TiffPlace:
    """Tags of a TIFF file that say where the image lies, for labels on the same grid."""

    def __init__(self, tags: tuple[Tag, ...]) -> None:
        self.tags = tags


class _Page:
    """Where the tiles of a page are in the file."""

    def __init__(self, shape: tuple[int, int], tile: tuple[int, int], code: int) -> None:
        self.shape, self.tile, self.code = shape, tile, code
        self.counts = tuple(-(-n // s) for n, s in zip(shape, tile, strict=True))
        self.offsets = np.zeros(self.counts, np.uint64)
        self.sizes = np.zeros(self.counts, np.uint64)

    def tags(self, directories: Directories) -> list[Tag]:
        """Tags of the layout of the page."""
        return [
            Tag.of(256, LONG, self.shape[1]),
            Tag.of(257, LONG, self.shape[0]),
            Tag.of(259, SHORT, self.code),
            Tag.of(277, SHORT, 1),
            Tag.of(284, SHORT, 1),
            Tag.of(322, LONG, self.tile[1]),
            Tag.of(323, LONG, self.tile[0]),
            Tag.of(324, directories.offset_kind, self.offsets.ravel()),
            Tag.of(325, directories.offset_kind, self.sizes.ravel()),
            Tag.of(339, SHORT, 1),
        ]


def _n_tiles(pages: list[_Page]) -> int:
    return sum(page.offsets.size for page in pages)


def _tiles_of(
    plane: NDArray[Any], top: int, left: int, tile: tuple[int, int]
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Row and column among the tiles of the page, and labels, of each tile of a plane."""
    height, width = tile
    for r in range(0, plane.shape[0], height):
        for c in range(0, plane.shape[1], width):
            part = plane[r : r + height, c : c + width]
            yield (top + r) // height, (left + c) // width, part


def _tile_of(plan: LabelPlan) -> tuple[int, int]:
    """Tiles that fit the blocks of the image: as large, or of rows that are read together."""
    (rows, columns), width = plan.block[-2:], plan.grid[-1]
    side = _side_of(columns) if columns < width else min(_SIDE, -(-width // 16) * 16)
    if columns < width:
        return _side_of(rows), side
    # Blocks are whole rows: a region will be as many of them as a tile is high.
    row_bytes = width * (1 if plan.like is None else plan.like.pixel_bytes)
    most = REGION_BYTES // row_bytes
    height = next((s for s in _SIDES if s <= most), _SIDES[-1])
    return min(height, -(-plan.grid[-2] // 16) * 16), side


def _side_of(block: int) -> int:
    """Side of tiles, a multiple of 16, for blocks of a side."""
    if block % 16 == 0 and _SMALLEST <= block <= _LARGEST:
        return block
    if block % 16 == 0 and block < _SMALLEST:
        return _SIDE // block * block
    return _SIDE
