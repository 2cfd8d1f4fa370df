"""What is drawn of what was measured, as SVG that needs nothing besides."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from ..pictures.drawing import new_figure, rendered
from .roofline import Rate, Roofs
from .suite import Measured, lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLUSTERS = "clusters k"
# As wide as a phone at the size of its text, so that nothing has to be shrunk to be read.
_WIDTH, _HEIGHT = 3.5, 3.2
# Of Okabe and Ito, told apart by all eyes; each with a mark for print in grey.
_LOOKS = {"fastseg cpu": ("#0072B2", "o"), "fastseg cuda": ("#009E73", "s")}
_OTHERS = ("#D55E00", "^"), ("#CC79A7", "D"), ("#E69F00", "v")


def figures(measured: Measured) -> dict[str, str]:
    """SVG of "pixels", "clusters" and "roofline", of what there is to draw."""
    drawn = {}
    for series, axis, label in (("pixels", "n_points", "pixels"),
                                ("clusters", "n_clusters", _CLUSTERS)):  # fmt: skip
        found = lines(measured.contests, series, axis)
        if found:
            drawn[series] = _against(measured, found, axis, label)
    if measured.rates:
        drawn["roofline"] = roofline(measured.roofs, measured.rates)
    return {name: svg(figure) for name, figure in drawn.items()}


def svg(figure: Figure) -> str:
    """Drawing as SVG with letters as letters."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fastseg"}):
        return rendered(figure, "svg", metadata={"Date": None}).decode()


def _look(name: str, names: Sequence[str]) -> tuple[str, str]:
    others = [other for other in names if other not in _LOOKS]
    return _LOOKS[name] if name in _LOOKS else _OTHERS[others.index(name) % len(_OTHERS)]


def _against(
    measured: Measured, found: dict[str, list[list[Any]]], axis: str, label: str
) -> Figure:
    """Time of fits along an axis, quartiles shaded, with crossings where it is that of pixels."""
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    for name, points in found.items():
        color, mark = _look(name, list(found))
        x = [point[0] for point in points]
        low, median, high = (
            [1e3 * getattr(spread, part) for _, spread in points]
            for part in ("low", "median", "high")
        )
        axes.plot(x, median, color=color, marker=mark, ms=5, lw=1.5, label=name)
        axes.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="milliseconds")
    if axis == "n_clusters":
        ticks = sorted({point[0] for points in found.values() for point in points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    else:
        _mark_crossings(axes, measured)
    _finish(figure, axes)
    return figure


def _mark_crossings(axes: Axes, measured: Measured) -> None:
    """Draw lines with letters, which stand for the sentences of `crossing_words`."""
    for letter, crossing in zip(ascii_uppercase, measured.crossings, strict=False):
        axes.axvline(crossing.n_points, color="0.3", ls=":", lw=1.2)
        axes.annotate(
            letter, (crossing.n_points, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", fontsize=9, ha="center", va="bottom",
        )  # fmt: skip


def roofline(roofs: Roofs | None, rates: Sequence[Rate]) -> Figure:
    """Draw operations a second over operations for a byte, and the processor's roofs."""
    figure = new_figure(_WIDTH, 3.8)
    axes = figure.subplots()
    axes.margins(y=0.12)  # for names below their points
    intensity = [rate.operations / rate.bytes for rate in rates]
    ends = np.array([min(intensity) / 2, max(intensity) * 4])
    if roofs is not None:
        _draw_roofs(axes, roofs, ends)
    names = sorted({rate.backend for rate in rates})
    for name in names:
        color, _ = _look(f"fastseg {name}", [])
        for kernel, mark in (("accumulate", "o"), ("assign", "^")):
            chosen = [rate for rate in rates if (rate.backend, rate.kernel) == (name, kernel)]
            axes.plot(
                [rate.operations / rate.bytes for rate in chosen],
                [rate.operations / rate.seconds / 1e9 for rate in chosen],
                mark, color=color, mfc=color if mark == "o" else "white", ls="none", ms=6,
                label=f"{kernel}, {name}",
            )  # fmt: skip
    for rate in rates:
        if (rate.backend, rate.kernel) == (names[0], "accumulate"):
            place = rate.operations / rate.bytes, rate.operations / rate.seconds / 1e9
            axes.annotate(rate.name, place, xytext=(5, -4), textcoords="offset points",
                          fontsize=7.5, va="top")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=ends, ylabel="GFLOP/s",
             xlabel="operations for a byte of points and labels")  # fmt: skip
    _finish(figure, axes)
    return figure


def _draw_roofs(axes: Axes, roofs: Roofs, ends: Any) -> None:
    for flops, words, dash in ((roofs.float32, "float32", "-"), (roofs.float64, "float64", "--")):
        x = np.array([ends[0], flops / roofs.copy, ends[1]])
        axes.plot(x, np.minimum(flops, roofs.copy * x) / 1e9, dash, color="0.35", lw=1.3)
        axes.annotate(
            f"{words}: {flops / 1e9:.0f} GFLOP/s", (ends[1], flops / 1e9), ha="right",
            va="bottom", xytext=(-2, 2), textcoords="offset points", fontsize=8,
        )  # fmt: skip
    axes.annotate(
        f"copy: {roofs.copy / 1e9:.0f} GB/s", (ends[0], roofs.copy * ends[0] / 1e9), ha="left",
        va="bottom", xytext=(3, 12), textcoords="offset points", fontsize=8,
    )  # fmt: skip


def _finish(figure: Figure, axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.grid(which="major", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for way in (axes.xaxis, axes.yaxis):
        low, high = way.get_view_interval()
        if way is axes.xaxis and axes.get_xlabel() == _CLUSTERS:
            continue
        # Of a range of few decades, powers of ten alone are too few.
        subs = (1.0,) if high / low > 1e3 else (1.0, 2.0, 5.0)
        way.set_major_locator(LogLocator(subs=subs))
        way.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
        way.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)


def _count(number: float) -> str:
    for unit, limit in (("M", 1e6), ("k", 1e3)):
        if number >= limit:
            return f"{number / limit:g} {unit}"
    return f"{number:g}"
