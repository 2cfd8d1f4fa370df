"""From an image to the pixels to cluster, and from their labels back to the grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from .array_libraries import Caller, axis_named, from_caller, is_on_gpu, like_image
from .arrays import (
    as_array,
    check_finite,
    check_largest,
    check_magnitude,
    native,
    refuse_dask,
    refuse_gpu,
)
from .io import read_channels, read_image, read_mask
from .io.image import Image, Scale, auto_axis, stored_value
from .kernels.backend import Array
from .resident import left_there, refuse_there
from .resident import resident as at_rest


@dataclass(frozen=True)
class Pixels:
    """Pixels of an image that take part.

    ``values`` (n, channels) are those kept, in the grid's order; ``kept`` is a bool
    array of the grid, or None when nothing can be left out. Where ``turned`` both go
    by the grid with its axes reversed. ``scale`` is by what the values stand for those
    meant, and ``has_background`` says that the image keeps label 0 free. ``caller`` gave
    the image.
    """

    values: Any
    kept: Array | None
    grid: tuple[int, ...]
    channel_axis: int | None
    dtype: np.dtype[Any]
    turned: bool = False
    scale: Scale | None = None
    has_background: bool = False
    caller: Caller = Caller()  # noqa: RUF009

    @property
    def layout(self) -> tuple[int, ...]:
        """Grid in the order of the values."""
        return self.grid[::-1] if self.turned else self.grid

    def in_units(self, values: Array) -> Array:
        """Values (m, channels) as they are meant: the same, or scaled to float64."""
        if self.scale is None:
            return values
        slope, intercept = self.scale
        return values * slope + intercept

    @property
    def n_left_out(self) -> int:
        """Pixels left out."""
        return 0 if self.kept is None else self.kept.size - len(self.values)

    @property
    def may_leave_out(self) -> bool:
        """Whether a rule that leaves pixels out applies, or label 0 is kept free."""
        return self.kept is not None or self.has_background

    def only(self, chosen: Array) -> Pixels:
        """Those of the pixels for which ``chosen`` (n,) holds."""
        kept = np.ones(self.layout, bool) if self.kept is None else self.kept.copy()
        kept[kept] = chosen
        return replace(self, values=self.values[chosen], kept=kept)

    def to_grid(self, labels: Any, empty: float = 0) -> Any:
        """Labels or values of the kept pixels on the grid, with ``empty`` for the others."""
        if self.kept is None:
            full = labels.reshape(self.layout)
        else:
            full = np.full(self.layout, empty, labels.dtype)
            full[self.kept] = labels
        return full.T if self.turned else full

    def result(self, labels: Any, empty: float = 0) -> Any:
        """What `to_grid` gives, in the library of whoever gave the image."""
        return self.caller.grid(self.to_grid(labels, empty), self.channel_axis)

    def upright(self) -> Pixels:
        """Pixels in the grid's order, and in the units that are meant."""
        if not self.turned and self.scale is None:
            return self
        values, kept = self.in_units(self.values), self.kept
        if self.turned:  # one channel
            full = self.to_grid(values[:, 0])
            kept = None if kept is None else np.ascontiguousarray(kept.T)
            values = (full.ravel() if kept is None else full[kept])[:, None]
        return replace(self, values=values, kept=kept, turned=False, scale=None)


def as_pixels(
    image: Any,
    channel_axis: Any,
    mask: Any,
    nodata: Any,
    n_channels: int | None = None,
    *,
    resident: bool = False,
) -> Pixels:
    """Pixels of an array, of files by their paths, or of a picture read from one.

    For images like one that was fitted, ``n_channels`` tells how many channels that
    had: a file then goes by its own channels, and a last axis of that length holds
    channels however long it is. With ``resident`` an image in a GPU's memory stays there,
    where all of its pixels take part.

    Raises
    ------
    ValueError, TypeError
        If the image is empty, is left out as a whole, holds infinite values, or an
        argument does not fit it.
    """
    valid, scale, geometry = None, None, None
    image, mask = read_files(image, mask)
    if isinstance(image, Image):
        valid, scale, geometry = image.valid, image.scale, image.geometry
        if image.channel_axis != "auto" and (channel_axis == "auto" or n_channels is not None):
            channel_axis = image.channel_axis
        image = image.pixels
    channel_axis, mask = axis_named(image, channel_axis), like_image(mask, image)
    image, caller = from_caller(image, "image")
    if resident and is_on_gpu(image):
        there = _left_there(image, channel_axis, n_channels, caller)
        refuse_there(there.values, mask=mask is not None, nodata=nodata is not None)
        return there
    masked = image if isinstance(image, np.ma.MaskedArray) else None
    refuse_gpu(image, "image")
    refuse_dask(image, "image")
    array = np.ma.getdata(image) if masked is not None else as_array(image, "image")
    check_shape(array.shape)
    axis = axis_of(array.shape, channel_axis, n_channels)
    dtype = array.dtype
    values = _channels_last(native(array, "image"), axis)
    grid = values.shape[:-1]
    kept = both(valid, mask_of(mask, grid))
    if masked is not None and masked.mask is not np.ma.nomask:
        hidden: Array = np.asarray(_channels_last(np.ma.getmaskarray(masked), axis).any(axis=-1))
        # A mask that hides nothing is NumPy's to drop or keep, and says nothing.
        kept = both(kept, ~hidden) if hidden.any() else kept
    # Medical volumes lie in memory with the first axis fastest. Of one channel nothing
    # depends on the order of the pixels, so they are taken as they lie.
    plane = values[..., 0]
    turned = axis is None and plane.flags.f_contiguous and not plane.flags.c_contiguous
    if turned:
        values, kept = plane.T[..., None], None if kept is None else kept.T
    layout, values = values.shape[:-1], values.reshape(-1, values.shape[-1])
    values, kept = those_kept(values, layout, kept, nodata, dtype, scale)
    check_kept(len(values))
    check_finite(values, "image")
    # Centres that were fitted are apart, whatever the values to compare with them span.
    (check_magnitude if n_channels is None else check_largest)(values, "image")
    units = dtype if scale is None else np.dtype(np.float64)
    return Pixels(values, kept, grid, axis, units, turned, scale, geometry is not None, caller)


def _left_there(image: Any, channel_axis: Any, n_channels: int | None, caller: Caller) -> Pixels:
    """Pixels of an image in a GPU's memory."""
    device, array = left_there(image, "image")
    shape = tuple(array.shape)
    check_shape(shape)
    axis = axis_of(shape, channel_axis, n_channels)
    if axis is not None:
        array = array.transpose(*[a for a in range(len(shape)) if a != axis], axis)
        shape = tuple(array.shape)
    grid = shape if axis is None else shape[:-1]
    values = at_rest(array.reshape(-1, 1 if axis is None else shape[-1]), device, "image")
    (check_magnitude if n_channels is None else check_largest)(values, "image")  # type: ignore[arg-type]
    return Pixels(values, None, grid, axis, values.dtype, caller=caller)


def check_kept(n_kept: int, name: str | None = None) -> None:
    """Refuse an image, in a file of some name, no pixel of which takes part."""
    if n_kept == 0:
        where = "" if name is None else f"{name}: "
        raise ValueError(
            f"{where}every pixel of the image is left out by mask, nodata, alpha or NaN; keep some"
        )


def axis_of(shape: tuple[int, ...], channel_axis: Any, n_channels: int | None) -> int | None:
    """Axis of the channels; the last one if it has as many as are known."""
    if isinstance(channel_axis, str) and len(shape) > 2 and shape[-1] == n_channels:
        channel_axis = -1
    return resolve_channel_axis(channel_axis, shape)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise ValueError for what is no image, by its shape."""
    if len(shape) < 2:
        raise ValueError(
            f"image must have at least 2 dimensions, got shape {shape}; a row of pixels is (1, n)"
        )
    if 0 in shape:
        raise ValueError(f"image is empty, its shape is {shape}; give at least one pixel")


def those_kept(
    values: Array,
    layout: tuple[int, ...],
    kept: Array | None,
    nodata: Any,
    dtype: np.dtype[Any],
    scale: Scale | None,
) -> tuple[Array, Array | None]:
    """Values (m, channels) of pixels (n, channels) that take part, and which those are.

    Left out are those not ``kept`` so far, those of no data, and those with NaN.
    """
    kept = both(kept, _differs_from(values, nodata, layout, dtype, scale))
    kept = both(kept, _no_nan(values, layout))
    if kept is not None:
        values = values[kept.ravel()]
    return np.ascontiguousarray(values), kept


def read_files(image: Any, mask: Any) -> tuple[Any, Any]:
    """Image and mask, read where paths are given."""
    if isinstance(image, (str, PathLike)):
        image = read_image(image)
    elif isinstance(image, (list, tuple)) and image and isinstance(image[0], (str, PathLike)):
        image = read_channels(image)
    if isinstance(mask, (str, PathLike)):
        mask = read_mask(mask, like=image if isinstance(image, Image) else None)
    return image, mask


def resolve_channel_axis(channel_axis: Any, shape: tuple[int, ...]) -> int | None:
    """Axis of the channels, from 0, or None for an image of one channel."""
    if channel_axis is None:
        return None
    if isinstance(channel_axis, str) and channel_axis == "auto":
        return auto_axis(shape)
    if isinstance(channel_axis, bool) or not isinstance(channel_axis, (int, np.integer)):
        raise TypeError(f"channel_axis must be 'auto', an integer or None, got {channel_axis!r}")
    if not -len(shape) <= channel_axis < len(shape):
        raise ValueError(
            f"channel_axis={channel_axis} is out of range for an image of shape {shape}"
        )
    return int(channel_axis) % len(shape)


def axis_rule(channel_axis: Any, found: int | None) -> int | str | None:
    """Rule by which `predict` finds the channels of another image."""
    if channel_axis is None or channel_axis == "auto":
        return channel_axis  # type: ignore[no-any-return]
    return found if isinstance(channel_axis, str) else int(channel_axis)


def _channels_last(array: Array, axis: int | None) -> Array:
    return array[..., None] if axis is None else np.moveaxis(array, axis, -1)


def both(a: Array | None, b: Array | None) -> Array | None:
    """Pixels kept by two rules, each of which may keep all (None)."""
    if a is None or b is None:
        return b if a is None else a
    return a & b


def mask_of(mask: Any, grid: tuple[int, ...]) -> Array | None:
    """Pixels of a grid that a mask keeps, or None where there is no mask."""
    if mask is None:
        return None
    mask, _ = from_caller(mask, "mask")
    refuse_gpu(mask, "mask")
    refuse_dask(mask, "mask")
    array = as_array(mask, "mask")
    if array.shape != grid:
        raise ValueError(
            f"mask has shape {array.shape}, but the image's grid is {grid};"
            " it needs one value per pixel, zero to leave it out"
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(f"mask must hold booleans or numbers, got dtype {array.dtype}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError("mask contains NaN; put 0 where pixels are to be left out, and else 1")
    kept: Array = array != 0
    return kept


def _differs_from(
    values: Array, nodata: Any, grid: tuple[int, ...], dtype: np.dtype[Any], scale: Scale | None
) -> Array | None:
    if nodata is None:
        return None
    if isinstance(nodata, bool) or not isinstance(nodata, (int, float, np.number)):
        raise TypeError(f"nodata must be a number, got {nodata!r}")
    if dtype.kind == "f":
        # As the image's own type rounds it: 0.1 is another number in float32.
        nodata = dtype.newbyteorder("=").type(nodata)
    differs = np.zeros(len(values), bool)
    for f, channel in enumerate(values.T):
        differs |= channel != stored_value(nodata, scale, f, dtype)
    return differs.reshape(grid)


def _no_nan(values: Array, grid: tuple[int, ...]) -> Array | None:
    """Pixels without NaN in any channel, or None when there is no NaN at all."""
    if values.dtype.kind != "f":
        return None
    number = np.ones(len(values), bool)
    for channel in values.T:
        number &= channel == channel
    return None if number.all() else number.reshape(grid)
