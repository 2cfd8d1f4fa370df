"""Files damaged at random: each gives an answer, or one clear error of the project's own.

Nothing else: the process goes on, no warning and no print beside the error, nothing opened
that the file has no business with, and no more memory than its pixels may take. A mutant is
known by its number, and a fault is told with the bytes that bring it about.
"""

import base64
import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import mutation
import pytest
from fuzzed import KINDS, mutant

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and limits of memory")

# Mutants of a long run.
MANY = {
    "png": 12_000, "mask": 3000, "jpeg": 5000, "webp": 4000, "bmp": 4000, "gif": 4000,
    "tiff": 14_000, "tiff-pillow": 4000, "ome-tiff": 4000, "nifti": 5000, "nifti-gz": 5000,
    "mgh": 3000, "analyze": 3000, "dicom": 4000, "zarr-2": 5000, "zarr-3": 5000,
    "ome-zarr-2": 3000, "ome-zarr-3": 3000, "geotiff": 4000, "jpeg-2000": 2000, "vrt": 2000,
    "slide": 3000, "npy": 8000, "csv": 8000, "centers": 2000, "model": 8000, "calibration": 2000,
}  # fmt: skip
# Bytes beside what the process held before, of a picture of up to a million pixels.
MOST_MEMORY = 512 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A function that has mutants of a kind read, in a process that has all loaded."""
    folder = tmp_path_factory.mktemp("fuzzing")
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, str(HERE / "fuzz_server.py"), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert json.loads(process.stdout.readline()) == "ready"

    def read(kind, first, n):
        process.stdin.write(json.dumps({"kind": kind, "first": first, "n": n}) + "\n")
        process.stdin.flush()
        return folder, json.loads(process.stdout.readline())

    yield read
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


def told(folder, kind, number, fault):
    """A fault, and the files that bring it about."""
    tree = folder / "faults" / f"{kind}-{number}"
    files = [path for path in sorted(tree.rglob("*")) if path.is_file()]
    packed = {
        str(path.relative_to(tree)): base64.b64encode(gzip.compress(path.read_bytes())).decode()
        for path in files
    }
    return f"{kind} {number}: {fault}\n    gzip, base64: {packed}"


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_an_answer_or_one_clear_error(server, kind, times, figure):
    n = times(25, MANY[kind])
    folder, found = server(kind, 0, n)
    assert not found["faults"], "\n".join(told(folder, kind, *each) for each in found["faults"])
    assert found["answers"] + found["refusals"] == n
    assert found["memory"] < MOST_MEMORY
    mebibytes = found["memory"] / 2**20
    printed = f" ({found['printed']:,.0f} with a C library's words)" * (found["printed"] > 0)
    figure(
        f"mutated files: {kind}",
        f"{n:,}: {found['answers']:,.0f} answered, {found['refusals']:,.0f} refused in one line"
        f"{printed}, 0 anything else; at most {found['seconds']:.2f} s and {mebibytes:.0f} MiB",
    )


@pytest.mark.parametrize("target", ["tiff", "png", "npy", "csv", "zarr", "chunk", "model"])
def test_parsers_guided_by_what_is_covered(target, tmp_path, times, figure):
    """The parsers that are written here; whatever is raised ends the run."""
    n = times(0, 50_000)
    if n == 0:
        pytest.skip("for --torture alone")
    pytest.importorskip(
        "atheris", reason="atheris, which is not there for all systems: pip install atheris"
    )
    options = ["-max_len=6000", "-timeout=60", "-rss_limit_mb=2500", f"-atheris_runs={n}"]
    done = subprocess.run(
        [sys.executable, str(HERE / "guided.py"), target, str(tmp_path), *options],
        capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
    )  # fmt: skip
    crashes = [base64.b64encode(path.read_bytes()) for path in tmp_path.glob("crash-*")]
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{crashes}"
    assert f"Done {n}" in done.stderr
    figure(
        f"files made by atheris for what covers more of the parser: {target}",
        f"{n:,}: 0 errors other than the project's own, 0 hangs",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_most_mutants_are_other_files(kind, tmp_path):
    """What is tried are neither the files as they were, nor the same damage again and again."""
    trees = KINDS[kind].make(tmp_path)
    found = {json.dumps({k: v.hex() for k, v in mutant(kind, trees, i).items()}) for i in range(30)}
    whole = {json.dumps({k: v.hex() for k, v in tree.items()}) for tree in trees}
    assert len(found - whole) > 20


def test_a_number_names_a_mutant_for_good():
    rng = random.Random("png 7")
    assert mutation.damaged(rng, bytes(range(100))) == mutation.damaged(
        random.Random("png 7"), bytes(range(100))
    )
