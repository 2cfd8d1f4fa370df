"""Colour spaces: right, the way back, and segmentation in them at the cost of RGB."""

import numpy as np
import pytest
from skimage.color import rgb2lab
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

import fastseg
from fastseg.color import ColorSpace, color_space

SPACES = ["lab", "oklab", "linear"]


@pytest.fixture(scope="module")
def china():
    return load_sample_image("china.jpg")


@pytest.fixture
def colors():
    corners = np.stack(np.meshgrid(*[[0, 1, 10, 11, 128, 255]] * 3), axis=-1).reshape(-1, 3)
    return corners.astype(np.uint8)


def test_lab_is_scikit_images(colors):
    np.testing.assert_allclose(
        ColorSpace("lab", 255.0).forward(colors), rgb2lab(colors), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    ("xyz", "oklab"),
    [  # the table of B. Ottosson, "A perceptual color space for image processing", 2020
        ([0.950, 1.000, 1.089], [1.000, 0.000, 0.000]),
        ([1.000, 0.000, 0.000], [0.450, 1.236, -0.019]),
        ([0.000, 1.000, 0.000], [0.922, -0.671, 0.263]),
        ([0.000, 0.000, 1.000], [0.153, -1.415, -0.449]),
    ],
)
def test_oklab_has_its_published_values(xyz, oklab):
    from fastseg.color import _XYZ

    linear = np.linalg.solve(_XYZ, np.array([xyz]).T).T
    encoded = ColorSpace("linear").backward(linear)
    np.testing.assert_allclose(ColorSpace("oklab")._forward(encoded), [oklab], atol=2e-3)


@pytest.mark.parametrize("name", ["rgb", *SPACES])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_way_back(colors, name, dtype):
    full = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    given = (colors.astype(float) * full).astype(dtype)
    space = color_space(name, np.dtype(dtype), 3)
    there = space.forward(given)
    np.testing.assert_allclose(space.backward(there), given, rtol=1e-6, atol=1e-6 * 255 * full)


@pytest.mark.parametrize("name", SPACES)
def test_segmentation_is_k_means_in_the_space(china, name):
    small = china[::4, ::4]
    pixels = color_space(name, small.dtype, 3).forward(small.reshape(-1, 3))
    start = small[[3, 50, 80, 100], [5, 70, 20, 130]].astype(float)
    result = fastseg.segment(small, 4, color_space=name, init=start)
    expected = KMeans(4, init=color_space(name, small.dtype, 3).forward(start), n_init=1)
    expected.fit(pixels)
    assert result.n_iter == expected.n_iter_
    np.testing.assert_allclose(result.inertia, expected.inertia_, rtol=1e-9)
    for label in range(4):
        members = result.labels.ravel() == label
        assert len(set(expected.labels_[members])) == 1
        theirs = expected.cluster_centers_[expected.labels_[members][0]]
        np.testing.assert_allclose(result.space_centers[label], theirs, rtol=1e-9, atol=1e-12)
        # In image units a centre is the mean colour of its pixels.
        mean = small.reshape(-1, 3)[members].mean(axis=0)
        np.testing.assert_allclose(result.centers[label], mean, rtol=1e-12)
    np.testing.assert_allclose(result.init_centers, start, rtol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_a_model_predicts_in_its_space(china, name, tmp_path):
    result = fastseg.segment(china, 5, color_space=name, random_state=0)
    np.testing.assert_array_equal(result.predict(china), result.labels)
    result.save(tmp_path / "model.json")
    model = fastseg.load_model(tmp_path / "model.json")
    assert model.color_space == name
    np.testing.assert_array_equal(model.predict(china[:50]), result.labels[:50])
    luminance = result.centers @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


@pytest.mark.parametrize(
    ("dtype", "channels"), [("int16", 3), ("uint8", 4), ("uint8", 1), ("int32", 3)]
)
def test_what_is_no_srgb_picture_is_refused(dtype, channels):
    image = np.arange(4 * channels).reshape(2, 2, channels).astype(dtype)
    with pytest.raises(ValueError, match="color_space='lab' needs"):
        fastseg.segment(image, 2, color_space="lab")


@pytest.mark.parametrize("high", [255.0, -0.5])
def test_floats_beyond_full_intensity_are_refused(high):
    image = np.linspace(0, high, 300, dtype=np.float32).reshape(10, 10, 3)
    with pytest.raises(ValueError, match="from 0 to 1, but there are values from"):
        fastseg.segment(image, 2, color_space="oklab")
