"""What all drawings share: matplotlib, loaded when it is needed, and the files they go to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..io import StrPath, atomic_write, check_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT_SUFFIXES = (".pdf", ".png", ".svg")


def require_matplotlib() -> None:
    """Raise ImportError with what to install where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"drawing needs matplotlib ({error}); install it with: pip install 'fastseg[plot]'"
        ) from error


def check_plot(path: StrPath, overwrite: bool, inputs: tuple[str, ...] = ()) -> None:
    """Refuse a drawing before the work: its suffix, an existing file, a missing matplotlib."""
    check_output(path, overwrite, PLOT_SUFFIXES, inputs)
    require_matplotlib()


def new_figure(width: float, height: float) -> Figure:
    """Figure of a size in inches that belongs to no window."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def save_figure(figure: Figure, path: StrPath, *, overwrite: bool) -> None:
    """Write a drawing in the format that its suffix names; the file is whole or absent."""
    check_output(path, overwrite, PLOT_SUFFIXES)
    with atomic_write(path, overwrite=overwrite) as file:
        figure.savefig(file, format=os.path.splitext(path)[1][1:].lower())
