"""The table of cases: what is asked of all implementations, in the tests and in the timings.

Each is made at its full size for `compare.py`, and small for the tests of parity, which
need no files. Photographs and a head are read from the folder DATA (see fetch_photos.sh
and fetch_volume.sh); where a file is missing, the case is left out, with the reason.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from fastseg.bench.answers import starting_centers

DATA = Path(os.environ.get("FASTSEG_BENCH_DATA", Path(__file__).parent / "data"))
# Of float points, which converge slowly: enough for all to have settled in.
ITERATIONS = 20


class Missing(Exception):
    """A file that a case needs is not there; the message says how to get it."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is given: pixels or points (n, d), on a grid, and what to make of them."""

    values: np.ndarray
    n_clusters: int
    grid: tuple[int, ...] = ()
    start: np.ndarray | None = None
    max_iter: int = 300
    tol: float = 1e-4
    path: Path | None = None

    @property
    def image(self):
        """Pixels on their grid, channels last."""
        return self.values.reshape(*self.grid, *self.values.shape[1:])


@dataclass(frozen=True)
class Case:
    """A task, and how its problem is made; ``title`` stands in the README's table."""

    name: str
    title: str
    task: str
    make: Callable[[bool], Problem]  # True for a small one


def photograph(small):
    """The large photograph, or a part of the one that scikit-learn ships."""
    if small:
        from sklearn.datasets import load_sample_image

        return np.ascontiguousarray(load_sample_image("china.jpg")[100:160, 200:290])
    return _decoded("Elephants_5640x3172.jpg")


@cache
def _decoded(name):
    Image.MAX_IMAGE_PIXELS = None
    path = next(DATA.rglob(name), None)
    if path is None:
        raise Missing(f"{name} is not in {DATA}; run benchmarks/fetch_photos.sh {DATA}")
    return np.asarray(Image.open(path).convert("RGB"))


def picture(small, image, k, **more):
    """Problem of a colour image, with starts off all ties where there is to be one start."""
    values = image.reshape(-1, 3)
    k = min(k, 16) if small else k
    return Problem(values, k, image.shape[:2], starting_centers(values, k, seed=k), **more)


def photo(k, small):
    return picture(small, photograph(small), k)


def part_of_photo(small):
    image = photograph(small)
    image = image if small else np.ascontiguousarray(image[500:2500, 1500:3500])
    return picture(small, image, 256, max_iter=10, tol=0.0)


def mosaic(small):
    """Eight photographs and the large one, 24 megapixels with many colours."""
    if small:
        return picture(small, photograph(small), 256)
    names = sorted(path.name for path in DATA.rglob("nature/*.jpg"))[:8]
    large = Image.fromarray(photograph(small)).resize((6000, 2000))
    if len(names) < 8:
        raise Missing(f"fewer than eight photographs in {DATA}; run benchmarks/fetch_photos.sh")
    tiles = [np.asarray(Image.fromarray(_decoded(name)).resize((1500, 1000))) for name in names]
    rows = [np.concatenate(tiles[:4], axis=1), np.concatenate(tiles[4:], axis=1)]
    return picture(small, np.concatenate([*rows, np.asarray(large)]), 256)


def head(shape, dtype, largest, small):
    """Head-like volume: air, and three tissues with noise."""
    shape = (23, 21, 18) if small else shape
    rng = np.random.default_rng(0)
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    mean = np.array([0.75, 0.5, 0.25, 0.02], np.float32)[np.digitize(radius, [0.35, 0.6, 0.85])]
    noisy = mean + rng.normal(0, 0.04, shape).astype(np.float32)
    scan = np.clip(noisy * largest, 0, largest).astype(dtype)
    start = np.quantile(scan[::4, ::4, ::4], [0.2, 0.4, 0.6, 0.8])[:, None] + 0.37
    return Problem(scan.reshape(-1, 1), 4, shape, start)


def volume_file(small):
    """A head as NIfTI; a made-up one for the tests."""
    import nibabel

    if small:
        made = head((), np.uint8, 255, small)
        folder = Path(tempfile.mkdtemp(prefix="fastseg-bench-"))
        path = folder / "head.nii.gz"
        nibabel.save(nibabel.Nifti1Image(made.image[..., 0], np.eye(4)), path)
    else:
        path = next(DATA.rglob("ch2better.nii.gz"), None)
        if path is None:
            raise Missing(f"no ch2better.nii.gz in {DATA}; run benchmarks/fetch_volume.sh {DATA}")
    voxels = np.asanyarray(nibabel.load(path).dataobj)
    return Problem(np.ascontiguousarray(voxels).reshape(-1, 1), 4, voxels.shape, path=path)


def measurements(small):
    """Values of one channel, no two alike."""
    values = np.random.default_rng(0).normal(size=(400 if small else 1_000_000, 1))
    return Problem(
        values, 5, (len(values),), np.quantile(values, [0.1, 0.3, 0.5, 0.7, 0.9])[:, None]
    )


def points(n, d, k, small):
    """Evenly spread float32 points, with centres near some of them to begin from."""
    n, k = (min(n, 1500), min(k, 64)) if small else (n, k)
    values = np.random.default_rng(0).random((n, d), dtype=np.float32)
    start = starting_centers(values, k)
    return Problem(values, k, (n,), start, max_iter=ITERATIONS, tol=0.0)


def _points(n, d, k, title):
    return Case(f"points-{n}x{d}-k{k}", title, "fit", partial(points, n, d, k))


CASES = [
    Case("photo-k8", "18-megapixel photograph, k = 8, to convergence", "fit", partial(photo, 8)),
    Case("photo-k32", "the same, k = 32", "fit", partial(photo, 32)),
    Case("photo-restarts", "the same, k = 8, best of ten k-means++ starts", "restarts",
         partial(photo, 8)),
    Case("photo-k256", "4 megapixels, k = 256, 10 iterations", "fit", part_of_photo),
    Case("mosaic-palette", "24 megapixels, k = 256, converged", "palette", mosaic),
    Case("scan-8-bit", "8.7 million voxels of 8 bits, k = 4, global optimum", "optimum",
         partial(head, (221, 217, 181), np.uint8, 255)),
    Case("scan-file", "35 million voxels of 8 bits, `.nii.gz` to `.nii.gz`, k = 4", "file",
         volume_file),
    Case("scan-16-bit", "512³ voxels of 16 bits, k = 4, global optimum", "optimum",
         partial(head, (512, 512, 512), np.uint16, 4095)),
    Case("values-k5", "a million different values, k = 5, global optimum", "optimum",
         measurements),
    _points(8_000_000, 3, 8, "20 iterations on 8 million float32 points, D = 3, k = 8"),
    _points(8_000_000, 1, 4, "the same, D = 1, k = 4"),
    _points(8_000_000, 3, 64, "the same, D = 3, k = 64"),
    _points(2_000_000, 13, 16, "2 million points, D = 13, k = 16"),
    _points(1_000_000, 32, 32, "1 million points, D = 32, k = 32"),
    _points(200_000, 128, 1024, "200,000 points, D = 128, k = 1024"),
    Case("seeding", "k-means++ of 8 million points, D = 3, k = 16", "seeding",
         partial(points, 8_000_000, 3, 16)),
    _points(1_000, 2, 3, "1,000 points, D = 2, k = 3"),
]  # fmt: skip

# The kernels alone: dtype, points, features, clusters.
KERNELS = [
    ("float32", 4_000_000, 3, 8),
    ("float32", 4_000_000, 1, 4),
    ("float32", 1_000_000, 3, 64),
    ("float32", 1_000_000, 13, 16),
    ("float32", 500_000, 32, 32),
    ("uint8", 4_000_000, 3, 8),
]


def kernel_problem(dtype, n, d, k):
    """Points of one row of KERNELS, with centres near some of them."""
    values = (np.random.default_rng(0).random((n, d)) * 255).astype(dtype)
    return Problem(values, k, (n,), starting_centers(values, k))
