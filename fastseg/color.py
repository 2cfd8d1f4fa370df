"""Colour spaces in which distances can be taken; computed on distinct colours only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels.backend import Array, FloatArray

# Colours converted at once.
_BLOCK = 2**16
COLOR_SPACES = ("rgb", "lab", "oklab", "linear")

# Linear sRGB to CIE XYZ by the primaries of Rec. ITU-R BT.709, and the white point D65 of
# the two-degree observer (ASTM E308), both to the digits that scikit-image uses.
_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
# Linear sRGB to cone responses, and their cube roots to Oklab: B. Ottosson, "A perceptual
# color space for image processing", 2020.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
_LAB_OFFSET = np.array([-16.0, 0.0, 0.0])


# Weights of Rec. ITU-R BT.709, applied to the channels as they are.
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class ColorSpace:
    """A colour space, and the value that stands for full intensity in the image."""

    name: str
    full: float = 1.0

    def forward(self, colors: Array) -> Array:
        """Image colours (n, 3) in the space, float64; of "rgb" the same array."""
        if self.name == "rgb":
            return colors
        low, high = float(colors.min()), float(colors.max())
        if low < 0 or high > self.full:
            raise ValueError(
                f"color_space={self.name!r} takes this type of image from 0 to {self.full:g}, but"
                f" there are values from {low:g} to {high:g}; divide them by the value of full"
                " intensity, or use color_space='rgb'"
            )
        # In blocks, so that what is computed on the way takes no memory to speak of.
        converted = np.empty(colors.shape)
        for start in range(0, len(colors), _BLOCK):
            block = slice(start, start + _BLOCK)
            converted[block] = self._forward(colors[block])
        return converted

    def _forward(self, colors: Array) -> FloatArray:
        linear: FloatArray = _to_linear(colors / self.full)
        if self.name == "linear":
            return linear
        if self.name == "lab":
            lab: FloatArray = _product(_cube_root(_product(linear, _XYZ) / _WHITE), _LAB)
            lab += _LAB_OFFSET
            return lab
        return _product(np.cbrt(_product(linear, _CONES)), _OKLAB)

    def backward(self, colors: FloatArray) -> FloatArray:
        """Colours of the space (n, 3) in image units, float64."""
        if self.name == "rgb":
            return colors
        linear = colors
        if self.name == "lab":
            roots = np.linalg.solve(_LAB, (colors - _LAB_OFFSET).T).T
            linear = np.linalg.solve(_XYZ, (_cubed(roots) * _WHITE).T).T
        elif self.name == "oklab":
            linear = np.linalg.solve(_CONES, (np.linalg.solve(_OKLAB, colors.T) ** 3)).T
        return _from_linear(linear) * self.full


def color_space(name: Any, dtype: np.dtype[Any], n_channels: int) -> ColorSpace:
    """Colour space for images of a type.

    sRGB is assumed, full intensity being 255 for uint8, 65535 for uint16 and 1 for
    floats.

    Raises
    ------
    ValueError
        If there is no such space, or it is not for such images.
    """
    if not isinstance(name, str) or name not in COLOR_SPACES:
        listed = ", ".join(repr(c) for c in COLOR_SPACES)
        raise ValueError(f"color_space must be one of {listed}, got {name!r}")
    if name == "rgb":
        return ColorSpace(name)
    if n_channels != 3:
        raise ValueError(
            f"color_space={name!r} needs the three channels of RGB, but the image has"
            f" {n_channels}; use color_space='rgb', which takes channels as they are"
        )
    full = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0, "float64": 1.0}.get(
        dtype.name
    )
    if full is None:
        raise ValueError(
            f"color_space={name!r} needs uint8, uint16 or float images, got {dtype};"
            " convert the image, or use color_space='rgb'"
        )
    return ColorSpace(name, full)


def label_order(centers: FloatArray) -> Array:
    """Order of the labels: ascending luminance, ties by channel values.

    Luminance is Rec. 709's for three channels, the mean of the channels otherwise.
    """
    luminance = (centers * luminance_weights(centers.shape[1])).sum(axis=1)
    return np.lexsort([*centers.T[::-1], luminance])


def luminance_weights(n_channels: int) -> FloatArray:
    """Share of each channel in the luminance."""
    return _LUMINANCE if n_channels == 3 else np.full(n_channels, 1.0 / n_channels)


def _product(colors: FloatArray, matrix: FloatArray) -> FloatArray:
    """Matrix times each colour, added in a fixed order: BLAS may add otherwise elsewhere."""
    columns = [
        colors[:, 0] * row[0] + colors[:, 1] * row[1] + colors[:, 2] * row[2] for row in matrix
    ]
    return np.stack(columns, axis=1)


def _to_linear(colors: FloatArray) -> FloatArray:
    high = ((np.maximum(colors, 0.04045) + 0.055) / 1.055) ** 2.4
    linear: FloatArray = np.where(colors > 0.04045, high, colors / 12.92)
    return linear


def _from_linear(colors: FloatArray) -> FloatArray:
    high = 1.055 * np.maximum(colors, 0.0031308) ** (1 / 2.4) - 0.055
    encoded: FloatArray = np.where(colors > 0.0031308, high, colors * 12.92)
    return encoded


# The cube root of CIE 15:2004, and a line where it would be too steep.
_SLOPE = 7.787


def _cube_root(t: FloatArray) -> FloatArray:
    line = t * _SLOPE + 16 / 116
    roots: FloatArray = np.where(t > 0.008856, np.cbrt(t), line)
    return roots


def _cubed(roots: FloatArray) -> FloatArray:
    line = (roots - 16 / 116) / _SLOPE
    cubes: FloatArray = np.where(roots > np.cbrt(0.008856), roots**3, line)
    return cubes
