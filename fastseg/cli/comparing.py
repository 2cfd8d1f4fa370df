"""Comparing methods: the job, and what people see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..comparison import Comparison, compare
from ..pictures.drawing import check_plot
from ..progress import Clock
from .source import Source
from .study import Study
from .terminal import image_lines

if TYPE_CHECKING:
    from rich.table import Table

    from ..progress import Callback

_SHOWN_SIZES = 8


def compare_file(
    source: Source, *, plot_path: str | None, overwrite: bool, callback: Callback, **options: Any
) -> Study[Comparison]:
    """Compare methods on an image file, and draw the result where asked.

    Everything that can be refused is refused before the work.
    """
    clock = Clock()
    if plot_path is not None:
        check_plot(plot_path, overwrite, source.files)
    callback("read", 0, 0, {})
    image, mask = source.read()
    clock.stop("read")
    result = compare(image, mask=mask, nodata=source.nodata, callback=callback, **options)
    clock.stop("compare")
    if plot_path is not None:
        callback("draw", 0, 0, {})
        result.plot(plot_path, overwrite=overwrite)
        clock.stop("plot")
    return Study(source, image, result, plot_path, clock.result())


def compare_table(job: Study[Comparison]) -> Table:
    """Build a table with a row for each method, the one of the lowest inertia marked."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("method")
    for name in ("inertia", "above", "agreement", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("pixels of the clusters", overflow="fold")
    result = job.found
    for row, agreement in zip(result.rows, result.agreement[result.best], strict=True):
        best = row is result.rows[result.best]
        sizes = [f"{size:,}" for size in row.result.counts.tolist()]
        if len(sizes) > _SHOWN_SIZES:
            sizes = [*sizes[: _SHOWN_SIZES - 1], "...", sizes[-1]]
        table.add_row(
            row.name,
            f"{row.result.inertia:.6g}",
            "lowest" if best else f"{100 * result.excess(row):.2f} %",
            f"{agreement:.4f}",
            f"{row.seconds:.3g}",
            " ".join(sizes),
            style="bold" if best else None,
        )
    return table


def compare_lines(job: Study[Comparison]) -> tuple[list[str], list[str]]:
    """Say what stands above the table, and what below."""
    first = job.found.rows[0].result
    best = job.found.rows[job.found.best]
    below = [f"agreement: adjusted Rand index with {best.name}, whose inertia is the lowest"]
    return image_lines(job.source.path, job.image), [*below, *job.last_lines(first.n_left_out)]
