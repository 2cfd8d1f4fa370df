"""Several numbers of clusters solved on one summary, and the choice of one of them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from .color import ColorSpace
from .init_centers import Draws
from .kernels.backend import Array, Backend, FloatArray
from .methods import choose_method, mean_values
from .parameters import check_parameters
from .progress import Progress
from .solver import ConvergenceWarning, solve, tolerance
from .summary import count_distinct
from .validity import calinski_harabasz, knee, simplified_silhouette

AUTO_RANGE = range(2, 11)  # what n_clusters="auto" scans


def choose_n_clusters(
    values: Array, weights: FloatArray | None, *, init: Any, **how: Any
) -> tuple[int, str]:
    """Number of clusters from 2 to 10 that `scan` would choose, and why in words.

    Parameters
    ----------
    values : ndarray of shape (m, n_channels)
        Distinct pixels in image units with ``weights`` (m,) their counts, or the
        pixels and None.
    init : {"k-means++", "random"}
        Starting centres.
    **how
        As for `segment`: method, n_init, max_iter, tol, random_state and n_threads; and
        space (a ColorSpace), backend (a Backend) and progress (a Progress), which is
        told the stage "scan".

    Returns
    -------
    n_clusters : int
        At most the number of distinct pixels; 1 if they are all equal.
    reason : str
        Why.
    """
    check_named_init(init)
    n_distinct = count_distinct(values, weights, AUTO_RANGE[-1])
    ks = [k for k in AUTO_RANGE if k <= n_distinct]
    if not ks:
        return 1, "all pixels are equal"
    _, best, reason = choose(ks, solve_all(values, weights, ks, init=init, **how)[1])
    return best, reason


@dataclass(frozen=True)
class Solved:
    """Clusters for one k: centres in image units, and measures as `Scan` orders them."""

    centers: FloatArray
    measures: tuple[float, float, float, float]
    n_iter: int
    converged: bool


def solve_all(
    values: Array,
    weights: FloatArray | None,
    ks: list[int],
    *,
    method: str,
    space: ColorSpace,
    init: str,
    n_init: Any,
    max_iter: int,
    tol: float,
    random_state: Any,
    backend: Backend,
    n_threads: int | None,
    progress: Progress,
) -> tuple[str, list[Solved]]:
    """Solve and measure every k on the same resident points; the method comes with them."""
    if method == "ward":
        raise ValueError(
            "method='ward' cannot be used where the number of clusters is to be chosen, which"
            " compares k-means of several; choose it with method='auto', and use that"
        )
    n, d = values.shape
    _, n_runs = check_parameters(ks[-1], init, n_init, max_iter, tol, d)
    # For every k the method that `segment` would take.
    taken = {
        k: choose_method(
            method, d, None if weights is None else n, k,
            init=init, n_init=n_init, max_iter=max_iter, tol=tol,
        )
        for k in ks
    }  # fmt: skip
    solved = [k for k in ks if taken[k] == "optimal"]
    inside = space.forward(values)
    points = backend.put(inside, weights, repeated=True, n_threads=n_threads)
    told = _told(progress, 0, ks)
    tick = told.heartbeat("init", 0, ks[0])
    whole = points.accumulate(np.zeros((1, d)), tick)
    total = points.accumulate(whole.sums / whole.weights, tick).inertia
    limit = tolerance(points, tol, tick)
    optimum = None
    if solved:
        from .optimal_1d import optimal_1d

        optimum = optimal_1d(inside[:, 0], weights, solved[-1], n_threads=n_threads, progress=told)
    rows = []
    for done, k in enumerate(ks):
        told = _told(progress, done, ks)
        if optimum is not None and taken[k] == "optimal":
            centers, n_iter, converged = optimum.centers(k)[:, None], 0, True
        else:
            run = solve(
                points, Draws(inside, weights, points), k, init=init, n_init=n_runs,
                max_iter=max_iter, tol=limit, random_state=random_state, progress=told,
            )  # fmt: skip
            centers, n_iter, converged = run.centers, run.n_iter, run.converged
        tick = told.heartbeat("measures", 0, n)
        partials = points.accumulate(centers, tick)
        measures = (
            partials.inertia,
            max(0.0, 1.0 - partials.inertia / total) if total > 0 else 1.0,
            simplified_silhouette(inside, weights, centers, tick),
            calinski_harabasz(partials, centers, total),
        )
        if space.name != "rgb":
            centers = mean_values(values, weights, points.assign(centers, tick=tick), k)
        rows.append(Solved(centers, measures, n_iter, converged))
        progress.report("scan", done + 1, len(ks), {"n_clusters": k, "inertia": partials.inertia})
    _warn_unless_converged(ks, rows, max_iter)
    words = dict.fromkeys(taken.values())
    return " and ".join(words), rows


def _told(progress: Progress, done: int, ks: list[int]) -> Progress:
    """Progress within the work on one k, which is passed on as stage "scan"."""
    callback = progress.callback
    if callback is None:
        return progress

    def pass_on(stage: str, step: int, steps: int, info: dict[str, Any]) -> object:
        info = {"n_clusters": ks[done], "step": stage, "step_done": step} | info
        return callback("scan", done, len(ks), info)

    return Progress(pass_on)


def _warn_unless_converged(ks: list[int], rows: list[Solved], max_iter: int) -> None:
    late = [str(k) for k, row in zip(ks, rows, strict=True) if not row.converged]
    if late:
        warnings.warn(
            f"k-means stopped at max_iter={max_iter} before it converged for n_clusters="
            f"{', '.join(late)}; raise max_iter or tol",
            ConvergenceWarning,
            stacklevel=4,
        )


def check_named_init(init: Any) -> None:
    """Refuse given centres where the number of clusters is to be chosen."""
    if not isinstance(init, str):
        raise TypeError(
            "init must be 'k-means++' or 'random' where the number of clusters is to be chosen,"
            f" got {type(init).__name__}: given centres fix it"
        )


def choose(ks: list[int], rows: list[Solved]) -> tuple[int | None, int, str]:
    """Elbow, the k to choose, and why in words."""
    elbow = knee(ks, [row.measures[0] for row in rows])
    gaps = len(ks) < 3 or ks[-1] - ks[0] >= len(ks)
    among = "k = " + (", ".join(map(str, ks)) if gaps else f"{ks[0]} to {ks[-1]}")
    if elbow is not None:
        return elbow, elbow, f"the inertia has its elbow at k = {elbow}, among {among}"
    silhouettes = [-1.0 if math.isnan(row.measures[2]) else row.measures[2] for row in rows]
    best = ks[int(np.argmax(silhouettes))]
    if len(ks) == 1:
        return None, best, "it is the only number of clusters"
    return (
        None,
        best,
        (f"the inertia has no elbow among {among}, and the silhouette is largest at k = {best}"),
    )
