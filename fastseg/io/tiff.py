"""TIFF: what the header says, which files Pillow would change, and grey label images.

TIFF 6.0 specification, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .failures import words_of
from .image import Geometry, Legend

MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _DESCRIPTION = 256, 257, 258, 262, 270
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _STRIP_SIZES = 273, 274, 277, 279
_COMPRESSION, _PLANAR = 259, 284
_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 278, 322, 323
_TILE_OFFSETS, _TILE_SIZES, _EXTRA, _FORMAT = 324, 325, 338, 339
_WANTED = frozenset(
    (_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _STRIP_SIZES)
) | frozenset((_TILE_OFFSETS, _TILE_SIZES, _EXTRA, _FORMAT, _DESCRIPTION, _COMPRESSION, _PLANAR))
_WANTED |= frozenset((_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT))
_TYPES = {
    1: "B",
    2: "s",
    3: "H",
    4: "I",
    6: "b",
    8: "h",
    9: "i",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
# Bytes of a value of each of TIFF's types.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BYTES |= {16: 8, 17: 8, 18: 8}
_MAX_PAGES = 100_000
_N_VALUES = 1 << 16
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE = 0, 1, 3
_NONE, _JPEG = 1, 7  # of Compression
# Those of every Pillow: CCITT's, LZW, JPEG, deflate by two numbers, PackBits.
_PILLOW_CODECS = (_NONE, 2, 3, 4, 5, _JPEG, 8, 32946, 32773)
_SIDEWAYS = (5, 6, 7, 8)  # of Orientation
_CONTIGUOUS, _PLANES = 1, 2  # of PlanarConfiguration
_ASSOCIATED = 1  # of ExtraSamples
_SIGNED = 2


@dataclass(frozen=True)
class Header:
    """What the first directory of a TIFF file says before any pixel is decoded."""

    is_big_endian: bool
    width: int
    height: int
    bits: tuple[int, ...]
    compression: int
    samples: int
    sample_format: int
    photometric: int
    extra: tuple[int, ...]
    is_planar: bool
    orientation: int
    n_pages: int
    is_ome: bool
    segment: tuple[int, int]  # rows and columns of a tile or strip
    n_segments: int | None

    @property
    def n_needed(self) -> int:
        """Tiles or strips that hold all pixels."""
        down, right = (-(-n // max(1, s)) for n, s in zip((self.height, self.width), self.segment,
                                                          strict=True))  # fmt: skip
        return down * right * (self.samples if self.is_planar else 1)

    def is_changed_by_pillow(self, n_bands: int) -> bool:
        """Whether Pillow drops bits, channels or pages of this file, or gives other values."""
        is_deep = max(self.bits) > 8
        is_packed = self.compression != _NONE
        return (
            self.samples > n_bands
            or (self.samples > 1 and is_deep)
            or (self.is_ome and self.n_pages > 1)
            # Others it may lack; deep JPEG it cuts; it swaps bytes that libtiff has swapped.
            or self.compression not in _PILLOW_CODECS
            or (is_deep and self.compression == _JPEG)
            or (is_deep and is_packed and self.is_big_endian)
            # It swaps the sides of what it maps into memory, but not the values.
            or (self.orientation in _SIDEWAYS and not is_packed)
            # It divides by alpha, and mistakes a plane of it.
            or _ASSOCIATED in self.extra
            or (self.is_planar and len(self.extra) > 0)
        )

    @property
    def has_palette(self) -> bool:
        """Whether the values stand for colours of a table."""
        return self.photometric == _PALETTE

    @property
    def is_signed(self) -> bool:
        """Whether the values are signed integers, which Pillow does not always keep."""
        return self.sample_format == _SIGNED

    @property
    def white_is_zero(self) -> bool:
        """Whether the grey values stand for darkness."""
        return self.photometric == _WHITE_IS_ZERO


def is_tiff(path: str) -> bool:
    """Whether a file begins as TIFF does; one that cannot be opened does not."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(4) in MAGIC
    return False


def read_header(path: str) -> Header:
    """Read the first directory, and see that the data it points at is in the file."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        try:
            layout = layout_of(file)
            tags, n_pages = _directory(file, *layout)
        except (struct.error, OverflowError, MemoryError, OSError, ValueError) as error:
            raise ValueError(f"{path}: the file is truncated or damaged") from error
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise ValueError(f"{path}: the file is damaged (its first page has no size)")
    for offsets, sizes in ((_STRIP_OFFSETS, _STRIP_SIZES), (_TILE_OFFSETS, _TILE_SIZES)):
        ends = map(sum, zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False))
        if max(ends, default=0) > size:
            raise ValueError(f"{path}: the file is truncated; get a fresh copy")
    if tags.get(_PLANAR, (_CONTIGUOUS,))[0] not in (_CONTIGUOUS, _PLANES):
        raise ValueError(f"{path}: the file is damaged (its planes are arranged in no known way)")
    return Header(
        is_big_endian=layout[0] == ">",
        width=tags[_WIDTH][0],
        height=tags[_HEIGHT][0],
        bits=tags.get(_BITS, (1,)),
        compression=tags.get(_COMPRESSION, (_NONE,))[0],
        samples=tags.get(_SAMPLES, (1,))[0],
        sample_format=tags.get(_FORMAT, (1,))[0],
        photometric=tags.get(_PHOTOMETRIC, (_BLACK_IS_ZERO,))[0],
        extra=tags.get(_EXTRA, ()),
        is_planar=tags.get(_PLANAR, (_CONTIGUOUS,))[0] != _CONTIGUOUS,
        orientation=tags.get(_ORIENTATION, (1,))[0],
        n_pages=n_pages,
        segment=(
            tags.get(_TILE_HEIGHT, tags.get(_ROWS_PER_STRIP, tags[_HEIGHT]))[0],
            tags.get(_TILE_WIDTH, tags[_WIDTH])[0],
        ),
        n_segments=next(
            (len(tags[tag]) for tag in (_TILE_OFFSETS, _STRIP_OFFSETS) if tag in tags), None
        ),
        # What tifffile goes by as well: the XML of OME ends so.
        is_ome=tags.get(_DESCRIPTION, (b"",))[0][-10:].rstrip(b"\0 \r\n").endswith(b"OME>"),
    )


def check_segments_told(path: str) -> None:
    """Refuse a file whose numbers of values, bits, and tiles or strips do not fit together.

    GDAL then tells of pixels that it has not read.
    """
    header = read_header(path)
    if header.n_segments is not None and header.n_segments < header.n_needed:
        raise ValueError(
            f"{path}: the file is damaged (it needs {header.n_needed:,} tiles or strips, and names"
            f" {header.n_segments:,}); get a fresh copy"
        )
    if len(header.bits) not in (1, header.samples):
        raise ValueError(
            f"{path}: the file is damaged (a pixel has {header.samples} values, and bits are given"
            f" for {len(header.bits)}); get a fresh copy"
        )


def check_directories(path: str) -> None:
    """Refuse a file that ends before its directories do, or before what the first points at."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        try:
            order, count_format, offset_format, offset = layout_of(file)
            form = f"{order}HH{offset_format}{struct.calcsize(offset_format)}s"
            seen: set[int] = set()
            while offset and offset not in seen and len(seen) < _MAX_PAGES:
                file.seek(offset)
                (n_entries,) = _unpack(file, order + count_format)
                entries = file.read(n_entries * struct.calcsize(form))
                (following,) = _unpack(file, order + offset_format)
                if not seen and _end(entries, form, order + offset_format) > size:
                    raise struct.error("a value lies beyond the end")
                seen.add(offset)
                offset = following
        except (struct.error, OverflowError, MemoryError, ValueError) as error:
            raise ValueError(
                f"{path}: the file is truncated or damaged ({words_of(error)})"
            ) from error


def _end(entries: bytes, form: str, offset_form: str) -> int:
    """Where the last of the values ends that stand apart from their entries."""
    end = 0
    for _, kind, count, field in struct.iter_unpack(form, entries):
        size = count * _BYTES.get(kind, 0)
        if size > len(field):
            end = max(end, struct.unpack(offset_form, field)[0] + size)
    return end


def layout_of(file: BinaryIO) -> tuple[str, str, str, int]:
    """Byte order, the formats of a count and of an offset, and the first offset."""
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    if start[2:4] in (b"+\x00", b"\x00+"):  # BigTIFF
        return order, "Q", "Q", struct.unpack(order + "Q", start[8:16])[0]
    return order, "H", "I", struct.unpack(order + "I", start[4:8])[0]


def _directory(
    file: BinaryIO, order: str, count_format: str, offset_format: str, offset: int
) -> tuple[dict[int, tuple[Any, ...]], int]:
    """Give the wanted tags of the first page, and the number of pages."""
    entry_format = f"{order}HH{offset_format}{struct.calcsize(offset_format)}s"
    entry_size = struct.calcsize(entry_format)
    tags: dict[int, tuple[Any, ...]] = {}
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MAX_PAGES:
        seen.add(offset)
        file.seek(offset)
        (n_entries,) = _unpack(file, order + count_format)
        entries = file.read(n_entries * entry_size)
        (offset,) = _unpack(file, order + offset_format)
        if len(seen) > 1:
            continue
        for tag, kind, count, value in struct.iter_unpack(entry_format, entries):
            if tag in _WANTED and kind in _TYPES and count and (kind == 2) == (tag == _DESCRIPTION):
                tags[tag] = _values(file, f"{order}{count}{_TYPES[kind]}", order, value)
    return tags, len(seen)


def _values(file: BinaryIO, form: str, order: str, value: bytes) -> tuple[int, ...]:
    """Values stand in the entry itself where they fit, elsewhere otherwise."""
    size = struct.calcsize(form)
    if size <= len(value):
        return struct.unpack(form, value[:size])
    (offset,) = struct.unpack(order + ("Q" if len(value) == 8 else "I"), value)
    file.seek(offset)
    return _unpack(file, form)


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    size = struct.calcsize(form)
    data = file.read(min(size, os.fstat(file.fileno()).st_size))  # a damaged count may be huge
    return struct.unpack(form, data)


def check_labels(name: str, n_values: int, shape: tuple[int, ...] | None) -> None:
    """Refuse labels that a grey TIFF page cannot hold."""
    if n_values > _N_VALUES:
        raise ValueError(
            f"{name}: a grey TIFF holds {_N_VALUES} label values, these are {n_values}; "
            "write them as .npy"
        )
    if shape is not None and len(shape) < 2:
        raise ValueError(
            f"{name}: a TIFF page holds two-dimensional labels, these have the shape {shape}; "
            "write them as .npy"
        )


def write(file: BinaryIO, name: str, labels: NDArray[Any], legend: Legend) -> None:
    """Write labels as uint8 or uint16, in their clusters' colours where there are up to 256."""
    from .chunked import LabelPlan
    from .tiff_writer import TiffWriter

    n_values = int(labels.max()) + 1
    check_labels(name, n_values, labels.shape)
    dtype = np.dtype(np.uint8 if n_values <= 256 else np.uint16)
    writer = TiffWriter(name, file, LabelPlan(labels.shape, dtype, legend))
    whole = tuple(slice(0, n) for n in labels.shape)
    writer.write(whole, writer.encode(whole, labels))
    writer.finish()


def write_values(
    file: BinaryIO, name: str, values: NDArray[Any], geometry: Geometry | None
) -> None:
    """Write float32 values as grey pages."""
    from PIL import Image

    check_labels(name, 0, values.shape)
    planes = values.astype(np.float32, copy=False).reshape(-1, *values.shape[-2:])
    first, *others = (Image.fromarray(plane) for plane in planes)
    encoded = io.BytesIO()  # libtiff does not tell why it could not write to a file
    first.save(
        encoded, format="TIFF", compression="tiff_adobe_deflate", save_all=bool(others),
        append_images=others,
    )  # fmt: skip
    file.write(encoded.getbuffer())
