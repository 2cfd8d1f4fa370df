"""Image files in, label files out: one module per family of formats.

Only the tables below are loaded with the package; the module that knows a
format is imported when a file of that format is met.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from .atomic import StrPath, atomic_write, check_output, suffix_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .image import Geometry, Image

# suffix -> the module whose read(path, max_pixels) gives an Image
READERS = {
    ".bif": "pieces",
    ".bmp": "raster",
    ".csv": "matrix",
    ".dcm": "dicom",
    ".gif": "raster",
    ".hdr": "nifti",
    ".img": "nifti",
    ".jp2": "pieces",
    ".jpeg": "raster",
    ".jpg": "raster",
    ".mgh": "nifti",
    ".mgz": "nifti",
    ".mrxs": "pieces",
    ".ndpi": "pieces",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".npy": "npy",
    ".png": "raster",
    ".scn": "pieces",
    ".svs": "pieces",
    ".svslide": "pieces",
    ".tif": "raster",
    ".tiff": "raster",
    ".vms": "pieces",
    ".vmu": "pieces",
    ".vrt": "pieces",
    ".webp": "raster",
    ".zarr": "pieces",
}

# suffix -> the module whose write(file, name, labels, legend) encodes labels, and whose
# check_labels(name, n_values, shape) refuses what it cannot hold
WRITERS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".npy": "npy",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
}

# Those of them whose write_values(file, name, values, geometry) encodes float values
VALUE_WRITERS = {suffix: module for suffix, module in WRITERS.items() if module != "png"}

__all__ = [
    "READERS",
    "VALUE_WRITERS",
    "WRITERS",
    "Geometry",
    "Image",
    "StrPath",
    "atomic_write",
    "check_labels",
    "check_output",
    "encode_labels",
    "encode_values",
    "read_centers",
    "read_channels",
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
        (read as a grey image), a NumPy ``.npy`` array, a NIfTI, Analyze or MGH
        volume, the folder of a DICOM series, a Zarr array or OME-Zarr image, a
        GeoTIFF, ``.vrt`` or ``.jp2`` raster, or a slide that OpenSlide reads. An
        animation or a file of several pages gives its first picture, and a note; an
        OME-TIFF gives the stack that its pages are.
    max_pixels : int, optional
        The largest picture that is decoded. By default Pillow's limit against
        decompression bombs, ``PIL.Image.MAX_IMAGE_PIXELS``; volumes may fill free memory.
        It does not concern ``.csv`` and ``.npy``, which are not compressed.

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
    suffix = suffix_of(name)
    if os.path.isdir(name):
        is_zarr = suffix == ".zarr" or _module("zarr_store").is_zarr(name)
        return _read("pieces" if is_zarr else "dicom", name, max_pixels)
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file")
    if suffix not in READERS:
        what = f"unknown suffix {suffix!r}" if suffix else "a file name without a suffix"
        raise ValueError(f"{name}: {what}; what can be read is {', '.join(sorted(READERS))}")
    if not os.access(name, os.R_OK):
        raise PermissionError(f"{name}: no permission to read the file")
    if os.path.getsize(name) == 0:
        raise ValueError(f"{name}: the file is empty")
    placed = READERS[suffix] == "raster" and _module("tiff_place").is_georeferenced(name)
    return _read("pieces" if placed else READERS[suffix], name, max_pixels)


def _read(module: str, name: str, max_pixels: int | None) -> Image:
    with _module("failures").reading(name):
        image: Image = _module(module).read(name, max_pixels)
    if image.pixels.size == 0:
        raise ValueError(f"{name}: the image is empty (its shape is {image.pixels.shape})")
    return image


def read_channels(paths: Sequence[StrPath], *, max_pixels: int | None = None) -> Image:
    """Read images of one grid, such as T1, T2 and FLAIR of a head, as the channels of one.

    Parameters
    ----------
    paths : sequence of path
        Files as for `read_image`, which may have several channels each.
    max_pixels : int, optional
        As for `read_image`.

    Returns
    -------
    Image
        The channels in the order of the files on the last axis; a type that holds
        the values of all; the geometry of the first.

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_image`, or the grids differ: in shape, or in where the voxels lie.
    """
    from . import channels

    return channels.stacked(
        [(os.fspath(path), read_image(path, max_pixels=max_pixels)) for path in paths]
    )


def read_mask(
    path: StrPath, *, max_pixels: int | None = None, like: Image | None = None
) -> NDArray[np.bool_]:
    """Read a mask: True where any channel is not zero and the pixel not transparent.

    Takes the files and raises the errors of `read_image`. In pictures with a
    palette the colour counts: black is out. A mask whose grid is not that of
    `like` raises ValueError.
    """
    from dataclasses import replace

    import numpy as np

    from . import channels
    from .image import stored_value

    image = read_image(path, max_pixels=max_pixels)
    if like is not None and image.channel_axis == "auto" and image.pixels.shape == like.grid:
        image = replace(image, channel_axis=None)
    if like is not None:
        channels.check_grid(f"mask {os.fspath(path)}", image, "the image", like)
    zero = stored_value(0.0, image.scale, 0, image.pixels.dtype)
    kept: NDArray[np.bool_] = np.not_equal(image.pixels, zero)
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
    names: Mapping[int, str] | None = None,
    geometry: Geometry | None = None,
    overwrite: bool = False,
) -> None:
    """Write a label image; the file is whole or absent.

    Parameters
    ----------
    path : path
        ``.png`` is written as an indexed PNG of 8 bits, whose pixel values are
        the labels and whose palette is `colors`: label map and picture in one.
        ``.tif`` holds the labels as grey values (uint8 or uint16), ``.npy``
        the array as it is, ``.nii`` and ``.nii.gz`` a volume (uint8 or int16),
        ``.zarr`` an array and ``.ome.zarr`` the labels of an OME-Zarr image.
    labels : ndarray of unsigned integers
        Of shape (height, width); any shape for ``.npy`` and NIfTI.
    colors : ndarray of shape (n_label_values, 3), uint8, optional
        The colour of each label value, for ``.png``; by default a grey ramp.
    left_out : bool, default=False
        Whether label 0 means "left out": it is transparent in a ``.png``.
    names : dict of int to str, optional
        The class of each label, as JSON in a header extension of NIfTI and in a
        comment of ``.png``.
    geometry : Geometry, optional
        That of the image which was segmented (``Image.geometry``), for NIfTI.
    overwrite : bool, default=False
        Whether a file of that name may be replaced.

    Raises
    ------
    OSError
        As `check_output`, or when the disk refuses.
    ValueError
        The format cannot hold these labels; the message names one that can.
    """
    if _module("zarr_target").is_target(os.fspath(path)):
        legend = _module("image").Legend(colors, left_out, names or {}, geometry)
        with _module("pieces").labels_beside(path, labels, legend, overwrite=overwrite):
            return
    check_output(path, overwrite, WRITERS)
    with atomic_write(path, overwrite=overwrite) as file:
        encode_labels(
            file, path, labels, colors=colors, left_out=left_out, names=names, geometry=geometry
        )


def encode_labels(
    file: BinaryIO,
    path: StrPath,
    labels: NDArray[Any],
    *,
    colors: NDArray[Any] | None = None,
    left_out: bool = False,
    names: Mapping[int, str] | None = None,
    geometry: Geometry | None = None,
) -> None:
    """Write labels into an open file, in the format that the name `path` asks for.

    For callers that bring their own `atomic_write`; otherwise as `write_labels`.
    """
    from .image import Legend

    name = os.fspath(path)
    if labels.dtype.kind not in "bui" or labels.size == 0 or int(labels.min()) < 0:
        raise ValueError(f"{name}: labels must be integers of at least 0, and at least one of them")
    _writer(name).write(file, name, labels, Legend(colors, left_out, names or {}, geometry))


def encode_values(
    file: BinaryIO, path: StrPath, values: NDArray[Any], geometry: Geometry | None = None
) -> None:
    """Write float values, such as distances, into an open file as `encode_labels` does labels."""
    name = os.fspath(path)
    check_output(path, True, VALUE_WRITERS)
    _writer(name).write_values(file, name, values, geometry)


def _writer(name: str) -> Any:
    if _module("zarr_target").is_target(name):
        return _module("zarr_writer")
    suffix = suffix_of(name)
    if suffix not in WRITERS:
        raise ValueError(f"{name}: what can be written is {', '.join(sorted(WRITERS))}")
    return _module(WRITERS[suffix])


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def __getattr__(name: str) -> Any:
    if name in ("Geometry", "Image"):
        return getattr(_module("image"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
