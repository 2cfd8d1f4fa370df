"""What callers pass, as arrays the kernels take: checked, and converted only without loss."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .array_libraries import from_caller, is_data_array, is_on_gpu
from .kernels.backend import DTYPES, Array, FloatArray

# Values looked at in one go, so that checks take little memory beside the data.
_BLOCK = 2**20
# Differences of such values can be squared and added up by the billion.
LARGEST = 1e140
# Weights that add up to no more leave products with such squares finite.
_HEAVIEST = 1e20
_NO_NUMBER = (
    "{name} holds what is no number ({what}); leave out such columns, and fill or drop missing"
    " values"
)
_TOO_LARGE = "{name} holds integers beyond 2**53, which float64 cannot hold; subtract an offset"


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


def as_array(values: Any, name: str) -> Array:
    """Array-like as an array of NumPy's, without a copy where it is one.

    Raises
    ------
    ValueError
        If values are masked, or it has no shape.
    """
    if isinstance(values, np.ma.MaskedArray) and not values.dtype.names and np.ma.is_masked(values):
        n_masked = int(np.ma.getmaskarray(values).sum())
        raise ValueError(
            f"{name} has {n_masked} masked values, which cannot be left out here;"
            f" give the rest alone, or {name}.filled(value)"
        )
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} is a sequence of parts of several lengths; give them all the same shape"
        ) from error


def as_floats(values: Any, name: str) -> FloatArray:
    """Array-like of real numbers as a C-contiguous array of float64, a new one if need be.

    Raises
    ------
    ValueError, TypeError
        If it is none, or its integers are too large to be exact.
    """
    array = as_array(values, name)
    if array.dtype.kind == "O":
        array = _numbers(array, name)
    return np.asarray(native(array, name), np.float64, order="C")


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
            raise ValueError(_TOO_LARGE.format(name=name))
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


def _extremes(values: Any) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def check_largest(values: Array, name: str) -> None:
    """Raise ValueError if squared distances of float values overflow in float64."""
    if values.dtype != np.float64 or values.shape[0] == 0:
        return
    if max(map(abs, _extremes(values))) > LARGEST:
        raise ValueError(
            f"{name} holds values beyond {LARGEST:g}, whose squares float64 cannot hold;"
            " divide it by its largest value"
        )


def check_magnitude(values: Array, name: str) -> None:
    """Raise ValueError if squared distances of float values overflow or vanish in float64."""
    check_largest(values, name)
    if values.dtype != np.float64:
        return
    low, high = _extremes(values)
    if 0 < high - low < 1 / LARGEST:
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
    array = as_array(X, name)
    # scikit-learn's checks of estimators look for these words.
    if array.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} has dtype {array.dtype}; use {name}.real, or real"
            " and imaginary parts as two features"
        )
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have 2 dimensions (points, features), got shape {array.shape}. Reshape"
            f" your data: {name}.reshape(-1, 1) makes one feature of a vector"
        )
    for n, what in zip(array.shape, ("sample", "feature"), strict=True):
        if n == 0:
            raise ValueError(
                f"{name} is empty: 0 {what}(s) (shape={array.shape}) while a minimum of 1 is"
                " required."
            )
    if array.dtype.kind == "O":
        array = _numbers(array, name)
    values = np.ascontiguousarray(native(array, name))
    check_finite(values, name)
    return values


def _numbers(array: Array, name: str) -> FloatArray:
    """Objects, such as those of a frame of several types, as float64."""
    for value in array.flat:
        if isinstance(value, (str, bytes)):
            raise TypeError(_NO_NUMBER.format(name=name, what=f"{value!r:.40}"))
        if isinstance(value, np.longdouble):
            raise TypeError(
                f"{name} holds long doubles as objects, which are not supported; convert it to"
                " float64"
            )
        if isinstance(value, (int, np.integer)) and abs(int(value)) > 2**53:
            raise ValueError(_TOO_LARGE.format(name=name))
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(_NO_NUMBER.format(name=name, what=error)) from error


def as_weights(sample_weight: Any, values: Any) -> FloatArray | None:
    """Weights (n,) float64 of values (n, d), or None."""
    if sample_weight is None:
        return None
    sample_weight, _ = from_caller(sample_weight, "sample_weight")
    refuse_gpu(sample_weight, "sample_weight")
    refuse_dask(sample_weight, "sample_weight")
    weights = as_floats(sample_weight, "sample_weight")
    n = len(values)
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
    _check_products(weights, values)
    return weights


def _check_products(weights: FloatArray, values: Any) -> None:
    """Raise ValueError if weights times squared distances overflow or vanish in float64."""
    most = float(weights.max())
    fits = most >= 1 / LARGEST
    if most > _HEAVIEST / len(weights):
        reach = 2.0 * max(1.0, *map(abs, _extremes(values)))
        fits = most < LARGEST * LARGEST / reach**2 / values.shape[1] / len(weights)
    if not fits:
        raise ValueError(
            f"sample_weight holds weights of up to {most:g}, whose products with squared distances"
            " float64 cannot hold; divide it by its largest value"
        )
