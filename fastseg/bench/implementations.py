"""Who takes part in `fastseg bench`: the backends, and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backends import backend_named
from ..estimators.kmeans import KMeans
from ..kernels.backend import Array
from ..pipeline import segment
from ..pixels import as_pixels
from .answers import IN_FLOAT32, SAME, Answer
from .cases import Case
from .contest import Entrant

SCIKIT_LEARN = "scikit-learn"


def entrants(
    case: Case, stage: str, backends: Sequence[str], n_threads: int | None = None
) -> list[Entrant]:
    """Those who can do a stage of a case, the reference first."""
    ours = [_ours(case, stage, name, n_threads) for name in backends]
    return [*(entrant for entrant in ours if entrant is not None), _scikit_learn(case, stage)]


def _same_every_run(work: Callable[[], Any]) -> Callable[[], Callable[[], Any]]:
    return lambda: work


def _ours(case: Case, stage: str, backend: str, n_threads: int | None) -> Entrant | None:
    name = f"fastseg {backend}"
    if stage == "assign":
        return _our_assignment(case, name, backend, n_threads)
    options: dict[str, Any] = {
        "init": case.start, "max_iter": case.max_iter, "tol": case.tol,
        "backend": backend, "n_threads": n_threads,
    }  # fmt: skip
    if stage == "file":
        path, kept = case.path, case.kept

        def read(result: Any) -> Answer:
            return Answer(result.labels.ravel() if kept is None else result.labels[kept])

        work = _same_every_run(lambda: segment(path, case.n_clusters, **options))
        return Entrant(name, work, read, SAME)
    if case.values.dtype.kind == "f":
        model = KMeans(case.n_clusters, n_init=1, **options)
        work = _same_every_run(lambda: model.fit(case.values).labels_)
        return Entrant(name, work, Answer, SAME)
    image = case.values[None]
    work = _same_every_run(
        lambda: segment(image, case.n_clusters, channel_axis=-1, **options).labels
    )
    return Entrant(name, work, lambda labels: Answer(labels.ravel()), SAME)


def _our_assignment(case: Case, name: str, backend: str, n_threads: int | None) -> Entrant | None:
    there = resident(case.values, case.n_clusters, backend)
    if there is None:
        return None
    values, labels, to_host = there

    def prepare() -> Callable[[], Any]:
        # Fresh points, which know nothing yet of where they belong.
        points = backend_named(backend).put(values, n_threads=n_threads)

        def work() -> Any:
            points.assign(case.start, labels=labels)
            to_host(labels[:1])  # waits for a device
            return labels

        return work

    return Entrant(name, prepare, lambda found: Answer(to_host(found).copy()), SAME)


def resident(
    values: Array, n_clusters: int, backend: str
) -> tuple[Any, Any, Callable[[Any], Array]] | None:
    """Points and room for labels where a backend computes, and the way back; None if too large."""
    dtype = np.dtype(np.uint8 if n_clusters <= 256 else np.int32)
    if backend == "cpu":
        return values, np.empty(len(values), dtype), np.asarray
    chosen: Any = backend_named(backend)
    feed = chosen.put(values).feed.resident
    if feed is None:
        return None
    device = chosen.device()
    return feed[0], device.empty((len(values),), dtype), device.to_host


def _scikit_learn(case: Case, stage: str) -> Entrant:
    from sklearn.cluster import KMeans as Reference

    tolerance = IN_FLOAT32 if case.values.dtype == np.float32 else SAME
    options: dict[str, Any] = {
        "init": case.start, "n_init": 1, "max_iter": case.max_iter, "tol": case.tol,
    }  # fmt: skip
    if stage == "assign":
        wide = case.values if case.values.dtype.kind == "f" else case.values.astype(np.float64)
        start = case.start.astype(wide.dtype)
        # Of its own starts a model makes exactly those its centres.
        model = Reference(len(start), init=start, n_init=1, max_iter=1).fit(start)
        return Entrant(
            SCIKIT_LEARN, _same_every_run(lambda: model.predict(wide)), Answer, tolerance
        )
    model = Reference(case.n_clusters, **options)
    if stage == "fit":
        work = _same_every_run(lambda: model.fit(case.values).labels_)
        return Entrant(SCIKIT_LEARN, work, Answer, tolerance)

    def from_file() -> Array:
        values = as_pixels(case.path, "auto", None, None).upright().values
        labels: Array = model.fit(values).labels_
        return labels

    return Entrant(SCIKIT_LEARN, _same_every_run(from_file), Answer, tolerance)
