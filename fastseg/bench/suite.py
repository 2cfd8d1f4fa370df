"""Everything that `fastseg bench` measures, in one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from math import log
from typing import Any

from ..backends import backend_names
from ..dispatch import available_backends
from ..io import StrPath
from ..progress import Callback, Progress
from .cases import STAGES, Case, cases
from .contest import SETTLE, Row, contest
from .implementations import entrants
from .machine import facts
from .roofline import CASES, Rate, Roofs, measure_rates, measure_roofs

_FORMAT = 1
_BUDGET = {True: 0.2, False: 4.0}  # seconds
_TURNS = {True: (3, 5), False: (5, 15)}
_SETTLE = {True: 0.02, False: SETTLE}
_QUICK_RATES = ((2**19, 3, 8), (2**17, 13, 16), (2**15, 32, 32))


@dataclass(frozen=True)
class Contest:
    """One stage of one case, and what everybody did.

    ``rows`` begin with the reference, the first backend.
    """

    series: str
    name: str
    stage: str
    n_points: int
    n_features: int
    n_clusters: int
    dtype: str
    rows: list[Row]


@dataclass(frozen=True)
class Crossing:
    """From how many pixels one implementation is faster than another."""

    slower: str
    faster: str
    n_points: float


@dataclass(frozen=True)
class Measured:
    """What was measured on a machine.

    ``machine`` holds what it is; ``left_out`` says which backends could not take part,
    and why.
    """

    machine: dict[str, Any]
    quick: bool
    left_out: dict[str, str]
    contests: list[Contest]
    crossings: list[Crossing]
    roofs: Roofs | None
    rates: list[Rate]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for strict JSON: times in seconds, sizes in bytes."""
        return {"format": _FORMAT, "stages": STAGES, **asdict(self)}


def bench(
    picture: StrPath | None = None,
    *,
    quick: bool = False,
    backends: Sequence[str] | None = None,
    n_threads: int | None = None,
    max_pixels: int | None = None,
    callback: Callback | None = None,
) -> Measured:
    """Measure the backends and scikit-learn on this machine.

    Parameters
    ----------
    picture : path, optional
        Image to measure with, instead of photographs that scikit-learn ships.
    quick : bool
        Whether to measure less, in seconds.
    backends : sequence of str, optional
        By default all that can be used here.
    n_threads : int, optional
        Threads of the CPU; scikit-learn takes those it finds.
    max_pixels : int, optional
        The largest picture that is decoded; by default Pillow's limit.
    callback : callable, optional
        As for `segment`, with the stage "bench".

    Returns
    -------
    Measured
        Answers, times, memory, crossings and rates.

    Raises
    ------
    ValueError
        If a backend is not known or cannot be used here, or the image has too few distinct
        values.
    OSError
        If the image cannot be read.
    Stopped
        If the callback returned True.
    """
    chosen, left_out = check_backends(backends)
    machine, progress, contests = facts(n_threads), Progress(callback), []
    progress.report("bench", 0, 0, {"what": "pictures"})
    todo = list(cases(quick=quick, picture=picture, max_pixels=max_pixels))
    work = [(case, stage) for case in todo for stage in case.stages]
    steps = 100 * (len(work) + 1)
    for number, (case, stage) in enumerate(work):

        def tick(done: int, total: int, case: Case = case, number: int = number) -> None:
            what = {"what": f"{case.name}, k={case.n_clusters}"}
            progress.report("bench", 100 * number + 100 * done // total, steps, what)

        rows = contest(
            case.values, entrants(case, stage, chosen, n_threads),
            budget=_BUDGET[quick], turns=_TURNS[quick], settle=_SETTLE[quick], tick=tick,
        )  # fmt: skip
        n, d = case.values.shape
        dtype = case.values.dtype.name
        contests.append(
            Contest(case.series, case.name, stage, n, d, case.n_clusters, dtype, rows)
        )  # fmt: skip
    progress.report("bench", steps - 100, steps, {"what": "rates of kernels"})
    roofs = measure_roofs(n_threads, quick=quick) if "cpu" in chosen else None
    shapes = _QUICK_RATES if quick else CASES
    rates = [rate for name in chosen for rate in measure_rates(shapes, name, n_threads)]
    return Measured(machine, quick, left_out, contests, crossings(contests), roofs, rates)


def check_backends(names: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """Backends to measure, and why others are left out.

    Raises
    ------
    ValueError
        If one that is named is not known or cannot be used here, or none is named.
    """
    missing = available_backends()
    if names is None:
        left_out = {name: reason for name, reason in missing.items() if reason is not None}
        return [name for name in backend_names() if name not in left_out], left_out
    for name in names:
        if name not in missing:
            listed = ", ".join(backend_names())
            raise ValueError(f"backends must be some of {listed}, got {name!r}")
        if missing[name] is not None:
            raise ValueError(f"backend {name!r} cannot be used here: {missing[name]}")
    if not names:
        raise ValueError(f"backends is empty; give some of {', '.join(backend_names())}")
    return [name for name in backend_names() if name in names], {}


def lines(contests: Sequence[Contest], series: str, axis: str) -> dict[str, list[list[Any]]]:
    """Points [x, Spread] of each implementation in a series of fits, along n_points or k."""
    found: dict[str, list[list[Any]]] = {}
    for one in contests:
        if one.series == series and one.stage == "fit":
            for row in one.rows:
                if row.seconds is not None:
                    found.setdefault(row.name, []).append([getattr(one, axis), row.seconds])
    return {name: sorted(points, key=lambda p: float(p[0])) for name, points in found.items()}


def crossings(contests: Sequence[Contest]) -> list[Crossing]:
    """Where time against pixels of two implementations crosses, by power laws between sizes."""
    series = lines(contests, "pixels", "n_points")
    found = []
    for first, second in combinations(series, 2):
        ones, others = ({x: spread.median for x, spread in series[n]} for n in (first, second))
        away = [(x, log(ones[x] / others[x])) for x in sorted(ones.keys() & others.keys())]
        for (x, a), (y, b) in pairwise(away):
            if a * b < 0:
                at = x * (y / x) ** (a / (a - b))
                slower, faster = (second, first) if b < 0 else (first, second)
                found.append(Crossing(slower, faster, at))
    return sorted(found, key=lambda one: one.n_points)
