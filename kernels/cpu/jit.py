"""Compiling kernels for one signature, lazily and through Numba's cache where there is one."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import njit, types
from numba.core import event
from numba.np.numpy_support import from_dtype
from numpy import dtype

from ..compilation import Compilation, tell


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


def compiled(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """Kernel for these types of arguments, compiled on the first call or read from the cache.

    One explicit signature serves writable and read-only arrays, so that nothing is
    compiled twice.
    """
    key = (kernel, *map(id, arguments))
    if key not in _found:
        _found[key] = _compiled(kernel, *arguments), arguments
    return _found[key][0]


def forget() -> None:
    """Look for all kernels in the cache again."""
    _found.clear()
    _compiled.cache_clear()


@cache
def _compiled(kernel: Callable[..., Any], *arguments: Any) -> Any:
    began = time.perf_counter()
    named = _named_by_sources(kernel)
    start = _Start(named)
    with _interrupt_held(), event.install_listener("numba:compile", start):
        try:
            ready = njit(arguments, nogil=True, cache=True)(named)
        except RuntimeError:
            # No folder for the cache can be written: compile for this process alone.
            ready = njit(arguments, nogil=True)(named)
    tell(Compilation(kernel.__name__, time.perf_counter() - began, start.seen))
    return ready


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Answer Ctrl-C after a kernel is ready: raised where LLVM calls Python it would be lost."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[Any] = []
    signal.signal(signal.SIGINT, lambda *caught: held.append(caught))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        before(*held[0])


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
