"""The kernels and scikit-learn's on the same points: `make bench`.

One table drives all cases. Each is a single E-and-M step from the same centres with
the same number of threads; the answers are compared before anything is timed, and
pytest-benchmark warms up first, so that compilation is not in the figures.
"""

import os

import numpy as np
import pytest
from sklearn.cluster._kmeans import _kmeans_single_lloyd, _labels_inertia

from fastseg.kernels.cpu import CpuBackend

N_THREADS = int(os.environ.get("FASTSEG_NUM_THREADS", "2"))

# dtype, points, features, clusters
CASES = [
    ("float32", 4_000_000, 3, 8),
    ("float32", 4_000_000, 1, 4),
    ("float32", 1_000_000, 3, 64),
    ("float32", 1_000_000, 13, 16),
    ("float32", 500_000, 32, 32),
    ("uint8", 4_000_000, 3, 8),
]


@pytest.fixture(params=CASES, ids=lambda c: "-".join(map(str, c)), scope="module")
def case(request):
    dtype, n, d, k = request.param
    rng = np.random.default_rng(0)
    points = (rng.random((n, d)) * 255).astype(dtype)
    return points, points[rng.choice(n, k, replace=False)].astype(np.float64)


def sklearn_step(points, centers, weights):
    return _kmeans_single_lloyd(
        points, weights, centers.copy(), max_iter=1, tol=0, n_threads=N_THREADS
    )


def test_accumulate(benchmark, case):
    points, centers = case
    benchmark.group = f"E and M step, {points.dtype} {points.shape} k={len(centers)}"
    resident = CpuBackend().put(points, n_threads=N_THREADS)
    partials = resident.accumulate(centers)
    wide = points.astype(np.float64)
    labels, inertia = _labels_inertia(wide, np.ones(len(wide)), centers, n_threads=N_THREADS)
    assert np.array_equal(np.bincount(labels, minlength=len(centers)), partials.weights)
    np.testing.assert_allclose(partials.inertia, inertia, rtol=1e-9)
    benchmark(resident.accumulate, centers)


def test_scikit_learn(benchmark, case):
    """One iteration of scikit-learn's, with the label pass it ends with: two E steps, one M."""
    points, centers = case
    benchmark.group = f"E and M step, {points.dtype} {points.shape} k={len(centers)}"
    dtype = np.float32 if points.dtype == np.float32 else np.float64
    wide = points.astype(dtype)
    benchmark(sklearn_step, wide, centers.astype(dtype), np.ones(len(wide), dtype))


def test_assign(benchmark, case):
    points, centers = case
    benchmark.group = f"E step, {points.dtype} {points.shape} k={len(centers)}"
    resident = CpuBackend().put(points, n_threads=N_THREADS)
    labels = np.empty(len(points), np.uint8)
    benchmark(resident.assign, centers, labels=labels)


def test_potentials(benchmark, case):
    points, centers = case
    benchmark.group = f"k-means++ candidates, {points.dtype} {points.shape}"
    sampler = CpuBackend().put(points, n_threads=N_THREADS).sampler()
    sampler.add(centers[0])
    benchmark(sampler.potentials, centers[:4])
