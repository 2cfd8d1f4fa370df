"""What `segment` gives: a fitted model, how it was fitted, and the labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .array_libraries import from_caller
from .arrays import is_dask
from .io import Geometry
from .kernels.backend import Array, FloatArray
from .model import Model
from .ward import WardTree


@dataclass(eq=False)
class FittedModel(Model):
    """A model, and how it was fitted.

    Attributes
    ----------
    n_left_out : int
        Pixels left out.
    backend, reason : str
        Where it was computed, and why there.
    seconds : dict of str to float
        Seconds spent in each stage: count, fit (choosing k, starts and iterations), labels.
    init_centers : ndarray of shape (n_clusters, n_channels)
        Starting centres of the best run, in the order in which they were drawn.
    chosen_k_reason : str or None
        Why there are so many clusters, where their number was chosen.
    foreground : float or None
        Smallest value of the foreground, where one was asked for.
    tree : WardTree or None
        With ``method="ward"`` the tree that was cut: its leaves, their counts, and the
        ``linkage``. The labels come from it, while `predict` goes by the nearest centre,
        which need not be the same for pixels between two clusters.
    """

    n_left_out: int = field(kw_only=True)
    backend: str = field(kw_only=True)
    reason: str = field(kw_only=True)
    seconds: dict[str, float] = field(kw_only=True, repr=False)
    init_centers: FloatArray | None = field(kw_only=True, repr=False)
    chosen_k_reason: str | None = field(default=None, kw_only=True)
    foreground: float | None = field(default=None, kw_only=True)
    tree: WardTree | None = field(default=None, kw_only=True, repr=False)

    @property
    def linkage(self) -> FloatArray:
        """Linkage matrix of ``tree`` (m - 1, 4) for `scipy.cluster.hierarchy`, see `WardTree`."""
        if self.tree is None:
            raise AttributeError(f"there is no linkage with method={self.method!r}; use 'ward'")
        return self.tree.linkage


@dataclass(eq=False)
class Segmentation(FittedModel):
    """Result of `segment`: a fitted model, and the labels of its image.

    Attributes
    ----------
    labels : array of the image's grid
        Label of each pixel in the smallest unsigned type, in the library of the image (a
        DataArray keeps its coordinates): ``start_label`` for the first cluster, 0 for
        pixels left out.
    """

    labels: Any = field(kw_only=True)

    def recolor(self) -> Any:
        """Image in which every pixel has its cluster's mean, in the image's type and shape.

        Integer types are rounded; pixels left out are 0, or NaN in float images. It is in
        the library of the labels, without coordinates.
        """
        dtype = np.dtype(self.dtype)
        rounded = self.centers if dtype.kind == "f" else np.rint(self.centers)
        empty = np.full((self.start_label, self.n_channels), np.nan if dtype.kind == "f" else 0)
        palette = np.concatenate([empty, rounded]).astype(dtype)
        labels, caller = from_caller(self.labels, "labels")
        if is_dask(labels):
            from .dask.labels import recolored

            return recolored(labels, palette, self.channel_axis)
        picture = palette[labels]
        if self.channel_axis is None:
            return caller.array(picture[..., 0])
        return caller.array(np.moveaxis(picture, -1, self.channel_axis))


def in_numpy(result: Segmentation) -> Segmentation:
    """The same result with its labels in NumPy, sharing their memory."""
    labels, _ = from_caller(result.labels, "labels")
    return result if labels is result.labels else replace(result, labels=labels)


@dataclass(eq=False)
class FileModel(FittedModel):
    """Result of `fit_files`: a fitted model, and how the files were read.

    Attributes
    ----------
    n_pixels : int
        Pixels of all images, those left out included.
    skipped : dict of str to int
        What could not be decoded and was left out, and its pixels.
    n_passes : int
        How often the images were read.
    n_sampled : int or None
        Pixels of the sample that the clusters were fitted to. The inertia is then theirs, and
        the counts are unless `segment_file` labelled all.
    """

    n_pixels: int = field(kw_only=True)
    skipped: dict[str, int] = field(kw_only=True)
    n_passes: int = field(kw_only=True)
    n_sampled: int | None = field(kw_only=True)


@dataclass(eq=False)
class FileSegmentation(FileModel):
    """Result of `segment_file`: a fitted model, and what became of the file.

    Attributes
    ----------
    output : str
        File of the labels.
    grid : tuple of int
        Its shape.
    stored_dtype : str
        Type of the values in the file.
    geometry : Geometry or None
        Where the voxels lie.
    notes : tuple of str
        What was done to the file's content.
    """

    output: str = field(kw_only=True)
    grid: tuple[int, ...] = field(kw_only=True)
    stored_dtype: str = field(kw_only=True)
    geometry: Geometry | None = field(kw_only=True)
    notes: tuple[str, ...] = field(kw_only=True)


@dataclass(frozen=True)
class FileLabels:
    """Result of `predict_file`: what was written, and how."""

    output: str
    grid: tuple[int, ...]
    dtype: str
    geometry: Geometry | None
    counts: Array
    start_label: int
    n_left_out: int
    backend: str
    reason: str
    seconds: dict[str, float]
    skipped: dict[str, int]
    n_passes: int
    foreground: float | None
    match: str | None
    notes: tuple[str, ...]
