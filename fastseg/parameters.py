"""The parameters of k-means that all entry points share; their meaning is scikit-learn's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .array_libraries import from_caller
from .arrays import as_floats, check_largest
from .kernels.backend import Array, FloatArray

Init = str | Array | Callable[..., Any]


def check_parameters(
    n_clusters: Any,
    init: Any,
    n_init: Any,
    max_iter: Any,
    tol: Any,
    n_features: int,
    *,
    several: int = 10,
    stacklevel: int = 3,
) -> tuple[Init, int]:
    """Validate the parameters all entry points share; return ``init`` and the number of runs.

    ``several`` are the runs from random starts, or a function's, with ``n_init="auto"``.
    """
    for name, value in (("n_clusters", n_clusters), ("max_iter", max_iter)):
        check_count(name, value)
    check_not_negative("tol", tol)
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ValueError(
                f"init must be 'k-means++', 'random' or an array of centres, got {init!r}"
            )
    elif not callable(init):
        init = check_centers(init, n_clusters, n_features)
    if isinstance(n_init, str) and n_init == "auto":
        n_init = several if callable(init) or (isinstance(init, str) and init == "random") else 1
    check_count("n_init", n_init)
    if isinstance(init, np.ndarray) and n_init != 1:
        warnings.warn(
            "Explicit initial center position passed: performing only one init instead of"
            f" n_init={n_init}.",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
        n_init = 1
    return init, int(n_init)


def check_count(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for what is no whole number of at least 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def check_not_negative(name: str, value: Any) -> None:
    """Raise ValueError for what is no number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value >= 0:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def check_centers(centers: Any, n_clusters: int, n_features: int) -> FloatArray:
    """Centres (n_clusters, n_features) float64, from an array-like."""
    centers, _ = from_caller(centers, "init")
    if centers is None or np.isscalar(centers) or isinstance(centers, (dict, set)):
        raise ValueError(
            f"init must be 'k-means++', 'random' or an array of centres, got {centers!r}"
        )
    array = as_floats(centers, "init").copy()
    if array.ndim == 1 and n_features == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(
            f"The shape of the initial centers {array.shape} does not match (n_clusters,"
            f" n_features) = ({n_clusters}, {n_features})."
        )
    if len(array) != n_clusters:
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
        raise ValueError("init holds NaN or infinite centres; give finite ones")
    check_largest(array, "init")
    return array
