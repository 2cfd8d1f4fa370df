"""What `fastseg bench` times: pictures as they are and in other sizes, and points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from ..io import Image, StrPath, read_image
from ..kernels.backend import Array, FloatArray
from ..pixels import as_pixels
from .answers import starting_centers

STAGES = {
    "file": "from the file to labels in memory",
    "fit": "from pixels in memory to labels in memory, transfers included",
    "assign": "the nearest centre of every pixel, with pixels and labels where it computes",
}
CLUSTERS = 8
# Of series, so that what is compared is the same work whatever the clusters look like.
ITERATIONS = 10

_SIZES = {True: (2**14, 2**17, 2**20), False: tuple(2**e for e in range(14, 25, 2))}
_COUNTS = {True: (2, 16, 128), False: (2, 4, 8, 16, 32, 64, 128, 256)}
_PIXELS_OF_COUNTS = {True: 2**16, False: 2**20}
# Points, features, clusters.
_POINTS = {
    True: ((2**18, 3, 8), (2**15, 32, 32)),
    False: ((2**22, 3, 8), (2**22, 1, 4), (2**20, 13, 16), (2**18, 32, 32), (2**15, 128, 256)),
}


@dataclass(frozen=True, eq=False)
class Case:
    """Points, and what is to be done with them.

    Attributes
    ----------
    series : {"picture", "pixels", "clusters", "points"}
        What it belongs to: pictures as they are, time against pixels or against clusters,
        points of floats.
    name : str
        What the points are.
    values : ndarray of shape (n, d)
        Pixels of a picture or points.
    start : ndarray of shape (k, d), float64
        Starting centres.
    max_iter : int
        Iterations at most.
    tol : float
        Where to stop before; 0 for never.
    stages : tuple of str
        Which of ``STAGES`` are timed.
    path : path, optional
        File that holds the picture.
    kept : ndarray of bool, optional
        Which pixels of the file's grid are the values.
    max_pixels : int, optional
        The largest picture that is decoded.
    """

    series: str
    name: str
    values: Array
    start: FloatArray
    max_iter: int
    tol: float
    stages: tuple[str, ...]
    path: StrPath | None = None
    kept: Array | None = None
    max_pixels: int | None = None

    def read(self) -> Image:
        """Decode the file."""
        assert self.path is not None
        return read_image(self.path, max_pixels=self.max_pixels)

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.start)


def cases(
    *, quick: bool, picture: StrPath | None = None, max_pixels: int | None = None
) -> Iterator[Case]:
    """Make the cases, one after the other.

    Raises
    ------
    OSError, ValueError
        If the picture cannot be read, or has too few distinct values.
    """
    names = ("china.jpg",) if quick else ("china.jpg", "flower.jpg")
    shipped = resources.files("sklearn.datasets.images")
    paths: list[StrPath] = [Path(str(shipped / n)) for n in names]
    if picture is not None:
        paths = [picture]
    pictures = [_picture(path, quick, max_pixels) for path in paths]
    yield from pictures
    yield from _series(pictures[0], quick)
    for n, d, k in _POINTS[quick]:
        values = np.random.default_rng(0).random((n, d), dtype=np.float32)
        yield Case("points", f"{n:,} x {d} float32", values, starting_centers(values, k),
                   ITERATIONS, 0.0, ("fit", "assign"))  # fmt: skip


def _picture(path: StrPath, quick: bool, max_pixels: int | None) -> Case:
    image = read_image(path, max_pixels=max_pixels)
    pixels = as_pixels(image, "auto", None, None).upright()
    values = np.ascontiguousarray(pixels.values)
    start = starting_centers(values, CLUSTERS)
    name = f"{Path(path).name}, {len(values):,} px"
    end = (ITERATIONS, 0.0) if quick else (300, 1e-4)
    return Case("picture", name, values, start, *end, tuple(STAGES), path, pixels.kept,
                max_pixels)  # fmt: skip


def _series(picture: Case, quick: bool) -> Iterator[Case]:
    image = _as_image(picture)
    name = Path(str(picture.path)).name
    for n in _SIZES[quick]:
        values = resized(image, n)
        try:
            start = starting_centers(values, CLUSTERS)
        except ValueError:  # in a smaller size few colours are left
            continue
        yield Case("pixels", f"{name}, {len(values):,} px", values, start, ITERATIONS, 0.0,
                   ("fit",))  # fmt: skip
    values = resized(image, _PIXELS_OF_COUNTS[quick])
    like = Case("clusters", f"{name}, {len(values):,} px", values, picture.start, ITERATIONS,
                0.0, ("fit",))  # fmt: skip
    n_distinct = len(np.unique(values, axis=0))
    for k in _COUNTS[quick]:
        if k < n_distinct:
            yield replace(like, start=starting_centers(values, k))


def _as_image(picture: Case) -> Array:
    """Pixels (rows, columns, channels); those that are left over by a mask in one row."""
    grid: tuple[int, ...] = (1, len(picture.values))
    if picture.kept is None:
        grid = picture.read().grid
    return picture.values.reshape(-1, grid[-1], picture.values.shape[1])


def resized(image: Array, n_pixels: int) -> Array:
    """Pixels (n, d) of an image in another size, about ``n_pixels``, as a camera would see it.

    Raises
    ------
    ValueError
        If the image has no pixels.
    """
    from PIL import Image as Pillow

    height, width, n_channels = image.shape
    scale = (n_pixels / (height * width)) ** 0.5
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    if height == 1:
        rows, columns = 1, n_pixels
    planes = [
        np.asarray(
            Pillow.fromarray(np.ascontiguousarray(image[..., f], np.float32)).resize(
                (columns, rows), Pillow.Resampling.BICUBIC
            )
        ).reshape(-1)
        for f in range(n_channels)
    ]
    values = np.stack(planes, axis=1)
    if image.dtype.kind == "f":
        return values.astype(image.dtype)
    limits = np.iinfo(image.dtype)
    return values.round().clip(limits.min, limits.max).astype(image.dtype)
