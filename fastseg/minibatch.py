"""k-means on small batches: each centre is the mean of all points that batches gave it.

After D. Sculley, "Web-Scale K-Means Clustering", WWW 2010. Starts from a part of the
points, clusters of little weight that begin anew, and the rules of stopping are
scikit-learn's, and so are number and order of the draws: a seed gives its centres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from .init_centers import Draws, Generator, check_random_state
from .kernels.backend import Array, Backend, FloatArray, Points
from .parameters import Init
from .progress import Progress
from .solver import start_centers, tolerance
from .summary import count_pixels, spread

# Fewer points are labelled sooner than their distinct values are counted.
_MIN_COUNTED = 2**16

Put = Callable[..., Points]


@dataclass
class RunningMeans:
    """Centres (n_clusters, n_features), and the weight (n_clusters,) each is the mean of.

    ``n_pending`` counts the points since clusters of little weight were looked for.
    """

    centers: FloatArray
    counts: FloatArray = field(init=False)
    n_pending: int = 0

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.centers))

    def go_on_from(self, centers: FloatArray) -> None:
        """Put other centres in the place of these, which keep their weight."""
        if len(centers) != len(self.counts):
            raise ValueError(
                f"cluster_centers_ must have {len(self.counts)} rows, as the batches so far had"
                f" clusters, got {len(centers)}"
            )
        self.centers = centers

    def step(
        self,
        rows: Array,
        points: Points,
        batch_size: int,
        reassignment_ratio: float,
        generator: Generator,
        progress: Progress,
    ) -> float:
        """Take in a batch, ``points`` being its ``rows``; return its inertia before that."""
        self.n_pending += batch_size
        due = self.n_pending >= 10 * len(self.centers) or not self.counts.all()
        if due:
            self.n_pending = 0
        partials = points.accumulate(self.centers)
        counts = self.counts + partials.weights
        sums = self.centers * self.counts[:, None] + partials.sums
        met = partials.weights[:, None] > 0
        self.centers = np.divide(sums, counts[:, None], where=met, out=self.centers.copy())
        self.counts = counts
        if due and reassignment_ratio > 0:
            n_moved = self._reassign(rows, reassignment_ratio, generator)
            if n_moved:
                progress.report("reassigning", n_moved, len(self.centers))
        return partials.inertia

    def _reassign(self, rows: Array, ratio: float, generator: Generator) -> int:
        """Let clusters of little weight begin anew at points of the batch, half of it at most."""
        light = self.counts < ratio * self.counts.max()
        light[np.argmax(self.counts)] = False
        most = len(rows) // 2
        if np.count_nonzero(light) > 0.5 * len(rows):
            light[np.argsort(self.counts, kind="stable")[most:]] = False
        n_light = int(np.count_nonzero(light))
        if n_light:
            self.centers[light] = rows[generator.choice(len(rows), n_light, replace=False)]
            # Enough weight to not be the next ones to go at once.
            self.counts[light] = self.counts[~light].min()
        return n_light


@dataclass(frozen=True)
class Plan:
    """How a fit goes through the points, as `fastseg.MiniBatchKMeans` describes it."""

    batch_size: int
    init_size: int
    n_init: int
    max_iter: int
    tol: float
    max_no_improvement: int | None
    reassignment_ratio: float


@dataclass(frozen=True)
class BatchFit:
    """Centres after ``n_steps`` batches, and the smoothed inertia of a point."""

    means: RunningMeans
    n_steps: int
    inertia: float


def fit_batches(
    rows: Array,
    weights: FloatArray | None,
    n_clusters: int,
    *,
    init: Init,
    plan: Plan,
    random_state: Any,
    backend: Backend,
    n_threads: int | None,
    progress: Progress,
) -> BatchFit:
    """Cluster rows (n, d) by batches drawn from them in proportion to their weights."""
    put = partial(backend.put, n_threads=n_threads)
    draws = RowDraws(rows, weights, check_random_state(random_state))
    means = RunningMeans(_best_start(draws, n_clusters, init, plan, put, progress))
    tol = tolerance(put(rows), plan.tol) if plan.tol else 0.0
    watch = _Watch(plan, len(rows), tol)
    n_steps = plan.max_iter * len(rows) // plan.batch_size
    for step in range(1, n_steps + 1):
        batch = draws.batch(plan.batch_size)
        before = means.centers
        inertia = means.step(
            batch, put(batch), plan.batch_size, plan.reassignment_ratio, draws.generator, progress
        )
        shift = float(np.sum((means.centers - before) ** 2)) if tol else 0.0
        watch.see(inertia / plan.batch_size, shift)
        progress.report("batches", step, n_steps, vars(watch))
        if watch.reason:
            break
    return BatchFit(means, step, watch.inertia if watch.smoothed is None else watch.smoothed)


class RowDraws:
    """Rows drawn with replacement."""

    def __init__(self, rows: Array, weights: FloatArray | None, generator: Generator) -> None:
        self.rows, self.weights, self.generator = rows, weights, generator

    @cached_property
    def _ends(self) -> FloatArray | None:
        """Where each row's share of the weight ends, in 0 to 1."""
        if self.weights is None:
            return None
        ends = np.cumsum(self.weights / self.weights.sum())
        ends /= ends[-1]
        return ends

    def batch(self, size: int) -> Array:
        """Rows in proportion to their weights."""
        places = self.generator.random(size)
        if self._ends is None:
            return self.rows.take((places * len(self.rows)).astype(np.intp), axis=0)
        return self.rows.take(np.searchsorted(self._ends, places, side="right"), axis=0)

    def part(self, size: int) -> tuple[Array, FloatArray | None]:
        """Rows whatever they weigh, and their weights."""
        generator, n = self.generator, len(self.rows)
        if isinstance(generator, np.random.Generator):
            chosen = generator.integers(0, n, size)
        else:
            chosen = generator.randint(0, n, size)
        weights = None if self.weights is None else self.weights[chosen]
        return self.rows.take(chosen, axis=0), weights


def draw_start(
    draws: RowDraws, n_clusters: int, init: Init, init_size: int, put: Put, progress: Progress
) -> FloatArray:
    """Centres to start from, drawn from ``init_size`` of the rows."""
    rows, weights = draws.rows, draws.weights
    if init_size < len(rows):
        rows, weights = draws.part(init_size)
        if weights is not None and not weights.any():
            raise ValueError(
                f"none of the init_size={init_size} points drawn for a start weighs anything;"
                " raise init_size, or leave out the points of weight zero"
            )
    chosen = Draws(rows, weights, put(rows, weights))
    return start_centers(init, chosen, n_clusters, draws.generator, progress)


def _best_start(
    draws: RowDraws, n_clusters: int, init: Init, plan: Plan, put: Put, progress: Progress
) -> FloatArray:
    """Of ``n_init`` starts the one of least inertia on a part of the rows."""
    judge = put(*draws.part(plan.init_size))
    starts: list[tuple[float, FloatArray]] = []
    for number in range(1, plan.n_init + 1):
        progress.report("starts", number, plan.n_init, {"inertia": None})
        centers = draw_start(draws, n_clusters, init, plan.init_size, put, progress)
        inertia = judge.accumulate(centers).inertia
        progress.report("starts", number, plan.n_init, {"inertia": inertia})
        starts.append((inertia, centers))
    return min(starts, key=lambda start: start[0])[1]


class _Watch:
    """Says when to stop: batches give no better inertia, or move the centres too little."""

    def __init__(self, plan: Plan, n_rows: int, tol: float) -> None:
        self.share = min(1.0, 2.0 * plan.batch_size / (n_rows + 1))
        self.tol = tol
        self.max_no_improvement = plan.max_no_improvement
        self.inertia = np.inf
        self.smoothed: float | None = None
        self.least = np.inf
        self.n_no_improvement = 0
        self.reason = ""
        self.n_seen = 0

    def see(self, inertia: float, shift: float) -> None:
        """Look at the mean inertia of a batch, and at how far it moved the centres."""
        self.inertia = inertia
        self.n_seen += 1
        if self.n_seen == 1:
            return  # that was the start's
        if self.smoothed is None:
            self.smoothed = inertia
        else:
            self.smoothed += self.share * (inertia - self.smoothed)
        if self.tol > 0 and shift <= self.tol:
            self.reason = "small centers change"
            return
        self.n_no_improvement = 0 if self.smoothed < self.least else self.n_no_improvement + 1
        self.least = min(self.least, self.smoothed)
        if self.max_no_improvement is not None and self.n_no_improvement >= self.max_no_improvement:
            self.reason = "lack of improvement in inertia"


def label_rows(
    rows: Array,
    weights: FloatArray | None,
    centers: FloatArray,
    *,
    backend: Backend,
    n_threads: int | None,
) -> tuple[Array, float]:
    """Nearest centre (n,) int32 of each row, and the inertia; integers by their distinct values."""
    values, counts, counter = rows, weights, None
    if weights is None and rows.dtype.kind in "ui" and len(rows) >= _MIN_COUNTED:
        values, counts, counter = count_pixels(
            rows, backend, n_threads=n_threads, progress=Progress()
        )
    points = backend.put(values, counts, repeated=values is not rows, n_threads=n_threads)
    table, inertia = points.label(centers)
    return spread(rows, values, counter, table, None), inertia
