"""k-means of the rows of a dask array."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import as_points, check_largest
from ..backends import backend_named
from ..color import ColorSpace
from ..init_centers import Draws
from ..kernels.backend import Array, FloatArray, Tick
from ..progress import Progress
from ..solver import Run, fit_points, solve, tolerance
from .cluster import Cluster, check_backend
from .counting import count
from .images import Source, check_rows, rows_source
from .points import DaskPoints, DaskRows, Pieces


def fit_dask_rows(
    X: Any,
    n_clusters: int,
    *,
    init: Any,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: Any,
    backend: str,
    n_threads: int | None,
    progress: Progress,
) -> Run:
    """Cluster rows (n, d) where Dask computes, as `fit_rows` does; labels are not computed."""
    check_backend(backend)
    if callable(init):
        raise TypeError(
            "init must be 'k-means++', 'random' or an array of centres where X is a dask array,"
            " not a function"
        )
    source = rows_source(X)
    cluster = Cluster()
    beat = progress.heartbeat("init", 0, n_clusters)
    lloyd: dict[str, Any] = {"init": init, "n_init": n_init, "max_iter": max_iter}
    lloyd |= {"random_state": random_state, "progress": progress}
    tally = count(cluster, source, progress) if source.stored.kind in "ui" else None
    given = isinstance(init, np.ndarray)
    if tally is not None and tally.pays:
        assert tally.summary is not None
        draws = None if given else _from_rows(source, cluster, n_threads, beat)
        fit = fit_points(
            tally.summary.values, tally.summary.counts.astype(np.float64), n_clusters, tol=tol,
            backend=backend_named("cpu"), n_threads=n_threads, repeated=True, draws=draws, **lloyd,
        )  # fmt: skip
        return fit.run
    draws = _from_rows(source, cluster, n_threads, beat)
    points: Any = draws.points
    absolute = tolerance(points, tol, beat)
    return solve(points, draws, n_clusters, tol=absolute, **lloyd)


def _from_rows(source: Source, cluster: Cluster, n_threads: int | None, tick: Tick | None) -> Draws:
    """Draw starts from all rows in their order."""
    points = DaskPoints(Pieces(source, cluster, n_threads or 1, tick), ColorSpace("rgb"))
    return Draws(DaskRows(points), None, points)


def lazy_row_labels(X: Any, centers: FloatArray, n_threads: int | None) -> Any:
    """Index of the nearest centre of each row, a dask array (n,) int32 in the chunks of X."""
    import dask.array as da

    rows = check_rows(X)
    return da.blockwise(
        _assigned, (0,), rows, (0, 1), centers=centers, n_threads=n_threads or 1, dtype=np.int32,
        concatenate=True, meta=np.empty(0, np.int32), token="fastseg-labels",
    )  # fmt: skip


def _assigned(block: Any, *, centers: FloatArray, n_threads: int) -> Array:
    if not len(block):
        return np.empty(0, np.int32)
    rows = as_points(block, "X")
    check_largest(rows, "X")
    return backend_named("cpu").put(rows, n_threads=n_threads).assign(centers)
