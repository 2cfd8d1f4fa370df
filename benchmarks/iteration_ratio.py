"""Seconds of one k-means iteration, scikit-learn's over fastseg's: pairs in one run.

    python benchmarks/iteration_ratio.py [n d k]

scikit-learn's iteration is the difference of runs of eleven and one iterations, so
that its set-up is not counted; both get float32 points, the same centres and the
same number of threads. Labels are compared in float64 first. Prints the median of
the ratios of the pairs and their spread.
"""

import statistics
import sys
import time

import numpy as np
from sklearn.cluster._kmeans import _kmeans_single_lloyd, _labels_inertia

from fastseg.kernels.cpu import CpuBackend

N_THREADS = 2
N_PAIRS = 9


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main(n=8_000_000, d=3, k=8):
    rng = np.random.default_rng(0)
    points = rng.random((n, d), dtype=np.float32)
    centers = points[rng.choice(n, k, replace=False)]
    wide = centers.astype(np.float64)
    resident = CpuBackend().put(points, n_threads=N_THREADS)
    expected, _ = _labels_inertia(points.astype(np.float64), np.ones(n), wide, n_threads=N_THREADS)
    if not np.array_equal(resident.assign(wide), expected):
        sys.exit("the labels differ: no times are shown")

    weights = np.ones(n, np.float32)

    def sklearn_run(n_iter):
        _kmeans_single_lloyd(
            points, weights, centers.copy(), max_iter=n_iter, tol=0, n_threads=N_THREADS
        )

    def fastseg_run():
        for _ in range(10):
            resident.accumulate(wide)

    sklearn_run(1)
    fastseg_run()
    pairs = []
    for _ in range(N_PAIRS):
        theirs = (seconds(lambda: sklearn_run(11)) - seconds(lambda: sklearn_run(1))) / 10
        # Its OpenMP threads spin for a while after their work, on cores we need.
        time.sleep(0.5)
        pairs.append((theirs, seconds(fastseg_run) / 10))
    ratios = [theirs / ours for theirs, ours in pairs]
    print(
        f"{n} x {d} float32, k={k}, {N_THREADS} threads, labels equal: scikit-learn"
        f" {statistics.median(t for t, _ in pairs) / n * 1e9:.2f} ns a point, fastseg"
        f" {statistics.median(o for _, o in pairs) / n * 1e9:.2f}; ratio"
        f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
