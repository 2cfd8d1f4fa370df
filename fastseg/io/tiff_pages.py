"""Which pages of a TIFF file make an image, and whether they are read in regions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .chunked import MissingCodec, NotInPieces, Part, check_number

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
JPEG = (6, 7, 33007, 34892)
# What is a picture in itself: those, and JPEG XR, JPEG 2000, LERC, PNG, WebP and JPEG XL.
PICTURES = (*JPEG, 22610, 33003, 33004, 33005, 34712, 34887, 34933, 34934, 50001, 34927, 50002,
            52546)  # fmt: skip
_GREY_OR_PALETTE = (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE)
# CMYK and YCbCr, of which Pillow makes RGB.
_CONVERTED = (5, YCBCR)
_READ = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR)
_NONE = 1
_ORIENTATION = 274
# Greys that Pillow spreads over 8 bits, and indices of colours.
_SCALED = (1, 2, 4)


def arranged(
    path: str, file: Any, part: Part
) -> tuple[list[Any], tuple[int, ...], int, tuple[str, ...]]:
    """Pages to read, the leading axes they make, how many are channels of one, and notes."""
    # An OME-TIFF says what its pages are; of others it is known for one page only.
    if part.series is None and part.level is None and not file.is_ome:
        return _plain_pages(path, file, part)
    n_series = len(file.series)
    series = file.series[check_number(path, "series", part.series or 0, n_series)]
    series = series.levels[check_number(path, "level", part.level or 0, len(series.levels))]
    pages = list(series.pages)
    axes, shape = _page_axes(path, series, pages)
    if part.pages is not None:
        pages = _range_of(path, pages, part.pages)
        axes, shape = ("Q" if len(pages) > 1 else ""), ((len(pages),) if len(pages) > 1 else ())
    notes: tuple[str, ...] = ()
    if part.series is None and n_series > 1:
        notes = (f"Only the first of {n_series} series was read.",)
    if "C" not in axes:
        return pages, shape, 1, notes
    at = axes.index("C")
    order = np.moveaxis(np.arange(len(pages)).reshape(shape), at, -1).ravel()
    leading = shape[:at] + shape[at + 1 :]
    return [pages[i] for i in order], leading, shape[at], notes


def _plain_pages(
    path: str, file: Any, part: Part
) -> tuple[list[Any], tuple[int, ...], int, tuple[str, ...]]:
    n = len(file.pages)
    if part.pages is None:
        notes = (f"Only the first of {n} pages was read.",) if n > 1 else ()
        return [file.pages[0]], (), 1, notes
    pages = _range_of(path, file.pages, part.pages)
    for number, page in enumerate(pages):
        if page.keyframe.hash != pages[0].keyframe.hash:
            raise ValueError(
                f"{path}: the pages {part.pages[0]} to {part.pages[1] - 1} are no images of one"
                f" kind (page {part.pages[0] + number} differs in size or type); choose others"
            )
    return pages, ((len(pages),) if len(pages) > 1 else ()), 1, ()


def _range_of(path: str, pages: Any, wanted: tuple[int, int]) -> list[Any]:
    first, end = wanted
    if not 0 <= first < end <= len(pages):
        raise ValueError(
            f"{path}: has no pages {first} to {end - 1}; its {len(pages)} are 0 to {len(pages) - 1}"
        )
    return [pages[i] for i in range(first, end)]


def _page_axes(path: str, series: Any, pages: list[Any]) -> tuple[str, tuple[int, ...]]:
    """Axes along which the pages of a series lie, and how many there are along each."""
    if any(page is None for page in pages):
        raise ValueError(f"{path}: pages of this series are missing; choose others with --pages")
    inner = len(series.keyframe.axes)
    axes, shape = series.axes, series.shape
    # Without the axes of a page itself, however many of them have length one.
    while len(axes) > 0 and math.prod(shape) != len(pages):
        axes, shape = axes[:-1], shape[:-1]
    if math.prod(shape) != len(pages) or inner > 3:
        raise ValueError(f"{path}: pages with the axes {series.axes} are not read in pieces")
    kept = [i for i, n in enumerate(shape) if n > 1]
    return "".join(axes[i] for i in kept), tuple(shape[i] for i in kept)


def check_kind(path: str, page: Any) -> None:
    """Refuse pages whose values cannot be given as they are, or as colours."""
    if not all(isinstance(n, int) and n > 0 for n in page.shaped):
        raise ValueError(f"{path}: the TIFF file is damaged (a page of {page.shaped!s:.60} values)")
    bits = page.bitspersample
    if page.shaped[1] != 1:
        raise ValueError(f"{path}: volumes in one page are not read; write it as pages")
    if page.samplesperpixel == 1 and page.photometric in _GREY_OR_PALETTE and bits in _SCALED:
        raise NotInPieces(
            f"{path}: holds values of {bits} bits, and is read as a whole alone; leave out series,"
            " level and pages"
        )
    as_told = isinstance(bits, int) and (bits <= 16 or bits in (32, 64))
    if page.dtype is None or page.dtype.kind not in "uif" or not as_told:
        raise ValueError(
            f"{path}: values of {bits} bits (SampleFormat {page.sampleformat}) are not read;"
            " convert the file"
        )
    colored = page.photometric == YCBCR and page.compression not in JPEG
    if page.photometric not in _READ or colored:
        kind = NotInPieces if bits == 8 and page.photometric in _CONVERTED else ValueError
        raise kind(
            f"{path}: colours of this kind (PhotometricInterpretation {int(page.photometric)},"
            f" bits: {bits}) are not read; convert the file to RGB first"
        )
    _check_codec(path, page)


def orientation_of(page: Any) -> int:
    """How a page is to be turned, 1 for not at all and for what has no meaning."""
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None and tag.value in range(2, 9) else 1


def is_raw(pages: list[Any]) -> bool:
    """Whether the values of each page stand in the file as they are, one row after the other."""
    page = pages[0].keyframe
    plain = page.compression == _NONE and page.predictor == 1 and page.fillorder == 1
    return plain and not page.is_tiled and all(one.is_contiguous for one in pages)


def _check_codec(path: str, page: Any) -> None:
    import tifffile

    if page.compression == _NONE:
        return
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError as error:
        raise needs(path, page, error) from error


def needs(path: str, page: Any, error: Exception) -> MissingCodec:
    """Error that says which codec is missing."""
    name = getattr(page.compression, "name", "unknown")
    return MissingCodec(
        f"{path}: is compressed by {name} (TIFF compression {int(page.compression)}), which"
        " the installed imagecodecs does not decode: pip install --upgrade imagecodecs, or convert"
        " the file to deflate"
    )


def check_segments(path: str, page: Any, number: int, n_segments: int) -> None:
    """Refuse a page that does not say where each of its tiles or strips is."""
    found = min(len(page.dataoffsets), len(page.databytecounts))
    if found < n_segments:
        raise ValueError(
            f"{path}: the file is damaged (page {number} needs {n_segments:,} tiles or strips, and"
            f" names {found:,}); get a fresh copy"
        )


def check_bytes(path: str, page: Any, number: int, n_values: int) -> None:
    """Refuse a page of values as they are whose sides ask for more than it says it holds."""
    needed, found = n_values * page.dtype.itemsize, sum(page.databytecounts)
    if found < needed:
        raise ValueError(
            f"{path}: the file is damaged (page {number} of {page.imagewidth} x {page.imagelength}"
            f" pixels needs {needed:,} bytes, and names {found:,}); get a fresh copy"
        )
