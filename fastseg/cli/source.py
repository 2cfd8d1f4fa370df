"""What a job reads: an image of one or several files, and its mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..io import Image, read_channels, read_image, read_mask


@dataclass(frozen=True)
class Source:
    """The pixels to work on: a file, and which of its pixels take part."""

    path: str
    mask: str | None = None
    nodata: float | None = None
    max_pixels: int | None = None
    channels: tuple[str, ...] = ()
    frames: str = "auto"

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read."""
        masks = () if self.mask is None else (self.mask,)
        return (self.path, *self.channels, *masks)

    def read(self) -> tuple[Image, NDArray[np.bool_] | None]:
        """Read the image, and the mask where there is one."""
        if self.channels:
            image = read_channels((self.path, *self.channels), max_pixels=self.max_pixels)
        else:
            image = read_image(self.path, max_pixels=self.max_pixels)
        if self.frames != "auto":
            image = _with_frames(image, self)
        if self.mask is None:
            return image, None
        return image, read_mask(self.mask, max_pixels=self.max_pixels, like=image)


def _with_frames(image: Image, source: Source) -> Image:
    """Take the frames of a series for channels, or each for an image of its own."""
    if image.channel_axis != "auto":
        raise ValueError(
            f"{source.path}: is no series of frames (its shape is {image.pixels.shape});"
            f" leave out --frames {source.frames}"
        )
    last = image.pixels.ndim - 1
    return replace(image, channel_axis=last if source.frames == "channels" else None)


def may_leave_out(image: Image, mask: NDArray[np.bool_] | None, nodata: float | None) -> bool:
    """Whether labels count from 1, by the library's rule."""
    reserved = image.valid is not None or image.geometry is not None
    if mask is not None or nodata is not None or reserved:
        return True
    return image.pixels.dtype.kind == "f" and bool(np.isnan(image.pixels).any())
