"""The foreground of an image: what is brighter than Otsu's threshold."""

from __future__ import annotations

from typing import Any

from .kernels.backend import Array, Backend, FloatArray
from .optimal_1d import optimal_1d
from .pixels import Pixels
from .progress import Progress
from .summary import count_pixels


def keep_foreground(
    pixels: Pixels, foreground: Any, backend: Backend, *, n_threads: int | None, progress: Progress
) -> tuple[Pixels, float | None]:
    """Pixels of the foreground, and the smallest of their values; all pixels for None.

    "auto" is the brighter cluster of the global optimum for two, which Otsu's method
    finds as well.

    Raises
    ------
    ValueError
        If ``foreground`` is something else, or it is not for such an image.

    References
    ----------
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans.
    Systems, Man, and Cybernetics 9, 1979.
    """
    if foreground is None:
        return pixels, None
    check_foreground(foreground, pixels.values.shape[1])
    values, weights, _ = count_pixels(
        pixels.values, backend, n_threads=n_threads, progress=progress
    )
    assert weights is not None  # one channel is always counted
    first = foreground_of(values, weights, foreground, n_threads=n_threads, progress=progress)
    threshold = float(pixels.in_units(values[first : first + 1])[0, 0])
    return pixels.only(pixels.values[:, 0] >= values[first, 0]), threshold


def check_foreground(foreground: Any, n_channels: int) -> None:
    """Refuse a rule that there is not, or that is not for so many channels."""
    if foreground is None:
        return
    if not isinstance(foreground, str) or foreground != "auto":
        raise ValueError(f"foreground must be 'auto' or None, got {foreground!r}")
    if n_channels != 1:
        raise ValueError(
            f"foreground='auto' is for one channel, but the image has {n_channels};"
            " segment one of them with n_clusters=1 (-k 1) and this foreground: its labels are the"
            " mask for all"
        )


def check_counted(foreground: Any, is_counted: bool) -> None:
    """Refuse a foreground where the distinct values of the image are not known."""
    if foreground is not None and not is_counted:
        raise ValueError(
            f"foreground={foreground!r} needs the distinct values of the image, and there are too"
            " many to be held; give a mask instead"
        )


def foreground_of(
    values: Array,
    weights: FloatArray,
    foreground: Any,
    *,
    n_threads: int | None,
    progress: Progress,
) -> int:
    """Index of the first of the distinct values (m, 1), ascending, that is in the foreground."""
    if foreground is None:
        return 0
    if len(values) < 2:
        raise ValueError(
            "foreground='auto' needs at least two distinct values, but all pixels equal"
            f" {values[0, 0]}; leave it out"
        )
    optimum = optimal_1d(values[:, 0], weights, 2, n_threads=n_threads, progress=progress)
    return int(optimum.starts(2)[1])
