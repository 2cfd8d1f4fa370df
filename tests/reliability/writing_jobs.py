"""Jobs of the command line that write files: of every format, held and in pieces.

Each is run in a child that is forked from a process in which everything is loaded and compiled,
so that it can be disturbed a thousand times.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from fastseg.cli import main
from fastseg.io import chunked

HIDDEN = re.compile(r"\.[^/]+\.[0-9a-f]{8}-\d+-[0-9a-f]{16}(\.old)?\.part")
PIECES = "--on-error skip"
FITS = {3: "old", 4: "new"}


@dataclass(frozen=True)
class Job:
    """Words of a command, K for a number of clusters, and the files or folders it writes."""

    words: str
    outputs: tuple[str, ...]

    def args(self, k, *more):
        seed = [] if self.words.startswith("predict") else ["--seed", "0"]
        return [*self.words.replace("K", str(k)).split(), *seed, *more]


def job(words, *outputs):
    return Job(words, outputs)


JOBS = [
    job("segment in.png out.png -k K --model m.json --report r.png", "out.png", "m.json", "r.png"),
    job("segment in.png out.tif -k K --objects-out o.png", "out.tif", "o.png"),
    job("segment in.npy out.npy -k K --model m.json", "out.npy", "m.json"),
    job("segment in.nii.gz out.nii.gz -k K --objects-out o.nii", "out.nii.gz", "o.nii"),
    job("segment in.npy out.zarr -k K", "out.zarr"),
    job("segment in.npy out.ome.zarr -k K --model m.json", "out.ome.zarr", "m.json"),
    job("segment grey.npy out.png -k K --method ward --report r.svg --dendrogram d.pdf",
        "out.png", "r.svg", "d.pdf"),
    job("segment in.npy out.npy -k K --preview p.png --model m.json", "out.npy", "p.png", "m.json"),
    job("segment in.npy out.tif -k K --preview p.png --pyramid", "out.tif", "p.png"),
    job(f"segment in.npy out.png -k K {PIECES} --model m.json", "out.png", "m.json"),
    job(f"segment in.nii.gz out.nii.gz -k K {PIECES}", "out.nii.gz"),
    job(f"segment in.npy out.zarr -k K {PIECES}", "out.zarr"),
    job("segment in.npy out.ome.zarr -k K --preview p.png --pyramid", "out.ome.zarr", "p.png"),
    job("segment in.ome.zarr in.ome.zarr/labels/cells -k K", "in.ome.zarr/labels/cells",
        "in.ome.zarr/labels/zarr.json", "in.ome.zarr/zarr.json"),
    job("predict K.json in.png out.png --distance d.npy", "out.png", "d.npy"),
    job("predict K.json in.npy out.npy --distance d.tif", "out.npy", "d.tif"),
    job("predict K.json in.npy out.tif --preview p.png --pyramid", "out.tif", "p.png"),
    job("predict grey-K.json in.nii.gz out.nii.gz --distance d.nii.gz", "out.nii.gz", "d.nii.gz"),
    job(f"predict K.json in.npy out.zarr {PIECES}", "out.zarr"),
    job("predict K.json in.npy out.ome.zarr --pyramid", "out.ome.zarr"),
    job("predict K.json in.npy more.npy --out-dir many --suffix .tif",
        "many/in.tif", "many/more.tif"),
    job("fit in.npy more.npy -k K --model m.json", "m.json"),
]  # fmt: skip


def prepare(folder):
    """Go to a folder with images and models, where every job has been run, and is compiled."""
    import matplotlib
    import zarr

    os.environ["SOURCE_DATE_EPOCH"] = "0"  # the same drawing is the same file
    matplotlib.rcParams["svg.hashsalt"] = "fastseg"
    os.chdir(folder)
    chunked.cut.__defaults__ = (20_000,)  # several pieces of a small image
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :160]
    image = np.stack([x, y, (x // 40 + y // 40) * 30], axis=-1) + rng.normal(0, 5, (120, 160, 3))
    image = (image.clip(0, 255) // 8 * 8).astype(np.uint8)
    np.save("in.npy", image)
    np.save("more.npy", image[::-1])
    np.save("grey.npy", image[..., 2])
    Picture.fromarray(image).save("in.png")
    write_volume(image)
    group = zarr.create_group("in.ome.zarr", zarr_format=3)
    axes = [{"name": "c", "type": "channel"}] + [{"name": n, "type": "space"} for n in "yx"]
    scale = [{"type": "scale", "scale": [1.0] * 3}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [
        {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]}  # fmt: skip
    group.create_array("0", data=np.moveaxis(image, -1, 0), dimension_names=["c", "y", "x"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Zarr: other readers may not know of it
        zarr.consolidate_metadata("in.ome.zarr")
    for k in FITS:
        in_order(["fit", "in.npy", "-k", str(k), "--model", f"{k}.json", "--seed", "0"])
        in_order(["segment", "in.nii.gz", "v.npy", "-k", str(k), "--model", f"grey-{k}.json"])
        os.unlink("v.npy")


def write_volume(image):
    import nibabel

    volume = nibabel.Nifti1Image(np.stack([image[..., 0], image[..., 1]], axis=-1), np.eye(4))
    nibabel.save(volume, "in.nii.gz")


def in_order(args):
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(args)
    assert code == 0, (code, args)


class Bench:
    """One job in a folder of its own: what it writes undisturbed, and what is there now."""

    def __init__(self, job, inputs):
        self.job = job
        self._inputs = inputs
        self._kept = {}
        for k, name in FITS.items():
            self._clear()
            in_order(job.args(k))
            self._kept[name] = {path: digest(path) for path in job.outputs}
            self._save(name)
        self._clear()
        self._kept["absent"] = {path: digest(path) for path in job.outputs}
        differ = [path for path in job.outputs if self._kept["old"][path] == self._of_new(path)]
        assert set(differ) <= {"in.ome.zarr/labels/zarr.json"}, f"the same old and new: {differ}"

    def _of_new(self, path):
        return self._kept["new"][path]

    def _clear(self):
        """Nothing but the inputs."""
        for entry in os.listdir():
            remove(entry)
        shutil.copytree(self._inputs, ".", dirs_exist_ok=True)

    def _save(self, name):
        store = Path(f"{self._inputs}-{name}")
        remove(store)
        shutil.copytree(".", store)

    def begin(self, old):
        """Old outputs, or none; leftovers of killed runs stay. Returns the words of the command."""
        store = f"{self._inputs}-old" if old else self._inputs
        for path in self.job.outputs:
            remove(path)
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            if os.path.isdir(os.path.join(store, path)):
                shutil.copytree(os.path.join(store, path), path)
            elif os.path.exists(os.path.join(store, path)):
                shutil.copyfile(os.path.join(store, path), path)
        return self.job.args(4, *(["--overwrite"] if old else []))

    def found(self, old):
        """State of each output: old, new, absent, or what is wrong with it."""
        before = self._kept["old" if old else "absent"]
        states = {}
        for path in self.job.outputs:
            now = digest(path)
            if now == before[path]:
                states[path] = "old"
            elif now == self._of_new(path):
                states[path] = "new"
            else:
                states[path] = "absent" if now is None else "corrupt"
        return states

    def unexpected(self):
        """What lies about besides inputs and outputs: leftovers, and what is no leftover."""
        known = {str(path.relative_to(self._inputs)) for path in Path(self._inputs).rglob("*")}
        left, others = [], []
        for inner, folders, files in os.walk("."):
            for name in [*folders, *files]:
                path = os.path.relpath(os.path.join(inner, name))
                if HIDDEN.fullmatch(name):
                    left.append(path)
                elif path not in known and not self._is_output(path):
                    others.append(path)
            folders[:] = [name for name in folders if not HIDDEN.fullmatch(name)]
        return left, others

    def _is_output(self, path):
        return any(
            path == output or path.startswith(output + os.sep) or output.startswith(path + os.sep)
            for output in self.job.outputs
        )


def digest(path):
    """Digest of a file, or of all in a folder; None where there is nothing."""
    if not os.path.lexists(path):
        return None
    if os.path.isfile(path):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for file in sorted(each for each in Path(path).rglob("*") if each.is_file()):
        whole.update(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def benches(folder, jobs):
    """Benches of jobs, one after the other in a folder of images and models."""
    inputs, here = os.path.join(folder, "inputs"), os.path.join(folder, "here")
    os.makedirs(inputs)
    prepare(inputs)
    os.makedirs(here)
    os.chdir(here)
    for each in jobs:
        yield Bench(each, inputs)


class Child:
    """Process that runs a command, forked from this one; what it says comes through pipes."""

    def __init__(self, args, prepare=lambda: None):
        pipes = [os.pipe(), os.pipe()]
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                for number, (_, into) in enumerate(pipes, 1):
                    os.dup2(into, number)
                prepare()
                code = main(args)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        self._said = [out for out, _ in pipes]
        for _, into in pipes:
            os.close(into)

    def ended(self):
        """Exit code, or the signal that ended it below zero; what it printed, and its errors."""
        said = []
        for pipe in self._said:
            with open(pipe) as file:
                said.append(file.read())
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), *said

    def goes_well(self):
        code, _, err = self.ended()
        assert code == 0, err


def program(file, folder, *numbers):
    """Run a program beside this one; what it printed."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(file), folder, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
