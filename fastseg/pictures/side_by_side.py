"""Drawing a picture beside its segmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_PANEL = 640  # width of each of the two pictures
_MARGIN = 28
_GAP = 16
_INK, _FAINT, _PAPER = (24, 24, 27), (113, 113, 122), (255, 255, 255)
_PER_ROW = 8
_SWATCH = 56  # height
_BESIDE = 360  # of the height, what captions and some rows of the palette take

Palette = list[tuple[list[int], float]]


def side_by_side(
    original: NDArray[np.uint8],
    segmented: NDArray[np.uint8],
    palette: Palette,
    *,
    title: str,
    subtitle: str,
    max_side: int | None = None,
) -> Image.Image:
    """Draw a picture, its segmentation, and the palette with the share of each colour.

    Parameters
    ----------
    original, segmented : ndarray of shape (height, width, 3), uint8
        The two pictures.
    palette : list of (color, share)
        The colours of the clusters, and which part of the pixels they cover.
    title, subtitle : str
        What stands above.
    max_side : int, optional
        Make the picture as large as this allows.

    Returns
    -------
    PIL.Image.Image
        In RGB.
    """
    room = _PANEL if max_side is None else (max_side - 2 * _MARGIN - _GAP) // 2
    panel_width, height = room, round(room * original.shape[0] / original.shape[1])
    if max_side is not None and height > max_side - _BESIDE:
        height = max_side - _BESIDE
        panel_width = round(height * original.shape[1] / original.shape[0])
    panel_size = max(1, panel_width), max(1, height)
    width = 2 * _MARGIN + 2 * room + _GAP
    top = _MARGIN + 78
    below = top + height + 34
    n_rows = -(-len(palette) // _PER_ROW)
    sheet = Image.new("RGB", (width, below + n_rows * (_SWATCH + 56) + _MARGIN - 12), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 6), title, _INK, _font(30))
    draw.text((_MARGIN, _MARGIN + 34), subtitle, _FAINT, _font(16))
    panels = (
        (original, "original", Image.Resampling.LANCZOS),
        (
            segmented,
            "segmentation",
            Image.Resampling.NEAREST,
        ),
    )
    for number, (pixels, caption, resampling) in enumerate(panels):
        left = _MARGIN + number * (room + _GAP)
        panel = Image.fromarray(pixels).resize(panel_size, resampling)
        sheet.paste(panel, (left, top))
        draw.text((left + room, top - 8), caption, _FAINT, _font(16), anchor="rs")
    _draw_palette(draw, palette, below, width)
    if max_side is not None and max(sheet.size) > max_side:
        sheet.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return sheet


def _draw_palette(draw: ImageDraw.ImageDraw, palette: Palette, top: int, width: int) -> None:
    n_columns = min(_PER_ROW, len(palette))
    step = (width - 2 * _MARGIN + _GAP) / n_columns
    for number, ((red, green, blue), share) in enumerate(palette):
        row, column = divmod(number, n_columns)
        left = round(_MARGIN + column * step)
        right = round(_MARGIN + (column + 1) * step - _GAP)
        y = top + row * (_SWATCH + 56)
        # The outline keeps colours near the paper's visible.
        draw.rounded_rectangle(
            (left, y, right, y + _SWATCH), 8, (red, green, blue), (212, 212, 216)
        )
        draw.text((left, y + _SWATCH + 6), f"{100 * share:.1f} %", _INK, _font(18))
        code = f"#{red:02x}{green:02x}{blue:02x}"
        draw.text((right, y + _SWATCH + 8), code, _FAINT, _font(15), anchor="ra")


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
