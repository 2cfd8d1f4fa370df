"""Whole jobs from file to file, as the command line runs them."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..class_names import check_names, label_names
from ..drawing import check_plot, save_figure
from ..io import (
    WRITERS,
    Image,
    atomic_write,
    check_labels,
    check_output,
    encode_labels,
    encode_values,
    read_centers,
)
from ..model import Model
from ..progress import Callback, Clock
from ..segmentation import Segmentation
from .extras import Extras
from .source import Source, may_leave_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..components import Objects

DEFAULT_N_CLUSTERS = 8
NAMED_STARTS = ("k-means++", "random")
NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Job:
    """What a job did: its image, its labels and their clusters."""

    source: Source
    output: str
    image: Image
    model: Model
    labels: NDArray[Any]
    counts: NDArray[Any]
    colors: NDArray[Any]
    start_label: int
    backend: str
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    foreground: float | None = None
    match: str | None = None
    objects: Objects | None = None
    more_files: tuple[str, ...] = ()

    @property
    def names(self) -> dict[int, str]:
        """Class of each label, where they have names."""
        return label_names(self.model.names, self.start_label)

    @property
    def n_left_out(self) -> int:
        """Pixels that belong to no cluster."""
        return int(self.labels.size - self.counts.sum())

    @property
    def label_values(self) -> list[int]:
        """The label of each cluster in the written file."""
        return list(range(self.start_label, self.start_label + len(self.counts)))

    @property
    def chosen_k_reason(self) -> str | None:
        """Why there are so many clusters, where their number was chosen."""
        reason: str | None = getattr(self.model, "chosen_k_reason", None)
        return reason

    def as_dict(self) -> dict[str, Any]:
        """Everything but the labels, for strict JSON."""
        model = self.model
        entries: dict[str, Any] = {
            "input": self.source.path,
            "output": self.output,
            "grid": list(self.labels.shape),
            "dtype": self.image.pixels.dtype.name,
            "n_channels": model.n_channels,
            "n_clusters": model.n_clusters,
            "names": None if model.names is None else list(model.names),
            "centers": model.centers.tolist(),
            "counts": self.counts.tolist(),
        }
        if isinstance(model, Segmentation):
            for name in ("inertia", "n_iter", "converged", "method"):
                entries[name] = getattr(model, name)
            entries["chosen_k_reason"] = self.chosen_k_reason
            entries["standardized"] = model.moments is not None
        else:
            entries["match"] = self.match
        if self.objects is not None:
            entries["objects"] = list(self.objects.as_dicts())
        entries |= {
            "foreground": self.foreground,
            "backend": self.backend,
            "reason": self.reason,
            "n_left_out": self.n_left_out,
            "start_label": self.start_label,
            "label_values": self.label_values,
            "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in self.cluster_colors],
            "seconds": {stage: round(value, 6) for stage, value in self.seconds.items()},
            "notes": list(self.image.notes),
        }
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in entries.items()
        }

    @property
    def cluster_colors(self) -> list[list[int]]:
        """The colour of each cluster in the written file."""
        colors: list[list[int]] = self.colors[self.start_label :].tolist()
        return colors


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
) -> Job:
    """Segment an image file and write its labels, its model, drawings and more where asked.

    Everything that can be refused is refused before the work; all files are
    written, or none.
    """
    from ..pipeline import segment
    from ..sweep import AUTO_RANGE

    clock = Clock()
    inputs = source.files if init is None else (*source.files, init)
    check_output(output, overwrite, WRITERS, inputs)
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
    start = start_centers(init, image)
    n_clusters = _fitting(n_clusters, start)
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

    job = Job(
        source, output, image, result, result.labels, result.counts, result.palette(),
        result.start_label, result.backend, result.reason, foreground=result.foreground,
    )  # fmt: skip
    return _written(
        job, extras, clock, callback, overwrite, model_path=model_path, report_path=report_path,
        dendrogram_path=dendrogram_path,
    )  # fmt: skip


def _written(
    job: Job,
    extras: Extras,
    clock: Clock,
    callback: Callback,
    overwrite: bool,
    *,
    model_path: str | None = None,
    report_path: str | None = None,
    dendrogram_path: str | None = None,
    distances: NDArray[Any] | None = None,
) -> Job:
    """Remove the specks of a job's labels, find its objects, and write its files, all or none."""
    if extras.min_size is not None:
        labels = extras.cleaned(job.labels, job.start_label)
        job = replace(job, labels=labels, counts=_counts(labels, job.model, job.start_label))
        clock.stop("specks")
    geometry = job.image.geometry
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
    with contextlib.ExitStack() as stack:

        def open_(path: str) -> BinaryIO:
            return stack.enter_context(atomic_write(path, overwrite=overwrite))

        encode_labels(
            open_(job.output), job.output, job.labels, colors=job.colors,
            left_out=job.start_label == 1, names=job.names, geometry=geometry,
        )  # fmt: skip
        if distances is not None and extras.distance_path is not None:
            encode_values(open_(extras.distance_path), extras.distance_path, distances, geometry)
        if found is not None and extras.objects_path is not None:
            path = extras.objects_path
            encode_labels(open_(path), path, found.instances, left_out=True, geometry=geometry)
        if model_path is not None:
            job.model.save(model_path, overwrite=overwrite)
        for path, figure in figures.items():
            save_figure(figure, path, overwrite=overwrite)
    clock.stop("write")
    inner = job.model.seconds if isinstance(job.model, Segmentation) else None
    return replace(job, objects=found, more_files=tuple(extras.files), seconds=clock.result(inner))


def _counts(labels: NDArray[Any], model: Model, first: int) -> NDArray[Any]:
    """Pixels of each cluster in the labels."""
    return np.bincount(labels.ravel("K"), minlength=first + model.n_clusters)[first:]


def _draw(job: Job, report_path: str | None, tree_path: str | None) -> dict[str, Figure]:
    """Make the drawings that are asked for, by the files they go to."""
    from ..dendrogram_picture import dendrogram
    from ..report_picture import report

    assert isinstance(job.model, Segmentation)
    result = replace(job.model, labels=job.labels, counts=job.counts)
    figures = {}
    if report_path is not None:
        figures[report_path] = report(job.image, result, title=os.path.basename(job.source.path))
    if tree_path is not None:
        figures[tree_path] = dendrogram(result)
    return figures


def start_centers(init: str | None, image: Image) -> Any:
    """What the library takes for ``init``; a default is not the same as its name."""
    from ..methods import DEFAULT_INIT

    if init is None:
        return DEFAULT_INIT
    return init if init in NAMED_STARTS else read_centers(init, image.n_channels)


def _fitting(n_clusters: int | str | None, start: Any) -> int | str:
    """The number of clusters to make, in agreement with given starting centres."""
    if isinstance(start, str):
        return DEFAULT_N_CLUSTERS if n_clusters is None else n_clusters
    if n_clusters not in (None, len(start)):
        asked = "-k auto is" if n_clusters == "auto" else f"{n_clusters} clusters"
        raise ValueError(
            f"{len(start)} starting centres are given, but {asked} asked for; "
            "leave out -k, or change --init"
        )
    return len(start)


def predict_file(
    model_path: str,
    source: Source,
    output: str,
    *,
    extras: Extras = NO_EXTRAS,
    overwrite: bool,
    callback: Callback,
    **options: Any,
) -> Job:
    """Label an image file with the clusters of a saved model."""
    from ..model import load_model

    clock = Clock()
    inputs = (*source.files, model_path)
    check_output(output, overwrite, WRITERS, inputs)
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
    job = Job(
        source, output, image, model, labels, _counts(labels, model, first), model.palette(first),
        first, found.backend, found.reason, foreground=found.foreground, match=found.match,
    )  # fmt: skip
    return _written(job, extras, clock, callback, overwrite, distances=found.distances)
