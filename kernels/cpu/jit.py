"""Compiling kernels for one signature, lazily and through Numba's cache where there is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import njit, types
from numba.np.numpy_support import from_dtype
from numpy import dtype


@cache
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
        return njit(arguments, nogil=True, cache=True)(_named_by_sources(kernel))
    except RuntimeError:
        # No folder for the cache can be written: compile for this process alone.
        return njit(arguments, nogil=True)(kernel)


def _named_by_sources(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Kernel whose name, and so its place in the cache, changes with any file of this folder.

    Numba itself looks at the file that holds a kernel, and at none that it calls.
    """
    assert isinstance(kernel, FunctionType)
    named = FunctionType(
        kernel.__code__,
        kernel.__globals__,
        kernel.__name__,
        kernel.__defaults__,
        kernel.__closure__,
    )
    named.__qualname__ = f"{kernel.__qualname__}_{_sources()}"
    named.__module__ = kernel.__module__
    return named


@cache
def _sources() -> str:
    """Digest of the sources of all kernels."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def cache_folder() -> str | None:
    """Folder where compiled kernels are kept, or None where none can be written."""

    def probe() -> None: ...

    try:
        return str(njit(cache=True)(probe).stats.cache_path)
    except RuntimeError:
        return None
