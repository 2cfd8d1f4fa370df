"""k-means on points: starts, Lloyd's iterations, the best of several runs.

Everything here is of size n_clusters x n_features, in float64 and on the host; what
is of size n is asked of the resident points. The meaning of ``tol``, ``max_iter``,
``n_init`` and empty clusters is scikit-learn's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .init_centers import Generator, check_random_state, kmeans_plusplus, random_points
from .kernels.backend import Array, Backend, FloatArray, Partials, Points, PointsInParts, Tick
from .progress import Progress

Solved = Points | PointsInParts


class ConvergenceWarning(UserWarning):
    """A run stopped at ``max_iter``, or found fewer clusters than asked for."""


@dataclass(frozen=True)
class Run:
    """One run of Lloyd's iterations, with the assignment to its last centres."""

    init_centers: FloatArray
    centers: FloatArray
    partials: Partials
    n_iter: int
    converged: bool

    @property
    def inertia(self) -> float:
        """Weighted sum of squared distances to the nearest of the last centres."""
        return self.partials.inertia


def lloyd(
    points: Solved,
    init_centers: FloatArray,
    *,
    max_iter: int = 300,
    tol: float = 0.0,
    progress: Progress | None = None,
    info: dict[str, Any] | None = None,
) -> Run:
    """Lloyd's iterations from given centres (Lloyd 1982).

    Stops when the assignment no longer changes or the sum of squared shifts of the
    centres is at most ``tol`` (absolute, in squared units of the points). Sums are
    exact or added in a fixed order, so an unchanged assignment shows as unchanged
    partials, and labels need not be compared.
    """
    progress = progress or Progress()
    # Nothing is known of inertia and shift in the first pass.
    info = dict(info or {}) | {"tol": tol, "inertia": None, "shift": None}

    def tick(n_iter: int) -> Tick | None:
        return progress.heartbeat("iterations", n_iter, max_iter, info)

    centers = init_centers
    partials = points.accumulate(centers, tick(0))
    for n_iter in range(1, max_iter + 1):
        previous, previous_centers = partials, centers
        centers = _update(points, centers, partials, tick(n_iter - 1))
        shift = float(np.add.reduce((centers - previous_centers) ** 2, axis=None))
        info |= {"inertia": partials.inertia, "shift": shift}
        progress.report("iterations", n_iter, max_iter, info)
        partials = points.accumulate(centers, tick(n_iter))
        if shift <= tol:
            return Run(init_centers, centers, partials, n_iter, True)
        if _same(partials, previous) and n_iter < max_iter:
            # The next iteration finds the labels of this one again, and the same
            # centres, unless empty clusters take other points than before.
            last = _update(points, centers, partials, tick(n_iter))
            if not np.array_equal(last, centers):
                # Points that weigh nothing change labels and leave no trace in the sums.
                if not _label_alike(points, centers, previous_centers):
                    continue
                partials = points.accumulate(last, tick(n_iter))
            info |= {"inertia": partials.inertia, "shift": 0.0, "strict": True}
            progress.report("iterations", n_iter + 1, max_iter, info)
            return Run(init_centers, last, partials, n_iter + 1, True)
    return Run(init_centers, centers, partials, max_iter, False)


def _same(a: Partials, b: Partials) -> bool:
    return bool((a.weights == b.weights).all() and (a.sums == b.sums).all())


def _label_alike(points: Solved, centers: FloatArray, others: FloatArray) -> bool:
    """Whether all points get the same labels from two tables of centres."""
    parts = points.parts() if isinstance(points, PointsInParts) else [points]
    return all(np.array_equal(part.assign(centers), part.assign(others)) for part in parts)


def _update(
    points: Solved, centers: FloatArray, partials: Partials, tick: Tick | None
) -> FloatArray:
    """New centres: means, after each empty cluster has taken the farthest point left."""
    sums, weights = partials.sums, partials.weights
    if weights.min() > 0:
        means: FloatArray = sums / weights[:, None]
        return means
    empty = np.flatnonzero(weights == 0)
    if len(empty):
        sums, weights = sums.copy(), weights.copy()
        far = points.farthest(centers, len(empty), tick)
        # All distances zero: fewer distinct points than clusters, nothing to relocate.
        if len(far.distances) and far.distances[0] > 0:
            for new, value, weight, old in zip(
                empty, far.values, far.weights, far.labels, strict=False
            ):
                sums[old] -= value * weight
                weights[old] -= weight
                sums[new] = value * weight
                weights[new] = weight
    means = np.divide(sums, weights[:, None], where=weights[:, None] > 0, out=np.empty_like(sums))
    means[weights <= 0] = means[np.argmax(weights)]
    return means


def tolerance(points: Points, tol: float, tick: Tick | None = None) -> float:
    """Absolute tolerance: ``tol`` times the mean variance of the features of the points."""
    if tol == 0:
        return 0.0
    origin = points.accumulate(np.zeros((1, points.n_features)), tick)
    mean = origin.sums / origin.weights
    return (
        tol * points.accumulate(mean, tick).inertia / float(origin.weights[0]) / points.n_features
    )


Init = str | Array | Callable[..., Any]


def check_parameters(
    n_clusters: Any,
    init: Any,
    n_init: Any,
    max_iter: Any,
    tol: Any,
    n_features: int,
    *,
    several: int = 10,
    stacklevel: int = 3,
) -> tuple[Init, int]:
    """Validate the parameters all entry points share; return ``init`` and the number of runs.

    ``several`` are the runs from random starts, or a function's, with ``n_init="auto"``.
    """
    for name, value in (("n_clusters", n_clusters), ("max_iter", max_iter)):
        check_count(name, value)
    check_not_negative("tol", tol)
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ValueError(
                f"init must be 'k-means++', 'random' or an array of centres, got {init!r}"
            )
    elif not callable(init):
        init = check_centers(init, n_clusters, n_features)
    if isinstance(n_init, str) and n_init == "auto":
        n_init = several if callable(init) or (isinstance(init, str) and init == "random") else 1
    check_count("n_init", n_init)
    if isinstance(init, np.ndarray) and n_init != 1:
        warnings.warn(
            "Explicit initial center position passed: performing only one init instead of"
            f" n_init={n_init}.",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
        n_init = 1
    return init, int(n_init)


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise TypeError or ValueError for what is no whole number of at least ``least``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_not_negative(name: str, value: Any) -> None:
    """Raise ValueError for what is no number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value >= 0:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def check_centers(centers: Any, n_clusters: int, n_features: int) -> FloatArray:
    """Centres (n_clusters, n_features) float64, from an array-like."""
    try:
        array = np.array(centers, dtype=np.float64, order="C")
    except (TypeError, ValueError):
        array = np.empty(())
    if array.ndim == 0:
        raise ValueError(
            f"init must be 'k-means++', 'random' or an array of centres, got {centers!r}"
        )
    if array.ndim == 1 and n_features == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(
            f"The shape of the initial centers {array.shape} does not match (n_clusters,"
            f" n_features) = ({n_clusters}, {n_features})."
        )
    if len(array) != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {array.shape} does not match the number of"
            f" clusters {n_clusters}."
        )
    if array.shape[1] != n_features:
        raise ValueError(
            f"The shape of the initial centers {array.shape} does not match the number of"
            f" features of the data {n_features}."
        )
    if not np.isfinite(array).all():
        raise ValueError("init holds NaN or infinite centres")
    return array


@dataclass(frozen=True)
class Draws:
    """Points that starts are drawn from: on the host, and where they are computed on."""

    values: Array
    weights: FloatArray | None
    points: Points


def start_centers(
    init: Init, draws: Draws, n_clusters: int, generator: Generator, progress: Progress
) -> FloatArray:
    """Starting centres (n_clusters, n_features): given, made by a function, or drawn."""
    values, weights = draws.values, draws.weights
    if isinstance(init, np.ndarray):
        return init
    if callable(init):
        given = init(values, n_clusters, random_state=generator)
        return check_centers(given, n_clusters, draws.points.n_features)
    if init == "random":
        return random_points(values, weights, n_clusters, generator)
    return kmeans_plusplus(draws.points, values, weights, n_clusters, generator, progress)


def solve(
    points: Solved,
    draws: Draws,
    n_clusters: int,
    *,
    init: Init,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: Any,
    progress: Progress,
) -> Run:
    """Best of ``n_init`` runs. Parameters are taken as valid, and ``tol`` as absolute."""
    generator = check_random_state(random_state)
    best: Run | None = None
    for number in range(n_init):
        start = start_centers(init, draws, n_clusters, generator, progress)
        info = {"run": number + 1, "n_init": n_init}
        progress.report("init", n_clusters, n_clusters, info)
        run = lloyd(points, start, max_iter=max_iter, tol=tol, progress=progress, info=info)
        if best is None or (run.inertia < best.inertia and not _same_clustering(run, best)):
            best = run
    assert best is not None
    return best


def _same_clustering(a: Run, b: Run) -> bool:
    """Whether two runs found the same clusters, be it in another order."""
    tables = (np.column_stack([run.partials.weights, run.partials.sums]) for run in (a, b))
    first, second = (table[np.lexsort(table.T)] for table in tables)
    return np.array_equal(first, second)


def warn_of(
    run: Run, max_iter: int, category: type[Warning] = ConvergenceWarning, stacklevel: int = 3
) -> None:
    """Warn of a run that stopped at ``max_iter``, or left clusters without points."""
    found = np.count_nonzero(run.partials.weights)
    if found < len(run.centers):
        warnings.warn(
            f"Number of distinct clusters ({found}) found smaller than n_clusters"
            f" ({len(run.centers)}). Possibly due to duplicate points in X.",
            category,
            stacklevel=stacklevel,
        )
    if not run.converged:
        warnings.warn(
            f"k-means stopped at max_iter={max_iter} before it converged; raise max_iter or tol",
            category,
            stacklevel=stacklevel,
        )


@dataclass(frozen=True)
class Fit:
    """A solved problem and the points it was solved on."""

    run: Run
    points: Points


def fit_points(
    values: Array,
    weights: FloatArray | None,
    n_clusters: int,
    *,
    init: Init,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: Any,
    backend: Backend,
    n_threads: int | None,
    progress: Progress,
    repeated: bool = False,
    draws: Draws | None = None,
) -> Fit:
    """Put the points where the backend computes and solve; ``tol`` is relative.

    ``repeated`` weights are counts of equal points: the tolerance then rests on the
    variance of all of them, while sample weights leave it unweighted, as in
    scikit-learn. Starts are drawn from the points unless from ``draws``.
    """
    put = backend.put
    points = put(values, weights, repeated=repeated, n_threads=n_threads)
    unweighted = points if weights is None or repeated else put(values, n_threads=n_threads)
    run = solve(
        points,
        draws or Draws(values, weights, points),
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tolerance(unweighted, tol, progress.heartbeat("init", 0, n_clusters)),
        random_state=random_state,
        progress=progress,
    )
    return Fit(run, points)
