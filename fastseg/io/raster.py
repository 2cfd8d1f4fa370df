"""Pictures as Pillow reads them, and never less than the file holds."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as pillow

from . import orientation, png, tiff, tiff_chunks, tiff_place
from .chunked import MissingCodec, NotInPieces, Part
from .combined import read_whole
from .failures import words_of
from .image import Image
from .pillow_state import SIZE_LIMIT, WHOLE_FILES, check_size

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# The openers of the formats themselves: pillow.open has its own limit on the
# size, half of it a warning, in a global that other threads read too.
_OPENERS: dict[str, Callable[..., ImageFile]] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_STARTS = {
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (png.SIGNATURE,),
    "TIFF": tiff.MAGIC,
}
_BY_SUFFIX = {"JPG": "JPEG", "TIF": "TIFF"}
_PILLOW_SAMPLES = 4  # per pixel, at most: RGBA, CMYK
_LAYOUT_ERRORS = (SyntaxError, IndexError, TypeError, KeyError, ValueError, struct.error)
_Decoded = tuple[NDArray[Any], NDArray[np.bool_] | None, tuple[str, ...]]


def read(path: str, max_pixels: int | None) -> Image:
    """Read the first picture of a file, whatever its suffix says it is."""
    format_ = _sniff(path)
    said = path.rpartition(".")[2].upper()
    said = _BY_SUFFIX.get(said, said)
    if format_ is None:
        raise ValueError(f"{path}: is not a {said} file, nor any other picture that can be read")
    notes: tuple[str, ...] = ()
    if said != format_:
        notes = (f"The file is {format_} in spite of its name, and was read so.",)
    if format_ == "PNG":
        image = _read_png(path, max_pixels)
    elif format_ == "TIFF":
        image = _read_tiff(path, max_pixels)
    else:
        with _opened(path, format_, max_pixels) as picture:
            image = _image(*_decode(picture), orientation.of_picture(picture), _first_of(picture))
    return replace(image, notes=notes + image.notes)


def _read_png(path: str, max_pixels: int | None) -> Image:
    header = png.read_header(path)
    check_size(path, (header.height, header.width), max_pixels)
    color = header.transparent_color
    with _opened(path, "PNG", max_pixels) as picture:
        notes = _first_of(picture)
        if not header.is_reduced_by_pillow:
            decoded = _decode(picture, color)
            # Only rows that are missing or truly black make the second look worth its time.
            last_row = (0, header.height - 1, header.width, header.height)
            if header.interlaced or picture.crop(last_row).getbbox(alpha_only=False) is None:
                png.check_rows(path, header)
            return _image(*decoded, orientation.of_picture(picture), notes)
    pixels = png.read_deep(path)
    valid = _differs(pixels, color)
    if pixels.shape[-1] in (2, 4):
        valid = pixels[..., -1] != 0
        pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :3])
    return _image(pixels, valid, (), orientation.of_block(header.exif), notes)


def _read_tiff(path: str, max_pixels: int | None) -> Image:
    """Read by tifffile, and by Pillow what that does not read, or where it is not installed."""
    try:
        image = tiff_chunks.open_pages(path, Part())
    except MissingCodec:
        raise
    except (ImportError, NotInPieces) as reason:
        return _read_tiff_by_pillow(path, max_pixels, reason)
    with image:
        found, turn = read_whole(image, max_pixels), image.orientation
    if not orientation.note(turn):
        return found
    upright = _image(found.pixels, found.valid, found.notes, turn, ())
    return replace(upright, channel_axis=found.channel_axis)


def _read_tiff_by_pillow(path: str, max_pixels: int | None, reason: Exception) -> Image:
    """Read by Pillow, or raise the reason why tifffile does not where Pillow does not either."""
    header = tiff.read_header(path)
    check_size(path, (header.height, header.width), max_pixels)
    if header.samples <= _PILLOW_SAMPLES:
        with contextlib.suppress(_UnknownLayout), _opened(path, "TIFF", max_pixels) as picture:
            if not header.is_changed_by_pillow(len(picture.getbands())):
                return _tiff_by_pillow(picture, header)
    raise reason


def _tiff_by_pillow(picture: ImageFile, header: tiff.Header) -> Image:
    notes: tuple[str, ...] = ()
    if header.n_pages > 1:
        notes = (f"Only the first of {header.n_pages} pages was read.",)
    path = str(picture.filename)
    pixels, valid, more = _decode(picture)
    pixels = _stored(pixels, header)
    if header.white_is_zero and header.bits[0] >= 8:
        pixels, more = _inverted(pixels, header, more)
    there = _differs(pixels, _nodata(path, header, pixels.dtype))
    if there is not None:
        valid = there if valid is None else valid & there
    remaining, turned = orientation.of_picture(picture), header.orientation in range(2, 9)
    if remaining != header.orientation:  # Pillow turned it while it loaded
        notes = orientation.note(header.orientation) + notes
    upright = _image(pixels, valid, more, remaining, notes)
    return upright if turned else replace(upright, metadata=tiff_place.place_of(path))


def _nodata(path: str, header: tiff.Header, dtype: np.dtype[Any]) -> tuple[float] | None:
    """Value for no data, as values are meant; no colour of a table, nor grey that is spread."""
    if header.has_palette or header.bits[0] < 8:
        return None
    found = tiff_place.nodata_of(path, dtype)
    if found is not None and header.white_is_zero and dtype.kind == "u":
        found = (1 << header.bits[0]) - 1 - found
    return None if found is None else (found,)


def _stored(pixels: NDArray[Any], header: tiff.Header) -> NDArray[Any]:
    """Give integers the type they have in the file, where Pillow's is another."""
    if header.sample_format not in (1, 2) or len(header.bits) != 1:
        return pixels
    if header.bits[0] == 8 and header.is_signed:
        return pixels.view(np.int8)
    if header.bits[0] == 16 and header.is_signed:
        return pixels.astype(np.int16)
    if header.bits[0] == 32 and not header.is_signed:
        return pixels.view(np.uint32)
    return pixels


def _inverted(
    pixels: NDArray[Any], header: tiff.Header, notes: tuple[str, ...]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    if pixels.dtype.kind != "u":
        return pixels, (*notes, "In this file zero is white; the values were taken as they are.")
    top = pixels.dtype.type((1 << header.bits[0]) - 1)
    if top > 255:  # Pillow inverts the others
        pixels = top - pixels
    return pixels, (*notes, "In this file zero is white; the values were inverted.")


class _UnknownLayout(ValueError):
    """Pillow has no reader for this layout of pixels, but another may have."""


@contextlib.contextmanager
def _opened(path: str, format_: str, max_pixels: int | None) -> Iterator[ImageFile]:
    """Open a picture, with Pillow's errors in the words of this package."""
    with SIZE_LIMIT.lifted(max_pixels), WHOLE_FILES:
        try:
            with open(path, "rb") as file:
                try:
                    picture = _OPENERS[format_](file, path)
                except _LAYOUT_ERRORS as error:
                    raise _UnknownLayout(
                        f"{path}: the {format_} file is damaged, or of a kind that cannot be "
                        f"read ({words_of(error)})"
                    ) from error
                check_size(path, picture.size[::-1], max_pixels)
                yield picture
        except pillow.DecompressionBombError as error:
            raise ValueError(
                f"{path}: {words_of(error)} If you trust the file, raise the limit with "
                "--max-pixels (in Python: fastseg.io.read_image(path, max_pixels=...))"
            ) from error
        except (OSError, SyntaxError, EOFError, IndexError) as error:
            raise ValueError(
                f"{path}: the {format_} file is truncated or damaged ({words_of(error)}); "
                "get a fresh copy"
            ) from error


def _sniff(path: str) -> str | None:
    with open(path, "rb") as file:
        start = file.read(16)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, marks in _STARTS.items() if start.startswith(marks)), None)


def _decode(picture: ImageFile, transparent: tuple[int, ...] | None = None) -> _Decoded:
    """Give pixels, the pixels that transparency leaves in, and notes."""
    notes: tuple[str, ...] = ()
    try:
        picture.load()
    except ValueError as error:  # Pillow's decoders raise OSError and this
        raise OSError(str(error)) from error
    loaded: pillow.Image = picture
    mode = picture.mode
    if mode in ("P", "PA"):
        loaded = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    elif mode in ("La", "RGBa"):
        loaded = picture.convert(mode.upper())
    elif mode == "1":
        loaded = picture.convert("L")
    elif mode in ("CMYK", "YCbCr"):
        loaded = picture.convert("RGB")
        notes = (f"The {mode} colours were converted to RGB.",)
    elif mode not in ("L", "LA", "RGB", "RGBA", "RGBX", "I", "F") and not mode.startswith("I;16"):
        raise ValueError(f"{picture.filename!s}: {mode} colours are not read; convert it to RGB")
    pixels = np.array(loaded)
    if loaded.mode in ("LA", "RGBA"):
        valid = pixels[..., -1] != 0
        kept = pixels[..., 0] if loaded.mode == "LA" else pixels[..., :3]
        return np.ascontiguousarray(kept), valid, notes
    if mode == "L" and picture.format == "GIF" and "transparency" in picture.info:
        transparent = (int(picture.info["transparency"]),)
    if mode == "I" and picture.format == "PNG":  # Pillow before 11: 16-bit grey
        pixels = pixels.astype(np.uint16)
    if not pixels.dtype.isnative:
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    return pixels, _differs(pixels, transparent), notes


def _differs(pixels: NDArray[Any], color: tuple[float, ...] | None) -> NDArray[np.bool_] | None:
    if color is None:
        return None
    different: NDArray[np.bool_] = np.not_equal(pixels, np.array(color, dtype=pixels.dtype))
    return different if pixels.ndim == 2 else np.any(different, axis=-1)


def _first_of(picture: ImageFile) -> tuple[str, ...]:
    n_frames = getattr(picture, "n_frames", 1)
    return (f"Only the first of {n_frames} pictures was read.",) if n_frames > 1 else ()


def _image(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    notes: tuple[str, ...],
    turn: int,
    first: tuple[str, ...],
) -> Image:
    pixels = orientation.turned(pixels, turn)
    valid = None if valid is None else orientation.turned(valid, turn)
    notes = (*orientation.note(turn), *first, *notes)
    return Image(pixels, 2 if pixels.ndim == 3 else None, valid, notes)
