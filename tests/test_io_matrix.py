"""Numbers in files: CSV matrices, starting centres and NumPy arrays."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from fastseg.io import read_centers, read_image

RNG = np.random.default_rng(7)
COURSE_DATA = Path(
    os.environ.get("FASTSEG_COURSE_DATA", Path(__file__).parents[1] / "../shared/data")
)


def refused(path, *words) -> None:
    with pytest.raises(ValueError, match=rf"\A{re.escape(str(path))}: .*\Z") as caught:
        read_image(path)
    message = str(caught.value)
    for word in words:
        assert word in message


# CSV


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("separator", [",", ";", "\t", " ", ", "])
def test_csv_takes_every_line_end_and_separator(tmp_path, end, final, separator):
    matrix = RNG.random((5, 4))
    rows = [separator.join(repr(value) for value in row.tolist()) for row in matrix]
    (tmp_path / "a.csv").write_bytes((end.join(rows) + end * final).encode())
    image = read_image(tmp_path / "a.csv")
    np.testing.assert_array_equal(image.pixels, matrix)
    assert image.pixels.dtype == np.float64
    assert (image.channel_axis, image.valid, image.notes) == (None, None, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", [[7]]),
        ("1\n2\n3", [[1], [2], [3]]),
        ("1,2,3", [[1, 2, 3]]),
        ("\ufeff1,2\n3,4", [[1, 2], [3, 4]]),  # the mark that Excel puts first
        ("\n1,2\n\n3,4\n\n\n", [[1, 2], [3, 4]]),
        (" 1 , 2 \n 3e2 , -.5 ", [[1, 2], [300, -0.5]]),
        ("1,nan\n3,4", [[1, np.nan], [3, 4]]),
    ],
)
def test_csv_of_unusual_form(tmp_path, text, expected):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_image(tmp_path / "a.csv").pixels, expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1,2\n3,4,5\n", ["line 2: has 3 values", "have 2"]),
        (b"1,2\r\r3\r4,5\r", ["line 3: has 1 values"]),
        (b"1,2\n3,x4\n", ["line 2: 'x4' is not a number"]),
        (b"height,width\n3,4\n", ["line 1: 'height' is not a number", "without a header"]),
        (b'"1","2"\n', ["line 1: '\"1\"' is not a number"]),
        (b"1,,3\n", ["line 1: value 2 is missing"]),
        (b"1,2,\n3,4,\n", ["line 1: value 3 is missing"]),
        (b"1,5;2,5\n", ["line 1: '1,5' is not a number"]),
        (b"1 2\n3 NA\n", ["line 2: 'NA' is not a number"]),
        (b"1_0,2\n", ["number"]),
        (b" \n\n", ["no numbers"]),
        (b"\xff\xfe1\x00", ["not a text file in UTF-8"]),
        (b"\x00\x01\x02", ["line 1:", "not a number"]),
    ],
)
def test_csv_that_is_no_matrix_names_the_line(tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    refused(tmp_path / "a.csv", *words)


@pytest.mark.skipif(not (COURSE_DATA / "healthy.csv").exists(), reason="no course data")
def test_the_mri_of_the_course_is_read_in_less_than_a_second():
    start = time.perf_counter()
    image = read_image(COURSE_DATA / "healthy.csv")
    assert time.perf_counter() - start < 1
    assert image.grid == (566, 646)
    content = (COURSE_DATA / "healthy.csv").read_bytes().split(b"\r")
    first, last = content[0].split(b","), content[-1].split(b",")
    assert image.pixels[0].tolist() == [float(word) for word in first]
    assert image.pixels[-1].tolist() == [float(word) for word in last]


# Starting centres


@pytest.mark.parametrize(
    ("text", "n_channels", "expected"),
    [
        ("0.43,0.09,0.07", None, [[0.43], [0.09], [0.07]]),
        ("0.43,0.09,0.07", 1, [[0.43], [0.09], [0.07]]),
        ("0.5", 1, [[0.5]]),
        ("1;2;3", 1, [[1], [2], [3]]),
        ("10,20,30;40,50,60", None, [[10, 20, 30], [40, 50, 60]]),
        (" 10, 20,30 ; 40,50,60; ", 3, [[10, 20, 30], [40, 50, 60]]),
        ("10,20,30", 3, [[10, 20, 30]]),
        ("-1,1e-3", 1, [[-1], [0.001]]),
    ],
)
def test_centres_in_words(text, n_channels, expected):
    centers = read_centers(text, n_channels)
    np.testing.assert_array_equal(centers, expected)
    assert centers.dtype == np.float64


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_centres_in_a_file_have_a_row_each(tmp_path, end):
    path = tmp_path / "centers.csv"
    path.write_bytes(end.join(["10,20,30", "40,50,60"]).encode())
    np.testing.assert_array_equal(read_centers(path, 3), [[10, 20, 30], [40, 50, 60]])
    path.write_bytes(end.join(["0.1", "0.2"]).encode())
    np.testing.assert_array_equal(read_centers(path, 1), [[0.1], [0.2]])
    path.write_bytes(b"0.1,0.2,0.3")
    np.testing.assert_array_equal(read_centers(path, 1), [[0.1], [0.2], [0.3]])
    np.testing.assert_array_equal(read_centers(path, 3), [[0.1, 0.2, 0.3]])


@pytest.mark.parametrize(
    ("text", "n_channels", "words"),
    [
        ("kmeans", None, "neither the name of a file nor values"),
        ("", None, "neither"),
        ("1,2;3", None, "same number of values"),
        ("1,nan", None, "finite"),
        ("1,2,3,4", 3, "4 values per centre, but the image has 3 channels; separate"),
        ("1,2;3,4", 1, "2 values per centre, but the image has 1 channel"),
    ],
)
def test_centres_that_cannot_be(text, n_channels, words):
    with pytest.raises(ValueError, match=words):
        read_centers(text, n_channels)


def test_a_missing_file_of_centres(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such file"):
        read_centers(tmp_path / "none.csv")


# NumPy arrays


@pytest.mark.parametrize(
    ("shape", "grid", "n_channels"),
    [((5, 6), (5, 6), 1), ((5, 6, 3), (5, 6), 3), ((5, 6, 17), (5, 6, 17), 1)],
)
def test_npy_is_mapped_and_its_axes_are_left_open(tmp_path, shape, grid, n_channels):
    array = RNG.integers(0, 1000, shape).astype(np.int16)
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    assert isinstance(image.pixels, np.memmap)
    np.testing.assert_array_equal(image.pixels, array)
    assert (image.channel_axis, image.grid, image.n_channels) == ("auto", grid, n_channels)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[{}]], dtype=object), "Python objects"),
        (np.array([["a"]]), "integers or floats are expected"),
        (np.ones((2, 2), complex), "complex128"),
    ],
)
def test_npy_of_other_things(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    refused(tmp_path / "a.npy", words)


def test_npy_that_is_none(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"hello, this is text")
    refused(path, "is not a .npy file")
    with open(path, "wb") as file:
        np.savez(file, a=np.ones(3))
    refused(path, ".npz archive")


@pytest.mark.parametrize("kept", [3, 7, 60, 127, 128, 500])
def test_truncated_npy(tmp_path, kept):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((20, 20)))
    path.write_bytes(path.read_bytes()[:kept])
    refused(path)
