"""NumPy ``.npy`` files: any array in, labels out."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .image import Geometry, Image, Legend


def read(path: str, max_pixels: int | None) -> Image:
    """Map an array into memory; its pages are read when they are used."""
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: {_reason(path, error)}") from error
    except EOFError as error:
        raise ValueError(f"{path}: the file is truncated") from error
    if not isinstance(pixels, np.ndarray):  # np.load goes by content: this is a .npz archive
        pixels.close()
        raise ValueError(f"{path}: is not a .npy file but a .npz archive; save one array of it")
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{path}: holds {pixels.dtype} values; integers or floats are expected")
    return Image(pixels, channel_axis="auto")


def _reason(path: str, error: ValueError) -> str:
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            return "is not a .npy file"
    if "object" in str(error).lower():
        return "holds Python objects, which are not read; integers or floats are expected"
    return f"the file is truncated or damaged ({' '.join(str(error).split())})"


def check_labels(name: str, n_values: int, shape: tuple[int, ...] | None) -> None:
    """Any labels fit."""


def write(file: BinaryIO, name: str, labels: NDArray[Any], legend: Legend) -> None:
    """Write the labels as they are."""
    np.save(file, labels, allow_pickle=False)


def write_values(
    file: BinaryIO, name: str, values: NDArray[Any], geometry: Geometry | None
) -> None:
    """Write the values as they are."""
    np.save(file, values, allow_pickle=False)
