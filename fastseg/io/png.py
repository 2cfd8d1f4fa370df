"""PNG: checksums, the files Pillow would reduce to 8 bits, and indexed label maps.

PNG specification, third edition, https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .failures import words_of
from .image import Legend

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIECE = 1 << 20
_SMALL = 1 << 16  # header, transparency, EXIF
_GREY, _RGB, _INDEXED, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _INDEXED: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_DEPTHS = (1, 2, 4, 8, 16)
# The seven passes of an interlaced file: first column and row, steps to the next.
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
    (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_N_VALUES = 256
_LEVEL = 5  # label maps: 3 % larger than at zlib's default of 6, in half the time


@dataclass(frozen=True)
class Header:
    """What the chunks of a PNG file say before any pixel is decoded."""

    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool
    transparent: bytes  # the tRNS chunk: a colour, or alpha values of a palette
    exif: bytes

    @property
    def is_reduced_by_pillow(self) -> bool:
        """Whether Pillow keeps only 8 of 16 bits."""
        return self.depth == 16 and self.color_type != _GREY

    @property
    def n_bytes(self) -> int:
        """Bytes of all rows, each with its filter byte, before compression."""
        bits = self.depth * _CHANNELS.get(self.color_type, 1)
        total = 0
        for left, top, right, down in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            width = -(-(self.width - left) // right)
            height = -(-(self.height - top) // down)
            if width > 0 and height > 0:
                total += height * (1 + (width * bits + 7) // 8)
        return total

    @property
    def transparent_color(self) -> tuple[int, ...] | None:
        """The colour that counts as transparent, scaled as Pillow scales the pixels."""
        count = {_GREY: 1, _RGB: 3}.get(self.color_type, 0)
        if count == 0 or len(self.transparent) < 2 * count:
            return None
        scale = 255 // ((1 << self.depth) - 1) if self.depth < 8 else 1
        mask = (1 << self.depth) - 1
        values = struct.unpack(f">{count}H", self.transparent[: 2 * count])
        return tuple((value & mask) * scale for value in values)


def read_header(path: str) -> Header:
    """Verify the checksum of every chunk and read the header.

    Decoders skip checksums of some chunks and accept files without an end.
    """
    size = os.path.getsize(path)
    found: dict[bytes, bytes] = {}
    with open(path, "rb") as file:
        if file.read(8) != SIGNATURE:
            raise ValueError(f"{path}: is not a PNG file")
        while b"IEND" not in found:
            start = file.read(8)
            if len(start) < 8:
                raise ValueError(f"{path}: the file is truncated (its last chunk is missing)")
            length, kind = struct.unpack(">I4s", start)
            if file.tell() + length + 4 > size:
                raise ValueError(f"{path}: the file is truncated or damaged (in a chunk {kind!r})")
            found[kind] = _verified(path, file, length, kind)
    header = found.get(b"IHDR", b"")
    if len(header) != 13:
        raise ValueError(f"{path}: is not a PNG file (it has no header)")
    width, height, depth, color_type, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS or color_type not in _CHANNELS:
        raise ValueError(
            f"{path}: the file is damaged (its header says {depth} bits and colours of kind"
            f" {color_type}); get a fresh copy"
        )
    if color_type == _INDEXED and b"PLTE" not in found:
        raise ValueError(f"{path}: the file is damaged (it has no palette); get a fresh copy")
    transparent, exif = found.get(b"tRNS", b""), found.get(b"eXIf", b"")
    return Header(width, height, depth, color_type, bool(interlaced), transparent, exif)


def _verified(path: str, file: BinaryIO, length: int, kind: bytes) -> bytes:
    """Check one chunk; gives back its content where that is small."""
    data, checksum, left = b"", zlib.crc32(kind), length
    while left:
        data = file.read(min(left, _PIECE))
        if not data:
            raise ValueError(f"{path}: the file is truncated")
        checksum = zlib.crc32(data, checksum)
        left -= len(data)
    kept = data if length <= _SMALL else b""
    if file.read(4) != checksum.to_bytes(4, "big"):
        raise ValueError(
            f"{path}: the file is damaged (wrong checksum in a chunk {kind!r}); get a fresh copy"
        )
    return kept


def check_rows(path: str, header: Header) -> None:
    """Refuse a file whose data end before its last row, which Pillow leaves black."""
    inflater = zlib.decompressobj()
    left = header.n_bytes
    try:
        for kind, _, data in _chunks(path):
            while kind == b"IDAT" and data and left > 0 and not inflater.eof:
                left -= len(inflater.decompress(data, _PIECE))
                data = inflater.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"{path}: the file is damaged ({error}); get a fresh copy") from error
    if left > 0:
        raise ValueError(f"{path}: the file is truncated (rows are missing); get a fresh copy")


def read_deep(path: str) -> NDArray[Any]:
    """Decode a checked PNG of 16 bits: (height, width, channels), alpha last."""
    try:
        import imagecodecs
    except ImportError as error:
        raise ImportError(
            f"{path}: reading 16-bit colour in full needs imagecodecs: "
            'pip install "fastseg[deep]" (or save the picture with 8 bits)'
        ) from error
    # Only what pixels are made of: given a tRNS chunk, imagecodecs returns
    # 16-bit values with their bytes swapped.
    kept = (b"IHDR", b"IDAT", b"IEND")
    bare = [SIGNATURE]
    for kind, start, data in _chunks(path):
        if kind in kept:
            bare += [start, data, zlib.crc32(data, zlib.crc32(kind)).to_bytes(4, "big")]
    # What it logs is raised by it or by us.
    logging.getLogger("imagecodecs").setLevel(logging.CRITICAL)
    try:
        pixels: NDArray[Any] = imagecodecs.png_decode(b"".join(bare))
    except Exception as error:
        raise ValueError(
            f"{path}: the file is damaged ({words_of(error)}); get a fresh copy"
        ) from error
    return pixels


def _chunks(path: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, first eight bytes and content of the chunks of a checked file."""
    with open(path, "rb") as file:
        file.seek(len(SIGNATURE))
        kind = b""
        while kind != b"IEND":
            start = file.read(8)
            length, kind = struct.unpack(">I4s", start)
            yield kind, start, file.read(length)
            file.seek(4, os.SEEK_CUR)


def check_labels(name: str, n_values: int, shape: tuple[int, ...] | None) -> None:
    """Refuse labels that an indexed PNG cannot hold."""
    if n_values > _N_VALUES:
        raise ValueError(
            f"{name}: a PNG palette holds {_N_VALUES} label values, these are {n_values}; "
            "write them as .tif or .npy"
        )
    if shape is not None and len(shape) != 2:
        raise ValueError(
            f"{name}: a PNG holds two-dimensional labels, these have the shape {shape}; "
            "write them as .npy or .nii.gz"
        )


def write(
    file: BinaryIO,
    name: str,
    labels: NDArray[Any],
    legend: Legend,
) -> None:
    """Write an indexed PNG of 8 bits: pixel values are labels, the palette their colours."""
    colors = legend.colors
    n_values = int(labels.max()) + 1
    check_labels(name, max(n_values, 0 if colors is None else len(colors)), labels.shape)
    palette = _palette(name, n_values, colors)
    height, width = labels.shape
    file.write(SIGNATURE)
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _INDEXED, 0, 0, 0))
    _chunk(file, b"PLTE", palette.tobytes())
    if legend.left_out:
        _chunk(file, b"tRNS", b"\x00")
    if legend.names:
        _chunk(file, b"tEXt", b"Comment\0" + legend.text)
    _write_rows(file, labels)
    _chunk(file, b"IEND", b"")


def _palette(name: str, n_values: int, colors: NDArray[Any] | None) -> NDArray[np.uint8]:
    if colors is None:
        ramp = np.linspace(0, 255, n_values).round().astype(np.uint8)
        return np.repeat(ramp[:, None], 3, axis=1)
    colors = np.asarray(colors)
    if colors.dtype != np.uint8 or colors.ndim != 2 or colors.shape[1] != 3:
        raise ValueError(f"{name}: colors must be uint8 of shape (n_label_values, 3)")
    if len(colors) < n_values:
        raise ValueError(f"{name}: {len(colors)} colors, but labels up to {n_values - 1}")
    return np.ascontiguousarray(colors)


def _write_rows(file: BinaryIO, labels: NDArray[Any]) -> None:
    """Compress a band of rows at a time, so that no second image is held."""
    height, width = labels.shape
    n_rows = max(1, _PIECE // (width + 1))
    band = np.zeros((n_rows, width + 1), dtype=np.uint8)  # column 0: no filter
    compressor = zlib.compressobj(_LEVEL)
    for top in range(0, height, n_rows):
        rows = labels[top : top + n_rows]
        band[: len(rows), 1:] = rows
        data = compressor.compress(band[: len(rows)].data)
        if data:
            _chunk(file, b"IDAT", data)
    _chunk(file, b"IDAT", compressor.flush())


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
