"""Image files in, label files out: one module per family of formats.

Only the tables below are loaded with the package; the module that knows a
format is imported when a file of that format is met.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from .atomic import StrPath, atomic_write, check_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .image import Image

# suffix -> the module whose read(path, max_pixels) gives an Image
READERS = {
    ".bmp": "raster",
    ".csv": "matrix",
    ".gif": "raster",
    ".jpeg": "raster",
    ".jpg": "raster",
    ".npy": "npy",
    ".png": "raster",
    ".tif": "raster",
    ".tiff": "raster",
    ".webp": "raster",
}

# suffix -> the module whose write(file, name, labels, colors, left_out) encodes labels,
# and whose check_labels(name, n_values, shape) refuses what it cannot hold
WRITERS = {
    ".npy": "npy",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
}

__all__ = [
    "READERS",
    "WRITERS",
    "Image",
    "StrPath",
    "atomic_write",
    "check_labels",
    "check_output",
    "encode_labels",
    "read_centers",
    "read_image",
    "read_mask",
    "write_labels",
]


def read_image(path: StrPath, *, max_pixels: int | None = None) -> Image:
    """Read an image file in its native dtype.

    Parameters
    ----------
    path : path
        A PNG, JPEG, WebP, BMP, GIF or TIFF picture, a CSV matrix of numbers
        (read as a grey image) or a NumPy ``.npy`` array. An animation or a file
        of several pages gives its first picture, and a note.
    max_pixels : int, optional
        The largest picture that is decoded. By default Pillow's limit against
        decompression bombs, ``PIL.Image.MAX_IMAGE_PIXELS``. It does not concern
        ``.csv`` and ``.npy``, which are not compressed.

    Returns
    -------
    Image
        Pixels, channel axis, the pixels that alpha leaves in, and notes on
        what was done to the file's content.

    Raises
    ------
    OSError
        The file is missing, a folder, or cannot be read.
    ValueError
        The suffix is unknown, or the file is empty, truncated, damaged, too
        large or not of its format. Every message names the file.
    ImportError
        The file needs an optional dependency; the message names it.
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if os.path.isdir(name):
        raise IsADirectoryError(f"{name}: is a folder; give the name of an image file")
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file")
    if suffix not in READERS:
        what = f"unknown suffix {suffix!r}" if suffix else "a file name without a suffix"
        raise ValueError(f"{name}: {what}; what can be read is {', '.join(sorted(READERS))}")
    if not os.access(name, os.R_OK):
        raise PermissionError(f"{name}: no permission to read the file")
    if os.path.getsize(name) == 0:
        raise ValueError(f"{name}: the file is empty")
    image: Image = _module(READERS[suffix]).read(name, max_pixels)
    return image


def read_mask(path: StrPath, *, max_pixels: int | None = None) -> NDArray[np.bool_]:
    """Read a mask: True where any channel is not zero and the pixel not transparent.

    Takes the files and raises the errors of `read_image`. In pictures with a
    palette the colour counts: black is out.
    """
    import numpy as np

    image = read_image(path, max_pixels=max_pixels)
    kept: NDArray[np.bool_] = np.not_equal(image.pixels, 0)
    if kept.ndim > len(image.grid):
        kept = np.any(kept, axis=-1)
    return kept if image.valid is None else kept & image.valid


def read_centers(text: StrPath, n_channels: int | None = None) -> NDArray[np.float64]:
    """Read starting centres from a CSV file, or from the text itself.

    Parameters
    ----------
    text : str or path
        The name of a CSV file with a row per centre and a column per channel,
        or the values: ``"0.43,0.09,0.07"`` for three centres of one channel,
        ``"10,20,30;40,50,60"`` for two centres of three channels.
    n_channels : int, optional
        The number of values each centre must have. Values in a single row are
        one centre each when it is 1 or not given.

    Returns
    -------
    ndarray of shape (n_centers, n_channels), float64

    Raises
    ------
    OSError, ValueError
        With the file or the words that cannot be understood.
    """
    from . import matrix

    return matrix.centers(os.fspath(text), n_channels)


def check_labels(path: StrPath, n_values: int, shape: tuple[int, ...] | None = None) -> None:
    """Refuse labels that the format of `path` cannot hold, before they are computed.

    Parameters
    ----------
    path : path
        The file to be written.
    n_values : int
        Label values, from 0 to ``n_values - 1``.
    shape : tuple of int, optional
        The shape of the label image, where it is known.

    Raises
    ------
    ValueError
        With the formats that can hold them.
    """
    name = os.fspath(path)
    _writer(name).check_labels(name, n_values, shape)


def write_labels(
    path: StrPath,
    labels: NDArray[Any],
    *,
    colors: NDArray[Any] | None = None,
    left_out: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a label image; the file is whole or absent.

    Parameters
    ----------
    path : path
        ``.png`` is written as an indexed PNG of 8 bits, whose pixel values are
        the labels and whose palette is `colors`: label map and picture in one.
        ``.tif`` holds the labels as grey values (uint8 or uint16), ``.npy``
        the array as it is.
    labels : ndarray of unsigned integers
        Of shape (height, width); any shape for ``.npy``.
    colors : ndarray of shape (n_label_values, 3), uint8, optional
        The colour of each label value, for ``.png``; by default a grey ramp.
    left_out : bool, default=False
        Whether label 0 means "left out": it is transparent in a ``.png``.
    overwrite : bool, default=False
        Whether a file of that name may be replaced.

    Raises
    ------
    OSError
        As `check_output`, or when the disk refuses.
    ValueError
        The format cannot hold these labels; the message names one that can.
    """
    check_output(path, overwrite, WRITERS)
    with atomic_write(path, overwrite=overwrite) as file:
        encode_labels(file, path, labels, colors=colors, left_out=left_out)


def encode_labels(
    file: BinaryIO,
    path: StrPath,
    labels: NDArray[Any],
    *,
    colors: NDArray[Any] | None = None,
    left_out: bool = False,
) -> None:
    """Write labels into an open file, in the format that the name `path` asks for.

    For callers that bring their own `atomic_write`; otherwise as `write_labels`.
    """
    name = os.fspath(path)
    if labels.dtype.kind not in "bui" or labels.size == 0 or int(labels.min()) < 0:
        raise ValueError(f"{name}: labels must be integers of at least 0, and at least one of them")
    _writer(name).write(file, name, labels, colors, left_out)


def _writer(name: str) -> Any:
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in WRITERS:
        raise ValueError(f"{name}: what can be written is {', '.join(sorted(WRITERS))}")
    return _module(WRITERS[suffix])


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def __getattr__(name: str) -> Any:
    if name == "Image":
        return _module("image").Image
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
