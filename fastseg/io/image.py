"""What a file reader hands to the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# An array without a word on its axes: a last axis of at most this length is channels.
MAX_AUTO_CHANNELS = 16

Scale = tuple[NDArray[np.float64], NDArray[np.float64]]


def auto_axis(shape: tuple[int, ...]) -> int | None:
    """Axis of the channels of an array of which nothing is said, or None for no channels."""
    return len(shape) - 1 if len(shape) > 2 and shape[-1] <= MAX_AUTO_CHANNELS else None


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of a volume lie.

    Attributes
    ----------
    affine : ndarray of shape (4, 4), float64
        From voxel indices to millimetres, towards the right, front and top (RAS).
    header : object or None
        Header of the file it was read from, as nibabel knows it.
    """

    affine: NDArray[np.float64]
    header: Any = None

    @property
    def voxel_size(self) -> tuple[float, ...]:
        """Length of a voxel along each of three axes, in millimetres."""
        lengths = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return tuple(lengths.tolist())


@dataclass(frozen=True, eq=False)
class Legend:
    """What the values of a label image mean, for the writers that can say so.

    ``colors`` (n_label_values, 3) uint8 are those of the labels, ``names`` their
    classes, and ``left_out`` says whether 0 stands for no cluster.
    """

    colors: NDArray[Any] | None = None
    left_out: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    geometry: Geometry | None = None

    @property
    def text(self) -> bytes:
        """The names as JSON in ASCII, for comments in files."""
        classes = {str(label): name for label, name in self.names.items()}
        return json.dumps({"fastseg": {"classes": classes}}).encode("ascii")


@dataclass(frozen=True, eq=False)
class Image:
    """An image as read from a file.

    Attributes
    ----------
    pixels : ndarray
        In the file's own dtype: (height, width) or (height, width, channels)
        for pictures, any shape for arrays. Alpha is not among the channels.
    channel_axis : int, None or "auto"
        The axis of the channels, None for none, ``"auto"`` where the file does
        not say (``.npy``).
    valid : ndarray of bool, or None
        On the image's grid: False where alpha is 0 or the file's transparent
        colour stands. None when the file has no transparency.
    notes : tuple of str
        What was done to the file's content, a sentence each.
    scale : pair of ndarray of shape (n_channels,), float64, or None
        Slope and intercept by which the stored values of each channel, or with
        n_channels = 1 of all, stand for those meant. None where they are the same.
    geometry : Geometry or None
        Where the voxels lie, for volumes of medical formats. Their label 0 is the
        background, and clusters count from 1.
    metadata : object or None
        What a writer needs to put labels at the same place, for formats of large files.
    """

    pixels: NDArray[Any]
    channel_axis: int | Literal["auto"] | None = None
    valid: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    scale: Scale | None = None
    geometry: Geometry | None = None
    metadata: Any = None

    def scaled(self, slope: float, intercept: float) -> Image:
        """Make an image whose values are meant so.

        A slope that turns the order of the values round, or is lost beside the
        intercept, is applied at once.
        """
        if slope < abs(intercept) * 2.0**-36:
            with np.errstate(over="ignore", invalid="ignore"):  # infinite values are told of later
                return replace(self, pixels=self.pixels * slope + intercept)
        return replace(self, scale=(np.array([slope]), np.array([intercept])))

    @property
    def resolved_axis(self) -> int | None:
        """The axis of the channels, None for none."""
        return auto_axis(self.pixels.shape) if self.channel_axis == "auto" else self.channel_axis

    @property
    def n_channels(self) -> int:
        """Values per pixel."""
        axis = self.resolved_axis
        return 1 if axis is None else int(self.pixels.shape[axis])

    @property
    def grid(self) -> tuple[int, ...]:
        """The shape of the label image."""
        axis = self.resolved_axis
        shape = self.pixels.shape
        return shape if axis is None else shape[:axis] + shape[axis + 1 :]


def stored_value(value: float, scale: Scale | None, channel: int, dtype: np.dtype[Any]) -> float:
    """Value of a channel in the file that stands for one; NaN where no integer does."""
    if scale is None:
        return value
    slope, intercept = (float(part[channel if len(part) > 1 else 0]) for part in scale)
    stored = (value - intercept) / slope
    if dtype.kind == "f":
        return stored
    # Slopes are written in few digits: 0 mm and the like are hit up to rounding alone.
    return float(round(stored)) if abs(stored - round(stored)) < 1e-3 else float("nan")
