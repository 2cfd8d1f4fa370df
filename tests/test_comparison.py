"""Methods side by side: `compare` and `fastseg compare`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as pillow
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

import fastseg
from fastseg.cli import main
from fastseg.validity import adjusted_rand

RNG = np.random.default_rng(8)
GREY = (RNG.normal(0, 20, (30, 41)) + RNG.choice([40, 120, 200], (30, 41))).clip(0, 255)
GREY = GREY.astype(np.uint8)
COLORS = RNG.integers(0, 256, (20, 31, 3)).astype(np.uint8)
LABELS = hnp.arrays(np.uint8, st.shared(st.integers(2, 60), key="n"), elements=st.integers(0, 4))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with in.png in it."""
    monkeypatch.chdir(tmp_path)
    pillow.fromarray(GREY).save("in.png")
    return tmp_path


def run(capsys, *args):
    assert main([str(arg) for arg in args]) == 0, capsys.readouterr().err
    return capsys.readouterr()


def fails(capsys, code, *args):
    before = set(os.listdir())
    assert main(list(args)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastseg: error: ")
    assert set(os.listdir()) == before
    return err


@given(LABELS, LABELS)
@settings(deadline=None)
def test_the_adjusted_rand_index_is_scikit_learns(a, b):
    expected = adjusted_rand_score(a, b)
    assert adjusted_rand(a, b) == pytest.approx(expected, abs=1e-12)
    assert adjusted_rand(a, (7 - a).astype(np.uint8)) == 1  # names do not matter


def test_of_one_channel_every_method_is_compared():
    found = fastseg.compare(GREY, 4, random_state=0)
    methods = [row.method for row in found.rows]
    assert methods == ["lloyd", "optimal", "ward", "sklearn"]
    assert found.rows[found.best].method == "optimal"
    assert found.excess(found.rows[found.best]) == 0
    for row in found.rows[:3]:
        alone = fastseg.segment(GREY, 4, method=row.method, random_state=0)
        np.testing.assert_array_equal(row.result.labels, alone.labels)
        assert row.result.inertia == alone.inertia
    for i, a in enumerate(found.rows):
        for j, b in enumerate(found.rows):
            expected = adjusted_rand_score(a.result.labels.ravel(), b.result.labels.ravel())
            assert found.agreement[i, j] == pytest.approx(expected)


@pytest.mark.parametrize("color_space", ["rgb", "lab"])
def test_scikit_learn_is_told_in_our_words(color_space):
    mask = RNG.random(COLORS.shape[:2]) < 0.8
    found = fastseg.compare(
        COLORS, 3, methods=["sklearn"], random_state=1, mask=mask, color_space=color_space
    )
    (row,) = found.rows
    points = COLORS[mask]
    if color_space == "lab":
        points = fastseg.color.color_space("lab", np.dtype("uint8"), 3).forward(points)
    theirs = KMeans(3, random_state=1).fit(points.astype(np.float64))
    assert row.result.inertia == pytest.approx(theirs.inertia_)
    assert adjusted_rand_score(theirs.labels_, row.result.labels[mask]) == 1
    assert (row.result.labels[~mask] == 0).all()
    for label in (1, 2, 3):
        inside = COLORS[row.result.labels == label]
        assert row.result.counts[label - 1] == len(inside)
        np.testing.assert_allclose(row.result.centers[label - 1], inside.mean(axis=0))
    assert (np.diff(row.result.centers @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_prototypes_are_taken_where_the_tree_would_be_too_large():
    small = fastseg.compare(COLORS, 3, methods=["ward"])
    assert (small.rows[0].name, len(small.rows[0].result.tree.values)) == ("Ward", 620)
    many = np.random.default_rng(0).integers(0, 256, (150, 150, 3)).astype(np.uint8)
    found = fastseg.compare(many, 3, methods=["ward"], prototypes=32, random_state=0)
    assert found.rows[0].name == "Ward of 32 prototypes"
    assert len(found.rows[0].result.tree.values) == 32


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"methods must be some of lloyd, .* got 'kmeans'"):
        fastseg.compare(GREY, 3, methods=["ward", "kmeans"])
    with pytest.raises(TypeError, match="methods must be a sequence"):
        fastseg.compare(GREY, 3, methods="ward")
    with pytest.raises(ValueError, match="methods is empty"):
        fastseg.compare(GREY, 3, methods=[])
    with pytest.raises(ValueError, match="method='optimal' is for one channel"):
        fastseg.compare(COLORS, 3, methods=["optimal"])


def test_the_picture_has_a_panel_for_each_method():
    found = fastseg.compare(GREY, 4, random_state=0)
    panels = [ax for ax in found.plot().axes if ax.images]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert titles[0].strip() == "original"
    for ax, row, title in zip(panels[1:], found.rows, titles[1:], strict=True):
        assert title.startswith(row.name)
        assert f"inertia {row.result.inertia:.6g}" in title
        shown = ax.images[0].get_array()[..., :3].reshape(-1, 3)
        _, numbers = np.unique(shown, axis=0, return_inverse=True)
        assert adjusted_rand(numbers.ravel(), row.result.labels.ravel()) == 1


def test_the_command_prints_a_table(here, capsys):
    out, err = run(capsys, "compare", "in.png", "-k", 4, "--seed", 0, "--plot", "c.png")
    found = fastseg.compare(GREY, 4, random_state=0)
    lines = out.splitlines()
    assert lines[0] == "in.png: 41 x 30 pixels, 1 channel, uint8"
    assert lines[1].split()[:5] == ["method", "inertia", "above", "agreement", "seconds"]
    for line, row in zip(lines[2:6], found.rows, strict=True):
        assert line.startswith(row.name)
        assert f" {row.result.inertia:.6g} " in line
        assert line.split()[-4:] == [f"{size:,}" for size in row.result.counts]
    assert ["lowest" in line for line in lines[2:6]] == [i == found.best for i in range(4)]
    assert lines[6].startswith("agreement: adjusted Rand index with global optimum")
    assert lines[-1] == "written: c.png"
    assert Path("c.png").stat().st_size > 10_000
    assert err == ""


def test_the_command_gives_json(here, capsys):
    out, err = run(
        capsys, "compare", "in.png", "-k", 3, "--methods", "ward,lloyd", "--seed", 0, "--json",
        "--nodata", GREY[0, 0],
    )  # fmt: skip
    facts = json.loads(out)
    expected = fastseg.compare(
        GREY, 3, methods=["ward", "lloyd"], random_state=0, nodata=int(GREY[0, 0])
    ).as_dict()
    for table in (facts["methods"], expected["methods"]):
        for row in table:
            assert row.pop("seconds") > 0
    assert expected == {name: facts[name] for name in expected}
    assert facts["n_left_out"] == (GREY[0, 0] == GREY).sum()
    assert [row["method"] for row in facts["methods"]] == ["ward", "lloyd"]
    assert err == ""


def test_the_command_draws_a_tree_and_a_report(here, capsys):
    drawings = ["--report", "r.png", "--dendrogram", "d.svg"]
    out, _ = run(capsys, "segment", "in.png", "o.npy", "-k", 3, "--method", "ward", *drawings)
    assert "method: ward, cut from the tree of " in out
    assert out.splitlines()[-3:] == ["written: o.npy", "written: r.png", "written: d.svg"]
    expected = fastseg.segment(GREY, 3, method="ward")
    np.testing.assert_array_equal(np.load("o.npy"), expected.labels)
    assert sorted(os.listdir()) == ["d.svg", "in.png", "o.npy", "r.png"]


def test_prototypes_on_the_command_line(here, capsys):
    pillow.fromarray(COLORS).save("colors.png")
    out, _ = run(capsys, "segment", "colors.png", "o.npy", "-k", 3, "--method", "ward",
                 "--prototypes", 16, "--seed", 0)  # fmt: skip
    assert "cut from the tree of 16 values" in out
    expected = fastseg.segment(COLORS, 3, method="ward", prototypes=16, random_state=0)
    np.testing.assert_array_equal(np.load("o.npy"), expected.labels)


def test_wrong_usage_leaves_nothing(here, capsys):
    segment = ["segment", "in.png", "o.npy", "-k", "3"]
    err = fails(capsys, 1, *segment, "--dendrogram", "d.png")
    assert "use it with --method ward" in err
    err = fails(capsys, 1, *segment, "--report", "r.jpg")
    assert "'.jpg'" in err
    err = fails(capsys, 1, *segment, "--method", "ward", "--report", "r.png", "--dendrogram",
                "./r.png")  # fmt: skip
    assert "./r.png: is to be written twice" in err
    err = fails(capsys, 1, "segment", "in.png", "r.png", "-k", "3", "--report", "r.png")
    assert "is to be written twice" in err
    err = fails(capsys, 1, *segment, "--method", "ward", "--tol", "0")
    assert "has no meaning with method='ward'" in err
    err = fails(capsys, 2, "scan", "in.png", "--method", "ward")
    assert "'ward' is not one of auto, lloyd, optimal" in err
    err = fails(capsys, 2, "compare", "in.png", "--methods", "kmeans")
    assert "some of lloyd, optimal, ward, sklearn, got 'kmeans'" in err
    err = fails(capsys, 1, "compare", "in.png", "-k", "999")
    assert "n_clusters=999 is more than the image's" in err


def test_every_pixel_a_cluster_of_its_own():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    found = fastseg.compare(image, 12, random_state=0)
    assert [found.excess(row) for row in found.rows] == [0.0] * len(found.rows)


def test_channels_on_their_own_scales():
    rng = np.random.default_rng(0)
    image = rng.random((30, 40, 2)) * [1.0, 1000.0]
    found = fastseg.compare(image, 3, standardize=True, random_state=0)
    expected = fastseg.segment(image, 3, method="lloyd", standardize=True, random_state=0)
    np.testing.assert_array_equal(found.rows[0].result.labels, expected.labels)
    assert found.agreement[0, -1] > 0.3
