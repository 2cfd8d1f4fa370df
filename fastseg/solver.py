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

from .arrays import as_points, as_weights
from .dispatch import choose_backend
from .init_centers import check_random_state, kmeans_plusplus, random_points
from .kernels.backend import Array, Backend, FloatArray, Partials, Points, Problem, Tick
from .progress import Callback, Progress


class ConvergenceWarning(UserWarning):
    """A run stopped at ``max_iter``, or found fewer distinct clusters than asked for."""


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
    points: Points,
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
    info = dict(info or {}) | {"tol": tol}

    def tick(n_iter: int) -> Tick | None:
        return progress.heartbeat("iterations", n_iter, max_iter, info)

    centers = init_centers
    partials = points.accumulate(centers, tick(0))
    for n_iter in range(1, max_iter + 1):
        previous, previous_centers = partials, centers
        centers = _update(points, centers, partials, tick(n_iter - 1))
        shift = float(np.sum((centers - previous_centers) ** 2))
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
                if not np.array_equal(points.assign(centers), points.assign(previous_centers)):
                    continue
                partials = points.accumulate(last, tick(n_iter))
            info |= {"inertia": partials.inertia, "shift": 0.0, "strict": True}
            progress.report("iterations", n_iter + 1, max_iter, info)
            return Run(init_centers, last, partials, n_iter + 1, True)
    return Run(init_centers, centers, partials, max_iter, False)


def _same(a: Partials, b: Partials) -> bool:
    return np.array_equal(a.weights, b.weights) and np.array_equal(a.sums, b.sums)


def _update(
    points: Points, centers: FloatArray, partials: Partials, tick: Tick | None
) -> FloatArray:
    """New centres: means, after each empty cluster has taken the farthest point left."""
    sums, weights = partials.sums, partials.weights
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
    n_clusters: Any, init: Any, n_init: Any, max_iter: Any, tol: Any, n_features: int
) -> tuple[Init, int]:
    """Validate the parameters all entry points share; return ``init`` and the number of runs."""
    for name, value in (("n_clusters", n_clusters), ("max_iter", max_iter)):
        _check_count(name, value)
    if isinstance(tol, bool) or not isinstance(tol, (int, float, np.number)) or not tol >= 0:
        raise ValueError(f"tol must be a number of at least 0, got {tol!r}")
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ValueError(
                f"init must be 'k-means++', 'random' or an array of centres, got {init!r}"
            )
    elif not callable(init):
        init = check_centers(init, n_clusters, n_features)
    if isinstance(n_init, str) and n_init == "auto":
        n_init = 10 if callable(init) or (isinstance(init, str) and init == "random") else 1
    _check_count("n_init", n_init)
    if isinstance(init, np.ndarray) and n_init != 1:
        warnings.warn(
            "Explicit initial center position passed: performing only one init instead of"
            f" n_init={n_init}.",
            RuntimeWarning,
            stacklevel=3,
        )
        n_init = 1
    return init, int(n_init)


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


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
    if array.ndim != 2 or len(array) != n_clusters:
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


def solve(
    points: Points,
    values: Array,
    weights: FloatArray | None,
    n_clusters: int,
    *,
    init: Init,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: Any,
    progress: Progress,
) -> Run:
    """Best of ``n_init`` runs; ``values`` and ``weights`` are the points on the host.

    Parameters are taken as valid, and ``tol`` as absolute.
    """
    generator = check_random_state(random_state)
    best: Run | None = None
    for number in range(n_init):
        if isinstance(init, np.ndarray):
            start = init
        elif callable(init):
            given = init(values, n_clusters, random_state=generator)
            start = check_centers(given, n_clusters, points.n_features)
        elif init == "random":
            start = random_points(values, weights, n_clusters, generator)
        else:
            start = kmeans_plusplus(points, values, weights, n_clusters, generator, progress)
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


def warn_unless_converged(
    run: Run, max_iter: int, category: type[Warning] = ConvergenceWarning, stacklevel: int = 3
) -> None:
    """Warn of a run that stopped at ``max_iter``."""
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
) -> Fit:
    """Put the points where the backend computes and solve; ``tol`` is relative.

    ``repeated`` weights are counts of equal points: the tolerance then rests on the
    variance of all of them, while sample weights leave it unweighted, as in
    scikit-learn.
    """
    put = backend.put
    points = put(values, weights, repeated=repeated, n_threads=n_threads)
    unweighted = points if weights is None or repeated else put(values, n_threads=n_threads)
    run = solve(
        points,
        values,
        weights,
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tolerance(unweighted, tol, progress.heartbeat("init", 0, n_clusters)),
        random_state=random_state,
        progress=progress,
    )
    return Fit(run, points)


def k_means(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: Any = None,
    init: Any = "k-means++",
    n_init: Any = "auto",
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: Any = None,
    return_n_iter: bool = False,
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
) -> tuple[Any, ...]:
    """Cluster points by k-means, without importing scikit-learn.

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Points. uint8, uint16, int16, float32 and float64 are used as they are, in
        place when C-contiguous.
    n_clusters : int
        Number of clusters, at most the number of points.
    sample_weight : array_like of shape (n_samples,), optional
        Weights of the points, not negative.
    init : {"k-means++", "random"}, array_like of shape (n_clusters, n_features) or callable
        Starting centres: greedy k-means++, points drawn at random, given ones, or
        what ``init(X, n_clusters, random_state=...)`` returns.
    n_init : int or "auto"
        Runs from different starts, of which the best is kept. "auto" is 1 for
        k-means++ and given centres, else 10.
    max_iter : int
        Iterations of a run at most.
    tol : float
        A run stops when the squared shift of the centres is at most ``tol`` times the
        mean variance of the features.
    random_state : int, RandomState, Generator or None
        Source of the draws.
    return_n_iter : bool
        Whether to return the number of iterations as well.
    backend : str
        "auto" or one of `available_backends`.
    n_threads : int, optional
        Threads of the CPU backend; -1 or by default all that may be used.
    callback : callable, optional
        ``callback(stage, done, total, info)`` follows the work and stops it by
        returning True.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features), float64
        Centres.
    labels : ndarray of shape (n_samples,), int32
        Index of the nearest centre of each point; the lowest wins a tie.
    inertia : float
        Weighted sum of squared distances to the nearest centre.
    n_iter : int
        Iterations of the best run, only if ``return_n_iter``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or X holds NaN or infinite values.
    Stopped
        If the callback returned True.

    Warns
    -----
    ConvergenceWarning
        If the best run stopped at ``max_iter``.

    References
    ----------
    S. Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28, 1982.
    D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
    """
    values = as_points(X, "X")
    init, n_init = check_parameters(n_clusters, init, n_init, max_iter, tol, values.shape[1])
    if n_clusters > len(values):
        raise ValueError(f"n_samples={len(values)} should be >= n_clusters={n_clusters}.")
    progress = Progress(callback)
    problem = Problem(values.shape[0], values.shape[1], n_clusters, values.dtype.name)
    choice = choose_backend(problem, backend)
    fit = fit_points(
        values,
        as_weights(sample_weight, len(values)),
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
        backend=choice.backend,
        n_threads=n_threads,
        progress=progress,
    )
    warn_unless_converged(fit.run, max_iter)
    labels = fit.points.assign(fit.run.centers, tick=progress.tick("labels"))
    result = (fit.run.centers, labels, fit.run.inertia)
    return (*result, fit.run.n_iter) if return_n_iter else result
