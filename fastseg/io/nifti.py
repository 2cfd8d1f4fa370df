"""Medical volumes: NIfTI, Analyze and MGH in, NIfTI label files out.

NIfTI-1 data format, https://nifti.nimh.nih.gov/nifti-1.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .atomic import suffix_of
from .failures import check_memory, words_of
from .image import Geometry, Image, Legend

_here = threading.local()
_COMPRESSED = (".nii.gz", ".mgz")
_LEVEL = 2  # of ISA-L's 0 to 3; label maps are smaller than at zlib's level 1
_COMMENT = 6  # code of a header extension in plain text
_SIZE_OF_HEADER_2 = 540  # the first number of a NIfTI-2 file
_SURPLUS = 2**26  # bytes between header and voxels, or behind these, at most
_PACKED = 1100  # bytes of content for a byte of deflate's, at most
_LARGEST_SIDE = 2**15 - 1


def read(path: str, max_pixels: int | None) -> Image:
    """Read the stored values of a volume, and how they stand for those meant.

    Integers with a slope stay integers: few of them are distinct, and the engine
    scales only those.
    """
    nibabel = _nibabel(path)
    with _failures(path), _remarks(nibabel) as remarks, contextlib.ExitStack() as stack:
        stream = _opened(path, stack)
        if stream is None:
            volume = nibabel.load(path)  # the header; voxels are mapped into memory
        else:
            kind = _kind(nibabel, path, stream)
            _check_extensions(nibabel, kind, stream)
            volume = kind.from_stream(stream)
        if not isinstance(volume, (nibabel.AnalyzeImage, nibabel.MGHImage)):
            raise ValueError(f"a {type(volume).__name__} is no volume of voxels")
        _check_size(path, volume, max_pixels)
        stored = _without_single_axes(volume.dataobj.get_unscaled())
        if stream is not None:
            _read_to_the_end(stream)
    if not np.isfinite(volume.affine).all():
        raise ValueError(
            f"{path}: its header places the voxels nowhere (the affine is not finite); mend the"
            " header"
        )
    if stored.dtype.kind not in "buif":
        raise ValueError(f"{path}: holds {stored.dtype} values; integers or floats are expected")
    if not 2 <= stored.ndim <= 4:
        raise ValueError(
            f"{path}: has the shape {stored.shape}; volumes, and series of them, are read"
        )
    image = Image(
        stored,
        "auto" if stored.ndim == 4 else None,
        notes=tuple(f"Header: {remark}." for remark in remarks),
        geometry=Geometry(np.asarray(volume.affine, np.float64), volume.header),
    )
    slope, intercept = float(volume.dataobj.slope), float(volume.dataobj.inter)
    if (slope, intercept) == (1.0, 0.0):
        return image
    note = f"Stored {stored.dtype} values stand for {slope:g} times as much"
    note += f" {'+' if intercept > 0 else '-'} {abs(intercept):g}." if intercept else "."
    return replace(image.scaled(slope, intercept), notes=(*image.notes, note))


def _nibabel(path: str) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(
            f'{path}: NIfTI, Analyze and MGH volumes need nibabel: pip install "fastseg[mri]"'
        ) from error
    return nibabel


def _gzip_file() -> Any:
    """Kind of compressed files: ISA-L's, which packs the same content several times as fast."""
    try:
        from isal import igzip
    except ImportError:
        import gzip

        return gzip.GzipFile
    return igzip.IGzipFile


def _opened(path: str, stack: contextlib.ExitStack) -> Any:
    """File of our own to read from, or None where nibabel had better open it."""
    if suffix_of(path) in _COMPRESSED:
        return stack.enter_context(_gzip_file()(path))
    if suffix_of(path) == ".mgh":  # nibabel would leave it open
        return stack.enter_context(open(path, "rb"))
    return None


def _kind(nibabel: Any, path: str, stream: Any) -> Any:
    """Kind of image in an open file, of those that stand in one file."""
    if suffix_of(path) in (".mgh", ".mgz"):
        return nibabel.MGHImage
    size = stream.read(4)
    stream.seek(0)
    is_second = _SIZE_OF_HEADER_2 in (int.from_bytes(size, order) for order in ("little", "big"))
    return nibabel.Nifti2Image if is_second else nibabel.Nifti1Image


@contextlib.contextmanager
def _failures(path: str) -> Iterator[None]:
    """Name the file in whatever nibabel and gzip raise."""
    try:
        yield
    except EOFError as error:
        raise ValueError(f"{path}: the file is truncated; get a fresh copy") from error
    except Exception as error:
        words = words_of(error)
        if words.startswith(path):
            raise
        raise ValueError(f"{path}: the volume cannot be read ({words})") from error


@contextlib.contextmanager
def _remarks(nibabel: Any) -> Iterator[list[str]]:
    """Collect what nibabel mends in a header, which it would print."""
    nibabel.imageglobals.logger.addFilter(_passes)  # once, however often it is added
    _here.remarks = []
    try:
        yield _here.remarks
    finally:
        _here.remarks = None


def _passes(record: logging.LogRecord) -> bool:
    """Whether a remark is none of this thread's reading, and may go its usual way."""
    remarks: list[str] | None = getattr(_here, "remarks", None)
    if remarks is not None:
        remarks.append(record.getMessage())
    return remarks is None


def _check_extensions(nibabel: Any, kind: Any, stream: Any) -> None:
    """Refuse a header behind which more is packed than anyone writes there."""
    if kind is nibabel.MGHImage:
        return
    head = kind.header_class
    start = stream.read(head.template_dtype.itemsize)
    stream.seek(0)
    if len(start) == head.template_dtype.itemsize:
        offset = float(head(start, check=False)["vox_offset"])
        if not offset <= _SURPLUS:
            raise ValueError(f"its voxels begin after {offset:,.0f} bytes, as its header says")


def _read_to_the_end(stream: Any) -> None:
    """Read on to the checksum at the end, however far a damaged file says it is."""
    left = _SURPLUS
    while data := stream.read(1 << 20):
        left -= len(data)
        if left < 0:
            raise ValueError(f"more than {_SURPLUS:,} bytes follow the voxels")


def _check_size(path: str, volume: Any, max_pixels: int | None) -> None:
    shape = tuple(map(int, volume.shape))  # of 32 bits in some headers, whose product overflows
    if min(shape, default=0) < 0:
        raise ValueError(f"{path}: the file is damaged (its shape is {shape})")
    n = math.prod(shape)
    if max_pixels is not None and n > max_pixels:
        raise ValueError(
            f"{path}: has {n:,} values, more than the limit of {max_pixels:,}; if you trust the"
            f" file, raise it with --max-pixels {n} (in Python: max_pixels)"
        )
    n_bytes = n * volume.dataobj.dtype.itemsize
    size = os.path.getsize(path)
    most = size * _PACKED if suffix_of(path) in _COMPRESSED else size
    if suffix_of(path) in (*_COMPRESSED, ".mgh", ".nii") and n_bytes > most:
        raise ValueError(
            f"{path}: the file is truncated or damaged (its {n:,} values take {n_bytes:,} bytes,"
            f" and its {size:,} hold no more than {most:,}); get a fresh copy"
        )
    if suffix_of(path) in (*_COMPRESSED, ".mgh"):
        check_memory(
            path, n_bytes, f"its {n:,} values take", "unpack it to .nii, which is mapped, or cut it"
        )


def _without_single_axes(stored: NDArray[Any]) -> NDArray[Any]:
    """Drop axes of length one beyond the third, which some programs add."""
    single = tuple(axis for axis in range(3, stored.ndim) if stored.shape[axis] == 1)
    return stored.squeeze(single)


def check_labels(name: str, n_values: int, shape: tuple[int, ...] | None) -> None:
    """Refuse labels whose sides a NIfTI-1 header cannot hold."""
    if shape is not None and max(shape) > _LARGEST_SIDE:
        raise ValueError(
            f"{name}: a side of a NIfTI volume is at most {_LARGEST_SIDE:,} long, these labels"
            f" have the shape {shape}; write them as .npy"
        )
    _nibabel(name)


def write(file: BinaryIO, name: str, labels: NDArray[Any], legend: Legend) -> None:
    """Write labels as uint8, or int16 where they need it, with their names in an extension."""
    check_labels(name, 0, labels.shape)
    largest = int(labels.max())
    dtype = next(t for t in (np.uint8, np.int16, np.int32) if largest <= np.iinfo(t).max)
    volume = _volume(name, labels.astype(dtype, copy=False), legend.geometry)
    volume.header.set_intent("label")
    if legend.names:
        from nibabel.nifti1 import Nifti1Extension

        volume.header.extensions.append(Nifti1Extension(_COMMENT, legend.text))
    _save(file, name, volume)


def write_values(
    file: BinaryIO, name: str, values: NDArray[Any], geometry: Geometry | None
) -> None:
    """Write float32 values."""
    check_labels(name, 0, values.shape)
    _save(file, name, _volume(name, values.astype(np.float32, copy=False), geometry))


def _volume(name: str, array: NDArray[Any], geometry: Geometry | None) -> Any:
    """Make a NIfTI image of an array, on the grid of the file that was read."""
    nibabel = _nibabel(name)
    header = None if geometry is None else geometry.header
    if isinstance(header, (nibabel.Nifti1Header, nibabel.Nifti2Header)):
        new = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else None
        # Without an affine its header keeps both it has, to the last bit.
        volume = (new or nibabel.Nifti1Image)(array, None, header)
    else:
        affine = np.eye(4) if geometry is None else geometry.affine
        volume = nibabel.Nifti1Image(array, affine, header)
        code = "unknown" if geometry is None else "scanner"
        volume.set_sform(affine, code)
        volume.set_qform(affine, code)
        volume.header.set_xyzt_units("unknown" if geometry is None else "mm")
    header = volume.header
    header.set_data_dtype(array.dtype)
    header["cal_min"] = header["cal_max"] = 0  # the window to show the scan's values in
    # Where labels were segmented, their names do not hold for the new ones.
    header.extensions[:] = [e for e in header.extensions if '"fastseg"' not in str(e.get_content())]
    return volume


def _save(file: BinaryIO, name: str, volume: Any) -> None:
    if suffix_of(name) != ".nii.gz":
        volume.to_stream(file)
        return
    # Without name and time, so that equal labels are equal files.
    with _gzip_file()("", "wb", _LEVEL, file, 0) as out:
        volume.to_stream(out)
