"""What is found in float32 is what float64 decides, however close it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseg.kernels import reference
from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cpu.lanes import ABREAST
from fastseg.kernels.cpu.many_features import nearest_of_group, scratch_for


def check(points, centers, weights=None):
    resident = CpuBackend().put(points, weights, n_threads=2)
    labels = resident.assign(centers)
    distances = reference.distances(points, centers)
    np.testing.assert_array_equal(labels, distances.argmin(axis=1))
    expected = reference.accumulate(points, weights, centers)
    partials = resident.accumulate(centers)
    scale = np.abs(points.astype(np.float64)).sum(axis=0) + 1e-300
    np.testing.assert_allclose(partials.sums / scale, expected.sums / scale, atol=1e-13)
    np.testing.assert_allclose(partials.weights, expected.weights, rtol=1e-13)
    # The first pass adds distances up, later ones need not.
    for inertia in (partials.inertia, resident.accumulate(centers).inertia):
        np.testing.assert_allclose(inertia, expected.inertia, rtol=1e-11)


@pytest.mark.parametrize(
    ("dtype", "d"),
    [
        *((dtype, 3) for dtype in ("uint8", "uint16", "int16", "float32", "float64")),
        *(("float32", d) for d in (1, 5, 8, 9, 15, 16, 33, 130)),
    ],
)
def test_every_type_and_number_of_features(dtype, d):
    rng = np.random.default_rng(d)
    for n, k in ((1, 1), (7, 3), (1023, 5), (1025, 33), (3001, 4)):
        points = (rng.random((n, d)) * 250).astype(dtype)
        check(points, rng.random((k, d)) * 250, rng.random(n) if n % 2 else None)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, -1e9])
@pytest.mark.parametrize("d", [1, 3, 7])
def test_far_from_the_origin(offset, d):
    rng = np.random.default_rng(1)
    points = rng.random((5000, d)) + offset
    check(points, rng.random((6, d)) + offset)


@pytest.mark.parametrize("apart", [1e-3, 1e-7, 1e-12, 0.0])
def test_centres_closer_than_float32_tells(apart):
    """All points are doubtful, and some tie: the lowest index wins."""
    rng = np.random.default_rng(2)
    points = rng.random((4000, 3))
    center = rng.random(3)
    check(points, np.stack([center, center + apart, center, center - apart]))


def test_a_few_points_on_the_border():
    """Single points of a tile are doubtful, and are decided one by one."""
    rng = np.random.default_rng(3)
    points = rng.random((20_000, 2))
    points[::997, 0] = 0.5 + rng.normal(0.0, 1e-14, len(points[::997]))
    check(points, np.array([[0.25, 0.5], [0.75, 0.5]]))


@pytest.mark.parametrize("scale", [1e-42, 1e-25, 1e18, 1e30, 1e60])
def test_beyond_the_range_of_float32(scale):
    rng = np.random.default_rng(4)
    points = (rng.random((3000, 3)) - 0.5) * scale
    check(points, (rng.random((9, 3)) - 0.5) * scale)


def test_one_feature_a_million_times_the_others():
    rng = np.random.default_rng(5)
    points = rng.random((5000, 3)) * [1e6, 1.0, 1e-3]
    check(points, points[:7] + np.array([0.0, 0.1, 0.0]))


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 3, 5, 7]),
    st.integers(1, 40),
    st.integers(-3, 12),
)
@settings(max_examples=40, deadline=None)
def test_points_on_a_lattice(seed, d, k, power):
    """Ties everywhere, at all scales."""
    rng = np.random.default_rng(seed)
    points = rng.integers(-8, 9, (1500, d)) * 10.0**power
    check(points, rng.integers(-4, 5, (k, d)) * 2 * 10.0**power)


FAR = [
    ("float64", [0.0, 1e9], [[1, 5], [0, 5]]),
    ("float32", [0.0, 1e9], [[1, 5], [0, 5]]),
    ("float64", [1e17], [[0], [1]]),
    ("float32", [1e17], [[0], [1]]),
    ("uint16", [65535], [[1000], [1000 + 1e-12]]),
    ("uint16", [0, 65535], [[1e-7, 5], [0, 5]]),
    ("float64", [0.0] + [1e9] * 15, [[1] + [5] * 15, [0] + [5] * 15]),
    ("float64", [0.0] + [1e30] * 15, [[1] + [5] * 15, [0] + [5] * 15]),
    ("float32", [0.0] + [3e38] * 15, [[1] + [5] * 15, [0] + [5] * 15]),
]


@pytest.mark.parametrize(("dtype", "point", "centers"), FAR)
@pytest.mark.parametrize("more", [0, 98])
def test_far_from_all_centers_float64_rounds_too(dtype, point, centers, more):
    """Equal points have the label of float64's distances, which tie there."""
    points = np.tile(np.array(point, dtype), (40, 1))
    others = np.repeat([[7.0] * len(point)], more, axis=0) + np.arange(more)[:, None]
    centers = np.vstack([np.array(centers, np.float64), others])
    resident = CpuBackend().put(points, n_threads=1)
    expected = reference.distances(points, centers).argmin(axis=1)
    resident.accumulate(centers)
    np.testing.assert_array_equal(resident.assign(centers), expected)
    np.testing.assert_array_equal(CpuBackend().put(points).assign(centers), expected)


@pytest.mark.parametrize("d", [2, 7, 13, 17])
def test_a_sentinel_in_a_band_that_centers_hardly_differ_in(d):
    rng = np.random.default_rng(8)
    points, centers = rng.random((3000, d)), rng.random((8, d))
    centers[:, 0] = 0.5
    for sentinel in (-9999.0, -1e10, -1e12, -1e15, -3.4e38):
        points[:, 0] = sentinel
        labels = CpuBackend().put(points, n_threads=2).assign(centers)
        expected = reference.distances(points, centers).argmin(axis=1)
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 3, 20])
@pytest.mark.parametrize("missing", [0.0, -9999.0, 1e15, -1e18, -3.4028234663852886e38])
def test_a_centre_of_missing_data(dtype, d, missing, monkeypatch):
    rng = np.random.default_rng(9)
    points = (1e4 + rng.random((4000, d))).astype(dtype)
    points[::5] = missing
    points[::7] = points[1::7][: len(points[::7])]
    centers = np.concatenate([1e4 + rng.random((6, d)), [[missing] * d]])
    for order in (centers, centers[::-1].copy(), centers[-2:]):
        check(points, order)
    monkeypatch.setattr("fastseg.kernels.cpu.points._MIN_BOUNDED_WORK", 0)
    monkeypatch.setattr("fastseg.kernels.cpu.bounded.Bounds.pay", lambda self, centers: True)
    bounded = CpuBackend().put(points, n_threads=2)
    for factor in (1.0, 0.5, 1e-3, 1e-20):
        moved = np.concatenate([np.repeat(centers[:-1], 12, axis=0), centers[-1:] * factor])
        moved[:-1] += rng.random((72, d)) / 50
        expected = reference.accumulate(points, None, moved)
        np.testing.assert_array_equal(bounded.accumulate(moved).weights, expected.weights)


@pytest.mark.parametrize("missing", [-9999.0, -3.4028234663852886e38])
def test_a_far_centre_leaves_no_other_one_in_doubt(missing):
    """Else float64 would decide all points, which takes many times as long."""
    rng = np.random.default_rng(10)
    points = rng.random((1600, 20), np.float32)
    centers = np.concatenate([rng.random((7, 20)), [[missing] * 20]])
    scratch, nearest = scratch_for(centers), np.empty(ABREAST, np.uint32)
    n_doubtful = 0
    for first in range(0, len(points), ABREAST):
        nearest_of_group(points.reshape(-1), first, ABREAST, centers, scratch, nearest)
        n_doubtful += scratch[2].sum()
    assert n_doubtful < 16


@pytest.mark.parametrize("n_clusters", [2, 33])
@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-6, 0.0])
def test_inertia_is_its_definition_however_little_is_left(n_clusters, spread):
    rng = np.random.default_rng(6)
    centers = rng.random((n_clusters, 3)) * 1000
    points = centers[rng.integers(0, n_clusters, 20_000)] + rng.normal(0, spread, (20_000, 3))
    check(points, centers)


@pytest.mark.parametrize("away", [0.0, 1e3, 1e8, 1e160])
@pytest.mark.parametrize("weighted", [False, True])
def test_inertia_is_its_definition_after_any_first_pass(away, weighted):
    rng = np.random.default_rng(7)
    points = rng.random((20_000, 3))
    weights = rng.random(20_000) if weighted else None
    resident = CpuBackend().put(points, weights, n_threads=2)
    resident.accumulate(rng.random((4, 3)) + away)
    for centers in (rng.random((5, 3)), rng.random((1, 3)), rng.random((5, 3))):
        expected = reference.accumulate(points, weights, centers).inertia
        np.testing.assert_allclose(resident.accumulate(centers).inertia, expected, rtol=1e-11)
