"""What the options of the command line take, checked before anything is read."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable

import click

COUNT = click.IntRange(min=1)
MAX_COUNTS = 1000


def number(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Take an integer where it is one, so that large ones stay exact."""
    if value is None:
        return None
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    raise click.BadParameter(f"{value!r} is not a number.", ctx, param)


def n_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """Take -1 for all, or at least 1."""
    if value is not None and (value == 0 or value < -1):
        raise click.BadParameter(f"{value} is neither at least 1 nor -1 (all).", ctx, param)
    return value


def n_init(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    """Take auto, or at least 1."""
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither auto nor at least 1.", ctx, param)
    return int(value)


def not_nan(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Refuse nan, which comparisons let through."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number.", ctx, param)
    return value


def named_start(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take starting centres that have a name."""
    from .starts import NAMED_STARTS

    if value is not None and value not in NAMED_STARTS:
        message = f"{value!r} is not one of {', '.join(NAMED_STARTS)}."
        raise click.BadParameter(message, ctx, param)
    return value


def init(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse starting centres that cannot be understood, before anything is read."""
    from ..io import read_centers
    from .starts import NAMED_STARTS

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


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Take words between commas."""
    from ..class_names import check_names

    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    try:
        check_names(names)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from error
    return names


def count_or_auto(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> int | str | None:
    """Take auto, or at least 1."""
    if value is None or value == "auto":
        return value
    count: int = COUNT(value, param, ctx)
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
            if last - first >= MAX_COUNTS:
                message = f"{value!r} is more than {MAX_COUNTS} numbers of {singular}s."
                raise click.BadParameter(message, ctx, param)
            counts.update(range(first, last + 1))
        return sorted(counts)

    return take


def one_of(choices: Callable[[], tuple[str, ...]]) -> Callable[..., str]:
    """Check a word against a list that takes an import to know."""

    def check(ctx: click.Context, param: click.Parameter, value: str) -> str:
        if value != param.default and value not in choices():
            message = f"{value!r} is not one of {', '.join(choices())}."
            raise click.BadParameter(message, ctx, param)
        return value

    return check


def methods() -> tuple[str, ...]:
    """Names of the methods."""
    from ..methods import METHODS

    return METHODS


def methods_of_scan() -> tuple[str, ...]:
    """Names of the methods that `scan` takes."""
    return tuple(method for method in methods() if method != "ward")


def methods_compared(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Take methods to compare, between commas."""
    from ..comparison import check_methods

    try:
        return None if value is None else check_methods(value.split(","))
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def backends_measured(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> list[str] | None:
    """Take backends that can be used here, between commas."""
    from ..bench.suite import check_backends

    try:
        return None if value is None else check_backends(value.split(","))[0]
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def color_spaces() -> tuple[str, ...]:
    """Names of the colour spaces."""
    from ..color import COLOR_SPACES

    return COLOR_SPACES


def backends() -> tuple[str, ...]:
    """Names of the backends, and auto."""
    from ..backends import backend_names

    return ("auto", *backend_names())


def size(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take a size in memory, such as 1GiB."""
    from ..memory import memory_budget

    try:
        if value is not None:
            memory_budget(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from error
    return value


def pages(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Take pages such as 0:10, the end not included, or a single one."""
    if value is None:
        return None
    ends = value.split(":")
    if len(ends) > 2 or not all(end.strip().isdecimal() for end in ends):
        raise click.BadParameter(f"{value!r} is neither pages such as 0:10 nor one.", ctx, param)
    first = int(ends[0])
    end = int(ends[1]) if len(ends) == 2 else first + 1
    if end <= first:
        raise click.BadParameter(f"{value!r} ends before it starts.", ctx, param)
    return first, end


def bands(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Take channels such as 3,2,1."""
    if value is None:
        return None
    numbers = value.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise click.BadParameter(f"{value!r} is no list of channels such as 3,2,1.", ctx, param)
    return tuple(int(number) for number in numbers)


def suffix(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take a suffix that labels are written with."""
    from ..io import WRITERS

    known = (*WRITERS, ".zarr", ".ome.zarr")
    if value is not None and value not in known:
        raise click.BadParameter(f"{value!r} is not one of {', '.join(known)}.", ctx, param)
    return value
