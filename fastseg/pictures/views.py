"""What drawings show of an image: planes of it, as pixels for matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import refuse_dask
from ..io.image import Geometry
from ..kernels.backend import Array
from ..pixels import Pixels, as_pixels
from ..segmentation import Segmentation

_LONGEST = 1600  # pixels drawn along a side
_LEFT_OUT = "#e4e4e7"


@dataclass(frozen=True)
class Plane:
    """A plane of a grid: where it lies, what it is called, and how high a pixel is for its width.

    A picture has one, a volume three. What is ``stood_up`` is drawn with its first axis to
    the right and its second one upwards, as medical volumes are looked at.
    """

    index: tuple[Any, ...]
    title: str
    aspect: float
    shape: tuple[int, int]
    stood_up: bool = False

    @property
    def drawn_ratio(self) -> float:
        """Width over height as it is drawn."""
        ratio = self.shape[1] / (self.shape[0] * self.aspect)
        return 1 / ratio if self.stood_up else ratio


def pixels_of(image: Any, result: Segmentation) -> Pixels:
    """Pixels of the image that a segmentation was made of, with those left out that it left out.

    Raises
    ------
    ValueError
        If it is another image.
    """
    refuse_dask(result.labels, "labels")
    pixels = as_pixels(image, result.axis_rule, None, None, result.n_channels).upright()
    if pixels.grid != result.labels.shape or pixels.values.shape[1] != result.n_channels:
        raise ValueError(
            f"image has the grid {pixels.grid} of {pixels.values.shape[1]} channels, but the"
            f" labels have {result.labels.shape} of {result.n_channels}; give the image that was"
            " segmented"
        )
    if result.start_label == 1:
        kept = result.labels > 0
        before = np.ones(pixels.grid, bool) if pixels.kept is None else pixels.kept
        values, kept = pixels.values[kept[before]], kept & before
        pixels = Pixels(values, kept, pixels.grid, pixels.channel_axis, pixels.dtype)
    n = len(pixels.values)
    ends = [(channel.min(), channel.max()) for channel in pixels.values.T] if n else []
    if n != result.counts.sum() or not np.array_equal(ends, result.value_range):
        raise ValueError("image holds other values than the one that was segmented; give that one")
    return pixels


def spacing_of(geometry: Geometry, n_axes: int) -> tuple[float, ...]:
    """Lengths along the axes of a grid: of the voxels, and 1 from one frame to the next."""
    return (*geometry.voxel_size, *[1.0] * n_axes)[:n_axes]


def planes_of(
    grid: tuple[int, ...],
    kept: Array | None,
    spacing: Sequence[float] | None,
    stood_up: bool = False,
) -> list[Plane]:
    """Planes through the middle of what is kept: of a picture itself, of a volume three."""
    lengths = np.ones(len(grid)) if spacing is None else np.asarray(spacing, np.float64)
    if lengths.shape != (len(grid),) or not (lengths > 0).all():
        raise ValueError(
            f"spacing must be {len(grid)} positive lengths, one for each axis of the grid, got"
            f" {spacing!r}"
        )
    axes = [axis for axis in range(len(grid)) if grid[axis] > 1]
    # Frames come last in medical volumes, and first in other arrays.
    axes = axes[:3] if stood_up else axes[-3:]
    axes = sorted({*axes, *range(len(grid) - 2, len(grid))} if len(axes) < 2 else axes)
    middle: list[Any] = [n // 2 for n in grid]
    if kept is not None and len(axes) == 3:
        for axis in axes:
            others = tuple(a for a in range(len(grid)) if a != axis)
            inside = np.flatnonzero(kept.any(axis=others))
            middle[axis] = int(inside[0] + inside[-1]) // 2
    planes = []
    for cut in axes if len(axes) == 3 else [None]:
        rows, columns = (axis for axis in axes if axis != cut)
        index = list(middle)
        index[rows] = index[columns] = slice(None)
        title = "" if cut is None else f"axis {cut} at {middle[cut]}"
        aspect = float(lengths[rows] / lengths[columns])
        shape = (grid[rows], grid[columns])
        planes.append(Plane(tuple(index), title, aspect, shape, stood_up))
    return planes


def original(pixels: Pixels, plane: Plane) -> Array:
    """Pixels of a plane as RGBA uint8: the first three channels, or the first as grey.

    Other types than uint8 are stretched so that all but the darkest and the brightest in
    two hundred pixels fit.
    """
    n_shown = 3 if pixels.values.shape[1] >= 3 else 1
    if pixels.kept is None:
        full = pixels.values.reshape(*pixels.grid, -1)[plane.index]
        kept = np.ones(plane.shape, bool)
    else:
        kept = pixels.kept[plane.index]
        where = np.zeros(pixels.grid, bool)
        where[plane.index] = kept
        full = np.zeros((*plane.shape, pixels.values.shape[1]), pixels.values.dtype)
        full[kept] = pixels.values[where[pixels.kept]]
    step = _step(plane)
    full, kept = full[::step, ::step, :n_shown], kept[::step, ::step]
    if pixels.dtype != np.uint8:
        sample = pixels.values[some_rows(len(pixels.values)), :n_shown]
        low, high = np.percentile(sample, [0.5, 99.5]).tolist()
        if high <= low:
            low, high = float(sample.min()), max(float(sample.max()), float(sample.min()) + 1)
        full = np.clip((full - low) * (255.0 / (high - low)), 0, 255)
    return _rgba(full.astype(np.uint8), kept)


def segmented(result: Segmentation, colors: Array, plane: Plane) -> Array:
    """Labels of a plane as RGBA uint8 in the ``colors`` (n_label_values, 3) of the labels."""
    step = _step(plane)
    labels = result.labels[plane.index][::step, ::step]
    return _rgba(colors[labels], labels >= result.start_label)


def draw_plane(ax: Any, picture: Array, plane: Plane, title: str) -> None:
    """Show pixels of a plane with a title."""
    aspect = plane.aspect
    if plane.stood_up:
        picture, aspect = picture.transpose(1, 0, 2)[::-1], 1 / aspect
    ax.imshow(picture, aspect=aspect, interpolation="antialiased")
    ax.set(xticks=[], yticks=[], facecolor=_LEFT_OUT)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10, loc="left")


def label_colors(result: Segmentation) -> Array:
    """Colours (n_label_values, 3) uint8 to draw labels in.

    Mean colours of three channels or more; of one or two a scale from dark to bright, in
    which neighbours are told apart better than in greys.
    """
    if result.n_channels >= 3:
        return result.palette()
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0.05, 1, result.n_clusters))[:, :3]
    colors = np.rint(255 * shades).astype(np.uint8)
    return np.concatenate([np.zeros((result.start_label, 3), np.uint8), colors])


def some_rows(n: int, size: int = 2**18) -> Array:
    """Indices of some of n pixels, the same ones each time, ascending; of few all."""
    # Drawn, because equal strides can follow the columns of the image.
    return np.arange(n) if n <= size else np.sort(np.random.default_rng(0).integers(0, n, size))


def _step(plane: Plane) -> int:
    return -(-max(plane.shape) // _LONGEST)


def _rgba(colors: Array, kept: Array) -> Array:
    if colors.shape[-1] == 1:
        colors = np.repeat(colors, 3, axis=-1)
    return np.concatenate([colors, np.where(kept, 255, 0).astype(np.uint8)[..., None]], axis=-1)
