"""segment(): grids, channels, left-out pixels, label order, parameters, progress."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

import fastseg
from fastseg.color import label_order

GREY = np.array([[0, 0, 100], [200, 100, 0]], np.uint8)


@pytest.fixture(scope="module")
def china():
    return load_sample_image("china.jpg")


def test_a_picture_is_labelled_on_its_grid(china):
    result = fastseg.segment(china, 8, random_state=0)
    assert result.labels.shape == china.shape[:2]
    assert result.labels.dtype == np.uint8
    assert result.centers.shape == (8, 3)
    assert result.centers.dtype == np.float64
    assert result.counts.dtype == np.int64
    np.testing.assert_array_equal(result.counts, np.bincount(result.labels.ravel()))
    assert result.channel_axis == 2
    assert (result.method, result.backend, result.converged) == ("lloyd", "cpu", True)
    assert result.reason
    pixels = china.reshape(-1, 3).astype(float)
    distances = ((pixels[:, None] - result.centers) ** 2).sum(axis=2)
    np.testing.assert_allclose(result.inertia, distances.min(axis=1).sum(), rtol=1e-12)
    np.testing.assert_array_equal(result.labels.ravel(), distances.argmin(axis=1))


def test_centres_are_the_means_of_their_pixels(china):
    result = fastseg.segment(china, 5, random_state=0, tol=0)
    for label, center in enumerate(result.centers):
        np.testing.assert_allclose(china[result.labels == label].mean(axis=0), center, rtol=1e-12)


class TestChannelAxis:
    @pytest.mark.parametrize(
        ("shape", "axis", "found", "n_channels"),
        [
            ((6, 7), "auto", None, 1),
            ((6, 7, 3), "auto", 2, 3),
            ((6, 7, 16), "auto", 2, 16),
            ((6, 7, 17), "auto", None, 1),
            ((4, 6, 7, 2), "auto", 3, 2),
            ((6, 7, 3), None, None, 1),
            ((3, 6, 7), 0, 0, 3),
            ((6, 3, 7), -2, 1, 3),
            ((6, 7), 1, 1, 7),
        ],
    )
    def test_rule(self, shape, axis, found, n_channels):
        image = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
        result = fastseg.segment(image, 2, channel_axis=axis, random_state=0)
        assert result.channel_axis == found
        assert result.centers.shape == (2, n_channels)
        grid = shape if found is None else tuple(np.delete(shape, found))
        assert result.labels.shape == grid
        assert result.recolor().shape == shape

    def test_the_place_of_the_axis_does_not_matter(self, china):
        first = fastseg.segment(china, 4, random_state=0)
        moved = np.moveaxis(china, -1, 0)
        second = fastseg.segment(moved, 4, random_state=0, channel_axis=0)
        np.testing.assert_array_equal(first.labels, second.labels)
        np.testing.assert_array_equal(np.moveaxis(first.recolor(), -1, 0), second.recolor())

    @pytest.mark.parametrize("axis", [3, -4])
    def test_out_of_range(self, china, axis):
        with pytest.raises(ValueError, match=f"channel_axis={axis}"):
            fastseg.segment(china, 2, channel_axis=axis)

    @pytest.mark.parametrize("axis", ["last", 1.0, True])
    def test_wrong_type(self, china, axis):
        with pytest.raises(TypeError, match="channel_axis must be"):
            fastseg.segment(china, 2, channel_axis=axis)


class TestLeftOut:
    def test_nothing_can_be_left_out(self):
        result = fastseg.segment(GREY, 3)
        np.testing.assert_array_equal(result.labels, [[0, 0, 1], [2, 1, 0]])
        assert (result.start_label, result.n_left_out) == (0, 0)

    def test_outside_the_mask(self):
        mask = GREY < 200
        result = fastseg.segment(GREY, 2, mask=mask)
        np.testing.assert_array_equal(result.labels, [[1, 1, 2], [0, 2, 1]])
        assert result.centers.ravel().tolist() == [0, 100]
        assert (result.start_label, result.n_left_out) == (1, 1)
        assert result.counts.tolist() == [3, 2]

    def test_a_mask_that_keeps_all_still_starts_at_one(self):
        result = fastseg.segment(GREY, 3, mask=np.ones_like(GREY))
        np.testing.assert_array_equal(result.labels, [[1, 1, 2], [3, 2, 1]])

    def test_nodata_in_all_channels(self):
        image = np.array([[[0, 0], [0, 5]], [[9, 9], [0, 0]]], np.uint8)
        result = fastseg.segment(image, 2, nodata=0)
        np.testing.assert_array_equal(result.labels, [[0, 1], [2, 0]])

    def test_nan_in_any_channel(self):
        image = np.array([[[0, np.nan], [0, 5]], [[9, 9], [9, 9]]])
        result = fastseg.segment(image, 2)
        np.testing.assert_array_equal(result.labels, [[0, 1], [2, 2]])
        assert np.isnan(result.recolor()[0, 0]).all()

    def test_masked_arrays(self):
        result = fastseg.segment(np.ma.masked_equal(GREY, 100), 2)
        np.testing.assert_array_equal(result.labels, [[1, 1, 0], [2, 0, 1]])

    def test_infinity_behind_the_mask_does_no_harm(self):
        image = np.array([[0.0, np.inf], [1.0, 2.0]])
        result = fastseg.segment(image, 2, mask=np.isfinite(image))
        assert result.labels[0, 1] == 0

    def test_start_label_one_can_be_asked_for(self):
        result = fastseg.segment(GREY, 3, start_label=1)
        assert result.labels.min() == 1

    def test_start_label_zero_with_a_mask_that_keeps_all(self):
        result = fastseg.segment(GREY, 3, mask=np.ones_like(GREY), start_label=0)
        assert result.labels.min() == 0

    def test_start_label_zero_with_left_out_pixels_is_refused(self):
        with pytest.raises(ValueError, match=r"start_label=0.*1 pixels are left out"):
            fastseg.segment(GREY, 2, mask=GREY < 200, start_label=0)


def test_labels_ascend_in_luminance_and_ties_in_channel_values():
    centers = np.array([[0, 0, 255.0], [0, 255, 0], [255, 0, 0], [0, 0, 0]])
    assert label_order(centers).tolist() == [3, 0, 2, 1]
    assert label_order(np.array([[3.0, 1.0], [1.0, 3.0], [0.0, 0.0]])).tolist() == [2, 1, 0]
    assert label_order(np.array([[5.0], [-1.0]])).tolist() == [1, 0]


def test_label_type_grows_with_the_number_of_clusters():
    ramp = np.arange(70_000, dtype=np.float64).reshape(100, 700)
    init = np.arange(300.0)[:, None] * 200
    for start_label, k, dtype in [(0, 256, "uint8"), (1, 255, "uint8"), (1, 256, "uint16")]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
            result = fastseg.segment(ramp, k, init=init[:k], max_iter=1, start_label=start_label)
        assert result.labels.dtype == dtype
        assert result.labels.max() == k - 1 + start_label


@given(st.integers(0, 2**31), st.sampled_from(["uint8", "uint16", "int16", "float32"]))
@settings(max_examples=25, deadline=None)
def test_permuting_the_pixels_permutes_the_labels(seed, dtype):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (16, 17)).astype(dtype)
    order = rng.permutation(image.size)
    shuffled = image.ravel()[order].reshape(image.shape)
    a = fastseg.segment(image, 4, random_state=1)
    b = fastseg.segment(shuffled, 4, random_state=1)
    np.testing.assert_array_equal(a.labels.ravel()[order], b.labels.ravel())
    np.testing.assert_array_equal(a.centers, b.centers)


@given(st.integers(0, 2**31), st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_repeating_every_pixel_changes_nothing(seed, times):
    image = np.random.default_rng(seed).integers(0, 90, (15, 13, 3)).astype(np.uint8)
    a = fastseg.segment(image, 3, random_state=1)
    b = fastseg.segment(np.repeat(image, times, axis=0), 3, random_state=1)
    np.testing.assert_array_equal(np.repeat(a.labels, times, axis=0), b.labels)
    np.testing.assert_array_equal(a.centers, b.centers)


def test_pixels_that_are_not_summarized_give_the_same_answer(china, monkeypatch):
    start = china[:2, :4].reshape(-1, 3).astype(float)
    a = fastseg.segment(china, 8, init=start)
    monkeypatch.setattr("fastseg.summary.summarize", lambda *args, **kwargs: None)
    b = fastseg.segment(china, 8, init=start)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.centers, b.centers)
    assert a.n_iter == b.n_iter


@pytest.mark.parametrize(
    ("given", "same_as"),
    [
        ("bool", "uint8"),
        ("int8", "int16"),
        ("int32", "float64"),
        ("uint64", "float64"),
        ("float16", "float32"),
        (">u2", "uint16"),
        (">f8", "float64"),
    ],
)
def test_other_types_are_taken_without_loss(given, same_as):
    image = (np.arange(35).reshape(5, 7) % 2).astype(given)
    result = fastseg.segment(image, 2)
    np.testing.assert_array_equal(result.labels, fastseg.segment(image.astype(same_as), 2).labels)
    assert np.dtype(result.dtype) == image.dtype.newbyteorder("=")


def test_layouts_do_not_matter(china):
    expected = fastseg.segment(china, 4, random_state=0).labels
    for same in (np.asfortranarray(china), china[::-1][::-1], china.copy()[:, ::1]):
        np.testing.assert_array_equal(fastseg.segment(same, 4, random_state=0).labels, expected)
    flipped = fastseg.segment(china[::-1], 4, random_state=0).labels
    np.testing.assert_array_equal(flipped, expected[::-1])


def test_recolor_keeps_the_type_and_rounds():
    result = fastseg.segment(np.array([[0, 1], [1, 9]], np.uint8), 2)
    np.testing.assert_array_equal(result.recolor(), [[1, 1], [1, 9]])
    assert result.recolor().dtype == np.uint8


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n_clusters": 0}, "n_clusters must be at least 1, got 0"),
            ({"n_clusters": 4}, "n_clusters=4 is more than the image's 3 distinct pixels"),
            ({"method": "best"}, "method must be one of 'auto', .*'ward', got 'best'"),
            ({"color_space": "hsv"}, "color_space must be one of 'rgb', 'lab'.*, got 'hsv'"),
            ({"color_space": "lab"}, "color_space='lab' needs the three channels .* has 1"),
            ({"backend": "tpu"}, "backend must be one of 'auto', 'cpu', 'cuda', got 'tpu'"),
            ({"init": "best"}, "init must be 'k-means\\+\\+', 'random' or an array"),
            ({"init": [[1.0, 2.0], [3.0, 4.0]]}, "features of the data 1"),
            ({"init": [1.0, 2.0, 3.0]}, "number of clusters 2"),
            ({"init": [1.0, np.nan]}, "NaN or infinite"),
            ({"n_init": 0}, "n_init must be at least 1"),
            ({"max_iter": 0}, "max_iter must be at least 1"),
            ({"tol": -1}, "tol must be a number of at least 0"),
            ({"mask": np.ones((2, 2))}, r"mask has shape \(2, 2\).*\(2, 3\)"),
            ({"mask": np.zeros((2, 3))}, "every pixel of the image is left out"),
            ({"start_label": 2}, "start_label must be 0, 1 or None, got 2"),
            ({"n_threads": 0}, "n_threads must be at least 1"),
            ({"random_state": -1}, "random_state"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_values(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            fastseg.segment(GREY, **{"n_clusters": 2, **arguments})

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n_clusters": 2.0}, "n_clusters must be a whole number"),
            ({"callback": 3}, "callback must be callable"),
            ({"nodata": "zero"}, "nodata must be a number"),
            ({"mask": np.full((2, 3), "a")}, "mask must hold booleans or numbers"),
            ({"init": len}, "init must be"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_types(self, arguments, message):
        with pytest.raises(TypeError, match=message):
            fastseg.segment(GREY, **{"n_clusters": 2, **arguments})

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((0, 3)), "image is empty"),
            (np.zeros(5), "at least 2 dimensions"),
            (np.array([[1.0, np.inf]]), "infinite"),
            (np.array([[np.nan, np.nan]]), "every pixel of the image is left out"),
            (np.array([[2**60, 0]]), r"2\*\*53"),
        ],
        ids=["empty", "vector", "infinite", "nan", "wide"],
    )
    def test_images(self, image, message):
        with pytest.raises(ValueError, match=message):
            fastseg.segment(image, 1)

    @pytest.mark.parametrize("image", [np.zeros((2, 2), complex), np.full((2, 2), "a")])
    def test_types_of_images(self, image):
        with pytest.raises(TypeError, match=r"dtype .* is not supported"):
            fastseg.segment(image, 1)

    def test_more_clusters_than_distinct_colours_of_unsummarized_pixels(self):
        image = np.zeros((8, 9, 3))
        image[0, 0] = 1
        with pytest.raises(ValueError, match="2 distinct pixels"):
            fastseg.segment(image, 3)


class TestProgress:
    def test_every_stage_is_reported(self, china):
        calls = []
        fastseg.segment(
            china,
            4,
            random_state=0,
            callback=lambda stage, done, total, info: calls.append((stage, done, total, info)),
        )
        assert list(dict.fromkeys(call[0] for call in calls)) == [
            "count",
            "init",
            "iterations",
            "labels",
        ]
        assert all(0 <= done <= total for _, done, total, _ in calls)
        inertias = [info["inertia"] for stage, _, _, info in calls if stage == "iterations"]
        assert inertias == sorted(inertias, reverse=True)
        assert all("shift" in info for stage, _, _, info in calls if stage == "iterations")

    @pytest.mark.parametrize("stage", ["count", "init", "iterations", "labels"])
    def test_returning_true_stops_in_any_stage(self, china, stage):
        with pytest.raises(fastseg.Stopped, match=stage):
            fastseg.segment(china, 4, random_state=0, callback=lambda s, *rest: s == stage)

    def test_it_is_called_often_in_long_stages(self):
        import time

        image = np.random.default_rng(0).random((1500, 1500, 3))
        times = [time.monotonic()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
            fastseg.segment(image, 64, max_iter=3, random_state=0, n_threads=1)  # compiles
            times = [time.monotonic()]
            fastseg.segment(
                image,
                64,
                max_iter=3,
                random_state=0,
                n_threads=1,
                callback=lambda *call: times.append(time.monotonic()),
            )
        assert len(times) > 10
        # The bound is 0.2 s of work; the slack is for a busy machine.
        assert np.median(np.diff(times)) < 0.2


def test_stopping_at_max_iter_warns_and_is_recorded(china):
    with pytest.warns(fastseg.ConvergenceWarning, match="max_iter=2") as caught:
        result = fastseg.segment(china, 8, random_state=0, max_iter=2)
    assert caught[0].filename == __file__
    assert (result.converged, result.n_iter) == (False, 2)


def test_a_path_works_as_an_image(china, tmp_path):
    from PIL import Image

    Image.fromarray(china).save(tmp_path / "china.png")
    a = fastseg.segment(tmp_path / "china.png", 3, random_state=0)
    b = fastseg.segment(str(tmp_path / "china.png"), 3, random_state=0)
    np.testing.assert_array_equal(a.labels, fastseg.segment(china, 3, random_state=0).labels)
    np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_integer_images_are_not_copied_to_float(dtype):
    import tracemalloc

    image = (np.arange(4_000_000) % 251).astype(dtype).reshape(2000, 2000)
    fastseg.segment(image[:9], 3)  # compiles
    tracemalloc.start()
    try:
        labels = fastseg.segment(image, 3).labels
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # float32 would take 16 MB, and float64 twice that.
    assert peak - labels.nbytes < 8e6
