"""Pixels as distinct values and their counts: the same k-means for less work.

k-means on the distinct values weighted by their counts is k-means on the pixels:
the sums are the same numbers, only added in another order, and sums of integers
are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .kernels.backend import Array, Backend, Counter, FloatArray, Tick
from .progress import Progress
from .resident import empty_beside, put_beside

# Pixels between two looks at whether counting them pays.
_PIECE = 2**18


@dataclass(frozen=True)
class Summary:
    """Distinct values (m, d) in ascending order, and how often each occurs (m,) int64.

    ``counter`` finds the place of a pixel's value among them.
    """

    values: Array
    counts: Array
    counter: Counter | None = field(default=None, repr=False, compare=False)

    def merge(self, other: Summary) -> Summary:
        """Summary of both sets of pixels together; any order and any split give the same."""
        values = np.concatenate([self.values, other.values])
        counts = np.concatenate([self.counts, other.counts])
        order = np.lexsort(values.T[::-1])
        values, counts = values[order], counts[order]
        first = np.ones(len(values), bool)
        first[1:] = (values[1:] != values[:-1]).any(axis=1)
        return Summary(values[first], np.add.reduceat(counts, np.flatnonzero(first)))


def summarize(
    pixels: Array,
    backend: Backend,
    *,
    n_threads: int | None = None,
    tick: Tick | None = None,
) -> Summary | None:
    """Count the distinct values of pixels (n, d), or None where that does not pay.

    One channel is always counted, if need be without a counter to look labels up.
    """
    counter = backend.counter(pixels.dtype, pixels.shape[1], n_threads=n_threads)
    n = len(pixels)
    for start in range(0, n, _PIECE if counter.may_give_up else n):
        piece = pixels[start : start + _PIECE] if counter.may_give_up else pixels
        told = None if tick is None else _shifted(tick, start, n)
        counter.add(piece, told, again=piece is pixels)
        if counter.full:
            break
    # Asked at the end alone, so that the order of the pixels does not decide.
    if counter.full or not counter.pays:
        return _sorted(pixels) if pixels.shape[1] == 1 else None
    return Summary(*counter.distinct(), counter)


def _sorted(pixels: Array) -> Summary:
    """Summary of one channel that hardly repeats: in order it is quick to cluster all the same."""
    values = np.sort(pixels[:, 0])
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    counts = np.diff(np.append(first, len(values)))
    return Summary(values[first][:, None], counts)


def count_pixels(
    pixels: Array, backend: Backend, *, n_threads: int | None, progress: Progress
) -> tuple[Array, FloatArray | None, Counter | None]:
    """Stage "count": the values to cluster, how often each occurs, and what looks them up.

    Where counting does not pay the values are the pixels, and None stands for the rest.
    """
    n = len(pixels)
    progress.report("count", 0, n)
    summary = summarize(pixels, backend, n_threads=n_threads, tick=progress.tick("count"))
    progress.report("count", n, n)
    if summary is None:
        return pixels, None, None
    return summary.values, summary.counts.astype(np.float64), summary.counter


def _shifted(tick: Tick, start: int, n: int) -> Tick:
    return lambda done, total: tick(start + done, n)


def spread(
    pixels: Any, values: Any, counter: Counter | None, table: Array, tick: Tick | None
) -> Any:
    """Labels of pixels (n, d), where those are, from the ``table`` of the values' labels."""
    if values is pixels:
        return table
    if counter is not None:
        labels = empty_beside(pixels, (len(pixels),), table.dtype)
        counter.look_up(pixels, table, labels, tick)
        return labels
    labels = np.empty(len(pixels), table.dtype)
    for start in range(0, len(pixels), _PIECE):
        piece = slice(start, start + _PIECE)
        labels[piece] = table[np.searchsorted(values[:, 0], pixels[piece, 0])]
        if tick is not None:
            tick(min(start + _PIECE, len(pixels)), len(pixels))
    return put_beside(pixels, labels)


def distinct_up_to(pixels: Array, limit: int) -> int:
    """Number of distinct pixels, counted no further than ``limit``."""
    found = pixels[:0]
    size = max(64, 4 * limit)
    start = 0
    while start < len(pixels) and len(found) < limit:
        found = np.unique(np.concatenate([found, pixels[start : start + size]]), axis=0)
        start += size
        size = min(2 * size, _PIECE)
    return min(len(found), limit)


def count_distinct(values: Array, weights: FloatArray | None, limit: int) -> int:
    """Number of distinct values; of pixels without counts no further than ``limit``."""
    return distinct_up_to(values, limit) if weights is None else len(values)


def check_distinct(values: Array, weights: FloatArray | None, n_clusters: int) -> None:
    """Raise ValueError if there are more clusters than distinct values."""
    n_distinct = count_distinct(values, weights, n_clusters)
    if n_clusters > n_distinct:
        raise ValueError(
            f"n_clusters={n_clusters} is more than the image's {n_distinct} distinct pixels;"
            f" ask for at most {n_distinct}"
        )
