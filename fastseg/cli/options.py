"""The options of the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from . import values

F = TypeVar("F", bound=Callable[..., Any])


n_clusters = click.option(
    "-k", "--clusters", "n_clusters", callback=values.count_or_auto, metavar="K|auto",
    help="Number of clusters; auto chooses one from 2 to 10 as 'fastseg scan' does. By default 8, "
         "or as many as there are given starting centres or names.",
)  # fmt: skip
max_pixels = click.option(
    "--max-pixels", type=values.COUNT, metavar="N",
    help="Largest picture to decode, instead of Pillow's limit against decompression bombs.",
)  # fmt: skip
overwrite = click.option("--overwrite", is_flag=True, help="Replace files that exist.")
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON; the rest goes to stderr."
)

_METHOD = click.option(
    "--method", default="auto", callback=values.one_of(values.methods_of_scan),
    help="How to find the clusters: auto, optimal (the global optimum, for one channel) or lloyd.",
)  # fmt: skip
_METHOD_OR_TREE = click.option(
    "--method", default="auto", callback=values.one_of(values.methods),
    help="How to find the clusters: auto, optimal (the global optimum, for one channel), lloyd, "
         "or ward (cut from Ward's tree).",
)  # fmt: skip
_SEED = click.option(
    "--seed", "random_state", type=click.IntRange(0, 2**32 - 1), metavar="N",
    help="Seed of the draws, for the same result every time.",
)  # fmt: skip
_COLOR_SPACE = click.option(
    "--color-space", default="rgb", callback=values.one_of(values.color_spaces),
    help="Space in which distances are taken: rgb (the channels as they are), lab, oklab or "
         "linear.",
)  # fmt: skip
_ITERATIONS = (
    click.option("--n-init", default="auto", callback=values.n_init, metavar="N|auto",
                 help="Runs from different starts, of which the best is kept."),
    click.option("--max-iter", default=300, show_default=True, type=values.COUNT, metavar="N",
                 help="Iterations of a run at most."),
    click.option("--tol", default=1e-4, show_default=True, callback=values.not_nan,
                 type=click.FloatRange(min=0),
                 metavar="T", help="Stop when the squared shift of the centres is at most T times "
                                   "the pixels' variance."),
    _SEED,
    _COLOR_SPACE,
)  # fmt: skip

_STANDARDIZE = click.option(
    "--standardize", is_flag=True,
    help="Take distances in channels of mean 0 and standard deviation 1.",
)  # fmt: skip
_CLUSTERING = (
    n_clusters,
    click.option("--names", callback=values.names, metavar="NAME,NAME,...",
                 help="Classes of the clusters in label order, such as CSF,GM,WM; the model keeps "
                      "them."),
    _STANDARDIZE,
    _METHOD_OR_TREE,
    click.option("--prototypes", type=values.COUNT, metavar="N",
                 help="With --method ward: where there are more colours than this, k-means to N of "
                      "them first, and the tree of those."),
    click.option("--init", callback=values.init,
                 help="Starting centres: k-means++ (the default), random, a CSV file with a row "
                      "each, or values such as 0.4,0.1 (one channel) or 10,20,30;40,50,60 "
                      "(three)."),
    *_ITERATIONS,
    click.option("--start-label", type=click.IntRange(0, 1), metavar="0|1",
                 help="Label of the first cluster: by default 0, and 1 where pixels can be left "
                      "out, whose label is 0, and in medical volumes."),
)  # fmt: skip
_SEGMENTING = (
    click.option("--model", "model_path", metavar="MODEL.json",
                 help="Save the clusters for 'fastseg predict'."),
    click.option("--report", "report_path", metavar="FILE",
                 help="Draw image, clusters, values, inertia against k and a table into a .png, "
                      ".svg or .pdf file."),
    click.option("--dendrogram", "dendrogram_path", metavar="FILE",
                 help="With --method ward: draw the tree, cut at k, into such a file."),
)  # fmt: skip

_MATCHING = (
    click.option("--match", type=click.Choice(["histogram", "zscore"]),
                 help="Fit the values of INPUT to the scale of the model's image, channel by "
                      "channel: by their ranks, or by mean and standard deviation."),
    click.option("--distance", "distance_path", metavar="FILE",
                 help="Write how far each pixel is from its cluster's centre: .nii, .nii.gz, .tif "
                      "or .npy."),
)  # fmt: skip

_OBJECTS = (
    click.option("--min-size", type=values.COUNT, metavar="N",
                 help="Give parts of fewer than N pixels to the neighbours they share most of "
                      "their border with."),
    click.option("--objects", metavar="all|CLASS,CLASS,...",
                 help="List the connected parts of all classes, or of some by label or name."),
    click.option("--objects-out", "objects_path", metavar="FILE",
                 help="Write an image of the numbers of those parts."),
)  # fmt: skip

_SCANNING = (
    _STANDARDIZE,
    click.option("-k", "--clusters", "n_clusters", default="2:10", show_default=True,
                 callback=values.counts_of("cluster"), metavar="FROM:TO|K,K,...",
                 help="Numbers of clusters: a range, both ends included, or a list."),
    click.option("--plot", "plot_path", metavar="FILE",
                 help="Draw inertia and silhouette against k into a .png, .svg or .pdf file."),
    _METHOD,
    click.option("--init", callback=values.named_start, metavar="NAME",
                 help="Starting centres: k-means++ (the default) or random."),
    *_ITERATIONS,
)  # fmt: skip

_COMPARING = (
    click.option("-k", "--clusters", "n_clusters", default=8, show_default=True, type=values.COUNT,
                 metavar="K", help="Number of clusters."),
    click.option("--methods", callback=values.methods_compared, metavar="M,M,...",
                 help="What to compare, of lloyd, optimal (for one channel), ward and sklearn; by "
                      "default all."),
    click.option("--prototypes", default=1024, show_default=True, type=values.COUNT, metavar="N",
                 help="Where there are more than 20,000 colours, Ward's tree is that of N of them, "
                      "found by k-means."),
    click.option("--plot", "plot_path", metavar="FILE",
                 help="Draw the clusters of all methods into a .png, .svg or .pdf file."),
    _SEED,
    _COLOR_SPACE,
    _STANDARDIZE,
)  # fmt: skip

_THREADS = click.option(
    "--threads", "n_threads", type=int, callback=values.n_threads, metavar="N",
    help="Threads of the CPU; -1 means all.",
)  # fmt: skip
_BENCHING = (
    click.option("--quick", is_flag=True, help="Measure less, in some twenty seconds."),
    click.option("--image", "picture", metavar="FILE",
                 help="Image to measure with; by default photographs that scikit-learn ships."),
    click.option("--backends", callback=values.backends_measured, metavar="B,B,...",
                 help="Backends to measure, such as cpu,cuda; by default all that can be used."),
    click.option("--out", metavar="FOLDER",
                 help="Write results.json and report.html there."),
    max_pixels,
    _THREADS,
    overwrite,
    as_json,
)  # fmt: skip

_GRID = (
    click.option("--mask", metavar="M",
                 help="Image of the same grid; where it is 0 (black) or transparent, pixels are "
                      "left out."),
    click.option("--channel", "channels", multiple=True, metavar="FILE",
                 help="Image of the same grid as INPUT whose channels follow its own, such as T2 "
                      "beside T1; may be given several times."),
    click.option("--frames", default="auto", type=click.Choice(["auto", "channels", "each"]),
                 help="Frames of a 4-D series: channels of one volume, or each a volume of its "
                      "own, with clusters in common. By default channels where they are at "
                      "most 16."),
)  # fmt: skip
_COMMON = (
    click.option("--nodata", callback=values.number, metavar="V",
                 help="Leave out pixels that have this value in all channels."),
    click.option("--foreground", type=click.Choice(["auto"]),
                 help="Leave out what is not brighter than Otsu's threshold, such as the air "
                      "around a head."),
    max_pixels,
    click.option("--backend", default="auto", callback=values.one_of(values.backends),
                 help="Where to compute: auto, or one that 'fastseg info' lists."),
    _THREADS,
    overwrite,
    as_json,
)  # fmt: skip

_PARTS = (
    click.option("--memory", callback=values.size, metavar="SIZE",
                 help="Memory to get along with, such as 1GiB; by default a quarter of what is "
                      "free, and at least 512MiB. Larger images are read in pieces."),
    click.option("--on-error", default="raise", type=click.Choice(["raise", "skip"]),
                 help="skip: leave out tiles that cannot be decoded, and report them."),
    click.option("--series", type=click.IntRange(min=0), metavar="N",
                 help="Image of a file that holds several, from 0."),
    click.option("--level", type=click.IntRange(min=0), metavar="N",
                 help="Level of a pyramid; 0 is the full size."),
    click.option("--pages", callback=values.pages, metavar="FROM:END",
                 help="Pages of a TIFF file, from 0, the end not included, as planes of a volume."),
    click.option("--channels", "bands", callback=values.bands, metavar="N,N,...",
                 help="Some of the channels of INPUT, from 0, in this order."),
)  # fmt: skip

_WRITING = (
    click.option("--preview", metavar="FILE.png",
                 help="Draw image, labels and palette, at most 2048 pixels a side."),
    click.option("--pyramid", is_flag=True,
                 help="Put smaller copies into a .tif or .ome.zarr of labels."),
    click.option("--dask", metavar="ADDRESS",
                 help="Scheduler of Dask workers, such as tcp://10.0.0.1:8786, that read and write "
                      "Zarr on disks that all see by the same names."),
    click.option("--compression", type=click.Choice(["deflate", "zstd", "none"]),
                 help="Of labels: .tif (by default deflate) and Zarr (zstd)."),
)  # fmt: skip

_OUT_DIR = (
    click.option("--out-dir", metavar="FOLDER",
                 help="Write the labels of each INPUT there, under its name."),
    click.option("--suffix", callback=values.suffix, metavar=".EXT",
                 help="With --out-dir: format of the labels; by default that of INPUT, or .png."),
)  # fmt: skip

_SAMPLE = click.option(
    "--sample", type=values.COUNT, metavar="N",
    help="Fit to N pixels, each as likely as every other, and label all.",
)  # fmt: skip


def clustering(command: F) -> F:
    """Add the options of how to cluster, and of what is drawn and saved."""
    return _with((*_CLUSTERING, _SAMPLE, *_SEGMENTING, *_WRITING), command)


def fitting(command: F) -> F:
    """Add the options of how to cluster many files."""
    return _with((*_CLUSTERING, _SAMPLE), command)


def scanning(command: F) -> F:
    """Add the options of comparing numbers of clusters."""
    return _with(_SCANNING, command)


def comparing(command: F) -> F:
    """Add the options of comparing methods."""
    return _with(_COMPARING, command)


def benching(command: F) -> F:
    """Add the options of measuring."""
    return _with(_BENCHING, command)


def common(command: F) -> F:
    """Add the options of every job on an image."""
    return _with((*_GRID, *_COMMON), command)


def common_to_files(command: F) -> F:
    """Add the options of every job on many files."""
    return _with((*_PARTS, *_COMMON), command)


def parts(command: F) -> F:
    """Add the options of files that are read in pieces."""
    return _with(_PARTS, command)


def matching(command: F) -> F:
    """Add the options of how a model meets another scan."""
    return _with((*_MATCHING, *_WRITING), command)


def out_dir(command: F) -> F:
    """Add the options of where the labels of many files go."""
    return _with(_OUT_DIR, command)


def objects(command: F) -> F:
    """Add the options of what is made of the labels."""
    return _with(_OBJECTS, command)


def _with(given: tuple[Callable[[F], F], ...], command: F) -> F:
    for option in reversed(given):
        command = option(command)
    return command
