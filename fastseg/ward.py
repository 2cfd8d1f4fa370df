"""Ward's tree of weighted values: every number of clusters, each made of the next by one merge."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import frexp, ldexp
from typing import Any

import numpy as np

from .color import luminance_weights
from .kernels.backend import Array, FloatArray
from .progress import Progress
from .summary import distinct_up_to

# Values of several channels whose tree is built: its time grows with the square.
MAX_VALUES = 20_000
_SAMPLE = 1000  # values looked at first


@dataclass(frozen=True, eq=False)
class WardTree:
    """Ward's tree over distinct values, or over the prototypes that stand for them.

    Attributes
    ----------
    values : ndarray of shape (m, n_channels), float64
        The leaves in ascending order, or the prototypes, in the space of the distances.
    counts : ndarray of shape (m,), int64
        Pixels of each leaf.
    linkage : ndarray of shape (m - 1, 4), float64
        Merges as `scipy.cluster.hierarchy` takes them: the two nodes (i is a leaf and
        m + i the i-th merge), the height, and the number of leaves below, which is not
        the number of their pixels. Heights are those of SciPy's "ward" and R's "ward.D2"
        on all the pixels: a merge adds height**2 / 2 to the inertia.
    """

    values: FloatArray
    counts: Array
    linkage: FloatArray

    def nodes(self, n_clusters: int) -> Array:
        """Node (m,) int64 of the tree that each leaf is part of when so many are left."""
        m = len(self.values)
        if not 1 <= n_clusters <= m:
            raise ValueError(f"n_clusters must be in 1..{m}, the leaves, got {n_clusters}")
        above = np.arange(2 * m - n_clusters)
        above[self.linkage[: m - n_clusters, :2].astype(np.int64)] = above[m:, None]
        while (above != above[above]).any():
            above = above[above]
        return above[:m]

    def cut(self, n_clusters: int) -> Array:
        """Cluster (m,) int64 of each leaf when so many are left, numbered by their first leaves."""
        _, first, cluster = np.unique(
            self.nodes(n_clusters), return_index=True, return_inverse=True
        )
        number = np.empty(n_clusters, np.int64)
        number[np.argsort(first)] = np.arange(n_clusters)
        return number[cluster]

    def inertia(self, n_clusters: Any) -> FloatArray:
        """Inertia of the leaves cut into numbers of clusters, of the shape of these."""
        ks, m = np.asarray(n_clusters), len(self.values)
        if ks.size and not (ks.min() >= 1 and ks.max() <= m):
            raise ValueError(f"n_clusters must be in 1..{m}, the leaves, got {n_clusters}")
        added = np.concatenate([[0.0], np.cumsum(self.linkage[:, 2] ** 2 / 2)])
        found: FloatArray = added[m - ks]
        return found


def ward_tree(values: Any, counts: Any, *, progress: Progress | None = None) -> WardTree:
    """Build Ward's tree of distinct values with their counts.

    It is the tree of all the pixels from where equal ones are merged, which costs nothing.

    Parameters
    ----------
    values : ndarray of shape (m, n_channels)
        Distinct values in ascending order, finite; at least one.
    counts : ndarray of shape (m,)
        How often each occurs; positive whole numbers.
    progress : Progress, optional
        Told of stage "tree" and the merges done.

    Returns
    -------
    WardTree
        The tree, cut by its method ``cut``.

    Raises
    ------
    ValueError
        If there are more than 20,000 values of several channels.
    Stopped
        If the callback of ``progress`` returned True.

    Notes
    -----
    One channel takes O(m log m) steps. Several take O(m**2). Memory is some 200 bytes a
    value and 30 for each further channel: distances are computed from the clusters' means
    and weights when they are asked for.

    Ties are decided exactly. Integers, decimal fractions (as text files hold) and floats
    in equal steps but for rounding (an integer image divided by 255, or scaled) are taken
    as the whole numbers they stand for; the costs of merges are compared in
    double-double arithmetic to 24 digits. Of tied pairs
    the brighter goes first: the one whose brighter cluster has the higher luminance (of
    one channel: value), of equal ones the higher channel values, then the one whose
    darker cluster has.

    References
    ----------
    J. H. Ward, "Hierarchical grouping to optimize an objective function", Journal of the
    American Statistical Association 58, 1963.
    F. Murtagh, "A survey of recent advances in hierarchical clustering algorithms", The
    Computer Journal 26, 1983.
    F. Murtagh, P. Legendre, "Ward's hierarchical agglomerative clustering method: which
    algorithms implement Ward's criterion?", Journal of Classification 31, 2014.
    """
    from .kernels.cpu.tree import leaves_below

    values, counts = np.asarray(values), np.asarray(counts)
    m, d = values.shape
    if d > 1:
        check_number(m)
    leaves = values.astype(np.float64)
    if m == 1:
        return WardTree(leaves, counts.astype(np.int64), np.empty((0, 4)))
    whole, unit = _as_whole(values)
    # A power of two, which loses nothing, keeps squares from over- and underflow.
    scale = ldexp(1.0, -frexp(float(np.abs(whole).max()))[1])
    tick = None if progress is None else progress.tick("tree")
    merged, heights = _merges(whole * scale, counts.astype(np.float64), tick)
    linkage = np.empty((m - 1, 4))
    linkage[:, :2] = merged
    # Rounding can part tied costs.
    linkage[:, 2] = np.maximum.accumulate(np.sqrt(2.0 * heights)) / scale * unit
    linkage[:, 3] = leaves_below(merged)
    return WardTree(leaves, counts.astype(np.int64), linkage)


def check_number(n_values: int, *, more: bool = False) -> None:
    """Refuse values of several channels of which there are too many; ``more`` if not all count."""
    if n_values > MAX_VALUES:
        n_pairs = n_values * (n_values - 1) // 2
        least = "at least " if more else ""
        raise ValueError(
            f"method='ward' needs the distances between {least}{n_values:,} distinct colours,"
            f" {n_pairs:,} of them, and takes up to {MAX_VALUES:,} colours; use prototypes=1024"
            " (--prototypes 1024): k-means to so many colours, and Ward's tree of those"
        )


def distinct_values(values: Array, weights: FloatArray | None) -> tuple[Array, Array, Array]:
    """Leaves for a tree: the distinct values, their counts, and of each value which it is.

    Raises
    ------
    ValueError
        If there are too many for a tree.
    """
    several = values.shape[1] > 1
    if weights is not None:
        if several:
            check_number(len(values))
        return values, weights, np.arange(len(values))
    if several:
        found = distinct_up_to(values, MAX_VALUES + 1)
        check_number(found, more=found < len(values))
    leaves, place, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    return leaves, counts, place.reshape(-1)


def _merges(values: FloatArray, weights: FloatArray, tick: Any) -> tuple[Array, FloatArray]:
    """Nodes of the merges in order, and their costs."""
    from .kernels.cpu.tree import tree_1d, tree_nd

    if values.shape[1] == 1:
        merged, heights = tree_1d(values[:, 0], weights, tick)
        return merged, heights[0]
    merged, heights = tree_nd(values, weights, luminance_weights(values.shape[1]), tick)
    order = _brighter_first(merged, heights)
    m = len(values)
    node = np.arange(2 * m - 1)
    node[m + order] = m + np.arange(m - 1)
    return np.sort(node[merged[order]], axis=1), heights[0, order]


def _brighter_first(merged: Array, heights: FloatArray) -> Array:
    """Order of the merges: ascending cost, of tied ones the brighter, none before its parts."""
    from .kernels.cpu.ward import TIE

    high, low, *ties = heights
    by_cost = np.lexsort([low, high])
    steps = np.diff(high[by_cost]) + np.diff(low[by_cost])
    level = np.empty(len(high), np.int64)
    level[by_cost] = np.concatenate([[0], np.cumsum(steps > TIE * high[by_cost][1:])])
    rank = np.empty(len(high), np.int64)
    rank[np.lexsort([*(-key for key in reversed(ties)), level])] = np.arange(len(high))
    # Rounded luminances can put a merge before one that it needs.
    m = len(high) + 1
    parts = (merged >= m).sum(axis=1).tolist()
    above = np.zeros(2 * m - 1, np.int64)
    above[merged] = np.arange(m - 1)[:, None]
    ready = [(int(rank[i]), i) for i in range(m - 1) if not parts[i]]
    heapq.heapify(ready)
    order = []
    while ready:
        _, i = heapq.heappop(ready)
        order.append(i)
        parent = int(above[m + i])
        parts[parent] -= 1
        if len(order) + len(ready) < m - 1 and not parts[parent]:
            heapq.heappush(ready, (int(rank[parent]), parent))
    return np.array(order)


def _as_whole(values: Array) -> tuple[FloatArray, float]:
    """Whole numbers (m, d) whose differences are those of the values in a unit, and the unit.

    The values and 1 if there are none.
    """
    if values.dtype.kind != "f":
        return values.astype(np.float64), 1.0
    some = values[:: len(values) // _SAMPLE + 1]
    # Decimals of so many digits are told apart by the type; of more, any value would be one.
    digits = np.finfo(values.dtype).precision
    for power in range(digits + 1):
        if _decimals(some, power, digits) is not None:
            whole = _decimals(values, power, digits)
            if whole is not None:
                return whole, 10.0**-power
    return _in_steps(values)


def _decimals(values: Array, power: int, digits: int) -> FloatArray | None:
    """Values times a power of ten where these are whole numbers that read as them, or None."""
    whole = np.rint(values.astype(np.float64) * 10.0**power)
    if np.abs(whole).max() >= 10.0**digits:
        return None
    return whole if ((whole / 10.0**power).astype(values.dtype) == values).all() else None


def _in_steps(values: Array) -> tuple[FloatArray, float]:
    """As `_as_whole` of values in equal steps but for rounding, by Euclid's algorithm."""
    numbers = values.astype(np.float64)
    ascending = np.sort(numbers, axis=0)
    gaps = np.diff(ascending, axis=0)
    steps = np.unique(gaps)
    rounding = 2.0 * float(np.finfo(values.dtype).eps * np.abs(numbers).max())
    # Below this, whatever the values are they would be such multiples.
    least = max(16 * rounding, 1e-300)
    steps = steps[steps > 0]
    unit = float(steps.min())
    while unit > least:
        times = np.rint(steps / unit)
        rest = np.abs(steps - times * unit)
        if (rest <= rounding * (times + 1)).all():
            # From end to end, since a single step has lost most digits.
            unit = float(gaps.sum() / np.rint(gaps / unit).sum())
            whole = np.rint((numbers - ascending[0]) / unit)
            centered = whole - whole.mean(axis=0)
            unit = float((centered * numbers).sum() / (centered**2).sum())
            if (np.abs(ascending[0] + whole * unit - numbers) <= 2 * rounding).all():
                return whole, unit
            break
        unit = float(rest[rest > rounding * (times + 1)].min())
    return numbers, 1.0
