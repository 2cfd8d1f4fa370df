"""Comparing numbers of clusters: the job, and what people see of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..choosing_k import Scan, scan
from ..pictures.drawing import check_plot
from ..progress import Clock
from .source import Source
from .starts import start_centers
from .study import Study
from .terminal import image_lines

if TYPE_CHECKING:
    from rich.table import Table

    from ..progress import Callback


def scan_file(
    source: Source,
    *,
    n_clusters: list[int],
    plot_path: str | None,
    init: str | None,
    overwrite: bool,
    callback: Callback,
    **options: Any,
) -> Study[Scan]:
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
        init=start_centers(init, lambda: image.n_channels),
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
    return Study(source, image, result, plot_path, clock.result())


def scan_table(job: Study[Scan]) -> Table:
    """Build a table with a row per number of clusters, the chosen one marked."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("k", "inertia", "explained", "silhouette", "Calinski-Harabasz", "iterations"):
        table.add_column(name, justify="right")
    table.add_column("")
    result = job.found
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


def scan_lines(job: Study[Scan]) -> tuple[list[str], list[str]]:
    """Say what stands above the table, and what below."""
    result = job.found
    below = [f"best: k = {result.best}, because {result.reason}"]
    return image_lines(job.source.path, job.image), [*below, *job.last_lines(result.n_left_out)]
