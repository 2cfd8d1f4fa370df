"""The CPU backend: Numba kernels on the processor's cores."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import DTYPES, Array, Counter, FloatArray, Problem
from .counters import make_counter
from .points import CpuPoints
from .sorted_points import SortedPoints
from .threads import resolve_n_threads


class CpuBackend:
    """Numba kernels on the processor's cores."""

    name = "cpu"

    def unavailable(self) -> str | None:
        """See `Backend.unavailable`."""
        return None

    def reason_against(self, problem: Problem) -> str | None:
        """See `Backend.reason_against`."""
        if problem.dtype not in DTYPES:
            return f"it has no kernels for {problem.dtype}"
        return None

    def counter(
        self, dtype: np.dtype[Any], n_features: int, *, n_threads: int | None = None
    ) -> Counter:
        """See `Backend.counter`."""
        return make_counter(dtype, n_features, resolve_n_threads(n_threads))

    def put(
        self,
        values: Array,
        weights: FloatArray | None = None,
        *,
        repeated: bool = False,
        n_threads: int | None = None,
    ) -> CpuPoints:
        """See `Backend.put`."""
        threads = resolve_n_threads(n_threads)
        if repeated and weights is not None and values.shape[1] == 1:
            return SortedPoints(values, weights, True, threads)
        return CpuPoints(values, weights, repeated, threads)
