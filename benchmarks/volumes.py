"""A medical volume from file to file, against nibabel's reading and writing alone.

    benchmarks/fetch_volume.sh volumes
    python benchmarks/volumes.py volumes/usr/share/mricron/templates/ch2better.nii.gz

The labels are compared with a nearest centre found value by value before any time is
taken. nibabel reads the volume and writes the same voxels back with its defaults, and
once more what fastseg writes, the labels; fastseg reads, segments at k = 4, writes the
labels and waits for the disk. Runs alternate; medians of whole calls in one process,
and of whole processes.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

from fastseg.cli import main

K = 4
IN_ONE_PROCESS, WHOLE_PROCESSES = 9, 5
NIBABEL = """
import sys, nibabel, numpy
scan = nibabel.load(sys.argv[1])
voxels = numpy.asanyarray(scan.dataobj)
nibabel.save(nibabel.Nifti1Image(voxels, scan.affine, scan.header), sys.argv[2])
"""


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternating(works, repeats):
    """Median seconds of each piece of work, all run in turns."""
    rounds = [[seconds(work) for work in works] for _ in range(repeats + 1)]
    return [statistics.median(column) for column in zip(*rounds[1:], strict=True)]


def rewrite(path, out, voxels=None):
    scan = nibabel.load(path)
    read = np.asanyarray(scan.dataobj)
    image = nibabel.Nifti1Image(read if voxels is None else voxels, scan.affine, scan.header)
    nibabel.save(image, out)


def segment(path, out, model):
    assert main(["segment", path, out, "-k", str(K), "--overwrite", "--model", model]) == 0


def check(path, out, model):
    """Labels of the nearest centre, the places and the types."""
    scan, labels = nibabel.load(path), nibabel.load(out)
    voxels, found = np.asanyarray(scan.dataobj), np.asanyarray(labels.dataobj)
    centers = np.array(json.loads(Path(model).read_text())["centers"])[:, 0]
    nearest = np.abs(np.arange(256)[:, None] - centers).argmin(axis=1) + 1
    assert found.dtype == np.uint8
    assert (nearest[voxels] == found).all()
    assert labels.affine.tobytes() == scan.affine.tobytes()
    print(f"{path}: {found.size:,} voxels, {voxels.dtype}; labels of the nearest centre: all")
    return found


def show(case, ours, theirs, peer):
    print(f"{case}: fastseg {ours:.3f} s, {peer} {theirs:.3f} s, ratio {ours / theirs:.2f}")


def run(path):
    with tempfile.TemporaryDirectory() as folder:
        out, again, model = (f"{folder}/{n}" for n in ("labels.nii.gz", "again.nii.gz", "m.json"))
        segment(path, out, model)
        labels = check(path, out, model)
        ours, theirs, lighter = alternating(
            [
                lambda: segment(path, out, model),
                lambda: rewrite(path, again),
                lambda: rewrite(path, again, labels),
            ],
            IN_ONE_PROCESS,
        )
        show("in one process, warm", ours, theirs, "nibabel, the voxels back")
        show("the same", ours, lighter, "nibabel, the labels")
        command = [sys.executable, "-m", "fastseg", "segment", path, out, "-k", str(K)]
        ours, theirs = alternating(
            [
                lambda: subprocess.run([*command, "--overwrite"], check=True, capture_output=True),
                lambda: subprocess.run([sys.executable, "-c", NIBABEL, path, again], check=True),
            ],
            WHOLE_PROCESSES,
        )
        show("whole processes", ours, theirs, "nibabel, the voxels back")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run(sys.argv[1])
