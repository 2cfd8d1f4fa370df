"""Tells those who want to know that a kernel is being compiled, which takes a moment.

Loads nothing heavy, so that a program may begin to watch before it needs a kernel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .forking import unforked


@dataclass(frozen=True)
class Compilation:
    """A kernel that is about to be compiled, or that is ready.

    ``seconds`` is None at the start, and then what making it ready took; ``compiled`` is
    whether it was compiled, rather than read from the cache (of which the start is not told).
    """

    kernel: str
    seconds: float | None
    compiled: bool


Watcher = Callable[[Compilation], None]

_lock = threading.Lock()
_watchers: tuple[Watcher, ...] = ()


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call ``watcher(compilation)`` for each kernel that any thread makes ready meanwhile.

    It is called in the thread that compiles, and must not raise.
    """
    global _watchers
    with unforked(), _lock:
        _watchers = (*_watchers, watcher)
    try:
        yield
    finally:
        with unforked(), _lock:
            _watchers = tuple(w for w in _watchers if w is not watcher)


def tell(compilation: Compilation) -> None:
    """Tell all watchers."""
    for watcher in _watchers:
        watcher(compilation)
