"""Laws that every result keeps, by itself: checked in exact arithmetic, on random problems."""

import math
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import fastseg

POINTS = [("uint8", 3), ("uint8", 1), ("uint16", 1), ("float32", 3), ("float64", 2)]
# What a float64 sum of some hundred squares may be off by, as a share of it.
ROUNDING = 1e-12


def points_of(rng, most):
    """Points (n, d) of a random type, spread and number of distinct values."""
    dtype, d = POINTS[rng.integers(len(POINTS))]
    n = int(rng.integers(1, most))
    spread = int(rng.choice([2, 5, 50, 250]))
    points = rng.integers(0, spread, (n, d)) + int(rng.choice([0, 5]))
    if dtype.startswith("float"):
        return (rng.choice([1.0, 0.1, 1e-6]) * (points + rng.choice([0, 1]) * rng.random((n, d))
                + rng.choice([0.0, -1e3]))).astype(dtype)  # fmt: skip
    return points.astype(dtype)


def weights_of(rng, n):
    """None, or weights, of which some are zero and some are no integers."""
    kind = rng.integers(4)
    if kind < 2:
        return None
    weights = rng.integers(0, 4, n).astype(np.float64)
    weights[rng.integers(n)] += 1
    return weights * (0.3 if kind == 3 else 1.0)


def means(points, weights, labels, k):
    """Means of the points of each label, as fractions, and their weights."""
    sums = [[Fraction(0)] * points.shape[1] for _ in range(k)]
    totals = [Fraction(0)] * k
    for x, w, j in zip(points.tolist(), weights.tolist(), labels.tolist(), strict=True):
        w = Fraction(w)
        totals[j] += w
        sums[j] = [s + w * Fraction(value) for s, value in zip(sums[j], x, strict=True)]
    return [
        [s / t if t else None for s in row] for row, t in zip(sums, totals, strict=True)
    ], totals


def inertia(points, weights, labels, centers):
    """Weighted sum of squared distances, the exact one of these centres."""
    total = Fraction(0)
    table = [[Fraction(c) for c in row] for row in centers.tolist()]
    for x, w, j in zip(points.tolist(), weights.tolist(), labels.tolist(), strict=True):
        near = sum((Fraction(a) - c) ** 2 for a, c in zip(x, table[j], strict=True))
        total += Fraction(w) * near
    return total


def nearest(points, centers):
    """Index of the nearest centre by float64, the lowest of equals."""
    total = np.zeros((len(points), len(centers)))
    for f in range(points.shape[1]):
        total += (points[:, f, None].astype(np.float64) - centers[None, :, f]) ** 2
    return total.argmin(axis=1)


def check_descent(seen, slack):
    """Inertia of the iterations of each run never rises."""
    for before, after in pairwise(seen):
        if before[0] == after[0]:
            assert after[1] <= before[1] * (1 + ROUNDING) + slack, seen


def check_means(points, weights, labels, centers, exact):
    """Centres are the means of their points: correctly rounded where all sums are exact."""
    expected, totals = means(points, weights, labels, len(centers))
    size = float(np.abs(points.astype(np.float64)).max())
    for ours, theirs, total in zip(centers.tolist(), expected, totals, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            if total and exact:
                assert a == float(b)
            elif total:
                assert abs(Fraction(a) - b) <= ROUNDING * size


def is_exact(points, weights):
    whole = points.dtype.kind in "iu"
    return whole and (weights is None or bool((weights == np.rint(weights)).all()))


def check_rows(rng, most):
    """A fit of points by the estimator, from a random start, under random parameters."""
    points = points_of(rng, most)
    n = len(points)
    weights = weights_of(rng, n)
    k = int(rng.integers(1, min(n, 9) + 1))
    init = ["k-means++", "random", points[rng.choice(n, k, replace=False)]][rng.integers(3)]
    if isinstance(init, str) and init == "random" and weights is not None:
        init = "k-means++"
    max_iter, tol = int(rng.choice([1, 2, 1000])), float(rng.choice([0.0, 0.0, 1e-3]))
    seen = []

    def follow(stage, done, total, info):
        if stage == "iterations" and info["inertia"] is not None:
            seen.append((info["run"], info["inertia"]))

    how = {"init": init, "max_iter": max_iter, "tol": tol, "random_state": int(rng.integers(2**31))}
    how |= {"n_init": 1 if not isinstance(init, str) else int(rng.integers(1, 4))}
    centers, labels, ours, n_iter = fastseg.k_means(
        points, k, sample_weight=weights, callback=follow, return_n_iter=True, **how
    )
    fitted = fastseg.KMeans(k, **how).fit(points, sample_weight=weights)
    np.testing.assert_array_equal(fitted.labels_, labels)
    np.testing.assert_array_equal(fitted.cluster_centers_, centers)
    np.testing.assert_array_equal(fitted.predict(points), labels)
    np.testing.assert_array_equal(labels, nearest(points, centers))
    plain = np.ones(n) if weights is None else weights
    exact = inertia(points, plain, labels, centers)
    # The mean of equal points may be another number than theirs, by half its last bit.
    slack = float(plain @ (points.astype(np.float64) ** 2).sum(axis=1)) * n * 2.0**-104
    check_descent(seen, slack)
    assert abs(Fraction(ours) - exact) <= Fraction(ROUNDING) * exact + Fraction(slack)
    assert math.isclose(-fitted.score(points, sample_weight=weights), ours, rel_tol=ROUNDING)
    # Stopped before, they are the means of the labels of the iteration before.
    if tol == 0.0 and n_iter < max_iter:
        check_means(points, plain, labels, centers, is_exact(points, weights))


def check_image(rng, most):
    """A segmentation by any method, and its model."""
    points = points_of(rng, most)
    d = points.shape[1]
    n_distinct = len(np.unique(points, axis=0))
    k = int(rng.integers(1, min(n_distinct, 9) + 1))
    methods = ["lloyd", "ward"] + ["optimal"] * (d == 1)
    method = methods[rng.integers(len(methods))]
    image = points.reshape(1, len(points), d)
    how = {"tol": 0.0, "max_iter": 1000} if method == "lloyd" else {}
    found = fastseg.segment(
        image, k, channel_axis=-1, method=method, random_state=int(rng.integers(2**31)), **how
    )
    labels = found.labels.reshape(-1)
    np.testing.assert_array_equal(np.bincount(labels, minlength=k), found.counts)
    if method != "ward":  # whose clusters are not all nearest to their means
        np.testing.assert_array_equal(found.predict(image), found.labels)
        np.testing.assert_array_equal(labels, nearest(points, found.centers))
    shares = np.array([0.2126, 0.7152, 0.0722]) if d == 3 else np.full(d, 1 / d)
    assert (np.diff((found.centers * shares).sum(axis=1)) >= 0).all()
    exact = inertia(points, np.ones(len(points)), labels, found.centers)
    assert abs(Fraction(found.inertia) - exact) <= Fraction(ROUNDING) * exact
    check_means(points, np.ones(len(points)), labels, found.centers, is_exact(points, None))


@pytest.mark.parametrize("check", [check_rows, check_image])
def test_random_problems(check, times, figure):
    n = times(150, 5_000)
    with warnings.catch_warnings():
        # Of few distinct points, and of few iterations.
        warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
        for seed in range(n):
            try:
                check(np.random.default_rng(seed), 60)
            except AssertionError as error:
                raise AssertionError(f"problem {seed}: {error}") from error
    what = {check_rows: "fits of points", check_image: "segmentations, by all methods"}[check]
    figure(
        f"random {what}, against exact fractions",
        f"{n:,}: labels are predict's and the nearest centres', inertia is its definition, never"
        " rises, centres are the means of their pixels",
    )
