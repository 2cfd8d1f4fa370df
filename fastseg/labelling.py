"""From fitted centres to the labels of pixels, and to how far pixels are from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels.backend import Array, Backend, Counter, FloatArray, Points, Tick
from .pixels import Pixels
from .progress import Progress
from .resident import empty_beside
from .summary import count_pixels, spread

# Pixels whose distances are computed at once.
_BLOCK = 2**18
# Labels (n,) of the n pixels that take part.
LabelsOf = Callable[[Pixels], Array]


@dataclass(frozen=True)
class Labelled:
    """Labels of an image, and how they were made.

    ``start_label`` is the label of the first cluster; ``foreground`` the smallest value
    of the foreground, where one was asked for; ``match`` how the values were fitted to
    those of the model's image; ``distances`` those of the pixels to their centres.
    """

    labels: Any
    start_label: int
    backend: str
    reason: str
    foreground: float | None = None
    match: str | None = None
    distances: Any = None


def choose_start_label(start_label: Any, may_leave_out: bool, n_left_out: int) -> int:
    """First cluster's label: as asked, else 1 where pixels can be left out, else 0."""
    if start_label is None:
        return int(may_leave_out)
    if not isinstance(start_label, (int, np.integer)) or isinstance(start_label, bool):
        raise TypeError(f"start_label must be 0, 1 or None, got {start_label!r}")
    if start_label not in (0, 1):
        raise ValueError(f"start_label must be 0, 1 or None, got {start_label!r}")
    if start_label == 0 and n_left_out:
        raise ValueError(
            f"start_label=0 cannot be used: {n_left_out} pixels are left out, and their label is 0;"
            " use start_label=1"
        )
    return int(start_label)


def label_values(
    points: Points,
    centers: FloatArray,
    first_label: int,
    tick: Tick | None = None,
    *,
    beside: Any = None,
) -> Any:
    """Labels of points in the smallest type that kernels write, where ``beside`` is."""
    dtype = label_type(first_label + len(centers) - 1)
    labels = empty_beside(beside, (points.n_points,), dtype)
    return points.assign(centers, labels=labels, first_label=first_label, tick=tick)


def label_type(last: int) -> Any:
    """Smallest type that kernels write and that holds labels up to ``last``."""
    return np.uint8 if last < 2**8 else np.uint16 if last < 2**16 else np.int32


def stored_type(last: int) -> np.dtype[Any]:
    """Type of labels up to ``last`` for others to read: never negative, so never signed."""
    return np.dtype(np.uint32 if last >= 2**16 else label_type(last))


def label_pixels(
    pixels: Pixels,
    values: Array,
    counter: Counter | None,
    table: Array | None,
    centers: FloatArray,
    first_label: int,
    *,
    forward: Callable[[Array], Array],
    backend: Backend,
    n_threads: int | None,
    progress: Progress,
) -> Any:
    """Labels of the pixels (n,), where they are, in the smallest unsigned type.

    Those of the ``values`` that were counted, ``table``, are looked up where there are
    any; else each pixel gets its nearest centre, where ``forward`` takes it to them.
    """
    tick = progress.tick("labels")
    if table is None:
        points = backend.put(forward(pixels.values), n_threads=n_threads)
        labels = label_values(points, centers, first_label, tick, beside=pixels.values)
    else:
        labels = spread(pixels.values, values, counter, table, tick)
    return labels.view(np.uint32) if labels.dtype == np.int32 else labels


def by_table(counter: Counter, table: Array) -> LabelsOf:
    """Labels by the table of what was counted."""

    def labels_of(pixels: Pixels) -> Array:
        labels = np.empty(len(pixels.values), table.dtype)
        counter.look_up(pixels.values, table, labels)
        return labels

    return labels_of


def by_distance(
    centers: FloatArray,
    first_label: int,
    forward: Callable[[Array], Array],
    backend: Backend,
    n_threads: int,
    *,
    distinct_first: bool,
) -> LabelsOf:
    """Labels of the nearest centres, to which ``forward`` takes values in image units.

    ``distinct_first`` is for a ``forward`` that takes longer than counting.
    """

    def labels_of(pixels: Pixels) -> Array:
        def there(stored: Array) -> Array:
            return forward(pixels.in_units(stored))

        how: dict[str, Any] = {"n_threads": n_threads, "progress": Progress()}
        values, counter, table = pixels.values, None, None
        if distinct_first:
            values, _, counter = count_pixels(pixels.values, backend, **how)
            if counter is not None:
                points = backend.put(there(values), n_threads=n_threads)
                table = label_values(points, centers, first_label)
        labels: Array = label_pixels(
            pixels, values, counter, table, centers, first_label, forward=there, backend=backend,
            **how,
        )  # fmt: skip
        return labels

    return labels_of


def pixel_distances(
    pixels: Pixels,
    labels: Array,
    centers: FloatArray,
    first_label: int,
    *,
    forward: Callable[[Array], Array],
    progress: Progress,
) -> Array:
    """Distances (n,) float32 of pixels to the centres of their labels."""
    n = len(pixels.values)
    tick = progress.tick("distances")
    distances = np.empty(n, np.float32)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(start + _BLOCK, n))
        away = forward(pixels.values[block]) - centers[labels[block] - np.intp(first_label)]
        distances[block] = np.sqrt((away**2).sum(axis=1))
        if tick is not None:
            tick(block.stop, n)
    return distances
