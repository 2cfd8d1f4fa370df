"""MiniBatchKMeans against scikit-learn's: whole fits, and batches of `partial_fit`.

    python benchmarks/minibatch.py [threads]

From the same seed both must first find the same centres in float64, on points so few
that probabilities are not rounded to another draw. The times are of
float32 points, except where it says uint8: scikit-learn gets those in float64. The same
number of threads; medians of the ratios of pairs in one run, and their spread.
"""

import statistics
import sys
import time
from functools import partial

import numpy as np
import sklearn.cluster
from threadpoolctl import threadpool_limits

import fastseg

N_THREADS = 2
N_FITS = 7
N_CHECKED = 20_000
N_BATCHES = 200
BATCH = 1024

# n, d, k and dtype.
CASES = [
    (2_000_000, 3, 8, np.float32),
    (2_000_000, 3, 8, np.uint8),
    (200_000, 32, 32, np.float32),
    (10_000, 3, 8, np.float32),
    (1_000, 2, 3, np.float32),
    (100_000, 64, 32, np.float32),
    (50_000, 128, 256, np.float32),
]


def points_of(n, d, k, dtype):
    rng = np.random.default_rng(0)
    points = 5 * rng.normal(size=(k, d))[rng.integers(0, k, n)] + rng.normal(size=(n, d))
    return (127 + 8 * points).clip(0, 255).astype(dtype)


def seconds(work):
    # scikit-learn's OpenMP threads spin for a while after their work, on cores we need.
    time.sleep(0.01)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report(name, pairs, unit, scale):
    ratios = [theirs / ours for theirs, ours in pairs]
    theirs, ours = (statistics.median(times) * scale for times in zip(*pairs, strict=True))
    print(
        f"  {name}: scikit-learn {theirs:.4g} {unit}, fastseg {ours:.4g} {unit};"
        f" ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def measure(n, d, k, dtype):
    points = points_of(n, d, k, dtype)
    wide = points.astype(np.float64)
    theirs_get = wide if dtype == np.uint8 else points

    def ours(**options):
        return fastseg.MiniBatchKMeans(k, n_threads=N_THREADS, **options)

    def theirs(**options):
        return sklearn.cluster.MiniBatchKMeans(k, **options)

    a, b = (make(random_state=0).fit(wide[:N_CHECKED]) for make in (ours, theirs))
    if not np.allclose(a.cluster_centers_, b.cluster_centers_, rtol=1e-9, atol=1e-9):
        sys.exit("the centres differ: no times are shown")
    print(f"{n} x {d} {np.dtype(dtype).name}, k={k}, threads: {N_THREADS}")
    ours(random_state=0).fit(points)
    pairs, inertias = [], []
    for seed in range(N_FITS):
        fits = theirs(random_state=seed), ours(random_state=seed)
        pairs.append(
            (
                seconds(partial(fits[0].fit, theirs_get)),
                seconds(partial(fits[1].fit, points)),
            )
        )
        inertias.append([fit.inertia_ for fit in fits])
    report("fit", pairs, "ms", 1e3)
    expected, found = np.mean(inertias, axis=0)
    print(f"  mean inertia of the fits, over scikit-learn's: {found / expected:.6f}")
    for compute_labels in (True, False):
        words = "with labels" if compute_labels else "without labels"
        fits = [make(random_state=0, compute_labels=compute_labels) for make in (theirs, ours)]
        pairs = batch_pairs(*fits, theirs_get, points)
        report(f"partial_fit of {BATCH} points, {words}", pairs, "us", 1e6)


def batch_pairs(theirs, ours, theirs_get, points):
    """Seconds of batches, after some that compile."""
    pairs = []
    for batch in range(N_BATCHES):
        start = batch * BATCH % max(1, len(points) - BATCH)
        part = slice(start, start + BATCH)
        pairs.append(
            (
                seconds(partial(theirs.partial_fit, theirs_get[part])),
                seconds(partial(ours.partial_fit, points[part])),
            )
        )
    return pairs[10:]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        N_THREADS = int(sys.argv[1])
    with threadpool_limits(N_THREADS):
        for case in CASES:
            measure(*case)
