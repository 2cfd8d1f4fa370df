"""Reports, dendrograms and comparisons as drawn: what they say is what was found."""

from __future__ import annotations

import signal
import sys
import threading

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image as pillow
from scipy.cluster import hierarchy

import fastseg
from fastseg.io.image import Geometry, Image
from fastseg.pictures.views import planes_of
from fastseg.pixels import as_pixels

RNG = np.random.default_rng(3)
COLORS = RNG.integers(0, 256, (24, 31, 3)).astype(np.uint8)
GREY = (RNG.normal(0, 9, (24, 31)) + RNG.choice([40, 120, 200], (24, 31))).clip(0, 255)
GREY = GREY.astype(np.uint8)
VOLUME = np.add.outer(np.arange(9) ** 2, np.add.outer(np.arange(14), 50 * np.arange(19)))
VOLUME = VOLUME.astype(np.uint16)


def texts(figure):
    """Everything written in a figure but the numbers of axes; nothing may be cut off."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    ticks = [t for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_text().strip())
    found = [text for text in found if text not in ticks]
    for text in found:
        box = text.get_window_extent()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -2, text
    return [text.get_text() for text in found]


def overlap(figure):
    """Boxes of panels with their titles and labels that overlap."""
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    return [
        (a, b)
        for a, b in pairs
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 2 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
    ]


CASES = {
    "colours": (COLORS, 4, {"random_state": 0}),
    "many clusters": (COLORS, 40, {"random_state": 0}),
    "grey by ward": (GREY, 6, {"method": "ward"}),
    "masked": (GREY, 2, {"mask": GREY > 90}),
    "volume": (VOLUME, 4, {"nodata": 3}),
    "floats": (GREY / 255, 3, {"method": "lloyd", "random_state": 0}),
    "two channels": (COLORS[..., :2], 3, {"random_state": 0}),
    "five channels": (RNG.normal(size=(12, 13, 5)), 3, {"random_state": 0}),
    "two values": (np.eye(5), 2, {}),
    "an outlier": (np.where(np.arange(600).reshape(20, 30) == 7, 1e9, GREY[:20, :30]), 3, {}),
    "one pixel": (np.full((1, 1, 3), 7, np.uint8), 1, {"random_state": 0}),
    "one value": (np.ones((5, 4)), 1, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_report_shows_what_was_found(case):
    image, k, how = CASES[case]
    result = fastseg.segment(image, k, **how)
    figure = fastseg.report(image, result, title="scan.png")
    words = texts(figure)
    assert not overlap(figure)
    (title,) = [word for word in words if word.startswith("scan.png, ")]
    assert f"{k} cluster{'s' * (k > 1)}, method {result.method}" in title
    for count in result.counts[:24]:
        assert f"{count:,}" in words
    assert (f"left out: {result.n_left_out:,} pixels, label 0" in words) == (result.n_left_out > 0)
    assert ("and 16 clusters more" in words) == (k == 40)
    n_pictures = 6 if case == "volume" else 2
    pictures = [ax for ax in figure.axes if ax.images]
    assert len(pictures) == n_pictures
    assert len(figure.axes) == n_pictures + 3


@pytest.mark.parametrize("case", ["floats", "masked", "colours", "grey by ward"])
def test_the_curve_of_a_report_is_that_of_its_method(case):
    image, k, how = CASES[case]
    result = fastseg.segment(image, k, **how)
    (ax,) = [ax for ax in fastseg.report(image, result).axes if ax.get_ylabel() == "inertia"]
    ks, inertia = ax.lines[0].get_data()
    assert inertia[list(ks).index(k)] == pytest.approx(result.inertia, rel=1e-12)
    for other, value in zip(ks, inertia, strict=True):
        how = {"random_state": 0} | how
        again = fastseg.segment(image, int(other), **how)
        assert value == pytest.approx(again.inertia, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("case", ["floats", "masked", "volume", "one value", "an outlier"])
def test_the_histogram_of_a_report_holds_every_pixel(case):
    image, k, how = CASES[case]
    result = fastseg.segment(image, k, **how)
    (ax,) = [ax for ax in fastseg.report(image, result).axes if ax.get_xlabel() == "value"]
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    assert [sum(bars) for bars in heights] == result.counts.tolist()
    centers = [line.get_xdata()[0] for line in ax.lines]
    np.testing.assert_array_equal(centers, result.centers[:, 0])


def test_pictures_show_pixels_and_leave_out_what_was_left_out():
    mask = GREY > 90
    result = fastseg.segment(COLORS, 2, mask=mask, random_state=0)
    original, clusters = (
        ax.images[0].get_array() for ax in fastseg.report(COLORS, result).axes[:2]
    )
    np.testing.assert_array_equal(original[mask][:, :3], COLORS[mask])
    np.testing.assert_array_equal(clusters[..., :3], result.palette()[result.labels])
    for picture in (original, clusters):
        np.testing.assert_array_equal(picture[..., 3] == 255, mask)


def test_slices_go_through_the_middle_of_what_is_kept_in_their_shape():
    mask = np.zeros(VOLUME.shape, bool)
    mask[1:4, 2:9, 5:8] = True
    result = fastseg.segment(VOLUME, 3, mask=mask)
    figure = fastseg.report(VOLUME, result, spacing=(3, 1, 2))
    titles = [ax.get_title(loc="left") for ax in figure.axes[:6]]
    places = ["axis 0 at 2", "axis 1 at 5", "axis 2 at 6"]
    assert titles == [f"{what}, {at}" for what in ("original", "clusters") for at in places]
    assert [ax.get_aspect() for ax in figure.axes[:3]] == [0.5, 1.5, 3]
    shown = [ax.images[0].get_array() for ax in figure.axes[3:6]]
    labels = [result.labels[2], result.labels[:, 5], result.labels[:, :, 6]]
    for picture, plane in zip(shown, labels, strict=True):
        np.testing.assert_array_equal(picture[..., 3] == 255, plane > 0)
    with pytest.raises(ValueError, match=r"spacing must be 3 positive lengths.*got \(1, 1\)"):
        fastseg.report(VOLUME, result, spacing=(1, 1))


def test_a_cluster_without_pixels_is_in_the_report():
    result = fastseg.segment(GREY, 3)
    result.labels[result.labels == 2] = 1
    result.counts[:] = np.bincount(result.labels.ravel(), minlength=3)
    assert "0.0 %" in texts(fastseg.report(GREY, result))


def test_another_image_is_refused():
    result = fastseg.segment(GREY, 3)
    for other in (GREY[1:], COLORS):
        with pytest.raises(ValueError, match=r"the image that was segmented|channel"):
            fastseg.report(other, result)


@pytest.mark.parametrize("case", ["grey by ward", "two values", "one value"])
@pytest.mark.parametrize("method", ["ward"])
def test_a_dendrogram_draws_the_merges(case, method):
    image, k, _ = CASES[case]
    result = fastseg.segment(image, k, method=method)
    figure = fastseg.dendrogram(result)
    assert f"cut at k = {k}" in "".join(ax.get_title() for ax in figure.axes)
    upper = figure.axes[0]
    lines = upper.collections[0].get_segments()
    m = len(result.tree.values)
    n_tips = min(m, max(48, 4 * k))
    tops = np.array([line[1][1] for line in lines]).reshape(-1)
    np.testing.assert_array_equal(tops, result.linkage[m - n_tips :, 2])
    legs = [leg for line in lines for leg in ((line[0], line[1]), (line[3], line[2]))]
    for _, (left, top), (right, _), _ in lines:
        for (x, low), (_, high) in legs:
            assert not (left < x < right and low < top < high), "branches cross"
    if 1 < k < m:
        (cut,) = upper.lines[0].get_ydata()[:1]
        flat = hierarchy.fcluster(result.linkage, cut, "distance")
        assert len(set(flat.tolist())) == k


def test_a_dendrogram_has_the_clusters_from_dark_to_bright():
    result = fastseg.segment(COLORS, 6, method="ward")
    below = fastseg.dendrogram(result).axes[1]
    swatches = [bars[0].get_facecolor()[:3] for bars in below.containers[::2]]
    np.testing.assert_allclose(swatches, result.palette() / 255)
    with pytest.raises(ValueError, match="method='lloyd' does not make; use method='ward'"):
        fastseg.dendrogram(fastseg.segment(COLORS, 6))


def test_drawings_go_to_whole_files(tmp_path):
    result = fastseg.segment(GREY, 3, method="ward")
    fastseg.report(GREY, result, tmp_path / "r.png")
    fastseg.dendrogram(result, tmp_path / "d.svg")
    fastseg.compare(GREY, 3, methods=["ward"]).plot(tmp_path / "c.pdf")
    for name, head in (("r.png", b"\x89PNG"), ("d.svg", b"<?xml"), ("c.pdf", b"%PDF")):
        assert (tmp_path / name).read_bytes().startswith(head)
    with pytest.raises(FileExistsError):
        fastseg.report(GREY, result, tmp_path / "r.png")
    with pytest.raises(ValueError, match=r"has the suffix '\.jpg'"):
        fastseg.dendrogram(result, tmp_path / "d.jpg")
    with pillow.open(tmp_path / "r.png") as picture:
        assert picture.width == 1560


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs raise_signal")
def test_ctrl_c_does_not_come_into_matplotlib(tmp_path, monkeypatch):
    """It would turn it into errors of its own; the wait ends, and there is no picture."""
    result, drawn = fastseg.segment(COLORS, 3, random_state=0), threading.Event()
    came, over = [], threading.Event()

    def draw(*args, **options):
        try:
            signal.raise_signal(signal.SIGINT)
            over.wait(30)
        except KeyboardInterrupt:
            came.append("in the drawing")
        finally:
            drawn.set()

    monkeypatch.setattr(Figure, "savefig", draw)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fastseg.report(COLORS, result, tmp_path / "report.png")
    finally:
        signal.signal(signal.SIGINT, before)
        over.set()
    assert drawn.wait(30)
    assert came == []
    assert list(tmp_path.iterdir()) == []


def test_what_to_install_is_said_where_matplotlib_is_missing(monkeypatch, tmp_path):
    result = fastseg.segment(GREY, 3, method="ward")
    comparison = fastseg.compare(GREY, 3, methods=["ward"])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (
        lambda: fastseg.report(GREY, result, tmp_path / "r.png"),
        lambda: fastseg.dendrogram(result),
        comparison.plot,
    ):
        with pytest.raises(ImportError, match=r"pip install 'fastseg\[plot\]'"):
            draw()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("masked", [False, True])
def test_upright_pixels_are_those_of_the_scaled_array(masked):
    """Volumes lie with the first axis fastest, and hold scaled integers."""
    rng = np.random.default_rng(0)
    stored = np.asfortranarray(rng.integers(0, 50, (4, 5, 6)).astype(np.int16))
    image = Image(stored).scaled(0.5, 10.0)
    mask = rng.random(stored.shape) < 0.5 if masked else None
    pixels = as_pixels(image, None, mask, None)
    assert pixels.turned
    upright = pixels.upright()
    expected = as_pixels(np.ascontiguousarray(stored) * 0.5 + 10.0, None, mask, None)
    np.testing.assert_array_equal(upright.values, expected.values)
    if masked:
        np.testing.assert_array_equal(upright.kept, mask)


def test_medical_volumes_stand_up_in_their_planes():
    planes = planes_of((60, 80, 50), None, (1.0, 1.5, 3.0), stood_up=True)
    assert [plane.drawn_ratio for plane in planes] == pytest.approx([120 / 150, 60 / 150, 60 / 120])


def test_a_series_of_frames_is_drawn_as_a_volume():
    rng = np.random.default_rng(1)
    geometry = Geometry(np.diag([0.9, 1.1, 1.7, 1.0]))
    image = Image(rng.integers(0, 200, (12, 10, 8, 5)).astype(np.uint8), None, geometry=geometry)
    result = fastseg.segment(image, 3)
    titles = [ax.get_title(loc="left") for ax in fastseg.report(image, result).axes]
    assert [title.split(" at ")[0] for title in titles[:6]] == [
        f"{what}, axis {axis}" for what in ("original", "clusters") for axis in (0, 1, 2)
    ]
    fastseg.compare(image, 3).plot()


def test_another_image_of_the_same_grid_is_refused():
    rng = np.random.default_rng(2)
    image, other = rng.random((2, 20, 30))
    result = fastseg.segment(image, 3)
    with pytest.raises(ValueError, match="other values than the one that was segmented"):
        fastseg.report(other, result)
    image[3, 4] = np.nan
    result = fastseg.segment(image, 3)
    other[5, 6] = np.nan
    with pytest.raises(ValueError, match="other values than the one that was segmented"):
        fastseg.report(other, result)


@pytest.mark.parametrize("names", [None, ["a longer name than fits", "b", "c"]])
def test_columns_of_the_table_do_not_touch(names):
    image = np.random.default_rng(3).integers(0, 65536, (40, 40, 5)).astype(np.uint16)
    figure = fastseg.report(image, fastseg.segment(image, 3, names=names, random_state=0))
    FigureCanvasAgg(figure).draw()
    table = figure.axes[-1]
    words = [text for text in table.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in words]
    assert len(boxes) == 16
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
