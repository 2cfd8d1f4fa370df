"""What a file reader hands to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# An array without a word on its axes: a last axis of at most this length is channels.
MAX_AUTO_CHANNELS = 16


def auto_axis(shape: tuple[int, ...]) -> int | None:
    """Axis of the channels of an array of which nothing is said, or None for no channels."""
    return len(shape) - 1 if len(shape) > 2 and shape[-1] <= MAX_AUTO_CHANNELS else None


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
    """

    pixels: NDArray[Any]
    channel_axis: int | Literal["auto"] | None = None
    valid: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()

    @property
    def _axis(self) -> int | None:
        return auto_axis(self.pixels.shape) if self.channel_axis == "auto" else self.channel_axis

    @property
    def n_channels(self) -> int:
        """Values per pixel."""
        axis = self._axis
        return 1 if axis is None else int(self.pixels.shape[axis])

    @property
    def grid(self) -> tuple[int, ...]:
        """The shape of the label image."""
        axis = self._axis
        shape = self.pixels.shape
        return shape if axis is None else shape[:axis] + shape[axis + 1 :]
