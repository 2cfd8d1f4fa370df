"""Choosing k on the command line: `fastseg scan`, and `fastseg segment -k auto`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

import fastseg
from fastseg.cli import main

RNG = np.random.default_rng(11)
SPOTS = np.array([[30, 40, 50], [200, 60, 70], [60, 190, 80], [190, 200, 210]])
RGB = np.clip(SPOTS[RNG.integers(0, 4, (23, 31))] + RNG.normal(0, 6, (23, 31, 3)), 0, 255)
RGB = RGB.round().astype(np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with in.png in it."""
    monkeypatch.chdir(tmp_path)
    pillow.fromarray(RGB).save("in.png")
    return tmp_path


def run(capsys, *args):
    assert main([str(arg) for arg in args]) == 0, capsys.readouterr().err
    return capsys.readouterr()


def fails(capsys, code, *args):
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    assert main(list(args)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.lstrip().startswith("fastseg: error: ")
    assert err.strip().count("\n") == 0
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before
    return err


def test_the_table_marks_the_best(here, capsys):
    out, err = run(capsys, "scan", "in.png", "--seed", 0)
    expected = fastseg.scan(RGB, random_state=0)
    lines = out.splitlines()
    assert lines[0] == "in.png: 31 x 23 pixels, 3 channels, uint8"
    assert lines[1].split()[:4] == ["k", "inertia", "explained", "silhouette"]
    assert [int(line.split()[0]) for line in lines[2:11]] == list(range(2, 11))
    assert [line.endswith("<- best") for line in lines[2:11]] == [k == 4 for k in range(2, 11)]
    row = lines[4].split()
    assert row[1] == f"{expected.inertia[2]:.6g}"
    assert row[2:4] == [f"{100 * expected.explained[2]:.2f}", "%"]
    assert row[4] == f"{expected.silhouette[2]:.4f}"
    assert lines[11] == f"best: k = 4, because {expected.reason}"
    assert lines[12].startswith("time: ")
    assert "\x1b" not in out
    assert err == ""


def test_json_is_all_there_is_on_stdout(here, capsys):
    out, err = run(capsys, "scan", "in.png", "-k", "1:5", "--seed", 0, "--json")
    facts = json.loads(out)
    expected = fastseg.scan(RGB, range(1, 6), random_state=0).as_dict()
    assert expected == {name: facts[name] for name in expected}
    assert set(facts) - set(expected) == {
        "input", "plot", "grid", "dtype", "n_channels", "seconds", "notes",
    }  # fmt: skip
    assert (facts["grid"], facts["plot"]) == ([23, 31], None)
    assert set(facts["seconds"]) == {"read", "scan", "total"}
    assert err == ""


def test_notes_go_to_stderr_beside_json(here, capsys):
    exif = pillow.Exif()
    exif[0x0112] = 6
    pillow.fromarray(RGB).save("turned.png", exif=exif)
    out, err = run(capsys, "scan", "turned.png", "-k", "2", "--json")
    assert json.loads(out)["notes"] == ["EXIF orientation 6 was applied."]
    assert err == "fastseg: note: turned.png: EXIF orientation 6 was applied.\n"
    out, _ = run(capsys, "scan", "turned.png", "-k", "2")
    assert "note: EXIF orientation 6 was applied." in out.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [("2:4", [2, 3, 4]), ("8,2,4", [2, 4, 8]), ("3", [3]), ("2:3,6,5:6", [2, 3, 5, 6])],
)
def test_numbers_of_clusters(here, capsys, words, expected):
    out, _ = run(capsys, "scan", "in.png", "-k", words, "--json")
    assert json.loads(out)["n_clusters"] == expected


def test_the_options_are_passed_on(here, capsys):
    mask = RNG.random((23, 31)) < 0.5
    pillow.fromarray(mask).save("mask.png")
    given = ["--method", "lloyd", "--init", "random", "--n-init", 2, "--max-iter", 50, "--tol", 0,
             "--seed", 3, "--color-space", "lab", "--threads", 1, "--backend", "cpu",
             "--mask", "mask.png", "--nodata", 7, "--max-pixels", 713]  # fmt: skip
    out, _ = run(capsys, "scan", "in.png", "-k", "2,3", "--json", *given)
    facts = json.loads(out)
    expected = fastseg.scan(
        RGB, [2, 3], method="lloyd", init="random", n_init=2, max_iter=50, tol=0, random_state=3,
        color_space="lab", mask=mask, nodata=7,
    ).as_dict()  # fmt: skip
    assert expected == {name: facts[name] for name in expected}
    assert facts["n_left_out"] == (~mask).sum()


def test_grey_pictures_get_the_optimum(here, capsys):
    pillow.fromarray(RGB[..., 0]).save("grey.png")
    out, _ = run(capsys, "scan", "grey.png", "-k", "1,2,3")
    assert out.count("optimum") == 3
    assert out.splitlines()[2].split()[3:6] == ["%", "-", "-"]


def test_the_plot_is_written(here, capsys):
    out, _ = run(capsys, "scan", "in.png", "--plot", "scree.png")
    assert out.splitlines()[-1] == "written: scree.png"
    with pillow.open("scree.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20
    out, _ = run(capsys, "scan", "in.png", "--plot", "scree.png", "--overwrite", "--json")
    assert json.loads(out)["plot"] == "scree.png"
    assert sorted(os.listdir()) == ["in.png", "scree.png"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "Missing argument 'INPUT'"),
        (["in.png", "-k", "0:3"], "'0:3' goes below 1"),
        (["in.png", "-k", "5:2"], "'5:2' ends before it starts"),
        (["in.png", "-k", "abc"], "'abc' is neither a range such as 2:10 nor a list"),
        (["in.png", "-k", "2:3:4"], "'2:3:4' is neither"),
        (["in.png", "-k", "2:"], "'2:' is neither"),
        (["in.png", "-k", "-2"], "'-2' is neither"),
        (["in.png", "-k", ""], "'' is neither"),
        (["in.png", "-k", "2:9999999999"], "more than 1000 numbers"),
        (["in.png", "--init", "1,2,3"], "'1,2,3' is not one of k-means++, random"),
        (["in.png", "--method", "magic"], "'magic' is not one of auto"),
        (["in.png", "--start-label", "1"], "No such option"),
    ],
)
def test_wrong_usage_is_2(here, capsys, args, words):
    err = fails(capsys, 2, "scan", *args)
    assert words in err
    assert err.endswith("(see fastseg scan --help)\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["none.png"], "none.png: no such file"),
        (["in.png", "-k", "2:714"], "714 is more than the image's"),
        (["in.png", "--plot", "scree.gif"], "what can be written is .pdf, .png, .svg"),
        (["in.png", "--plot", "scree"], "no suffix"),
        (["none.png", "--plot", "old.svg"], "old.svg: exists already; give another name"),
        (["in.png", "--plot", "in.png", "--overwrite"], "is also an input"),
        (["in.png", "--plot", "no/scree.png"], "the folder no does not exist"),
        (["in.png", "--method", "optimal"], "one channel"),
    ],
)
def test_what_cannot_be_done_is_1(here, capsys, args, words):
    Path("old.svg").write_text("old")
    assert words in fails(capsys, 1, "scan", *args)


def test_without_matplotlib_nothing_is_computed(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "fastseg[plot]" in fails(capsys, 1, "scan", "none.png", "--plot", "scree.png")
    run(capsys, "scan", "in.png", "-k", "2")


def test_an_interrupt_leaves_no_file(here, capsys, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupt)
    assert "interrupted" in fails(capsys, 130, "scan", "in.png", "--plot", "scree.png")


# segment -k auto


def test_segment_chooses_k_and_says_why(here, capsys):
    out, _ = run(capsys, "segment", "in.png", "out.npy", "-k", "auto", "--seed", 0)
    reason = "the inertia has its elbow at k = 4, among k = 2 to 10"
    assert f"chosen: 4 clusters, because {reason}" in out.splitlines()
    expected = fastseg.segment(RGB, 4, random_state=0)
    np.testing.assert_array_equal(np.load("out.npy"), expected.labels)
    out, _ = run(capsys, "segment", "in.png", "o2.npy", "-k", "auto", "--seed", 0, "--json")
    facts = json.loads(out)
    assert (facts["n_clusters"], facts["chosen_k_reason"]) == (4, reason)
    out, _ = run(capsys, "segment", "in.png", "o3.npy", "-k", 4, "--json")
    assert json.loads(out)["chosen_k_reason"] is None


@pytest.mark.parametrize(("n_distinct", "expected"), [(1, 1), (2, 2), (3, 3)])
def test_auto_keeps_to_the_distinct_pixels(here, capsys, n_distinct, expected):
    for dtype in (np.uint8, np.float64):
        values = np.array([3, 90, 250])[:n_distinct].astype(dtype)
        np.save("in.npy", values[np.arange(60).reshape(6, 10) % n_distinct])
        out, _ = run(capsys, "segment", "in.npy", "out.npy", "-k", "auto", "--json", "--overwrite")
        assert json.loads(out)["n_clusters"] == expected


def test_given_centres_leave_nothing_to_choose(here, capsys):
    err = fails(capsys, 1, "segment", "in.png", "out.npy", "-k", "auto", "--init", "1,2,3;4,5,6")
    assert "2 starting centres are given, but -k auto is asked for" in err


def test_n_clusters_auto_in_python():
    result = fastseg.segment(RGB, "auto", random_state=0)
    assert result.n_clusters == 4
    assert result.chosen_k_reason.startswith("the inertia has its elbow at k = 4")
    assert fastseg.segment(RGB, 4, random_state=0).chosen_k_reason is None
    with pytest.raises(TypeError, match="given centres fix it"):
        fastseg.segment(RGB, "auto", init=np.zeros((2, 3)))
