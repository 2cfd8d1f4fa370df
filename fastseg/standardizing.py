"""Channels on one scale: each by its own mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .color import ColorSpace
from .kernels.backend import Array, FloatArray


@dataclass(frozen=True)
class Standardized(ColorSpace):
    """Space of channels less their mean, over their standard deviation.

    ``moments`` (n_channels, 2) holds the two.
    """

    name: str = "standardized"
    moments: Any = None

    def forward(self, colors: Array) -> Array:
        """Values (n, n_channels) in the space, float64."""
        standard: FloatArray = (colors - self.moments[:, 0]) / self.moments[:, 1]
        return standard

    def backward(self, colors: FloatArray) -> FloatArray:
        """Values of the space in image units."""
        values: FloatArray = colors * self.moments[:, 1] + self.moments[:, 0]
        return values


def check_standardize(standardize: Any, color_space: Any) -> None:
    """Refuse what is no truth value, and a colour space besides."""
    if not isinstance(standardize, (bool, np.bool_)):
        raise TypeError(f"standardize must be True or False, got {standardize!r}")
    if standardize and color_space != "rgb":
        raise ValueError(
            f"standardize=True takes the channels as they are, not in color_space={color_space!r};"
            " leave one of the two out"
        )


def moments(values: Array, weights: FloatArray | None) -> FloatArray:
    """Mean and standard deviation (n_channels, 2) of values (n, n_channels) and their counts.

    Of a constant channel, which tells clusters not apart, the deviation is given as 1.
    """
    total = len(values) if weights is None else weights.sum()
    rows = []
    for channel in values.T:
        exact = channel.astype(np.float64)
        mean = _sum(exact, weights) / total
        deviation = np.sqrt(_sum((exact - mean) ** 2, weights) / total)
        rows.append((mean, deviation if deviation > 0 else 1.0))
    return np.array(rows)


def _sum(values: FloatArray, weights: FloatArray | None) -> float:
    return float((values if weights is None else values * weights).sum())


def moments_from(field: Any, n_channels: int) -> FloatArray | None:
    """Moments as read from a file, or ValueError."""
    if field is None:
        return None
    read = np.array(field, np.float64)
    if read.shape != (n_channels, 2) or not np.isfinite(read).all() or (read[:, 1] <= 0).any():
        raise ValueError("its moments are no mean and deviation of each channel")
    return read
