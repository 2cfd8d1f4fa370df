"""The optimum on one channel against all partitions, and sorted points against plain ones."""

import math
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from fastseg.kernels.cpu.backend import CpuPoints
from fastseg.kernels.cpu.sorted_points import STEP, SortedPoints
from fastseg.optimal_1d import optimal_1d
from fastseg.progress import Progress, Stopped
from fastseg.solver import lloyd


def cost(values, weights):
    """Exact weighted sum of squared distances to the mean."""
    w = sum(weights)
    s = sum(a * b for a, b in zip(values, weights, strict=True))
    return sum(a * b * b for a, b in zip(weights, values, strict=True)) - s * s / w


def exact(values, weights, starts):
    """Exact inertia and means of a partition."""
    values, weights = [[Fraction(float(x)) for x in v] for v in (values, weights)]
    parts = [slice(a, b) for a, b in pairwise([*map(int, starts), len(values)])]
    means = [
        sum(a * b for a, b in zip(values[p], weights[p], strict=True)) / sum(weights[p])
        for p in parts
    ]
    return sum(cost(values[p], weights[p]) for p in parts), means


def brute_force(values, weights, k):
    m = len(values)
    return min(exact(values, weights, (0, *inner))[0] for inner in combinations(range(1, m), k - 1))


def check_partition(optimum, k, best):
    """Starts, centres and inertia agree with each other and with the least inertia."""
    inertia, means = exact(optimum.values, optimum.weights, optimum.starts(k))
    assert float(inertia) == pytest.approx(float(best), rel=1e-12)
    assert optimum.inertia(k) == pytest.approx(float(inertia), rel=1e-12)
    assert optimum.centers(k).tolist() == pytest.approx([float(m) for m in means], rel=1e-15)


NUMBERS = st.one_of(
    st.integers(-20, 20),
    st.integers(0, 65535),
    st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6),
)
WEIGHTS = st.one_of(st.integers(1, 4), st.integers(1, 10**10), st.floats(0.01, 100))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_brute_force(data):
    values = sorted(set(data.draw(st.lists(NUMBERS, min_size=1, max_size=7))))
    weights = data.draw(st.lists(WEIGHTS, min_size=len(values), max_size=len(values)))
    optimum = optimal_1d(values, weights, len(values))
    for k in range(1, len(values) + 1):
        check_partition(optimum, k, brute_force(values, weights, k))
    assert optimum.inertia(len(values)) == 0
    assert optimum.centers(len(values)).tolist() == list(values)


def dynamic_programme(values, weights, k):
    """Least inertia for each number of clusters, in rational arithmetic."""
    values, weights = [[Fraction(float(x)) for x in v] for v in (values, weights)]
    sums = [(Fraction(0),) * 3]
    for x, w in zip(values, weights, strict=True):
        sums.append(tuple(a + b for a, b in zip(sums[-1], (w, w * x, w * x * x), strict=True)))

    def part(i, j):
        w, s, q = (b - a for a, b in zip(sums[i], sums[j], strict=True))
        return q - s * s / w

    m = len(values)
    costs = {(i, j): part(i, j) for j in range(1, m + 1) for i in range(j)}
    layer = [None, *(costs[0, j] for j in range(1, m + 1))]
    best = [layer[m]]
    for c in range(2, k + 1):
        layer = [
            min((layer[i] + costs[i, j] for i in range(c - 1, j)), default=None)
            for j in range(m + 1)
        ]
        best.append(layer[m])
    return best


@pytest.mark.parametrize("kind", ["uint16", "counts", "int16", "float64", "offset", "groups"])
def test_dynamic_programme(kind):
    rng = np.random.default_rng(3)
    values, weights = np.sort(rng.choice(65536, 70, replace=False)), rng.integers(1, 50, 70)
    if kind == "counts":
        weights = rng.integers(1, 3 * 10**9, 70)
    elif kind == "int16":
        values = (values - 32768).astype(np.int16)
    elif kind == "float64":
        values, weights = np.sort(rng.normal(size=70)), rng.random(70) + 0.01
    elif kind == "offset":
        values = np.sort(rng.random(70) * 100 + 1e5)
    elif kind == "groups":
        # Inertia 1e-22 of the variance: float64 would see no difference at all.
        values = np.sort(np.repeat([0, 7e4, 1e5], 24)[:70] + rng.random(70) * 1e-6)
    optimum = optimal_1d(values, weights, 6)
    for k, best in enumerate(dynamic_programme(values, weights, 6), 1):
        check_partition(optimum, k, best)


@pytest.mark.parametrize("m", [100, 5000])
def test_never_above_lloyd(m):
    rng = np.random.default_rng(m)
    values = np.unique(rng.choice([0.0, 40, 90], m) + rng.normal(0, 12, m))
    weights = rng.integers(1, 30, len(values)).astype(float)
    points = CpuPoints(values[:, None], weights, False, 1)
    optimum = optimal_1d(values, weights, 6)
    for k in (2, 4, 6):
        starts = [rng.choice(values, k, replace=False)[:, None] for _ in range(30)]
        starts.append(optimum.centers(k)[:, None])
        best = min(lloyd(points, start).inertia for start in starts)
        # The optimum is a fixed point of Lloyd's iterations, and none ends below it.
        assert optimum.inertia(k) == pytest.approx(best, rel=1e-9)


def test_never_above_scikit_learn():
    values = np.sort(np.random.default_rng(0).gamma(2, 30, 200))
    optimum = optimal_1d(values, None, 5)
    model = KMeans(5, n_init=20, random_state=0, tol=0).fit(values[:, None])
    assert optimum.inertia(5) == pytest.approx(model.inertia_, rel=1e-9)


@pytest.mark.parametrize("m", [2047, 2048, 2049, 8191, 8193, 40_000])
def test_two_clusters_of_many(m):
    """Sizes on both sides of one block and of threads, against every single split."""
    rng = np.random.default_rng(m)
    values = np.sort(rng.choice(10 * m, m, replace=False))
    weights = rng.integers(1, 1000, m)
    w, s = np.cumsum(weights), np.cumsum(weights * (values - 5 * m))
    gain = s[:-1] / w[:-1] * s[:-1] + (s[-1] - s[:-1]) / (w[-1] - w[:-1]) * (s[-1] - s[:-1])
    optimum = optimal_1d(values, weights, 3)
    assert abs(optimum.starts(2)[1] - 1 - np.argmax(gain)) <= 1
    # No start of the three-cluster optimum can move on its own.
    starts = optimum.starts(3)
    first = optimal_1d(values[: starts[2]], weights[: starts[2]], 2)
    last = optimal_1d(values[starts[1] :], weights[starts[1] :], 2)
    assert first.starts(2)[1] == starts[1]
    assert last.starts(2)[1] + starts[1] == starts[2]


@pytest.mark.parametrize("m", [300, 9000, 140_000])
def test_threads_change_nothing(m):
    values = np.sort(np.random.default_rng(0).normal(size=m))
    one, *others = (optimal_1d(values, None, 4, n_threads=n) for n in (1, 2, 3))
    for other in others:
        for k in range(1, 5):
            assert one.starts(k).tobytes() == other.starts(k).tobytes()
            assert one.centers(k).tobytes() == other.centers(k).tobytes()
            assert one.inertia(k) == other.inertia(k)


@pytest.mark.parametrize("total", [2_200_000_000, 10**11])
@pytest.mark.parametrize("values", [[0, 65535], [17, 60001], [65534, 65535], [0, 3, 65535]])
def test_huge_counts(values, total):
    weights = [total // 3 + i for i in range(len(values) - 1)]
    weights.append(total - sum(weights))
    optimum = optimal_1d(np.array(values, np.uint16), weights, len(values))
    assert optimum.centers(len(values)).tolist() == values
    assert optimum.inertia(len(values)) == 0.0
    for k in range(1, len(values)):
        inertia, means = exact(values, weights, optimum.starts(k))
        assert optimum.centers(k).tolist() == [float(mean) for mean in means]
        assert optimum.inertia(k) == pytest.approx(float(inertia), rel=1e-14)
        assert inertia == brute_force(values, weights, k)


def test_inertia_falls_with_k():
    rng = np.random.default_rng(1)
    values = np.arange(256)
    optimum = optimal_1d(values, rng.integers(1, 10**6, 256), 256)
    inertia = [optimum.inertia(k) for k in range(1, 257)]
    assert (np.diff(inertia) < 0).all()
    assert inertia[-1] == 0
    for k in (1, 2, 100, 256):
        assert optimum.starts(k)[0] == 0
        assert (np.diff(optimum.starts(k)) > 0).all()


def test_all_k_of_one_call_are_those_of_many():
    values = np.random.default_rng(2).normal(size=500)
    values.sort()
    together = optimal_1d(values, None, 9)
    for k in range(1, 10):
        assert np.array_equal(together.starts(k), optimal_1d(values, None, k).starts(k))


def test_equal_partitions():
    """The lowest start of the last cluster wins, then that of the one before."""
    assert optimal_1d([0, 1, 2], None, 2).starts(2).tolist() == [0, 1]
    assert optimal_1d([0, 1, 2, 3], None, 3).starts(3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("power", [-700, -100, 100, 600])
def test_scale_does_not_matter(power):
    rng = np.random.default_rng(5)
    values, weights = np.sort(rng.normal(size=200)), rng.random(200) + 0.01
    expected = optimal_1d(values, weights, 5)
    for scaled in (
        optimal_1d(np.ldexp(values, power), weights, 5),
        optimal_1d(values, np.ldexp(weights, power), 5),
    ):
        assert np.array_equal(scaled.starts(5), expected.starts(5))


@pytest.mark.parametrize(
    ("values", "weights", "k", "message"),
    [
        ([[1, 2]], None, 1, "values must have 1 dimension"),
        ([], None, 1, "values is empty"),
        ([2, 1], None, 1, "ascend"),
        ([1, 1], None, 1, "distinct"),
        ([1, np.nan], None, 1, "NaN"),
        ([-1.5e308, 1.5e308], None, 1, "span"),
        ([1, 2], [1], 1, "shape"),
        ([1, 2], [1, 0], 1, "positive"),
        ([1, 2], [1, np.inf], 1, "finite"),
        ([1, 2], None, 3, "max_clusters must be in 1..2"),
        ([1, 2], None, 0, "max_clusters must be in 1..2"),
        ([1, 2], None, True, "whole number"),
        ([1, 2], None, 1.0, "whole number"),
    ],
)
def test_bad_arguments(values, weights, k, message):
    with pytest.raises((ValueError, TypeError), match=message):
        optimal_1d(values, weights, k)


def test_bad_number_of_clusters():
    optimum = optimal_1d([1, 2], None, 1)
    for method in (optimum.starts, optimum.centers, optimum.inertia):
        with pytest.raises(ValueError, match=r"n_clusters must be in 1\.\.1"):
            method(2)


def test_progress_stops_it():
    calls = []

    def callback(*call):
        calls.append(call)
        return True

    progress = Progress(callback)
    progress.last = -math.inf
    with pytest.raises(Stopped):
        optimal_1d(np.arange(5000), None, 7, progress=progress)
    assert calls == [("optimal", 0, 7, {})]


def sorted_case(dtype, n, weighted, seed=0):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.normal(100, 40, n).clip(0, 200)).astype(dtype)[:, None]
    return values, rng.integers(1, 9, n).astype(float) if weighted else None


def assert_same_answers(values, weights, centers, repeated=False):
    fast, plain = (cls(values, weights, repeated, 2) for cls in (SortedPoints, CpuPoints))
    a, b = fast.accumulate(centers), plain.accumulate(centers)
    np.testing.assert_array_equal(a.weights, b.weights)
    if values.dtype.kind != "f":
        np.testing.assert_array_equal(a.sums, b.sums)
    np.testing.assert_allclose(a.sums, b.sums, rtol=1e-13)
    np.testing.assert_allclose(a.inertia, b.inertia, rtol=1e-9, atol=1e-20)
    np.testing.assert_array_equal(fast.assign(centers), plain.assign(centers))
    for size in (1, 3):
        x, y = fast.farthest(centers, size), plain.farthest(centers, size)
        for name in ("values", "weights", "labels", "distances"):
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_sorted_points(dtype, weighted):
    values, weights = sorted_case(dtype, 2000, weighted)
    rng = np.random.default_rng(1)
    for k in (1, 2, 7):
        centers = rng.choice(values[:, 0], k).astype(float)[:, None] + 0.25
        assert_same_answers(values, weights, centers, repeated=weighted)
        fast, plain = (
            lloyd(cls(values, weights, weighted, 2), centers) for cls in (SortedPoints, CpuPoints)
        )
        assert fast.n_iter == plain.n_iter
        np.testing.assert_allclose(fast.centers, plain.centers, rtol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=150),
    st.lists(st.integers(-8, 60).map(lambda x: x / 4), min_size=1, max_size=6),
    st.booleans(),
)
def test_sorted_points_with_ties(values, centers, weighted):
    """Centres in any order, repeated, empty, and midway between values."""
    values = np.sort(np.array(values, np.uint8))[:, None]
    weights = np.arange(1.0, len(values) + 1) if weighted else None
    assert_same_answers(values, weights, np.array(centers)[:, None])


def test_centers_too_close_to_tell_apart():
    values = np.array([[-1e8], [0.0], [1.0], [1e8]])
    assert_same_answers(values, None, np.array([[1e-12], [0.0], [2e-12]]))
    assert_same_answers(values * 1e200, None, np.array([[1.0], [0.0]]))


@pytest.mark.parametrize("n", [STEP - 1, STEP, STEP + 1, 3 * STEP])
def test_sums_of_sorted_floats(n):
    """Narrow groups far apart: plain prefix sums would lose the narrow group's digits."""
    rng = np.random.default_rng(n)
    values = np.sort(np.r_[rng.random(n - n // 2) * 1e-6, 1e5 + rng.random(n // 2) * 1e-6])
    weights = rng.random(n) + 0.5
    points = SortedPoints(values[:, None], weights, False, 1)
    part = points.accumulate(np.array([[1e5 + 5e-7], [5e-7]]))
    for label, chosen in ((0, values > 1), (1, values < 1)):
        expected = math.fsum(values[chosen] * weights[chosen])
        assert part.sums[label, 0] == pytest.approx(expected, rel=1e-15)
    centers = np.where(values > 1, 1e5 + 5e-7, 5e-7)
    inertia = math.fsum(weights * (values - centers) ** 2)
    assert part.inertia == pytest.approx(inertia, rel=1e-9)


def test_sorted_points_draw_like_others():
    values, weights = sorted_case("float32", 500, True)
    fast, plain = (cls(values, weights, False, 1).sampler() for cls in (SortedPoints, CpuPoints))
    assert fast.add(values[3].astype(float)) == plain.add(values[3].astype(float))
    np.testing.assert_array_equal(fast.draw(np.array([5.0])), plain.draw(np.array([5.0])))


@pytest.mark.parametrize("values", [[[2.0], [1.0]], [[1.0, 2.0]]])
def test_unsorted_points(values):
    with pytest.raises(ValueError, match="ascend"):
        SortedPoints(np.array(values), None, False, 1)


def test_sums_of_large_counts():
    values = np.array([[5], [65535]], np.uint16)
    weights = np.array([10.0**11, 10.0**11 + 1])
    part = SortedPoints(values, weights, True, 1).accumulate(np.array([[5.0], [65535.0]]))
    assert part.inertia == 0
    assert part.sums[:, 0].tolist() == [5e11, 65535 * (10.0**11 + 1)]
