"""Labels as a Zarr array, or under ``labels/`` of an OME-Zarr image with what that asks for."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.tasks import Task
from .atomic import atomic_folder, writing_to
from .chunked import LabelPlan, Region, blocks_in, regions, shape_of
from .ome_zarr import Multiscale, in_image, label_attributes, plain, version_for
from .threads import Threads
from .undisturbed import to_its_end
from .zarr_chunks import ZarrPlace
from .zarr_store import library
from .zarr_target import MARK, check_target, register

COMPRESSIONS = ("zstd", "deflate", "none")
_SIDE, _SMALLEST, _LARGEST = 512, 64, 2048
_PIXELS = 2**22  # of a chunk, at most
_SHARD_PIXELS = 2**26
_MOST_LEVELS = 16
# Name of the labels in a file of their own.
_NAME = "clusters"

Tick = Callable[[int, int], None]


def check_labels(name: str, n_values: int, shape: tuple[int, ...] | None) -> None:
    """Refuse labels that OME-Zarr cannot hold; an array holds any."""
    if shape is not None and len(shape) > 4 and _is_ome(name):
        raise ValueError(
            f"{name}: OME-Zarr has labels of up to 4 axes, these have {len(shape)}; write .zarr"
        )


def _is_ome(path: str) -> bool:
    return path.lower().rstrip("/\\").endswith(".ome.zarr") or in_image(path) is not None


@contextlib.contextmanager
def create(path: str, plan: LabelPlan, *, overwrite: bool) -> Iterator[ZarrWriter]:
    """Begin labels: an array, or an OME-Zarr image of its own or beside another.

    Raises
    ------
    OSError, ValueError
        The folder cannot be written, or cannot hold such labels.
    ImportError
        zarr is not installed.
    """
    library(path)
    check_target(path, overwrite, [] if plan.like is None else [plan.like.name])
    check_labels(path, 0, plan.grid)
    image = in_image(path)
    if image is None:
        with atomic_folder(path, overwrite=overwrite) as folder:
            with writing_to(path):
                begin = _begin_image if _is_ome(path) else _begin_array
                writer = begin(path, folder, plan)
            yield writer
        return
    labels = os.path.dirname(os.path.abspath(path))
    made = not os.path.isdir(labels)
    try:
        place = _place_in(image, path, plan)
        with writing_to(path):
            os.makedirs(labels, exist_ok=True)
        with atomic_folder(path, overwrite=overwrite) as folder:
            with writing_to(path):
                writer = _begin_labels(path, folder, plan, place)
            yield writer
        register(image, os.path.abspath(path), place.zarr_format, version_for(place.zarr_format))
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(labels)  # where nothing came into it
        raise


def _begin_array(path: str, folder: str, plan: LabelPlan) -> ZarrWriter:
    if plan.pyramid:
        raise ValueError(
            f"{path}: an array has a single size; leave out pyramid (--pyramid), or write .ome.zarr"
        )
    place = _place_of(plan)
    axes = tuple(range(len(plan.grid)))
    writer = ZarrWriter(path, plan, place.zarr_format, axes, plan.grid, place.shards)
    writer.add(folder, plan.grid, _meaning(plan))
    return writer


def _begin_image(path: str, folder: str, plan: LabelPlan) -> ZarrWriter:
    """Labels in a file of their own, which is an image of them too: nothing is stored twice."""
    place = _place_of(plan)
    zarr = library(path)
    inner = os.path.join(folder, "labels", _NAME)
    writer = _begin_labels(path, inner, plan, place)
    version, ome = version_for(place.zarr_format), _ome_of(plan, place)
    listed: dict[str, Any] = {"labels": [_NAME]}
    if place.zarr_format == 3:
        listed = {"ome": {"version": version, **listed}}
    own = label_attributes(ome, writer.shapes, version, plan.legend, f"labels/{_NAME}/")
    _group(zarr, folder, place.zarr_format, {**own, **_meaning(plan)})
    _group(zarr, os.path.join(folder, "labels"), place.zarr_format, listed)
    return writer


def _begin_labels(path: str, folder: str, plan: LabelPlan, place: ZarrPlace) -> ZarrWriter:
    """A group of labels in several sizes, with the metadata of OME-Zarr."""
    ome = _ome_of(plan, place)
    shape = place.shapes[0]
    shards = None
    if place.shards is not None:
        shards = _spread(place.shards, place.kept, len(shape))
    writer = ZarrWriter(path, plan, place.zarr_format, place.kept, shape, shards, ome.names)
    shapes = _shapes(plan, place)
    version = version_for(place.zarr_format)
    attributes = label_attributes(ome, shapes, version, plan.legend)
    zarr = library(path)
    _group(zarr, folder, place.zarr_format, {**attributes, **_meaning(plan)})
    for number, each in enumerate(shapes):
        writer.add(os.path.join(folder, str(number)), each, {})
    return writer


def _group(zarr: Any, folder: str, zarr_format: int, attributes: dict[str, Any]) -> None:
    to_its_end(
        lambda: zarr.create_group(store=folder, zarr_format=zarr_format, attributes=attributes)
    )


def _meaning(plan: LabelPlan) -> dict[str, Any]:
    """What the values stand for, as attributes."""
    found: dict[str, Any] = json.loads(plan.legend.text)[MARK]
    if plan.legend.colors is not None:
        found["colors"] = [[int(c) for c in color] for color in plan.legend.colors]
    found["left_out"] = 0 if plan.legend.left_out else None
    return {MARK: found}


def _place_of(plan: LabelPlan) -> ZarrPlace:
    """Place of the image, where it is Zarr itself, else one for its grid alone."""
    found = None if plan.like is None else plan.like.metadata
    if isinstance(found, ZarrPlace):
        return found
    return ZarrPlace("", 3, None, tuple(range(len(plan.grid))), (plan.grid,))


def _place_in(image: str, path: str, plan: LabelPlan) -> ZarrPlace:
    """Place in the image that the labels are put into, which must be the one they belong to."""
    place = _place_of(plan)
    if not place.folder or os.path.realpath(place.folder) != os.path.realpath(image):
        source = "another image" if plan.like is None else plan.like.name
        raise ValueError(
            f"{path}: lies in the image {image}, but the labels are those of {source}; write them"
            " to a file of their own (.ome.zarr)"
        )
    return place


def _ome_of(plan: LabelPlan, place: ZarrPlace) -> Multiscale:
    version = version_for(place.zarr_format)
    if place.ome is not None:
        return replace(place.ome, version=version)
    return plain(len(plan.grid), version)


def _shapes(plan: LabelPlan, place: ZarrPlace) -> list[tuple[int, ...]]:
    """Shapes of all sizes: as many as the image has, or till one fits a chunk."""
    shapes = list(place.shapes)
    while len(shapes) < place.n_levels or (
        plan.pyramid and max(shapes[-1][-2:]) > _SIDE and len(shapes) < _MOST_LEVELS
    ):
        *leading, height, width = shapes[-1]
        shapes.append((*leading, -(-height // 2), -(-width // 2)))
    return shapes


def _spread(sizes: tuple[int, ...], kept: tuple[int, ...], n_axes: int) -> tuple[int, ...]:
    """Sizes on all axes, 1 on those that the grid does not have."""
    found = [1] * n_axes
    for axis, size in zip(kept, sizes, strict=True):
        found[axis] = size
    return tuple(found)


class ZarrWriter:
    """Writes regions that share no chunk, and no shard, from all threads at once."""

    def __init__(
        self,
        path: str,
        plan: LabelPlan,
        zarr_format: int,
        kept: tuple[int, ...],
        shape: tuple[int, ...],
        shards: tuple[int, ...] | None,
        names: tuple[str, ...] | None = None,
    ) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._path, self._plan, self._format, self._kept = path, plan, zarr_format, kept
        self._names = names if zarr_format == 3 else None
        self._compressor = _compressor(path, plan.compression, zarr_format)
        self._arrays: list[Any] = []
        inner = _chunks(plan.grid, plan.block)
        self._chunks = _spread(inner, kept, len(shape))
        self._shards = _shards(shards, self._chunks) if zarr_format == 3 else None
        block = self._shards or self._chunks
        self.block = tuple(min(block[axis], shape[axis]) for axis in kept)

    def add(self, folder: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
        """Create the array of a size, the largest first."""
        chunks = tuple(min(c, n) for c, n in zip(self._chunks, shape, strict=True))
        separator = {"name": "v2", "separator": "/"} if self._format == 2 else None
        create = partial(
            library(self._path).create_array,
            store=folder,
            shape=shape,
            # A shard is cut off at the end of the array as chunks are.
            chunks=chunks if self._shards is None else self._chunks,
            shards=self._shards,
            dtype=np.dtype(self._plan.dtype),
            compressors=self._compressor,
            fill_value=0,
            zarr_format=self._format,
            dimension_names=self._names,
            attributes=attributes,
            chunk_key_encoding=separator,
        )
        self._arrays.append(to_its_end(create))
        self.shapes.append(shape)

    def encode(self, region: Region, labels: NDArray[Any]) -> None:
        """See `LabelWriter.encode`; no two regions share a file, so they are stored here."""
        array = self._arrays[0]
        index = [slice(0, n) for n in array.shape]
        for axis, part in zip(self._kept, region, strict=True):
            index[axis] = part
        values = labels.reshape(shape_of(tuple(index)))
        # One by one: of several at once zarr goes on writing the others where one has failed.
        for block in blocks_in(tuple(index), array.shards or array.chunks):
            inner = (
                slice(b.start - i.start, b.stop - i.start)
                for b, i in zip(block, index, strict=True)
            )
            with writing_to(self._path):
                array[block] = values[tuple(inner)]

    def write(self, region: Region, encoded: None) -> None:
        """See `LabelWriter.write`."""

    def finish(self, tick: Tick | None = None, n_threads: int = 1) -> None:
        """See `LabelWriter.finish`: the smaller sizes."""
        steps = self.smaller()
        total, done = sum(len(each) for each in steps), 0
        with Threads(n_threads) as threads:
            for level, parts in enumerate(steps):
                shrinking = [Task(partial(self.shrink, level, part)) for part in parts]
                for task in shrinking:
                    threads.begin(task)
                for task in shrinking:
                    task.result()
                    done += 1
                    if tick is not None:
                        tick(done, total)

    @property
    def folder(self) -> str:
        """Folder of the array of the largest size."""
        return os.path.join(str(self._arrays[0].store.root), *self._arrays[0].path.split("/"))

    def smaller(self) -> list[list[Region]]:
        """Regions of each smaller size that share no file, to be filled size by size."""
        return [regions(each.shape, each.shards or each.chunks) for each in self._arrays[1:]]

    def shrink(self, level: int, region: Region) -> None:
        """Fill a region of the size after ``level`` by what that holds."""
        with writing_to(self._path):
            _shrink(self._arrays[level], self._arrays[level + 1], region)


def _shrink(finer: Any, coarser: Any, region: Region) -> None:
    """Fill a region of a smaller size with every so manieth label of the larger."""
    taken = [
        _taken(part, n, m) for part, n, m in zip(region, finer.shape, coarser.shape, strict=True)
    ]
    spans = tuple(slice(int(each[0]), int(each[-1]) + 1) for each in taken)
    values = np.asarray(finer[spans])
    coarser[region] = values[np.ix_(*(each - each[0] for each in taken))]


def _taken(part: slice, n: int, m: int) -> NDArray[np.int64]:
    """Which of n places stand for those of a part of m."""
    places = np.arange(part.start, part.stop)
    step = max(1, round(n / m))
    if m in (n // step, -(-n // step)):
        return places * step
    return (2 * places + 1) * n // (2 * m)


def _chunks(grid: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks that fit the blocks of the image: as large, where those are of a good size."""
    plane = [_side(b, n) for b, n in zip(block[-2:], grid[-2:], strict=True)]
    leading = list(block[:-2])
    if math.prod((*leading, *plane)) > _PIXELS:
        leading = [1] * len(leading)
    return (*leading, *plane)


def _side(block: int, n: int) -> int:
    if block >= n or block > _LARGEST:
        return min(_SIDE, n)
    return min(n, block if block >= _SMALLEST else _SIDE // block * block)


def _shards(wanted: tuple[int, ...] | None, chunks: tuple[int, ...]) -> tuple[int, ...] | None:
    """Shards as the image's, in whole chunks."""
    if wanted is None:
        return None
    found = tuple(max(1, s // c) * c for s, c in zip(wanted, chunks, strict=True))
    return found if math.prod(found) <= _SHARD_PIXELS else None


def _compressor(path: str, name: str | None, zarr_format: int) -> Any:
    name = name or "zstd"
    if name not in COMPRESSIONS:
        raise ValueError(
            f"{path}: compression must be one of {', '.join(COMPRESSIONS)} for Zarr, got {name!r}"
        )
    if name == "none":
        return None
    if zarr_format == 2:
        import numcodecs

        return numcodecs.Zstd(level=3) if name == "zstd" else numcodecs.GZip(level=5)
    from zarr.codecs import GzipCodec, ZstdCodec

    return ZstdCodec(level=3) if name == "zstd" else GzipCodec(level=5)
