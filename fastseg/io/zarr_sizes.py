"""Compressed chunks of Zarr unpacked to as much as they may hold, and no more.

Blosc 1 chunk format; RFC 1950 and 1952 (zlib, gzip); RFC 8878 (Zstandard).
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .inner_sizes import check_inner

# Blosc's header, and where in it the bytes of the content and of the whole chunk stand.
_BLOSC_HEAD, _BLOSC_CONTENT, _BLOSC_SIZE = 16, slice(4, 8), slice(12, 16)
_ZSTD, _SKIPPED = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
_RLE = 1
# What filters may make of a chunk: bytes into floats of eight, and checksums.
_WIDER, _SPARE = 8, 2**20
_STREAMS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}
# Codecs of imagecodecs for bytes, which fill what they are given, and for pictures.
_FILL = re.compile(
    "imagecodecs_(aec|brotli|bz2|deflate|lz4|lz4f|lz4h5|lzf|lzfse|lzham|lzma|lzo|lzw|packbits"
    "|snappy|zlib|zlibng|zopfli|zstd)"
)
_PICTURES = re.compile(r"imagecodecs_(l?jp|a?png|webp|lerc|htj2k)")
# Bytes that an inflater is given: as what it leaves is copied, no more for many small streams.
_PIECE = 2**14


def unpacked(
    codec: Any, config: Mapping[str, Any], data: memoryview, n_bytes: int, is_exact: bool
) -> Callable[[], Any] | None:
    """What unpacks a chunk, or None where its codec takes no more memory than was looked at here.

    ``config`` names the codec by its ``id``, as numcodecs does. ``n_bytes`` is what it
    unpacks to, or where ``is_exact`` is not set about what it does, as filters come after it.

    Raises
    ------
    ValueError
        The chunk is cut off, or unpacks to more than it may.
    """
    name, most = str(config["id"]), n_bytes if is_exact else _WIDER * n_bytes + _SPARE
    content: int | None = 0
    if "blosc" in name:
        head = bytes(data[:_BLOSC_HEAD])
        # It would read on in whatever lies behind what is cut off.
        if len(head) < _BLOSC_HEAD or int.from_bytes(head[_BLOSC_SIZE], "little") > len(data):
            raise ValueError(f"it ends after {len(data)} bytes")
        content = int.from_bytes(head[_BLOSC_CONTENT], "little")
    elif name == "lz4":
        content = int.from_bytes(data[:4], "little")
    elif name == "zstd":
        content = _zstd_content(data)
        if content is None and is_exact:
            return partial(_zstd_of_size, data, n_bytes)
    elif name in _STREAMS:
        return partial(_inflated, data, _inflater(config), most)
    elif _FILL.fullmatch(name):
        # One byte more, as some say nothing of what they leave.
        return lambda: codec.decode(data, out=np.empty(most + 1, np.uint8))
    elif _PICTURES.match(name):
        check_inner(bytes(data), most)
    if content is None:
        raise ValueError("it does not say how much it unpacks to")
    if content > most:
        raise _too_much(most)
    return None


def _too_much(most: int) -> ValueError:
    return ValueError(f"it unpacks to more than the {most:,} bytes that it may hold")


def _zstd_content(data: memoryview) -> int | None:
    """Bytes that all frames say they hold, or None where one does not say."""
    at = total = 0
    while at < len(data):
        if data[at + 1 : at + 4] == _SKIPPED:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        if data[at : at + 4] != _ZSTD or at + 6 > len(data):
            break  # whoever decodes it says what is wrong
        told = data[at + 4]
        flag, single = told >> 6, told >> 5 & 1
        width = (single, 2, 4, 8)[flag]
        if width == 0:
            return None
        at += 5 + (1 - single) + (0, 1, 2, 4)[told & 3]
        total += int.from_bytes(data[at : at + width], "little") + (256 if flag == 1 else 0)
        at = _after_blocks(data, at + width) + 4 * (told >> 2 & 1)
    return total


def _after_blocks(data: memoryview, at: int) -> int:
    """Where the blocks of a frame end."""
    while at < len(data):
        head = int.from_bytes(data[at : at + 3], "little")
        at += 3 + (1 if head >> 1 & 3 == _RLE else head >> 3)
        if head & 1:
            break
    return at


def _zstd_of_size(data: memoryview, n_bytes: int) -> Any:
    """What frames unpack to of which one does not say its size; another size is an error."""
    from numcodecs.zstd import decompress

    return decompress(data, np.empty(n_bytes, np.uint8))


def _inflater(config: Mapping[str, Any]) -> Callable[[], Any]:
    """What makes an object that unpacks one stream."""
    if config["id"] == "lzma":
        form, filters = config.get("format", lzma.FORMAT_XZ), config.get("filters")
        return lambda: lzma.LZMADecompressor(form, filters=filters)
    return _STREAMS[str(config["id"])]


def _inflated(data: memoryview, make: Callable[[], Any], most: int) -> bytes:
    """What streams unpack to that follow each other; what is none behind them is left."""
    parts: list[bytes] = []
    found, inflater, is_first = 0, make(), True
    for at in range(0, len(data), _PIECE):
        piece = bytes(data[at : at + _PIECE])
        while piece:
            if inflater.eof:
                inflater, is_first, piece = make(), False, piece.lstrip(b"\0")
            try:
                parts.append(inflater.decompress(piece, most - found + 1))
            except (zlib.error, OSError, lzma.LZMAError) as error:
                if is_first:
                    raise ValueError(str(error)) from error
                return b"".join(parts)
            found += len(parts[-1])
            if found > most:
                raise _too_much(most)
            piece = inflater.unused_data
    if is_first and not inflater.eof:
        raise ValueError(f"it ends after {len(data)} bytes")
    return b"".join(parts)
