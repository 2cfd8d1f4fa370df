"""Zarr arrays and OME-Zarr images read region by region."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chunked import (
    REGION_BYTES,
    ChunkedImage,
    DamagedBlock,
    Part,
    Region,
    blocks_in,
    check_number,
    refuse_parts,
    shape_of,
)
from .failures import reading, words_of
from .image import auto_axis
from .ome_zarr import Multiscale, multiscales, own_attributes
from .zarr_store import (
    arrays_in,
    attributes_of,
    check_folder,
    files_in,
    is_array,
    is_zarr,
    library,
    open_array,
)

# What is written for the axis of channels in arrays whose axes have names.
_CHANNELS = ("c", "channel", "channels", "band", "bands", "s", "sample", "samples")

# Where no more than one chunk in so many is stored, they are read one by one.
_FEW = 8
# Files of an array that are listed, for there may be far more chunks that nobody wrote.
_MANY = 4096
_NUMBERS = re.compile("[0-9]+")


@dataclass(frozen=True)
class ZarrPlace:
    """What a writer needs to put labels beside an image.

    ``kept`` are the axes of the labels that the grid has, of ``shapes``, those of the image
    from the size that was read on, without channels. ``shards`` are those of the grid.
    """

    folder: str
    zarr_format: int
    shards: tuple[int, ...] | None
    kept: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    ome: Multiscale | None = None
    n_levels: int = 1


def open_chunks(path: str, part: Part) -> ZarrChunks:
    """Open an array, or an image of OME-Zarr, to be read in regions.

    Raises
    ------
    OSError, ValueError
        There is none, it is damaged, or has no such part.
    ImportError
        zarr, or the codec of the array, is not installed.
    """
    check_folder(path)
    library(path)
    if is_array(path):
        return _open_array(path, part)
    attributes = attributes_of(path)
    if "plate" in own_attributes(path, attributes):
        raise ValueError(
            f"{path}: is a plate of many images; give one of them, such as {path}/A/1/0"
        )
    images = multiscales(path, attributes)
    if images:
        return _open_level(path, _chosen_series(path, part, images), part)
    n_series = _n_series(path, attributes)
    if n_series:
        number = check_number(path, "series", part.series or 0, n_series)
        notes = (f"Only the first of {n_series} series was read.",) if n_series > 1 else ()
        folder = os.path.join(path, str(number))
        images = multiscales(folder, attributes_of(folder))
        if images:
            return _open_level(folder, images[0], part, notes if part.series is None else ())
    listed = ", ".join(os.path.join(path, name) for name in arrays_in(path)[:5])
    raise ValueError(
        f"{path}: is a Zarr group, and no image of OME-Zarr;"
        + (f" give one of its arrays: {listed}" if listed else " it holds no arrays either")
    )


def _n_series(path: str, attributes: dict[str, Any]) -> int:
    """Number of images in a group that bioformats2raw made: folders 0, 1, …"""
    if "bioformats2raw.layout" not in own_attributes(path, attributes):
        return 0
    n = 0
    while is_zarr(os.path.join(path, str(n))):
        n += 1
    return n


def _chosen_series(path: str, part: Part, images: list[Multiscale]) -> Multiscale:
    return images[check_number(path, "series", part.series or 0, len(images))]


def _open_array(path: str, part: Part) -> ZarrChunks:
    refuse_parts(path, part, "a Zarr array is a single image", but=("channels",))
    whole = os.path.abspath(path)
    group, name = os.path.split(whole)
    # An array of an image of OME-Zarr has the axes of that.
    for image in multiscales(group, attributes_of(group)) if is_zarr(group) else ():
        if name in image.paths:
            return ZarrChunks(path, open_array(path), group, image, image.paths.index(name))
    return ZarrChunks(path, open_array(path), whole)


def _open_level(
    path: str, image: Multiscale, part: Part, notes: tuple[str, ...] = ()
) -> ZarrChunks:
    refuse_parts(path, part, "OME-Zarr has no pages", but=("series", "level", "channels"))
    level = check_number(path, "level", part.level or 0, len(image.paths))
    folder = os.path.join(path, *image.paths[level].split("/"))
    check_folder(folder)
    array = open_array(folder)
    if array.ndim != len(image.axes):
        raise ValueError(
            f"{path}: the OME-Zarr metadata is damaged ({len(image.axes)} axes are named, but"
            f" {image.paths[level]} has {array.ndim})"
        )
    return ZarrChunks(path, array, os.path.abspath(path), image, level, notes)


class ZarrChunks(ChunkedImage):
    """An array, of whose axes one may be that of the channels."""

    def __init__(
        self,
        path: str,
        array: Any,
        folder: str,
        ome: Multiscale | None = None,
        level: int = 0,
        notes: tuple[str, ...] = (),
    ) -> None:
        dtype = np.dtype(array.dtype)
        if dtype.kind not in "buif":
            raise ValueError(f"{path}: holds {dtype} values; integers or floats are expected")
        shape = tuple(int(n) for n in array.shape)
        if len(shape) < 2 or math.prod(shape) == 0:
            raise ValueError(
                f"{path}: has the shape {shape}; at least 2 dimensions and one value are expected"
            )
        self._array = array
        self._root = os.path.join(str(array.store.root), *filter(None, array.path.split("/")))
        self._channel = _channel_of(array, self._root, shape) if ome is None else ome.channel
        self._kept = _kept(shape, self._channel, drop=ome is not None)
        n_channels = 1 if self._channel is None else shape[self._channel]
        self._wanted: list[int] | None = None
        grid = tuple(shape[axis] for axis in self._kept)
        # Shards are read as a whole where they are not too large.
        self._chunks, shards = array.chunks, array.shards
        self._stored = shards or self._chunks  # shapes of what is a file
        self._few = self._all_written()
        whole = shards is not None and math.prod(shards) * dtype.itemsize <= REGION_BYTES
        stored = shards if whole else self._chunks
        super().__init__(
            path, grid, dtype, n_channels, len(grid) if n_channels > 1 else None,
            tuple(min(stored[axis], shape[axis]) for axis in self._kept),
            metadata=self._place(folder, shape, ome, level), notes=notes,
        )  # fmt: skip

    def _place(
        self, folder: str, shape: tuple[int, ...], ome: Multiscale | None, level: int
    ) -> ZarrPlace:
        at, shards = self._channel, self._array.shards
        shapes = [shape]
        for path in () if ome is None else ome.paths[level + 1 :]:
            shapes.append(open_array(os.path.join(folder, *path.split("/"))).shape)
        return ZarrPlace(
            folder,
            self._array.metadata.zarr_format,
            None if shards is None else tuple(shards[axis] for axis in self._kept),
            tuple(axis - (at is not None and axis > at) for axis in self._kept),
            tuple(tuple(n for i, n in enumerate(each) if i != at) for each in shapes),
            None if ome is None else ome.without_channels(level),
            1 if ome is None else len(ome.paths),
        )

    def choose(self, channels: tuple[int, ...]) -> ChunkedImage:
        """See `ChunkedImage.choose`; chunks of other channels are not decoded."""
        if self._channel is None:
            return super().choose(channels)
        self._wanted = list(self.check_channels(channels))
        self.n_channels = len(channels)
        return self

    def read(self, region: Region) -> tuple[NDArray[Any], None]:
        """See `ChunkedImage.read`."""
        index: list[Any] = [slice(0, n) for n in self._array.shape]
        for axis, part in zip(self._kept, region, strict=True):
            index[axis] = part
        with reading(self.name):
            try:
                values = self._values(index)
            except MemoryError:
                raise
            except Exception as error:
                raise self._damaged(index, error) from error
        if self._channel is not None:
            values = np.moveaxis(values, self._channel, -1)
        values = values.reshape(*shape_of(region), self.n_channels)
        return np.ascontiguousarray(values, self.dtype), None

    def _values(self, index: Sequence[Any]) -> NDArray[Any]:
        """Values of slices of all axes, of the channels those wanted."""
        wanted, at = self._wanted, self._channel
        shape = [part.stop - part.start for part in index]
        written = self._written(index)
        # zarr takes as long for a chunk that nobody wrote as for another, and there may be many.
        if written is None or (
            written and (len(written) * _FEW > self._n_chunks(index) or wanted is not None)
        ):
            if wanted is None or at is None:
                return np.asarray(self._array[tuple(index)])
            distinct, order = np.unique(wanted, return_inverse=True)
            chosen = (*index[:at], distinct, *index[at + 1 :])
            return np.take(self._array.oindex[chosen], order, axis=at)
        if wanted is not None and at is not None:
            shape[at] = len(wanted)
        values = np.full(shape, self._array.fill_value or 0, self._array.dtype)
        for chunk in written:
            inner = zip(chunk, index, strict=True)
            place = tuple(slice(c.start - i.start, c.stop - i.start) for c, i in inner)
            values[place] = self._array[chunk]
        return values

    def _n_chunks(self, index: Sequence[Any]) -> int:
        """Chunks or shards that slices touch."""
        pairs = zip(index, self._stored, strict=True)
        return math.prod(-(-part.stop // size) - part.start // size for part, size in pairs)

    def _written(self, index: Sequence[Any]) -> list[Region] | None:
        """Chunks or shards of slices, cut to them, that are files; None where those are many."""
        region, size, few = tuple(index), self._stored, self._few
        if few is None:
            return None
        if self._n_chunks(index) <= len(few):
            return [chunk for chunk in blocks_in(region, size) if self._numbers(chunk) in few]
        chunks = (
            tuple(
                slice(max(i * n, part.start), min((i + 1) * n, part.stop))
                for i, n, part in zip(numbers, size, region, strict=True)
            )
            for numbers in few
        )
        return [chunk for chunk in chunks if all(part.start < part.stop for part in chunk)]

    def _numbers(self, region: Region) -> tuple[int, ...]:
        """Numbers of the chunk or shard in which a region begins."""
        pairs = zip(region, self._stored, strict=True)
        return tuple(part.start // size for part, size in pairs)

    def _all_written(self) -> dict[tuple[int, ...], None] | None:
        """Numbers, in order, of chunks or shards that are files; None for many files."""
        n_axes, key = len(self._stored), self._array.metadata.encode_chunk_key
        names = set(itertools.islice(files_in(self._root, n_axes + 1), _MANY))
        if len(names) == _MANY:
            return None
        found = (tuple(map(int, _NUMBERS.findall(name))) for name in names)
        return dict.fromkeys(sorted(n for n in found if len(n) == n_axes and key(n) in names))

    def _damaged(self, index: Sequence[Any], error: Exception) -> Exception:
        """Error that names the first chunk of slices that cannot be decoded."""
        written = self._written(index)
        for region in blocks_in(tuple(index), self._stored) if written is None else written:
            for chunk in blocks_in(region, self._chunks):
                first = tuple(part.start for part in chunk)
                try:
                    self._array[tuple(slice(i, i + 1) for i in first)]
                except Exception as reason:
                    kind = "shard" if self._array.shards else "chunk"
                    key = self._array.metadata.encode_chunk_key(self._numbers(chunk))
                    return DamagedBlock(
                        f"{self.name}: the {kind} {key}, at {list(first)} of the array, cannot be"
                        f" read ({words_of(reason)}); get a fresh copy"
                    )
        return OSError(f"{self.name}: cannot be read ({error})")


def _channel_of(array: Any, root: str, shape: tuple[int, ...]) -> int | None:
    """Which axis holds the channels: as its name says, else as for any array."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or attributes_of(root).get("_ARRAY_DIMENSIONS")
    if (
        not isinstance(names, (list, tuple))
        or len(names) != len(shape)
        or any(name is None for name in names)
    ):
        return auto_axis(shape)
    named = [axis for axis, name in enumerate(names) if str(name).lower() in _CHANNELS]
    return named[0] if named and len(shape) > 2 else None


def _kept(shape: tuple[int, ...], channel: int | None, drop: bool) -> tuple[int, ...]:
    """Axes of the grid; where they may be dropped, without those before the plane of length 1."""
    axes = [axis for axis in range(len(shape)) if axis != channel]
    return tuple(a for i, a in enumerate(axes) if not drop or shape[a] > 1 or i >= len(axes) - 2)
