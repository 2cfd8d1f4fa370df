"""Cells of repeated points decide as a plain pass does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseg.kernels import reference
from fastseg.kernels.cpu import CpuBackend, cells


def repeated(dtype, n, d, seed=0):
    rng = np.random.default_rng(seed)
    spread = 255 if dtype == "uint8" else 30_000
    values = np.unique((rng.beta(0.7, 1.5, (2 * n, d)) * spread).astype(dtype), axis=0)[:n]
    return values, rng.integers(1, 1000, len(values)).astype(np.float64)


@pytest.mark.parametrize("k", [3, 8, 31, 200])
@pytest.mark.parametrize(
    ("dtype", "d"),
    [("uint8", 2), ("uint8", 3), ("uint8", 4), ("uint16", 3), ("int16", 8), ("float64", 3)],
)
def test_cells_against_the_reference(dtype, d, k):
    values, weights = repeated(dtype, 6000, d)
    centers = values[np.random.default_rng(1).choice(len(values), k, replace=False)] + 0.25
    points = CpuBackend().put(values, weights, repeated=True)
    partials = points.accumulate(centers)
    assert points.cells is not None
    expected = reference.accumulate(values, weights, centers)
    np.testing.assert_array_equal(partials.weights, expected.weights)
    if dtype != "float64":
        np.testing.assert_array_equal(partials.sums, expected.sums)
    np.testing.assert_allclose(partials.sums, expected.sums, rtol=1e-12)
    np.testing.assert_allclose(partials.inertia, expected.inertia, rtol=1e-12)


@given(st.integers(0, 2**31), st.sampled_from([3, 5, 12]))
@settings(max_examples=30, deadline=None)
def test_ties_and_equal_centres_go_to_the_lowest_index(seed, k):
    """Centres on a coarse lattice tie with many points, some of them with one another."""
    rng = np.random.default_rng(seed)
    values = np.stack(np.meshgrid(*[np.arange(17, dtype=np.uint8)] * 3), axis=-1).reshape(-1, 3)
    weights = rng.integers(1, 9, len(values)).astype(np.float64)
    centers = rng.integers(0, 5, (k, 3)) * 4.0
    partials = CpuBackend().put(values, weights, repeated=True).accumulate(centers)
    expected = reference.accumulate(values, weights, centers)
    np.testing.assert_array_equal(partials.weights, expected.weights)
    np.testing.assert_array_equal(partials.sums, expected.sums)


@pytest.mark.parametrize("more", [-1, 0])
def test_both_sides_of_the_switch_give_the_same_bits(more):
    values, weights = repeated("uint8", cells._MIN_POINTS + more, 3)
    assert len(values) == cells._MIN_POINTS + more
    centers = values[:: len(values) // 7][:7].astype(np.float64)
    partials = CpuBackend().put(values, weights, repeated=True).accumulate(centers)
    plain = CpuBackend().put(values, weights).accumulate(centers)
    np.testing.assert_array_equal(partials.sums, plain.sums)
    np.testing.assert_array_equal(partials.weights, plain.weights)


def test_any_number_of_threads_gives_the_same_bytes():
    values, weights = repeated("float64", 200_000, 2)
    centers = values[::20_000].copy()
    results = set()
    for n_threads in (1, 2, 3, 8):
        points = CpuBackend().put(values, weights, repeated=True, n_threads=n_threads)
        partials = points.accumulate(centers)
        results.add((partials.sums.tobytes(), partials.weights.tobytes(), partials.inertia))
    assert len(results) == 1


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(("dtype", "d"), [("uint8", 3), ("float64", 2)])
def test_the_answer_does_not_depend_on_what_was_asked_before(dtype, d):
    """Cells remember the last assignment: wandering, interrupted and jumping centres."""
    values, weights = repeated(dtype, 150_000, d)
    rng = np.random.default_rng(5)
    walked = CpuBackend().put(values, weights, repeated=True, n_threads=2)

    def interrupt(done, total):
        raise Interrupted

    for k in (5, 5, 40, 3, 40):
        centers = values[rng.choice(len(values), k)] + rng.random((k, d))
        for _ in range(3):
            with pytest.raises(Interrupted):
                walked.accumulate(centers + 20.0, interrupt)
            partials = walked.accumulate(centers)
            fresh = CpuBackend().put(values, weights, repeated=True, n_threads=1)
            expected = fresh.accumulate(centers)
            assert partials.sums.tobytes() == expected.sums.tobytes()
            assert partials.weights.tobytes() == expected.weights.tobytes()
            assert partials.inertia == expected.inertia
            plain = CpuBackend().put(values, weights).assign(centers)
            np.testing.assert_array_equal(walked.assign(centers), plain)
            centers = centers + rng.normal(0.0, 2.0, centers.shape)


def test_an_extent_of_zero():
    values = np.zeros((5000, 3), np.uint8)
    values[:, 0] = np.arange(5000) % 256
    partials = (
        CpuBackend()
        .put(values, np.ones(5000), repeated=True)
        .accumulate(np.array([[0.0, 0, 0], [100, 0, 0], [200, 0, 0]]))
    )
    assert partials.weights.sum() == 5000


@pytest.mark.parametrize(("dtype", "d"), [("uint8", 3), ("uint16", 2), ("float64", 4)])
@pytest.mark.parametrize("n", [1, 300, 9000])
def test_sampler_against_the_reference(dtype, d, n):
    values, weights = repeated(dtype, n, d)
    points = CpuBackend().put(values, weights, repeated=True)
    sampler = points.sampler()
    closest = np.full(len(values), np.inf)
    centers = values[:: max(1, len(values) // 6)].astype(np.float64)
    for center in centers:
        potential = sampler.add(center)
        closest = np.minimum(closest, reference.distances(values, center[None])[:, 0])
        np.testing.assert_allclose(potential, closest @ weights, rtol=1e-12)
    candidates = np.concatenate([values[:4].astype(np.float64) + 0.3, centers[:2]])
    np.testing.assert_allclose(
        sampler.potentials(candidates),
        reference.potentials(values, weights, closest, candidates),
        rtol=1e-12,
        atol=1e-9,
    )
    # Along the Z-order the running sum of weight times distance reaches the threshold.
    order = points.cells.order
    masses = np.cumsum((weights * closest)[order])
    thresholds = np.array([0.02, 0.5, 0.99]) * potential
    rows = np.minimum(np.searchsorted(masses, thresholds), len(values) - 1)
    np.testing.assert_array_equal(sampler.draw(thresholds), values[order][rows])


def test_a_channel_of_hardly_any_span_beside_an_ordinary_one():
    rng = np.random.default_rng(0)
    values = np.unique(np.stack([rng.choice([0, 1e-310], 9000), rng.random(9000)], 1), axis=0)
    weights = np.ones(len(values))
    centers = values[:: len(values) // 5].copy()
    partials = CpuBackend().put(values, weights, repeated=True).accumulate(centers)
    expected = reference.accumulate(values, weights, centers)
    np.testing.assert_array_equal(partials.weights, expected.weights)
