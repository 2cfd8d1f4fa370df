"""How good a clustering is, and where a curve has its knee."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .kernels.backend import Array, FloatArray, Partials, Tick

_BLOCK = 2**13  # rows measured at once, whose distances stay in the cache
_PIECE = 2**20  # labels compared at once


def simplified_silhouette(
    values: Array, weights: FloatArray | None, centers: FloatArray, tick: Tick | None = None
) -> float:
    """Weighted mean of 1 - a / b, the distances to the nearest and the next centre.

    Hruschka et al. 2004; a point on both counts 0. NaN for a single centre.
    """
    if len(centers) < 2:
        return math.nan
    sums = []
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK].T.astype(np.float64, order="C")
        a, b = np.full((2, block.shape[1]), np.inf)
        for center in centers:
            distances = np.zeros(block.shape[1])
            for channel, c in zip(block, center, strict=True):
                distances += (channel - c) ** 2
            np.minimum(b, np.maximum(a, distances), out=b)
            np.minimum(a, distances, out=a)
        shares = 1.0 - np.sqrt(np.divide(a, b, out=np.ones_like(a), where=b > 0))
        if weights is not None:
            shares *= weights[start : start + _BLOCK]
        sums.append(float(shares.sum()))
        if tick is not None:
            tick(min(start + _BLOCK, len(values)), len(values))
    return math.fsum(sums) / (len(values) if weights is None else float(weights.sum()))


def calinski_harabasz(partials: Partials, centers: FloatArray, total: float) -> float:
    """Index of Caliński and Harabasz 1974 of an assignment to centres.

    ``total`` is the sum of squares about the mean. NaN for a single cluster, and
    infinite where nothing is left within the clusters.
    """
    filled = partials.weights > 0
    weights = partials.weights[filled]
    k, n = len(weights), float(weights.sum())
    if k < 2:
        return math.nan
    # Centres of a run that met its tolerance are not quite the means of their clusters.
    shifts = partials.sums[filled] / weights[:, None] - centers[filled]
    within = max(0.0, partials.inertia - float((weights * (shifts**2).sum(axis=1)).sum()))
    if within == 0:
        return math.inf
    return (total - within) / (k - 1) * (n - k) / within


def knee(ks: Sequence[int], inertia: Sequence[float], sensitivity: float = 1.0) -> int | None:
    """k at the knee of a falling convex curve by Kneedle (Satopää et al. 2011), or None.

    With both axes scaled to 0..1, the knee is where the curve lies farthest below the
    line from its start to its end, if that distance then falls by ``sensitivity``
    times the mean step of k before it rises to another maximum. Of several knees the
    farthest is taken, of equal ones the first. With the usual sensitivity of 1 three
    numbers in equal steps show no knee, and four only a sharp one.
    """
    x, y = np.asarray(ks, np.float64), np.asarray(inertia, np.float64)
    if len(x) < 3 or not y.max() > y.min():
        return None
    x = (x - x[0]) / (x[-1] - x[0])
    distance = 1.0 - (y - y.min()) / (y.max() - y.min()) - x
    before, here, after = distance[:-2], distance[1:-1], distance[2:]
    peaks = (np.flatnonzero((here >= before) & (here > after)) + 1).tolist()
    found = []
    for peak, end in zip(peaks, [*peaks, len(x)][1:], strict=True):
        threshold = distance[peak] - sensitivity / (len(x) - 1)
        if (distance[peak:end] < threshold).any():
            found.append(peak)
    return ks[max(found, key=lambda i: distance[i])] if found else None


def adjusted_rand(a: Array, b: Array) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985) of two labellings (n,) from 0 on."""
    n_columns = int(b.max()) + 1
    cells = np.zeros((int(a.max()) + 1) * n_columns, np.int64)
    for start in range(0, len(a), _PIECE):
        piece = slice(start, start + _PIECE)
        cells += np.bincount(a[piece].astype(np.int64) * n_columns + b[piece], minlength=cells.size)
    table = cells.reshape(-1, n_columns)
    both, left, right = (
        sum(n * (n - 1) // 2 for n in counts.ravel().tolist())
        for counts in (table, table.sum(axis=1), table.sum(axis=0))
    )
    expected = left * right / max(1, len(a) * (len(a) - 1) // 2)
    most = (left + right) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)
