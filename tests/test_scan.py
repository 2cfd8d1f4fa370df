"""Choosing k: every measure against its definition on the pixels, and the choice itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow
from sklearn.metrics import calinski_harabasz_score

import fastseg
from fastseg.validity import knee, simplified_silhouette

DATA = Path(os.environ.get("FASTSEG_COURSE_DATA", Path(__file__).parents[2] / "shared" / "data"))
RNG = np.random.default_rng(5)


def blobs(spots, n=600, spread=6.0):
    """Pixels (n, channels) uint8 around spots, as many around each."""
    spots = np.atleast_2d(spots)
    pixels = spots[np.arange(n) % len(spots)] + RNG.normal(0, spread, (n, spots.shape[1]))
    return np.clip(pixels.round(), 0, 255).astype(np.uint8)


SPOTS = [[30, 40, 50], [200, 60, 70], [60, 190, 80], [190, 200, 210]]
IMAGES = {
    "colour": blobs(SPOTS).reshape(20, 30, 3),
    "grey": blobs([[20], [90], [170], [240]]).reshape(20, 30),
    "uint16": blobs(SPOTS).astype(np.uint16).reshape(20, 30, 3) * 200,
    "grey float": RNG.gamma(2.0, 1.0, (20, 30)),
    "not repeating": RNG.normal(size=(20, 30, 3)),
    "float32, five channels": RNG.normal(3.0, 1.0, (20, 30, 5)).astype(np.float32),
}


def distances(pixels, centers):
    return np.sqrt(((pixels[:, None].astype(np.float64) - centers) ** 2).sum(axis=2))


def silhouette(pixels, centers):
    """Simplified silhouette by its definition."""
    rows = np.arange(len(pixels))
    d = distances(pixels, centers)
    own = d.argmin(axis=1)
    a = d[rows, own].copy()
    d[rows, own] = np.inf
    b = d.min(axis=1)
    return ((b - a) / np.maximum(a, b)).mean()


# Measures


@pytest.mark.parametrize("name", IMAGES)
def test_the_measures_are_those_of_all_pixels(name):
    image = IMAGES[name]
    pixels = image.reshape(600, -1).astype(np.float64)
    total = ((pixels - pixels.mean(axis=0)) ** 2).sum()
    result = fastseg.scan(image, [2, 3, 7], random_state=0)
    assert (result.n_clusters, result.n_pixels) == ((2, 3, 7), 600)
    for i, k in enumerate(result.n_clusters):
        nearest = distances(pixels, result.centers[k])
        labels = nearest.argmin(axis=1)
        inertia = (nearest.min(axis=1) ** 2).sum()
        expected = (
            inertia,
            1 - inertia / total,
            silhouette(pixels, result.centers[k]),
            calinski_harabasz_score(pixels, labels),
        )
        measured = (
            result.inertia[i],
            result.explained[i],
            result.silhouette[i],
            result.calinski_harabasz[i],
        )
        np.testing.assert_allclose(measured, expected, rtol=1e-9)


def test_calinski_harabasz_is_that_of_the_labels_for_loose_centres_too():
    image = IMAGES["not repeating"]
    pixels = image.reshape(600, 3)
    with pytest.warns(fastseg.ConvergenceWarning, match="n_clusters=3, 6; raise max_iter"):
        result = fastseg.scan(image, [3, 6], max_iter=1, random_state=0)
    assert not any(result.converged.values())
    for i, k in enumerate(result.n_clusters):
        labels = distances(pixels, result.centers[k]).argmin(axis=1)
        expected = calinski_harabasz_score(pixels, labels)
        np.testing.assert_allclose(result.calinski_harabasz[i], expected, rtol=1e-9)


@pytest.mark.parametrize("n", [1, 8191, 8192, 8193, 20000])
def test_the_silhouette_does_not_depend_on_its_blocks(n):
    values = RNG.integers(0, 50, (n, 2)).astype(np.uint16)
    counts = RNG.integers(1, 5, n).astype(np.float64)
    centers = np.array([[10.25, 30.5], [40.5, 20.25], [25.75, 5.5]])
    expected = silhouette(np.repeat(values, counts.astype(int), axis=0), centers)
    np.testing.assert_allclose(simplified_silhouette(values, counts, centers), expected, rtol=1e-12)


def test_a_single_cluster_explains_nothing_and_has_no_index():
    result = fastseg.scan(IMAGES["colour"], [1])
    assert (result.best, result.elbow) == (1, None)
    assert result.explained[0] == 0
    assert np.isnan([result.silhouette[0], result.calinski_harabasz[0]]).all()
    assert result.reason == "it is the only number of clusters"


def test_a_cluster_for_every_colour():
    image = np.array([[0, 0, 10, 50, 255]] * 4, np.uint8)
    result = fastseg.scan(image, range(1, 5))
    assert (result.inertia[-1], result.explained[-1], result.silhouette[-1]) == (0, 1, 1)
    assert result.calinski_harabasz[-1] == np.inf
    constant = fastseg.scan(np.full((3, 4), 7.0), [1])
    assert (constant.inertia[0], constant.explained[0]) == (0, 1)
    assert constant.centers[1].tolist() == [[7.0]]


# Solutions


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("method", ["auto", "lloyd"])
def test_every_k_has_the_clusters_that_segment_finds(name, method):
    result = fastseg.scan(IMAGES[name], [2, 5, 3, 5], method=method, random_state=3)
    assert result.n_clusters == (2, 3, 5)
    for i, k in enumerate(result.n_clusters):
        single = fastseg.segment(IMAGES[name], k, method=method, random_state=3)
        np.testing.assert_array_equal(result.centers[k], single.centers)
        assert result.n_iter[k] == single.n_iter
        assert result.converged[k] == single.converged
        assert result.method == single.method
        np.testing.assert_allclose(result.inertia[i], single.inertia, rtol=1e-12)


@pytest.mark.parametrize("color_space", ["lab", "oklab", "linear"])
def test_colour_spaces(color_space):
    result = fastseg.scan(IMAGES["colour"], [3, 4], color_space=color_space, random_state=1)
    single = fastseg.segment(IMAGES["colour"], 4, color_space=color_space, random_state=1)
    np.testing.assert_array_equal(result.centers[4], single.centers)
    np.testing.assert_allclose(result.inertia[1], single.inertia, rtol=1e-12)
    assert result.color_space == color_space


def test_the_optimum_only_gets_better_with_k():
    for name in ("grey", "grey float"):
        result = fastseg.scan(IMAGES[name], range(1, 40))
        assert result.method == "optimal"
        assert (np.diff(result.inertia) < 0).all()
        lloyd = fastseg.scan(IMAGES[name], range(1, 40), method="lloyd", random_state=0)
        assert (result.inertia <= lloyd.inertia * (1 + 1e-12)).all()
    assert fastseg.scan(IMAGES["grey"], [2], init="random", random_state=0).method == "lloyd"


def test_pixels_left_out_take_no_part():
    image = IMAGES["colour"].copy()
    mask = RNG.random((20, 30)) < 0.7
    image[~mask] = 255
    masked = fastseg.scan(image, [2, 3], mask=mask, random_state=0)
    kept = fastseg.scan(image[mask][:, None], [2, 3], random_state=0, channel_axis=-1)
    np.testing.assert_array_equal(masked.inertia, kept.inertia)
    np.testing.assert_array_equal(masked.silhouette, kept.silhouette)
    assert masked.n_left_out == (~mask).sum()


@pytest.mark.parametrize("name", ["colour", "grey", "not repeating"])
def test_the_same_for_any_number_of_threads(name):
    one, three = (
        fastseg.scan(IMAGES[name], random_state=0, n_threads=n, backend="cpu").as_dict()
        for n in (1, 3)
    )
    assert one == three


def test_what_the_callback_hears():
    heard = []
    fastseg.scan(IMAGES["colour"], [2, 4], callback=lambda *told: heard.append(told))
    assert {stage for stage, *_ in heard} <= {"count", "scan"}
    scans = [(done, total) for stage, done, total, _ in heard if stage == "scan"]
    assert scans == sorted(scans)
    assert scans[-1] == (2, 2)
    assert {info["n_clusters"] for stage, _, _, info in heard if stage == "scan"} == {2, 4}
    for bad in ("count", "scan"):
        with pytest.raises(fastseg.Stopped):
            fastseg.scan(IMAGES["colour"], [2], callback=lambda stage, *_, bad=bad: stage == bad)


# The choice


@pytest.mark.parametrize(
    ("inertia", "expected"),
    [
        ([100, 40, 10, 9, 8, 7, 6], 4),
        ([100, 10, 9, 8, 7, 6, 5], 3),
        ([100, 85, 70, 55, 40, 25, 10], None),  # a line
        ([100, 99, 97, 92, 80, 50, 0], None),  # concave
        ([5, 5, 5, 5], None),
        ([100, 5], None),
        ([100, 5, 4], None),
        # Lloyd's local optima may rise on the way.
        ([100, 60, 62, 15, 14, 12, 11, 10], 5),
        # Of two knees the one farther below the line.
        ([100, 70, 69, 68, 67, 20, 19, 18, 17, 16], 7),
    ],
)
def test_the_knee_of_curves_where_it_is_known(inertia, expected):
    assert knee(range(2, 2 + len(inertia)), inertia) == expected


def test_the_knee_of_the_hyperbola():
    """Satopää et al.: where the curve has slope -1 when both axes are scaled to 0..1."""
    k = np.arange(1, 101)
    assert knee(k.tolist(), 1 / k) == 10
    assert knee([1, 2, 4, 8, 16, 32, 64, 100], [1 / k for k in (1, 2, 4, 8, 16, 32, 64, 100)]) == 8


def test_the_elbow_is_chosen_and_said():
    result = fastseg.scan(IMAGES["colour"], random_state=0)
    assert (result.best, result.elbow) == (4, 4)
    assert result.reason == "the inertia has its elbow at k = 4, among k = 2 to 10"


def test_without_an_elbow_the_silhouette_decides():
    result = fastseg.scan(IMAGES["colour"], [2, 4, 6], random_state=0)
    assert (result.best, result.elbow) == (4, None)
    assert result.best == result.n_clusters[result.silhouette.argmax()]
    assert result.reason == (
        "the inertia has no elbow among k = 2, 4, 6, and the silhouette is largest at k = 4"
    )


@pytest.mark.skipif(
    not (DATA / "healthy.csv").is_file(),
    reason=f"the course's data is not in {DATA} (FASTSEG_COURSE_DATA)",
)
def test_the_scree_plot_of_the_course(tmp_path):
    result = fastseg.scan(DATA / "healthy.csv", range(2, 11))
    assert result.elbow in (4, 5)
    assert result.method == "optimal"
    assert result.inertia[3] < 303  # the published local optimum for k = 5
    assert (np.diff(result.inertia) < 0).all()
    result.plot(tmp_path / "scree.png")


# What is refused


@pytest.mark.parametrize(
    ("n_clusters", "error", "words"),
    [
        ([], ValueError, "empty"),
        ([0, 3], ValueError, "at least 1, got 0"),
        ([2, 2.5], TypeError, "whole numbers, got 2.5"),
        ([True], TypeError, "whole numbers"),
        (5, TypeError, r"such as range\(2, 11\)"),
        ("2:10", TypeError, "such as range"),
        ([2, 10_000], ValueError, "n_clusters=10000 is more than the image's"),
    ],
)
def test_numbers_of_clusters_that_make_no_sense(n_clusters, error, words):
    with pytest.raises(error, match=words):
        fastseg.scan(IMAGES["colour"], n_clusters)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"init": np.zeros((2, 3))}, TypeError, "given centres fix it"),
        ({"init": "kmeans"}, ValueError, "init must be"),
        ({"method": "magic"}, ValueError, "method must be"),
        ({"method": "optimal"}, ValueError, "one channel"),
        ({"color_space": "xyz"}, ValueError, "color_space"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_other_arguments_are_checked_as_by_segment(options, error, words):
    with pytest.raises(error, match=words):
        fastseg.scan(IMAGES["colour"], [2], **options)


def test_as_many_clusters_as_distinct_pixels_and_no_more():
    for image in (np.eye(4, dtype=np.uint8), np.eye(4)):
        assert fastseg.scan(image, [2]).best == 2
        with pytest.raises(ValueError, match="2 distinct pixels; ask for at most 2"):
            fastseg.scan(image, [2, 3])


# Files and drawings


def test_as_dict_is_strict_json():
    facts = fastseg.scan(IMAGES["grey"], [1, 2, 3], random_state=0).as_dict()
    again = json.loads(json.dumps(facts, allow_nan=False))
    assert again == facts
    assert facts["n_clusters"] == [1, 2, 3]
    assert facts["silhouette"][0] is facts["calinski_harabasz"][0] is None
    assert [len(centers) for centers in facts["centers"]] == [1, 2, 3]
    assert facts["converged"] == [True] * 3


@pytest.fixture(scope="module")
def result():
    return fastseg.scan(IMAGES["colour"], random_state=0)


def test_the_drawing_is_not_blank(result, tmp_path):
    path = tmp_path / "scree.png"
    result.plot(path)
    with pillow.open(path) as picture:
        pixels = np.array(picture.convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 500
    red = (pixels[..., 0] > 150) & (pixels[..., 1:].max(axis=2) < 100)
    blue = (pixels[..., 2] > 100) & (pixels[..., 0] < 60)
    for half in np.array_split(np.arange(len(pixels)), 2):
        assert red[half].sum() > 100  # the mark of the chosen k
        assert blue[half].sum() > 300  # the curve


@pytest.mark.parametrize(("suffix", "magic"), [(".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_other_formats(result, tmp_path, suffix, magic):
    path = tmp_path / f"scree{suffix}"
    result.plot(str(path))
    assert path.read_bytes().startswith(magic)


def test_a_drawing_replaces_a_file_only_when_told(result, tmp_path):
    path = tmp_path / "scree.svg"
    path.write_text("old")
    with pytest.raises(FileExistsError):
        result.plot(path)
    assert path.read_text() == "old"
    result.plot(path, overwrite=True)
    assert path.read_bytes().startswith(b"<?xml")
    with pytest.raises(ValueError, match=r"\.pdf, \.png, \.svg"):
        result.plot(tmp_path / "scree.jpg")
    assert os.listdir(tmp_path) == ["scree.svg"]


def test_drawing_in_axes_that_are_given(result):
    from matplotlib.figure import Figure

    figure = Figure()
    one, *two = figure.subplots(3)
    assert result.plot(one) is figure
    assert result.plot(two) is figure
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "inertia",
        "inertia",
        "simplified silhouette",
    ]
    np.testing.assert_array_equal(one.lines[1].get_ydata(), result.inertia)
    np.testing.assert_array_equal(two[1].lines[1].get_ydata(), result.silhouette)
    assert len(result.plot().axes) == 2
    assert len(fastseg.scan(IMAGES["grey"], [1]).plot().axes) == 2


def test_without_matplotlib_the_extra_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"fastseg\[plot\]"):
        result.plot()


def test_scanning_does_not_load_matplotlib():
    code = "import sys, numpy, fastseg; fastseg.scan(numpy.eye(9), [2]);"
    code += "print({'matplotlib', 'sklearn'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


def test_every_k_is_solved_as_segment_solves_it(monkeypatch):
    """Also where the larger ones are too much work for the optimum."""
    image = np.random.default_rng(0).integers(0, 150, (40, 50)).astype(np.uint8)
    n_distinct = len(np.unique(image))
    monkeypatch.setattr("fastseg.methods._MAX_AUTO_WORK", 3 * n_distinct)
    found = fastseg.scan(image, [2, 3, 5], random_state=0)
    assert found.method == "optimal and lloyd"
    for k, inertia in zip([2, 3, 5], found.inertia, strict=True):
        single = fastseg.segment(image, k, random_state=0)
        assert single.method == ("optimal" if k <= 3 else "lloyd")
        np.testing.assert_allclose(single.inertia, inertia, rtol=1e-12)
