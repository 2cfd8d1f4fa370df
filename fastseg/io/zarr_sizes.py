"""What a compressed chunk says it holds, or holds, before it is decoded as a whole.

Blosc 1 chunk format; RFC 1950 and 1952 (zlib, gzip); RFC 8878 (Zstandard).
"""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from typing import Any, BinaryIO

# Blosc's header, and where in it the bytes of the content and of the whole chunk stand.
_BLOSC_HEAD, _BLOSC_CONTENT, _BLOSC_SIZE = 16, slice(4, 8), slice(12, 16)
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_HEAD = 18
# What filters may add to a chunk, and bytes of content for a byte of deflate's, at most.
_SPARE, _PACKED = 2**20, 1100
_PIECE = 2**18


def check_chunk(file: BinaryIO, codec: str, n_bytes: int) -> None:
    """Refuse a chunk that is cut off, or that holds far more than ``n_bytes`` when unpacked.

    ``codec`` is the name of its compressor's class, in lower case. A codec of Blosc's would
    read on, in whatever lies behind what is cut off; others take what memory they need.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    size = os.fstat(file.fileno()).st_size
    most = 2 * n_bytes + _SPARE
    content = 0
    if "blosc" in codec:
        head = file.read(_BLOSC_HEAD)
        if len(head) < _BLOSC_HEAD or int.from_bytes(head[_BLOSC_SIZE], "little") > size:
            raise ValueError(f"it ends after {size} bytes")
        content = int.from_bytes(head[_BLOSC_CONTENT], "little")
    elif "zstd" in codec:
        content = _zstd_content(file.read(_ZSTD_HEAD))
    elif "lz4" in codec:
        content = int.from_bytes(file.read(4), "little")
    elif size * _PACKED > most or any(name in codec for name in ("bz2", "lzma")):
        content = _unpacked(file, codec, most)
    if content > most:
        raise ValueError(f"it holds {n_bytes:,} bytes, as the metadata say, and unpacks to more")


def _zstd_content(head: bytes) -> int:
    """Bytes that a frame says it holds, or 0 where it does not say."""
    if head[:4] != _ZSTD or len(head) < 6:
        return 0
    flag, single = head[4] >> 6, head[4] >> 5 & 1
    width = (single, 2, 4, 8)[flag]
    at = 5 + (1 - single) + (0, 1, 2, 4)[head[4] & 3]
    return int.from_bytes(head[at : at + width], "little") + (256 if flag == 1 else 0)


def _unpacked(file: BinaryIO, codec: str, most: int) -> int:
    """Bytes that a stream unpacks to, piece by piece; no more than there may be."""
    makers: dict[str, Any] = {
        "gzip": lambda: zlib.decompressobj(31),
        "zlib": zlib.decompressobj,
        "bz2": bz2.BZ2Decompressor,
        "lzma": lzma.LZMADecompressor,
    }
    maker = next((make for name, make in makers.items() if name in codec), None)
    if maker is None:
        return 0
    found, inflater, data = 0, maker(), file.read(_PIECE)
    try:
        while found <= most:
            piece = inflater.decompress(data, _PIECE)
            found += len(piece)
            if inflater.eof:  # streams may follow each other
                data, inflater = inflater.unused_data or file.read(_PIECE), maker()
            else:
                data = getattr(inflater, "unconsumed_tail", b"")
                data = data or (file.read(_PIECE) if len(piece) < _PIECE else b"")
            if not data and not piece:
                break
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        return 0  # whoever decodes it says what is wrong
    return found
