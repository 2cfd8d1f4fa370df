"""Compiling the kernels before they are needed, by small problems that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from ..backend import DTYPES, Array
from . import optimal_1d, tree
from .backend import CpuBackend
from .lloyd import MAX_FEATURES

# Points of a problem: enough for cells, and for whole tiles of every kernel.
_N_POINTS = 5000
# Kernels may differ by the number of clusters.
_N_CLUSTERS = (1, 2, 5, 20, 100)
_LABELS = ("uint8", "uint16", "int32")


def problems(n_features: Iterable[int]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Small problems by a name each, which compile all that is used for so many features.

    The kernels for points of more than `lloyd.MAX_FEATURES` are the same for any number.
    """
    for d in dict.fromkeys([*n_features, MAX_FEATURES + 1]):
        for dtype in DTYPES:
            plural = "s" if d > 1 else ""
            words = f"{d} feature{plural}" if d <= MAX_FEATURES else f"over {MAX_FEATURES} features"
            yield f"{dtype}, {words}", partial(_solve, _values(dtype, d))
    yield "the optimum of one channel", _solve_1d
    yield "Ward's tree", _grow_trees


def _values(dtype: str, n_features: int) -> Array:
    """Points that are distinct where the type has room for it."""
    rows = np.arange(_N_POINTS)[:, None] * np.ones(n_features, np.int64)
    rows[:, 1:] %= 64
    rows[:, 0] //= 64 if n_features > 1 else 1
    return np.ascontiguousarray(rows.astype(dtype))


def _solve(values: Array) -> None:
    backend = CpuBackend()
    counter = backend.counter(values.dtype, values.shape[1], n_threads=1)
    counter.add(values)
    distinct, counts = counter.distinct()
    every = [backend.put(values, n_threads=1)]
    if values.shape[1] <= MAX_FEATURES:
        every.append(backend.put(distinct, counts.astype(np.float64), repeated=True, n_threads=1))
    for points in every:
        sampler = points.sampler()
        sampler.add(distinct[0].astype(np.float64))
        sampler.potentials(distinct[:2].astype(np.float64))
        for k in _N_CLUSTERS:
            points.accumulate(distinct[:: len(distinct) // k][:k].astype(np.float64))
        centers = distinct[:5].astype(np.float64)
        points.farthest(centers, 1)
        for name in _LABELS:
            points.assign(centers, labels=np.empty(points.n_points, name))
            counter.look_up(values, np.zeros(len(distinct), name), np.empty(len(values), name))


def _solve_1d() -> None:
    optimal_1d.solve(np.arange(100.0), np.ones(100), 3, 1, lambda layer: None)


def _grow_trees() -> None:
    ramp = np.arange(9.0)
    tree.leaves_below(tree.tree_1d(ramp, np.ones(9), None)[0])
    tree.tree_nd(np.stack([ramp, ramp], axis=1) / 9, np.ones(9), np.ones(2) / 2, None)
