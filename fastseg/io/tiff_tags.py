"""The directory of a TIFF file as bytes: tags, and where their values stand.

TIFF 6.0 specification; BigTIFF as in https://libtiff.gitlab.io/libtiff/specification/bigtiff.html.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

ASCII, SHORT, LONG, RATIONAL, DOUBLE, LONG8 = 2, 3, 4, 5, 12, 16
_DTYPES = {ASCII: "S1", SHORT: "<u2", LONG: "<u4", RATIONAL: "<u4", DOUBLE: "<f8", LONG8: "<u8"}

# A classic file addresses its bytes by 32 bits; some are left for directories and colours.
CLASSIC_BYTES = 2**32 - 2**25


@dataclass(frozen=True)
class Tag:
    """A tag: its code, its type and its values as they stand in a little-endian file."""

    code: int
    kind: int
    data: bytes

    @classmethod
    def of(cls, code: int, kind: int, values: object) -> Tag:
        """Tag of numbers, or of text in ASCII."""
        if kind == ASCII:
            assert isinstance(values, bytes)
            return cls(code, kind, values + b"\0")
        return cls(code, kind, np.atleast_1d(np.asarray(values)).astype(_DTYPES[kind]).tobytes())

    @property
    def count(self) -> int:
        """Number of values."""
        size = np.dtype(_DTYPES[self.kind]).itemsize * (2 if self.kind == RATIONAL else 1)
        return len(self.data) // size


class Directories:
    """The chain of directories of a file that is being written."""

    def __init__(self, file: BinaryIO, big: bool) -> None:
        self._file = file
        self.big = big
        self._word = "<Q" if big else "<I"
        self.offset_kind = LONG8 if big else LONG
        # Where the offset of the next directory is to be written.
        self._link = 8 if big else 4
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else b"II*\0" + b"\0" * 4)

    def append(self, tags: list[Tag]) -> None:
        """Write a directory at the end of the file, and link it to the one before."""
        file = self._file
        room = struct.calcsize(self._word)
        entries = []
        for tag in sorted(tags, key=lambda tag: tag.code):
            field = tag.data
            if len(field) > room:
                field = struct.pack(self._word, self._append(tag.data))
            head = struct.pack("<HH" + self._word[1], tag.code, tag.kind, tag.count)
            entries.append(head + field.ljust(room, b"\0"))
        count = struct.pack("<Q" if self.big else "<H", len(entries))
        body = count + b"".join(entries)
        start = self._append(body + b"\0" * room)
        file.seek(self._link)
        file.write(struct.pack(self._word, start))
        self._link = start + len(body)
        file.seek(0, 2)

    def _append(self, data: bytes) -> int:
        """Write at the end, on a word boundary; return the place."""
        file = self._file
        file.seek(0, 2)
        file.write(b"\0" * (-file.tell() % 8))
        start = file.tell()
        file.write(data)
        return start
