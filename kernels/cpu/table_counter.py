"""What the counters of distinct pixels share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Tick
from .pool import run_chunks

# Pixels a thread takes at once: a millisecond or few, so that Ctrl-C is answered.
CHUNK = 2**19


def in_chunks(
    task: Callable[[int, int], Any], n: int, step: int, n_threads: int, tick: Tick | None = None
) -> None:
    """Call ``task(start, stop)`` for chunks of 0..n on threads, reporting pixels done."""
    run_chunks(
        lambda chunk: task(chunk * step, min((chunk + 1) * step, n)),
        -(-n // step),
        n_threads,
        tick=None if tick is None else lambda done: tick(min(done * step, n), n),
    )


class TableCounter:
    """Common part of the counters."""

    may_give_up = False
    full = False
    pays = True

    def __init__(self, dtype: np.dtype[Any], n_features: int, n_threads: int) -> None:
        self.dtype = dtype
        self.n_features = n_features
        self.n_threads = n_threads
