"""Large files that are damaged, jobs that are killed, disks that are full: whole or absent."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import fastseg
from fastseg.cli import main
from fastseg.io import atomic, chunked, npy
from fastseg.io.atomic import atomic_folder, atomic_write
from fastseg.io.exchange import exchange
from fastseg.io.leftovers import _machine

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(8)
SMALL = RNG.normal(128, 40, (96, 130, 3)).clip(0, 255).astype(np.uint8) // 16 * 16
PIECES = ["--on-error", "skip"]  # asked for, so that the file is read in pieces


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys, *args) -> str:
    """The one line of a command that ends with 1."""
    assert main([str(arg) for arg in args]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("fastseg: error: ")
    return lines[0].removeprefix("fastseg: error: ")


def refused(name="a.tif") -> str:
    """The message by which the library refuses a file; nothing is written."""
    before = sorted(os.listdir())
    with pytest.raises((ValueError, OSError, ImportError)) as caught:
        fastseg.segment_file(name, "out.npy", 2, random_state=0)
    message = str(caught.value)
    assert message.startswith(name), message
    assert "\n" not in message
    assert sorted(os.listdir()) == before
    return message


def write(layout, name="a.tif"):
    if layout == "ours":  # with the directory at the end
        fastseg.segment_file("in.npy", name, 3, random_state=0)
    else:
        options = {"tile": (32, 32)} if layout == "tiles" else {"rowsperstrip": 16}
        tifffile.imwrite(name, SMALL, compression="zlib", photometric="rgb", **options)


@pytest.mark.parametrize("layout", ["tiles", "strips", "ours"])
def test_files_cut_off_at_every_percent(here, layout):
    np.save("in.npy", SMALL)
    write(layout)
    content = (here / "a.tif").read_bytes()
    for percent in range(100):
        (here / "a.tif").write_bytes(content[: len(content) * percent // 100])
        refused()
    (here / "a.tif").write_bytes(content)
    fastseg.segment_file("a.tif", "out.npy", 2, random_state=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_npy_files_cut_off_at_every_percent(here, dtype):
    np.save("a.npy", SMALL.astype(dtype))
    content = (here / "a.npy").read_bytes()
    for percent in range(100):
        (here / "a.npy").write_bytes(content[: len(content) * percent // 100])
        refused("a.npy")


def patched(path, tag, form, *values):
    """Overwrite the first values of a tag in a little-endian classic file."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[tag].valueoffset
    struct.pack_into(f"<{len(values)}{form}", content, place, *values)
    path.write_bytes(content)


@pytest.mark.parametrize("offset", [0xFFFFFFF0, 1, 4000])
def test_wrong_offsets(here, offset):
    write("tiles")
    patched(here / "a.tif", "TileOffsets", "I", offset)
    assert re.search(r"the tile 0, at row 0 and column 0, cannot be read", refused())


@pytest.mark.parametrize("sides", [(2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (0, 0), (130, 97_000)])
def test_absurd_sizes_in_the_header(here, sides):
    write("tiles")
    patched(here / "a.tif", "ImageWidth", "I" if sides[0] > 2**16 else "H", sides[0])
    patched(here / "a.tif", "ImageLength", "I" if sides[1] > 2**16 else "H", sides[1])
    refused()


@pytest.mark.parametrize("sides", [(130, 2**31), (2**31, 96)])
def test_absurd_sizes_of_values_as_they_are_are_refused_before_they_are_read(here, capsys, sides):
    tifffile.imwrite("a.tif", SMALL, photometric="rgb")
    patched(here / "a.tif", "ImageWidth", "I", sides[0])
    patched(here / "a.tif", "ImageLength", "I", sides[1])
    words = fails(capsys, "segment", "a.tif", "out.tif", *PIECES)
    assert re.search(r"needs [\d,]+ bytes, and names 37,440\)", words)


@pytest.mark.parametrize("offset", [2**63 - 1, 2**64 - 1, 10**6])
def test_values_beyond_the_end_are_named(here, offset):
    tifffile.imwrite("a.tif", SMALL, photometric="rgb", bigtiff=True)
    patched(here / "a.tif", "StripOffsets", "Q", offset)
    assert "the strip 0, at row 0 and column 0, cannot be read (it lies beyond" in refused()


def test_a_file_of_which_nothing_can_be_read(here, capsys):
    write("tiles")
    content = (here / "a.tif").read_bytes()
    (here / "a.tif").write_bytes(content[:1000])
    words = fails(capsys, "segment", "a.tif", "out.tif", *PIECES)
    assert words.startswith("a.tif: nothing of it can be read (for one, a.tif: the tile 0, at row")
    np.save("grey.npy", np.zeros((5, 6), np.uint8))
    words = fails(capsys, "segment", "grey.npy", "out.tif", "--nodata", "0", *PIECES)
    assert words.startswith("grey.npy: every pixel of the image is left out")


def test_a_compression_that_nothing_decodes_is_named(here, capsys):
    write("tiles")
    patched(here / "a.tif", "Compression", "H", 34661)
    words = fails(capsys, "segment", "a.tif", "out.tif", *PIECES)
    assert "JBIG" in words
    assert "34661" in words
    assert "imagecodecs" in words


def test_without_tifffile_the_extra_is_named(here, monkeypatch, capsys):
    write("tiles")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    words = fails(capsys, "segment", "a.tif", "out.tif", "--level", "0")
    assert 'pip install "fastseg[deep]"' in words


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a.tif", "a.tif", "--overwrite"], "is also an input of this run"),
        (["a.tif", "out.tif", "--preview", "a.tif", "--overwrite"], "what can be written is .png"),
        (["a.tif", "no/out.tif"], "the folder no does not exist"),
        (["a.tif", "p.png", "--preview", "./p.png"], "is the output and the preview of it"),
        (["a.tif", "out.tif", "--channels", "0,3"], "has no channel 3; its 3 channels are 0 to 2"),
        (["a.tif", "out.tif", "--level", "2"], "has no level 2"),
        (["a.tif", "out.tif", "--pages", "4:6"], "has no pages 4 to 5"),
        (["a.tif", "out.tif", "--sample", "3"], "sample=3 is less than n_clusters=8"),
        (["a.tif", "out.tif", "--mask", "grey.npy"], "mask grey.npy has the grid (5, 6)"),
        (["a.tif", "out.tif", "--min-size", "9"], "--min-size needs the image as a whole"),
        (["a.tif", "out.tif", "--report", "r.png"], "--report needs the image as a whole"),
        (["none.tif", "out.tif"], "none.tif: no such file"),
        (["a.tif", "out.npy", "--pyramid"], "pyramid (--pyramid) is for .tif and Zarr"),
        (["a.tif", "out.png", "-k", "300"], "write them as .tif or .npy"),
        (["a.tif", "out.tif", "--max-pixels", "99"], "raise it with --max-pixels 12480"),
    ],
)
def test_what_cannot_be_is_one_line(here, capsys, args, words):
    write("tiles")
    np.save("grey.npy", np.zeros((5, 6), np.uint8))
    before = sorted(os.listdir())
    assert words in fails(capsys, "segment", *args, *PIECES)
    assert sorted(os.listdir()) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written(here, capsys):
    write("tiles")
    (here / "fixed").mkdir(mode=0o555)
    assert "no permission to write" in fails(capsys, "segment", "a.tif", "fixed/b.tif", *PIECES)


# Programs that end before their time

PROGRAM = "import sys; from fastseg.__main__ import program; sys.exit(program())"
LIMITED = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (20_000, 20_000)); "


@pytest.mark.skipif(os.name != "posix", reason="POSIX limits")
@pytest.mark.parametrize("output", ["out.tif", "out.npy"])
def test_a_full_disk_leaves_the_old_output(here, output):
    np.save("in.npy", RNG.integers(0, 4, (300, 400)).astype(np.uint8))
    (here / output).write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED + PROGRAM, "segment", "in.npy", output, "-k", "4"]
    command += ["--overwrite", *PIECES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    said = rf"fastseg: error: {output}: cannot be written \((File too large|No space)[^\n]*\n"
    assert re.fullmatch(said, done.stderr)
    assert sorted(os.listdir()) == ["in.npy", output]
    assert (here / output).read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="POSIX limits")
@pytest.mark.parametrize("pieces", [[], PIECES])
@pytest.mark.parametrize("output", ["out.zarr", "out.ome.zarr"])
def test_a_full_disk_leaves_no_part_of_a_folder(here, capsys, output, pieces):
    pytest.importorskip("zarr")
    import resource

    np.save("in.npy", RNG.integers(0, 16, (1100, 1100)).astype(np.uint8))
    assert main(["segment", "in.npy", "a.npy", "-k", "16", *pieces]) == 0  # compiles, and stores it
    os.unlink("a.npy")
    capsys.readouterr()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        words = fails(capsys, "segment", "in.npy", output, "-k", "16", *pieces)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert words.startswith(f"{output}: cannot be written (File too large)")
    assert os.listdir() == ["in.npy"]


@pytest.fixture
def long_job(here):
    """A job of many passes, as a process, once it is at work."""
    np.save("in.npy", RNG.normal(0, 1, (1500, 1000, 3)).astype(np.float32))
    with warnings.catch_warnings():  # kernels are compiled here, where nobody waits
        warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
        fastseg.segment_file("in.npy", "warm.npy", 60, max_iter=1)
    (here / "warm.npy").unlink()
    command = [sys.executable, "-m", "fastseg", "segment", "in.npy", "out.tif", "-k", "60"]
    command += ["--tol", "0", "--max-iter", "100000", "--overwrite", "--preview", "p.png"]
    # A shell's job in the background ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_is_answered_at_once(here, long_job):
    time.sleep(4)
    assert long_job.poll() is None
    long_job.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, err = long_job.communicate(timeout=30)
    assert time.monotonic() - started < 2  # half a second, on a machine that is not busy
    assert (long_job.returncode, out, err) == (130, b"", b"fastseg: error: interrupted\n")
    assert os.listdir() == ["in.npy"]


def test_nothing_appears_beside_labels_that_do_not(here, monkeypatch):
    np.save("in.npy", SMALL)

    def publish(temporary, target, name, overwrite, as_ever=atomic._publish):
        if name == "out.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        as_ever(temporary, target, name, overwrite)

    monkeypatch.setattr(atomic, "_publish", publish)
    options = fastseg.FileOptions(preview="p.png")
    with pytest.raises(OSError, match="No space left"):
        fastseg.segment_file("in.npy", "out.npy", 2, model="m.json", options=options)
    assert os.listdir() == ["in.npy"]


def test_nothing_is_written_any_more_when_the_rest_is_cleared_away(here, monkeypatch):
    begun, ended = [], []

    def encode(self, region, labels):
        begun.append(region)
        time.sleep(0.2)
        ended.append(region)

    def write(self, region, encoded):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(npy.NpyWriter, "encode", encode)
    monkeypatch.setattr(npy.NpyWriter, "write", write)
    monkeypatch.setattr(chunked.cut, "__defaults__", (2_000,))
    np.save("in.npy", SMALL)
    unlink, left = os.unlink, []

    def unlinking(path):
        left.append(len(begun) - len(ended))
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlinking)
    with pytest.raises(OSError, match="No space left"):
        fastseg.segment_file("in.npy", "out.npy", 2, n_threads=2)
    assert len(begun) > 1
    assert left == [0]


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_what_another_process_made_meanwhile_is_not_replaced(here, write):
    with pytest.raises(FileExistsError, match=r"out: exists already"):  # noqa: SIM117
        with write("out"):
            os.mkdir("out") if write is atomic_folder else (here / "out").write_bytes(b"theirs")
    assert os.listdir() == ["out"]


KILLED = """
import os, signal, sys
import fastseg
from fastseg.io import tiff_writer

write, after = tiff_writer.TiffWriter.write, int(sys.argv[1])
def killing(self, region, encoded, n=[0]):
    write(self, region, encoded)
    n[0] += 1
    if n[0] > after:
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
tiff_writer.TiffWriter.write = killing
from fastseg.io import chunked
chunked.cut.__defaults__ = (20_000,)
fastseg.segment_file("in.npy", "out.tif", 3, options=fastseg.FileOptions(overwrite=True))
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_kill_leaves_the_old_output_and_the_next_run_cleans_up(here):
    np.save("in.npy", np.tile(SMALL, (12, 1, 1)))
    fastseg.segment_file("in.npy", "out.tif", 2)
    old = (here / "out.tif").read_bytes()
    for after in (0, 2):
        done = subprocess.run([sys.executable, "-c", KILLED, str(after)], capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert (here / "out.tif").read_bytes() == old
        left = [name for name in os.listdir() if name.endswith(".part")]
        assert len(left) == 1
        assert left[0].startswith(".out.tif.")
    options = fastseg.FileOptions(overwrite=True)
    fastseg.segment_file("in.npy", "out.tif", 3, random_state=0, options=options)
    assert sorted(os.listdir()) == ["in.npy", "out.tif"]
    assert (here / "out.tif").read_bytes() != old


def test_what_others_are_writing_is_left_alone(here):
    name = f".a.npy.{_machine()}-{os.getppid()}-0123456789abcdef.part"
    other = ".a.npy.00000000-99999999-0123456789abcdef.part"  # of another machine on a shared disk
    ended = f".a.npy.{_machine()}-99999999-0123456789abcdef.part"
    # Of a container, started again.
    before = f".a.npy.{_machine()}-{os.getpid()}-0123456789abcdef.part"
    for file in (name, other, ended, before):
        (here / file).write_bytes(b"half")
    with atomic_write("a.npy") as file:
        file.write(b"whole")
    assert sorted(os.listdir()) == sorted(["a.npy", name, other])


# Folders that are whole or absent


def test_a_folder_appears_when_it_is_whole(here):
    with atomic_folder("a.zarr") as folder:
        (here / folder / "inner").mkdir()
        (here / folder / "inner" / "file").write_bytes(b"new")
        assert not (here / "a.zarr").exists()
    assert (here / "a.zarr" / "inner" / "file").read_bytes() == b"new"
    assert os.listdir() == ["a.zarr"]


def filled(name, content, *, overwrite, error=None):
    with atomic_folder(name, overwrite=overwrite) as folder:
        with open(os.path.join(folder, "file"), "wb") as file:
            file.write(content)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_stays_as_it_was_when_something_goes_wrong(here, error, in_one_step, monkeypatch):
    if not in_one_step:  # as on systems that cannot exchange names
        monkeypatch.setattr("fastseg.io.atomic.exchange", lambda first, second: False)
    filled("a.zarr", b"old", overwrite=False)
    with pytest.raises(FileExistsError, match="allow a folder to be replaced"):
        filled("a.zarr", b"new", overwrite=False)
    with pytest.raises(error):
        filled("a.zarr", b"new", overwrite=True, error=error())
    assert (here / "a.zarr" / "file").read_bytes() == b"old"
    filled("a.zarr", b"new", overwrite=True)
    assert (here / "a.zarr" / "file").read_bytes() == b"new"
    assert os.listdir() == ["a.zarr"]


@pytest.mark.parametrize("error", [None, OSError()])
def test_ctrl_c_while_a_folder_is_removed(here, error, monkeypatch):
    """The replaced one, or the one that failed: it takes long where there are many chunks."""
    remove = shutil.rmtree

    def interrupted(path, **options):
        if os.path.isdir(path):
            signal.raise_signal(signal.SIGINT)
        remove(path, **options)

    filled("a.zarr", b"old", overwrite=False)
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    # What is started in the background may ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            filled("a.zarr", b"new", overwrite=True, error=error)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (here / "a.zarr" / "file").read_bytes() == (b"old" if error else b"new")
    assert os.listdir() == ["a.zarr"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need not be able to")
def test_names_are_exchanged_in_one_step(here):
    for name in "ab":
        (here / name).mkdir()
        (here / name / name).write_bytes(b"")
    assert exchange("a", "b")
    assert (os.listdir("a"), os.listdir("b")) == (["b"], ["a"])
    with pytest.raises(FileNotFoundError, match="absent"):
        exchange("absent", "a")


def test_a_folder_that_another_process_removes_is_written_anew(here, monkeypatch):
    def removed_before(first, second):
        shutil.rmtree(second)
        return exchange(first, second)

    filled("a.zarr", b"old", overwrite=False)
    monkeypatch.setattr("fastseg.io.atomic.exchange", removed_before)
    filled("a.zarr", b"new", overwrite=True)
    assert (here / "a.zarr" / "file").read_bytes() == b"new"
    assert os.listdir() == ["a.zarr"]


def test_a_folder_that_was_moved_away_by_a_killed_run_comes_back(here):
    moved = here / f".a.zarr.{_machine()}-99999999-0123456789abcdef.old.part"
    moved.mkdir()
    (moved / "file").write_bytes(b"old")
    with pytest.raises(OSError, match="later"):
        filled("a.zarr", b"new", overwrite=True, error=OSError("later"))
    assert (here / "a.zarr" / "file").read_bytes() == b"old"
    assert os.listdir() == ["a.zarr"]
