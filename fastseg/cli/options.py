"""The options of the command line, and what they take."""

from __future__ import annotations

import contextlib
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


def _init(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Refuse starting centres that cannot be understood, before anything is read."""
    from ..io import read_centers
    from .jobs import NAMED_STARTS

    if value in NAMED_STARTS:
        return value
    try:
        read_centers(value)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) or os.path.exists(value):
            raise click.ClickException(str(error)) from error
        message = f"{error}; k-means++ and random are taken, too"
        raise click.BadParameter(message, ctx, param) from error
    return value


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


def _color_spaces() -> tuple[str, ...]:
    from ..color import COLOR_SPACES

    return COLOR_SPACES


def _backends() -> tuple[str, ...]:
    from .. import available_backends

    return ("auto", *available_backends())


_COUNT = click.IntRange(min=1)

n_clusters = click.option(
    "-k", "--clusters", "n_clusters", type=_COUNT, metavar="K",
    help="Number of clusters; by default 8, or as many as there are given starting centres.",
)  # fmt: skip
max_pixels = click.option(
    "--max-pixels", type=_COUNT, metavar="N",
    help="Largest picture to decode, instead of Pillow's limit against decompression bombs.",
)  # fmt: skip
overwrite = click.option("--overwrite", is_flag=True, help="Replace files that exist.")
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON; the rest goes to stderr."
)

_CLUSTERING = (
    n_clusters,
    click.option("--method", default="auto", callback=_one_of(_methods),
                 help="How to find the clusters: auto or lloyd."),
    click.option("--init", default="k-means++", callback=_init,
                 help="Starting centres: k-means++, random, a CSV file with a row each, or values "
                      "such as 0.4,0.1 (one channel) or 10,20,30;40,50,60 (three)."),
    click.option("--n-init", default="auto", callback=_n_init, metavar="N|auto",
                 help="Runs from different starts, of which the best is kept."),
    click.option("--max-iter", default=300, show_default=True, type=_COUNT, metavar="N",
                 help="Iterations of a run at most."),
    click.option("--tol", default=1e-4, show_default=True, type=click.FloatRange(min=0),
                 metavar="T", help="Stop when the squared shift of the centres is at most T times "
                                   "the pixels' variance."),
    click.option("--seed", "random_state", type=click.IntRange(0, 2**32 - 1), metavar="N",
                 help="Seed of the draws, for the same result every time."),
    click.option("--color-space", default="rgb", callback=_one_of(_color_spaces),
                 help="Space in which distances are taken: rgb."),
    click.option("--start-label", type=click.IntRange(0, 1), metavar="0|1",
                 help="Label of the first cluster: by default 0, and 1 where pixels can be left "
                      "out, whose label is 0."),
    click.option("--model", "model_path", metavar="MODEL.json",
                 help="Save the clusters for 'fastseg predict'."),
)  # fmt: skip

_COMMON = (
    click.option("--mask", metavar="M",
                 help="Image of the same grid; where it is 0 (black) or transparent, pixels are "
                      "left out."),
    click.option("--nodata", callback=_number, metavar="V",
                 help="Leave out pixels that have this value in all channels."),
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


def common(command: F) -> F:
    """Add the options of every job from file to file."""
    return _with(_COMMON, command)


def _with(given: tuple[Callable[[F], F], ...], command: F) -> F:
    for option in reversed(given):
        command = option(command)
    return command
