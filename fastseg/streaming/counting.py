"""Passes over images that are read region by region: counting, sampling, Lloyd's sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..io.threads import Threads
from ..kernels.backend import Array, Backend, Counter, Farthest, FloatArray, Partials, Points, Tick
from ..memory import release_freed
from ..progress import Progress
from .reading import Reading

# Pixels that starts are drawn from where the pixels are too many to be held.
START_SAMPLE = 2**18


@dataclass(frozen=True)
class Counted:
    """What a first pass found.

    ``values`` (m, channels) and ``weights`` are the distinct pixels and their counts, in the
    type stored, and ``counter`` looks them up. Where they are too many, ``values`` are a
    sample, the other two None.
    """

    values: Array
    weights: FloatArray | None
    counter: Counter | None
    moments: Moments
    n_left_out: int


@dataclass(frozen=True)
class Sums:
    """Sums (n_clusters, channels) and numbers (n_clusters,) of the values of each label."""

    sums: FloatArray
    totals: Array

    @classmethod
    def of(cls, values: Array, labels: Array, n_clusters: int) -> Sums:
        """Add up values (n, channels) by their labels (n,)."""
        sums = [np.bincount(labels, channel, n_clusters) for channel in values.T]
        return cls(np.stack(sums, axis=1), np.bincount(labels, minlength=n_clusters))

    def merge(self, other: Sums) -> Sums:
        """Sums of both sets of values."""
        return Sums(self.sums + other.sums, self.totals + other.totals)

    @property
    def means(self) -> FloatArray:
        """Means (n_clusters, channels)."""
        means: FloatArray = self.sums / np.maximum(self.totals, 1)[:, None]
        return means


class Moments:
    """Number, range, mean and deviation of values that come in chunks."""

    def __init__(self, n_channels: int) -> None:
        self.n = 0
        self.low = np.full(n_channels, np.inf)
        self.high = np.full(n_channels, -np.inf)
        self._mean = np.zeros(n_channels)
        self._squares = np.zeros(n_channels)

    def add(self, values: Array) -> None:
        """Add values (m, channels), by the formula of Chan, Golub and LeVeque (1979)."""
        if len(values) == 0:
            return
        mean = values.mean(axis=0, dtype=np.float64)
        squares = np.array(
            [np.square(values[:, f] - mean[f], dtype=np.float64).sum() for f in range(len(mean))]
        )
        self._join(len(values), values.min(axis=0), values.max(axis=0), mean, squares)

    def merge(self, other: Moments) -> Moments:
        """Add what another one was told, and give this one."""
        if other.n:
            self._join(other.n, other.low, other.high, other._mean, other._squares)
        return self

    def _join(self, n: int, low: Array, high: Array, mean: FloatArray, squares: FloatArray) -> None:
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        both = self.n + n
        shift = mean - self._mean
        self._squares = self._squares + squares + shift**2 * (self.n * n / both)
        self._mean = self._mean + shift * (n / both)
        self.n = both

    @property
    def table(self) -> FloatArray:
        """Mean and standard deviation (channels, 2), 1 for a constant channel."""
        deviations = np.sqrt(self._squares / max(1, self.n))
        deviations[deviations == 0] = 1.0
        return np.stack([self._mean, deviations], axis=1)

    @property
    def ranges(self) -> FloatArray:
        """Smallest and largest value (channels, 2)."""
        return np.stack([self.low, self.high], axis=1)


class Sample:
    """A sample without replacement of ``size`` values, each as likely as every other.

    Every value is given a random number as it comes, and those of the smallest are kept.
    """

    def __init__(self, size: int, generator: np.random.Generator) -> None:
        self._size, self._generator = size, generator
        self._limit = np.inf
        self._keys: list[FloatArray] = []
        self._values: list[Array] = []
        self._held = 0

    def add(self, values: Array) -> None:
        """Add values (m, channels)."""
        keys = self._generator.random(len(values))
        taken = np.flatnonzero(keys < self._limit)
        self._keys.append(keys[taken])
        self._values.append(values[taken])
        self._held += len(taken)
        if self._held > 2 * self._size:
            self._thin()

    def _thin(self) -> None:
        keys, values = np.concatenate(self._keys), np.concatenate(self._values)
        if len(keys) > self._size:
            kept = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            keys, values = keys[kept], values[kept]
            self._limit = float(keys.max())
        self._keys, self._values, self._held = [keys], [values], len(keys)

    def values(self) -> Array:
        """The sample (size or fewer, channels), in the order in which it came."""
        self._thin()
        return self._values[0]


def count_stream(
    reading: Reading, threads: Threads, backend: Backend, progress: Progress
) -> Counted:
    """One pass that counts the distinct values, or gives a sample where they are too many."""
    counter = backend.counter(reading.dtype, reading.n_channels, n_threads=reading.n_threads)
    sample = Sample(START_SAMPLE, np.random.default_rng(0)) if counter.may_give_up else None
    moments = Moments(reading.n_channels)
    for chunk in reading.chunks(threads, progress, "count"):
        values = chunk.pixels.values
        if not counter.full:
            counter.add(values)
        if sample is not None:
            sample.add(values)
            moments.add(values)
    release_freed()
    # Asked at the end alone, so that the order of the pixels does not decide.
    if counter.full or not counter.pays:
        assert sample is not None
        return Counted(sample.values(), None, None, moments, reading.n_left_out)
    distinct, counts = counter.distinct()
    return Counted(distinct, counts.astype(np.float64), counter, moments, reading.n_left_out)


def sample_stream(
    reading: Reading,
    threads: Threads,
    size: int,
    generator: np.random.Generator,
    progress: Progress,
) -> Counted:
    """One pass that draws a sample of the pixels that take part."""
    sample, moments = Sample(size, generator), Moments(reading.n_channels)
    for chunk in reading.chunks(threads, progress, "sample"):
        sample.add(chunk.pixels.values)
        moments.add(chunk.pixels.values)
    return Counted(sample.values(), None, None, moments, reading.n_left_out)


class StreamedPoints:
    """Points that are read anew in each pass, and never held at once.

    ``forward`` takes stored values to where distances are taken. Partials are merged in the
    order of the regions, whatever the threads and the memory.
    """

    def __init__(
        self,
        reading: Reading,
        threads: Threads,
        backend: Backend,
        forward: Callable[[Array], Array],
        n_points: int,
        progress: Progress,
    ) -> None:
        self.n_points = n_points
        self.n_features = reading.n_channels
        self.n_passes = 0
        self._reading, self._threads, self._backend = reading, threads, backend
        self._forward, self._progress = forward, progress

    def parts(self) -> Iterator[Points]:
        """Points of each region, in one pass over the images."""
        return (points for _, points in self.stored_parts())

    def stored_parts(self) -> Iterator[tuple[Array, Points]]:
        """Stored values and points of each region, in one pass over the images."""
        self.n_passes += 1
        info = {"pass": self.n_passes}
        for chunk in self._reading.chunks(self._threads, self._progress, "pass", info=info):
            values = chunk.pixels.values
            if len(values):
                n_threads = self._reading.n_threads
                yield values, self._backend.put(self._forward(values), n_threads=n_threads)

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Assignable.accumulate`."""
        total = Partials(np.zeros_like(centers), np.zeros(len(centers)), 0.0)
        for points in self.parts():
            total = total.merge(points.accumulate(centers))
        return total

    def label_alike(self, centers: FloatArray, others: FloatArray) -> bool:
        """See `PointsInParts.label_alike`."""
        parts = self.parts()
        return all(np.array_equal(part.assign(centers), part.assign(others)) for part in parts)

    def mean_values(self, centers: FloatArray) -> FloatArray:
        """Mean in image units (n_clusters, channels) of the pixels of each centre."""
        found: Sums | None = None
        for stored, points in self.stored_parts():
            part = Sums.of(self._reading.in_units(stored), points.assign(centers), len(centers))
            found = part if found is None else found.merge(part)
        assert found is not None
        return found.means

    def farthest(self, centers: FloatArray, size: int, tick: Tick | None = None) -> Farthest:
        """See `Assignable.farthest`."""
        found: Farthest | None = None
        for points in self.parts():
            part = points.farthest(centers, size)
            found = part if found is None else found.merge(part)
        assert found is not None
        return found
