"""What the commands print."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..bench.suite import Measured
    from .job import Job
    from .piecewise import FitJob
    from .study import Study


def say(kind: str, words: str, code: int = 0) -> int:
    """Print a line of some kind to standard error; return the exit code."""
    with contextlib.suppress(OSError):
        print(f"fastseg: {kind}: {' '.join(words.split())}", file=sys.stderr)
    return code


def leave_standard_output() -> None:
    """Leave nothing to flush at exit where nobody reads, or nothing can be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def to_standard_output() -> Iterator[None]:
    """Say what could not be printed: a disk may have room for labels and none for what is told."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        leave_standard_output()
        raise OSError(
            f"standard output: cannot be written ({error.strerror}); the files of the run are whole"
        ) from error


@to_standard_output()
def report(job: Job, as_json: bool, *more: str | None) -> None:
    """Print what a job did and which files it wrote."""
    _report_skipped(job.in_pieces.get("skipped", {}))
    if as_json:
        click.echo(json_line(job.as_dict()))
        for note in job.notes:
            say("note", f"{job.input}: {note}")
        return
    from . import terminal

    console = _console()
    click.echo(f"{click.format_filename(job.input)}: {terminal.shape_words(job)}")
    for note in job.notes:
        click.echo(f"note: {note}")
    console.print(terminal.cluster_table(job, colored=console.color_system is not None))
    for line in terminal.summary_lines(job):
        click.echo(line)
    if job.objects is not None:
        from .extras import object_table, object_words, size_unit

        click.echo(object_words(job.objects))
        console.print(object_table(job.objects, size_unit(job)))
    for path in (job.output, *job.more_files, *more):
        if path:
            click.echo(f"written: {click.format_filename(path)}")


def _report_skipped(skipped: dict[str, int]) -> None:
    for words, n_pixels in skipped.items():
        say("warning", f"{words}; {n_pixels:,} pixels were left out")


@to_standard_output()
def report_fit(job: FitJob, as_json: bool) -> None:
    """Print what clusters were fitted to many files."""
    _report_skipped(job.model.skipped)
    if as_json:
        click.echo(json_line(job.as_dict()))
        return
    from . import terminal

    console, model = _console(), job.model
    files = f"{len(job.inputs)} file{'s' * (len(job.inputs) > 1)}"
    channels = f"{model.n_channels} channel{'s' * (model.n_channels > 1)}"
    click.echo(f"{files}: {model.n_pixels:,} pixels, {channels}, {model.dtype}")
    console.print(terminal.cluster_table(job, colored=console.color_system is not None))
    for line in terminal.fit_lines(job):
        click.echo(line)
    click.echo(f"written: {click.format_filename(job.model_path)}")


@to_standard_output()
def print_table(
    job: Study[Any],
    as_json: bool,
    lines: Callable[[Any], tuple[list[str], list[str]]],
    table: Callable[[Any], Table],
) -> None:
    """Print a table of what a job found, with lines above and below."""
    if as_json:
        click.echo(json_line(job.as_dict()))
        for note in job.image.notes:
            say("note", f"{job.source.path}: {note}")
        return
    _print_around(lines(job), table(job))


@to_standard_output()
def print_measured(
    measured: Measured,
    paths: list[str],
    as_json: bool,
    lines: Callable[[Measured, list[str]], tuple[list[str], list[str]]],
    table: Callable[[Measured], Table],
) -> None:
    """Print what was measured on this machine."""
    if as_json:
        click.echo(json_line({**measured.as_dict(), "files": paths}))
        return
    _print_around(lines(measured, paths), table(measured))


@to_standard_output()
def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    for line in lines:
        click.echo(line)


def _print_around(lines: tuple[list[str], list[str]], table: Table) -> None:
    above, below = lines
    for line in above:
        click.echo(line)
    _console().print(table)
    for line in below:
        click.echo(line)


def _console() -> Console:
    from rich.console import Console

    # In a file the lines may be as long as they are.
    width = None if sys.stdout.isatty() else 120
    return Console(file=sys.stdout, highlight=False, width=width)


def json_line(facts: dict[str, Any]) -> str:
    """Facts as strict JSON on a line."""
    return json.dumps(facts, allow_nan=False)
