"""Every example runs as a reader would run it, leaves its picture, and prints what is so."""

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import fastseg

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = Path(os.environ.get("FASTSEG_COURSE_DATA", Path(__file__).parents[2] / "shared" / "data"))
# One that workers import too, one that measures its memory, and the first that people run.
ALONE = {"dask_cluster", "huge_image", "photograph"}


def in_a_process(path, words):
    done = subprocess.run(
        [sys.executable, "-W", "error", path, *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_this_process(path, words):
    """Run it as Python runs a script, without a second's imports for each."""
    import matplotlib.pyplot as plt

    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(printed),
        plt.rc_context(),
    ):
        warnings.simplefilter("error")
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, words)])
        monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
        try:
            runpy.run_path(str(path), run_name="__main__")
        finally:
            plt.close("all")
    return printed.getvalue()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run an example with warnings as errors; what it printed, its picture being there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")

    def run(name, *words):
        run_it = in_a_process if name in ALONE else in_this_process
        out = run_it(EXAMPLES / f"{name}.py", words)
        with Image.open(tmp_path / f"{name}.png") as drawn:
            assert min(drawn.size) >= 300
            pixels = np.asarray(drawn.convert("RGB"))
        # Not a single colour, nor an empty frame.
        assert pixels.std() > 20
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
        return out

    return run


def numbers(pattern, text):
    """What the groups of a pattern match, as numbers, in all places."""
    found = re.findall(pattern, text, re.MULTILINE)
    assert found, f"{pattern} is not in\n{text}"
    rows = [match if isinstance(match, tuple) else (match,) for match in found]
    return [[float(word.replace(",", "")) for word in row] for row in rows]


def write_matrix(path, values):
    """Write a matrix as the course's files are: carriage returns alone, none at the end."""
    path.write_bytes(b"\r".join(",".join(map(repr, row)).encode() for row in values.tolist()))
    return path


@pytest.fixture
def flower(tmp_path):
    """Background, petals and heart, in levels of 1/232 as in the course's flower."""
    rows, columns = np.indices((50, 50)) - 24.5
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    petals = radius < 16 + 5 * np.cos(9 * angle)
    level = np.where(petals, 215, 20)
    level[radius < 6] = 118
    noise = np.random.default_rng(0).integers(-12, 13, level.shape)
    truth = np.where(radius < 6, 1, np.where(petals, 2, 0))
    return write_matrix(tmp_path / "flower.csv", (level + noise) / 232), np.bincount(truth.ravel())


def head(shape):
    """Five tissues in ellipses."""
    rows, columns = np.indices(shape) - (np.array(shape)[:, None, None] - 1) / 2
    radius = np.hypot(rows / shape[0], columns / shape[1]) * 2
    return np.digitize(-radius, [-0.95, -0.8, -0.6, -0.2])


def intensities(tissue):
    noise = np.random.default_rng(1).integers(-4, 5, tissue.shape)
    return (np.array([5, 28, 52, 80, 120])[tissue] + noise) / 255


def test_a_photograph_in_a_few_colours(run):
    out = run("photograph")
    rows = numbers(r"k = +(\d+): inertia ([\d.e+]+), the same picture both ways", out)
    assert [k for k, _ in rows] == [10, 8, 6, 4, 2]
    assert all(a < b for (_, a), (_, b) in pairwise(rows))


def test_the_flower(run, flower):
    path, sizes = flower
    out = run("flower", path)
    assert [n for _, n in numbers(r"mean ([\d.]+), ([\d,]+) pixels", out)] == sizes.tolist()
    cuts = [inertia for _, inertia in numbers(r"cut into (\d): sum of squares ([\d.]+)", out)]
    assert cuts == sorted(cuts, reverse=True)


@pytest.mark.skipif(
    not (DATA / "flower.csv").is_file(),
    reason=f"the course's data is not in {DATA} (FASTSEG_COURSE_DATA)",
)
def test_the_flower_as_published(run):
    rows = numbers(r"mean ([\d.]+), ([\d,]+) pixels", run("flower", DATA / "flower.csv"))
    assert rows == [[0.08574315, 1634], [0.50826255, 272], [0.93147713, 594]]


def test_the_healthy_brain(run, tmp_path):
    tissue = head((62, 50))
    out = run("healthy_brain", write_matrix(tmp_path / "healthy.csv", intensities(tissue)))
    assert out.startswith("optimal: ")
    sizes = [n for _, n in numbers(r"mean ([\d.]+), ([\d,]+) pixels", out)]
    assert sizes == np.bincount(tissue.ravel()).tolist()
    above = numbers(r"seed \d: inertia [\d.]+, (-?[\d.]+) % above the optimum", out)
    assert len(above) == 10
    assert min(above) >= [0]


def test_the_tumour(run, tmp_path):
    healthy = write_matrix(tmp_path / "healthy.csv", intensities(head((62, 50))))
    # Nothing is bright but two blobs, of 140 pixels and, with a bay, 112.
    tissue = np.minimum(head((60, 54)), 3)
    tissue[18:32, 15:25] = 4
    tissue[40:52, 20:30] = 4
    tissue[40:42, 20:24] = 3
    tumor = write_matrix(tmp_path / "tumor.csv", intensities(tissue))
    out = run("tumor", healthy, tumor)
    assert out.splitlines() == [
        "2 parts in the brightest class, the largest of them:",
        "140 pixels, rows 18 to 31, columns 15 to 24",
        "112 pixels, rows 40 to 51, columns 20 to 29",
    ]


def test_methods_compared(run, tmp_path):
    path = write_matrix(tmp_path / "healthy.csv", intensities(head((62, 50))))
    out = run("compare_methods", path)
    rows = dict(re.findall(r"^(.*): inertia ([\d.]+), adjusted", out, re.MULTILINE))
    assert list(rows) == ["k-means++", "global optimum", "Ward", "scikit-learn"]
    assert float(rows["global optimum"]) == min(map(float, rows.values()))
    assert "global optimum: inertia " + rows["global optimum"] + ", adjusted Rand 1.0000" in out


def test_a_huge_image(run, tmp_path):
    out = run("huge_image", tmp_path, "1024")
    small, large = numbers(r"([\d.]+) MB of pixels, read 2 times; (\d+) MB of memory", out)
    assert small[0] * 16 == pytest.approx(large[0], rel=0.05)
    assert large[1] < small[1] + 40
    whole = fastseg.segment(tmp_path / "huge.tif", 12, random_state=0)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), whole.labels)


def test_a_satellite_scene(run):
    out = run("satellite")
    assert "EPSG:32632, the same ground, no data: 0" in out
    ((left_out, not_seen),) = numbers(r"left out: ([\d,]+) pixels, not seen: ([\d,]+)", out)
    assert left_out == not_seen > 0
    assert set(re.findall(r"label \d: ([a-z ]+),", out)) == {
        "water", "forest", "town", "bare soil", "fields",
    }  # fmt: skip
    assert min(numbers(r"([\d.]+) % right", out)) >= [90]


def test_tissues_of_a_head(run):
    out = run("mri_tissues")
    assert "1,886,539 voxels, optimal" in out
    dice = [x for (x,) in numbers(r"Dice ([\d.]+)", out)]
    assert all(np.greater_equal(dice, [0.75, 0.90, 0.93]))


def test_the_cpu_and_what_else_there_is(run):
    out = run("cpu_and_gpu")
    missing = fastseg.available_backends()["cuda"]
    if missing is not None:
        assert f"no GPU here: {missing}" in out
    other = "GPU" if missing is None else "scikit-learn"
    assert f"equal pixels, CPU and {other}: 100 %" in out
    assert min(numbers(rf"^(?:CPU|{other}): ([\d.]+) ms", out)) > [0]


def test_a_pipeline(run):
    out = run("pipeline")
    ((alone,),) = numbers(r"alone: ([\d.]+)", out)
    ((k, clustered),) = numbers(r"behind k-means with k = (\d+): ([\d.]+)", out)
    assert clustered > alone + 0.02
    assert k in (10, 20, 30, 50, 75, 100)


def test_few_labels(run):
    out = run("few_labels")
    ((at_random,),) = numbers(r"50 at random: ([\d.]+)", out)
    ((chosen,),) = numbers(r"50 representatives: ([\d.]+)", out)
    ((everywhere,),) = numbers(r"everywhere: ([\d.]+)", out)
    assert at_random + 0.1 < chosen < everywhere
    ((whole, near),) = numbers(r"labels right: ([\d.]+), in the nearest half: ([\d.]+)", out)
    assert near >= whole


def test_a_dask_cluster(run):
    out = run("dask_cluster")
    assert "96 blocks, 2,186,240 pixels" in out
    assert "labels in blocks of (200, 200), not computed yet" in out
    assert "the same labels as in memory: yes" in out


@pytest.mark.parametrize("name", ["flower", "healthy_brain", "tumor", "compare_methods"])
def test_without_a_file_the_usage_is_told(name):
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"usage: python {name}.py ")


def test_every_example_is_tested():
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'run("{path.stem}"' in here, path.name
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 90, path.name
