"""Compiling kernels for one signature, lazily and through Numba's cache where there is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit, types
from numba.np.numpy_support import from_dtype
from numpy import dtype


def array(name: str, ndim: int = 1, *, written: bool = False) -> Any:
    """Numba's type of a C-contiguous array; one that is only read may be read-only."""
    return types.Array(from_dtype(dtype(name)), ndim, "C", readonly=not written)


@cache
def compiled(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """Kernel for these types of arguments, compiled on the first call or read from the cache.

    One explicit signature serves writable and read-only arrays, so that nothing is
    compiled twice.
    """
    try:
        return njit(arguments, nogil=True, cache=True)(kernel)
    except RuntimeError:
        # No folder for the cache can be written: compile for this process alone.
        return njit(arguments, nogil=True)(kernel)


def cache_folder() -> str | None:
    """Folder where compiled kernels are kept, or None where none can be written."""

    def probe() -> None: ...

    try:
        return str(njit(cache=True)(probe).stats.cache_path)
    except RuntimeError:
        return None
