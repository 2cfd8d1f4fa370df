"""Where on the ground a TIFF file lies: the tags of GeoTIFF, and GDAL's of no data.

OGC GeoTIFF standard 1.1, https://docs.ogc.org/is/19-008r4/19-008r4.html.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from .tiff import MAGIC, layout_of
from .tiff_tags import ASCII, DOUBLE, SHORT, Tag
from .tiff_writer import TiffPlace

# Pixel scale, tie points, matrix and keys; the keys' numbers and texts, and RPC coefficients.
_MARKS = frozenset((33550, 33922, 34264, 34735))
_PLACE = _MARKS | {34736, 34737, 50844}
_NODATA = 42113
_SIZES = {ASCII: 1, SHORT: 2, DOUBLE: 8}
_MAX_TAGS = 4096
_MAX_BYTES = 2**24
_DAMAGE = (struct.error, OverflowError, ValueError, MemoryError)


def is_georeferenced(path: str) -> bool:
    """Whether the first directory says where the image lies; the reader says what is wrong."""
    with contextlib.suppress(*_DAMAGE), open(path, "rb") as file:
        return any(tag.code in _MARKS for tag in _tags(file, _MARKS))
    return False


def place_tags(file: BinaryIO) -> tuple[Tag, ...]:
    """Tags of the place, for another image on the same grid."""
    with contextlib.suppress(*_DAMAGE):
        return tuple(_tags(file, _PLACE))
    return ()


def place_of(path: str) -> TiffPlace | None:
    """Place of the image in a file, or None where it says none."""
    with open(path, "rb") as file:
        tags = place_tags(file)
    return TiffPlace(tags) if tags else None


def nodata_of(path: str, dtype: np.dtype[Any]) -> float | None:
    """Value by which the file says that there is nothing; None for none and for NaN."""
    with contextlib.suppress(*_DAMAGE), open(path, "rb") as file:
        for tag in _tags(file, frozenset((_NODATA,))):
            value = float(tag.data.split(b"\0")[0].decode("ascii"))
            return value if can_hold(dtype, value) else None
    return None


def can_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a value can stand in an image of a type, and is not NaN."""
    if dtype.kind == "f" or math.isnan(value):
        return not math.isnan(value)
    if dtype.kind not in "ui":
        return False
    limits = np.iinfo(dtype)
    return value == int(value) and limits.min <= value <= limits.max


def _tags(file: BinaryIO, wanted: frozenset[int]) -> Iterator[Tag]:
    """Tags of the first directory, in little-endian order."""
    if file.read(4) not in MAGIC:
        return
    file.seek(0)
    order, count_format, offset_format, offset = layout_of(file)
    _seek(file, offset)
    (n_entries,) = _unpack(file, order + count_format)
    form = f"{order}HH{offset_format}{struct.calcsize(offset_format)}s"
    for _ in range(min(n_entries, _MAX_TAGS)):
        code, kind, count, field = _unpack(file, form)
        if code not in wanted or kind not in _SIZES:
            continue
        size, after = count * _SIZES[kind], file.tell()
        if size > _MAX_BYTES:
            continue
        if size > len(field):
            _seek(file, struct.unpack(order + offset_format, field)[0])
            (field,) = _unpack(file, f"{size}s")
            file.seek(after)
        width = _SIZES[kind]
        data = np.frombuffer(field[:size], f"{order}u{width}").astype(f"<u{width}").tobytes()
        yield Tag(code, kind, data)


def _seek(file: BinaryIO, offset: int) -> None:
    """Go to a place in a file; beyond the end some file systems raise errors of their own."""
    if offset > file.seek(0, os.SEEK_END):
        raise struct.error("a place lies beyond the end")
    file.seek(offset)


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))
