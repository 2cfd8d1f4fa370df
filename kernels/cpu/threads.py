"""How many threads a call may use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path


def resolve_n_threads(n_threads: int | None = None) -> int:
    """Threads to use: ``n_threads``, else FASTSEG_NUM_THREADS, else all this process may use.

    All are no more than OMP_NUM_THREADS, by which joblib and Dask share the processors out to
    their workers, and people among their programs; -1 asks for all whatever it says.

    Raises
    ------
    ValueError
        If the number is zero or below -1, which means all.
    """
    name = "n_threads"
    if n_threads is None:
        text = os.environ.get("FASTSEG_NUM_THREADS", "").strip()
        if not text:
            return _share()
        name = "FASTSEG_NUM_THREADS"
        try:
            n_threads = int(text)
        except ValueError:
            raise ValueError(f"{name} must be a whole number, got {text!r}") from None
    if isinstance(n_threads, bool) or not hasattr(n_threads, "__index__"):
        raise TypeError(f"{name} must be a whole number or None, got {n_threads!r}")
    if n_threads == -1:
        return usable_threads()
    if n_threads < 1:
        raise ValueError(f"{name} must be at least 1, or -1 for all, got {n_threads}")
    return int(n_threads)


def _share() -> int:
    """Processors this process may use, up to the first number of OMP_NUM_THREADS.

    What OpenMP would not understand is no limit, as it is none there.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    limit = int(first) if first.isascii() and first.isdigit() else 0
    return min(limit, usable_threads()) if limit else usable_threads()


def usable_threads() -> int:
    """Processors this process may use: its affinity, and its control group's share."""
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    quota = _cgroup_quota()
    return available if quota is None else max(1, min(available, math.ceil(quota)))


@cache
def _cgroup_quota() -> float | None:
    """Processors that Linux control groups grant (version 2, then 1), or None.

    Read once: to read it takes longer than to cluster a small batch.
    """
    root = Path("/sys/fs/cgroup")
    try:
        limit, period = (root / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit = (root / "cpu" / "cpu.cfs_quota_us").read_text()
        period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        return None if int(limit) <= 0 else int(limit) / int(period)
    except (OSError, ValueError):
        return None
