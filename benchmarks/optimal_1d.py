"""The optimum on one channel beside kmeans1d and ckmeans, where they are installed.

    python benchmarks/optimal_1d.py

Neither takes weights, so all weigh one; both sort for themselves, so sorting is timed
for all. A time is printed only after the inertias agree; it is the median of several
runs in one process.
"""

import os
import statistics
import time
from importlib import import_module

import numpy as np

from fastseg.optimal_1d import optimal_1d

N_THREADS = int(os.environ.get("FASTSEG_NUM_THREADS", "2"))

# Values, clusters
CASES = [(256, 10), (4096, 4), (65536, 4), (65536, 10), (65536, 256), (1_000_000, 5)]
WEIGHTED = [(256, 10), (4096, 4), (65536, 4), (65536, 10), (65536, 256)]


def values_of(m):
    """Integers of a camera up to 16 bits, beyond that floats."""
    rng = np.random.default_rng(0)
    return rng.permutation(m).astype(float) if m <= 2**16 else rng.normal(size=m)


def fastseg(values, k):
    optimum = optimal_1d(np.sort(values), None, k, n_threads=N_THREADS)
    return optimum.centers(k)


def kmeans1d(values, k):
    return np.array(import_module("kmeans1d").cluster(values, k).centroids)


def ckmeans(values, k):
    return np.array([part.mean() for part in import_module("ckmeans").ckmeans(values, k)])


def inertia(values, centers):
    bounds = (centers[1:] + centers[:-1]) / 2
    return float(np.sum((values - centers[np.searchsorted(bounds, values)]) ** 2))


def median_time(call, budget=2.0):
    times = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 50):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compare(m, k):
    values = values_of(m)
    expected = inertia(values, fastseg(values, k))
    print(f"{m:>9,} values, k={k:<4}", end="")
    for solver in (fastseg, kmeans1d, ckmeans):
        try:
            centers = solver(values, k)
        except ImportError:
            print(f"  {solver.__name__} is not installed", end="")
            continue
        except ValueError as error:
            print(f"  {solver.__name__}: {error}", end="")
            continue
        off = inertia(values, np.sort(centers)) / expected - 1
        if abs(off) > 1e-9:
            print(f"  {solver.__name__} is off by {off:.1e}", end="")
            continue
        seconds = median_time(lambda solver=solver: solver(values, k))
        print(f"  {solver.__name__} {seconds * 1e3:9.2f} ms", end="", flush=True)
    print()


def main():
    print(f"every value once, {N_THREADS} threads of fastseg, sorting included")
    for m, k in CASES:
        compare(m, k)
    print("weighted by counts, all k at once, sorted before")
    rng = np.random.default_rng(1)
    for m, k in WEIGHTED:
        values, counts = np.arange(m), rng.integers(1, 10**6, m)
        seconds = median_time(lambda: optimal_1d(values, counts, k, n_threads=N_THREADS))  # noqa: B023
        print(f"{m:>9,} values, k={k:<4}  fastseg {seconds * 1e3:9.2f} ms")


if __name__ == "__main__":
    main()
