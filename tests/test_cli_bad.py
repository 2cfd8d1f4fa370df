"""The command line when things go wrong: one line, the right code, nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

import fastseg
from fastseg.cli import main

RNG = np.random.default_rng(10)
RGB = RNG.integers(0, 256, (12, 15, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Files of all sorts, good and bad."""
    folder = tmp_path_factory.mktemp("material")
    pillow.fromarray(RGB).save(folder / "in.png")
    content = (folder / "in.png").read_bytes()
    (folder / "short.png").write_bytes(content[: len(content) // 2])
    (folder / "flipped.png").write_bytes(content[:90] + bytes([content[90] ^ 1]) + content[91:])
    (folder / "empty.png").touch()
    (folder / "in.xyz").write_bytes(content)
    (folder / "ragged.csv").write_text("1,2\n3\n")
    (folder / "centers.csv").write_text("1,2,3\n4,x,6\n")
    pillow.fromarray(RGB[..., 0]).save(folder / "grey.png")
    pillow.fromarray(np.zeros((12, 15), np.uint8)).save(folder / "black.png")
    pillow.fromarray(RGB[..., 0] // 128).save(folder / "half.png")
    pillow.fromarray(np.ones((9, 9), np.uint8)).save(folder / "small.png")
    pillow.fromarray(np.dstack([RGB, np.zeros_like(RGB[..., 0])])).save(folder / "clear.png")
    np.save(folder / "two.npy", np.eye(9))
    np.save(folder / "inf.npy", np.where(np.eye(9) > 0, np.inf, 1.0))
    np.save(folder / "wide.npy", RGB.astype(np.uint16))
    np.save(folder / "volume.npy", RNG.integers(0, 99, (20, 21, 22)))
    np.save(folder / "none.npy", np.zeros((0, 5)))
    (folder / "exists.png").write_bytes(b"old")
    (folder / "exists.json").write_bytes(b"old")
    (folder / "broken.json").write_text("{")
    fastseg.segment(RGB, 3, random_state=0).save(folder / "model.json")
    return folder


@pytest.fixture
def here(material, monkeypatch):
    """The folder of the material, which must be as it was afterwards."""
    monkeypatch.chdir(material)
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    yield material
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def fails(capsys, code: int, *args: str) -> str:
    """Run what must fail with a code; give the one line on stderr."""
    assert main(list(args)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastseg: error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


SEGMENT = ["segment", "in.png", "out.png"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["segment"], "Missing argument 'INPUT'"),
        (["segment", "in.png"], "Missing argument 'OUTPUT'"),
        ([*SEGMENT, "more"], "unexpected extra argument"),
        (["frobnicate"], "No such command"),
        ([*SEGMENT, "--frobnicate"], "No such option"),
        ([*SEGMENT, "-k", "0"], "0 is not in the range x>=1"),
        ([*SEGMENT, "-k", "many"], "'many' is not a valid integer"),
        ([*SEGMENT, "--threads", "0"], "0 is neither at least 1 nor -1 (all)"),
        ([*SEGMENT, "--threads", "-2"], "-2 is neither"),
        ([*SEGMENT, "--method", "magic"], "'magic' is not one of auto, lloyd"),
        ([*SEGMENT, "--backend", "tpu"], "'tpu' is not one of auto, cpu"),
        ([*SEGMENT, "--color-space", "xyz"], "'xyz' is not one of rgb"),
        ([*SEGMENT, "--n-init", "0"], "'0' is neither auto nor at least 1"),
        ([*SEGMENT, "--max-iter", "0"], "x>=1"),
        ([*SEGMENT, "--tol", "-1"], "x>=0"),
        ([*SEGMENT, "--seed", "-1"], "0<=x"),
        ([*SEGMENT, "--start-label", "2"], "0<=x<=1"),
        ([*SEGMENT, "--nodata", "black"], "'black' is not a number"),
        ([*SEGMENT, "--init", "kmeans"], "k-means++ and random are taken"),
        ([*SEGMENT, "--max-pixels", "0"], "x>=1"),
        (["predict", "model.json", "in.png"], "give INPUT and OUTPUT"),
    ],
)
def test_wrong_usage_is_2_and_points_at_the_help(here, capsys, args, words):
    err = fails(capsys, 2, *args)
    assert words in err
    assert err.endswith("--help)\n")


def test_no_command_shows_the_help_on_stderr(here, capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: fastseg")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["segment", "none.png", "out.png"], "none.png: no such file"),
        (["segment", ".", "out.png"], ".: is a folder"),
        (["segment", "short.png", "out.png"], "short.png: the file is truncated"),
        (["segment", "flipped.png", "out.png"], "flipped.png: the file is damaged"),
        (["segment", "empty.png", "out.png"], "empty.png: the file is empty"),
        (["segment", "in.xyz", "out.png"], "in.xyz: unknown suffix '.xyz'; what can be read is"),
        (["segment", "ragged.csv", "out.png"], "ragged.csv: line 2"),
        (["segment", "two.npy", "out.png", "-k", "3"], "2 distinct"),
        (["segment", "inf.npy", "out.png", "-k", "2"], "infinite values"),
        (["segment", "none.npy", "out.png"], "empty"),
        (["segment", "clear.png", "out.png"], "left out"),
        ([*SEGMENT, "--mask", "black.png"], "left out"),
        (
            [*SEGMENT, "--mask", "small.png"],
            "grid (9, 9), but the image has (12, 15)",
        ),
        ([*SEGMENT, "--mask", "none.png"], "none.png: no such file"),
        ([*SEGMENT, "--nodata", "0", "--start-label", "0", "--mask", "half.png"], "start_label=0"),
        ([*SEGMENT, "--init", "none.csv"], "none.csv: no such file"),
        ([*SEGMENT, "--init", "centers.csv"], "centers.csv: line 2: 'x' is not a number"),
        ([*SEGMENT, "--init", "1,2,3,4"], "the image has 3 channels"),
        (
            [*SEGMENT, "--init", "1,2,3;4,5,6", "-k", "3"],
            "2 starting centres are given, but 3 clusters",
        ),
        ([*SEGMENT, "--max-pixels", "179"], "15 x 12 = 180 pixels"),
        ([*SEGMENT, "-k", "257"], "write them as .tif or .npy"),
        (["segment", "volume.npy", "out.png"], "two-dimensional labels"),
        (
            ["segment", "in.png", "out.jpg"],
            "written is .nii, .nii.gz, .npy, .png, .tif, .tiff",
        ),
        (["segment", "in.png", "exists.png"], "exists already; give another name"),
        ([*SEGMENT, "--model", "exists.json"], "exists already; give another name"),
        ([*SEGMENT, "--model", "m.txt"], "what can be written is .json"),
        (["segment", "in.png", "none/out.png"], "the folder none does not exist"),
        (["segment", "in.png", "in.png", "--overwrite"], "is also an input"),
        ([*SEGMENT[:2], "black.png", "--overwrite", "--mask", "black.png"], "is also an input"),
        (["predict", "none.json", "in.png", "out.png"], "none.json"),
        (["predict", "broken.json", "in.png", "out.png"], "broken.json"),
        (["predict", "in.png", "in.png", "out.png"], "not a fastseg model"),
        (["predict", "model.json", "grey.png", "out.png"], "1 channel"),
        (["predict", "model.json", "wide.npy", "out.png"], "--allow-dtype"),
        (["predict", "model.json", "in.png", "exists.png"], "exists already"),
        (["info", "none.png"], "none.png: no such file"),
        (["demo", "in.png"], "in.png"),
    ],
)
def test_what_cannot_be_done_is_1(here, capsys, args, words):
    assert words in fails(capsys, 1, *args)


def test_the_outputs_are_checked_before_the_input_is_read(here, capsys):
    assert "exists already" in fails(capsys, 1, "segment", "short.png", "exists.png")
    assert "exists already" in fails(capsys, 1, *SEGMENT[:1], "short.png", "o.png", "--model",
                                     "exists.json")  # fmt: skip


def test_warnings_are_one_clean_line(here, capsys, tmp_path):
    output = str(tmp_path / "out.npy")
    assert main(["segment", "in.png", output, "--max-iter", "1", "--seed", "0", "--json"]) == 0
    _, err = capsys.readouterr()
    assert err.startswith("fastseg: warning: k-means stopped at max_iter=1")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [[*SEGMENT, "--model", "m.json"], ["predict", "model.json", *SEGMENT[1:]]]
)
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "not enough memory"),
        (PermissionError(13, "Permission denied", "x.png"), 1, "x.png: Permission denied"),
        (RuntimeError("two\nlines"), 1, "unexpected RuntimeError: two lines; FASTSEG_DEBUG=1"),
    ],
)
def test_whatever_happens_there_is_no_traceback(
    here, capsys, monkeypatch, command, error, code, words
):
    def fail(*args, **options):
        raise error

    # In the last step, when the labels' temporary file stands already.
    monkeypatch.setattr("fastseg.cli.jobs.encode_labels", fail)
    assert main(command) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().startswith(f"fastseg: error: {words}")
    assert "Traceback" not in err


def test_a_model_that_cannot_be_saved_takes_the_labels_with_it(here, capsys, monkeypatch):
    def fail(*args, **options):
        raise OSError(28, "No space left on device", "m.json")

    monkeypatch.setattr("fastseg.cli.jobs.model_text", fail)
    err = fails(capsys, 1, *SEGMENT, "--model", "m.json")
    assert "m.json: No space left on device" in err


def test_debug_shows_where(here, capsys, monkeypatch):
    monkeypatch.setenv("FASTSEG_DEBUG", "1")
    assert main(["segment", "none.png", "out.png"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1] == "fastseg: error: none.png: no such file"
