"""The same work by several implementations, in turns: answers first, then times."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..kernels.backend import Array
from ..memory import forget_peak, peak_memory, release_freed, resident_memory
from .answers import Answer, Judge, Verdict

# Threads of OpenMP spin for a while after their work, on cores the next one needs.
SETTLE = 0.05
# Shorter work is repeated within a turn until it has taken so many seconds.
_LEAST = 0.01

# Called before each piece of work with (pieces done, pieces in all).
Tick = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Entrant:
    """One who takes part.

    Attributes
    ----------
    name : str
        Name in tables.
    prepare : callable
        Called before every run, untimed; what it returns is called and timed.
    read : callable or None
        Makes an `Answer` of what the timed call returned, untimed; None where the work is
        but a part of what the others do, and there is nothing to judge.
    tolerance : float or None
        By which share the inertia may differ from the reference's; None where the aim is
        another one, and the difference is only told.
    times : int
        By how much the time is multiplied, where the work is a part of what is compared.
    """

    name: str
    prepare: Callable[[], Callable[[], Any]]
    read: Callable[[Any], Answer] | None
    tolerance: float | None = None
    times: int = 1


@dataclass(frozen=True)
class Spread:
    """Median, and quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Spread of some numbers."""
        low, median, high = np.quantile(numbers, [0.25, 0.5, 0.75]).tolist()
        return cls(median, low, high)


@dataclass(frozen=True)
class Row:
    """What one entrant did.

    ``verdict`` is None where there was no answer to judge. Where the answer differs from the
    reference's, no time is told: ``seconds``, ``ratio`` and ``first_seconds`` are None. The
    ratio is that of its time to the reference's within each turn; the first run, in which code
    may be loaded or compiled, stands apart. ``peak_bytes`` is the most memory held during the
    work beyond what was held before.
    """

    name: str
    verdict: Verdict | None
    seconds: Spread | None
    ratio: Spread | None
    first_seconds: float | None
    n_runs: int
    peak_bytes: int | None


def contest(
    values: Array,
    entrants: Sequence[Entrant],
    *,
    budget: float,
    turns: tuple[int, int] = (3, 15),
    settle: float = SETTLE,
    tick: Tick | None = None,
) -> list[Row]:
    """Let entrants do the same work, compare their answers, and time those that agree.

    Each does it once to be warm and to be judged, once for its memory and an estimate of
    the time, and then in turns with the others, so that what else the machine does meets all.
    Where some have to agree with the reference and none does, nobody is timed: it may be the
    reference that is wrong.

    Parameters
    ----------
    values : ndarray of shape (n, d)
        The points that the answers are about.
    entrants : sequence of Entrant
        The first one's answer is the reference.
    budget : float
        Seconds that the turns may take together, as long as they are not too few.
    turns : (int, int)
        Turns at least and at most.
    settle : float
        Seconds of rest before each piece of work.
    tick : callable, optional
        Called with (pieces done, pieces in all).

    Returns
    -------
    list of Row
        One for each entrant.
    """
    told = tick or (lambda done, total: None)
    steps = len(entrants) * (2 + turns[0])
    judge = Judge(values)
    verdicts: list[Verdict | None] = []
    first: dict[int, float] = {}
    with warnings.catch_warnings():
        # Fits of a fixed number of iterations do not converge, and libraries say so.
        warnings.simplefilter("ignore")
        for entrant in entrants:
            told(len(verdicts), steps)
            work = entrant.prepare()
            began = time.perf_counter()
            found = work()
            first[len(verdicts)] = (time.perf_counter() - began) * entrant.times
            answer = None if entrant.read is None else entrant.read(found)
            verdicts.append(None if answer is None else judge.verdict(answer, entrant.tolerance))
        racing = _racing(entrants, verdicts)
        peaks, estimates = {}, {}
        for i in racing:
            told(len(entrants) + i, steps)
            peaks[i], estimates[i] = _alone(entrants[i], settle)
        n_turns = int(np.clip(budget / sum(estimates.values()), *turns)) if racing else 0
        times: dict[int, list[float]] = {i: [] for i in racing}
        for turn in range(n_turns):
            told((2 + turn * turns[0] // n_turns) * len(entrants), steps)
            for i in racing:
                times[i].append(_seconds(entrants[i], estimates[i], settle))
    told(steps, steps)
    return [
        _row(entrant.name, verdicts[i], times[i], times[0], first[i], peaks[i])
        if i in racing else Row(entrant.name, verdicts[i], None, None, None, 0, None)
        for i, entrant in enumerate(entrants)
    ]  # fmt: skip


def _racing(entrants: Sequence[Entrant], verdicts: list[Verdict | None]) -> list[int]:
    """Who is timed; the reference's verdict becomes that of one with whom nobody agrees."""
    peers = [
        verdict.agrees
        for entrant, verdict in zip(entrants[1:], verdicts[1:], strict=True)
        if verdict is not None and entrant.tolerance is not None
    ]
    reference = verdicts[0]
    if peers and not any(peers) and reference is not None:
        verdicts[0] = replace(reference, agrees=False)
        return []
    return [i for i, verdict in enumerate(verdicts) if verdict is None or verdict.agrees]


def _row(
    name: str,
    verdict: Verdict | None,
    seconds: list[float],
    reference: list[float],
    first: float,
    peak: int | None,
) -> Row:
    ratios = Spread.of([a / b for a, b in zip(seconds, reference, strict=True)])
    return Row(name, verdict, Spread.of(seconds), ratios, first, len(seconds), peak)


def _alone(entrant: Entrant, settle: float) -> tuple[int | None, float]:
    """Bytes held beyond those before the work, and its seconds."""
    work = entrant.prepare()
    gc.collect()
    release_freed()
    time.sleep(settle)
    known = forget_peak()
    before = resident_memory()
    began = time.perf_counter()
    result = work()
    took = time.perf_counter() - began
    peak = peak_memory()
    del result
    if not known or before is None or peak is None:
        return None, took
    return max(0, peak - before), took


def _seconds(entrant: Entrant, estimate: float, settle: float) -> float:
    time.sleep(settle)
    n_runs, total = max(1, int(_LEAST / estimate)), 0.0
    for _ in range(n_runs):
        work = entrant.prepare()
        began = time.perf_counter()
        work()
        total += time.perf_counter() - began
    return total / n_runs * entrant.times
