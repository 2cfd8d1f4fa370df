"""Background, foreground, scaled values and the memory order of volumes."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

import fastseg
from fastseg.io.image import Geometry, Image, stored_value

RNG = np.random.default_rng(12)
# Air around a head of two tissues.
HEAD = np.where(
    np.hypot(*np.mgrid[-20:21, -15:16]) < 13, RNG.choice([90, 160], (41, 31)), 4
) + RNG.integers(-3, 4, (41, 31))
HEAD = HEAD.astype(np.uint8)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "uint16", "int16"]))
@settings(max_examples=40, deadline=None)
def test_the_foreground_is_what_otsu_finds(seed, dtype):
    rng = np.random.default_rng(seed)
    image = rng.choice([10, 30, 90, 120], (9, 13), p=[0.4, 0.2, 0.3, 0.1])
    image = (image + rng.integers(-9, 10, image.shape)).astype(dtype)
    result = fastseg.segment(image, 2, foreground="auto")
    bright = image > threshold_otsu(image)
    np.testing.assert_array_equal(result.labels > 0, bright)
    assert result.foreground == image[bright].min()
    assert result.n_left_out == (~bright).sum()


def test_the_foreground_is_that_of_the_pixels_that_take_part():
    mask = np.ones(HEAD.shape, bool)
    mask[:, :16] = False
    expected = fastseg.segment(HEAD[:, 16:], 2, foreground="auto")
    result = fastseg.segment(HEAD, 2, mask=mask, foreground="auto")
    assert result.foreground == expected.foreground
    np.testing.assert_array_equal(result.centers, expected.centers)
    np.testing.assert_array_equal(result.labels[:, 16:], expected.labels)
    assert not result.labels[:, :16].any()


def test_a_model_and_a_scan_leave_the_background_out_on_request():
    result = fastseg.segment(HEAD, 2, foreground="auto")
    np.testing.assert_array_equal(result.predict(HEAD, foreground="auto"), result.labels)
    assert set(np.unique(result.predict(HEAD))) == {1, 2}
    scan = fastseg.scan(HEAD, [2], foreground="auto")
    np.testing.assert_array_equal(scan.centers[2], result.centers)
    assert scan.n_pixels == result.counts.sum()


@pytest.mark.parametrize(
    ("image", "foreground", "words"),
    [
        (HEAD, "bright", "foreground must be 'auto' or None, got 'bright'"),
        (np.dstack([HEAD, HEAD]), "auto", "for one channel, but the image has 2"),
        (np.full((3, 3), 7, np.uint8), "auto", "all pixels equal 7"),
    ],
)
def test_a_foreground_that_cannot_be(image, foreground, words):
    with pytest.raises(ValueError, match=words):
        fastseg.segment(image, 2, foreground=foreground)


# Scaled values


@given(
    st.sampled_from([0.5, 2.0, 0.00392156862745098, 3.0]),
    st.sampled_from([0.0, -1024.0, 7.5]),
    st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_a_scale_is_a_change_of_units(slope, intercept, seed):
    stored = np.random.default_rng(seed).integers(-300, 300, (6, 7, 2)).astype(np.int16)
    image = Image(stored, None).scaled(slope, intercept)
    result = fastseg.segment(image, 3)
    meant = fastseg.segment(stored * slope + intercept, 3, channel_axis=None)
    np.testing.assert_array_equal(result.centers, meant.centers)
    np.testing.assert_array_equal(result.labels, meant.labels)
    assert result.inertia == meant.inertia
    np.testing.assert_array_equal(result.value_range, meant.value_range)
    np.testing.assert_array_equal(result.predict(image), result.labels)
    np.testing.assert_array_equal(meant.predict(image), meant.labels)


def test_nodata_is_meant_in_units():
    stored = np.arange(-5, 25, dtype=np.int16).reshape(5, 6)
    image = Image(stored, None).scaled(0.1, -1.0)
    result = fastseg.segment(image, 2, nodata=-1)
    np.testing.assert_array_equal(result.labels == 0, stored == 0)
    # No stored value stands for it.
    assert fastseg.segment(image, 2, nodata=-1.05).n_left_out == 0


def test_a_falling_scale_and_one_lost_beside_its_intercept_are_applied_at_once():
    stored = RNG.integers(0, 99, (5, 6)).astype(np.uint8)
    for slope, intercept in ((-2.0, 10.0), (1e-20, 1.0)):
        image = Image(stored, None).scaled(slope, intercept)
        assert image.scale is None
        np.testing.assert_array_equal(image.pixels, stored * slope + intercept)


@given(st.integers(-(2**15), 2**15 - 1), st.floats(1e-3, 1e3), st.floats(-1e4, 1e4))
def test_a_stored_value_is_found_again(value, slope, intercept):
    scale = (np.array([slope]), np.array([intercept]))
    assert stored_value(value * slope + intercept, scale, 0, np.dtype(np.int16)) == value


def test_each_channel_has_its_scale():
    stored = RNG.integers(0, 255, (8, 9, 2)).astype(np.uint8)
    image = Image(stored, 2, scale=(np.array([1.0, 100.0]), np.array([0.0, 5.0])))
    result = fastseg.segment(image, 3, random_state=0)
    meant = fastseg.segment(stored * [1.0, 100.0] + [0.0, 5.0], 3, random_state=0)
    np.testing.assert_array_equal(result.centers, meant.centers)
    np.testing.assert_array_equal(result.labels, meant.labels)


# Volumes


def test_a_medical_volume_keeps_label_0_for_its_background():
    image = Image(HEAD, None, geometry=Geometry(np.eye(4)))
    assert fastseg.segment(image, 3).labels.min() == 1
    assert fastseg.segment(image, 3, start_label=0).labels.min() == 0


@given(
    st.sampled_from([(2, 3, 5), (4, 7), (1, 6, 1), (3, 1, 4, 2)]),
    st.sampled_from(["uint8", "int16", "float32"]),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_order_in_memory_changes_nothing(shape, dtype, with_mask, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 30, shape).astype(dtype)
    if dtype == "float32":
        image[rng.random(shape) < 0.2] = np.nan
        image.flat[:2] = 0, 9
    mask = rng.random(shape) < 0.7 if with_mask else None
    if mask is not None:
        image.flat[:2], mask.flat[:2] = (0, 9), True
    how = {"mask": mask, "channel_axis": None, "nodata": 3}
    straight = fastseg.segment(image, 2, **how)
    turned = fastseg.segment(np.asfortranarray(image), 2, **how)
    np.testing.assert_array_equal(turned.labels, straight.labels)
    np.testing.assert_array_equal(turned.centers, straight.centers)
    assert turned.inertia == straight.inertia
    far = [fastseg.distance_map(x, straight, mask=mask, nodata=3)
           for x in (image, np.asfortranarray(image))]  # fmt: skip
    np.testing.assert_array_equal(*far)


def test_frames_are_channels_or_images_of_their_own(tmp_path):
    frames = RNG.integers(0, 200, (4, 5, 3, 2)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(frames, np.eye(4)), tmp_path / "a.nii")
    assert fastseg.segment(tmp_path / "a.nii", 3, random_state=0).labels.shape == (4, 5, 3)
    pooled = fastseg.segment(tmp_path / "a.nii", 3, channel_axis=None)
    assert pooled.labels.shape == (4, 5, 3, 2)
    np.testing.assert_array_equal(
        pooled.labels, fastseg.segment(frames, 3, channel_axis=None).labels + 1
    )
    long = RNG.integers(0, 200, (4, 5, 3, 17)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(long, np.eye(4)), tmp_path / "b.nii")
    assert fastseg.segment(tmp_path / "b.nii", 3).labels.shape == (4, 5, 3, 17)
