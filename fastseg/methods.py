"""How clusters are found: the choice of a method, and the methods over one interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels.backend import Array, Backend, FloatArray, Points
from .progress import Progress
from .solver import Init, fit_points, warn_of

METHODS = ("auto", "lloyd", "optimal")

# Distinct values, and work of the dynamic programme (distinct values x clusters), up to
# which "auto" takes it: about a second, and some tens of megabytes.
_MAX_AUTO_VALUES = 2**20
_MAX_AUTO_WORK = 2**23


class DefaultInit(str):
    """The default of ``init``, so that one that is asked for can be told from it."""


DEFAULT_INIT = DefaultInit("k-means++")
_DEFAULTS = {"n_init": "auto", "max_iter": 300, "tol": 1e-4}


@dataclass(frozen=True)
class Found:
    """Clusters that a method found, in an order of its own.

    ``points`` are the clustered points where they are computed on.
    """

    centers: FloatArray
    points: Points
    n_iter: int
    converged: bool
    init_centers: FloatArray | None


def choose_method(
    method: Any, n_channels: int, n_distinct: int | None, n_clusters: int, **lloyd: Any
) -> str:
    """Method for an image: "optimal" or "lloyd".

    ``n_distinct`` is None where the values are not summarized, and ``lloyd`` holds the
    parameters that have a meaning for Lloyd's iterations alone.

    Raises
    ------
    ValueError
        If there is no such method, or it is not for this image or these parameters.
    """
    if method not in METHODS:
        listed = ", ".join(repr(m) for m in METHODS)
        raise ValueError(f"method must be one of {listed}, got {method!r}")
    asked = [] if isinstance(lloyd["init"], DefaultInit) else ["init"]
    asked += [name for name, default in _DEFAULTS.items() if lloyd[name] != default]
    if method == "optimal":
        if n_channels != 1:
            raise ValueError(
                f"method='optimal' is for one channel, but the image has {n_channels};"
                " use method='lloyd'"
            )
        if asked:
            raise ValueError(
                f"{asked[0]}={lloyd[asked[0]]!r} has no meaning with method='optimal', which finds"
                " the global optimum; leave it out, or use method='lloyd'"
            )
        return "optimal"
    small = (
        n_distinct is not None
        and n_distinct <= _MAX_AUTO_VALUES
        and n_distinct * n_clusters <= _MAX_AUTO_WORK
    )
    if method == "auto" and n_channels == 1 and small and not asked:
        return "optimal"
    return "lloyd"


def find_clusters(
    method: str,
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
) -> Found:
    """Cluster values (n, d), repeated as often as their weights say."""
    if method == "optimal":
        from .optimal_1d import optimal_1d

        assert weights is not None
        optimum = optimal_1d(
            values[:, 0], weights, n_clusters, n_threads=n_threads, progress=progress
        )
        points = backend.put(values, weights, repeated=True, n_threads=n_threads)
        return Found(optimum.centers(n_clusters)[:, None], points, 0, True, None)
    fit = fit_points(
        values,
        weights,
        n_clusters,
        repeated=True,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
        backend=backend,
        n_threads=n_threads,
        progress=progress,
    )
    run = fit.run
    warn_of(run, max_iter, stacklevel=4)
    return Found(run.centers, fit.points, run.n_iter, run.converged, run.init_centers)


def mean_values(
    values: Array, weights: FloatArray | None, labels: Array, n_clusters: int
) -> FloatArray:
    """Weighted mean of the values (n, d) of each label."""
    totals = np.bincount(labels, weights, n_clusters)
    means = np.empty((n_clusters, values.shape[1]))
    for f, channel in enumerate(values.T):
        weighted = channel.astype(np.float64) if weights is None else weights * channel
        means[:, f] = np.bincount(labels, weighted, n_clusters) / np.maximum(totals, 1e-300)
    return means
