"""Files of large images, read and labelled as a whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .atomic import StrPath, suffix_of
from .chunked import LabelPlan, Part, cut, regions
from .combined import WholeImage
from .image import Image, Legend, stored_value
from .opening import create_labels, open_one
from .zarr_target import is_target


def read(path: str, max_pixels: int | None) -> Image:
    """Read all regions of an image; what is no data is left out."""
    with open_one(path, Part(), max_pixels) as image:
        values = np.empty((*image.grid, image.n_channels), image.dtype)
        valid = np.ones(image.grid, bool)
        step = cut(image.grid, (1,) * len(image.grid), image.block, image.pixel_bytes)
        for region in regions(image.grid, step):
            values[region], there = image.read(region)
            if there is not None:
                valid[region] = there
        if image.nodata is not None:
            nothing = [
                stored_value(image.nodata, image.scale, channel, image.dtype)
                for channel in range(image.n_channels)
            ]
            valid &= np.any(values != np.array(nothing), axis=-1)
        hides = image.may_hide or image.nodata is not None
        return Image(
            values if image.n_channels > 1 else values[..., 0],
            channel_axis=len(image.grid) if image.n_channels > 1 else None,
            valid=valid if hides else None,
            notes=image.notes,
            scale=image.scale,
            geometry=image.geometry,
            metadata=image.metadata,
        )


def belongs_beside(path: StrPath, image: Image) -> bool:
    """Whether the labels of an image that is held go to a file that tells where they lie."""
    placed = image.metadata is not None and suffix_of(path) in (".tif", ".tiff")
    return placed or is_target(os.fspath(path))


@contextlib.contextmanager
def labels_beside(
    path: StrPath,
    labels: NDArray[Any],
    legend: Legend,
    image: Image | None = None,
    name: str = "",
    *,
    overwrite: bool = False,
) -> Iterator[None]:
    """Write labels, of an image read from the file ``name``; they appear when the block ends."""
    like = None if image is None else WholeImage(name, image)
    plan = LabelPlan(labels.shape, _smallest(labels), legend, like)
    with create_labels(path, plan, overwrite=overwrite) as writer:
        step = cut(labels.shape, writer.block, (1,) * labels.ndim, plan.dtype.itemsize)
        for region in regions(labels.shape, step):
            writer.write(region, writer.encode(region, labels[region]))
        writer.finish()
        yield


def _smallest(labels: NDArray[Any]) -> np.dtype[Any]:
    """Unsigned type that holds all labels."""
    return np.min_scalar_type(int(labels.max()))
