"""Points whose nearest centre cannot have changed are passed over, and nothing else changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseg.kernels import reference
from fastseg.kernels.cpu import CpuBackend, bounded, points
from fastseg.kernels.cpu.bounded import MIN_BOUNDED

D = 17


PAY = bounded.Bounds.pay


@pytest.fixture(autouse=True)
def bounds_whether_they_pay_or_not(monkeypatch):
    monkeypatch.setattr(points, "_MIN_BOUNDED_WORK", 0)
    monkeypatch.setattr(bounded.Bounds, "pay", lambda self, centers: True)


def blobs(seed, n=3001, k=MIN_BOUNDED, spread=0.1, dtype=np.float32):
    """Points about k centres, and k of them to start from."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(k, D))
    values = (middles[rng.integers(0, k, n)] + spread * rng.normal(size=(n, D))).astype(dtype)
    return values, values[rng.choice(n, k, replace=False)].astype(np.float64)


def put(values, weights=None, n_threads=2):
    return CpuBackend().put(values, weights, n_threads=n_threads)


def step(centers, partials):
    held = partials.weights[:, None]
    return np.where(held > 0, partials.sums / np.where(held > 0, held, 1.0), centers)


def check(resident, values, weights, centers):
    """The same bits as a pass of fresh points, and the labels of the definition."""
    partials = resident.accumulate(centers)
    fresh = put(values, weights).accumulate(centers)
    np.testing.assert_array_equal(partials.sums, fresh.sums)
    np.testing.assert_array_equal(partials.weights, fresh.weights)
    np.testing.assert_allclose(partials.inertia, fresh.inertia, rtol=1e-11)
    nearest = reference.distances(values, centers).argmin(axis=1)
    np.testing.assert_array_equal(resident.assign(centers), nearest)
    return partials


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0])
def test_every_iteration_is_that_of_fresh_points(spread, weighted):
    values, centers = blobs(0, spread=spread)
    weights = np.random.default_rng(1).random(len(values)) if weighted else None
    resident = put(values, weights)
    for _ in range(8):
        centers = step(centers, check(resident, values, weights, centers))


def test_points_are_passed_over(monkeypatch):
    values, centers = blobs(2, spread=0.01)
    resident = put(values)
    for _ in range(6):
        centers = step(centers, resident.accumulate(centers))
    # What the bounds allow is kept, be it wrong: so nobody looked at these points.
    resident.bounds.labels[:] = (resident.bounds.labels + 1) % MIN_BOUNDED
    wrong = resident.accumulate(centers)
    assert not np.array_equal(wrong.sums, put(values).accumulate(centers).sums)


def test_passes_are_plain_while_bounds_would_spare_few(monkeypatch):
    monkeypatch.setattr(bounded.Bounds, "pay", PAY)
    values, centers = blobs(9, n=2000, spread=3.0)
    resident = put(values)
    kept = resident.accumulate(centers)
    bounds = resident.bounds
    for far in (0.5, 1.0):  # so far that no bound says whose a point is
        check(resident, values, None, centers + far)
        assert resident.bounds.upper is bounds.upper
        np.testing.assert_array_equal(resident.bounds.centers, centers)
    check(resident, values, None, centers + 1.0)  # they stand still now
    np.testing.assert_array_equal(resident.bounds.centers, centers + 1.0)
    again = check(resident, values, None, centers)
    np.testing.assert_array_equal(again.sums, kept.sums)


@given(st.integers(0, 2**32), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_centers_that_jump_swap_and_come_back(seed, ties):
    values, centers = blobs(seed, n=700)
    rng = np.random.default_rng(seed)
    resident = put(values)
    for centers_now in (
        centers,
        centers[::-1].copy(),
        centers + rng.normal(size=centers.shape) * 10.0 ** rng.integers(-9, 2),
        np.repeat(centers[:1], len(centers), axis=0),
        centers,
        np.vstack([centers[: ties + 1], centers[: len(centers) - ties - 1]]),
    ):
        check(resident, values, None, centers_now)


def test_another_number_of_clusters():
    values, centers = blobs(3, k=MIN_BOUNDED + 40)
    resident = put(values)
    for k in (MIN_BOUNDED + 40, MIN_BOUNDED, 3, MIN_BOUNDED, MIN_BOUNDED + 1):
        check(resident, values, None, centers[:k])


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e18, 1e100])
def test_beyond_the_range_of_float32(scale):
    values, centers = blobs(4, n=500, dtype=np.float64)
    resident = put(values * scale)
    for _ in range(3):
        centers = step(centers, check(resident, values * scale, None, centers * scale)) / scale


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_other_types(dtype):
    values, centers = blobs(5, n=500, dtype=np.float64)
    values = (values * 20 + 128).clip(0, 255).astype(dtype)
    resident, centers = put(values), centers * 20 + 128
    for _ in range(4):
        centers = step(centers, check(resident, values, None, centers))


def test_an_interrupted_pass_leaves_nothing_behind():
    values, centers = blobs(6, n=5000)
    resident = put(values, n_threads=1)
    resident.accumulate(centers)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resident.accumulate(centers + 0.5, stop)
    check(resident, values, None, centers)


def test_any_number_of_threads_gives_the_same_bits():
    values, start = blobs(7, n=9000, spread=1.0)
    found = []
    for n_threads in (1, 2, 5):
        resident, centers = put(values, n_threads=n_threads), start
        for _ in range(5):
            centers = step(centers, resident.accumulate(centers))
        found.append(centers.tobytes())
    assert len(set(found)) == 1


def test_it_is_this_kernel_that_is_tested():
    assert points.MIN_BOUNDED is bounded.MIN_BOUNDED
    values, centers = blobs(8, n=100)
    resident = put(values)
    resident.accumulate(centers)
    assert resident.bounds is not None
