"""Images in regions that are made of other images: whole ones, some channels, several files."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .channels import check_grid, stacked_scale
from .chunked import ChunkedImage, Region, cut, regions
from .failures import check_memory
from .image import Image, Scale, stored_value


def read_whole(image: ChunkedImage, max_pixels: int | None = None) -> Image:
    """Read all regions of an image; what is no data is left out.

    Raises
    ------
    ValueError
        It has more pixels than ``max_pixels``, by default Pillow's limit, or more than there
        is memory for.
    """
    from .pillow_state import check_size

    if isinstance(image, WholeImage):
        return image.image
    check_size(image.name, image.grid, max_pixels)
    hides = image.may_hide or image.nodata is not None
    check_memory(
        image.name, image.n_pixels * (image.pixel_bytes + hides), f"its {image.n_pixels:,} pixels"
        " take", "read it in pieces (in Python: fastseg.segment_file)",
    )  # fmt: skip
    check_memory(
        image.name, math.prod(image.block) * image.pixel_bytes, "what is decoded at once takes",
        "store it in smaller tiles",
    )  # fmt: skip
    values = np.empty((*image.grid, image.n_channels), image.dtype)
    valid = np.ones(image.grid, bool) if hides else None
    nothing = _stored_nodata(image)
    step = cut(image.grid, (1,) * len(image.grid), image.block, image.pixel_bytes)
    for region in regions(image.grid, step):
        values[region], there = image.read(region)
        if valid is not None and there is not None:
            valid[region] = there
        if valid is not None and nothing is not None:
            valid[region] &= np.any(values[region] != nothing, axis=-1)
    return Image(
        values if image.channel_axis is not None else values[..., 0], image.channel_axis, valid,
        image.notes, image.scale, image.geometry, image.metadata,
    )  # fmt: skip


def _stored_nodata(image: ChunkedImage) -> NDArray[np.float64] | None:
    """Value (n_channels,) of no data as it stands in each channel, or None for none."""
    if image.nodata is None:
        return None
    channels = range(image.n_channels)
    return np.array([stored_value(image.nodata, image.scale, c, image.dtype) for c in channels])


class WholeImage(ChunkedImage):
    """An image of a format that is read as a whole, or an array that is mapped into memory."""

    def __init__(self, name: str, image: Image) -> None:
        self.image = image
        axis = image.resolved_axis
        pixels = image.pixels
        self._values = pixels[..., None] if axis is None else np.moveaxis(pixels, axis, -1)
        plane = self._values[..., 0]
        # The axis along which values lie together is not cut if it need not be.
        long = 0 if plane.flags.f_contiguous and not plane.flags.c_contiguous else plane.ndim - 1
        block = tuple(n if axis == long else 1 for axis, n in enumerate(plane.shape))
        super().__init__(
            name, image.grid, pixels.dtype, image.n_channels, axis, block,
            may_hide=image.valid is not None, scale=image.scale, geometry=image.geometry,
            metadata=image.metadata, notes=image.notes,
        )  # fmt: skip

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`."""
        values = self._values[region].astype(self.dtype, copy=False)
        return values, None if self.image.valid is None else self.image.valid[region]


class ChosenChannels(ChunkedImage):
    """Some of the channels of an image, in an order of one's own."""

    def __init__(self, image: ChunkedImage, channels: tuple[int, ...]) -> None:
        self._image, self._channels = image, list(channels)
        super().__init__(
            image.name, image.grid, image.dtype, len(channels), image.channel_axis, image.block,
            may_hide=image.may_hide, nodata=image.nodata, scale=chosen_scale(image.scale, channels),
            geometry=image.geometry, metadata=image.metadata, notes=image.notes,
        )  # fmt: skip

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`."""
        values, valid = self._image.read(region)
        return np.ascontiguousarray(values[..., self._channels]), valid

    def close(self) -> None:
        """See `ChunkedImage.close`."""
        self._image.close()


class Reopened(ChunkedImage):
    """One of many images: its file is open, or held as a whole, only while it is read."""

    def __init__(self, opening: Callable[[], ChunkedImage]) -> None:
        self._opening = opening
        self._image: ChunkedImage | None = None
        self._lock = threading.Lock()
        with opening() as image:
            super().__init__(
                image.name, image.grid, image.dtype, image.n_channels, image.channel_axis,
                image.block, may_hide=image.may_hide, nodata=image.nodata, scale=image.scale,
                geometry=image.geometry, notes=image.notes,
            )  # fmt: skip

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`."""
        with self._lock:
            if self._image is None:
                self._image = self._opening()
            image = self._image
        return image.read(region)

    def rest(self) -> None:
        """See `ChunkedImage.rest`."""
        with self._lock:
            image, self._image = self._image, None
        if image is not None:
            image.close()

    def close(self) -> None:
        """See `ChunkedImage.close`."""
        self.rest()


class WithoutChannels(ChunkedImage):
    """An image whose last axis was taken for channels, and is one of the grid."""

    def __init__(self, image: ChunkedImage) -> None:
        self._image = image
        super().__init__(
            image.name, (*image.grid, image.n_channels), image.dtype, 1, None,
            (*image.block, image.n_channels), notes=image.notes,
        )  # fmt: skip

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`."""
        *grid, last = region
        values, _ = self._image.read(tuple(grid))
        return values[..., last, None], None

    def close(self) -> None:
        """See `ChunkedImage.close`."""
        self._image.close()


def chosen_scale(scale: Scale | None, channels: tuple[int, ...]) -> Scale | None:
    """Scale of some channels."""
    if scale is None or len(scale[0]) == 1:
        return scale
    return scale[0][list(channels)], scale[1][list(channels)]


class StackedImage(ChunkedImage):
    """The channels of several images of one grid."""

    def __init__(self, images: list[ChunkedImage]) -> None:
        first = images[0]
        for image in images[1:]:
            check_grid(image.name, image, first.name, first)
        self._images = images
        n_channels = sum(image.n_channels for image in images)
        super().__init__(
            first.name, first.grid, np.result_type(*(image.dtype for image in images)), n_channels,
            len(first.grid), first.block, may_hide=any(image.may_hide for image in images),
            nodata=first.nodata, scale=stacked_scale(images), geometry=first.geometry,
            metadata=first.metadata,
            notes=tuple(f"{image.name}: {note}" for image in images for note in image.notes),
        )  # fmt: skip

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`."""
        parts = [image.read(region) for image in self._images]
        masks = [valid for _, valid in parts if valid is not None]
        values = np.concatenate([values for values, _ in parts], axis=-1)
        return values.astype(self.dtype, copy=False), (
            np.logical_and.reduce(masks) if masks else None
        )

    def close(self) -> None:
        """See `ChunkedImage.close`."""
        for image in self._images:
            image.close()
