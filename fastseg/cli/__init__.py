"""The command line: options in, files and a summary out. The only module that prints."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from .. import __version__
from ..io import check_output
from . import options

if TYPE_CHECKING:
    from rich.console import Console

    from .jobs import Job, Source
    from .terminal import Bar

_DONE, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(args: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    args : list of str, optional
        Words after the program's name; by default those it was called with.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    try:
        with _plain_warnings():
            code = cli.main(args, prog_name="fastseg", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else _DONE
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _say("error", error.format_message().rstrip(".") + hint, _USAGE)
    except (KeyboardInterrupt, _Interrupted, click.Abort):
        return _say("error", "interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # Who reads our output has gone; leave nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except Exception as error:
        if os.environ.get("FASTSEG_DEBUG") == "1":
            traceback.print_exc()
        return _say("error", _words_of(error), _FAILED)


def _words_of(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)) and str(error):
        return str(error)
    kind = type(error).__name__
    return f"unexpected {kind}: {error}; FASTSEG_DEBUG=1 shows where it comes from"


def _say(kind: str, words: str, code: int = _DONE) -> int:
    with contextlib.suppress(OSError):
        print(f"fastseg: {kind}: {' '.join(words.split())}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as a line each, and keep what concerns developers to itself."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        _say("warning", str(message))

    # Readers log what they then raise; without a handler Python would print it.
    silent = logging.NullHandler()
    logging.getLogger().addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            warnings.showwarning = show
            yield
    finally:
        logging.getLogger().removeHandler(silent)


def _source(input_: str, given: dict[str, Any]) -> Source:
    from .jobs import Source

    return Source(input_, *(given.pop(name) for name in ("mask", "nodata", "max_pixels")))


@contextlib.contextmanager
def _bar() -> Iterator[Bar]:
    from .terminal import Bar

    with Bar(sys.stderr, enabled=sys.stderr.isatty()) as bar:
        yield bar


# Commands


class _Interrupted(Exception):
    """Ctrl-C; click would print an empty line for it."""


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Interrupted from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Segment images by exact k-means clustering of their pixels."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(_USAGE)


@cli.command()
@click.argument("input_", metavar="INPUT")
@click.argument("output")
@options.clustering
@options.common
def segment(input_: str, output: str, as_json: bool, **given: Any) -> None:
    """Segment INPUT and write its labels to OUTPUT.

    INPUT is a PNG, JPEG, WebP, BMP, GIF or TIFF picture, a CSV matrix or a .npy
    array. OUTPUT is .png (labels as pixel values, the clusters' colours as
    palette), .tif (grey) or .npy.
    """
    from .jobs import segment_file

    with _bar() as bar:
        job = segment_file(_source(input_, given), output, callback=bar, **given)
    _report(job, as_json, given["model_path"])


@cli.command()
@click.argument("model")
@click.argument("input_", metavar="INPUT")
@click.argument("output")
@click.option(
    "--allow-dtype",
    is_flag=True,
    help="Take an image of another type than the model's, its values as they are.",
)
@options.common
def predict(model: str, input_: str, output: str, as_json: bool, **given: Any) -> None:
    """Label INPUT with the clusters of a saved MODEL and write OUTPUT."""
    from .jobs import predict_file

    with _bar() as bar:
        job = predict_file(model, _source(input_, given), output, callback=bar, **given)
    _report(job, as_json)


@cli.command()
@click.argument("input_", metavar="INPUT")
@options.scanning
@options.common
def scan(input_: str, as_json: bool, **given: Any) -> None:
    """Cluster INPUT into several numbers of clusters, and choose one of them.

    Shown for each: the inertia, the share of the variance it explains, the
    simplified silhouette and the index of Calinski and Harabasz. The number
    chosen is the elbow of the inertia, else that of the largest silhouette.
    """
    from .scanning import scan_file, scan_lines, scan_table

    with _bar() as bar:
        job = scan_file(_source(input_, given), callback=bar, **given)
    for note in job.image.notes if as_json else ():
        _say("note", f"{job.source.path}: {note}")
    if as_json:
        click.echo(_json(job.as_dict()))
        return
    before, after = scan_lines(job)
    for line in before:
        click.echo(line)
    _console().print(scan_table(job))
    for line in after:
        click.echo(line)


@cli.command()
@click.argument("input_", metavar="[INPUT]", required=False)
@options.max_pixels
@click.option(
    "--calibrate", is_flag=True,
    help="Measure what each backend costs on this machine (some seconds), for --backend auto.",
)  # fmt: skip
@options.as_json
def info(input_: str | None, max_pixels: int | None, calibrate: bool, as_json: bool) -> None:
    """Describe this installation, or the image INPUT."""
    from .jobs import Source, describe
    from .terminal import fact_lines

    if calibrate and input_ is not None:
        raise click.UsageError("--calibrate measures the machine: leave INPUT out.")
    if calibrate:
        _calibrate()
    if input_ is None:
        facts = _installation()
    else:
        with _bar() as bar:
            facts = describe(Source(input_, max_pixels=max_pixels), bar)
    for line in [_json(facts)] if as_json else fact_lines(facts):
        click.echo(line)


def _calibrate() -> None:
    from ..costs import calibrate, save_calibration
    from ..dispatch import available_backends, backend_named

    usable = [name for name, missing in available_backends().items() if missing is None]
    save_calibration(calibrate({name: backend_named(name) for name in usable}))


def _installation() -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    from .. import available_backends
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


@cli.command()
@click.argument("folder", metavar="[OUT_DIR]", default="demo")
@options.n_clusters
@options.overwrite
def demo(folder: str, n_clusters: int | str | None, overwrite: bool) -> None:
    """Segment a photograph, draw the result, and do the same with scikit-learn."""
    from . import showcase
    from .jobs import segment_file

    labels = os.path.join(folder, "china-labels.png")
    drawing = os.path.join(folder, "china-side-by-side.png")
    os.makedirs(folder, exist_ok=True)
    try:
        check_output(drawing, overwrite)
        with _bar() as bar:
            job = segment_file(
                showcase.photograph(), labels, n_clusters=n_clusters, overwrite=overwrite,
                random_state=0, callback=bar,
            )  # fmt: skip
        showcase.draw(job, drawing, overwrite=overwrite)
    except BaseException:
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # if nothing is in it
        raise
    _report(job, False, drawing)
    click.echo("\nThe same job in scikit-learn, both from the same starting centres:")
    for line in showcase.compare(job):
        click.echo(f"  {line}")


def _report(job: Job, as_json: bool, *more: str | None) -> None:
    """Print what a job did and which files it wrote."""
    if as_json:
        click.echo(_json(job.as_dict()))
        for note in job.image.notes:
            _say("note", f"{job.source.path}: {note}")
        return
    from . import terminal

    console = _console()
    click.echo(f"{click.format_filename(job.source.path)}: {terminal.shape_words(job)}")
    for note in job.image.notes:
        click.echo(f"note: {note}")
    console.print(terminal.cluster_table(job, colored=console.color_system is not None))
    for line in terminal.summary_lines(job):
        click.echo(line)
    for path in (job.output, *more):
        if path is not None:
            click.echo(f"written: {click.format_filename(path)}")


def _console() -> Console:
    from rich.console import Console

    # In a file the lines may be as long as they are.
    width = None if sys.stdout.isatty() else 120
    return Console(file=sys.stdout, highlight=False, width=width)


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, allow_nan=False)
