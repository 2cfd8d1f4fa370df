"""How close the kernels come to what the processor can do.

A pass of n points of D features and k clusters is taken as 2 n k D operations (a product
and a sum, as half a centre's squared length less its product with the point takes) and
4 n D bytes read, and those of the labels written: what must be done, whatever else a
kernel does. See S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual
performance model for multicore architectures", 2009.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends import backend_named
from ..kernels.cpu.threads import resolve_n_threads
from .answers import starting_centers
from .implementations import resident

# Points, features, clusters.
CASES = (
    (8_000_000, 3, 8),
    (8_000_000, 3, 64),
    (8_000_000, 1, 4),
    (2_000_000, 13, 16),
    (1_000_000, 32, 32),
    (200_000, 128, 1024),
)


@dataclass(frozen=True)
class Roofs:
    """Operations (a fused multiply-add is two) and bytes a second."""

    float32: float
    float64: float
    copy: float


@dataclass(frozen=True)
class Rate:
    """What one kernel of a backend reached on one problem of float32 points."""

    backend: str
    kernel: str
    n: int
    features: int
    clusters: int
    seconds: float

    @property
    def operations(self) -> float:
        """Operations that a pass takes."""
        return 2.0 * self.n * self.features * self.clusters

    @property
    def bytes(self) -> float:
        """Bytes that a pass has to move."""
        return 4.0 * self.n * (self.features + (self.kernel == "assign"))

    @property
    def name(self) -> str:
        """Points, features and clusters."""
        n = f"{self.n / 1e6:.3g} M" if self.n >= 10**6 else f"{self.n / 1e3:.3g} k"
        return f"{n} x {self.features}, k={self.clusters}"


def measure_roofs(n_threads: int | None = None, *, quick: bool = False) -> Roofs:
    """Measure what the processor can do at most with a number of threads."""
    from ..kernels.roofs import copy_rate, fma_rate

    threads, runs = resolve_n_threads(n_threads), 7 if quick else 25
    copied = 2**26 if quick else 2**28
    return Roofs(
        fma_rate(32, threads, runs), fma_rate(64, threads, runs), copy_rate(threads, copied)
    )


def measure_rates(
    cases: Iterable[tuple[int, int, int]],
    backend: str = "cpu",
    n_threads: int | None = None,
    runs: int = 7,
) -> list[Rate]:
    """Measure a backend's kernels on (n, d, k) float32 points that do not repeat."""
    rates = []
    for n, d, k in cases:
        values = np.random.default_rng(0).random((n, d), dtype=np.float32)
        start = starting_centers(values, k)
        there = resident(values, k, backend)
        if there is None:
            continue
        for kernel in ("accumulate", "assign"):
            pass_ = _pass(kernel, backend_named(backend), there, start, n_threads)
            pass_()
            rates.append(Rate(backend, kernel, n, d, k, statistics.median(
                pass_() for _ in range(runs))))  # fmt: skip
    return rates


def _pass(
    kernel: str, backend: Any, there: tuple[Any, Any, Any], start: Any, n_threads: int | None
) -> Callable[[], float]:
    """Make a function that returns the seconds of a pass over points that stay where they are."""
    values, labels, to_host = there
    points = backend.put(values, n_threads=n_threads)

    def seconds() -> float:
        if hasattr(points, "bounds"):
            points.bounds = None  # as if no point could be passed over
        began = time.perf_counter()
        if kernel == "accumulate":
            points.accumulate(start)
        else:
            points.assign(start, labels=labels)
            to_host(labels[:1])  # waits for a device
        return time.perf_counter() - began

    return seconds
