"""The command line as a program: what it says of itself, its demo, signals and pipes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

import fastseg
from fastseg import costs
from fastseg.cli import main
from fastseg.cli.terminal import Bar

RNG = np.random.default_rng(11)
RGB = RNG.integers(0, 256, (23, 31, 3), dtype=np.uint8)


def run(capsys, *args: str) -> str:
    """What a command that ends well, and says nothing on stderr, prints on stdout."""
    assert main(list(args)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


# info and demo


def test_info_describes_the_installation(capsys):
    out = run(capsys, "info")
    names = [line.split(":")[0] for line in out.splitlines()]
    for name in ("fastseg", "python", "numpy", "numba", "backends", "threads", "compiled code"):
        assert name in names
    facts = json.loads(run(capsys, "info", "--json"))
    assert facts["fastseg"] == fastseg.__version__
    assert facts["backends"] == fastseg.available_backends()
    assert facts["threads"] >= 1


def test_info_calibrates(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FASTSEG_CALIBRATION", str(tmp_path / "new" / "calibration.json"))
    measured = costs.Costs(first=0.0, start=1.0, count=2.0, send=3.0, visit=4.0, distance=5.0)
    monkeypatch.setattr(costs, "first_use", lambda name: 0.0)
    monkeypatch.setattr(costs, "measure", lambda backend, n_points, first: measured)
    assert json.loads(run(capsys, "info", "--json"))["calibration"] == "not calibrated"
    usable = [name for name, missing in fastseg.available_backends().items() if missing is None]
    facts = json.loads(run(capsys, "info", "--calibrate", "--json"))
    assert facts["calibration"] == ", ".join(usable)
    kept = costs.load_calibration()
    assert kept == costs.Calibration(costs.machine(), dict.fromkeys(usable, measured))
    assert main(["info", "--calibrate", "a.png"]) == 2
    assert "leave INPUT out" in capsys.readouterr().err


def test_costs_that_cannot_be_kept_are_not_measured(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(costs, "calibrate", lambda backends: pytest.fail("it measures"))
    for path in (tmp_path / "file" / "calibration.json", tmp_path):
        monkeypatch.setenv("FASTSEG_CALIBRATION", str(path))
        assert main(["info", "--calibrate"]) == 1
        assert str(tmp_path) in capsys.readouterr().err


def test_info_describes_an_image(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    alpha = np.full((23, 31), 255, np.uint8)
    alpha[0, :5] = 0
    pillow.fromarray(np.dstack([RGB, alpha])).save("rgba.png")
    kept = RGB[alpha > 0]
    facts = json.loads(run(capsys, "info", "rgba.png", "--json"))
    assert facts == {
        "file": "rgba.png",
        "grid": [23, 31],
        "n_channels": 3,
        "dtype": "uint8",
        "ranges": np.stack([kept.min(axis=0), kept.max(axis=0)], axis=1).tolist(),
        "n_distinct": len(np.unique(kept, axis=0)),
        "n_left_out": 5,
        "notes": [],
    }
    out = run(capsys, "info", "rgba.png")
    assert "grid:            31 x 23 pixels" in out.splitlines()


def test_info_counts_the_distinct_values_of_floats(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", RGB.astype(np.float32))
    n_distinct = len(np.unique(RGB.reshape(-1, 3), axis=0))
    assert json.loads(run(capsys, "info", "a.npy", "--json"))["n_distinct"] == n_distinct


def test_demo_segments_a_photograph_and_compares_with_scikit_learn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = run(capsys, "demo", "shown")
    lines = out.splitlines()
    assert "equal labels: 100 % of 273,280 pixels" in out
    assert any("times as fast as scikit-learn" in line for line in lines)
    assert f"written: {Path('shown') / 'china-labels.png'}" in lines
    assert f"written: {Path('shown') / 'china-side-by-side.png'}" in lines
    with pillow.open("shown/china-labels.png") as picture:
        labels = np.array(picture)
        palette = np.reshape(picture.getpalette(), (8, 3))
    assert labels.shape == (427, 640)
    assert np.unique(labels).tolist() == list(range(8))
    with pillow.open("shown/china-side-by-side.png") as picture:
        drawing = np.array(picture)
    for color in palette:  # all of them are in the picture
        assert (drawing == color).all(axis=-1).any()
    assert main(["demo", "shown"]) == 1
    assert "exists already" in capsys.readouterr().err


# The program


def test_help_is_there_at_once_and_loads_nothing_heavy():
    code = (
        "import sys; from fastseg.cli import main; main(['segment', '--help']); print("
        "sorted({'numpy', 'numba', 'PIL', 'rich', 'sklearn'} & set(sys.modules)))"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(time.perf_counter() - start)
    assert done.stdout.startswith("Usage: fastseg segment [OPTIONS] INPUT OUTPUT")
    assert done.stdout.endswith("[]\n")
    assert min(times) < 0.3


def test_version(capsys):
    assert run(capsys, "--version") == f"fastseg {fastseg.__version__}\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_itself_only_when_the_work_lasts(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for delay, shown in ((0.0, True), (60.0, False)):
        file = Terminal()
        with Bar(file, enabled=True, delay=delay) as bar:
            bar("read", 0, 0, {})
            time.sleep(0.3)
            bar("iterations", 12, 300, {"inertia": 5.0})
            bar("labels", 3, 10, {})
            time.sleep(0.2)
        assert ("labelling" in file.getvalue()) == shown
        assert ("reading" in file.getvalue()) == shown


def test_progress_is_for_terminals():
    file = Terminal()
    with Bar(file, enabled=False, delay=0.0) as bar:
        time.sleep(0.05)
        bar("labels", 3, 10, {})
    assert file.getvalue() == ""


# As a process of its own


def start(*args: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "fastseg"]
    # A process started in the background may ignore Ctrl-C, and so would its children.
    heed = None if os.name == "nt" else partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [*command, *args], stderr=subprocess.PIPE, text=True, preexec_fn=heed, **options
    )


def test_a_failing_process(tmp_path):
    (tmp_path / "short.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    process = start(
        "segment", "short.png", "out.png", "--json", cwd=tmp_path, stdout=subprocess.PIPE
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("fastseg: error: short.png: ")
    assert err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_ends_with_130_and_leaves_nothing(tmp_path):
    np.save(tmp_path / "in.npy", RNG.random((1200, 1000, 3)))
    process = start(
        "segment", "in.npy", "out.png", "-k", "200", "--tol", "0", "--max-iter", "100000",
        "--init", "random", "--model", "m.json", cwd=tmp_path, stdout=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(3)
    assert process.poll() is None
    asked = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert time.perf_counter() - asked < 2
    assert (process.returncode, out, err.strip()) == (130, "", "fastseg: error: interrupted")
    assert os.listdir(tmp_path) == ["in.npy"]


INTERRUPTED_AT_AN_IMPORT = """
import runpy, signal, sys

class Import:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Import())
sys.argv = ["fastseg", "info"]
runpy.run_module("fastseg", run_name="__main__")
"""


def test_ctrl_c_is_answered_in_one_line_while_modules_are_loaded():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_AN_IMPORT], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "fastseg: error: interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="POSIX shells")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_process_without_standard_streams(tmp_path, closed):
    """As a daemon has none: what is printed goes nowhere, and above all not into the output."""
    pillow.fromarray(RGB).save(tmp_path / "in.png")
    command = f"{sys.executable} -m fastseg segment in.png out.png -k 3 --seed 0 {closed}"
    assert subprocess.run(command, shell=True, cwd=tmp_path).returncode == 0
    labels = fastseg.segment(RGB, 3, random_state=0).labels
    np.testing.assert_array_equal(pillow.open(tmp_path / "out.png"), labels)


@pytest.mark.skipif(os.name != "posix", reason="POSIX pipes")
def test_a_reader_that_goes_away():
    reading, writing = os.pipe()
    os.close(reading)
    process = start("info", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
@pytest.mark.parametrize("words", ["segment in.npy out.npy -k 2", "info in.npy --json"])
def test_a_standard_output_that_is_full(tmp_path, words):
    np.save(tmp_path / "in.npy", np.arange(12, dtype=np.uint8).reshape(3, 4))
    with open("/dev/full", "w") as full:
        process = start(*words.split(), cwd=tmp_path, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == (
        "fastseg: error: standard output: cannot be written (No space left on device);"
        " the files of the run are whole\n"
    )
    if words.startswith("segment"):
        assert np.load(tmp_path / "out.npy").max() == 1


@pytest.mark.skipif(os.name != "posix", reason="closes them as a shell does")
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(tmp_path, closed):
    """A file that is opened next would get their numbers, and what libraries print there."""
    np.save(tmp_path / "in.npy", np.arange(12, dtype=np.uint8).reshape(3, 4))
    command = f'"{sys.executable}" -m fastseg segment in.npy out.npy -k 2 {closed}'
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert np.load(tmp_path / "out.npy").max() == 1
