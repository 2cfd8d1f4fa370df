"""A disk that is full or fails, at each call: old outputs stay, and one line says what happened."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from writing_jobs import JOBS, program

from fastseg.cli import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and POSIX limits")


def test_a_disk_that_refuses_any_call_or_any_size(tmp_path, times, figure):
    n_jobs, step = times((3, 9), (len(JOBS), 1))
    counts = json.loads(program("failing.py", tmp_path, n_jobs, step))
    assert counts["calls"] > 2 * n_jobs
    assert counts["limits"] > 2 * n_jobs
    assert counts["failures"] > 2 * n_jobs
    found = (
        "{calls:,} calls and {limits:,} limits: {failures:,} failures, each with exit code 1 and"
        " one line that names the output; 0 old files harmed, 0 leftovers"
    )
    figure(
        f"{n_jobs} jobs whose n-th open, write, fsync, link or rename fails (ENOSPC, EIO, EDQUOT,"
        " EROFS), or whose files may not grow beyond a size, for every n and many sizes",
        found.format(**counts),
    )


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root of Linux mounts a small disk"
)
@pytest.mark.parametrize("output", ["out.png", "out.tif", "out.npy", "out.nii.gz", "out.ome.zarr"])
def test_a_disk_that_is_too_small(tmp_path, output, capsys):
    """A file system of 64 kB, of which what is there leaves too little."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if subprocess.run(mounted, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        image = np.random.default_rng(0).integers(0, 4, (200, 200)).astype(np.uint8)
        np.save(tmp_path / "in.npy", image)
        (disk / "other").write_bytes(bytes(48_000))
        before = with_old_output(disk, output)
        args = ["segment", tmp_path / "in.npy", disk / output, "-k", "4", "--overwrite"]
        assert main([str(arg) for arg in args]) == 1
        assert capsys.readouterr() == (
            "",
            f"fastseg: error: {disk / output}: cannot be written (No space left on device);"
            " make room, or write elsewhere\n",
        )
        assert contents(disk) == before
    finally:
        subprocess.run(["umount", disk], check=True)


def with_old_output(disk, output):
    """Put a file of that name there, or a folder; returns what is there then."""
    if output.endswith(".zarr"):
        (disk / output).mkdir()
        ours = {"zarr_format": 3, "node_type": "group", "attributes": {"fastseg": {}}}
        (disk / output / "zarr.json").write_text(json.dumps(ours))
    else:
        (disk / output).write_bytes(b"old")
    return contents(disk)


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
