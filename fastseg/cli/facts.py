"""What 'fastseg info' tells: about this installation, or about an image."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .. import __version__, available_backends
from ..dispatch import choose_backend
from ..io.opening import open_image
from ..kernels.backend import Problem
from ..pixels import as_pixels
from ..progress import Callback, Progress
from ..streaming.options import FileOptions
from ..summary import summarize
from .piecewise import reason_for_pieces
from .source import Source

_MAX_SORTED = 1 << 24  # values that are counted the slow way, in a few seconds


def installation() -> dict[str, Any]:
    """Tell what this installation is made of, and where it can compute."""
    import platform
    from importlib.metadata import version

    from ..costs import Calibration, load_calibration
    from ..kernels.cpu.jit import cache_folder
    from ..kernels.cpu.threads import resolve_n_threads

    calibration = load_calibration()
    return {
        "fastseg": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "platform": platform.platform(),
        "backends": available_backends(),
        "calibration": (
            ", ".join(calibration.costs) if isinstance(calibration, Calibration) else calibration
        ),
        "threads": resolve_n_threads(),
        "cache": cache_folder(),  # None: every process compiles anew
    }


def warm_up(n_channels: list[int], callback: Callback) -> dict[str, Any]:
    """Compile the kernels of images of so many channels, and tell how many there are.

    Raises
    ------
    OSError
        If what is compiled could not be kept.
    """
    from ..kernels.compilation import Compilation, watched
    from ..kernels.cpu.jit import cache_folder
    from ..kernels.cpu.warm_up import problems

    if cache_folder() is None:
        raise OSError(
            "compiled kernels cannot be kept, for no cache folder can be written;"
            " set NUMBA_CACHE_DIR to one that can"
        )
    ready: list[Compilation] = []

    def keep(what: Compilation) -> None:
        if what.seconds is not None:
            ready.append(what)

    began = time.perf_counter()
    steps = list(problems(n_channels))
    with watched(keep):
        for done, (words, solve) in enumerate(steps):
            callback("compile", done, len(steps), {"problem": words})
            solve()
    return {
        "n_kernels": len(ready),
        "n_compiled": sum(what.compiled for what in ready),
        "seconds": time.perf_counter() - began,
    }


def describe(source: Source, callback: Callback) -> dict[str, Any]:
    """Tell what an image file holds, without clustering it."""
    reason = reason_for_pieces(source, FileOptions(max_pixels=source.max_pixels))
    if reason is not None:
        return _header(source, reason)
    callback("read", 0, 0, {})
    image, _ = source.read()
    pixels = as_pixels(image, "auto", None, None)
    n, d = pixels.values.shape
    backend = choose_backend(Problem(n, d, 1, pixels.values.dtype.name)).backend
    summary = summarize(pixels.values, backend, tick=Progress(callback).tick("count"))
    n_distinct: int | None = None  # not counted
    if summary is not None:
        n_distinct = len(summary.values)
    elif pixels.values.size <= _MAX_SORTED:
        n_distinct = len(np.unique(pixels.values, axis=0))
    ends = np.array([(channel.min(), channel.max()) for channel in pixels.values.T])
    ranges = pixels.in_units(ends.T).T.tolist()
    place = image.geometry
    return {
        "file": source.path,
        "grid": list(pixels.grid),
        "n_channels": pixels.values.shape[1],
        "dtype": pixels.dtype.name,
        "ranges": ranges,
        "n_distinct": n_distinct,
        "n_left_out": pixels.n_left_out,
        **({} if place is None else {"voxel_size": list(place.voxel_size)}),
        "notes": list(image.notes),
    }


def _header(source: Source, reason: str) -> dict[str, Any]:
    """Tell what an image holds whose values are too many to be looked at."""
    with open_image(source.path, max_pixels=source.max_pixels) as image:
        return {
            "file": source.path,
            "grid": list(image.grid),
            "n_channels": image.n_channels,
            "dtype": image.dtype.name,
            "block": list(image.block),
            "notes": [*image.notes, f"Its values were not looked at: {reason}."],
        }
