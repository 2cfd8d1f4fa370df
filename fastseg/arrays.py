"""What callers pass, as arrays the kernels take: checked, and converted only without loss."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .array_libraries import from_caller, is_data_array, is_on_gpu
from .kernels.backend import DTYPES, Array, FloatArray
from .resident import fetched

# Values looked at in one go, so that checks take little memory beside the data.
_BLOCK = 2**20
# Differences of such values can be squared and added up by the billion.
_LARGEST = 1e140


def refuse_gpu(values: Any, name: str) -> None:
    """Raise TypeError for an array in a GPU's memory."""
    if is_on_gpu(values):
        raise TypeError(
            f"{name} is in a GPU's memory, which is not supported here; use"
            f" cupy.asnumpy({name}), and backend='cuda' to compute on the GPU"
        )


def is_dask(values: Any) -> bool:
    """Whether values are a dask array; dask is not imported to find out."""
    kind = getattr(sys.modules.get("dask.array"), "Array", None)
    return kind is not None and isinstance(values, kind)


def is_lazy(values: Any) -> bool:
    """Whether values are a dask array, or an `xarray.DataArray` around one."""
    return is_dask(values) or (is_data_array(values) and values.chunks is not None)


def refuse_dask(values: Any, name: str) -> None:
    """Raise TypeError for a dask array, which would be computed and held as a whole."""
    if is_lazy(values):
        raise TypeError(
            f"{name} is a dask array, which this would hold as a whole (segment, k_means, KMeans"
            f" and predict would not); use {name}.compute() where it fits into memory"
        )


def native(array: Array, name: str) -> Array:
    """Array of one of the kernels' types, the same one where it already is.

    bool, int8 and float16 become the next type that holds them; wider integers
    become float64 if that is exact.

    Raises
    ------
    TypeError
        If the type holds no real numbers.
    ValueError
        If integers are too large to be exact in float64.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.name in DTYPES:
        return array
    wider = {"bool": "uint8", "int8": "int16", "float16": "float32"}.get(array.dtype.name)
    if wider is not None:
        return array.astype(wider)
    if array.dtype.kind in "iu":
        if array.size and max(abs(int(array.min())), abs(int(array.max()))) > 2**53:
            raise ValueError(
                f"{name} holds integers beyond 2**53, which float64 cannot hold; subtract an offset"
            )
        return array.astype(np.float64)
    raise TypeError(
        f"{name} has dtype {array.dtype}, which is not supported; convert it to one of "
        + ", ".join(DTYPES)
    )


def check_finite(values: Array, name: str) -> None:
    """Raise ValueError if float values hold NaN or infinity."""
    if values.dtype.kind != "f":
        return
    if not _all_finite(values):
        what = "NaN" if np.isnan(values).any() else "infinite values"
        raise ValueError(
            f"{name} contains {what}; replace them, or leave them out (by mask or nodata in"
            " an image)"
        )


def _all_finite(values: Array) -> bool:
    """Whether float values (n, d) are neither NaN nor infinite."""
    step = max(1, _BLOCK // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        block = values[start : start + step]
        # The sum tells of most that all is well, and is quicker than a look at each.
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.add.reduce(block, axis=None)
        if not np.isfinite(total) and not np.isfinite(block).all():
            return False
    return True


def is_plain(values: Any) -> bool:
    """Whether values are points (n, d) that kernels take as they are, all finite."""
    return (
        type(values) is np.ndarray
        and values.ndim == 2
        and values.size > 0
        and values.dtype.isnative
        and values.dtype.name in DTYPES
        and values.flags.c_contiguous
        and (values.dtype.kind != "f" or _all_finite(values))
    )


def check_magnitude(values: Array, name: str) -> None:
    """Raise ValueError if squared distances of float values overflow or vanish in float64."""
    if values.dtype != np.float64:
        return
    low, high = float(values.min()), float(values.max())
    if max(abs(low), abs(high)) > _LARGEST:
        raise ValueError(
            f"{name} holds values beyond {_LARGEST:g}, whose squares float64 cannot hold;"
            " divide it by its largest value"
        )
    if 0 < high - low < 1 / _LARGEST:
        raise ValueError(
            f"{name} spans only {high - low:g}, whose square float64 cannot hold; multiply it"
        )


def as_points(X: Any, name: str) -> Array:
    """Points (n, d), C-contiguous and of one of the kernels' types, from an array-like."""
    if is_plain(X):
        plain: Array = X
        return plain
    if hasattr(X, "toarray"):
        raise TypeError(
            f"{name} is a sparse matrix, which is not supported here; use {name}.toarray(), or"
            " fastseg.KMeans"
        )
    refuse_gpu(X, name)
    refuse_dask(X, name)
    array = np.asarray(X)
    if array.dtype.kind == "O":
        array = _numbers(array, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have 2 dimensions (points, features), got shape {array.shape};"
            " reshape(-1, 1) makes one feature of a vector"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} is empty, its shape is {array.shape}")
    values = np.ascontiguousarray(native(array, name))
    check_finite(values, name)
    return values


def _numbers(array: Array, name: str) -> FloatArray:
    """Objects, such as those of a frame of several types, as float64."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} holds what is no number ({error}); leave out such columns, and fill or drop"
            " missing values"
        ) from error


def as_weights(sample_weight: Any, n: int) -> FloatArray | None:
    """Weights (n,) float64, or None."""
    if sample_weight is None:
        return None
    sample_weight, _ = from_caller(sample_weight, "sample_weight")
    sample_weight = fetched(sample_weight)
    refuse_gpu(sample_weight, "sample_weight")
    refuse_dask(sample_weight, "sample_weight")
    weights = np.asarray(sample_weight, dtype=np.float64, order="C")
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n,)}!")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("sample_weight must hold finite numbers of at least 0")
    if not weights.any():
        raise ValueError(
            "sample_weight is zero everywhere; at least one point must weigh something"
        )
    return weights
