"""The command line on images that are read in pieces, and on many files."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as pillow

import fastseg
from fastseg import memory
from fastseg.cli import main
from fastseg.cli.terminal import Bar

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(12)
SMALL = RNG.normal([90, 120, 150], 35, (151, 207, 3)).clip(0, 255).astype(np.uint8) // 16 * 16
SEGMENT = ("segment", "a.tif", "b.tif", "-k", "4", "--seed", "0")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", SMALL, tile=(48, 64), compression="zlib", photometric="rgb")
    return tmp_path


@pytest.fixture
def little_memory(monkeypatch):
    """So little that the picture is too large for it."""
    monkeypatch.setattr("fastseg.cli.piecewise.memory_budget", lambda given: 100_000)


def run(capsys, *args) -> str:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def labels_of(path):
    if str(path).endswith(".npy"):
        return np.load(path)
    with pillow.open(path) as picture:
        return np.array(picture)


def spoil_tile(path):
    """Make the second tile undecodable."""
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[1]
    with open(path, "r+b") as file:
        file.seek(place + 5)
        file.write(b"\xff" * 35)


def test_an_image_that_takes_more_than_the_memory_is_read_in_pieces(here, capsys, little_memory):
    facts = json.loads(run(capsys, *SEGMENT, "--json", "--model", "m.json"))
    expected = fastseg.segment(SMALL, 4, random_state=0)
    np.testing.assert_array_equal(labels_of("b.tif"), expected.labels)
    assert facts["centers"] == expected.centers.tolist()
    assert facts["counts"] == expected.counts.tolist()
    assert facts["grid"] == [151, 207]
    assert facts["dtype"] == "uint8"
    assert (facts["n_passes"], facts["n_sampled"], facts["skipped"]) == (2, None, {})
    assert set(facts["seconds"]) == {"open", "count", "fit", "labels", "total"}
    assert facts["pixels_per_second"] == pytest.approx(
        SMALL[..., 0].size / facts["seconds"]["total"], rel=1e-2
    )
    assert facts["peak_memory"] > 10**7
    assert fastseg.load_model("m.json").counts.tolist() == facts["counts"]


def test_one_that_does_not_is_held(here, capsys):
    facts = json.loads(run(capsys, *SEGMENT, "--json"))
    assert "n_passes" not in facts
    assert facts["peak_memory"] > 10**7
    assert facts["pixels_per_second"] > 0
    held = labels_of("b.tif")
    run(capsys, *SEGMENT, "--preview", "p.png", "--overwrite")
    np.testing.assert_array_equal(labels_of("b.tif"), held)


def test_memory_that_is_given_holds_though_all_pixels_were_distinct(here, capsys, monkeypatch):
    monkeypatch.setattr("fastseg.cli.piecewise.ENGINE_BYTES", 511 * 2**20)
    assert "n_passes" not in json.loads(run(capsys, *SEGMENT, "--json"))
    facts = json.loads(run(capsys, *SEGMENT, "--json", "--overwrite", "--memory", "512MiB"))
    assert facts["n_passes"] == 2
    for reported in ("report", "dendrogram"):
        assert main([*SEGMENT, "--overwrite", "--memory", "512MiB", f"--{reported}", "r.png"]) == 1
        assert f"--{reported} needs the image as a whole" in capsys.readouterr().err


def test_info_tells_of_the_header_alone(here, capsys, little_memory):
    facts = json.loads(run(capsys, "info", "a.tif", "--json"))
    assert facts.pop("notes")[0].startswith("Its values were not looked at: its pixels take")
    assert facts == {
        "file": "a.tif", "grid": [151, 207], "n_channels": 3, "dtype": "uint8", "block": [48, 64],
    }  # fmt: skip
    assert "read at once:    48 x 64 pixels" in run(capsys, "info", "a.tif").splitlines()


def test_pictures_beyond_the_limit_of_what_is_held_are_read_in_pieces(here, capsys, monkeypatch):
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 1000)
    assert "2 passes" in run(capsys, *SEGMENT)


def test_people_are_told_of_passes_and_files(here, capsys, little_memory):
    lines = run(capsys, *SEGMENT, "--preview", "p.png", "--sample", "20000").splitlines()
    assert lines[0] == "a.tif: 207 x 151 pixels, 3 channels, uint8"
    assert "sample: fitted to 20,000 of the pixels" in lines
    assert any("megapixels a second, 2 passes" in line for line in lines)
    assert lines[-2:] == ["written: b.tif", "written: p.png"]


def test_starts_and_names_and_channels(here, capsys, little_memory):
    run(capsys, "segment", "a.tif", "b.npy", "--channels", "2,0", "--init", "10,20;200,220",
        "--names", "dark,bright", "--mask", "a.tif")  # fmt: skip
    expected = fastseg.segment(
        SMALL[..., [2, 0]], 2, init=[[10, 20], [200, 220]], mask=SMALL.any(axis=-1)
    )
    np.testing.assert_array_equal(labels_of("b.npy"), expected.labels)


def test_damaged_tiles_are_reported(here, capsys):
    spoil_tile("a.tif")
    assert main([*SEGMENT, "--on-error", "skip", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "the tile 1, at row 0 and column 64" in err
    assert "3,072 pixels were left out" in err
    facts = json.loads(out)
    assert list(facts["skipped"].values()) == [facts["n_left_out"]] == [48 * 64]


def test_a_pyramid_and_a_compression(here, capsys):
    large = np.repeat(np.repeat(SMALL, 8, axis=0), 8, axis=1)
    tifffile.imwrite("large.tif", large, tile=(256, 256), photometric="rgb")
    run(capsys, "segment", "large.tif", "b.tif", "-k", "3", "--pyramid", "--compression", "zstd")
    with tifffile.TiffFile("b.tif") as file:
        assert [page.shape for page in file.pages] == [(1208, 1656), (604, 828), (302, 414),
                                                       (151, 207)]  # fmt: skip
        assert file.pages[0].compression.name == "ZSTD"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak counts other things")
def test_an_image_larger_than_the_memory_stays_within_it(here):
    # Of zeros that the disk does not hold, but for some rows.
    image = np.lib.format.open_memmap("large.npy", "w+", np.uint8, (20_000, 30_000))
    image[7::2000] = np.arange(30_000) // 1000
    del image
    command = [sys.executable, "-m", "fastseg", "segment", "large.npy", "b.tif", "-k", "4"]
    command += ["--memory", "512MiB", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert sum(facts["counts"]) == 600_000_000
    assert facts["peak_memory"] < 400 * 2**20  # the image alone is 572 MiB


# Many files


def test_fit_many_and_predict_many(here, capsys, little_memory):
    parts = {"x.tif": SMALL[:70], "y.tif": SMALL[70:]}
    for name, part in parts.items():
        tifffile.imwrite(name, part, tile=(32, 32), photometric="rgb")
    expected = fastseg.segment(SMALL, 4, random_state=0)
    facts = json.loads(
        run(capsys, "fit", *parts, "--model", "m.json", "-k", 4, "--seed", 0, "--json")
    )
    assert facts["inputs"] == list(parts)
    assert facts["counts"] == expected.counts.tolist()
    assert facts["centers"] == expected.centers.tolist()
    lines = run(capsys, "fit", *parts, "--model", "n.json", "-k", 4).splitlines()
    assert lines[0] == f"2 files: {SMALL[..., 0].size:,} pixels, 3 channels, uint8"
    assert lines[-1] == "written: n.json"
    out = run(capsys, "predict", "m.json", *parts, "--out-dir", "out", "--json")
    assert [json.loads(line)["input"] for line in out.splitlines()] == list(parts)
    for name, part in parts.items():
        np.testing.assert_array_equal(labels_of(here / "out" / name), expected.predict(part))
    run(capsys, "predict", "m.json", *parts, "--out-dir", "out", "--suffix", ".npy")
    assert np.load("out/x.npy").shape == (70, 207)


def test_no_input_is_labelled_where_another_cannot_be(here, capsys):
    fastseg.segment(SMALL, 2, random_state=0).save("m.json")
    np.save("b.npy", SMALL)
    (here / "out").mkdir()
    (here / "out" / "b.npy").write_bytes(b"old")
    (here / "file").write_bytes(b"")
    for args, words in (
        (("a.tif", "b.npy", "--out-dir", "out"), "out/b.npy: exists already"),
        (("a.tif", "none.tif", "--out-dir", "out"), "none.tif: no such file"),
        (("a.tif", "b.npy", "--out-dir", "."), "is also an input of this run"),
        (("a.tif", "--out-dir", "file"), "file: is a file; give a folder"),
    ):
        assert main(["predict", "m.json", *args]) == 1
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert words in err.replace("\\", "/")
        assert os.listdir("out") == ["b.npy"]


def test_what_a_fit_left_out_is_reported(here, capsys):
    spoil_tile("a.tif")
    tifffile.imwrite("b.tif", SMALL, tile=(48, 64), photometric="rgb")
    fit = ("fit", "a.tif", "b.tif", "-k", "3", "--seed", "0", "--on-error", "skip")
    assert main([*fit, "--model", "m.json", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "a.tif: the tile 1, at row 0 and column 64" in err
    assert "3,072 pixels were left out" in err
    facts = json.loads(out)
    assert list(facts["skipped"].values()) == [facts["n_left_out"]] == [48 * 64]
    assert (facts["n_passes"], facts["n_sampled"]) == (1, None)


def test_a_fit_to_a_sample_tells_of_all_pixels(here, capsys):
    fit = ("fit", "a.tif", "-k", "3", "--sample", "5000", "--model")
    facts = json.loads(run(capsys, *fit, "m.json", "--json"))
    assert (sum(facts["counts"]), facts["n_sampled"]) == (5000, 5000)
    n_pixels = SMALL[..., 0].size
    assert facts["pixels_per_second"] == pytest.approx(n_pixels / facts["seconds"]["total"], 1e-2)
    lines = run(capsys, *fit, "n.json").splitlines()
    assert lines[0] == f"1 file: {n_pixels:,} pixels, 3 channels, uint8"
    assert "sample: fitted to 5,000 of the pixels" in lines
    assert any(line.startswith("time: ") and line.endswith(", 1 pass") for line in lines)


def test_predict_one_in_pieces(here, capsys, little_memory):
    model = fastseg.segment(SMALL[:50], 3, random_state=0)
    model.save("m.json")
    facts = json.loads(run(capsys, "predict", "m.json", "a.tif", "b.npy", "--json"))
    np.testing.assert_array_equal(labels_of("b.npy"), model.predict(SMALL))
    assert facts["n_passes"] == 1
    assert sum(facts["counts"]) == SMALL[..., 0].size


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("fit", "a.tif", "--model", "m.png"), 1, "has the suffix '.png'"),
        (("fit", "a.tif"), 2, "Missing option '--model'"),
        (("fit", "a.tif", "none.tif", "--model", "n.json"), 1, "none.tif: no such file"),
        (("predict", "m.json", "a.tif", "a.tif", "--out-dir", "o"), 1, "more than one input"),
        (("predict", "m.json", "a.tif", "b.tif", "--out-dir", "o", "--mask", "a.tif"), 2,
         "--mask is for a single INPUT"),
        (("predict", "m.json", "a.tif", "b.tif", "c.tif"), 2, "several INPUTs and --out-dir"),
        (("predict", "m.json", "a.tif", "b.tif", "--suffix", ".npy"), 2, "is for --out-dir"),
        ((*SEGMENT, "--memory", "lots"), 2, "such as 1GiB"),
        ((*SEGMENT, "--memory", "1MiB"), 2, "less than the 512 MiB"),
        ((*SEGMENT, "--pages", "3:2"), 2, "ends before it starts"),
        ((*SEGMENT, "--channels", "red"), 2, "no list of channels such as 3,2,1"),
    ],
)  # fmt: skip
def test_wrong_words(here, capsys, args, code, words):
    fastseg.segment(SMALL, 2, random_state=0).save("m.json")
    assert main(list(args)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (here / "b.tif").exists()


def test_the_bar_tells_the_rate_and_the_time_left():
    bar = Bar(None, enabled=False)
    assert bar._pace("count", 300, 1000, 2.0) == ("0 Mpx/s", "0:00:05 left")
    assert bar._pace("count", 250_000_000, 10**10, 1.0) == ("250 Mpx/s", "0:00:39 left")
    assert bar._pace("labels", 10**8, 10**12, 1.0)[1] == "2:46:39 left"
    assert bar._pace("count", 300, 1000, 0.1) == ("", "")
    assert bar._pace("iterations", 3, 300, 2.0) == ("", "")


def test_free_memory_is_known_here():
    free = memory.free_memory()
    assert free is None or free > 2**20
    peak = memory.peak_memory()
    assert peak is None or peak > 2**20
