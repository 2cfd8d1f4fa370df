"""Which method runs, and that the optimum is one."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastseg
from fastseg import methods


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 200, (40, 50)).astype(np.uint8)


def test_one_channel_is_solved_outright(grey):
    result = fastseg.segment(grey, 4)
    assert (result.method, result.converged, result.n_iter) == ("optimal", True, 0)
    assert result.init_centers is None


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "lloyd"},
        {"init": "k-means++"},
        {"init": "random"},
        {"init": [10.0, 50.0, 90.0, 150.0]},
        {"n_init": 2},
        {"max_iter": 200},
        {"tol": 0},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_is_asked_of_lloyd_is_lloyds(grey, asked):
    assert fastseg.segment(grey, 4, **asked).method == "lloyd"
    if "method" not in asked:
        name = next(iter(asked))
        with pytest.raises(ValueError, match=f"{name}=.* has no meaning with method='optimal'"):
            fastseg.segment(grey, 4, method="optimal", **asked)


def test_the_default_start_reads_as_what_it_is():
    import inspect

    assert inspect.signature(fastseg.segment).parameters["init"].default == "k-means++"


def test_more_channels_are_not_solved_outright(grey):
    image = np.stack([grey, grey.T.reshape(grey.shape)], axis=-1)
    assert fastseg.segment(image, 3, random_state=0).method == "lloyd"
    with pytest.raises(ValueError, match="one channel, but the image has 2"):
        fastseg.segment(image, 3, method="optimal")


@given(st.integers(0, 2**31), st.integers(1, 6), st.sampled_from(["uint8", "int16", "float64"]))
@settings(max_examples=30, deadline=None)
def test_no_start_of_lloyds_does_better(seed, k, dtype):
    rng = np.random.default_rng(seed)
    image = (rng.gamma(1.0, 20.0, (12, 13)) - (50 if dtype == "int16" else 0)).astype(dtype)
    best = fastseg.segment(image, k).inertia
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
        others = [
            fastseg.segment(image, k, method="lloyd", random_state=s, tol=0).inertia
            for s in range(5)
        ]
    assert best <= min(others) * (1 + 1e-12) + 1e-9


def test_the_seed_does_not_matter_where_the_optimum_is_found(grey):
    results = [fastseg.segment(grey, 5, random_state=seed) for seed in (0, 1, None)]
    for result in results[1:]:
        np.testing.assert_array_equal(result.labels, results[0].labels)
        np.testing.assert_array_equal(result.centers, results[0].centers)


def test_floats_that_never_repeat_are_solved_too():
    image = np.random.default_rng(0).normal(0, 1, (300, 1000))
    result = fastseg.segment(image, 3)
    assert result.method == "optimal"
    expected = np.abs(image[..., None] - result.centers[:, 0]).argmin(axis=-1)
    np.testing.assert_array_equal(result.labels, expected)
    np.testing.assert_array_equal(result.predict(image), result.labels)


def test_too_many_values_for_the_optimum_go_to_lloyd(grey, monkeypatch):
    n_distinct = len(np.unique(grey))
    for work, method in [(4 * n_distinct, "optimal"), (4 * n_distinct - 1, "lloyd")]:
        monkeypatch.setattr(methods, "_MAX_AUTO_WORK", work)
        assert fastseg.segment(grey, 4, random_state=0).method == method
    assert fastseg.segment(grey, 4, method="optimal").method == "optimal"


def test_two_values_of_billions_of_pixels_are_their_own_centres():
    """By counts: the sum of squares passes 2**63."""
    from fastseg.kernels.cpu import CpuBackend
    from fastseg.progress import Progress

    values = np.array([[200], [65_535]], np.uint16)
    weights = np.array([2.0**31 + 5, 2.2e9])
    for method in ("optimal", "lloyd"):
        found = methods.find_clusters(
            method,
            values,
            weights,
            2,
            init=np.array([[0.0], [40_000.0]]),
            n_init=1,
            max_iter=300,
            tol=1e-4,
            random_state=0,
            backend=CpuBackend(),
            n_threads=2,
            progress=Progress(),
        )
        assert sorted(found.centers.ravel().tolist()) == [200.0, 65_535.0]
