"""From file to file in bounded memory: one pass counts, the solver sees the counts, one labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dispatch import Choice, choose_backend
from ..fitting import Asked, Task
from ..foreground import check_foreground
from ..io import StrPath, check_labels, check_output
from ..kernels.backend import Problem
from ..labelling import LabelsOf, by_distance, by_table, choose_start_label
from ..memory import release_freed
from ..progress import Callback, Clock, Progress
from ..segmentation import FileModel, FileSegmentation, FittedModel
from .fit import StreamFit, fit_stream
from .labels import Output, check_room
from .options import DEFAULTS, FileOptions, Paths, opened, paths_of
from .reading import Reading


def segment_file(
    path: Paths,
    output: StrPath,
    n_clusters: int | str = 8,
    *,
    mask: StrPath | None = None,
    nodata: float | None = None,
    foreground: str | None = None,
    start_label: int | None = None,
    sample: int | None = None,
    model: StrPath | None = None,
    options: FileOptions = DEFAULTS,
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
    **clustering: Any,
) -> FileSegmentation:
    """Segment an image file of any size, in bounded memory.

    The labels are those of `segment` for the same image, to the last bit, whenever its
    distinct values are counted: always for 8-bit colours and 16-bit greys, up to some
    millions otherwise. The image is then read twice. Where they are too many, it is read once
    to count, once for each of Lloyd's iterations and the start of each run, and once to
    label; k-means++ then starts from a sample of 262,144 pixels. Memory never decides which:
    where it does not hold the values that were counted, the error says how much would.

    Parameters
    ----------
    path : path or sequence of path
        Image file; of several the channels make one image. TIFF, .npy, Zarr, rasters on the
        ground and slides are read piece by piece, other formats as a whole.
    output : path
        File of the labels: .tif (tiled, in the clusters' colours, where the image lies),
        .npy, .png, NIfTI, .zarr, .ome.zarr, or ``IMAGE.ome.zarr/labels/NAME`` for labels in
        the image itself. It is whole or absent.
    n_clusters : int or "auto"
        As in `segment`.
    mask : path, optional
        Image of the same grid; where it is zero, pixels are left out.
    nodata, foreground, start_label, backend, n_threads
        As in `segment`.
    sample : int, optional
        Fit to so many pixels, drawn without replacement and each as likely as every other,
        and label all: two readings, whatever the image.
    model : path, optional
        Save the clusters there, for `predict_file`.
    options : FileOptions
        How files are read and written.
    callback : callable, optional
        As in `segment`; its stages are besides "sample", "pass" (with ``info["pass"]``)
        and "pyramid".
    **clustering
        As in `segment`: method, init, n_init, max_iter, tol, random_state, color_space,
        standardize, names, keep_profile and prototypes.

    Returns
    -------
    FileSegmentation
        Centres, counts and how they were found, without the labels.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described or does not fit the image, or the file is damaged.
    OSError
        If a file cannot be read or written.
    Stopped
        If the callback returned True.
    """
    clock, progress = Clock(), Progress(callback)
    asked = _asked(n_clusters, model is not None, clustering)
    if options.dask is not None:
        from ..dask.files import segment_zarr

        _check_no_sample(sample)
        return segment_zarr(
            path, output, asked, mask=mask, nodata=nodata, foreground=foreground,
            start_label=start_label, model=model, options=options, backend=backend,
            n_threads=n_threads, progress=progress, clock=clock,
        )  # fmt: skip
    inputs = [*paths_of(path), *([] if mask is None else [mask])]
    options.check([output], inputs)
    if model is not None:
        check_output(model, options.overwrite, (".json",), inputs)
    with opened([path], [mask], nodata, options, n_threads) as (reading, threads):
        image = reading.images[0]
        task, choice = _prepared(asked, reading, sample, foreground, backend)
        first = choose_start_label(start_label, reading.may_leave_out, 0)
        check_labels(output, task.n_most + first, image.grid)
        check_room(output, task.n_most + first, reading)
        clock.stop("open")
        fit = fit_stream(
            task, reading, threads, backend=choice.backend, sample=sample, foreground=foreground,
            progress=progress, clock=clock,
        )  # fmt: skip
        fields = _fields(fit, asked, reading, choice, start_label, clock)
        result = FileSegmentation(
            **fields | {"n_passes": fit.n_passes + 1},
            output=os.fspath(output),
            grid=image.grid,
            stored_dtype=image.dtype.name,
            geometry=image.geometry,
            notes=image.notes,
        )
        labels_of = _labels_of(fit, result, choice, reading.n_threads)
        clock.stop("fit")
        counted = fit.counter is not None
        del fit
        release_freed()
        written = Output(output, options, result, result.start_label, choice.backend)
        counts = result.counts if counted else None
        result.counts = written.write(
            reading, threads, labels_of, progress, counts=counts, save_model=model
        )
        clock.stop("labels")
    return result


def fit_files(
    paths: Sequence[Paths],
    n_clusters: int | str = 8,
    *,
    masks: Sequence[StrPath | None] | None = None,
    nodata: float | None = None,
    foreground: str | None = None,
    start_label: int | None = None,
    sample: int | None = None,
    options: FileOptions = DEFAULTS,
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
    **clustering: Any,
) -> FileModel:
    """Fit one model to the pixels of many files, as if they were one image.

    Parameters
    ----------
    paths : sequence of path
        Images of one type and number of channels, of any grids.
    n_clusters, nodata, foreground, start_label, sample, options, backend, n_threads, callback
        As in `segment_file`.
    masks : sequence of (path or None), optional
        A mask for each of them.
    **clustering
        As in `segment_file`.

    Returns
    -------
    FileModel
        To be saved, or used in `predict_file`.

    Raises
    ------
    ValueError, TypeError, OSError, Stopped
        As `segment_file`, or the images are not of one type.
    """
    clock, progress = Clock(), Progress(callback)
    asked = _asked(n_clusters, True, clustering)
    if not paths:
        raise ValueError("paths is empty; give at least one image")
    if options.dask is not None:
        raise ValueError(
            f"dask={options.dask!r} (--dask) is not for fitting to many files; leave it out, or"
            " segment a single Zarr image"
        )
    options.check([], [])
    given = [None] * len(paths) if masks is None else list(masks)
    if len(given) != len(paths):
        raise ValueError(f"masks has {len(given)} entries for {len(paths)} images; give one each")
    with opened(list(paths), given, nodata, options, n_threads) as (reading, threads):
        task, choice = _prepared(asked, reading, sample, foreground, backend)
        clock.stop("open")
        fit = fit_stream(
            task, reading, threads, backend=choice.backend, sample=sample, foreground=foreground,
            progress=progress, clock=clock,
        )  # fmt: skip
        return FileModel(**_fields(fit, asked, reading, choice, start_label, clock))


def _asked(n_clusters: Any, keep_profile: bool, clustering: dict[str, Any]) -> Asked:
    asked = Asked(n_clusters, **{"keep_profile": keep_profile, **clustering})
    asked.check()
    return asked


def _prepared(
    asked: Asked, reading: Reading, sample: Any, foreground: Any, backend: str
) -> tuple[Task, Choice]:
    """What is asked for, checked for the images, and where it is computed."""
    task = asked.of(reading.units, reading.n_channels)
    problem = Problem(reading.n_pixels, reading.n_channels, task.n_most, reading.dtype.name)
    choice = choose_backend(problem, backend)
    _check_sample(sample, task.n_most)
    check_foreground(foreground, reading.n_channels)
    return task, choice


def _fields(
    fit: StreamFit, asked: Asked, reading: Reading, choice: Choice, start_label: Any, clock: Clock
) -> dict[str, Any]:
    """What a `FileModel` tells of the clusters of some images."""
    left_out = reading.may_leave_out or fit.foreground is not None
    return fit.fitted.fields() | {
        "dtype": reading.units.name,
        "channel_axis": reading.images[0].channel_axis,
        "start_label": choose_start_label(start_label, left_out, fit.n_left_out),
        "color_space": asked.color_space,
        "fixed_start": start_label is not None,
        "n_left_out": fit.n_left_out,
        "backend": choice.backend.name,
        "reason": choice.reason,
        "seconds": clock.seconds,
        "foreground": fit.foreground,
        "n_pixels": reading.n_pixels,
        "skipped": reading.skipped,
        "n_passes": fit.n_passes,
        "n_sampled": fit.n_sampled,
    }


def _check_sample(sample: Any, n_clusters: int) -> None:
    if sample is None:
        return
    if isinstance(sample, (bool, np.bool_)) or not isinstance(sample, (int, np.integer)):
        raise TypeError(f"sample must be a whole number of pixels or None, got {sample!r}")
    if sample < n_clusters:
        raise ValueError(
            f"sample={sample} is less than n_clusters={n_clusters}; use many more, 1000000 for"
            " instance"
        )


def _check_no_sample(sample: Any) -> None:
    if sample is not None:
        raise ValueError(
            f"sample={sample!r} (--sample) has no meaning with dask (--dask), where all pixels"
            " stay on the workers; leave one of the two out"
        )


def _labels_of(fit: StreamFit, model: FittedModel, choice: Choice, n_threads: int) -> LabelsOf:
    """How the pixels get the labels of their clusters."""
    first = model.start_label
    if fit.counter is not None and fit.table is not None:
        return by_table(fit.counter, fit.table(first))
    return by_distance(
        model.space_centers, first, model.forward, choice.backend, n_threads,
        distinct_first=fit.fitted.space.name not in ("rgb", "standardized"),
    )  # fmt: skip
