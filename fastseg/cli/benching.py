"""Measuring on the command line: the job, its files, and what people see of it."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from ..bench.cases import STAGES
from ..bench.suite import Measured, bench, check_backends
from ..bench.words import HEADS, cautions, cells, crossing_words, machine_lines, title, verdicts
from ..io import atomic_write, check_output
from ..pictures.drawing import require_matplotlib

if TYPE_CHECKING:
    from rich.table import Table

    from ..progress import Callback

_FILES = ("results.json", "report.html")


def bench_machine(
    picture: str | None,
    *,
    quick: bool,
    backends: list[str] | None,
    out: str | None,
    overwrite: bool,
    n_threads: int | None,
    callback: Callback,
) -> tuple[Measured, list[str]]:
    """Measure, and write results and report into a folder where one is given.

    Everything that can be refused is refused before the work.

    Returns
    -------
    tuple of Measured and list of str
        What was measured, and the files written.
    """
    check_backends(backends)
    paths = [] if out is None else [os.path.join(out, name) for name in _FILES]
    if out is not None:
        require_matplotlib()
        os.makedirs(out, exist_ok=True)
    try:
        for path in paths:
            check_output(path, overwrite, inputs=() if picture is None else (picture,))
        measured = bench(
            picture, quick=quick, backends=backends, n_threads=n_threads, callback=callback
        )
        if paths:
            callback("draw", 0, 0, {})
            _write(measured, paths, overwrite)
    except BaseException:
        if out is not None:
            with contextlib.suppress(OSError):
                os.rmdir(out)  # if nothing is in it
        raise
    return measured, paths


def _write(measured: Measured, paths: list[str], overwrite: bool) -> None:
    from ..bench.page import page

    texts = json.dumps(measured.as_dict(), allow_nan=False, indent=1), page(measured)
    for path, text in zip(paths, texts, strict=True):
        with atomic_write(path, overwrite=overwrite) as file:
            file.write(text.encode())


def bench_lines(measured: Measured, paths: list[str]) -> tuple[list[str], list[str]]:
    """Say what stands above the table, and what below."""
    import click

    machine = machine_lines(measured.machine)
    above = [f"{name + ':':<14}{words}" for name, words in machine.items()]
    above += [f"caution: {words}" for words in cautions(measured)]
    below = [f"{name + ':':<8}{words}" for name, words in STAGES.items()]
    below.append("x: time as a multiple of the first row's, within turns; above 1 is slower")
    below += [*verdicts(measured), *crossing_words(measured)]
    below += [f"written: {click.format_filename(path)}" for path in paths]
    return above, below


def bench_table(measured: Measured) -> Table:
    """Build a table with a row for each implementation in each contest."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("case", overflow="fold")
    table.add_column("stage")
    for name in HEADS:
        table.add_column(name, justify="left" if name == HEADS[0] else "right")
    for contest in measured.contests:
        first = title(contest), contest.stage
        for number, row in enumerate(contest.rows):
            table.add_row(*(("", "") if number else first), *cells(row))
    return table
