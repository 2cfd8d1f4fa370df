"""A model's labels for an image file of any size."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dispatch import Choice, choose_backend
from ..foreground import check_counted, check_foreground, foreground_of
from ..io import StrPath, check_labels
from ..io.threads import Threads
from ..kernels.backend import Array, Problem
from ..labelling import LabelsOf, by_distance, by_table, label_values
from ..matching import check_match, matched
from ..model import Model
from ..progress import Callback, Clock, Progress
from ..segmentation import FileLabels
from .counting import Counted, count_stream
from .labels import Output, check_room
from .options import DEFAULTS, FileOptions, Paths, opened, paths_of
from .reading import Reading


def predict_file(
    model: Model,
    path: Paths,
    output: StrPath,
    *,
    mask: StrPath | None = None,
    nodata: float | None = None,
    foreground: str | None = None,
    match: str | None = None,
    allow_dtype: bool = False,
    options: FileOptions = DEFAULTS,
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
) -> FileLabels:
    """Label an image file of any size with the clusters of a model, in bounded memory.

    The labels are those of `Model.predict`. The image is read once, and once more before
    for ``match``, ``foreground``, and floats among which there may be NaN.

    Parameters
    ----------
    model : Model
        Clusters.
    path, output, mask, nodata, options, backend, n_threads, callback
        As in `segment_file`.
    foreground, match, allow_dtype
        As in `Model.predict`; where the distinct values cannot be held, ``match`` goes by a
        sample of 262,144 pixels.

    Returns
    -------
    FileLabels
        What was written.

    Raises
    ------
    ValueError, TypeError, OSError, Stopped
        As `segment_file`, or the image does not fit the model.
    """
    clock, progress = Clock(), Progress(callback)
    check_match(match, model.profile)
    if options.dask is not None:
        from ..dask.files import predict_zarr

        return predict_zarr(
            model, path, output, mask=mask, nodata=nodata, foreground=foreground, match=match,
            allow_dtype=allow_dtype, options=options, backend=backend, n_threads=n_threads,
            progress=progress, clock=clock,
        )  # fmt: skip
    options.check([output], [*paths_of(path), *([] if mask is None else [mask])])
    with opened([path], [mask], nodata, options, n_threads) as (reading, threads):
        image = reading.images[0]
        model.check_image(reading.units, reading.n_channels, allow_dtype or match is not None)
        check_foreground(foreground, reading.n_channels)
        check_labels(output, model.n_clusters + model.start_label, image.grid)
        check_room(output, model.n_clusters + model.start_label, reading)
        problem = Problem(image.n_pixels, reading.n_channels, model.n_clusters, reading.dtype.name)
        choice = choose_backend(problem, backend)
        clock.stop("open")
        seen = _look_first(model, reading, threads, foreground, match, choice, progress)
        clock.stop("count")
        first = model.first_label(reading.may_leave_out or foreground is not None, seen.n_left_out)
        labels_of = seen.labels_of(model, first, choice, reading)
        written = Output(output, options, model, first, choice.backend)
        counts = written.write(reading, threads, labels_of, progress)
        clock.stop("labels")
        return FileLabels(
            output=os.fspath(output),
            grid=image.grid,
            dtype=image.dtype.name,
            geometry=image.geometry,
            counts=counts,
            start_label=first,
            n_left_out=image.n_pixels - int(counts.sum()),
            backend=choice.backend.name,
            reason=choice.reason,
            seconds=clock.seconds,
            skipped=reading.skipped,
            n_passes=seen.n_passes + 1,
            foreground=seen.foreground,
            match=match,
            notes=image.notes,
        )


@dataclass(frozen=True)
class _Seen:
    """What had to be known of an image before it could be labelled.

    ``counted`` are its values where they were counted, of which those from ``dark`` on are
    in the foreground; ``fit`` takes values to the scale of the model.
    """

    n_left_out: int = 0
    n_passes: int = 0
    counted: Counted | None = None
    dark: int = 0
    foreground: float | None = None
    fit: Callable[[Array], Array] | None = None

    def labels_of(self, model: Model, first: int, choice: Choice, reading: Reading) -> LabelsOf:
        """How the pixels get their labels."""
        backend, n_threads, counted = choice.backend, reading.n_threads, self.counted
        if counted is None or counted.counter is None:
            cheap = model.space.name in ("rgb", "standardized") and self.fit is None
            return by_distance(
                model.space_centers, first, lambda values: model.forward(values, self.fit),
                backend, n_threads, distinct_first=not cheap,
            )  # fmt: skip
        values = reading.in_units(counted.values[self.dark :])
        points = backend.put(model.forward(values, self.fit), n_threads=n_threads)
        bright = label_values(points, model.space_centers, first)
        table = np.concatenate([np.zeros(self.dark, bright.dtype), bright])
        return by_table(counted.counter, table)


def _look_first(
    model: Model,
    reading: Reading,
    threads: Threads,
    foreground: Any,
    match: str | None,
    choice: Choice,
    progress: Progress,
) -> _Seen:
    """Read the image once where labels depend on more than a pixel's own values."""
    if foreground is None and match is None:
        may_hold_nan = reading.dtype.kind == "f" and not reading.may_leave_out
        if not may_hold_nan or model.start_label == 1 or model.fixed_start:
            return _Seen()
        for _ in reading.chunks(threads, progress, "check"):
            if reading.n_left_out:
                break
        return _Seen(reading.n_left_out, 1)
    counted = count_stream(reading, threads, choice.backend, progress)
    reading.check_kept(len(counted.values))
    dark, threshold, weights = 0, None, counted.weights
    check_counted(foreground, weights is not None)
    if foreground is not None and weights is not None:
        dark = foreground_of(
            counted.values, weights, foreground, n_threads=reading.n_threads, progress=progress
        )
        threshold = float(reading.in_units(counted.values[dark : dark + 1])[0, 0])
    fit = None
    if match is not None:
        bright = reading.in_units(counted.values[dark:])
        fit = matched(match, bright, None if weights is None else weights[dark:], model.profile)
    return _Seen(counted.n_left_out, 1, counted, dark, threshold, fit)
