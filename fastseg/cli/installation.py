"""What an installation of fastseg has."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from .. import __version__, available_backends
from ..kernels.cpu.jit import cache_folder
from ..kernels.cpu.threads import resolve_n_threads


def installation() -> dict[str, Any]:
    """Versions, backends, threads, and where compiled kernels are kept."""
    return {
        "fastseg": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "platform": platform.platform(),
        "backends": available_backends(),
        "threads": resolve_n_threads(),
        "cache": cache_folder(),  # None: every process compiles anew
    }
