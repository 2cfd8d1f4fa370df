"""What was measured, in the words that the terminal and the page share."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from .answers import Verdict
from .contest import Row, Spread
from .implementations import SCIKIT_LEARN
from .machine import is_busy
from .suite import Contest, Measured, lines

UNFAIR = (
    "scikit-learn clusters floats of any kind. On integer pictures fastseg first counts equal"
    " pixels, which scikit-learn cannot know of; on points that do not repeat nothing is counted.",
    "scikit-learn turns integer pixels into float64 in every fit, and that is timed: a user waits"
    " for it. For the nearest centre alone it is given float64 made before.",
    "Points of float32 scikit-learn clusters in float32; fastseg decides in float64, so some labels"
    " differ.",
    "A pixel exactly between two centres goes to the first in fastseg, and by rounding in"
    " scikit-learn: from there on their answers may differ, and no time is told.",
    "All are warm: the first run, in which code may be loaded or compiled, is told apart and only"
    " the first of a process is slow.",
    "Pictures in other sizes are interpolated, which makes colours that the original has not.",
    "From a file, all decode with fastseg's readers.",
    "Memory is that of the machine; what is taken of a GPU's own is not counted.",
)


def time_words(seconds: float) -> str:
    """Seconds in the unit in which they can be read."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{_three(seconds * factor)} {unit}"
    return f"{_three(seconds)} s"


def spread_words(spread: Spread) -> str:
    """Quartiles, in the unit of the median."""
    for limit, factor in ((1e-3, 1e6), (1.0, 1e3)):
        if spread.median < limit:
            return f"{_three(spread.low * factor)}-{_three(spread.high * factor)}"
    return f"{_three(spread.low)}-{_three(spread.high)}"


def size_words(n_bytes: int | None) -> str:
    """Bytes in kB or MB, or a dash where they are not known."""
    if n_bytes is None:
        return "-"
    return f"{_three(n_bytes / 1e3)} kB" if n_bytes < 1e6 else f"{_three(n_bytes / 1e6)} MB"


def _three(number: float) -> str:
    """Number of three digits, and of more where it is larger, but no power of ten."""
    return f"{number:,.0f}" if number >= 999.5 else f"{number:.3g}"


def cells(row: Row) -> tuple[str, ...]:
    """Words on one implementation, under `HEADS`."""
    verdict = row.verdict
    answer = ("-", "-")
    if verdict is not None:
        answer = f"{100 * verdict.equal_labels:.5g} %", f"{verdict.inertia:.6g}"
    if row.seconds is None or row.ratio is None or row.first_seconds is None:
        return (row.name, "not told", _why_not_told(verdict), "-", "-", *answer, "-")
    return (
        row.name, time_words(row.seconds.median), spread_words(row.seconds),
        _three(row.ratio.median), time_words(row.first_seconds), *answer,
        size_words(row.peak_bytes),
    )  # fmt: skip


def _why_not_told(verdict: Verdict | None) -> str:
    if verdict is None or verdict.agrees or verdict.excess == 0:
        return "no two agree"
    return f"differs: inertia {100 * verdict.excess:+.2g} %"


HEADS = ("implementation", "median", "quartiles", "x", "first", "equal", "inertia", "memory")


def title(contest: Contest) -> str:
    """Name of a contest, its number of clusters and its stage."""
    return f"{contest.name}, k={contest.n_clusters}"


def verdicts(measured: Measured) -> list[str]:
    """Sentences on which is the fastest, for pictures and points; losses are said as loudly."""
    said = []
    for contest in measured.contests:
        told = [(row.ratio.median, row.name, row.seconds.median)
                for row in contest.rows if row.ratio and row.seconds]  # fmt: skip
        if contest.series not in ("picture", "points") or contest.stage != "fit" or len(told) < 2:
            continue
        # By the ratios within turns, so that sentences and tables say the same.
        (least, fastest, seconds), *others = sorted(told)
        more = ", ".join(
            f"{name} takes {_three(ratio / least)} times as long" for ratio, name, _ in others
        )
        said.append(
            f"{title(contest)}: {fastest} is the fastest with {time_words(seconds)}; {more}"
        )
    return said


def crossing_words(measured: Measured) -> list[str]:
    """Sentences on where one implementation overtakes another, by the letters of the plot."""
    return [
        f"{letter}: from {one.n_points / 1e6:.2g} megapixels {one.faster} is faster than"
        f" {one.slower}"
        for letter, one in zip(ascii_uppercase, measured.crossings, strict=False)
    ]


def described(measured: Measured) -> dict[str, str]:
    """What is to be seen in each drawing, for those who cannot see it."""
    found = {}
    for series, axis, unit in (("pixels", "n_points", "pixels"),
                               ("clusters", "n_clusters", "clusters")):  # fmt: skip
        ends = [
            f"{name}: {time_words(points[0][1].median)} for {points[0][0]:,} {unit} to"
            f" {time_words(points[-1][1].median)} for {points[-1][0]:,}"
            for name, points in lines(measured.contests, series, axis).items()
        ]
        found[series] = f"Time against {unit}. {'; '.join(ends)}."
    rates = [
        f"{rate.kernel} on {rate.backend}, {rate.name}: {rate.operations / rate.seconds / 1e9:.0f}"
        for rate in measured.rates
    ]
    roofs = measured.roofs
    above = "" if roofs is None else (
        f" Roofs: {roofs.float32 / 1e9:.0f} of float32, {roofs.float64 / 1e9:.0f} of float64, and"
        f" a copy of {roofs.copy / 1e9:.0f} GB/s."
    )  # fmt: skip
    found["roofline"] = f"GFLOP/s of kernels. {'; '.join(rates)}.{above}"
    return found


def cautions(measured: Measured) -> list[str]:
    """Sentences on what a reader has to know before any figure."""
    said = [f"{name} was not measured: {why}" for name, why in measured.left_out.items()]
    machine = measured.machine
    if is_busy(machine):
        said.append(
            f"Other work was running (load {machine['load']} on {machine['cores']} cores): times"
            " are too long, and most so for libraries whose threads wait for each other."
        )
    differ = sum(row.seconds is None for one in measured.contests for row in one.rows)
    if differ:
        said.append(f"{differ} times are not told, because answers differ.")
    return said


def machine_lines(machine: dict[str, Any]) -> dict[str, str]:
    """Facts about the machine, by what they are."""
    free = machine["free_memory_bytes"]
    found = {
        "processor": f"{machine['processor']}, {machine['cores']} cores",
        "free memory": "-" if free is None else f"{free / 2**30:.1f} GiB",
        "GPU": ", ".join(machine["gpus"]) or "none",
        "driver": machine["driver"] or "-",
        "system": machine["system"],
        "versions": ", ".join(
            [f"Python {machine['python']}", *(f"{n} {v}" for n, v in machine["versions"].items())]
        ),
        "threads": f"{machine['threads']} of fastseg; {SCIKIT_LEARN} takes what it finds",
        "load before": "-" if machine["load"] is None else str(machine["load"]),
        "date": machine["date"],
    }
    return found
