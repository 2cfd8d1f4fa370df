"""Clusters of an image in parts that workers read: of its counts, or in rounds over its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import check_magnitude
from ..backends import backend_named
from ..fitting import Fitted, Task, fit_clusters
from ..fitting_in_parts import Known, Parts, fit_in_parts
from ..foreground import check_counted, foreground_of
from ..init_centers import Draws
from ..kernels.backend import Array, Points
from ..pixels import check_kept
from ..progress import Clock, Progress
from .cluster import Cluster
from .counting import Tally, count
from .images import Source
from .labels import Table
from .points import DaskPoints, DaskRows, Pieces
from .survey import survey


@dataclass(frozen=True)
class DaskFit:
    """Clusters, and what their labels depend on.

    ``dark`` is the stored value below which pixels are background, ``values`` are the
    distinct ones, of which the first ``n_dark`` are.
    """

    fitted: Fitted
    n_left_out: int
    may_leave_out: bool
    foreground: float | None = None
    values: Array | None = None
    n_dark: int = 0

    def table(self, first_label: int, progress: Progress) -> Table | None:
        """Labels of the distinct values, where they are not those of the nearest centres."""
        if self.fitted.partition is None or self.values is None:
            return None
        labels = self.fitted.table(first_label, progress)
        return Table(self.values, np.concatenate([np.zeros(self.n_dark, labels.dtype), labels]))


def fit_source(
    task: Task,
    source: Source,
    cluster: Cluster,
    *,
    foreground: Any,
    n_threads: int | None,
    progress: Progress,
    clock: Clock,
) -> DaskFit:
    """Find clusters of all pixels that take part."""
    tally = count(cluster, source, progress)
    check_kept(tally.n)
    check_counted(foreground, tally.pays)
    may_leave_out = source.may_leave_out or tally.may_leave_out or foreground is not None
    if tally.pays:
        return _of_counts(
            task, tally, may_leave_out, foreground, n_threads=n_threads, progress=progress,
            clock=clock,
        )  # fmt: skip
    n_left_out = tally.n_left_out
    del tally
    clock.stop("count")
    beat = progress.heartbeat("init", 0, task.n_most)
    pieces = Pieces(source, cluster, n_threads or 1, beat)
    moments, sample = survey(cluster, pieces.parts, source.grid, beat)
    known = Known(sample, moments.table, moments.ranges)
    fitted = fit_in_parts(
        task, known, lambda space: DaskPoints(pieces, space), _draw_from_all,
        backend=backend_named("cpu"), n_threads=n_threads, progress=progress, clock=clock,
    )  # fmt: skip
    return DaskFit(fitted, n_left_out, may_leave_out)


def _of_counts(
    task: Task,
    tally: Tally,
    may_leave_out: bool,
    foreground: Any,
    *,
    n_threads: int | None,
    progress: Progress,
    clock: Clock,
) -> DaskFit:
    assert tally.summary is not None
    values, weights = tally.summary.values, tally.summary.counts.astype(np.float64)
    check_magnitude(values, "image")
    first = foreground_of(values, weights, foreground, n_threads=n_threads, progress=progress)
    fitted = fit_clusters(
        task, values[first:], weights[first:], backend=backend_named("cpu"), n_threads=n_threads,
        progress=progress, clock=clock,
    )  # fmt: skip
    return DaskFit(
        fitted,
        tally.n_left_out + int(weights[:first].sum()),
        may_leave_out,
        None if foreground is None else float(values[first, 0]),
        values,
        first,
    )


def _draw_from_all(points: Parts, sample: Array, held: Points) -> tuple[Draws, Parts]:
    """Draw starts from all pixels in their order, as from an image in memory."""
    assert isinstance(points, DaskPoints)
    return Draws(DaskRows(points), None, points), points
