"""Several files as the channels of one image, and whether two grids are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .image import Geometry, Image, Scale

# Part of a voxel by which corners may lie apart: headers are written in few digits.
_TOLERANCE = 0.05


def stacked(named: list[tuple[str, Image]]) -> Image:
    """Stack the channels of images of one grid, in their order."""
    if not named:
        raise ValueError("no files are given for the channels")
    first_name, first = named[0]
    if len(named) == 1:
        return first
    for name, image in named[1:]:
        check_grid(name, image, first_name, first)
    valid = [image.valid for _, image in named if image.valid is not None]
    return replace(
        first,
        pixels=np.concatenate([_channels_last(image) for _, image in named], axis=-1),
        channel_axis=len(first.grid),
        valid=np.logical_and.reduce(valid) if valid else None,
        notes=tuple(f"{name}: {note}" for name, image in named for note in image.notes),
        scale=stacked_scale([image for _, image in named]),
    )


class Placed(Protocol):
    """What has a grid that may lie somewhere."""

    @property
    def grid(self) -> tuple[int, ...]:
        """The shape without channels."""

    @property
    def geometry(self) -> Geometry | None:
        """Where the voxels lie."""


class Scaled(Protocol):
    """What has channels whose values may be scaled."""

    @property
    def scale(self) -> Scale | None:
        """Slope and intercept of each channel, or of all."""

    @property
    def n_channels(self) -> int:
        """Values per pixel."""


def check_grid(name: str, image: Placed, other_name: str, other: Placed) -> None:
    """Refuse an image whose pixels are not at the places of another's."""
    if image.grid != other.grid:
        raise ValueError(
            f"{name} has the grid {image.grid}, but {other_name} has {other.grid};"
            " resample it to that grid first"
        )
    if image.geometry is None or other.geometry is None:
        return
    size = np.array([*image.grid, 1, 1][:3])
    corners = np.array(np.meshgrid(*([0, n - 1] for n in size))).reshape(3, -1)
    here, there = (
        (geometry.affine[:3, :3] @ corners).T + geometry.affine[:3, 3]
        for geometry in (image.geometry, other.geometry)
    )
    apart = float(np.sqrt(((here - there) ** 2).sum(axis=1)).max())
    if apart > _TOLERANCE * min(other.geometry.voxel_size):
        raise ValueError(
            f"{name} has the grid of {other_name}, {image.grid}, but its voxels lie up to"
            f" {apart:.3g} mm away from those (the affines differ); resample it to that grid first"
        )


def _channels_last(image: Image) -> NDArray[Any]:
    if len(image.grid) == image.pixels.ndim:
        return image.pixels[..., None]
    axis = image.channel_axis
    return np.moveaxis(image.pixels, -1 if axis in (None, "auto") else int(axis), -1)


def stacked_scale(images: Sequence[Scaled]) -> Scale | None:
    """Scales of all channels, where any image has one."""
    if all(image.scale is None for image in images):
        return None
    scales = [image.scale or (np.ones(1), np.zeros(1)) for image in images]
    counts = [image.n_channels for image in images]
    slopes, intercepts = (
        np.concatenate([np.broadcast_to(s[part], n) for s, n in zip(scales, counts, strict=True)])
        for part in (0, 1)
    )
    return slopes, intercepts
