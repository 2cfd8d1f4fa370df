"""The command line on volumes: what it reads, writes and says, and what it refuses."""

from __future__ import annotations

import json
import os

import nibabel
import numpy as np
import pytest
from PIL import Image as pillow

import fastseg
from fastseg.cli import main

RNG = np.random.default_rng(23)
SHAPE = (8, 9, 7)
BRAIN = np.zeros(SHAPE, bool)
BRAIN[1:-1, 1:-1, 1:-1] = True
TISSUES = np.where(np.arange(9)[:, None] < 4, 0, np.where(np.arange(7) < 4, 1, 2))
TISSUES = np.broadcast_to(TISSUES, SHAPE)
T1 = np.where(BRAIN, np.array([40, 90, 150])[TISSUES], 2) + RNG.integers(-2, 3, SHAPE)
T1 = T1.astype(np.uint8)
T2 = np.where(BRAIN, np.array([900, 500, 300])[TISSUES], 0).astype(np.int16)
AFFINE = np.diag([-1.5, 2.0, 0.5, 1.0])


def save(array, name, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(array, affine), name)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with two scans of a head, and its brain."""
    monkeypatch.chdir(tmp_path)
    save(T1, "t1.nii.gz")
    save(T2, "t2.nii.gz")
    save(BRAIN.astype(np.uint8), "brain.nii.gz")
    return tmp_path


def run(capsys, *args) -> str:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def array(name) -> np.ndarray:
    return np.asarray(nibabel.load(name).dataobj)


def test_a_masked_brain_with_names_from_file_to_file(here, capsys):
    out = run(capsys, "segment", "t1.nii.gz", "labels.nii.gz", "--mask", "brain.nii.gz",
              "--names", "CSF,GM,WM", "--model", "m.json")  # fmt: skip
    lines = out.splitlines()
    assert lines[0] == "t1.nii.gz: 8 x 9 x 7 pixels, 1 channel, uint8"
    assert lines[1].split() == ["label", "class", "colour", "centre", "pixels", "share"]
    assert [line.split()[:2] for line in lines[2:5]] == [["1", "CSF"], ["2", "GM"], ["3", "WM"]]
    labels = array("labels.nii.gz")
    np.testing.assert_array_equal(labels, np.where(BRAIN, TISSUES + 1, 0))
    written = nibabel.load("labels.nii.gz")
    np.testing.assert_array_equal(written.affine, AFFINE)
    classes = json.loads(written.header.extensions[0].get_content())["fastseg"]["classes"]
    assert classes == {"1": "CSF", "2": "GM", "3": "WM"}
    assert json.loads((here / "m.json").read_text())["names"] == ["CSF", "GM", "WM"]


def test_a_model_carries_its_names_to_a_scan_of_another_scale(here, capsys):
    run(capsys, "segment", "t1.nii.gz", "a.nii.gz", "--mask", "brain.nii.gz",
        "--names", "CSF,GM,WM", "--model", "m.json")  # fmt: skip
    save(T1.astype(np.int16) * 20 + 7, "other.nii.gz")
    facts = json.loads(
        run(capsys, "predict", "m.json", "other.nii.gz", "b.nii.gz", "--mask", "brain.nii.gz",
            "--match", "zscore", "--distance", "far.nii.gz", "--json")
    )  # fmt: skip
    assert (facts["match"], facts["names"]) == ("zscore", ["CSF", "GM", "WM"])
    np.testing.assert_array_equal(array("b.nii.gz"), array("a.nii.gz"))
    for name in ("a.nii.gz", "b.nii.gz"):
        assert "GM" in nibabel.load(name).header.extensions[0].get_content().decode()
    far = array("far.nii.gz")
    assert far.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(far), ~BRAIN)
    model = fastseg.load_model("m.json")
    expected = fastseg.distance_map("other.nii.gz", model, mask="brain.nii.gz", match="zscore")
    np.testing.assert_array_equal(far, expected)
    np.testing.assert_array_equal(nibabel.load("far.nii.gz").affine, AFFINE)
    out = run(capsys, "predict", "m.json", "t1.nii.gz", "c.nii.gz", "--match", "histogram")
    assert "match: the values were fitted to the model's scale by histogram" in out
    plain = json.loads(run(capsys, "predict", "m.json", "t1.nii.gz", "d.nii.gz", "--json"))
    assert plain["match"] is None


def test_the_air_is_left_out_by_itself(here, capsys):
    out = run(capsys, "segment", "t1.nii.gz", "a.nii", "-k", 3, "--foreground", "auto")
    np.testing.assert_array_equal(array("a.nii") > 0, T1 >= 88)
    assert "foreground: values from 88 up (Otsu's threshold)" in out
    scan = json.loads(run(capsys, "scan", "t1.nii.gz", "-k", "2:3", "--foreground", "auto",
                          "--json"))  # fmt: skip
    assert scan["n_left_out"] == (T1 < 88).sum()


def test_the_foreground_of_one_scan_is_a_mask_for_several(here, capsys):
    run(capsys, "segment", "t1.nii.gz", "head.nii.gz", "-k", 1, "--foreground", "auto")
    run(capsys, "segment", "t1.nii.gz", "a.nii.gz", "-k", 2, "--channel", "t2.nii.gz",
        "--mask", "head.nii.gz", "--seed", 0)  # fmt: skip
    np.testing.assert_array_equal(array("a.nii.gz") > 0, T1 >= 88)


def test_co_registered_scans_are_channels(here, capsys):
    args = ("--channel", "t2.nii.gz", "--standardize", "--mask", "brain.nii.gz", "--seed", 0)
    out = run(capsys, "segment", "t1.nii.gz", "a.nii.gz", "-k", 3, *args, "--model", "m.json")
    assert "2 channels" in out
    facts = run(capsys, "segment", "t1.nii.gz", "c.nii.gz", "-k", 3, *args, "--json")
    assert json.loads(facts)["standardized"] is True
    # By the mean of the channels, T2 has them the other way round.
    np.testing.assert_array_equal(array("a.nii.gz"), np.where(BRAIN, 3 - TISSUES, 0))
    run(capsys, "predict", "m.json", "t1.nii.gz", "b.nii.gz", "--channel", "t2.nii.gz",
        "--mask", "brain.nii.gz")  # fmt: skip
    np.testing.assert_array_equal(array("b.nii.gz"), array("a.nii.gz"))


def test_frames_of_a_series(here, capsys):
    save(np.stack([T1, 255 - T1], axis=-1), "4d.nii.gz")
    out = run(capsys, "segment", "4d.nii.gz", "a.nii.gz", "-k", 3, "--seed", 0)
    assert "8 x 9 x 7 pixels, 2 channels" in out
    assert array("a.nii.gz").shape == SHAPE
    out = run(capsys, "segment", "4d.nii.gz", "b.nii.gz", "-k", 3, "--frames", "each")
    assert "8 x 9 x 7 x 2 pixels, 1 channel" in out
    assert array("b.nii.gz").shape == (*SHAPE, 2)


def test_objects_and_specks(here, capsys):
    noisy = T1.copy()
    noisy[4, 2, 3] = 150
    save(noisy, "noisy.nii.gz")
    args = ("segment", "noisy.nii.gz", "--mask", "brain.nii.gz", "--names", "CSF,GM,WM")
    out = run(capsys, args[0], args[1], "a.nii.gz", *args[2:], "--objects", "WM,1",
              "--objects-out", "parts.nii.gz")  # fmt: skip
    lines = out.splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith("objects:"))
    assert lines[start] == "objects: 3"
    header = ["object", "label", "class", "pixels", "mm3", "box", "centroid"]
    assert lines[start + 1].split() == header
    assert lines[start + 4].split()[:5] == ["3", "3", "WM", "1", "1.5"]
    parts = array("parts.nii.gz")
    np.testing.assert_array_equal(parts == 3, noisy != T1)
    np.testing.assert_array_equal(nibabel.load("parts.nii.gz").affine, AFFINE)
    facts = json.loads(
        run(capsys, args[0], args[1], "b.nii.gz", *args[2:], "--min-size", 2, "--objects", "all",
            "--json")
    )  # fmt: skip
    np.testing.assert_array_equal(array("b.nii.gz"), np.where(BRAIN, TISSUES + 1, 0))
    assert {"segment", "specks", "objects", "write"} <= set(facts["seconds"])
    assert [row["name"] for row in facts["objects"]] == ["CSF", "GM", "WM"]
    assert facts["counts"] == [row["pixels"] for row in facts["objects"]]


def test_info_tells_the_size_of_voxels(here, capsys):
    out = run(capsys, "info", "t1.nii.gz")
    assert "grid:            8 x 9 x 7 pixels" in out
    assert "voxel size:      1.5 x 2 x 0.5 mm" in out


SEGMENT = ["segment", "t1.nii.gz", "out.nii.gz"]


@pytest.mark.parametrize(
    ("code", "args", "words"),
    [
        (1, ["segment", "short.nii.gz", "out.nii.gz"], "short.nii.gz: the file is truncated"),
        (1, [*SEGMENT, "--mask", "small.nii.gz"], "grid (7, 9, 7), but the image has (8, 9, 7)"),
        (1, [*SEGMENT, "--mask", "moved.nii.gz"], "voxels lie up to 4 mm away"),
        (1, [*SEGMENT, "--mask", "none.nii.gz"], "every pixel of the image is left out"),
        (1, [*SEGMENT, "--channel", "moved.nii.gz"], "voxels lie up to 4 mm away"),
        (1, [*SEGMENT, "-k", "4", "--names", "GM,WM"], "2 names (GM, WM), but there are 4"),
        (2, [*SEGMENT, "--names", "GM,GM"], "'GM' occurs twice"),
        (1, [*SEGMENT, "-k", "2", "--objects", "CSF"], "holds 'CSF', but the names"),
        (1, [*SEGMENT, "--objects-out", "out.nii.gz"], "is to be written twice"),
        (1, [*SEGMENT, "--objects-out", "t1.nii.gz"], "is also an input"),
        (1, [*SEGMENT, "--objects-out", "parts.png"], "parts.png: a PNG holds two-dimensional"),
        (2, [*SEGMENT, "--min-size", "0"], "0 is not in the range x>=1"),
        (1, [*SEGMENT, "--frames", "each"], "is no series of frames"),
        (2, [*SEGMENT, "--foreground", "head"], "'head' is not 'auto'"),
        (1, ["segment", "t1.nii.gz", "out.png"], "two-dimensional labels"),
        (1, ["segment", "folder", "out.nii.gz"], "is a folder without DICOM files"),
        (1, ["predict", "m.json", "t1.nii.gz", "out.nii", "--distance", "d.png"], "'.png'"),
        (1, ["predict", "old.json", "t1.nii.gz", "out.nii", "--match", "zscore"], "keep_profile"),
    ],
)
def test_what_cannot_be_done(here, capsys, code, args, words):
    content = (here / "t1.nii.gz").read_bytes()
    (here / "short.nii.gz").write_bytes(content[: len(content) // 2])
    save(T1[:-1], "small.nii.gz")
    save(T1, "moved.nii.gz", AFFINE + np.outer([0, 4, 0, 0], [0, 0, 0, 1]))
    save(np.zeros(SHAPE, np.uint8), "none.nii.gz")
    (here / "folder").mkdir()
    result = fastseg.segment(T1, 2)
    result.save("m.json")
    result.profile = None
    result.save("old.json")
    before = sorted(os.listdir())
    assert main(args) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert sorted(os.listdir()) == before


def test_objects_of_frames_are_refused_before_the_work(here, capsys):
    save(np.stack([T1, 255 - T1], axis=-1), "4d.nii.gz")
    args = ["segment", "4d.nii.gz", "a.nii.gz", "--frames", "each", "--min-size", "3"]
    assert main(args) == 1
    assert "take the frames of a series as channels" in capsys.readouterr().err
    assert not os.path.exists("a.nii.gz")


def test_a_picture_has_objects_too(here, capsys):
    pillow.fromarray(T1[4]).save("in.png")
    out = run(capsys, "segment", "in.png", "out.png", "-k", 2, "--objects", "1",
              "--objects-out", "parts.tif")  # fmt: skip
    assert "objects: 1" in out
    np.testing.assert_array_equal(np.array(pillow.open("parts.tif")) > 0, T1[4] > 60)
