"""A segmentation on one sheet: pictures, values, choice of the number of clusters, and a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choosing_k import scan
from ..class_names import label_names
from ..io import Image, StrPath, read_channels, read_image
from ..kernels.backend import Array, FloatArray
from ..pixels import Pixels
from ..segmentation import Segmentation, in_numpy
from ..summary import distinct_up_to
from .drawing import check_plot, new_figure, save_figure
from .views import (
    Plane,
    draw_plane,
    label_colors,
    original,
    pixels_of,
    planes_of,
    segmented,
    some_rows,
    spacing_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 13.0  # inches
_MAX_ROWS = 24  # of the table
_MAX_NAME = 8  # letters of a class's name
_BINS, _DOTS = 256, 6000
_SPIKE = 10  # times as high as the next bin: cut off, and told in figures
_INK, _FAINT, _MARK = "#18181b", "#71717a", "#c0392b"


def report(
    image: Any,
    result: Segmentation,
    path: StrPath | None = None,
    *,
    title: str | None = None,
    spacing: Sequence[float] | None = None,
    overwrite: bool = False,
) -> Figure:
    """Draw a segmentation on one sheet.

    It shows the image and its segmentation (of a volume three slices through the middle);
    of one channel the histogram with the clusters' ranges and centres, of several the
    colours in a plane; the inertia for other numbers of clusters; and a table.

    Parameters
    ----------
    image : array_like, path or Image
        The image that was segmented.
    result : Segmentation
        What `segment` returned for it.
    path : path, optional
        File to write: .png, .svg or .pdf. It is whole or absent.
    title : str, optional
        What stands above; by default the file's name.
    spacing : sequence of float, optional
        Distance of the pixels along each axis of the grid, for the shape of slices; by
        default that of the volume's file.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    matplotlib.figure.Figure
        The drawing.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError, ValueError
        If a file cannot be read or written, or it is another image.
    """
    if path is not None:
        check_plot(path, overwrite)
    if isinstance(image, (str, os.PathLike)):
        title = os.path.basename(image) if title is None else title
        image = read_image(image)
    elif isinstance(image, (list, tuple)) and image and isinstance(image[0], (str, os.PathLike)):
        image = read_channels(image)
    geometry = image.geometry if isinstance(image, Image) else None
    if spacing is None and geometry is not None:
        spacing = spacing_of(geometry, result.labels.ndim)
    result = in_numpy(result)
    pixels = pixels_of(image, result)
    planes = planes_of(pixels.grid, pixels.kept, spacing, stood_up=geometry is not None)
    colors = label_colors(result)
    pictures_height = _pictures_height(planes)
    facts_height = max(3.4, 0.235 * (min(result.n_clusters, _MAX_ROWS) + 3))
    figure = new_figure(_WIDTH, pictures_height + facts_height + 0.5)
    parts: Any = figure.subfigures(2, 1, height_ratios=[pictures_height, facts_height])
    upper, lower = parts
    figure.suptitle(
        _title(result, title, geometry is not None), x=0.012, ha="left", fontsize=13, color=_INK
    )
    _draw_pictures(upper, pixels, planes, result, colors)
    axes = lower.subplots(1, 3, width_ratios=[1.05, 0.9, 1.2])
    if result.n_channels == 1:
        _draw_histogram(axes[0], pixels, result, colors)
    else:
        _draw_colors(axes[0], pixels, result, colors)
    _draw_scree(axes[1], *_scree(image, result, pixels), result)
    _draw_table(axes[2], result, colors)
    if path is not None:
        save_figure(figure, path, overwrite=overwrite)
    return figure


def _title(result: Segmentation, title: str | None, by_axes: bool) -> str:
    sides = result.labels.shape if by_axes else result.labels.shape[::-1]
    grid = " x ".join(map(str, sides))
    words = [title] if title else []
    clusters = "1 cluster" if result.n_clusters == 1 else f"{result.n_clusters} clusters"
    words += [f"{grid} pixels", clusters, f"method {result.method}"]
    if result.color_space != "rgb":
        words.append(f"in {result.color_space}")
    return ", ".join([*words, f"inertia {result.inertia:.6g}"])


def _shares(planes: list[Plane]) -> FloatArray:
    """Width over height of the planes."""
    return np.array([plane.drawn_ratio for plane in planes])


def _pictures_height(planes: list[Plane]) -> float:
    """Height for the pictures: one row of two, or two rows of three slices."""
    if len(planes) == 1:
        return float(np.clip(_WIDTH / 2 / _shares(planes)[0] + 0.3, 2.2, 7.0))
    return 2 * float(np.clip(_WIDTH / _shares(planes).sum() + 0.3, 1.6, 4.0))


def _draw_pictures(
    figure: Any, pixels: Pixels, planes: list[Plane], result: Segmentation, colors: Array
) -> None:
    if len(planes) == 1:
        axes = np.array(figure.subplots(1, 2)).reshape(2, 1)
    else:
        axes = figure.subplots(2, 3, width_ratios=_shares(planes))
    for (above, below), plane in zip(axes.T, planes, strict=True):
        suffix = f", {plane.title}" if plane.title else ""
        draw_plane(above, original(pixels, plane), plane, f"original{suffix}")
        draw_plane(below, segmented(result, colors, plane), plane, f"clusters{suffix}")


def _draw_histogram(ax: Any, pixels: Pixels, result: Segmentation, colors: Array) -> None:
    """Draw how often values occur, in the colours of their clusters, and the centres."""
    values = pixels.values[:, 0]
    low, high = result.value_range[0].tolist()
    width = _bin_width(values, high - low)
    edges = low - width / 2 + width * np.arange(np.floor((high - low) / width + 0.5) + 2)
    label = result.labels.ravel() if pixels.kept is None else result.labels[pixels.kept]
    bottom = np.zeros(len(edges) - 1)
    for cluster, color in enumerate(colors[result.start_label :] / 255.0):
        inside = values[label == cluster + result.start_label]
        counts, _ = np.histogram(inside, len(edges) - 1, (edges[0], edges[-1]))
        ax.bar(edges[:-1], counts, width, bottom, align="edge", color=color)
        if len(inside):
            ax.axvspan(inside.min(), inside.max(), color=color, alpha=0.12, linewidth=0)
        ax.axvline(result.centers[cluster, 0], color=_INK, linestyle=":", linewidth=1)
        bottom += counts
    # Backgrounds would flatten the rest.
    ax.set_yscale("function", functions=(np.sqrt, np.square))
    ax.set(xlabel="value", ylabel="pixels (square-root scale)", xlim=(edges[0], edges[-1]))
    highest, second = np.sort(np.append(bottom, 0))[:-3:-1]
    if second > 0 and highest > _SPIKE * second:
        ax.text(
            edges[bottom.argmax()] + 2 * width, 1.2 * second, f"\u2191 {highest:,.0f}", fontsize=8
        )
        highest = 1.3 * second
    ax.set(ylim=(0, highest * 1.05))
    _finish(ax, "values of the clusters, and their centres (dotted)")


def _bin_width(values: Array, span: float) -> float:
    """Width of bins of which none is empty only because values are whole steps apart."""
    if span == 0:
        return 1.0
    steps = np.diff(np.unique(values[some_rows(len(values))]).astype(np.float64))
    if len(steps) and span <= _BINS * steps.min():
        return float(steps.min())
    width = span / min(_BINS, 2 * len(values) ** 0.5)
    return float(np.ceil(width)) if values.dtype.kind in "iu" else width


def _draw_colors(ax: Any, pixels: Pixels, result: Segmentation, colors: Array) -> None:
    """Draw pixels and centres along two channels, or along their two principal axes."""
    n, d = pixels.values.shape
    rows = some_rows(n, _DOTS)
    dots = pixels.values[rows].astype(np.float64)
    label = result.labels.ravel() if pixels.kept is None else result.labels[pixels.kept]
    middle, axes, words = np.zeros(d), np.eye(d)[:2], ["channel 0", "channel 1"]
    if d > 2:
        middle = dots.mean(axis=0)
        strengths, vectors = np.linalg.eigh((dots - middle).T @ (dots - middle))
        axes = vectors[:, :-3:-1].T
        axes = axes * np.where(axes.sum(axis=1, keepdims=True) < 0, -1, 1)  # brighter is right
        shares = 100 * strengths[::-1] / max(strengths.sum(), 1e-300)
        words = [f"principal axis {i + 1} ({shares[i]:.0f} % of the variance)" for i in (0, 1)]
    color = colors[label[rows]] / 255.0
    ax.scatter(*((dots - middle) @ axes.T).T, s=5, c=color, linewidths=0)
    x, y = ((result.centers - middle) @ axes.T).T
    fill = colors[result.start_label :] / 255.0
    ax.scatter(x, y, s=150, c=fill, edgecolors=_INK, linewidths=1.2, zorder=3)
    if result.n_clusters <= _MAX_ROWS:
        for cluster, (a, b) in enumerate(zip(x, y, strict=True)):
            ink = "white" if fill[cluster].mean() < 0.5 else _INK
            number = str(cluster + result.start_label)
            ax.text(a, b, number, color=ink, ha="center", va="center", fontsize=7, zorder=4)
    ax.set(xlabel=words[0], ylabel=words[1], facecolor="#f4f4f5")
    _finish(ax, "pixels and centres, in their clusters' colours")


def _scree(image: Any, result: Segmentation, pixels: Pixels) -> tuple[list[int], list[float]]:
    """Inertia for numbers of clusters around that of the result, by the same method."""
    k = result.n_clusters
    around = [round(k * f) for f in (0.25, 0.5, 0.75, 1, 1.25)] if k > 10 else []
    ks = sorted({*range(1, 11), *around})
    if result.tree is not None:
        ks = [other for other in ks if other <= len(result.tree.values)]
        # What prototypes leave out is the same for all.
        rest = result.inertia - float(result.tree.inertia(k))
        return ks, (result.tree.inertia(ks) + rest).tolist()
    n_distinct = distinct_up_to(pixels.values, ks[-1])
    ks = [other for other in ks if other <= n_distinct]
    found = scan(
        image, ks, method=result.method, random_state=0, mask=pixels.kept,
        channel_axis=pixels.channel_axis, color_space=result.color_space,
        standardize=result.moments is not None,
    )  # fmt: skip
    inertia = found.inertia.tolist()
    inertia[ks.index(k)] = result.inertia
    return ks, inertia


def _draw_scree(ax: Any, ks: list[int], inertia: list[float], result: Segmentation) -> None:
    """Draw the inertia against the number of clusters, the chosen one marked."""
    k = result.n_clusters
    ax.plot(ks, inertia, "o-", color="#1f4e79", markersize=4)
    ax.plot(k, result.inertia, "o", color=_MARK, markersize=9)
    ax.axvline(k, color=_MARK, linestyle="--", linewidth=1)
    ax.set(xlabel="number of clusters k", ylabel="inertia", ylim=(0, None))
    if ks[-1] <= 10:
        ax.set_xticks(ks)
    ax.grid(alpha=0.3)
    title = f"k = {k}"
    if inertia[0] > 0:
        title += f" explains {100 * (1 - result.inertia / inertia[0]):.1f} % of the variance"
    _finish(ax, title)


def _draw_table(ax: Any, result: Segmentation, colors: Array) -> None:
    """Draw a table with a row for each cluster: colour, label, centre, pixels and share."""
    n_rows = min(result.n_clusters, _MAX_ROWS)
    columns = [(0.25, "label"), (0.67, "centre"), (0.86, "pixels"), (1.0, "share")]
    step = 1 / max(n_rows + 2, 10)
    shares = result.counts / max(1, result.counts.sum())
    for row in range(n_rows + 1):
        y = 1 - (row + 0.5) * step
        if row == 0:
            words = [name for _, name in columns]
        else:
            cluster = row - 1
            color = colors[result.start_label + cluster] / 255.0
            ax.add_patch(_rectangle((0, y - 0.36 * step), 0.05, 0.72 * step, color))
            words = [
                _label_words(result, cluster),
                _center_words(result.centers[cluster]),
                f"{result.counts[cluster]:,}",
                f"{100 * shares[cluster]:.1f} %",
            ]
        for (x, _), word in zip(columns, words, strict=True):
            ink = _FAINT if row == 0 else _INK
            ax.text(x, y, word, ha="right", va="center", fontsize=8.5, color=ink)
    notes = []
    if result.n_clusters > n_rows:
        notes.append(f"and {result.n_clusters - n_rows} clusters more")
    if result.n_left_out:
        notes.append(f"left out: {result.n_left_out:,} pixels, label 0")
    ax.text(0, 1 - (n_rows + 1.6) * step, "; ".join(notes), va="center", fontsize=8.5, color=_FAINT)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis("off")


def _label_words(result: Segmentation, cluster: int) -> str:
    label = cluster + result.start_label
    name = label_names(result.names, result.start_label).get(label, "")
    return f"{name[:_MAX_NAME]} {label}".strip()


def _center_words(center: FloatArray) -> str:
    words = " ".join(f"{value:.{5 if 1e4 <= abs(value) < 1e5 else 4}g}" for value in center[:3])
    return words + " ..." if len(center) > 3 else words


def _rectangle(corner: tuple[float, float], width: float, height: float, color: Array) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, facecolor=color, edgecolor="#a1a1aa", linewidth=0.6)


def _finish(ax: Any, title: str) -> None:
    ax.set_title(title, fontsize=10, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
