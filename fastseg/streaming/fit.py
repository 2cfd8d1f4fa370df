"""Clusters of images that are read region by region: of their counts, in passes, or of a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import check_magnitude
from ..color import ColorSpace
from ..fitting import Fitted, Task, fit_clusters
from ..fitting_in_parts import Known, draw_from_sample, fit_in_parts
from ..foreground import check_counted, foreground_of
from ..io.threads import Threads
from ..kernels.backend import Array, Backend, Counter, FloatArray
from ..memory import MEBIBYTE, VALUE_BYTES
from ..progress import Clock, Progress
from ..summary import count_pixels
from .counting import Counted, StreamedPoints, count_stream, sample_stream
from .reading import Reading

# Labels that a table of distinct values gives, by its counter and the first cluster's label.
TableOf = Callable[[int], Array]


@dataclass(frozen=True)
class StreamFit:
    """Clusters, and how the pixels of the images get their labels.

    With a ``counter``, ``table`` makes the labels of what it counted; without, a pixel
    gets its nearest centre. ``n_passes`` counts the readings of the images so far.
    """

    fitted: Fitted
    counter: Counter | None
    table: TableOf | None
    n_left_out: int
    n_passes: int
    n_sampled: int | None = None
    foreground: float | None = None


def fit_stream(
    task: Task,
    reading: Reading,
    threads: Threads,
    *,
    backend: Backend,
    sample: int | None,
    foreground: Any,
    progress: Progress,
    clock: Clock,
) -> StreamFit:
    """Find clusters of all images of a reading."""
    how: dict[str, Any] = {"backend": backend, "n_threads": reading.n_threads}
    if sample is not None:
        n = min(sample, reading.n_pixels)
        # While it is drawn twice as many pixels are held, each with a random number.
        each = _bytes_each(task, reading) + 2 * (8 + reading.n_channels * reading.dtype.itemsize)
        _check_room(f"sample={sample}: {n:,} pixels are drawn", n, each, reading, "draw fewer")
        generator = _generator(task)
        drawn = sample_stream(reading, threads, sample, generator, progress)
        _check_kept(drawn, reading)
        clock.stop("sample")
        return _of_sample(task, drawn, reading, foreground, how, progress, clock)
    counted = count_stream(reading, threads, backend, progress)
    _check_kept(counted, reading)
    clock.stop("count")
    if counted.weights is not None:
        return _of_counts(task, counted, reading, foreground, how, progress, clock)
    check_counted(foreground, False)
    fitted, n_passes = _in_passes(task, counted, reading, threads, backend, progress, clock)
    return StreamFit(fitted, None, None, counted.n_left_out, 1 + n_passes)


def _generator(task: Task) -> np.random.Generator:
    """Source of the draws of a sample, which follows from the seed that was given."""
    source = task.generator
    seed = (
        source.integers(2**32)
        if isinstance(source, np.random.Generator)
        else source.randint(2**32, dtype=np.int64)
    )
    return np.random.default_rng(int(seed))


def _check_kept(counted: Counted, reading: Reading) -> None:
    reading.check_kept(len(counted.values))
    check_magnitude(counted.values, "image")


def _check_room(what: str, n: int, each: int, reading: Reading, remedy: str) -> None:
    """Refuse more values than can be clustered in the memory there is."""
    needed = n * each
    if needed > reading.room:
        total = (needed + reading.budget - reading.room) // MEBIBYTE + 1
        raise ValueError(
            f"{what}, and to cluster them takes {total} MiB, more than the memory of"
            f" {reading.budget // MEBIBYTE} MiB; give more (--memory {total}MiB), or {remedy}"
        )


def _bytes_each(task: Task, reading: Reading) -> int:
    return VALUE_BYTES + 8 * reading.n_channels * (task.space.name != "rgb")


def _of_counts(
    task: Task,
    counted: Counted,
    reading: Reading,
    foreground: Any,
    how: dict[str, Any],
    progress: Progress,
    clock: Clock,
) -> StreamFit:
    values, weights = counted.values, counted.weights
    assert weights is not None
    _check_room(
        f"{reading.images[0].name}: has {len(values):,} distinct values", len(values),
        _bytes_each(task, reading), reading, "fit to a sample of the pixels (sample, --sample)",
    )  # fmt: skip
    units = reading.in_units(values)
    first = foreground_of(
        values, weights, foreground, n_threads=how["n_threads"], progress=progress
    )
    threshold = None if foreground is None else float(units[first, 0])
    left_out = int(weights[:first].sum())
    fitted = fit_clusters(
        task, units[first:], weights[first:], progress=progress, clock=clock, **how
    )

    def table(first_label: int) -> Array:
        labels = fitted.table(first_label, progress)
        return np.concatenate([np.zeros(first, labels.dtype), labels])

    return StreamFit(
        fitted, counted.counter, table, counted.n_left_out + left_out, 1, foreground=threshold
    )


def _of_sample(
    task: Task,
    drawn: Counted,
    reading: Reading,
    foreground: Any,
    how: dict[str, Any],
    progress: Progress,
    clock: Clock,
) -> StreamFit:
    if foreground is not None:
        raise ValueError("foreground has no meaning with a sample; leave one of the two out")
    values, weights, _ = count_pixels(drawn.values, progress=Progress(), **how)
    units = reading.in_units(values)
    fitted = fit_clusters(task, units, weights, progress=progress, clock=clock, **how)
    ranges = reading.in_units(drawn.moments.ranges.T).T
    fitted = replace(fitted, value_range=ranges)
    return StreamFit(fitted, None, None, drawn.n_left_out, 1, n_sampled=len(drawn.values))


def _in_passes(
    task: Task,
    counted: Counted,
    reading: Reading,
    threads: Threads,
    backend: Backend,
    progress: Progress,
    clock: Clock,
) -> tuple[Fitted, int]:
    """Lloyd's iterations, each a pass over the images, from starts in a sample of the pixels."""
    scaled, n_threads = counted.moments, reading.n_threads
    known = Known(
        reading.in_units(counted.values),
        _in_units(scaled.table, reading),
        reading.in_units(scaled.ranges.T).T,
    )
    points: list[StreamedPoints] = []

    def parts_in(space: ColorSpace) -> StreamedPoints:
        def forward(stored: Array) -> Array:
            return space.forward(reading.in_units(stored))

        points.append(StreamedPoints(reading, threads, backend, forward, scaled.n, progress))
        return points[0]

    fitted = fit_in_parts(
        task, known, parts_in, draw_from_sample, backend=backend, n_threads=n_threads,
        progress=progress, clock=clock,
    )  # fmt: skip
    return fitted, points[0].n_passes


def _in_units(moments: FloatArray, reading: Reading) -> FloatArray:
    """Mean and deviation of the stored values as those of the values meant."""
    scale = reading.images[0].scale
    if scale is None:
        return moments
    slope, intercept = scale
    return np.stack([moments[:, 0] * slope + intercept, moments[:, 1] * slope], axis=1)
