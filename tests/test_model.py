"""A fitted model labels other images as its own, survives a file, and refuses what does not fit."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

import fastseg


@pytest.fixture(scope="module")
def china():
    return load_sample_image("china.jpg")


@pytest.fixture(scope="module")
def fitted(china):
    return fastseg.segment(china, 6, random_state=0)


def test_predict_gives_the_labels_of_the_fitted_image(fitted, china):
    labels = fitted.predict(china)
    np.testing.assert_array_equal(labels, fitted.labels)
    assert labels.dtype == fitted.labels.dtype


def test_a_saved_model_predicts_the_same(fitted, china, tmp_path):
    path = tmp_path / "model.json"
    fitted.save(path)
    model = fastseg.load_model(path)
    np.testing.assert_array_equal(model.predict(china[::2, ::3]), fitted.labels[::2, ::3])
    np.testing.assert_array_equal(model.centers, fitted.centers)
    np.testing.assert_array_equal(model.palette(), fitted.palette())
    fields = json.loads(path.read_text())
    assert (fields["n_channels"], fields["dtype"], fields["n_clusters"]) == (3, "uint8", 6)
    assert len(fields["value_range"]) == 3


def test_saving_again_needs_leave(fitted, tmp_path):
    path = tmp_path / "model.json"
    fitted.save(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite"):
        fitted.save(path)
    fitted.save(path, overwrite=True)
    assert path.read_bytes() == before


class TestLabelRules:
    grey = np.array([[0, 0, 100], [200, 100, 0]], np.uint8)

    def test_a_model_that_starts_at_one_does_so_everywhere(self):
        model = fastseg.segment(self.grey, 2, mask=self.grey < 200)
        np.testing.assert_array_equal(model.predict(self.grey), [[1, 1, 2], [2, 2, 1]])

    def test_left_out_pixels_are_zero_and_clusters_start_at_one(self):
        model = fastseg.segment(self.grey, 3)
        labels = model.predict(self.grey, nodata=100)
        np.testing.assert_array_equal(labels, [[1, 1, 0], [3, 0, 1]])

    def test_zero_asked_for_and_left_out_pixels_are_refused(self):
        model = fastseg.segment(self.grey, 3, start_label=0)
        with pytest.raises(ValueError, match="start_label=0"):
            model.predict(self.grey, nodata=100)

    def test_nan_is_left_out(self):
        model = fastseg.segment(self.grey / 10.0, 3)
        labels = model.predict(np.array([[np.nan, 20.0]]))
        np.testing.assert_array_equal(labels, [[0, 3]])


class TestRefusals:
    def test_another_number_of_channels(self, fitted, china):
        with pytest.raises(ValueError, match=r"1 channel, .* 3 channels"):
            fitted.predict(china[..., 0])

    @pytest.mark.parametrize("dtype", ["uint16", "int16", "float64"])
    def test_another_type_unless_told(self, fitted, china, dtype):
        with pytest.raises(ValueError, match=rf"{dtype}.*uint8.*allow_dtype"):
            fitted.predict(china.astype(dtype))
        labels = fitted.predict(china.astype(dtype), allow_dtype=True)
        np.testing.assert_array_equal(labels, fitted.labels)

    def test_float_types_are_one_another_s(self):
        image = np.linspace(0, 1, 30).reshape(5, 6)
        model = fastseg.segment(image, 3)
        model.predict(image.astype(np.float32))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "no JSON"),
            ("[]", "not a fastseg model"),
            ('{"format": "other"}', "not a fastseg model"),
            ('{"format": "fastseg-model", "version": 99}', "version 99.*upgrade"),
            ('{"format": "fastseg-model", "version": 1}', "damaged.*centers"),
            ("[" * 100_000, "no JSON"),
        ],
        ids=["empty", "list", "other", "newer", "fields", "deep"],
    )
    def test_files_that_are_no_models(self, tmp_path, text, message):
        path = tmp_path / "model.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            fastseg.load_model(path)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("centers", [[1.0]]),
            ("centers", [[None] * 3] * 6),
            ("centers", "x"),
            ("counts", [1]),
            ("start_label", 5),
            ("dtype", "object"),
            ("dtype", "nonsense"),
            ("value_range", []),
            ("inertia", "high"),
            ("axis_rule", [1]),
        ],
    )
    def test_damaged_fields(self, fitted, tmp_path, field, value):
        path = tmp_path / "model.json"
        fitted.save(path)
        fields = json.loads(path.read_text())
        path.write_text(json.dumps({**fields, field: value}))
        with pytest.raises(ValueError, match="damaged fastseg model"):
            fastseg.load_model(path)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            fastseg.load_model(tmp_path / "none.json")


class TestPalette:
    def test_8_bit_colours_are_the_clusters_means(self, fitted):
        np.testing.assert_array_equal(fitted.palette(), np.rint(fitted.centers))

    def test_left_out_is_black(self, china):
        result = fastseg.segment(china, 2, mask=china[..., 0] > 9, random_state=0)
        assert result.palette()[0].tolist() == [0, 0, 0]
        assert len(result.palette()) == 3

    def test_other_types_are_stretched(self):
        result = fastseg.segment(np.array([[0, 1000], [3000, 4000]], np.uint16), 4)
        assert result.palette().tolist() == [[v] * 3 for v in (0, 64, 191, 255)]

    def test_many_channels_show_the_first_three(self):
        image = np.random.default_rng(0).integers(0, 255, (9, 9, 5)).astype(np.uint8)
        result = fastseg.segment(image, 3, random_state=0)
        np.testing.assert_array_equal(result.palette(), np.rint(result.centers[:, :3]))

    def test_constant_images(self):
        assert fastseg.segment(np.full((3, 3), 7.0), 1).palette().shape == (1, 3)
