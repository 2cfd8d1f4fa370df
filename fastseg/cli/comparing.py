"""Comparing methods: the job, and what people see of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..comparison import Comparison, compare
from ..drawing import check_plot
from ..io import Image
from ..progress import Clock
from .source import Source
from .terminal import image_lines

if TYPE_CHECKING:
    from rich.table import Table

    from ..progress import Callback

_SHOWN_SIZES = 8


@dataclass(frozen=True)
class CompareJob:
    """What was compared: an image, and its clusters by several methods."""

    source: Source
    image: Image
    comparison: Comparison
    plot: str | None
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the labels, for strict JSON."""
        return {
            "input": self.source.path,
            "plot": self.plot,
            "grid": list(self.image.grid),
            "dtype": self.image.pixels.dtype.name,
            "n_channels": self.image.n_channels,
            **self.comparison.as_dict(),
            "seconds": {stage: round(value, 6) for stage, value in self.seconds.items()},
            "notes": list(self.image.notes),
        }


def compare_file(
    source: Source, *, plot_path: str | None, overwrite: bool, callback: Callback, **options: Any
) -> CompareJob:
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
    return CompareJob(source, image, result, plot_path, clock.result())


def compare_table(job: CompareJob) -> Table:
    """Build a table with a row for each method, the one of the lowest inertia marked."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("method")
    for name in ("inertia", "above", "agreement", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("pixels of the clusters", overflow="fold")
    result = job.comparison
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


def compare_lines(job: CompareJob) -> tuple[list[str], list[str]]:
    """Say what stands above the table, and what below."""
    import click

    first = job.comparison.rows[0].result
    best = job.comparison.rows[job.comparison.best]
    below = [f"agreement: adjusted Rand index with {best.name}, whose inertia is the lowest"]
    if first.n_left_out:
        below.append(f"left out: {first.n_left_out:,} pixels")
    parts = ", ".join(f"{part} {s:.3g}" for part, s in job.seconds.items() if part != "total")
    below.append(f"time: {job.seconds['total']:.3g} s ({parts})")
    if job.plot is not None:
        below.append(f"written: {click.format_filename(job.plot)}")
    return image_lines(job.source.path, job.image), below
