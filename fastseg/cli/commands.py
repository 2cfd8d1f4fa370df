"""The commands and what they take."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..io import check_output
from ..io.atomic import make_folder
from . import options, values
from .printing import json_line, print_lines, print_measured, print_table, report, report_fit, say

if TYPE_CHECKING:
    from .extras import Extras
    from .job import Job
    from .source import Source
    from .terminal import Bar

_USAGE = 2


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


class Interrupted(Exception):
    """Ctrl-C; click would print an empty line for it."""


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


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
@options.parts
@options.common
def segment(input_: str, output: str, as_json: bool, sample: int | None, **given: Any) -> None:
    """Segment INPUT and write its labels to OUTPUT.

    INPUT is a PNG, JPEG, WebP, BMP, GIF or TIFF picture, a CSV matrix, a .npy
    array, a NIfTI (.nii, .nii.gz), Analyze or MGH volume, the folder of a DICOM
    series, a Zarr array or OME-Zarr image, a GeoTIFF, .vrt or .jp2 raster, or a
    slide. OUTPUT is .png (labels as pixel values, the clusters' colours as
    palette), .tif (the same, where a raster lies), .npy, .nii or .nii.gz (on the
    grid of the volume, its affine and header kept), .zarr, .ome.zarr, or
    IMAGE.ome.zarr/labels/NAME for labels in the image. TIFF, .npy, Zarr, rasters
    and slides may be larger than memory.
    """
    from . import jobs, piecewise

    source, extras = _source(input_, given), _extras(given)
    files = piecewise.file_options(given, source)
    reason = piecewise.reason_for_pieces(source, files, sample)
    written = [given[f"{name}_path"] for name in ("model", "report", "dendrogram")]
    with _bar() as bar:
        if reason is None:
            job: Job = jobs.segment_file(source, output, extras=extras, callback=bar, **given)
        else:
            names = ("report", "dendrogram")
            drawings = {f"--{name}": given.pop(f"{name}_path") for name in names}
            piecewise.check_whole(reason, source, extras, drawings)
            job = piecewise.segment_in_pieces(
                source, output, files, sample=sample, callback=bar, **given
            )
    report(job, as_json, *written)


@cli.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("--model", "model_path", required=True, metavar="MODEL.json",
              help="Where to save the clusters for 'fastseg predict'.")  # fmt: skip
@options.fitting
@options.common_to_files
def fit(inputs: tuple[str, ...], model_path: str, as_json: bool, **given: Any) -> None:
    """Fit one model to the pixels of all INPUTs, as if they were one image."""
    from .piecewise import file_options, fit_many

    files = file_options(given)
    with _bar() as bar:
        job = fit_many(inputs, model_path, files, callback=bar, **given)
    report_fit(job, as_json)


@cli.command()
@click.argument("model")
@click.argument("inputs", metavar="INPUT... [OUTPUT]", nargs=-1, required=True)
@click.option(
    "--allow-dtype",
    is_flag=True,
    help="Take an image of another type than the model's, its values as they are.",
)
@options.out_dir
@options.matching
@options.objects
@options.parts
@options.common
def predict(
    model: str, inputs: tuple[str, ...], out_dir: str | None, suffix: str | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Label INPUT with the clusters of a saved MODEL and write OUTPUT.

    With --out-dir several INPUTs are labelled.
    """
    from .piecewise import outputs_in

    if out_dir is None and suffix is not None:
        raise click.UsageError("--suffix is for --out-dir; give OUTPUT with its own.")
    if out_dir is None and len(inputs) != 2:
        raise click.UsageError("give INPUT and OUTPUT, or several INPUTs and --out-dir.")
    if out_dir is not None and len(inputs) > 1:
        _one_each(given)
    if out_dir is None:
        inputs, outputs = inputs[:1], inputs[1:]
    else:
        outputs = outputs_in(out_dir, inputs, suffix, model, given["overwrite"])
    for input_, output in zip(inputs, outputs, strict=True):
        report(_predict(model, input_, output, dict(given)), as_json)


def _one_each(given: dict[str, Any]) -> None:
    """Refuse files that many inputs would write, or that one alone can fit."""
    names = {"mask": "mask", "channels": "channel", "preview": "preview",
             "objects_path": "objects-out", "distance_path": "distance"}  # fmt: skip
    for name, option in names.items():
        if given[name]:
            raise click.UsageError(f"--{option} is for a single INPUT; leave it out.")


def _predict(model: str, input_: str, output: str, given: dict[str, Any]) -> Job:
    from . import jobs, piecewise

    source, extras = _source(input_, given), _extras(given)
    files = piecewise.file_options(given, source)
    reason = piecewise.reason_for_pieces(source, files)
    with _bar() as bar:
        if reason is None:
            return jobs.predict_file(model, source, output, extras=extras, callback=bar, **given)
        piecewise.check_whole(reason, source, extras, {})
        return piecewise.predict_in_pieces(model, source, output, files, callback=bar, **given)


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
    "--n-channels", callback=values.counts_of("channel"), metavar="FROM:TO|N,N,...",
    help="Numbers of channels to compile for; 1:4 by default, and always those of many.",
)  # fmt: skip
@options.as_json
def info(
    input_: str | None,
    max_pixels: int | None,
    calibrate: bool,
    warm_up: bool,
    n_channels: list[int] | None,
    as_json: bool,
) -> None:
    """Describe this installation, or the image INPUT."""
    from . import facts as facts_
    from .source import Source
    from .terminal import fact_lines

    if input_ is not None and (calibrate or warm_up):
        name = "--calibrate" if calibrate else "--warm-up"
        raise click.UsageError(f"{name} is for the machine: leave INPUT out.")
    if n_channels is not None and not warm_up:
        raise click.UsageError("--n-channels says what --warm-up compiles: give both.")
    if calibrate:
        _calibrate()
    if input_ is None:
        facts = facts_.installation()
        if warm_up:
            with _bar(note=False) as bar:
                facts["warm_up"] = facts_.warm_up(n_channels or [1, 2, 3, 4], bar)
    else:
        with _bar() as bar:
            facts = facts_.describe(Source(input_, max_pixels=max_pixels), bar)
    print_lines([json_line(facts)] if as_json else fact_lines(facts))


def _calibrate() -> None:
    from ..backends import BUILT_IN, backend_named
    from ..costs import calibrate, prepare_calibration, save_calibration
    from ..dispatch import available_backends
    from ..kernels.conformance import check_backend

    prepare_calibration()
    usable = {}
    for name in [name for name, missing in available_backends().items() if missing is None]:
        usable[name] = backend_named(name)
        if name not in BUILT_IN:
            try:
                check_backend(usable[name])
            except Exception as error:  # of another package, which raises what it likes
                del usable[name]
                click.echo(f"{name} is not measured, for it gives wrong answers: {error}", err=True)
    save_calibration(calibrate(usable))


@cli.command()
@options.benching
def bench(as_json: bool, **given: Any) -> None:
    """Measure which is fastest on this machine: the backends and scikit-learn.

    On pictures and on points that do not repeat, from the file, from memory and
    for the kernel alone. Answers are compared before they are timed; shown beside
    the times are the share of equal labels, the inertia and the memory taken.
    """
    from .benching import bench_lines, bench_machine, bench_table

    with _bar(note=False) as bar:
        measured, paths = bench_machine(callback=bar, **given)
    print_measured(measured, paths, as_json, bench_lines, bench_table)


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
    make_folder(folder)
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
    print_lines(["\nThe same job in scikit-learn, both from the same starting centres:"])
    print_lines(f"  {line}" for line in showcase.compare(job))
