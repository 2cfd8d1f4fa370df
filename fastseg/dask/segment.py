"""`segment` of a dask array."""

from __future__ import annotations

from typing import Any

from ..fitting import Asked
from ..foreground import check_foreground
from ..labelling import choose_start_label
from ..matching import Forward
from ..pixels import axis_rule
from ..progress import Clock, Progress
from ..segmentation import Segmentation
from .cluster import Cluster, check_backend
from .fit import fit_source
from .images import as_dask_image
from .labels import LabelRule, lazy_labels


def segment_dask(
    asked: Asked,
    image: Any,
    *,
    channel_axis: Any,
    mask: Any,
    nodata: float | None,
    foreground: str | None,
    start_label: int | None,
    backend: str,
    n_threads: int | None,
    progress: Progress,
) -> Segmentation:
    """Segment a dask array where Dask computes; the labels are one too, not computed yet."""
    clock = Clock()
    check_backend(backend)
    array = as_dask_image(image, channel_axis, mask, nodata)
    source = array.source()
    task = asked.of(source.dtype, source.n_channels)
    check_foreground(foreground, source.n_channels)
    choose_start_label(start_label, False, 0)
    fit = fit_source(
        task, source, Cluster(), foreground=foreground, n_threads=n_threads,
        progress=progress, clock=clock,
    )  # fmt: skip
    first = choose_start_label(start_label, fit.may_leave_out, fit.n_left_out)
    fitted = fit.fitted
    rule = LabelRule(
        fitted.space_centers, first, Forward(fitted.space), fit.foreground,
        fit.table(first, progress), n_threads or 1,
    )  # fmt: skip
    clock.stop("fit")
    return Segmentation(
        **fitted.fields(),
        dtype=source.dtype.name,
        channel_axis=array.channel_axis,
        start_label=first,
        color_space=asked.color_space,
        axis_rule=axis_rule(channel_axis, array.channel_axis),
        fixed_start=start_label is not None,
        labels=array.result(lazy_labels(array, rule)),
        n_left_out=fit.n_left_out,
        backend="cpu",
        reason=f"the image is a dask array of {len(source.parts):,} blocks",
        seconds=clock.seconds,
        foreground=fit.foreground,
    )
