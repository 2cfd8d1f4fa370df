"""What machine and versions were measured: without them a time says nothing."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from ..costs import DRIVER, gpus
from ..kernels.cpu.threads import resolve_n_threads, usable_threads
from ..memory import free_memory

_PACKAGES = ("numpy", "numba", "scikit-learn", "scipy", "pillow",
             "cupy-cuda12x", "cupy-cuda13x")  # fmt: skip
# More running processes than this for each core, and times are of little worth.
BUSY = 0.25


def facts(n_threads: int | None = None) -> dict[str, Any]:
    """Processor, memory, GPUs with their driver, system, versions, threads and load."""
    free = free_memory()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": usable_threads(),
        "free_memory_bytes": free,
        "gpus": gpus(),
        "driver": _driver(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"fastseg": __version__, **versions_of(_PACKAGES)},
        "threads": resolve_n_threads(n_threads),
        "load": _load(),
    }


def is_busy(machine: dict[str, Any]) -> bool:
    """Whether other work was running when the facts were taken."""
    return machine["load"] is not None and machine["load"] > BUSY * machine["cores"]


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):  # Linux
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        return (
            next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
        )
    return platform.processor() or platform.machine()


def _driver() -> str | None:
    with contextlib.suppress(OSError, StopIteration):
        words = (DRIVER / "version").read_text(errors="replace").split()
        return next(word for word in words if word[0].isdigit() and "." in word)
    return None


def _load() -> float | None:
    if sys.platform == "win32":
        return None
    return round(os.getloadavg()[0], 2)
