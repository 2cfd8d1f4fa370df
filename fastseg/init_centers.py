"""Starting centres for Lloyd's iterations.

All draws are made on the host from one generator, in scikit-learn's order and
number, so that a seed gives the same start on every backend, and the start
that scikit-learn draws from the same data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .kernels.backend import Array, Drawable, FloatArray
from .progress import Progress

Generator = np.random.RandomState | np.random.Generator


class Rows(Protocol):
    """Points that are elsewhere: their number, and those of some rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Array: ...


@dataclass(frozen=True)
class Draws:
    """Points that starts are drawn from, and where they are computed on.

    ``values`` are on the host, or give the rows that are asked for.
    """

    values: Array | Rows
    weights: FloatArray | None
    points: Drawable


def check_random_state(seed: Any) -> Generator:
    """Generator from None, an integer, a RandomState or a Generator, as in scikit-learn."""
    if seed is None:
        return np.random.mtrand._rand
    if isinstance(seed, (np.random.RandomState, np.random.Generator)):
        return seed
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if not 0 <= seed < 2**32:
            raise ValueError(f"random_state must be in 0..2**32 - 1, got {seed}")
        return np.random.RandomState(int(seed))
    raise ValueError(f"random_state must be None, an int or a generator, got {seed!r}")


def kmeans_plusplus(
    points: Drawable,
    values: Array | Rows,
    weights: FloatArray | None,
    n_clusters: int,
    random_state: Generator,
    progress: Progress,
) -> FloatArray:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007), with scikit-learn's number of trials.

    Each further centre is the best of 2 + ln(k) candidates, drawn with probability
    proportional to weight times squared distance to the centres so far.
    """
    n_trials = 2 + int(math.log(n_clusters))
    centers = np.empty((n_clusters, points.n_features))
    centers[0] = values[_draw_one(len(values), weights, random_state)]
    sampler = points.sampler()
    potential = sampler.add(centers[0], progress.heartbeat("init", 1, n_clusters))
    for c in range(1, n_clusters):
        tick = progress.heartbeat("init", c, n_clusters)
        candidates = sampler.draw(random_state.uniform(size=n_trials) * potential)
        candidates = candidates.astype(np.float64)
        centers[c] = candidates[np.argmin(sampler.potentials(candidates, tick))]
        potential = sampler.add(centers[c], tick)
        if c + 1 < n_clusters:
            progress.report("init", c + 1, n_clusters)
    return centers


def random_points(
    values: Array | Rows, weights: FloatArray | None, n_clusters: int, random_state: Generator
) -> FloatArray:
    """Centres at points drawn without replacement, with probability proportional to weight."""
    n_possible = len(values) if weights is None else np.count_nonzero(weights)
    if n_possible < n_clusters:
        raise ValueError(
            f"init='random' draws n_clusters={n_clusters} points, but only {n_possible} have a"
            " weight above zero; ask for fewer clusters"
        )
    if isinstance(random_state, np.random.RandomState):
        rows = _draw_distinct(len(values), weights, n_clusters, random_state)
    else:
        p = None if weights is None else weights / weights.sum()
        rows = random_state.choice(len(values), size=n_clusters, replace=False, p=p)
    return values[rows].astype(np.float64)


def _draw_distinct(
    n: int, weights: FloatArray | None, size: int, random_state: np.random.RandomState
) -> Array:
    """What ``random_state.choice(n, size, replace=False, p=p)`` draws, in a third of its memory."""
    rows = np.empty(0, np.intp)
    while len(rows) < size:
        ends = np.full(n, 1.0 / n) if weights is None else weights / weights.sum()
        ends[rows] = 0.0
        np.cumsum(ends, out=ends)
        ends /= ends[-1]
        drawn = np.searchsorted(ends, random_state.random_sample(size - len(rows)), side="right")
        _, first = np.unique(drawn, return_index=True)
        rows = np.concatenate([rows, drawn[np.sort(first)]])
    return rows


def _draw_one(n: int, weights: FloatArray | None, random_state: Generator) -> int:
    threshold = random_state.random()
    if weights is None:
        return min(int(threshold * n), n - 1)
    ends = np.cumsum(weights / weights.sum())
    ends /= ends[-1]
    return int(np.searchsorted(ends, threshold, side="right"))
