"""Values that a caller has in a GPU's memory, and leaves there."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .array_libraries import is_on_gpu
from .backends import backend_named
from .kernels.backend import DTYPES, Array, FloatArray


class Resident:
    """Rows (n, d) in a GPU's memory, for code that reads few of them on the host.

    What is asked of it by index is copied to the host; the CUDA backend takes it as it is.
    """

    on_device = True
    ndim = 2

    def __init__(self, device: Any, rows: Any) -> None:
        self.device, self.rows = device, rows
        self.shape: tuple[int, int] = rows.shape
        self.dtype = np.dtype(rows.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def __cuda_array_interface__(self) -> Any:
        return self.rows.__cuda_array_interface__

    def __getitem__(self, key: Any) -> Array:
        if isinstance(key, np.ndarray):
            key = self.device.to_device(key.astype(np.int64))
        host: Array = self.device.to_host(self.rows[key])
        return host

    def take(self, places: Array, axis: int = 0) -> Array:
        """Rows by their places, on the host."""
        return self[places]

    @cached_property
    def extent(self) -> FloatArray:
        """Smallest and largest value (d, 2) of each column; NaN where there is one."""
        found: FloatArray = self.device.extent(self.rows)
        return found

    def min(self) -> float:
        """Smallest value of all."""
        return float(self.extent.min())

    def max(self) -> float:
        """Largest value of all."""
        return float(self.extent.max())

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """New array beside the rows."""
        return self.device.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], dtype: Any, value: float) -> Any:
        """New array of one value beside the rows."""
        return self.device.full(shape, dtype, value)

    def put(self, array: Array) -> Any:
        """Copy of a host array beside the rows."""
        return self.device.to_device(array)


def left_there(array: Any, name: str) -> tuple[Any, Any]:
    """Device of the CUDA backend and an array in its memory, of any library.

    Raises
    ------
    TypeError
        If the CUDA backend cannot be used, or has no kernels for the type.
    ValueError
        If the array is on another device than work goes to, or is empty.
    """
    backend: Any = backend_named("cuda")
    reason = backend.unavailable()
    advice = f"use cupy.asnumpy({name}) to compute on the CPU"
    if reason is not None:
        raise TypeError(f"{name} is in a GPU's memory, but {reason}; or {advice}")
    device = backend.device()
    there = device.wrap(array)
    if np.dtype(there.dtype).name not in DTYPES:
        raise TypeError(
            f"{name} has dtype {there.dtype}, which is not supported on a GPU; convert it to one"
            f" of {', '.join(DTYPES)}"
        )
    if 0 in there.shape:
        raise ValueError(f"{name} is empty, its shape is {there.shape}")
    return device, there


def fetched(array: Any) -> Any:
    """Array on the host, also one in a GPU's memory where there is a CUDA backend to ask.

    For what is small beside the image, and looked at on the host.
    """
    if not is_on_gpu(array):
        return array
    backend: Any = backend_named("cuda")
    if backend.unavailable() is not None:
        return array
    device = backend.device()
    return device.to_host(device.wrap(array))


def rows_there(array: Any, name: str) -> Resident:
    """Points (n, d) in a GPU's memory, of any library, as `left_there` and `resident` take them."""
    device, there = left_there(array, name)
    return resident(there, device, name)


def resident(rows: Any, device: Any, name: str) -> Resident:
    """Rows (n, d) of a device's array, all finite.

    Raises
    ------
    ValueError
        If they are no matrix, or hold NaN or infinite values.
    """
    if rows.ndim != 2:
        raise ValueError(
            f"{name} must have 2 dimensions (points, features), got shape {tuple(rows.shape)};"
            " reshape(-1, 1) makes one feature of a vector"
        )
    there = Resident(device, rows)
    if there.dtype.kind == "f" and not np.isfinite(there.extent).all():
        raise ValueError(
            f"{name} contains NaN or infinite values, which are not left out on a GPU; replace"
            f" them, or use cupy.asnumpy({name})"
        )
    return there


def refuse_there(values: Any, **asked: Any) -> None:
    """Raise ValueError where values in a GPU's memory are asked for what is done on the host."""
    if isinstance(values, Resident):
        for name, wanted in asked.items():
            if wanted:
                raise ValueError(
                    f"{name} is not supported here for an image in a GPU's memory; use"
                    " cupy.asnumpy(image)"
                )


def empty_beside(values: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """New array where the values are."""
    if isinstance(values, Resident):
        return values.empty(shape, dtype)
    return np.empty(shape, dtype)


def full_beside(values: Any, shape: tuple[int, ...], dtype: Any, value: float) -> Any:
    """New array of one value where the values are."""
    if isinstance(values, Resident):
        return values.full(shape, dtype, value)
    return np.full(shape, value, dtype)


def put_beside(values: Any, array: Array) -> Any:
    """Host array where the values are: the same one, or a copy."""
    return values.put(array) if isinstance(values, Resident) else array


def value_range(values: Any) -> FloatArray:
    """Smallest and largest value (d, 2) of each column."""
    if isinstance(values, Resident):
        return values.extent
    return np.array([(column.min(), column.max()) for column in values.T], np.float64)
