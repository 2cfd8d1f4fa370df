"""Work that a fork waits for: importing and compiling.

A forked child has only the thread that forked. Locks that other threads held stay locked in
it for ever, and those of importing and of Numba's compiler are held for seconds. So a fork
waits until no thread is at such work.
"""

from __future__ import annotations

# Their locks are taken before a fork, too, and by what a fork waits for: they are loaded
# first, for the hooks of what was loaded last come first.
import concurrent.futures.thread
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds that a fork waits at most, should a hook that came before have what is waited for.
_PATIENCE = 60.0

_changed = threading.Condition(threading.Lock())
# How deep each thread is in such work.
_depths: dict[int, int] = {}


@contextmanager
def unforked() -> Iterator[None]:
    """While entered, forks of other threads wait."""
    me = threading.get_ident()
    with _changed:
        _depths[me] = _depths.get(me, 0) + 1
    try:
        yield
    finally:
        with _changed:
            _depths[me] -= 1
            if not _depths[me]:
                del _depths[me]
            _changed.notify_all()


def _before() -> None:
    _changed.acquire()
    me = threading.get_ident()
    end = time.monotonic() + _PATIENCE
    while any(thread != me for thread in _depths) and time.monotonic() < end:
        _changed.wait(end - time.monotonic())


def _after_in_child() -> None:
    me = threading.get_ident()
    for thread in [thread for thread in _depths if thread != me]:
        del _depths[thread]
    _changed.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_changed.release, after_in_child=_after_in_child
    )

_HOOKED_BEFORE = (concurrent.futures.thread, logging)
