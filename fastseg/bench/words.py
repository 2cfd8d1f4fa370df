"""What was measured, in the words that the terminal and the page share."""

from __future__ import annotations

from typing import Any

from .contest import Row, Spread
from .implementations import SCIKIT_LEARN
from .machine import is_busy
from .suite import Contest, Measured

UNFAIR = (
    "scikit-learn clusters floats of any kind. On integer pictures fastseg first counts equal"
    " pixels, which scikit-learn cannot know of; on points that do not repeat nothing is counted.",
    "scikit-learn turns integer pixels into float64 in every fit, and that is timed: a user waits"
    " for it. For the nearest centre alone it is given float64 made before.",
    "Points of float32 scikit-learn clusters in float32; fastseg decides in float64, so some labels"
    " differ.",
    "Both are warm: the first call in a process, which loads or compiles code, is not timed.",
    "Pictures in other sizes are interpolated, which makes colours that the original has not.",
    "From a file, both decode with fastseg's readers.",
)


def time_words(seconds: float) -> str:
    """Seconds in the unit in which they can be read."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def spread_words(spread: Spread) -> str:
    """Quartiles, in the unit of the median."""
    for limit, factor in ((1e-3, 1e6), (1.0, 1e3)):
        if spread.median < limit:
            return f"{spread.low * factor:.3g}-{spread.high * factor:.3g}"
    return f"{spread.low:.3g}-{spread.high:.3g}"


def size_words(n_bytes: int | None) -> str:
    """Bytes in MB, or a dash where they are not known."""
    return "-" if n_bytes is None else f"{n_bytes / 1e6:,.3g} MB"


def cells(row: Row) -> tuple[str, ...]:
    """Words on one implementation: name, time, quartiles, ratio, labels, inertia, memory."""
    verdict = row.verdict
    answer = ("-", "-")
    if verdict is not None:
        answer = f"{100 * verdict.equal_labels:.5g} %", f"{verdict.inertia:.6g}"
    if verdict is not None and not verdict.agrees:
        differs = f"differs: inertia {100 * verdict.excess:+.2g} %"
        return (row.name, "not told", differs, "-", *answer, "-")
    assert row.seconds is not None
    assert row.ratio is not None
    return (
        row.name, time_words(row.seconds.median), spread_words(row.seconds),
        f"{row.ratio.median:.3g}", *answer, size_words(row.peak_bytes),
    )  # fmt: skip


HEADS = ("implementation", "median", "quartiles", "x", "equal", "inertia", "memory")


def title(contest: Contest) -> str:
    """Name of a contest, its number of clusters and its stage."""
    return f"{contest.name}, k={contest.n_clusters}"


def verdicts(measured: Measured) -> list[str]:
    """Sentences on which is the fastest, for pictures and points; losses are said as loudly."""
    said = []
    for contest in measured.contests:
        told = [row for row in contest.rows if row.seconds is not None]
        if contest.series not in ("picture", "points") or contest.stage != "fit" or len(told) < 2:
            continue
        told.sort(key=lambda row: row.seconds.median if row.seconds else 0.0)
        fastest, others = told[0], told[1:]
        assert fastest.seconds is not None
        more = ", ".join(
            f"{row.name} takes {row.seconds.median / fastest.seconds.median:.3g} times as long"
            for row in others
            if row.seconds is not None
        )
        said.append(f"{title(contest)}: {fastest.name} is the fastest with"
                    f" {time_words(fastest.seconds.median)}; {more}")  # fmt: skip
    return said


def crossing_words(measured: Measured) -> list[str]:
    """Sentences on where one implementation overtakes another."""
    return [
        f"from {one.n_points / 1e6:.2g} megapixels {one.faster} is faster than {one.slower}"
        for one in measured.crossings
    ]


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
        said.append(f"{differ} answers differ from the reference's, so their times are not told.")
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
