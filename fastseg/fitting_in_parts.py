"""Clusters of pixels that are too many and too different to be summarized: Lloyd over parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .class_names import check_names
from .color import ColorSpace, label_order
from .fitting import Fitted, Task
from .init_centers import Draws
from .kernels.backend import Array, Backend, FloatArray, Points, PointsInParts
from .matching import Profile
from .methods import choose_method
from .progress import Clock, Progress
from .solver import solve, tolerance, warn_of
from .standardizing import Standardized
from .summary import check_distinct
from .sweep import choose_n_clusters


class Parts(PointsInParts, Protocol):
    """Points in parts that know their values in image units."""

    def mean_values(self, centers: FloatArray) -> FloatArray:
        """Mean in image units (n_clusters, channels) of the pixels of each centre."""


@dataclass(frozen=True)
class Known:
    """What a pass has told of the pixels, in image units.

    ``sample`` (m, channels) stands for them where the number of clusters is chosen, in the
    profile, and where starts are drawn from it. ``moments`` (channels, 2) and ``ranges``
    (channels, 2) are those of all.
    """

    sample: Array
    moments: FloatArray
    ranges: FloatArray


# Points that starts are drawn from, and those that the tolerance rests on.
Start = Callable[[Parts, Array, Points], tuple[Draws, Points | PointsInParts]]


def draw_from_sample(points: Parts, sample: Array, held: Points) -> tuple[Draws, Points]:
    """Draw starts from the sample alone, which takes no pass."""
    return Draws(sample, None, held), held


def fit_in_parts(
    task: Task,
    known: Known,
    parts_in: Callable[[ColorSpace], Parts],
    start_from: Start,
    *,
    backend: Backend,
    n_threads: int | None,
    progress: Progress,
    clock: Clock,
) -> Fitted:
    """Lloyd's iterations, each a pass over the parts; ``parts_in`` puts them into a space."""
    asked, space, k = task.asked, task.space, task.n_most
    sample, d = known.sample, known.sample.shape[1]
    if asked.standardize:
        space = Standardized(moments=known.moments)
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
    inside = space.forward(sample)
    held = backend.put(inside, n_threads=n_threads)
    points = parts_in(space)
    draws, measured = start_from(points, inside, held)
    start: Any = task.start
    run = solve(
        points, draws, k, init=space.forward(start) if isinstance(start, np.ndarray) else start,
        n_init=task.n_runs, max_iter=asked.max_iter, tol=tolerance(measured, asked.tol),
        random_state=task.generator, progress=progress,
    )  # fmt: skip
    warn_of(run, asked.max_iter, stacklevel=6)
    means = run.centers
    if space.name != "rgb":
        means = points.mean_values(means)
    order = label_order(means)
    wanted = asked.keep_profile or d == 1
    clock.stop("fit")
    return Fitted(
        centers=means[order],
        space_centers=np.ascontiguousarray(run.centers[order]),
        counts=run.partials.weights[order].astype(np.int64),
        inertia=run.inertia,
        value_range=known.ranges.astype(np.float64),
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
