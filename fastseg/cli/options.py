"""The options of the command line, and what they take."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _number(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Take an integer where it is one, so that large ones stay exact."""
    if value is None:
        return None
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    raise click.BadParameter(f"{value!r} is not a number.", ctx, param)


def _n_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    if value is not None and (value == 0 or value < -1):
        raise click.BadParameter(f"{value} is neither at least 1 nor -1 (all).", ctx, param)
    return value


def _n_init(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither auto nor at least 1.", ctx, param)
    return int(value)


def _not_nan(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if math.isnan(value):
        raise click.BadParameter("nan is no number.", ctx, param)
    return value


def _named_start(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from .jobs import NAMED_STARTS

    if value is not None and value not in NAMED_STARTS:
        message = f"{value!r} is not one of {', '.join(NAMED_STARTS)}."
        raise click.BadParameter(message, ctx, param)
    return value


def _init(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse starting centres that cannot be understood, before anything is read."""
    from ..io import read_centers
    from .jobs import NAMED_STARTS

    if value is None or value in NAMED_STARTS:
        return value
    try:
        read_centers(value)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) or os.path.exists(value):
            raise click.ClickException(str(error)) from error
        message = f"{error}; k-means++ and random are taken, too"
        raise click.BadParameter(message, ctx, param) from error
    return value


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    from ..class_names import check_names

    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    try:
        check_names(names)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from error
    return names


def _count_or_auto(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> int | str | None:
    if value is None or value == "auto":
        return value
    count: int = _COUNT(value, param, ctx)
    return count


def counts_of(singular: str) -> Callable[..., list[int] | None]:
    """Take numbers such as 2:10 (both included) or 2,4,8."""

    def take(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
        if value is None:
            return None
        counts: set[int] = set()
        for part in value.split(","):
            ends = [end.strip() for end in part.split(":")]
            if len(ends) > 2 or not all(end.isdecimal() for end in ends):
                message = f"{value!r} is neither a range such as 2:10 nor a list such as 2,4,8."
                raise click.BadParameter(message, ctx, param)
            first, last = int(ends[0]), int(ends[-1])
            if first < 1 or last < first:
                fault = f"goes below 1 {singular}" if first < 1 else "ends before it starts"
                raise click.BadParameter(f"{value!r} {fault}.", ctx, param)
            if last - first >= _MAX_COUNTS:
                message = f"{value!r} is more than {_MAX_COUNTS} numbers of {singular}s."
                raise click.BadParameter(message, ctx, param)
            counts.update(range(first, last + 1))
        return sorted(counts)

    return take


def _one_of(choices: Callable[[], tuple[str, ...]]) -> Callable[..., str]:
    """Check a word against a list that takes an import to know."""

    def check(ctx: click.Context, param: click.Parameter, value: str) -> str:
        if value != param.default and value not in choices():
            message = f"{value!r} is not one of {', '.join(choices())}."
            raise click.BadParameter(message, ctx, param)
        return value

    return check


def _methods() -> tuple[str, ...]:
    from ..methods import METHODS

    return METHODS


def _methods_of_scan() -> tuple[str, ...]:
    return tuple(method for method in _methods() if method != "ward")


def _methods_compared(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    from ..comparison import check_methods

    try:
        return None if value is None else check_methods(value.split(","))
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _color_spaces() -> tuple[str, ...]:
    from ..color import COLOR_SPACES

    return COLOR_SPACES


def _backends() -> tuple[str, ...]:
    from ..dispatch import BACKENDS

    return ("auto", *BACKENDS)


_COUNT = click.IntRange(min=1)
_MAX_COUNTS = 1000

n_clusters = click.option(
    "-k", "--clusters", "n_clusters", callback=_count_or_auto, metavar="K|auto",
    help="Number of clusters; auto chooses one from 2 to 10 as 'fastseg scan' does. By default 8, "
         "or as many as there are given starting centres or names.",
)  # fmt: skip
max_pixels = click.option(
    "--max-pixels", type=_COUNT, metavar="N",
    help="Largest picture to decode, instead of Pillow's limit against decompression bombs.",
)  # fmt: skip
overwrite = click.option("--overwrite", is_flag=True, help="Replace files that exist.")
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON; the rest goes to stderr."
)

_METHOD = click.option(
    "--method", default="auto", callback=_one_of(_methods_of_scan),
    help="How to find the clusters: auto, optimal (the global optimum, for one channel) or lloyd.",
)  # fmt: skip
_METHOD_OR_TREE = click.option(
    "--method", default="auto", callback=_one_of(_methods),
    help="How to find the clusters: auto, optimal (the global optimum, for one channel), lloyd, "
         "or ward (cut from Ward's tree).",
)  # fmt: skip
_SEED = click.option(
    "--seed", "random_state", type=click.IntRange(0, 2**32 - 1), metavar="N",
    help="Seed of the draws, for the same result every time.",
)  # fmt: skip
_COLOR_SPACE = click.option(
    "--color-space", default="rgb", callback=_one_of(_color_spaces),
    help="Space in which distances are taken: rgb (the channels as they are), lab, oklab or "
         "linear.",
)  # fmt: skip
_ITERATIONS = (
    click.option("--n-init", default="auto", callback=_n_init, metavar="N|auto",
                 help="Runs from different starts, of which the best is kept."),
    click.option("--max-iter", default=300, show_default=True, type=_COUNT, metavar="N",
                 help="Iterations of a run at most."),
    click.option("--tol", default=1e-4, show_default=True, callback=_not_nan,
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
    click.option("--names", callback=_names, metavar="NAME,NAME,...",
                 help="Classes of the clusters in label order, such as CSF,GM,WM; the model keeps "
                      "them."),
    _STANDARDIZE,
    _METHOD_OR_TREE,
    click.option("--prototypes", type=_COUNT, metavar="N",
                 help="With --method ward: where there are more colours than this, k-means to N of "
                      "them first, and the tree of those."),
    click.option("--init", callback=_init,
                 help="Starting centres: k-means++ (the default), random, a CSV file with a row "
                      "each, or values such as 0.4,0.1 (one channel) or 10,20,30;40,50,60 "
                      "(three)."),
    *_ITERATIONS,
    click.option("--start-label", type=click.IntRange(0, 1), metavar="0|1",
                 help="Label of the first cluster: by default 0, and 1 where pixels can be left "
                      "out, whose label is 0, and in medical volumes."),
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
    click.option("--min-size", type=_COUNT, metavar="N",
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
                 callback=counts_of("cluster"), metavar="FROM:TO|K,K,...",
                 help="Numbers of clusters: a range, both ends included, or a list."),
    click.option("--plot", "plot_path", metavar="FILE",
                 help="Draw inertia and silhouette against k into a .png, .svg or .pdf file."),
    _METHOD,
    click.option("--init", callback=_named_start, metavar="NAME",
                 help="Starting centres: k-means++ (the default) or random."),
    *_ITERATIONS,
)  # fmt: skip

_COMPARING = (
    click.option("-k", "--clusters", "n_clusters", default=8, show_default=True, type=_COUNT,
                 metavar="K", help="Number of clusters."),
    click.option("--methods", callback=_methods_compared, metavar="M,M,...",
                 help="What to compare, of lloyd, optimal (for one channel), ward and sklearn; by "
                      "default all."),
    click.option("--prototypes", default=1024, show_default=True, type=_COUNT, metavar="N",
                 help="Where there are more than 20,000 colours, Ward's tree is that of N of them, "
                      "found by k-means."),
    click.option("--plot", "plot_path", metavar="FILE",
                 help="Draw the clusters of all methods into a .png, .svg or .pdf file."),
    _SEED,
    _COLOR_SPACE,
    _STANDARDIZE,
)  # fmt: skip

_COMMON = (
    click.option("--mask", metavar="M",
                 help="Image of the same grid; where it is 0 (black) or transparent, pixels are "
                      "left out."),
    click.option("--nodata", callback=_number, metavar="V",
                 help="Leave out pixels that have this value in all channels."),
    click.option("--foreground", type=click.Choice(["auto"]),
                 help="Leave out what is not brighter than Otsu's threshold, such as the air "
                      "around a head."),
    click.option("--channel", "channels", multiple=True, metavar="FILE",
                 help="Image of the same grid as INPUT whose channels follow its own, such as T2 "
                      "beside T1; may be given several times."),
    click.option("--frames", default="auto", type=click.Choice(["auto", "channels", "each"]),
                 help="Frames of a 4-D series: channels of one volume, or each a volume of its "
                      "own, with clusters in common. By default channels where they are at "
                      "most 16."),
    max_pixels,
    click.option("--backend", default="auto", callback=_one_of(_backends),
                 help="Where to compute: auto, or one that 'fastseg info' lists."),
    click.option("--threads", "n_threads", type=int, callback=_n_threads, metavar="N",
                 help="Threads of the CPU; -1 means all."),
    overwrite,
    as_json,
)  # fmt: skip


def clustering(command: F) -> F:
    """Add the options of how to cluster."""
    return _with(_CLUSTERING, command)


def scanning(command: F) -> F:
    """Add the options of comparing numbers of clusters."""
    return _with(_SCANNING, command)


def comparing(command: F) -> F:
    """Add the options of comparing methods."""
    return _with(_COMPARING, command)


def common(command: F) -> F:
    """Add the options of every job from file to file."""
    return _with(_COMMON, command)


def matching(command: F) -> F:
    """Add the options of how a model meets another scan."""
    return _with(_MATCHING, command)


def objects(command: F) -> F:
    """Add the options of what is made of the labels."""
    return _with(_OBJECTS, command)


def _with(given: tuple[Callable[[F], F], ...], command: F) -> F:
    for option in reversed(given):
        command = option(command)
    return command
