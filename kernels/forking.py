"""Work that a fork waits for: importing and compiling.

A forked child has only the thread that forked. Locks that other threads held stay locked in
it for ever, and those of importing and of Numba's compiler are held for seconds. So a fork
waits until no thread is at such work.
"""

from __future__ import annotations

# Their locks are taken before a fork, too, and by what a fork waits for: they are loaded
# first, for the hooks of what was loaded last come first.
import _frozen_importlib
import concurrent.futures.thread
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds that a fork waits at most, should a hook that came before have what is waited for.
_PATIENCE = 60.0

# Held from before a fork until after it. A plain lock, which Python opens again whenever Ctrl-C
# comes; that of a `threading.Condition` would stay locked if it came while it is being taken.
_gate = threading.Lock()
# Seconds between two looks whether a fork may go on.
_PAUSE = 0.01
# The thread of each piece of such work that is under way.
_working: dict[object, int] = {}


@contextmanager
def unforked() -> Iterator[None]:
    """While entered, forks of other threads wait."""
    work = object()
    try:
        with _gate:
            _working[work] = threading.get_ident()
        yield
    finally:
        _working.pop(work, None)  # in one step, that Ctrl-C comes before or after


def _before() -> None:
    me = threading.get_ident()
    end = time.monotonic() + _PATIENCE
    _gate.acquire()
    while not {*_working.copy().values(), *_importing()} <= {me} and time.monotonic() < end:
        _gate.release()  # for work within work
        try:
            time.sleep(_PAUSE)
        finally:
            _gate.acquire()


def _importing() -> set[int]:
    """Threads that import modules of this package: calls load some when they need them."""
    package = __name__.partition(".")[0]
    locks = getattr(_frozen_importlib, "_module_locks", {})  # CPython's
    found = [ref() for name, ref in locks.copy().items() if name.startswith(package)]
    return {lock.owner for lock in found if getattr(lock, "owner", None) is not None}


def _after_in_child() -> None:
    me = threading.get_ident()
    for work, thread in _working.copy().items():
        if thread != me:
            del _working[work]
    _gate.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_gate.release, after_in_child=_after_in_child
    )

_HOOKED_BEFORE = (concurrent.futures.thread, logging)
