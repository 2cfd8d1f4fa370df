"""Compiling kernels for one signature, lazily and through Numba's cache where there is one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import numpy.ma  # noqa: F401  Numba loads it with the first call of a kernel, where a fork does not wait
from numba import njit, types
from numba.core import event
from numba.np.numpy_support import from_dtype
from numpy import dtype

from ..compilation import Compilation, tell
from ..forking import unforked
from .kernel_cache import KernelCache


def _load_without_scipy() -> None:
    """Load what Numba loads for its first kernel, but not SciPy.

    Numba looks for SciPy's BLAS by importing it, which takes longer than all the rest, and
    no kernel here calls it. So it is told now that it is there, and loads it when a
    kernel does call it, for which it asks again.
    """
    from numba.np import linalg

    def ensure_blas() -> None:
        if find_spec("scipy") is None:
            raise ImportError("SciPy is not installed")

    asked = getattr(linalg, "ensure_blas", None)
    if asked is None or "numba.np.arraymath" in sys.modules:
        return
    linalg.ensure_blas = ensure_blas
    try:
        from numba.np import arraymath
    finally:
        linalg.ensure_blas = asked
    vars(arraymath)["ensure_blas"] = asked


_load_without_scipy()


@cache
def array(name: str, ndim: int = 1, *, written: bool = False) -> Any:
    """Numba's type of a C-contiguous array; one that is only read may be read-only."""
    return types.Array(from_dtype(dtype(name)), ndim, "C", readonly=not written)


# Types are compared so slowly that they go by identity; kept, so that it stays theirs.
_found: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...]]] = {}
_made: dict[tuple[Any, ...], Any] = {}
_one_at_a_time = threading.RLock()
# Seconds between two looks for Ctrl-C, which on Windows ends no waiting.
_PATIENCE = 0.1


def compiled(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """Kernel for these types of arguments, compiled on the first call or read from the cache.

    One explicit signature serves writable and read-only arrays, so that nothing is
    compiled twice.
    """
    key = (kernel, *map(id, arguments))
    if key not in _found:
        _found[key] = _ready(kernel, arguments), arguments
    return _found[key][0]


def forget() -> None:
    """Look for all kernels in the cache again."""
    _found.clear()
    _made.clear()


def _ready(kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Kernel that is made by this thread, or while the main thread waits, by another one.

    Python raises KeyboardInterrupt in the main thread alone, and it would be lost where LLVM
    calls Python. A kernel that nobody waits for any more is made all the same, for the next call.
    """
    key = (kernel, *arguments)
    errors: list[BaseException] = []
    making = threading.Lock()  # an Event may stay locked where Ctrl-C comes
    making.acquire()

    def make() -> None:
        try:
            with unforked(), _one_at_a_time:
                if key not in _made:
                    _made[key] = _make(kernel, arguments)
        except BaseException as error:
            errors.append(error)
        making.release()

    if threading.current_thread() is threading.main_thread():
        try:
            threading.Thread(target=make, name="fastseg-compile").start()
        except RuntimeError:
            make()  # the interpreter is shutting down
        while not making.acquire(timeout=_PATIENCE):
            pass
    else:
        make()
    if errors:
        raise errors[0]
    return _made[key]


def _make(kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    assert isinstance(kernel, FunctionType)
    ready: Any = njit(nogil=True)(kernel)
    if ready is kernel:  # as NUMBA_DISABLE_JIT asks
        return ready
    began = time.perf_counter()
    ready._cache = KernelCache(kernel)
    start = _Start(kernel)
    with event.install_listener("numba:compile", start):
        ready.compile(arguments)
        ready.disable_compile()
    tell(Compilation(kernel.__name__, time.perf_counter() - began, start.seen))
    return ready


class _Start(event.Listener):
    """Hears Numba begin to compile a function, and not the others that are called in it."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.seen = False

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"].py_func is self.function:
            self.seen = True
            tell(Compilation(self.function.__name__, None, True))

    def on_end(self, event: Any) -> None:
        """Do nothing: what follows is written to the cache first."""
