"""What all drawings share: matplotlib, loaded when it is needed, and the files they go to."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from ..io import StrPath, atomic_write, check_output
from ..kernels.tasks import Task

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
        encode_figure(figure, file, path)


def encode_figure(figure: Figure, file: BinaryIO, path: StrPath) -> None:
    """Write a drawing into an open file, in the format that the name `path` asks for."""
    file.write(rendered(figure, os.path.splitext(path)[1][1:].lower()))


def rendered(figure: Figure, form: str, **options: Any) -> bytes:
    """Drawing in a format, with options of matplotlib's ``savefig``.

    It is drawn in a thread of its own, into memory: matplotlib turns Ctrl-C that comes into it
    into errors of its own. So Ctrl-C ends the wait, and what is drawn by then is let go.
    """
    file = io.BytesIO()
    Task(lambda: figure.savefig(file, format=form, **options)).in_a_thread().result()
    return file.getvalue()
