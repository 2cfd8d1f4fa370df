"""How many values packed pictures say they hold, as they stand in tiles, chunks and frames.

Decoders take the memory that a header asks for, whatever the tile around it may hold. JPEG
(ITU-T T.81) and JPEG-LS (T.87), JPEG 2000 (T.800), JPEG XL (ISO/IEC 18181-1), JPEG XR (T.832),
WebP (RFC 9649), PNG (RFC 2083), LERC (https://github.com/Esri/lerc).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

# Values that a picture may hold beside four times those of its place: strips at an end may be
# stored in full, and sides be rounded up.
_SPARE = 2**16
# Start-of-frame markers of JPEG and JPEG-LS; C4, C8 and CC are others.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x00, 0x01, *range(0xD0, 0xD9), 0xFF}  # behind them stands no length
_SCAN = 0xDA
# Bytes of the segment, right, bottom, left and top of the grid, and the number of components.
_JPEG_2000 = re.compile(rb"\xff\x4f\xff\x51(.{2}).{2}(.{16}).{16}(.{2})", re.DOTALL)
_JPEG_XL = re.compile(rb"(?:\A|jxlc|jxlp.{4})\xff\x0a(.{1,12})", re.DOTALL)
_JPEG_XR = re.compile(rb"WMPHOTO\0.{2}(.).(.{8})", re.DOTALL)
_WEBP = re.compile(
    rb"VP8 .{7}\x9d\x01\x2a(.{2})(.{2})|VP8L.{4}\x2f(.{4})|VP8X.{8}(.{3})(.{3})", re.DOTALL
)
_WEBP_SIDE = 2**14
_LERC = re.compile(rb"Lerc2 (.{20})|CntZImage .{8}(.{8})", re.DOTALL)
_SAMPLES = 4  # at most, of a pixel of PNG and WebP
# Width for a height, as JPEG XL has it in three bits.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE_BITS = (9, 13, 18, 30)


def check_inner(data: bytes, n_values: int) -> None:
    """Refuse a packed picture that says it holds far more values than its place has.

    Raises
    ------
    ValueError
        With how many.
    """
    found = values_in(data)
    if found > 4 * n_values + _SPARE:
        raise ValueError(f"a picture of {found:,} values stands in the place of {n_values:,}")


def values_in(data: bytes) -> int:
    """Values (height x width x samples) that a packed picture says it holds, 0 for no picture.

    Where other things may stand before its header, the largest that looks like one counts.
    """
    sizes = next((find for start, find in _FINDERS.items() if data.startswith(start)), None)
    return 0 if sizes is None else max(sizes(data), default=0)


def _jpeg(data: bytes) -> list[int]:
    found = []
    at = data.find(b"\xff", 2)
    while 0 <= at < len(data) - 9 and data[at + 1] != _SCAN:
        if data[at + 1] in _ALONE:
            at = data.find(b"\xff", at + 1)
            continue
        if data[at + 1] in _FRAMES:
            height, width, samples = struct.unpack_from(">HHB", data, at + 5)
            found.append(height * width * samples)
        at = data.find(b"\xff", at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
    return found


def _jpeg_2000(data: bytes) -> list[int]:
    found = []
    for match in _JPEG_2000.finditer(data):
        (n_bytes,), (samples,) = (struct.unpack(">H", match[i]) for i in (1, 3))
        if n_bytes != 38 + 3 * samples:
            continue  # packed values look like a marker once in a gigabyte
        right, bottom, left, top = struct.unpack(">IIII", match[2])
        found.append(max(0, right - left) * max(0, bottom - top) * samples)
    return found


def _jpeg_xl(data: bytes) -> list[int]:
    return [_jpeg_xl_size(int.from_bytes(match[1], "little")) for match in _JPEG_XL.finditer(data)]


def _jpeg_xl_size(bits: int) -> int:
    """Pixels by the first bits of a code stream."""

    def take(n: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << n) - 1, bits >> n
        return value

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else take(_SIDE_BITS[take(2)]) + 1

    is_small = take(1)
    height, ratio = side(), take(3)
    if ratio == 0:
        return height * side()
    wide, high = _RATIOS[ratio - 1]
    return height * (height * wide // high)


def _jpeg_xr(data: bytes) -> list[int]:
    found = []
    for match in _JPEG_XR.finditer(data):
        form, size = (">HH", 4) if match[1][0] & 0x80 else (">II", 8)
        width, height = struct.unpack(form, match[2][:size])
        found.append((width + 1) * (height + 1))
    return found


def _webp(data: bytes) -> list[int]:
    found = []
    for match in _WEBP.finditer(data):
        width, height, packed, canvas_width, canvas_height = (
            int.from_bytes(part or b"", "little") for part in match.groups()
        )
        sizes = (
            (width % _WEBP_SIDE) * (height % _WEBP_SIDE),
            (packed % _WEBP_SIDE + 1) * (packed // _WEBP_SIDE % _WEBP_SIDE + 1),
            (canvas_width + 1) * (canvas_height + 1),
        )
        found.append(_SAMPLES * max(sizes))
    return found


def _png(data: bytes) -> list[int]:
    width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    return [_SAMPLES * width * height]


def _lerc(data: bytes) -> list[int]:
    total = 0
    for match in _LERC.finditer(data):  # one for each band
        if match[2]:
            height, width = struct.unpack("<II", match[2])
            total += height * width
            continue
        version, *fields = struct.unpack("<5I", match[1])
        height, width, depth = fields[1:] if version > 2 else (*fields[:2], 1)
        total += height * width * (depth if version > 3 else 1)
    return [total]


_FINDERS: dict[bytes, Callable[[bytes], list[int]]] = {
    b"\xff\xd8": _jpeg,
    b"\xff\x4f": _jpeg_2000,
    b"\0\0\0\x0cjP  ": _jpeg_2000,
    b"\xff\x0a": _jpeg_xl,
    b"\0\0\0\x0cJXL ": _jpeg_xl,
    b"II\xbc": _jpeg_xr,
    b"WMPHOTO\0": _jpeg_xr,
    b"RIFF": _webp,
    b"\x89PNG": _png,
    b"Lerc2 ": _lerc,
    b"CntZImage ": _lerc,
}
