"""The command line: what it writes and prints when all goes well."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

import fastseg
from fastseg.cli import main

COURSE_DATA = Path(
    os.environ.get("FASTSEG_COURSE_DATA", Path(__file__).parents[2] / "shared" / "data")
)
RNG = np.random.default_rng(9)
# Three clear colours with some noise, in unequal parts.
PARTS = RNG.choice(3, (23, 31), p=[0.5, 0.3, 0.2])
RGB = np.array([[20, 30, 40], [120, 90, 60], [230, 220, 240]])[PARTS] + RNG.integers(
    -9, 10, (23, 31, 3)
)
RGB = RGB.astype(np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with a picture of three colours, to work in."""
    monkeypatch.chdir(tmp_path)
    pillow.fromarray(RGB).save("in.png")
    return tmp_path


def run(capsys, *args) -> tuple[str, str]:
    """What a command that ends well prints on stdout and stderr."""
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def result(capsys, *args) -> dict:
    out, err = run(capsys, *args, "--json")
    assert err == ""

    def no_constants(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(out, parse_constant=no_constants)


def values(path) -> np.ndarray:
    """The stored values of a label file, which of a palette are its indices."""
    if str(path).endswith(".npy"):
        return np.load(path)
    with pillow.open(path) as picture:
        return np.array(picture)


# segment


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_segment_writes_the_labels_of_the_library(here, capsys, suffix):
    run(capsys, "segment", "in.png", f"out.{suffix}", "-k", 3, "--seed", 1)
    expected = fastseg.segment(RGB, 3, random_state=1)
    np.testing.assert_array_equal(values(f"out.{suffix}"), expected.labels)
    np.testing.assert_array_equal(expected.labels, PARTS)
    assert sorted(os.listdir()) == ["in.png", f"out.{suffix}"]


def test_the_png_is_label_map_and_picture_in_one(here, capsys):
    run(capsys, "segment", "in.png", "out.png", "-k", 3)
    means = np.array([RGB[label == PARTS].mean(axis=0).round() for label in range(3)])
    with pillow.open("out.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture.convert("RGB")), means[PARTS])


def test_json_is_the_only_thing_on_stdout_and_says_everything(here, capsys):
    facts = result(capsys, "segment", "in.png", "out.npy", "-k", 3, "--seed", 5)
    expected = fastseg.segment(RGB, 3, random_state=5)
    assert facts["centers"] == expected.centers.tolist()
    assert facts["counts"] == expected.counts.tolist()
    for name in ("n_clusters", "inertia", "n_iter", "converged", "method", "backend", "reason"):
        assert facts[name] == getattr(expected, name)
    assert facts["n_left_out"] == 0
    assert facts["start_label"] == 0
    assert facts["label_values"] == [0, 1, 2]
    assert facts["grid"] == [23, 31]
    assert facts["notes"] == []
    seconds = facts["seconds"]
    assert {"read", "segment", "write", "total", *expected.seconds} == set(seconds)
    parts = seconds["read"] + seconds["segment"] + seconds["write"]
    assert seconds["total"] == pytest.approx(parts, abs=1e-5)


def test_without_json_people_get_a_summary(here, capsys):
    out, err = run(capsys, "segment", "in.png", "out.png", "-k", 3, "--model", "m.json")
    lines = out.splitlines()
    assert lines[0] == "in.png: 31 x 23 pixels, 3 channels, uint8"
    assert lines[1].split() == ["label", "colour", "centre", "pixels", "share"]
    for label in range(3):
        words = lines[2 + label].split()
        count = int((label == PARTS).sum())
        color = RGB[label == PARTS].mean(axis=0).round().astype(int)
        assert words[0] == str(label)
        assert words[1] == "#{:02x}{:02x}{:02x}".format(*color)
        assert words[-3:] == [str(count), f"{100 * count / PARTS.size:.1f}", "%"]
    assert any(line.startswith("time: ") for line in lines)
    assert any("iterations, converged" in line for line in lines)
    assert any(line.startswith("backend: cpu (") for line in lines)
    assert lines[-2:] == ["written: out.png", "written: m.json"]
    assert err == ""
    assert "\x1b" not in out


def test_alpha_is_left_out_with_label_0_and_is_transparent(here, capsys):
    alpha = np.where(np.arange(31) < 10, 0, 255).astype(np.uint8) * np.ones((23, 1), np.uint8)
    pillow.fromarray(np.dstack([RGB, alpha])).save("rgba.png")
    facts = result(capsys, "segment", "rgba.png", "out.png", "-k", 3)
    np.testing.assert_array_equal(values("out.png"), np.where(alpha == 0, 0, PARTS + 1))
    assert facts["n_left_out"] == 230
    assert facts["start_label"] == 1
    assert facts["label_values"] == [1, 2, 3]
    assert sum(facts["counts"]) == 23 * 21
    with pillow.open("out.png") as picture:
        np.testing.assert_array_equal(np.array(picture.convert("RGBA"))[..., 3], alpha)


def test_a_mask_and_nodata_leave_pixels_out(here, capsys):
    array = RGB.copy()
    array[5, 6] = 0
    array[5, 7] = 0, 0, 1
    pillow.fromarray(array).save("in.png")
    kept = RNG.random((23, 31)) < 0.5
    kept[5, 6:8] = True
    pillow.fromarray(kept).save("mask.png")
    facts = result(
        capsys, "segment", "in.png", "out.npy", "-k", 3, "--mask", "mask.png", "--nodata", 0
    )
    kept[5, 6] = False
    np.testing.assert_array_equal(np.load("out.npy") > 0, kept)
    assert facts["n_left_out"] == int((~kept).sum())


def test_start_label(here, capsys):
    run(capsys, "segment", "in.png", "out.npy", "-k", 3, "--start-label", 1)
    np.testing.assert_array_equal(np.load("out.npy"), PARTS + 1)


@pytest.mark.parametrize("from_file", [True, False])
def test_given_centres_say_how_many_clusters_there_are(here, capsys, from_file):
    words = "20,30,40;120,90,60;230,220,240"
    if from_file:
        Path("centers.csv").write_bytes(words.replace(";", "\r").encode())
        words = "centers.csv"
    facts = result(capsys, "segment", "in.png", "out.npy", "--init", words)
    assert facts["n_clusters"] == 3
    np.testing.assert_array_equal(np.load("out.npy"), PARTS)


def test_without_k_there_are_8_clusters(here, capsys):
    assert result(capsys, "segment", "in.png", "out.npy")["n_clusters"] == 8


@pytest.mark.parametrize("args", [["--init", "random", "--n-init", "3"], ["--method", "lloyd"]])
def test_the_options_of_the_method_are_passed_on(here, capsys, args):
    more = ["--max-iter", "50", "--tol", "0", "--color-space", "rgb", "--backend", "cpu"]
    facts = result(capsys, "segment", "in.png", "out.npy", "-k", 3, "--seed", 2, *args, *more)
    options = {"init": "random", "n_init": 3} if args[0] == "--init" else {}
    expected = fastseg.segment(RGB, 3, max_iter=50, tol=0, random_state=2, **options)
    assert facts["centers"] == expected.centers.tolist()
    assert (facts["n_iter"], facts["reason"]) == (expected.n_iter, "asked for")


@pytest.mark.parametrize("n_threads", [1, 2, 3, -1])
def test_the_same_bytes_for_any_number_of_threads(here, capsys, n_threads):
    run(capsys, "segment", "in.png", "a.png", "--seed", 3)
    run(capsys, "segment", "in.png", "b.png", "--seed", 3, "--threads", n_threads)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_notes_are_shown_and_are_no_part_of_stdout_json(here, capsys):
    exif = pillow.Exif()
    exif[0x0112] = 6
    pillow.fromarray(RGB).save("turned.png", exif=exif)
    out, _ = run(capsys, "segment", "turned.png", "a.npy", "-k", 3)
    assert "note: EXIF orientation 6 was applied." in out.splitlines()
    out, err = run(capsys, "segment", "turned.png", "b.npy", "-k", 3, "--json")
    assert json.loads(out)["notes"] == ["EXIF orientation 6 was applied."]
    assert err == "fastseg: note: turned.png: EXIF orientation 6 was applied.\n"
    np.testing.assert_array_equal(np.load("b.npy"), np.rot90(PARTS, -1))


def test_overwrite_replaces_labels_and_model(here, capsys):
    for seed in (1, 2):
        run(
            capsys, "segment", "in.png", "out.png", "-k", seed + 1, "--model", "m.json",
            *["--overwrite"] * (seed > 1),
        )  # fmt: skip
    assert len(np.unique(values("out.png"))) == 3
    assert fastseg.load_model("m.json").n_clusters == 3


@pytest.mark.skipif(
    not (COURSE_DATA / "healthy.csv").is_file(), reason=f"no course data in {COURSE_DATA}"
)
def test_the_published_segmentation_of_the_mri(here, capsys):
    start = "0.435897436,0.094017094,0.072649573,0.299145299,0.098290598"
    facts = result(
        capsys, "segment", COURSE_DATA / "healthy.csv", "out.png", "-k", 5, "--init", start,
        "--method", "lloyd", "--model", "m.json",
    )  # fmt: skip
    published = {
        0.48177191: 20556, 0.10619450: 101085, 0.01961886: 133162,
        0.30942825: 31555, 0.18420578: 79278,
    }  # fmt: skip
    assert [round(center, 8) for (center,) in facts["centers"]] == sorted(published)
    assert facts["counts"] == [published[center] for center in sorted(published)]
    np.testing.assert_array_equal(np.bincount(values("out.png").ravel()), facts["counts"])

    run(capsys, "predict", "m.json", COURSE_DATA / "tumor.csv", "tumor.png")
    pixels = np.loadtxt(COURSE_DATA / "tumor.csv", delimiter=",")
    distances = np.abs(pixels[..., None] - np.ravel(facts["centers"]))
    np.testing.assert_array_equal(values("tumor.png"), distances.argmin(axis=-1))


# predict


def test_predict_labels_the_same_image_the_same(here, capsys):
    run(capsys, "segment", "in.png", "a.png", "-k", 3, "--model", "m.json")
    out, _ = run(capsys, "predict", "m.json", "in.png", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert out.splitlines()[-1] == "written: b.png"
    facts = result(capsys, "predict", "m.json", "in.png", "b.npy", "--threads", 1)
    assert facts["counts"] == np.bincount(PARTS.ravel()).tolist()
    assert facts["label_values"] == [0, 1, 2]
    assert set(facts["seconds"]) == {"read", "predict", "write", "total"}


def test_predict_leaves_out_what_the_model_did_not(here, capsys):
    run(capsys, "segment", "in.png", "a.png", "-k", 3, "--model", "m.json")
    mask = RNG.random((23, 31)) < 0.5
    pillow.fromarray(mask).save("mask.png")
    facts = result(capsys, "predict", "m.json", "in.png", "b.png", "--mask", "mask.png")
    np.testing.assert_array_equal(values("b.png"), np.where(mask, PARTS + 1, 0))
    assert facts["start_label"] == 1
    assert facts["counts"] == np.bincount(PARTS[mask]).tolist()
    assert facts["n_left_out"] == int((~mask).sum())
    with pillow.open("a.png") as first, pillow.open("b.png") as second:
        assert second.getpalette() == [0, 0, 0, *first.getpalette()]


def test_allow_dtype(here, capsys):
    np.save("wide.npy", RGB.astype(np.uint16))
    run(capsys, "segment", "in.png", "a.npy", "-k", 3, "--model", "m.json")
    run(capsys, "predict", "m.json", "wide.npy", "b.npy", "--allow-dtype")
    np.testing.assert_array_equal(np.load("b.npy"), PARTS)
