"""Drawing Ward's tree, cut at the clusters of a segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io import StrPath
from ..kernels.backend import Array, FloatArray
from ..methods import mean_values
from ..segmentation import Segmentation
from ..ward import WardTree
from .drawing import check_plot, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIN_TIPS, _TIPS_PER_CLUSTER = 48, 4
_ABOVE = "#71717a"
_MAX_NUMBERED = 24


def dendrogram(
    result: Segmentation, path: StrPath | None = None, *, overwrite: bool = False
) -> Figure:
    """Draw the tree of a segmentation by ``method="ward"``, cut at its clusters.

    Of a large tree the upper part is drawn, some branches in each cluster. Darker
    clusters are on the left; below are their mean colours and shares of the pixels.

    Parameters
    ----------
    result : Segmentation
        What `segment` returned with ``method="ward"``.
    path : path, optional
        File to write: .png, .svg or .pdf. It is whole or absent.
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
        If the file cannot be written, or the result has no tree.
    """
    tree = result.tree
    if tree is None:
        raise ValueError(
            f"a dendrogram needs a tree, which method={result.method!r} does not make; use"
            " method='ward' (--method ward)"
        )
    if path is not None:
        check_plot(path, overwrite)
    figure = new_figure(9, 5.4)
    axes = figure.subplots(2, height_ratios=[10, 1], sharex=True)
    _draw(axes, tree, result)
    if path is not None:
        save_figure(figure, path, overwrite=overwrite)
    return figure


def _draw(axes: Any, tree: WardTree, result: Segmentation) -> None:
    from matplotlib.collections import LineCollection

    k, m = result.n_clusters, len(tree.values)
    n_tips = min(m, max(_MIN_TIPS, _TIPS_PER_CLUSTER * k))
    tips, label = _tips(tree, result, n_tips)
    place = {tip: float(x) for x, tip in enumerate(tips)}
    height = dict.fromkeys(tips, 0.0)
    lines, colors = [], []
    for step, (i, j) in _merges(tree, m - n_tips):
        top = float(tree.linkage[step, 2])
        left, right = place[i], place[j]
        lines.append([(left, height[i]), (left, top), (right, top), (right, height[j])])
        colors.append(_ABOVE if step >= m - k else f"C{label[i] % 10}")
        place[m + step], height[m + step], label[m + step] = (left + right) / 2, top, label[i]
    upper, below = axes
    upper.add_collection(LineCollection(lines, colors=colors, linewidths=1.2))
    top = tree.linkage[-1, 2] if m > 1 else 1.0
    upper.set(xlim=(-0.5, n_tips - 0.5), ylim=(0, 1.05 * top), ylabel="height")
    if 1 < k < m:
        cut = tree.linkage[m - k - 1 : m - k + 1, 2].mean()
        upper.axhline(cut, color="#c0392b", linestyle="--", linewidth=1)
    what = "values" if tree.values.shape[1] == 1 else "colours"
    more = "" if n_tips == m else f", its upper {n_tips} branches"
    upper.set_title(f"Ward's tree of {m:,} {what}{more}, cut at k = {k}", fontsize=11)
    upper.spines[["top", "right", "bottom"]].set_visible(False)
    upper.tick_params(bottom=False, labelbottom=False)
    _draw_clusters(below, np.array([label[tip] for tip in tips]), result)


def _draw_clusters(ax: Any, tips: Array, result: Segmentation) -> None:
    """Draw each cluster's mean colour below its tips, and its share of the pixels."""
    shares = result.counts / result.counts.sum()
    colors = result.palette(0) / 255.0
    for cluster in range(result.n_clusters):
        (here,) = np.nonzero(tips == cluster)
        left, width = here[0] - 0.5, len(here)
        ax.bar(left, 1, width, align="edge", color=colors[cluster], edgecolor="#a1a1aa")
        ax.bar(left, 0.3, width, bottom=1.1, align="edge", color=f"C{cluster % 10}")
        label = str(cluster + result.start_label)
        if width >= len(tips) / 14:
            label += f"\n{100 * shares[cluster]:.1f} %"
        if result.n_clusters <= _MAX_NUMBERED:
            ax.text(left + width / 2, -0.15, label, ha="center", va="top", fontsize=8)
    ax.set(ylim=(-1.2, 1.5))
    ax.axis("off")


def _merges(tree: WardTree, first: int) -> Iterator[tuple[int, tuple[int, int]]]:
    pairs = tree.linkage[first:, :2].astype(int).tolist()
    yield from enumerate(pairs, first)


def _tips(tree: WardTree, result: Segmentation, n_tips: int) -> tuple[list[int], dict[int, int]]:
    """Nodes at the tips from left to right, and the cluster each of them is part of."""
    m, k = len(tree.values), result.n_clusters
    cluster = tree.cut(k)
    distances = _means(tree, cluster, k)[:, None] - result.space_centers
    label = (distances**2).sum(axis=2).argmin(axis=1)[cluster]
    nodes, first, number = np.unique(tree.nodes(n_tips), return_index=True, return_inverse=True)
    brightness = _means(tree, number, n_tips).mean(axis=1)
    # No branches cross: the darker of two is on the left, by the darkest of its tips.
    darkest = dict(zip(nodes.tolist(), brightness.tolist(), strict=True))
    parts = {}
    for step, (i, j) in _merges(tree, m - n_tips):
        parts[m + step] = sorted((i, j), key=darkest.__getitem__, reverse=True)
        darkest[m + step] = min(darkest[i], darkest[j])
    tips, stack = [], [2 * m - 2]
    while stack:
        node = stack.pop()
        if node in parts:
            stack += parts[node]
        else:
            tips.append(node)
    return tips, dict(zip(nodes.tolist(), label[first].tolist(), strict=True))


def _means(tree: WardTree, groups: Array, n_groups: int) -> FloatArray:
    return mean_values(tree.values, tree.counts.astype(np.float64), groups, n_groups)
