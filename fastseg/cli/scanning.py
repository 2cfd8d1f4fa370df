"""Comparing numbers of clusters: the job, and what people see of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..choosing_k import Scan, scan
from ..drawing import check_plot
from ..io import Image
from ..progress import Clock
from .jobs import start_centers
from .source import Source
from .terminal import image_lines

if TYPE_CHECKING:
    from rich.table import Table

    from ..progress import Callback


@dataclass(frozen=True)
class ScanJob:
    """What was compared: an image, and its clusters for several numbers of them."""

    source: Source
    image: Image
    scan: Scan
    plot: str | None
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for strict JSON."""
        return {
            "input": self.source.path,
            "plot": self.plot,
            "grid": list(self.image.grid),
            "dtype": self.image.pixels.dtype.name,
            "n_channels": self.image.n_channels,
            **self.scan.as_dict(),
            "seconds": {stage: round(value, 6) for stage, value in self.seconds.items()},
            "notes": list(self.image.notes),
        }


def scan_file(
    source: Source,
    *,
    n_clusters: list[int],
    plot_path: str | None,
    init: str | None,
    overwrite: bool,
    callback: Callback,
    **options: Any,
) -> ScanJob:
    """Scan an image file, and draw the result where asked.

    Everything that can be refused is refused before the work.
    """
    clock = Clock()
    if plot_path is not None:
        check_plot(plot_path, overwrite, source.files)
    callback("read", 0, 0, {})
    image, mask = source.read()
    clock.stop("read")
    result = scan(
        image,
        n_clusters,
        init=start_centers(init, image),
        mask=mask,
        nodata=source.nodata,
        callback=callback,
        **options,
    )
    clock.stop("scan")
    if plot_path is not None:
        callback("write", 0, 0, {})
        result.plot(plot_path, overwrite=overwrite)
        clock.stop("plot")
    return ScanJob(source, image, result, plot_path, clock.result())


def scan_table(job: ScanJob) -> Table:
    """Build a table with a row per number of clusters, the chosen one marked."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("k", "inertia", "explained", "silhouette", "Calinski-Harabasz", "iterations"):
        table.add_column(name, justify="right")
    table.add_column("")
    result = job.scan
    rows = zip(
        result.n_clusters, result.inertia, result.explained, result.silhouette,
        result.calinski_harabasz, strict=True,
    )  # fmt: skip
    for k, inertia, explained, silhouette, index in rows:
        best = k == result.best
        steps = "optimum" if result.method == "optimal" else str(result.n_iter[k])
        table.add_row(
            str(k),
            f"{inertia:.6g}",
            f"{100 * explained:.2f} %",
            "-" if math.isnan(silhouette) else f"{silhouette:.4f}",
            "-" if math.isnan(index) else f"{index:,.0f}",
            steps,
            "<- best" if best else "",
            style="bold" if best else None,
        )
    return table


def scan_lines(job: ScanJob) -> tuple[list[str], list[str]]:
    """Say what stands above the table, and what below."""
    import click

    result = job.scan
    below = [f"best: k = {result.best}, because {result.reason}"]
    if result.n_left_out:
        below.append(f"left out: {result.n_left_out:,} pixels")
    parts = ", ".join(f"{part} {s:.3g}" for part, s in job.seconds.items() if part != "total")
    below.append(f"time: {job.seconds['total']:.3g} s ({parts})")
    if job.plot is not None:
        below.append(f"written: {click.format_filename(job.plot)}")
    return image_lines(job.source.path, job.image), below
