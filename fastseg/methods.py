"""How clusters are found: the choice of a method, and the methods over one interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels.backend import Array, Backend, FloatArray, Partials, Points
from .parameters import Init
from .progress import Progress
from .solver import fit_points, warn_of
from .summary import count_distinct
from .ward import MAX_VALUES, WardTree, distinct_values, ward_tree

METHODS = ("auto", "lloyd", "optimal", "ward")

# Distinct values, and work of the dynamic programme (distinct values x clusters), up to
# which "auto" takes it: about a second, and some tens of megabytes.
_MAX_AUTO_VALUES = 2**20
_MAX_AUTO_WORK = 2**23


class DefaultInit(str):
    """The default of ``init``, so that one that is asked for can be told from it."""


DEFAULT_INIT = DefaultInit("k-means++")
_FINDS = {"optimal": "the global optimum", "ward": "Ward's tree"}
_DEFAULTS = {"n_init": "auto", "max_iter": 300, "tol": 1e-4}


@dataclass(frozen=True)
class Found:
    """Clusters that a method found, in an order of its own.

    ``points`` are the clustered points where they are computed on. ``labels`` (n,) tell
    the cluster of each where that is not simply the one with the nearest centre, and
    ``tree`` the tree they were cut from.
    """

    centers: FloatArray
    points: Points
    n_iter: int
    converged: bool
    init_centers: FloatArray | None
    labels: Array | None = None
    tree: WardTree | None = None


def choose_method(
    method: Any, n_channels: int, n_distinct: int | None, n_clusters: int, **lloyd: Any
) -> str:
    """Method for an image: "optimal", "lloyd" or "ward".

    ``n_distinct`` is None where the values are not summarized, and ``lloyd`` holds the
    parameters that have a meaning for Lloyd's iterations alone.

    Raises
    ------
    ValueError
        If there is no such method, or it is not for this image or these parameters.
    """
    if not isinstance(method, str) or method not in METHODS:
        listed = ", ".join(repr(m) for m in METHODS)
        raise ValueError(f"method must be one of {listed}, got {method!r}")
    asked = [] if isinstance(lloyd["init"], DefaultInit) else ["init"]
    asked += [name for name, default in _DEFAULTS.items() if lloyd[name] != default]
    if method == "optimal" and n_channels != 1:
        raise ValueError(
            f"method='optimal' is for one channel, but the image has {n_channels};"
            " use method='lloyd'"
        )
    if method in _FINDS:
        if asked:
            raise ValueError(
                f"{asked[0]}={lloyd[asked[0]]!r} has no meaning with method={method!r}, which finds"
                f" {_FINDS[method]}; leave it out, or use method='lloyd'"
            )
        return str(method)
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
    prototypes: int | None = None,
) -> Found:
    """Cluster values (n, d), repeated as often as their weights say."""
    if method == "ward":
        return _cut_tree(
            values, weights, n_clusters, prototypes, random_state=random_state, backend=backend,
            n_threads=n_threads, progress=progress,
        )  # fmt: skip
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
    warn_of(run, max_iter, stacklevel=5)
    return Found(run.centers, fit.points, run.n_iter, run.converged, run.init_centers)


def check_prototypes(prototypes: Any, method: str, n_clusters: int) -> int | None:
    """Check the number of prototypes to take instead of the distinct values."""
    if prototypes is None:
        return None
    if isinstance(prototypes, (bool, np.bool_)) or not isinstance(prototypes, (int, np.integer)):
        raise TypeError(f"prototypes must be a whole number or None, got {prototypes!r}")
    if method != "ward":
        raise ValueError(
            f"prototypes={prototypes} has no meaning with method={method!r}; leave it out, or use"
            " method='ward'"
        )
    if prototypes < n_clusters:
        raise ValueError(
            f"prototypes={prototypes} is less than n_clusters={n_clusters}; use at least"
            " as many, 1024 for instance"
        )
    if prototypes > MAX_VALUES:
        raise ValueError(
            f"prototypes={prototypes} is more than the {MAX_VALUES} that Ward's tree is built of;"
            " use fewer, 1024 for instance"
        )
    return int(prototypes)


def _cut_tree(
    values: Array, weights: FloatArray | None, n_clusters: int, prototypes: int | None, **how: Any
) -> Found:
    """Cut Ward's tree of the values, or of prototypes where there are more values than those."""
    backend, n_threads, progress = how["backend"], how["n_threads"], how["progress"]
    if prototypes is None or count_distinct(values, weights, prototypes + 1) <= prototypes:
        points = backend.put(values, weights, repeated=True, n_threads=n_threads)
        leaves, counts, leaf_of = distinct_values(values, weights)
    else:
        fit = fit_points(
            values, weights, prototypes, repeated=True, init=DEFAULT_INIT, n_init=1, max_iter=300,
            tol=1e-4, **how,
        )  # fmt: skip
        points, leaf_of = fit.points, fit.points.assign(fit.run.centers)
        _, leaf_of = np.unique(leaf_of, return_inverse=True)
        leaves = mean_values(values, weights, leaf_of, int(leaf_of.max()) + 1)
        order = np.lexsort(leaves.T[::-1])
        leaves, leaf_of = leaves[order], np.argsort(order)[leaf_of]
        counts = np.bincount(leaf_of, weights)
    tree = ward_tree(leaves, counts, progress=progress)
    labels = tree.cut(n_clusters)[leaf_of]
    centers = mean_values(values, weights, labels, n_clusters)
    return Found(centers, points, 0, True, None, labels, tree)


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


def measure(
    values: Array, weights: FloatArray | None, labels: Array, centers: FloatArray
) -> Partials:
    """Sums, weights and inertia of the values (n, d) of each label, wherever the centres are."""
    totals = np.bincount(labels, weights, len(centers)).astype(np.float64)
    distances = np.zeros(len(values))
    for channel, center in zip(values.T, centers.T, strict=True):
        distances += (channel - center[labels]) ** 2
    inertia = float(distances.sum() if weights is None else (weights * distances).sum())
    return Partials(centers * totals[:, None], totals, inertia)
