"""The command line: options in, files and a summary out."""

from __future__ import annotations

import contextlib
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
from .printing import json_line, print_table, report, say

if TYPE_CHECKING:
    from .extras import Extras
    from .source import Source
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
        return say("error", error.format_message().rstrip(".") + hint, _USAGE)
    except (KeyboardInterrupt, _Interrupted, click.Abort):
        return say("error", "interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # Who reads our output has gone; leave nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except Exception as error:
        if os.environ.get("FASTSEG_DEBUG") == "1":
            traceback.print_exc()
        return say("error", _words_of(error), _FAILED)


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
        say("warning", str(message))

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
    from .source import Source

    names = ("mask", "nodata", "max_pixels", "channels", "frames")
    return Source(input_, *(given.pop(name) for name in names))


def _extras(given: dict[str, Any]) -> Extras:
    from .extras import Extras

    names = ("min_size", "objects", "objects_path", "distance_path")
    return Extras(**{name: given.pop(name) for name in names if name in given})


@contextlib.contextmanager
def _bar(*, note: bool = True) -> Iterator[Bar]:
    from .terminal import Bar

    with Bar(sys.stderr, enabled=sys.stderr.isatty()) as bar:
        yield bar
    if note and bar.compile_seconds > 1:
        took = f"{bar.n_compiled} kernels in {bar.compile_seconds:.2g} s"
        say("note", f"compiled {took}, on first use; 'fastseg info --warm-up' compiles all of them")


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
@options.objects
@options.common
def segment(input_: str, output: str, as_json: bool, **given: Any) -> None:
    """Segment INPUT and write its labels to OUTPUT.

    INPUT is a PNG, JPEG, WebP, BMP, GIF or TIFF picture, a CSV matrix, a .npy
    array, a NIfTI (.nii, .nii.gz), Analyze or MGH volume, or the folder of a
    DICOM series. OUTPUT is .png (labels as pixel values, the clusters' colours as
    palette), .tif (grey), .npy, or .nii or .nii.gz (on the grid of the volume,
    its affine and header kept).
    """
    from .jobs import segment_file

    source, extras = _source(input_, given), _extras(given)
    with _bar() as bar:
        job = segment_file(source, output, extras=extras, callback=bar, **given)
    report(job, as_json, *(given[f"{name}_path"] for name in ("model", "report", "dendrogram")))


@cli.command()
@click.argument("model")
@click.argument("input_", metavar="INPUT")
@click.argument("output")
@click.option(
    "--allow-dtype",
    is_flag=True,
    help="Take an image of another type than the model's, its values as they are.",
)
@options.matching
@options.objects
@options.common
def predict(model: str, input_: str, output: str, as_json: bool, **given: Any) -> None:
    """Label INPUT with the clusters of a saved MODEL and write OUTPUT."""
    from .jobs import predict_file

    source, extras = _source(input_, given), _extras(given)
    with _bar() as bar:
        job = predict_file(model, source, output, extras=extras, callback=bar, **given)
    report(job, as_json)


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
    print_table(job, as_json, scan_lines, scan_table)


@cli.command()
@click.argument("input_", metavar="INPUT")
@options.comparing
@options.common
def compare(input_: str, as_json: bool, **given: Any) -> None:
    """Cluster INPUT by several methods, and compare what they find.

    These are k-means from k-means++ starts, the global optimum (of one channel),
    Ward's tree, and scikit-learn's KMeans on every pixel. Shown for each: the
    inertia, its agreement with the method of the lowest inertia (adjusted Rand
    index: 1 for equal clusters, about 0 for unrelated ones), the time and the
    pixels of the clusters.
    """
    from .comparing import compare_file, compare_lines, compare_table

    with _bar() as bar:
        job = compare_file(_source(input_, given), callback=bar, **given)
    print_table(job, as_json, compare_lines, compare_table)


@cli.command()
@click.argument("input_", metavar="[INPUT]", required=False)
@options.max_pixels
@click.option(
    "--calibrate", is_flag=True,
    help="Measure what each backend costs on this machine (some seconds), for --backend auto.",
)  # fmt: skip
@click.option(
    "--warm-up",
    is_flag=True,
    help="Compile the kernels now (some minutes), so that no later call waits for it.",
)
@click.option(
    "--channels", callback=options.counts_of("channel"), metavar="FROM:TO|N,N,...",
    help="Numbers of channels to compile for; 1:4 by default, and always those of many.",
)  # fmt: skip
@options.as_json
def info(
    input_: str | None,
    max_pixels: int | None,
    calibrate: bool,
    warm_up: bool,
    channels: list[int] | None,
    as_json: bool,
) -> None:
    """Describe this installation, or the image INPUT."""
    from . import facts as facts_
    from .source import Source
    from .terminal import fact_lines

    if input_ is not None and (calibrate or warm_up):
        name = "--calibrate" if calibrate else "--warm-up"
        raise click.UsageError(f"{name} is for the machine: leave INPUT out.")
    if channels is not None and not warm_up:
        raise click.UsageError("--channels says what --warm-up compiles: give both.")
    if calibrate:
        _calibrate()
    if input_ is None:
        facts = facts_.installation()
        if warm_up:
            with _bar(note=False) as bar:
                facts["warm_up"] = facts_.warm_up(channels or [1, 2, 3, 4], bar)
    else:
        with _bar() as bar:
            facts = facts_.describe(Source(input_, max_pixels=max_pixels), bar)
    for line in [json_line(facts)] if as_json else fact_lines(facts):
        click.echo(line)


def _calibrate() -> None:
    from ..costs import calibrate, prepare_calibration, save_calibration
    from ..dispatch import available_backends, backend_named

    prepare_calibration()
    usable = [name for name, missing in available_backends().items() if missing is None]
    save_calibration(calibrate({name: backend_named(name) for name in usable}))


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
    report(job, False, drawing)
    click.echo("\nThe same job in scikit-learn, both from the same starting centres:")
    for line in showcase.compare(job):
        click.echo(f"  {line}")
