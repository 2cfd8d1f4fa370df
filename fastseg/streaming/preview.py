"""A picture of an image and its labels that is collected while they pass by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..io.chunked import Region
from ..kernels.backend import Array
from ..pictures.side_by_side import side_by_side
from ..pixels import Pixels

# Sides of the picture are no longer than this, captions and palette included.
MAX_SIDE = 2048


class Preview:
    """Every so many-th pixel and label of a grid; of more than two axes the plane in the middle."""

    def __init__(self, grid: tuple[int, ...], n_channels: int, dtype: np.dtype[Any]) -> None:
        self._middle = tuple(n // 2 for n in grid[:-2])
        height, width = grid[-2:]
        self._step = max(1, math.ceil(max(height, width) / (MAX_SIDE // 2)))
        shape = (-(-height // self._step), -(-width // self._step))
        self._pixels = np.zeros((*shape, 3 if n_channels >= 3 else 1), dtype)
        self._labels = np.zeros(shape, np.uint32)

    def add(self, region: Region, pixels: Pixels, labels: Array) -> None:
        """Take what is shown of a region: its pixels and labels (of its shape)."""
        *leading, rows, columns = region
        plane: list[int] = []
        for part, at in zip(leading, self._middle, strict=True):
            if not part.start <= at < part.stop:
                return
            plane.append(at - part.start)
        inside = tuple(
            slice(-part.start % self._step, None, self._step) for part in (rows, columns)
        )
        place = tuple(
            slice(-(-part.start // self._step), -(-part.stop // self._step))
            for part in (rows, columns)
        )
        index: tuple[Any, ...] = (*plane, *inside)
        self._labels[place] = labels[index]
        shown = pixels.in_units(pixels.values)
        for channel in range(self._pixels.shape[-1]):
            self._pixels[..., channel][place] = pixels.to_grid(shown[:, channel])[index]

    def draw(
        self, colors: Array, value_range: Array, counts: Array, start_label: int, title: str,
        subtitle: str,
    ) -> Any:  # fmt: skip
        """Picture (PIL) of the original, the segmentation and the palette with shares."""
        original = self._pixels
        if original.dtype != np.uint8:
            n_shown = original.shape[-1]
            low, high = value_range[:n_shown, 0].min(), value_range[:n_shown, 1].max()
            scaled = (original - low) * (255.0 / (high - low) if high > low else 0.0)
            original = np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
        original = np.repeat(original, 3, axis=-1) if original.shape[-1] == 1 else original
        total = max(1, int(counts.sum()))
        shares = [(color, int(n) / total) for color, n in zip(
            colors[start_label:].tolist(), counts, strict=True)]  # fmt: skip
        return side_by_side(
            original, colors[self._labels], shares, title=title, subtitle=subtitle,
            max_side=MAX_SIDE,
        )  # fmt: skip
