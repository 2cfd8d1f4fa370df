"""From the values of pixels and their counts to clusters in label order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .class_names import check_names
from .color import ColorSpace, label_order
from .color import color_space as find_color_space
from .init_centers import Generator, check_random_state
from .kernels.backend import Array, Backend, FloatArray, Points
from .labelling import label_type, label_values
from .matching import Profile
from .methods import (
    DEFAULT_INIT,
    check_prototypes,
    choose_method,
    find_clusters,
    mean_values,
    measure,
)
from .parameters import Init, check_parameters, plain
from .progress import Clock, Progress
from .resident import value_range
from .standardizing import Standardized, check_standardize, moments
from .summary import check_distinct
from .sweep import AUTO_RANGE, check_named_init, choose_n_clusters
from .ward import WardTree


@dataclass(frozen=True)
class Asked:
    """What clusters are asked for: parameters of `segment` by their names there."""

    n_clusters: Any
    method: str = "auto"
    init: Any = DEFAULT_INIT
    n_init: Any = "auto"
    max_iter: int = 300
    tol: float = 1e-4
    random_state: Any = None
    color_space: str = "rgb"
    standardize: bool = False
    names: Any = None
    keep_profile: bool = False
    prototypes: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_clusters", "n_init", "max_iter", "tol", "prototypes"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def check(self) -> None:
        """Refuse what can be refused before anything is read."""
        if callable(self.init):
            raise TypeError(
                "init must be 'k-means++', 'random' or an array of centres, not a function"
            )
        check_names(self.names)
        check_standardize(self.standardize, self.color_space)

    def of(self, dtype: np.dtype[Any], n_channels: int) -> Task:
        """Task for images of a type, whose values are meant so, and a number of channels."""
        space = find_color_space(self.color_space, dtype, n_channels)
        auto = isinstance(self.n_clusters, str) and self.n_clusters == "auto"
        if auto:
            check_named_init(self.init)
        k: Any = AUTO_RANGE[-1] if auto else self.n_clusters
        start, n_runs = check_parameters(
            k, self.init, self.n_init, self.max_iter, self.tol, n_channels
        )
        return Task(self, space, auto, k, start, n_runs, check_random_state(self.random_state))


@dataclass(frozen=True)
class Task:
    """What is asked for, checked for an image. ``n_most`` is the largest number of clusters."""

    asked: Asked
    space: ColorSpace
    auto: bool
    n_most: int
    start: Init
    n_runs: int
    generator: Generator


@dataclass(frozen=True)
class Fitted:
    """Clusters in label order, and what they were found on.

    ``centers`` are in image units and ``space_centers`` where distances are taken.
    ``points`` are the values that were clustered, and ``partition`` the cluster of each
    where that is not simply the one with the nearest centre.
    """

    centers: FloatArray
    space_centers: FloatArray
    counts: Array
    inertia: float
    value_range: FloatArray
    method: str
    space: ColorSpace
    n_iter: int
    converged: bool
    names: tuple[str, ...] | None
    profile: Profile | None
    init_centers: FloatArray | None
    chosen_k_reason: str | None
    tree: WardTree | None
    points: Points
    partition: Array | None

    def table(self, first_label: int, progress: Progress) -> Array:
        """Labels of the values that were clustered."""
        if self.partition is not None:
            last = first_label + len(self.centers) - 1
            return (self.partition + first_label).astype(label_type(last))
        tick = progress.heartbeat("labels", 0, self.points.n_points)
        labels: Array = label_values(self.points, self.space_centers, first_label, tick)
        return labels

    def fields(self) -> dict[str, Any]:
        """What a model keeps of it."""
        kept = (
            "centers", "space_centers", "counts", "inertia", "value_range", "method", "n_iter",
            "converged", "names", "profile", "init_centers", "chosen_k_reason", "tree",
        )  # fmt: skip
        fields = {name: getattr(self, name) for name in kept}
        standardized = isinstance(self.space, Standardized)
        return fields | {"moments": self.space.moments if standardized else None}  # type: ignore[attr-defined]


def fit_clusters(
    task: Task,
    values: Array,
    weights: FloatArray | None,
    *,
    backend: Backend,
    n_threads: int | None,
    progress: Progress,
    clock: Clock,
) -> Fitted:
    """Cluster values (n, d) in image units, repeated as often as their weights say."""
    asked, space, k = task.asked, task.space, task.n_most
    d = values.shape[1]
    if asked.standardize:
        space = Standardized(moments=moments(values, weights))
    wanted = asked.keep_profile or d == 1
    profile = Profile.of(values, weights).thinned() if wanted else None
    clock.stop("count")
    k_reason = None
    if task.auto:
        k, k_reason = choose_n_clusters(
            values, weights, method=asked.method, space=space, init=asked.init,
            n_init=asked.n_init, max_iter=asked.max_iter, tol=asked.tol,
            random_state=asked.random_state, backend=backend, n_threads=n_threads,
            progress=progress,
        )  # fmt: skip
        clock.stop("scan")
    check_distinct(values, weights, k)
    names = check_names(asked.names, k)
    prototypes = check_prototypes(asked.prototypes, asked.method, k)
    method = choose_method(
        asked.method, d, None if weights is None else len(values), k, init=asked.init,
        n_init=asked.n_init, max_iter=asked.max_iter, tol=asked.tol,
    )  # fmt: skip
    start = task.start
    found = find_clusters(
        method, space.forward(values), weights, k,
        init=space.forward(start) if isinstance(start, np.ndarray) else start,
        n_init=task.n_runs, max_iter=asked.max_iter, tol=asked.tol, random_state=task.generator,
        backend=backend, n_threads=n_threads, progress=progress, prototypes=prototypes,
    )  # fmt: skip
    # In label order before the last assignment, so that it equals predict's.
    means, partition = found.centers, found.labels
    if space.name != "rgb":
        nearest = found.points.assign(found.centers) if partition is None else partition
        means = mean_values(values, weights, nearest, k)
    order = label_order(means)
    centers = np.ascontiguousarray(found.centers[order])
    if partition is not None:
        partition = np.argsort(order)[partition]
        partials = measure(space.forward(values), weights, partition, centers)
    else:
        tick = progress.heartbeat("labels", 0, len(values))
        partials = found.points.accumulate(centers, tick)
    clock.stop("fit")
    starts = found.init_centers
    return Fitted(
        centers=means[order],
        space_centers=centers,
        counts=partials.weights.astype(np.int64),
        inertia=partials.inertia,
        value_range=value_range(values),
        method=method,
        space=space,
        n_iter=found.n_iter,
        converged=found.converged,
        names=names,
        profile=profile,
        init_centers=None if starts is None else space.backward(starts),
        chosen_k_reason=k_reason,
        tree=found.tree,
        points=found.points,
        partition=partition,
    )
