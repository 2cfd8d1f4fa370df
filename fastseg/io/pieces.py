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
from .combined import WholeImage, read_whole
from .image import Image, Legend
from .opening import create_labels, open_one
from .zarr_target import is_target


def read(path: str, max_pixels: int | None) -> Image:
    """Read an image as a whole by the reader of its regions."""
    with open_one(path, Part()) as image:
        return read_whole(image, max_pixels)


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
