"""Clusters of images that are read region by region: of their counts, in passes, or of a sample."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .arrays import check_magnitude
from .class_names import check_names
from .color import ColorSpace, label_order
from .fitting import Fitted, Task, fit_clusters
from .foreground import foreground_of
from .kernels.backend import Array, Backend, Counter, FloatArray
from .matching import Profile
from .memory import MEBIBYTE, VALUE_BYTES
from .methods import choose_method
from .progress import Clock, Progress
from .reading import Reading
from .solver import Draws, solve, tolerance, warn_of
from .standardizing import Standardized
from .streamed import Counted, StreamedPoints, count_stream, sample_stream
from .summary import check_distinct, count_pixels
from .sweep import choose_n_clusters

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
    pool: ThreadPoolExecutor,
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
        drawn = sample_stream(reading, pool, sample, generator, progress)
        _check_kept(drawn, reading)
        clock.stop("sample")
        return _of_sample(task, drawn, reading, foreground, how, progress, clock)
    counted = count_stream(reading, pool, backend, progress)
    _check_kept(counted, reading)
    clock.stop("count")
    if counted.weights is not None:
        return _of_counts(task, counted, reading, foreground, how, progress, clock)
    if foreground is not None:
        raise ValueError(
            f"foreground={foreground!r} needs the distinct values of the image, and there are too"
            " many to be held; give a mask instead"
        )
    fitted, n_passes = _in_passes(task, counted, reading, pool, backend, progress, clock)
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
    pool: ThreadPoolExecutor,
    backend: Backend,
    progress: Progress,
    clock: Clock,
) -> tuple[Fitted, int]:
    """Lloyd's iterations, each a pass over the images, from starts in a sample of the pixels."""
    asked, space, k = task.asked, task.space, task.n_most
    n_threads, d = reading.n_threads, reading.n_channels
    sample = reading.in_units(counted.values)
    scaled = counted.moments
    if asked.standardize:
        table = scaled.table
        space = Standardized(moments=_in_units(table, reading))
    method = choose_method(
        asked.method, d, None, k, init=asked.init, n_init=asked.n_init, max_iter=asked.max_iter,
        tol=asked.tol,
    )  # fmt: skip
    if method != "lloyd":
        raise ValueError(
            f"method={method!r} needs the distinct values of the image, and there are too many to"
            " be held; use method='lloyd', or a sample of the pixels (sample, --sample)"
        )
    reason = None
    if task.auto:
        k, reason = choose_n_clusters(
            sample, None, method="lloyd", space=space, init=asked.init, n_init=asked.n_init,
            max_iter=asked.max_iter, tol=asked.tol, random_state=asked.random_state,
            backend=backend, n_threads=n_threads, progress=progress,
        )  # fmt: skip
        clock.stop("scan")
    check_distinct(sample, None, k)
    names = check_names(asked.names, k)

    def forward(stored: Array) -> Array:
        return space.forward(reading.in_units(stored))

    inside = space.forward(sample)
    held = backend.put(inside, n_threads=n_threads)
    points = StreamedPoints(reading, pool, backend, forward, scaled.n, progress)
    start = task.start
    run = solve(
        points, Draws(inside, None, held), k,
        init=space.forward(start) if isinstance(start, np.ndarray) else start,
        n_init=task.n_runs, max_iter=asked.max_iter, tol=tolerance(held, asked.tol),
        random_state=task.generator, progress=progress,
    )  # fmt: skip
    warn_of(run, asked.max_iter, stacklevel=6)
    means = run.centers
    if space.name != "rgb":
        means = _means(points, reading, space, run.centers)
    order = label_order(means)
    wanted = asked.keep_profile or d == 1
    clock.stop("fit")
    fitted = Fitted(
        centers=means[order],
        space_centers=np.ascontiguousarray(run.centers[order]),
        counts=run.partials.weights[order].astype(np.int64),
        inertia=run.inertia,
        value_range=reading.in_units(scaled.ranges.T).T.astype(np.float64),
        method=method,
        space=space,
        n_iter=run.n_iter,
        converged=run.converged,
        names=names,
        profile=Profile.of(sample, None).thinned() if wanted else None,
        init_centers=space.backward(run.init_centers),
        chosen_k_reason=reason,
        tree=None,
        points=held,
        partition=None,
    )
    return fitted, points.n_passes


def _in_units(moments: FloatArray, reading: Reading) -> FloatArray:
    """Mean and deviation of the stored values as those of the values meant."""
    scale = reading.images[0].scale
    if scale is None:
        return moments
    slope, intercept = scale
    return np.stack([moments[:, 0] * slope + intercept, moments[:, 1] * slope], axis=1)


def _means(
    points: StreamedPoints, reading: Reading, space: ColorSpace, centers: FloatArray
) -> FloatArray:
    """Mean in image units of the pixels of each centre, in one more pass."""
    if isinstance(space, Standardized):
        return space.backward(centers)  # linear, so that the mean goes over into the mean
    sums, totals = np.zeros_like(centers), np.zeros(len(centers))
    for stored, part in points.stored_parts():
        labels = part.assign(centers)
        totals += np.bincount(labels, minlength=len(centers))
        for f, channel in enumerate(reading.in_units(stored).T):
            sums[:, f] += np.bincount(labels, channel, len(centers))
    return sums / np.maximum(totals, 1.0)[:, None]
