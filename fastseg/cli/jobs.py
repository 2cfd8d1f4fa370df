"""Whole jobs from file to file, as the command line runs them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..dispatch import choose_backend
from ..drawing import check_plot, save_figure
from ..io import (
    WRITERS,
    Image,
    atomic_write,
    check_labels,
    check_output,
    encode_labels,
    read_centers,
    read_image,
    read_mask,
)
from ..kernels.backend import Problem
from ..pixels import as_pixels
from ..progress import Callback, Clock, Progress
from ..summary import summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..model import Model, Segmentation


DEFAULT_N_CLUSTERS = 8
_MAX_SORTED = 1 << 24  # values that are counted the slow way, in a few seconds
NAMED_STARTS = ("k-means++", "random")


@dataclass(frozen=True)
class Source:
    """The pixels to work on: a file, and which of its pixels take part."""

    path: str
    mask: str | None = None
    nodata: float | None = None
    max_pixels: int | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read."""
        return (self.path,) if self.mask is None else (self.path, self.mask)

    def read(self) -> tuple[Image, NDArray[np.bool_] | None]:
        """Read the image, and the mask where there is one."""
        image = read_image(self.path, max_pixels=self.max_pixels)
        if self.mask is None:
            return image, None
        return image, read_mask(self.mask, max_pixels=self.max_pixels)


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
        from ..model import Segmentation

        model = self.model
        entries: dict[str, Any] = {
            "input": self.source.path,
            "output": self.output,
            "grid": list(self.labels.shape),
            "dtype": self.image.pixels.dtype.name,
            "n_channels": model.n_channels,
            "n_clusters": model.n_clusters,
            "centers": model.centers.tolist(),
            "counts": self.counts.tolist(),
        }
        if isinstance(model, Segmentation):
            for name in ("inertia", "n_iter", "converged", "method"):
                entries[name] = getattr(model, name)
            entries["chosen_k_reason"] = self.chosen_k_reason
        entries |= {
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
    model_path: str | None = None,
    report_path: str | None = None,
    dendrogram_path: str | None = None,
    overwrite: bool = False,
    callback: Callback,
    **options: Any,
) -> Job:
    """Segment an image file and write its labels, and its model and drawings where asked.

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
    outputs = [output]
    for drawing in filter(None, (report_path, dendrogram_path)):
        check_plot(drawing, overwrite, inputs)
        if os.path.realpath(drawing) in map(os.path.realpath, outputs):
            raise ValueError(f"{drawing}: is asked for twice; give the outputs different names")
        outputs.append(drawing)
    if dendrogram_path is not None and options.get("method") != "ward":
        raise ValueError("--dendrogram draws Ward's tree; use it with --method ward")
    if isinstance(n_clusters, int):
        check_labels(output, n_clusters)

    callback("read", 0, 0, {})
    image, mask = source.read()
    start = start_centers(init, image)
    n_clusters = _fitting(n_clusters, start)
    first = int(_may_leave_out(image, mask, source.nodata)) if start_label is None else start_label
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
        callback=callback,
        **options,
    )
    clock.stop("segment")

    drawings = {}
    if report_path is not None or dendrogram_path is not None:
        callback("draw", 0, 0, {})
        drawings = _draw(image, result, source.path, report_path, dendrogram_path)
        clock.stop("draw")
    callback("write", 0, 0, {})
    colors = result.palette()
    with atomic_write(output, overwrite=overwrite) as file:
        left_out = result.start_label == 1
        encode_labels(file, output, result.labels, colors=colors, left_out=left_out)
        if model_path is not None:
            result.save(model_path, overwrite=overwrite)
        for path, figure in drawings.items():
            save_figure(figure, path, overwrite=overwrite)
    clock.stop("write")
    seconds = clock.result(result.seconds)
    return Job(
        source, output, image, result, result.labels, result.counts, colors,
        result.start_label, result.backend, result.reason, seconds,
    )  # fmt: skip


def _draw(
    image: Image, result: Segmentation, name: str, report_path: str | None, tree_path: str | None
) -> dict[str, Figure]:
    """Make the drawings that are asked for, by the files they go to."""
    from ..dendrogram_picture import dendrogram
    from ..report_picture import report

    drawings = {}
    if report_path is not None:
        drawings[report_path] = report(image, result, title=os.path.basename(name))
    if tree_path is not None:
        drawings[tree_path] = dendrogram(result)
    return drawings


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
    overwrite: bool,
    callback: Callback,
    **options: Any,
) -> Job:
    """Label an image file with the clusters of a saved model."""
    from ..model import load_model

    clock = Clock()
    check_output(output, overwrite, WRITERS, (*source.files, model_path))
    callback("read", 0, 0, {})
    model = load_model(model_path)
    image, mask = source.read()
    check_labels(output, model.n_clusters + model.start_label, image.grid)
    clock.stop("read")
    found = model.label(image, mask=mask, nodata=source.nodata, callback=callback, **options)
    labels, first = found.labels, found.start_label
    clock.stop("predict")

    callback("write", 0, 0, {})
    colors = model.palette(first)
    with atomic_write(output, overwrite=overwrite) as file:
        encode_labels(file, output, labels, colors=colors, left_out=first == 1)
    clock.stop("write")
    counts = np.bincount(labels.ravel(), minlength=first + model.n_clusters)[first:]
    return Job(
        source, output, image, model, labels, counts, colors, first, found.backend, found.reason,
        clock.result(),
    )  # fmt: skip


def describe(source: Source, callback: Callback) -> dict[str, Any]:
    """Tell what an image file holds, without clustering it."""
    callback("read", 0, 0, {})
    image, _ = source.read()
    pixels = as_pixels(image, "auto", None, None)
    n, d = pixels.values.shape
    backend = choose_backend(Problem(n, d, 1, pixels.values.dtype.name)).backend
    summary = summarize(pixels.values, backend, tick=Progress(callback).tick("count"))
    n_distinct: int | None = None  # not counted
    if summary is not None:
        n_distinct = len(summary.values)
    elif pixels.values.size <= _MAX_SORTED:
        n_distinct = len(np.unique(pixels.values, axis=0))
    ranges = [[channel.min().item(), channel.max().item()] for channel in pixels.values.T]
    return {
        "file": source.path,
        "grid": list(pixels.grid),
        "n_channels": pixels.values.shape[1],
        "dtype": pixels.dtype.name,
        "ranges": ranges,
        "n_distinct": n_distinct,
        "n_left_out": pixels.n_left_out,
        "notes": list(image.notes),
    }


def _may_leave_out(image: Image, mask: NDArray[np.bool_] | None, nodata: float | None) -> bool:
    """Whether labels count from 1, by the library's rule."""
    if mask is not None or nodata is not None or image.valid is not None:
        return True
    return image.pixels.dtype.kind == "f" and bool(np.isnan(image.pixels).any())
