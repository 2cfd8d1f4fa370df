"""Classes with names, channels on one scale, and models on scans of another scale."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastseg

RNG = np.random.default_rng(4)
TISSUES = RNG.choice(3, (30, 40), p=[0.2, 0.5, 0.3])
T1 = (np.array([40, 90, 150])[TISSUES] + RNG.integers(-12, 13, TISSUES.shape)).astype(np.uint8)
NAMES = ("CSF", "GM", "WM")


def reloaded(model, tmp_path):
    model.save(tmp_path / "m.json", overwrite=True)
    return fastseg.load_model(tmp_path / "m.json")


# Names


def test_names_go_with_the_model_through_its_file(tmp_path):
    result = fastseg.segment(T1, 3, names=list(NAMES))
    assert result.names == NAMES
    assert reloaded(result, tmp_path).names == NAMES
    assert fastseg.segment(T1, 3).names is None


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        (["GM", "WM"], ValueError, r"2 names \(GM, WM\), but there are 3 clusters"),
        (["GM", "WM", "GM"], ValueError, "'GM' occurs twice"),
        (["GM", " ", "WM"], ValueError, "got ' '"),
        (["GM", "a\nb", "WM"], ValueError, r"got 'a\\nb'"),
        (["GM", 2, "WM"], TypeError, "names must hold str, got 2"),
        ("CSF", TypeError, "sequence of str in label order, got 'CSF'"),
    ],
)
def test_names_that_cannot_be(names, error, words):
    with pytest.raises(error, match=words):
        fastseg.segment(T1, 3, names=names)


# Standardized channels


def scales():
    """Two channels of which the second is worth more only by its units."""
    second = np.where(TISSUES == 1, 0, 1) + 0.1 * RNG.normal(size=TISSUES.shape)
    return np.stack([T1.astype(np.float64), second], axis=-1)


def test_standardized_channels_are_clustered_as_if_they_came_so(tmp_path):
    image = scales()
    moments = image.mean(axis=(0, 1)), image.std(axis=(0, 1))
    standard = (image - moments[0]) / moments[1]
    start = image[[0, 3, 9], [1, 5, 9]]
    result = fastseg.segment(image, 3, init=start, standardize=True, tol=0)
    plain = fastseg.segment(standard, 3, init=(start - moments[0]) / moments[1], tol=0)
    means = np.array([image[result.labels == label].mean(axis=0) for label in range(3)])
    np.testing.assert_allclose(result.centers, means)
    assert np.isclose(result.inertia, plain.inertia)
    order = np.argsort(result.space_centers[:, 0])
    theirs = np.argsort(plain.centers[:, 0])
    np.testing.assert_array_equal(result.counts[order], plain.counts[theirs])
    for model in (result, reloaded(result, tmp_path)):
        np.testing.assert_array_equal(model.predict(image), result.labels)


@given(st.floats(0.01, 1000), st.floats(-1e4, 1e4))
@settings(max_examples=25, deadline=None)
def test_units_do_not_matter_to_standardized_channels(slope, offset):
    image = scales()
    start = image[[0, 3, 9], [1, 5, 9]]
    other, other_start = image.copy(), start.copy()
    other[..., 1] = other[..., 1] * slope + offset
    other_start[:, 1] = other_start[:, 1] * slope + offset
    one = fastseg.segment(image, 3, init=start, standardize=True)
    two = fastseg.segment(other, 3, init=other_start, standardize=True)
    assert sorted(one.counts) == sorted(two.counts)


def test_a_constant_channel_says_nothing_and_scan_standardizes_too():
    image = np.dstack([T1, np.full_like(T1, 9)])
    result = fastseg.segment(image, 3, standardize=True, random_state=0)
    np.testing.assert_array_equal(result.centers[:, 1], 9)
    np.testing.assert_array_equal(result.labels, TISSUES)
    scan = fastseg.scan(image, [3], standardize=True, random_state=0)
    np.testing.assert_array_equal(scan.centers[3], result.centers)


def test_standardize_takes_channels_as_they_are():
    with pytest.raises(ValueError, match="not in color_space='lab'"):
        fastseg.segment(np.dstack([T1] * 3), 3, standardize=True, color_space="lab")
    with pytest.raises(TypeError, match="standardize must be True or False, got 1"):
        fastseg.segment(T1, 3, standardize=1)


# Matching


@given(st.floats(0.05, 50), st.floats(-500, 500))
@settings(max_examples=25, deadline=None)
def test_zscore_makes_up_for_another_slope_and_intercept(slope, intercept):
    result = fastseg.segment(T1, 3)
    other = T1 * slope + intercept
    np.testing.assert_array_equal(result.predict(other, match="zscore"), result.labels)


@given(st.lists(st.integers(1, 900), min_size=256, max_size=256))
@settings(max_examples=25, deadline=None)
def test_histogram_makes_up_for_any_rising_curve(steps):
    result = fastseg.segment(T1, 3)
    other = np.cumsum(steps)[T1].astype(np.float64)
    np.testing.assert_array_equal(result.predict(other, match="histogram"), result.labels)


def test_matching_is_off_unless_asked_for_and_stated(tmp_path):
    result = fastseg.segment(T1, 3)
    other = (T1.astype(np.uint16) * 9 + 100).astype(np.uint16)
    for model in (result, reloaded(result, tmp_path)):
        assert model.label(T1).match is None
        with pytest.raises(ValueError, match="the image is uint16"):
            model.predict(other)
        assert (model.predict(other, allow_dtype=True) == 2).all()
        for match in ("zscore", "histogram"):
            found = model.label(other, match=match)
            assert found.match == match
            np.testing.assert_array_equal(found.labels, TISSUES)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_channels_are_matched_one_by_one(tmp_path, dtype):
    noise = 0 if dtype == "uint8" else RNG.random((*T1.shape, 2))
    image = (np.stack([T1, 255 - T1], axis=-1) + noise).astype(dtype)
    result = fastseg.segment(image, 3, random_state=0, keep_profile=True)
    other = image * np.array([2.0, 30.0]) + np.array([7.0, -9.0])
    for model in (result, reloaded(result, tmp_path)):
        for match in ("zscore", "histogram"):
            found = model.predict(other, match=match)
            # Of values that hardly repeat, a thousand places are kept of the curve.
            assert (found == result.labels).mean() > (0.995 if dtype == "float32" else 0.9999)


def test_only_the_pixels_that_take_part_are_matched():
    result = fastseg.segment(T1, 3)
    padded = np.zeros((40, 50))
    padded[5:35, 5:45] = T1 * 3.0 + 1
    for match in ("zscore", "histogram"):
        labels = result.predict(padded, match=match, nodata=0)
        np.testing.assert_array_equal(labels[5:35, 5:45], result.labels + 1)


def test_what_cannot_be_matched():
    image = np.dstack([T1, T1])
    plain = fastseg.segment(image, 3, random_state=0)
    with pytest.raises(ValueError, match="keep_profile=True"):
        plain.predict(image, match="zscore")
    with pytest.raises(ValueError, match="match must be one of 'histogram', 'zscore' or None"):
        fastseg.segment(T1, 3).predict(T1, match="nyul")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("moments", [[1.0]]),
        ("moments", [[1.0, -2.0]]),
        ("values", [[3.0, 2.0]]),
        ("levels", [[0.5]]),
        ("levels", []),
    ],
)
def test_a_damaged_profile_is_refused(tmp_path, part, value):
    fastseg.segment(T1, 3).save(tmp_path / "m.json")
    fields = json.loads((tmp_path / "m.json").read_text())
    fields["profile"][part] = value
    (tmp_path / "m.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=r"damaged fastseg model: its (profile|moments)"):
        fastseg.load_model(tmp_path / "m.json")


# Distances


@given(st.integers(0, 999), st.sampled_from(["uint8", "int16", "float64"]), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_the_distance_is_that_to_the_own_and_nearest_centre(seed, dtype, n_channels):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 200, (6, 7, n_channels)).astype(dtype)
    model = fastseg.segment(image, 3, random_state=0)
    other = rng.integers(0, 200, (5, 9, n_channels)).astype(dtype)
    far = fastseg.distance_map(other, model)
    assert far.dtype == np.float32
    to_all = np.sqrt(((other[..., None, :] - model.centers) ** 2.0).sum(axis=-1))
    np.testing.assert_allclose(far, to_all.min(axis=-1), rtol=1e-6, atol=1e-6)


def test_distances_are_nan_where_pixels_are_left_out_and_in_the_space_of_the_model():
    image = np.dstack([T1, 255 - T1, T1 // 2])
    model = fastseg.segment(image, 3, color_space="lab", random_state=0)
    mask = TISSUES > 0
    far = fastseg.distance_map(image, model, mask=mask)
    np.testing.assert_array_equal(np.isnan(far), ~mask)
    own = model.space.forward(image.reshape(-1, 3)) - model.space_centers[model.labels.ravel()]
    expected = np.sqrt((own**2).sum(axis=1)).reshape(mask.shape)
    np.testing.assert_allclose(far[mask], expected[mask], rtol=1e-6)
    with pytest.raises(TypeError, match="load_model"):
        fastseg.distance_map(image, "m.json")


def test_matched_colours_stay_colours():
    """What matching takes beyond black or white is black or white in a colour space."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    result = fastseg.segment(image, 4, color_space="lab", random_state=0, keep_profile=True)
    darker = (image // 3).astype(np.uint8)
    labels = result.predict(darker, match="zscore")
    assert np.mean(labels == result.labels) > 0.95
