"""Images in regions that are made of other images: whole ones, some channels, several files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .channels import check_grid, stacked_scale
from .chunked import ChunkedImage, Region
from .image import Image, Scale


def read_whole(image: ChunkedImage) -> Image:
    """Read all of an image at once, and close it."""
    with image:
        values, valid = image.read(tuple(slice(0, n) for n in image.grid))
        values = values[..., 0] if image.channel_axis is None else values
        return Image(values, image.channel_axis, valid, image.notes, image.scale, image.geometry)


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
