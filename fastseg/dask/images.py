"""Dask arrays as parts of an image: what is read of a block, and where the block lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..array_libraries import Caller, axis_named, from_caller, like_image
from ..arrays import as_points, check_finite, check_largest, is_dask, native, refuse_gpu
from ..io import read_mask
from ..io.chunked import Region
from ..kernels.backend import Array
from ..pixels import Pixels, axis_of, both, check_shape, mask_of, those_kept
from .cluster import Part


@dataclass(frozen=True)
class Source:
    """An image in parts that only workers read.

    ``read(*part)`` gives the pixels of a part, which fills one of the ``regions``; those are
    the product of cuts of each axis of the ``grid``, and come in its order. ``dtype`` is the
    type of the values, and ``stored`` that which they are computed in. Where a rule that
    leaves pixels out is not known to apply, it may all the same if the image ``may_hide`` some.
    """

    parts: list[Part]
    regions: list[Region]
    read: Callable[..., Pixels]
    grid: tuple[int, ...]
    dtype: np.dtype[Any]
    n_channels: int
    may_leave_out: bool
    may_hide: bool

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of the values as they are computed on."""
        return native(np.empty((0, 1), self.dtype), "image").dtype

    @property
    def n_pixels(self) -> int:
        """Pixels of the grid."""
        return math.prod(self.grid)


@dataclass(frozen=True)
class DaskImage:
    """A dask array with its channels last and in one chunk, and a mask in the same chunks."""

    array: Any
    mask: Any
    channel_axis: int | None
    nodata: Any
    caller: Caller

    @property
    def grid_chunks(self) -> tuple[tuple[int, ...], ...]:
        """Chunks of the grid, as the labels have them."""
        chunks: tuple[tuple[int, ...], ...] = self.array.chunks
        return chunks if self.channel_axis is None else chunks[:-1]

    @property
    def read(self) -> Callable[..., Pixels]:
        """Function of a block, and of the mask's block where there is a mask."""
        has_channels = self.channel_axis is not None
        return partial(_block_pixels, has_channels=has_channels, nodata=self.nodata)

    def result(self, labels: Any) -> Any:
        """Labels as whoever gave the image takes them."""
        return self.caller.grid(labels, self.channel_axis)

    def source(self) -> Source:
        """Give the image's parts; nothing is read."""
        chunks = self.grid_chunks
        blocks: list[Part] = [(block,) for block in self.array.to_delayed().ravel()]
        if self.mask is not None:
            masks = self.mask.to_delayed().ravel()
            blocks = [(*part, mask) for part, mask in zip(blocks, masks, strict=True)]
        regions = _regions(chunks)
        filled = [i for i, region in enumerate(regions) if all(s.stop > s.start for s in region)]
        return Source(
            [blocks[i] for i in filled],
            [regions[i] for i in filled],
            self.read,
            tuple(sum(sizes) for sizes in chunks),
            self.array.dtype,
            1 if self.channel_axis is None else self.array.shape[-1],
            self.mask is not None or self.nodata is not None,
            self.array.dtype.kind == "f" or isinstance(self.array._meta, np.ma.MaskedArray),
        )


def as_dask_image(
    image: Any, channel_axis: Any, mask: Any, nodata: Any, n_channels: int | None = None
) -> DaskImage:
    """Dask array as `as_pixels` takes an array, without computing any of it.

    Raises
    ------
    ValueError, TypeError
        If the array is empty, its chunks are of unknown size, or an argument does not fit it.
    """
    import dask.array as da

    channel_axis, mask = axis_named(image, channel_axis), like_image(mask, image)
    image, caller = from_caller(image, "image")
    check_chunks(image, "image")
    check_shape(image.shape)
    native(np.empty((0, 1), image.dtype), "image")
    axis = axis_of(image.shape, channel_axis, n_channels)
    if axis is not None:
        image = da.moveaxis(image, axis, -1)
        image = image.rechunk({image.ndim - 1: -1})
    chunks = image.chunks if axis is None else image.chunks[:-1]
    grid = image.shape if axis is None else image.shape[:-1]
    if mask is not None:
        mask = read_mask(mask) if isinstance(mask, str) or hasattr(mask, "__fspath__") else mask
        mask, _ = from_caller(mask, "mask")
        if is_dask(mask):
            check_chunks(mask, "mask")
        else:
            mask = np.asarray(mask)
        mask_of(np.broadcast_to(np.zeros((), mask.dtype), mask.shape), grid)
        mask = mask.rechunk(chunks) if is_dask(mask) else da.from_array(mask, chunks=chunks)
    those_kept(np.empty((0, 1), image.dtype), (0,), None, nodata, image.dtype, None)
    return DaskImage(image, mask, axis, nodata, caller)


def check_rows(X: Any) -> Any:
    """Dask array (n, features) with its features in one chunk."""
    check_chunks(X, "X")
    if X.ndim != 2:
        raise ValueError(
            f"X must have 2 dimensions (points, features), got shape {X.shape};"
            " reshape(-1, 1) makes one feature of a vector"
        )
    if 0 in X.shape:
        raise ValueError(f"X is empty, its shape is {X.shape}")
    native(np.empty((0, 1), X.dtype), "X")
    return X.rechunk({1: -1})


def rows_source(X: Any) -> Source:
    """Rows (n, features) of a dask array, in parts."""
    rows = check_rows(X)
    regions = _regions(rows.chunks[:1])
    blocks = rows.to_delayed().ravel()
    filled = [i for i, (rows_,) in enumerate(regions) if rows_.stop > rows_.start]
    return Source(
        [(blocks[i],) for i in filled], [regions[i] for i in filled], _block_rows, X.shape[:1],
        X.dtype, X.shape[1], False, False,
    )  # fmt: skip


def check_chunks(array: Any, name: str) -> None:
    """Refuse a dask array whose shape is not known."""
    if any(math.isnan(n) for n in array.shape):
        raise ValueError(
            f"{name} has chunks of unknown size, its shape is {array.shape};"
            f" call {name}.compute_chunk_sizes() first"
        )


def _regions(chunks: tuple[tuple[int, ...], ...]) -> list[Region]:
    """Slices that the blocks fill, in the order of the blocks."""
    cuts = []
    for sizes in chunks:
        ends = [int(end) for end in itertools.accumulate(sizes)]
        cuts.append([slice(end - int(n), end) for end, n in zip(ends, sizes, strict=True)])
    return list(itertools.product(*cuts))


def _block_rows(block: Any) -> Pixels:
    rows = as_points(block, "X")
    return Pixels(rows, None, (len(rows),), None, rows.dtype)


def _block_pixels(block: Any, mask: Any = None, *, has_channels: bool, nodata: Any) -> Pixels:
    """Pixels of a block that take part."""
    refuse_gpu(block, "image")
    array = np.asarray(block)
    values = native(array, "image")
    values = values if has_channels else values[..., None]
    grid = values.shape[:-1]
    kept = mask_of(mask, grid)
    if isinstance(block, np.ma.MaskedArray) and block.mask is not np.ma.nomask:
        hidden: Array = np.ma.getmaskarray(block)
        hidden = np.asarray(hidden.any(axis=-1)) if has_channels else hidden
        kept = both(kept, ~hidden) if hidden.any() else kept
    flat = values.reshape(-1, values.shape[-1])
    flat, kept = those_kept(flat, grid, kept, nodata, array.dtype, None)
    check_finite(flat, "image")
    check_largest(flat, "image")
    return Pixels(flat, kept, grid, None, array.dtype)
