"""EXIF orientation: how a picture is to be turned to stand upright.

EXIF 2.32 (CIPA DC-008-2019), tag Orientation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pillow

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_TAG = 0x0112

# orientation -> whether to transpose, then which axes to flip
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}


def of_picture(picture: ImageFile) -> int:
    """Orientation of an opened picture, 1 when it says none."""
    try:
        return int(picture.getexif().get(_TAG, 1))
    except Exception:  # whatever a damaged EXIF block raises, the picture is whole
        return 1


def of_block(exif: bytes) -> int:
    """Orientation in a block of EXIF data, 1 when it says none."""
    try:
        block = pillow.Exif()
        block.load(b"Exif\0\0" + exif)
        return int(block.get(_TAG, 1))
    except Exception:
        return 1


def note(orientation: int) -> tuple[str, ...]:
    """Say what `turned` did."""
    return (f"EXIF orientation {orientation} was applied.",) if orientation in _TURNS else ()


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an image (height, width, ...) upright."""
    if orientation not in _TURNS:
        return array
    transposed, flipped = _TURNS[orientation]
    upright = array.swapaxes(0, 1) if transposed else array
    return np.ascontiguousarray(np.flip(upright, flipped))
