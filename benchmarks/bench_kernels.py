"""The kernels and scikit-learn's on the same points: `make bench`.

The rows of KERNELS in cases.py. Each is a single E-and-M step from the same centres with
the same number of threads; the answers are compared before anything is timed, and
pytest-benchmark warms up first, so that compilation is not in the figures.
"""

import numpy as np
import pytest
from cases import KERNELS, kernel_problem, photograph
from implementations import N_THREADS
from sklearn.cluster._kmeans import _kmeans_single_lloyd, _labels_inertia

from fastseg.kernels.cpu import CpuBackend


@pytest.fixture(params=KERNELS, ids=lambda row: "-".join(map(str, row)), scope="module")
def case(request):
    problem = kernel_problem(*request.param)
    return problem.values, problem.start


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


def labels_of(points, centers):
    """Labels by scikit-learn, in float64."""
    wide = points.astype(np.float64)
    return _labels_inertia(wide, np.ones(len(wide)), centers, n_threads=N_THREADS)[0]


def test_assign(benchmark, case):
    points, centers = case
    benchmark.group = f"E step, {points.dtype} {points.shape} k={len(centers)}"
    resident = CpuBackend().put(points, n_threads=N_THREADS)
    labels = np.empty(len(points), np.uint8)
    resident.assign(centers, labels=labels)
    assert np.array_equal(labels, labels_of(points, centers))
    benchmark(resident.assign, centers, labels=labels)


def test_potentials(benchmark, case):
    points, centers = case
    benchmark.group = f"k-means++ candidates, {points.dtype} {points.shape}"
    sampler = CpuBackend().put(points, n_threads=N_THREADS).sampler()
    sampler.add(centers[0])
    first, *others = (((points - center) ** 2).sum(axis=1) for center in centers[:4])
    expected = [first.sum(), *(np.minimum(first, other).sum() for other in others)]
    np.testing.assert_allclose(sampler.potentials(centers[:4]), expected, rtol=1e-9)
    benchmark(sampler.potentials, centers[:4])


@pytest.fixture(scope="module")
def pixels():
    """Pixels of a photograph, as many as a large one has."""
    return np.resize(photograph(small=True).reshape(-1, 3), (18_000_000, 3))


def test_count_and_look_up(benchmark, pixels):
    """The two passes over an image that nothing can spare."""
    benchmark.group = "the passes over 18 megapixels"
    labels = np.empty(len(pixels), np.uint8)

    def both():
        counter = CpuBackend().counter(pixels.dtype, 3, n_threads=N_THREADS)
        counter.add(pixels)
        values, counts = counter.distinct()
        counter.look_up(pixels, np.zeros(len(values), np.uint8), labels)
        return counts

    assert both().sum() == len(pixels)
    benchmark(both)


def test_copy(benchmark, pixels):
    benchmark.group = "the passes over 18 megapixels"
    benchmark(np.copyto, np.empty_like(pixels), pixels)
