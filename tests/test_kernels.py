"""Every kernel of every backend against the reference, over types, shapes and weights."""

import numpy as np
import pytest
from cuda_backends import ALL
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseg.kernels import reference
from fastseg.kernels.backend import DTYPES, Farthest, Problem
from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cpu import points as cpu

# Sizes that divide neither tiles nor chunks nor pieces; features on both sides of
# unrolling and of matrix products; sums for every way in which a kernel keeps them.
SHAPES = [
    (1, 1, 1),
    (511, 1, 4),
    (1025, 2, 3),
    (2049, 3, 8),
    (700, 5, 17),
    (333, 16, 6),
    (301, 33, 5),
    (259, 3, 130),
    (270, 40, 9),
]
# How features are unrolled does not depend on the type, nor how a type is loaded on the number
# of features, nor how labels of a type are written on either: on the CPU, where each of them takes
# seconds to compile, these stand for all.
TWO_OR_FIVE = {("uint8", 2), ("float64", 2), ("uint8", 5), ("float32", 5)}
LABELLED = {("uint8", 3), ("int16", 3), ("uint16", 33), ("float32", 3), ("float64", 33)}


def all_cases():
    """Backend, type, points, features and clusters."""
    for backend in ALL:
        (one,) = backend.values
        for dtype in DTYPES:
            for n, d, k in SHAPES:
                if one.name != "cpu" or d not in (2, 5) or (dtype, d) in TWO_OR_FIVE:
                    name = f"{backend.id}-{dtype}-{n}-{d}-{k}"
                    yield pytest.param(one, dtype, n, d, k, id=name, marks=backend.marks)


def points_of(dtype, n, d, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(3.0, 20.0, (n, d)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (n, d), endpoint=True).astype(dtype)


def case(dtype, n, d, k, weighted):
    points = points_of(dtype, n, d)
    rng = np.random.default_rng(1)
    centers = points[rng.choice(n, k, replace=False)] + rng.normal(0, 0.1, (k, d))
    weights = rng.integers(0, 5, n).astype(np.float64) if weighted else None
    return points, weights, centers


@pytest.fixture(params=ALL)
def backend(request):
    return request.param


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("backend", "dtype", "n", "d", "k"), list(all_cases()))
class TestAgainstReference:
    def test_accumulate(self, backend, dtype, n, d, k, weighted):
        points, weights, centers = case(dtype, n, d, k, weighted)
        partials = backend.put(points, weights).accumulate(centers)
        expected = reference.accumulate(points, weights, centers)
        np.testing.assert_array_equal(partials.weights, expected.weights)
        if np.dtype(dtype).kind != "f":
            np.testing.assert_array_equal(partials.sums, expected.sums)
        np.testing.assert_allclose(partials.sums, expected.sums, rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(partials.inertia, expected.inertia, rtol=1e-12)

    def test_assign(self, backend, dtype, n, d, k, weighted):
        points, weights, centers = case(dtype, n, d, k, weighted)
        resident = backend.put(points, weights)
        expected, _ = reference.assign(points, centers)
        np.testing.assert_array_equal(resident.assign(centers), expected)
        every = backend.name != "cpu" or (dtype, d) in LABELLED
        for label_type in (np.uint8, np.uint16, np.int32) if every else (np.int32,):
            labels = np.empty(n, label_type)
            assert resident.assign(centers, labels=labels, first_label=1) is labels
            np.testing.assert_array_equal(labels, expected + 1)

    def test_label(self, backend, dtype, n, d, k, weighted):
        points, weights, centers = case(dtype, n, d, k, weighted)
        labels, inertia = backend.put(points, weights).label(centers)
        expected, distances = reference.assign(points, centers)
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(labels, expected)
        total = distances.sum() if weights is None else weights @ distances
        assert inertia == pytest.approx(total, rel=1e-12)

    def test_farthest(self, backend, dtype, n, d, k, weighted):
        points, weights, centers = case(dtype, n, d, k, weighted)
        far = backend.put(points, weights).farthest(centers, 3)
        labels, distances = reference.assign(points, centers)
        rows = np.argsort(-distances, kind="stable")[:3]
        np.testing.assert_array_equal(far.distances, distances[rows])
        if len(np.unique(distances[rows])) == len(rows):
            np.testing.assert_array_equal(far.values, points[rows])
            np.testing.assert_array_equal(far.labels, labels[rows])

    def test_sampler(self, backend, dtype, n, d, k, weighted):
        points, weights, centers = case(dtype, n, d, k, weighted)
        if weights is not None:
            weights += 1
        sampler = backend.put(points, weights).sampler()
        closest = np.full(n, np.inf)
        for center in centers[:2]:
            potential = sampler.add(center)
            closest = np.minimum(closest, reference.distances(points, center[None])[:, 0])
            masses = closest if weights is None else closest * weights
            np.testing.assert_allclose(potential, masses.sum(), rtol=1e-12)
        np.testing.assert_allclose(
            sampler.potentials(centers),
            reference.potentials(points, weights, closest, centers),
            rtol=1e-12,
        )
        thresholds = np.array([0.03, 0.4, 0.97]) * potential
        rows = np.searchsorted(np.cumsum(masses), thresholds)
        np.testing.assert_array_equal(sampler.draw(thresholds), points[rows])


def test_the_lowest_index_wins_a_tie(backend):
    points = np.array([[2], [4], [6]], np.uint8)
    centers = np.array([[5.0], [3.0], [5.0]])
    np.testing.assert_array_equal(backend.put(points).assign(centers), [1, 0, 0])


def test_read_only_points_are_taken_in_place(backend):
    points = points_of("uint8", 100, 3)
    points.flags.writeable = False
    assert backend.put(points).assign(np.zeros((1, 3))).sum() == 0


def test_sums_of_integers_are_exact_past_two_to_the_31(backend):
    values = np.array([[10], [65535]], np.uint16)
    counts = np.array([2.0**31 + 7, 1.1e9])
    partials = backend.put(values, counts, repeated=True).accumulate(np.array([[0.0], [6e4]]))
    assert (partials.sums[:, 0] / partials.weights).tolist() == [10.0, 65535.0]


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("k", [3, 40])
def test_any_number_of_threads_gives_the_same_bytes(dtype, k):
    n = 5 * cpu.chunk_size(2, k) + 77
    points, weights, centers = case(dtype, n, 2, k, weighted=True)
    results = []
    for n_threads in (1, 2, 3, 8):
        resident = CpuBackend().put(points, weights, n_threads=n_threads)
        partials = resident.accumulate(centers)
        sampler = resident.sampler()
        total = sampler.add(centers[0])
        results.append(
            (
                partials.sums.tobytes(),
                partials.weights.tobytes(),
                partials.inertia,
                resident.assign(centers).tobytes(),
                resident.label(centers)[1],
                total,
                sampler.potentials(centers[1:3]).tobytes(),
                sampler.draw(np.array([0.1, 0.9]) * total).tobytes(),
            )
        )
    assert len(set(results)) == 1


class TestMerge:
    """What crosses the boundary adds up: the parts' answers merge into the whole's."""

    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_partials_of_integer_points_are_the_same_bits_for_any_split(self, data):
        points = points_of("uint16", 500, 2, seed=data.draw(st.integers(0, 9)))
        centers = points[:4].astype(np.float64)
        cut = data.draw(st.integers(1, 499))
        whole = CpuBackend().put(points).accumulate(centers)
        a, b = (CpuBackend().put(part).accumulate(centers) for part in (points[:cut], points[cut:]))
        for merged in (a.merge(b), b.merge(a)):
            np.testing.assert_array_equal(merged.sums, whole.sums)
            np.testing.assert_array_equal(merged.weights, whole.weights)
            np.testing.assert_allclose(merged.inertia, whole.inertia, rtol=1e-13)

    @given(st.integers(1, 299), st.integers(1, 12), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_farthest_points_do_not_depend_on_the_split(self, cut, size, repeated):
        rng = np.random.default_rng(size)
        values = rng.integers(0, 12, (300, 2)).astype(np.uint8)  # many equal distances
        weights = rng.integers(1, 4, 300).astype(np.float64)
        centers = np.array([[2.0, 3.0], [9.0, 9.0]])

        def far(rows):
            points = CpuBackend().put(values[rows], weights[rows], repeated=repeated)
            return points.farthest(centers, size)

        whole = far(slice(None))
        parts = far(slice(cut)).merge(far(slice(cut, None)))
        np.testing.assert_array_equal(parts.values, whole.values)
        np.testing.assert_array_equal(parts.distances, whole.distances)


def test_farthest_takes_single_points_of_a_repeated_value():
    values = np.array([[0], [9]], np.uint8)
    far = Farthest.of(
        3, values, np.array([5.0, 2.0]), np.array([0, 0]), np.array([0.0, 81.0]), repeated=True
    )
    assert far.values[:, 0].tolist() == [9, 9, 0]
    assert far.weights.tolist() == [1, 1, 1]


def test_a_backend_says_why_it_cannot_take_a_problem(backend):
    assert backend.reason_against(Problem(10, 3, 2, "float64")) is None
    assert "complex64" in backend.reason_against(Problem(10, 3, 2, "complex64"))
