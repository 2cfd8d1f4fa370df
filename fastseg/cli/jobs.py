"""Whole jobs from file to file, as the command line runs them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..class_names import check_names
from ..io import (
    Image,
    atomic_write,
    check_labels,
    check_output,
    encode_labels,
    encode_values,
)
from ..io.atomic import settle
from ..io.image import Legend
from ..io.opening import check_label_output
from ..io.pieces import belongs_beside, labels_beside
from ..model import Model
from ..model_file import model_text
from ..pictures.drawing import check_plot, encode_figure
from ..progress import Callback, Clock
from ..segmentation import Segmentation
from .extras import Extras
from .job import Job
from .source import Source, may_leave_out
from .starts import NAMED_STARTS, fitting_count, start_centers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class ImageJob(Job):
    """A job on an image that is held as a whole, with its labels."""

    image: Image = field(kw_only=True)
    labels: NDArray[Any] = field(kw_only=True)


def segment_file(
    source: Source,
    output: str,
    *,
    n_clusters: int | str | None = None,
    init: str | None = None,
    start_label: int | None = None,
    names: list[str] | None = None,
    model_path: str | None = None,
    report_path: str | None = None,
    dendrogram_path: str | None = None,
    extras: Extras = NO_EXTRAS,
    overwrite: bool = False,
    callback: Callback,
    **options: Any,
) -> ImageJob:
    """Segment an image file and write its labels, its model, drawings and more where asked.

    Everything that can be refused is refused before the work; all files are
    written, or none.
    """
    from ..pipeline import segment
    from ..sweep import AUTO_RANGE

    clock = Clock()
    inputs = source.files if init is None else (*source.files, init)
    check_label_output(output, overwrite, inputs)
    if model_path is not None:
        check_output(model_path, overwrite, (".json",), inputs)
    drawings = [path for path in (report_path, dendrogram_path) if path is not None]
    for path in drawings:
        check_plot(path, overwrite, inputs)
    if dendrogram_path is not None and options.get("method") != "ward":
        raise ValueError("--dendrogram draws Ward's tree; use it with --method ward")
    extras.check([output, *drawings], overwrite, inputs)
    if n_clusters is None and names is not None and (init is None or init in NAMED_STARTS):
        n_clusters = len(names)
    if isinstance(n_clusters, int):
        check_labels(output, n_clusters)
        check_names(names, n_clusters)

    callback("read", 0, 0, {})
    image, mask = source.read()
    extras.check_grid(image)
    start = start_centers(init, lambda: image.n_channels)
    n_clusters = fitting_count(n_clusters, start, names)
    first = start_label
    if first is None:
        background = options.get("foreground") is not None
        first = int(background or may_leave_out(image, mask, source.nodata))
    n_most = n_clusters if isinstance(n_clusters, int) else AUTO_RANGE[-1]
    check_labels(output, n_most + first, image.grid)
    clock.stop("read")

    result = segment(
        image,
        n_clusters,
        init=start,
        mask=mask,
        nodata=source.nodata,
        start_label=start_label,
        names=names,
        keep_profile=model_path is not None,
        callback=callback,
        **options,
    )
    clock.stop("segment")

    job = ImageJob(
        source.path, output, image.grid, image.pixels.dtype.name, image.geometry, image.notes,
        result, result.counts, result.palette(), result.start_label, result.backend,
        result.reason, foreground=result.foreground, image=image, labels=result.labels,
    )  # fmt: skip
    return _written(
        job, extras, clock, callback, overwrite, model_path=model_path, report_path=report_path,
        dendrogram_path=dendrogram_path,
    )  # fmt: skip


def _written(
    job: ImageJob,
    extras: Extras,
    clock: Clock,
    callback: Callback,
    overwrite: bool,
    *,
    model_path: str | None = None,
    report_path: str | None = None,
    dendrogram_path: str | None = None,
    distances: NDArray[Any] | None = None,
) -> ImageJob:
    """Remove the specks of a job's labels, find its objects, and write its files, all or none."""
    if extras.min_size is not None:
        labels = extras.cleaned(job.labels, job.start_label)
        job = replace(job, labels=labels, counts=_counts(labels, job.model, job.start_label))
        clock.stop("specks")
    geometry = job.geometry
    known = range(job.start_label, job.start_label + job.model.n_clusters)
    found = extras.found(job.labels, known, job.names, job.image)
    if found is not None:
        clock.stop("objects")
    figures: dict[str, Figure] = {}
    if report_path is not None or dendrogram_path is not None:
        callback("draw", 0, 0, {})
        figures = _draw(job, report_path, dendrogram_path)
        clock.stop("draw")
    callback("write", 0, 0, {})
    beside: dict[str, Callable[[BinaryIO], object]] = {}
    if distances is not None and (path := extras.distance_path) is not None:
        beside[path] = partial(encode_values, path=path, values=distances, geometry=geometry)
    if found is not None and (path := extras.objects_path) is not None:
        beside[path] = partial(
            encode_labels, path=path, labels=found.instances, left_out=True, geometry=geometry
        )
    if model_path is not None:
        beside[model_path] = lambda file: file.write(model_text(job.model))
    for path, figure in figures.items():
        beside[path] = partial(encode_figure, figure, path=path)
    # These are whole before the labels appear, and appear right after.
    with _files_beside(list(beside.items()), overwrite), _labels_of(job, overwrite):
        pass
    clock.stop("write")
    inner = job.model.seconds if isinstance(job.model, Segmentation) else None
    return replace(job, objects=found, more_files=tuple(extras.files), seconds=clock.result(inner))


@contextlib.contextmanager
def _files_beside(
    files: list[tuple[str, Callable[[BinaryIO], object]]], overwrite: bool
) -> Iterator[None]:
    """Write files, which appear when the block ends, the last one first."""
    if not files:
        yield
        return
    path, encode = files[0]
    with atomic_write(path, overwrite=overwrite) as file:
        encode(file)
        settle(file)
        with _files_beside(files[1:], overwrite):
            yield


@contextlib.contextmanager
def _labels_of(job: ImageJob, overwrite: bool) -> Iterator[None]:
    """Write the labels of a job; they appear when the block ends."""
    legend = Legend(job.colors, job.start_label == 1, job.names, job.geometry)
    if belongs_beside(job.output, job.image):
        with labels_beside(
            job.output, job.labels, legend, job.image, job.input, overwrite=overwrite
        ):
            yield
        return
    with atomic_write(job.output, overwrite=overwrite) as file:
        encode_labels(
            file, job.output, job.labels, colors=job.colors, left_out=legend.left_out,
            names=job.names, geometry=job.geometry,
        )  # fmt: skip
        yield


def _counts(labels: NDArray[Any], model: Model, first: int) -> NDArray[Any]:
    """Pixels of each cluster in the labels."""
    return np.bincount(labels.ravel("K"), minlength=first + model.n_clusters)[first:]


def _draw(job: ImageJob, report_path: str | None, tree_path: str | None) -> dict[str, Figure]:
    """Make the drawings that are asked for, by the files they go to."""
    from ..pictures.dendrogram import dendrogram
    from ..pictures.report import report

    assert isinstance(job.model, Segmentation)
    result = replace(job.model, labels=job.labels, counts=job.counts)
    figures = {}
    if report_path is not None:
        figures[report_path] = report(job.image, result, title=os.path.basename(job.input))
    if tree_path is not None:
        figures[tree_path] = dendrogram(result)
    return figures


def predict_file(
    model_path: str,
    source: Source,
    output: str,
    *,
    extras: Extras = NO_EXTRAS,
    overwrite: bool,
    callback: Callback,
    **options: Any,
) -> ImageJob:
    """Label an image file with the clusters of a saved model."""
    from ..model import load_model

    clock = Clock()
    inputs = (*source.files, model_path)
    check_label_output(output, overwrite, inputs)
    extras.check([output], overwrite, inputs)
    callback("read", 0, 0, {})
    model = load_model(model_path)
    image, mask = source.read()
    extras.check_grid(image)
    check_labels(output, model.n_clusters + model.start_label, image.grid)
    clock.stop("read")
    found = model.label(
        image, mask=mask, nodata=source.nodata, callback=callback,
        with_distances=extras.distance_path is not None, **options,
    )  # fmt: skip
    labels, first = found.labels, found.start_label
    clock.stop("predict")
    job = ImageJob(
        source.path, output, image.grid, image.pixels.dtype.name, image.geometry, image.notes,
        model, _counts(labels, model, first), model.palette(first), first, found.backend,
        found.reason, foreground=found.foreground, match=found.match, image=image, labels=labels,
    )  # fmt: skip
    return _written(job, extras, clock, callback, overwrite, distances=found.distances)
