"""What labels by a model depend on beside a pixel's own values, of a dask array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..foreground import check_counted, check_foreground, foreground_of
from ..kernels.backend import Array
from ..matching import Profile, matched
from ..pixels import check_kept
from ..progress import Progress
from .cluster import Cluster, check_backend
from .counting import count
from .images import Source
from .points import pieces_of
from .survey import survey


@dataclass(frozen=True)
class Seen:
    """What had to be known of an image before it can be labelled."""

    may_leave_out: bool
    foreground: float | None = None
    fit: Callable[[Array], Array] | None = None
    n_passes: int = 0


def check_lazy(backend: str, with_distances: bool) -> None:
    """Refuse what is not done block by block."""
    check_backend(backend)
    if with_distances:
        raise TypeError(
            "image is a dask array, of which distances are not computed; use image.compute() where"
            " it fits into memory"
        )


def look(
    source: Source,
    cluster: Cluster,
    foreground: Any,
    match: str | None,
    profile: Profile | None,
    progress: Progress,
    *,
    n_threads: int | None,
    for_nan: bool,
) -> Seen:
    """Read the image once where its labels depend on all of it: to match, or to look for NaN."""
    check_foreground(foreground, source.n_channels)
    n = source.n_pixels
    beat = progress.heartbeat_at("check")
    if foreground is None and match is None:
        known = source.may_leave_out or not for_nan or not source.may_hide
        hides = not known and cluster.reduce(
            source.parts,
            _leaves_out,
            any,
            source.read,
            tick=lambda done, tasks: beat(done * n // tasks, n),
        )
        return Seen(source.may_leave_out or bool(hides), n_passes=int(not known))
    tally = count(cluster, source, progress)
    check_kept(tally.n)
    check_counted(foreground, tally.pays)
    may_leave_out = source.may_leave_out or tally.may_leave_out or foreground is not None
    if tally.pays:
        assert tally.summary is not None
        values, weights = tally.summary.values, tally.summary.counts.astype(np.float64)
        dark = foreground_of(values, weights, foreground, n_threads=n_threads, progress=progress)
        threshold = None if foreground is None else float(values[dark, 0])
        fit = None if match is None else matched(match, values[dark:], weights[dark:], profile)
        return Seen(may_leave_out, threshold, fit, 1)
    _, sample = survey(cluster, pieces_of(source, cluster, held=False), source.grid, None)
    return Seen(may_leave_out, None, matched(match, sample, None, profile), 2)


def _leaves_out(*given: Any) -> bool:
    *part, read = given
    return bool(read(*part).kept is not None)
