"""What Pillow keeps in globals, which other threads and packages use too.

Both are changed only while a file is read that needs it, and put back.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator

from PIL import Image as pillow
from PIL import ImageFile


class SizeLimit:
    """Pillow's limit on the size, lifted for one reader at a time and put back.

    Some of Pillow's decoders look its global up themselves. Readers that asked
    for no other limit go on seeing the one that was there before.
    """

    def __init__(self) -> None:
        self._one_reader = threading.Lock()
        self._swap = threading.Lock()
        self._lifted = False
        self._before: int | None = None

    def pixels(self) -> int | None:
        """Pillow's own limit."""
        with self._swap:
            return self._before if self._lifted else pillow.MAX_IMAGE_PIXELS

    @contextlib.contextmanager
    def lifted(self, max_pixels: int | None) -> Iterator[None]:
        """Lift the limit where `max_pixels` is above it."""
        before = self.pixels()
        if max_pixels is None or before is None or max_pixels <= before:
            yield
            return
        with self._one_reader:
            with self._swap:
                self._before, self._lifted = pillow.MAX_IMAGE_PIXELS, True
                pillow.MAX_IMAGE_PIXELS = max_pixels
            try:
                yield
            finally:
                with self._swap:
                    pillow.MAX_IMAGE_PIXELS, self._lifted = self._before, False


def check_size(name: str, grid: tuple[int, ...], max_pixels: int | None = None) -> None:
    """Refuse a picture larger than asked for, or by default than Pillow's limit."""
    n_pixels = math.prod(grid)
    limit = SIZE_LIMIT.pixels() if max_pixels is None else max_pixels
    if limit is not None and n_pixels > limit:
        sides = " x ".join(map(str, reversed(grid)))
        raise ValueError(
            f"{name}: {sides} = {n_pixels:,} pixels are more than the limit of {limit:,} (a guard"
            " against decompression bombs); if you trust the file, raise it with --max-pixels"
            f" {n_pixels} (in Python: fastseg.io.read_image(path, max_pixels=...))"
        )


class WholeFiles:
    """While entered, a truncated file is an error, whatever the program around us has set."""

    def __init__(self) -> None:
        self._swap = threading.Lock()
        self._readers = 0
        self._before = False

    def __enter__(self) -> None:
        with self._swap:
            if self._readers == 0:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        with self._swap:
            self._readers -= 1
            if self._readers == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


SIZE_LIMIT = SizeLimit()
WHOLE_FILES = WholeFiles()
