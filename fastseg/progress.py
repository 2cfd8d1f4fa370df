"""Telling a callback how far the work is, and stopping when it says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .kernels.backend import Tick

# callback(stage, done, total, info) -> True to stop
Callback = Callable[[str, int, int, dict[str, Any]], object]

# Within a stage the callback is called about this often; chunks are far shorter.
_INTERVAL = 0.1


class Stopped(Exception):
    """Raised out of a call whose callback returned True."""


class Progress:
    """Reports to a callback, or to nobody when it is None."""

    def __init__(self, callback: Callback | None = None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable or None, got {callback!r}")
        self.callback = callback
        self.last = time.monotonic()

    def report(self, stage: str, done: int, total: int, info: dict[str, Any] | None = None) -> None:
        """Call the callback now; raise `Stopped` if it returns True."""
        if self.callback is None:
            return
        self.last = time.monotonic()
        answer = self.callback(stage, done, total, dict(info or {}))
        # NumPy's True as well, but not whatever else a callback may return.
        if isinstance(answer, (bool, np.bool_)) and answer:
            raise Stopped(f"stopped by the callback in stage {stage!r} at {done} of {total}")

    def tick(self, stage: str) -> Tick | None:
        """Function for kernels to call with (points done, points in all)."""
        if self.callback is None:
            return None

        def tick(done: int, total: int) -> None:
            if done == total or time.monotonic() - self.last >= _INTERVAL:
                self.report(stage, done, total)

        return tick

    def heartbeat_at(self, stage: str, info: dict[str, Any] | None = None) -> Tick:
        """Like `tick` with ``info``, and to be called whenever it suits."""

        def tick(done: int, total: int) -> None:
            if time.monotonic() - self.last >= _INTERVAL:
                self.report(stage, done, total, info)

        return tick

    def heartbeat(
        self, stage: str, done: int, total: int, info: dict[str, Any] | None = None
    ) -> Tick | None:
        """Like `tick`, for one long step of a stage that counts in other units."""
        if self.callback is None:
            return None

        def tick(points_done: int, points_total: int) -> None:
            if time.monotonic() - self.last >= _INTERVAL:
                self.report(stage, done, total, info)

        return tick


class Clock:
    """Seconds of the stages of some work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.start = self.last = time.perf_counter()

    def stop(self, stage: str) -> None:
        """End a stage, or some more of it; the next one begins."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    def result(self, inner: dict[str, float] | None = None) -> dict[str, float]:
        """Give all stages, ``inner`` ones among them, and their total."""
        return {**self.seconds, **(inner or {}), "total": self.last - self.start}
