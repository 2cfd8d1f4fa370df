"""Something that a thread does, handed over so that Ctrl-C leaves no lock behind.

Plain locks in C hand over. Those of `concurrent.futures` and of `threading.Event`, written in
Python, stay locked where Ctrl-C comes while they are being taken: whoever needs them next waits
for ever. Even `threading.Thread` waits for an event while it starts.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Seconds after which a wait for a thread looks for Ctrl-C and tells a callback.
_PATIENCE = 0.1


class Task(Generic[T]):
    """Something that a thread does, unless it is called off before it begins."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._taken, self._running = _thread.allocate_lock(), _thread.allocate_lock()
        self._running.acquire()
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._is_over = False

    def in_a_thread(self) -> Task[T]:
        """Have a new thread do it."""
        _thread.start_new_thread(self.do, ())
        return self

    def do(self) -> None:
        """Do it, unless it is done or called off."""
        if not self._taken.acquire(blocking=False):
            return
        assert self._work is not None
        try:
            self._found.append(self._work())
        except BaseException as error:
            self._error = error
        self._work = None
        self._is_over = True
        self._running.release()
        del self  # an error holds this frame, and would by it hold itself

    def result(self, tell: Callable[[], object] = lambda: None) -> T:
        """Wait for what was found; meanwhile ``tell`` is called, and Ctrl-C is answered."""
        self._wait(tell)
        if self._error is None:
            return self._found[0]
        try:
            raise self._error
        finally:
            del self

    def finish(self) -> None:
        """Call it off, or wait until it is done."""
        if self._taken.acquire(blocking=False):
            self._work = None  # it may lie in a queue for long, and holds arrays
            self._is_over = True
        else:
            self._wait(lambda: None)

    def _wait(self, tell: Callable[[], object]) -> None:
        # The lock is there to wake up: one that Ctrl-C has made vain costs nothing.
        while not self._is_over:
            if not self._running.acquire(timeout=_PATIENCE):
                tell()
