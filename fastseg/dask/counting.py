"""Distinct values of an image in parts, and their counts: one map-reduce of exact summaries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from ..backends import backend_named
from ..kernels.backend import Array
from ..kernels.cpu import row_counter as rule
from ..pixels import Pixels
from ..progress import Progress
from ..summary import Summary
from .cluster import Cluster
from .images import Source


@dataclass(frozen=True)
class Tally:
    """What is known of the pixels of some parts.

    ``summary`` is None where there are more distinct values than are worth keeping. Of
    ``n`` pixels that take part and ``n_left_out`` others; ``may_leave_out`` tells whether a
    rule that leaves pixels out applied anywhere.
    """

    summary: Summary | None
    n: int
    n_left_out: int
    may_leave_out: bool
    bounded: bool

    def merge(self, other: Tally) -> Tally:
        """Tally of both sets of parts; any order and any split give the same."""
        summary = None
        if self.summary is not None and other.summary is not None:
            summary = self.summary.merge(other.summary)
            if self.bounded and len(summary.values) > _most_rows(summary.values):
                summary = None
        return Tally(
            summary,
            self.n + other.n,
            self.n_left_out + other.n_left_out,
            self.may_leave_out or other.may_leave_out,
            self.bounded,
        )

    @property
    def pays(self) -> bool:
        """Whether to cluster the distinct values, by the rule of an image in memory.

        The values of one channel are clustered whenever they can be held.
        """
        if self.summary is None:
            return False
        n_distinct, d = self.summary.values.shape
        few = n_distinct <= max(rule._FEW_ROWS, rule._MAX_DISTINCT_SHARE * self.n)
        return d == 1 or not self.bounded or few


def _most_rows(values: Array) -> int:
    """Distinct values that a counter keeps at most."""
    row_bytes = values.itemsize * int(values.shape[1])
    return min(rule.MAX_ROWS, rule._MAX_ROW_BYTES // row_bytes)


def count(cluster: Cluster, source: Source, progress: Progress) -> Tally:
    """Stage "count": the distinct pixels of all parts."""
    n = source.n_pixels
    beat = progress.heartbeat_at("count")
    progress.report("count", 0, n)
    tally: Tally = cluster.reduce(
        source.parts, _count_part, _merged, source.read,
        tick=lambda done, tasks: beat(done * n // tasks, n),
    )  # fmt: skip
    progress.report("count", n, n)
    return tally


def _merged(tallies: list[Tally]) -> Tally:
    return reduce(Tally.merge, tallies)


def _count_part(*given: Any) -> Tally:
    *part, read = given
    pixels: Pixels = read(*part)
    values = pixels.values
    counter = backend_named("cpu").counter(values.dtype, values.shape[1], n_threads=1)
    if len(values):
        counter.add(values)
    # Of floats that repeat nowhere in a part few repeat elsewhere; integers are looked at to
    # the end, so that they are clustered alike however they are cut.
    hopeless = values.dtype.kind == "f" and values.shape[1] > 1 and not counter.pays
    summary = None if counter.full or hopeless else Summary(*counter.distinct())
    return Tally(
        summary, len(values), pixels.n_left_out, pixels.kept is not None, counter.may_give_up
    )
