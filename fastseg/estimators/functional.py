"""k-means of rows, in scikit-learn's words but without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array_libraries import from_caller, is_on_gpu
from ..arrays import as_points, as_weights, check_magnitude, is_lazy
from ..dispatch import choose_backend
from ..init_centers import Draws
from ..kernels.backend import FloatArray, Problem
from ..parameters import check_parameters
from ..progress import Callback, Progress
from ..resident import empty_beside, rows_there
from ..solver import Run, fit_points, warn_of
from ..summary import summarize


@dataclass(frozen=True)
class RowFit:
    """Clusters of rows, and the cluster of each row (n,) int32."""

    run: Run
    labels: Any
    backend: str


def fit_rows(
    values: Any,
    weights: FloatArray | None,
    n_clusters: int,
    *,
    backend: str,
    n_threads: int | None,
    progress: Progress,
    **options: Any,
) -> RowFit:
    """Cluster rows (n, d); integer rows by their distinct values, with the same result.

    Starts are drawn from the rows in their order, as scikit-learn draws them.
    """
    chosen = choose_backend(Problem.of(values, n_clusters), backend).backend
    summary = None
    # Sums of integers are exact in any order; those of floats would differ in the last bits.
    if weights is None and values.dtype.kind in "ui":
        summary = summarize(values, chosen, n_threads=n_threads, tick=progress.tick("count"))
    options |= {"backend": chosen, "n_threads": n_threads, "progress": progress}
    if summary is None or summary.counter is None:
        fit = fit_points(values, weights, n_clusters, **options)
        labels = fit.points.assign(fit.run.centers, tick=progress.tick("labels"))
        return RowFit(fit.run, labels, chosen.name)
    fit = fit_points(
        summary.values,
        summary.counts.astype(np.float64),
        n_clusters,
        repeated=True,
        draws=Draws(values, None, chosen.put(values, n_threads=n_threads)),
        **options,
    )
    labels = empty_beside(values, (len(values),), np.int32)
    table = fit.points.assign(fit.run.centers)
    summary.counter.look_up(values, table, labels, progress.tick("labels"))
    return RowFit(fit.run, labels, chosen.name)


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
        place when C-contiguous, whatever the library (by DLPack). Those in a GPU's
        memory are clustered there, by the CUDA backend. A dask
        array is clustered where Dask computes.
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
    centers : array of shape (n_clusters, n_features), float64
        Centres, in the library of X and on its device (in JAX's float32 unless it was
        told to hold float64).
    labels : array of shape (n_samples,), int32
        Index of the nearest centre of each point, likewise; the lowest wins a tie. Those
        of a dask array are not computed yet.
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
        If the best run stopped at ``max_iter``, or found fewer clusters than asked for.

    References
    ----------
    S. Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28, 1982.
    D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
    """
    if is_lazy(X):
        return _k_means_dask(
            X, n_clusters, sample_weight, return_n_iter, init=init, n_init=n_init,
            max_iter=max_iter, tol=tol, random_state=random_state, backend=backend,
            n_threads=n_threads, progress=Progress(callback),
        )  # fmt: skip
    X, caller = from_caller(X, "X")
    values: Any = rows_there(X, "X") if is_on_gpu(X) else as_points(X, "X")
    check_magnitude(values, "X")
    init, n_init = check_parameters(n_clusters, init, n_init, max_iter, tol, values.shape[1])
    if n_clusters > len(values):
        raise ValueError(f"n_samples={len(values)} should be >= n_clusters={n_clusters}.")
    progress = Progress(callback)
    fit = fit_rows(
        values,
        as_weights(sample_weight, values),
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
        backend=backend,
        n_threads=n_threads,
        progress=progress,
    )
    warn_of(fit.run, max_iter)
    labels = caller.grid(fit.labels, dropped=1)
    result = (caller.array(fit.run.centers), labels, fit.run.inertia)
    return (*result, fit.run.n_iter) if return_n_iter else result


def _k_means_dask(
    X: Any, n_clusters: int, sample_weight: Any, return_n_iter: bool, **options: Any
) -> tuple[Any, ...]:
    from ..dask.rows import lazy_row_labels

    X, caller = from_caller(X, "X")
    run = fit_dask(X, n_clusters, sample_weight, **options)
    warn_of(run, options["max_iter"], stacklevel=4)
    labels = lazy_row_labels(X, run.centers, options["n_threads"])
    result = (run.centers, caller.grid(labels, dropped=1), run.inertia)
    return (*result, run.n_iter) if return_n_iter else result


def fit_dask(X: Any, n_clusters: int, sample_weight: Any, **options: Any) -> Run:
    """Cluster the rows of a dask array, with the parameters checked."""
    from ..dask.images import check_rows
    from ..dask.rows import fit_dask_rows

    if sample_weight is not None:
        raise TypeError(
            "sample_weight is not for dask arrays; leave it out, or use X.compute() where it fits"
            " into memory"
        )
    n, d = check_rows(X).shape
    init, n_init = check_parameters(
        n_clusters, options["init"], options["n_init"], options["max_iter"], options["tol"], d,
        stacklevel=5,
    )  # fmt: skip
    if n_clusters > n:
        raise ValueError(f"n_samples={n} should be >= n_clusters={n_clusters}.")
    return fit_dask_rows(X, n_clusters, **{**options, "init": init, "n_init": n_init})
