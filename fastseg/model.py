"""Fitted clusters: what labels another image, and what is saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np

from .arrays import is_lazy
from .color import ColorSpace
from .color import color_space as find_color_space
from .dispatch import choose_backend
from .foreground import keep_foreground
from .kernels.backend import Array, FloatArray, Problem
from .labelling import Labelled, choose_start_label, label_pixels, label_values, pixel_distances
from .matching import Forward, Profile, check_match, matched
from .model_file import read_model, write_model
from .pixels import as_pixels
from .progress import Callback, Progress
from .resident import refuse_there
from .standardizing import Standardized
from .summary import count_pixels


@dataclass(eq=False)
class Model:
    """Clusters fitted to an image.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_channels), float64
        Mean of each cluster in image units, in label order: ascending luminance
        (for one channel intensity), ties by channel values.
    space_centers : ndarray of shape (n_clusters, n_channels), float64
        Centres in the colour space in which distances are taken.
    counts : ndarray of shape (n_clusters,), int64
        Pixels of each cluster in the fitted image.
    dtype : str
        Type of the fitted image.
    value_range : ndarray of shape (n_channels, 2), float64
        Smallest and largest value of each channel in the fitted image.
    channel_axis : int or None
        Axis of the channels in the fitted image, None for an image without one.
    start_label : int
        Label of the first cluster; 1 where pixels can be left out, whose label is 0.
    method, color_space : str
        How the clusters were found.
    inertia : float
        Sum of squared distances of the pixels to their centres, in that space.
    n_iter : int
        Iterations of the best run.
    converged : bool
        Whether that run converged before ``max_iter``.
    names : tuple of str or None
        Class of each cluster, where they were named.
    moments : ndarray of shape (n_channels, 2), float64, or None
        Mean and standard deviation by which each channel was standardized.
    profile : Profile or None
        How the values of the fitted image are distributed, for ``match``.
    """

    centers: FloatArray
    space_centers: FloatArray
    counts: Array
    dtype: str
    value_range: FloatArray
    channel_axis: int | None
    start_label: int
    method: str
    color_space: str
    inertia: float
    n_iter: int
    converged: bool
    axis_rule: int | str | None = field(default="auto", repr=False)
    fixed_start: bool = field(default=False, repr=False)
    names: tuple[str, ...] | None = None
    moments: FloatArray | None = field(default=None, repr=False)
    profile: Profile | None = field(default=None, repr=False)

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.centers)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self.centers.shape[1])

    def predict(
        self,
        image: Any,
        *,
        mask: Any = None,
        nodata: float | None = None,
        foreground: str | None = None,
        match: str | None = None,
        allow_dtype: bool = False,
        backend: str = "auto",
        n_threads: int | None = None,
        callback: Callback | None = None,
    ) -> Any:
        """Label every pixel of an image with its nearest centre.

        Parameters
        ----------
        image : array_like, DataArray, path or Image
            Image of as many channels as the fitted one, by the same rule for the
            axis of channels.
        mask, nodata, foreground, backend, n_threads, callback
            As in `segment`.
        match : {"histogram", "zscore"}, optional
            Fit the values of an image on another scale to those of the fitted one,
            channel by channel and over the pixels that take part: by their ranks, or
            by mean and standard deviation. By default they are taken as they are.
        allow_dtype : bool
            Whether to take an image of another type than the fitted one, its values
            as they are. Both being float needs no leave, nor does an image to match.

        Returns
        -------
        array of the image's grid
            Labels, in the library of the image (a DataArray keeps its coordinates). They
            go by the fitted image's rule, in the smallest unsigned type: where
            pixels can be left out they are 0 and the clusters count from 1.

        Raises
        ------
        ValueError, TypeError
            If the image does not fit the model, or an argument is not as described.
        """
        found = self.label(
            image, mask=mask, nodata=nodata, foreground=foreground, match=match,
            allow_dtype=allow_dtype, backend=backend, n_threads=n_threads, callback=callback,
        )  # fmt: skip
        return found.labels

    def label(
        self,
        image: Any,
        *,
        mask: Any = None,
        nodata: float | None = None,
        foreground: str | None = None,
        match: str | None = None,
        allow_dtype: bool = False,
        with_distances: bool = False,
        backend: str = "auto",
        n_threads: int | None = None,
        callback: Callback | None = None,
    ) -> Labelled:
        """Do as `predict`, and tell with the labels how they were made.

        With ``with_distances`` come those of the pixels to their centres.
        """
        check_match(match, self.profile)
        progress = Progress(callback)
        if is_lazy(image):
            given = (image, mask, nodata, foreground, match, allow_dtype, with_distances)
            return self._label_dask(*given, backend, n_threads, progress)
        pixels = as_pixels(image, self.axis_rule, mask, nodata, self.n_channels, resident=True)
        refuse_there(pixels.values, foreground=foreground, distances=with_distances)
        self.check_image(pixels.dtype, pixels.values.shape[1], allow_dtype or match is not None)
        choice = choose_backend(Problem.of(pixels.values, self.n_clusters), backend)
        how: dict[str, Any] = {"n_threads": n_threads, "progress": progress}
        pixels, threshold = keep_foreground(pixels, foreground, choice.backend, **how)
        first = self.first_label(pixels.may_leave_out, pixels.n_left_out)
        values, weights, counter = count_pixels(pixels.values, choice.backend, **how)
        refuse_there(
            values,
            match=match,
            color_space=self.color_space != "rgb",
            standardize=self.moments is not None,
        )
        fit = None
        if match is not None:
            fit = matched(match, pixels.in_units(values), weights, self.profile)

        def forward(values: Array) -> Array:
            return self.forward(pixels.in_units(values), fit)

        table = None
        if counter is not None:
            points = choice.backend.put(forward(values), n_threads=n_threads)
            table = label_values(points, self.space_centers, first)
        labels = label_pixels(
            pixels, values, counter, table, self.space_centers, first, forward=forward,
            backend=choice.backend, **how,
        )  # fmt: skip
        distances = None
        if with_distances:
            away = pixel_distances(
                pixels, labels, self.space_centers, first, forward=forward, progress=progress
            )
            distances = pixels.result(away, np.nan)
        return Labelled(
            pixels.result(labels), first, choice.backend.name, choice.reason, threshold, match,
            distances,
        )  # fmt: skip

    def _label_dask(
        self,
        image: Any,
        mask: Any,
        nodata: float | None,
        foreground: str | None,
        match: str | None,
        allow_dtype: bool,
        with_distances: bool,
        backend: str,
        n_threads: int | None,
        progress: Progress,
    ) -> Labelled:
        """Do as `label` for a dask array; nothing is computed but what labels depend on."""
        from .dask.cluster import Cluster
        from .dask.images import as_dask_image
        from .dask.labels import LabelRule, lazy_labels
        from .dask.predict import check_lazy, look

        check_lazy(backend, with_distances)
        array = as_dask_image(image, self.axis_rule, mask, nodata, self.n_channels)
        source = array.source()
        self.check_image(source.dtype, source.n_channels, allow_dtype or match is not None)
        seen = look(
            source, Cluster(), foreground, match, self.profile, progress, n_threads=n_threads,
            for_nan=self.start_label == 0 and not self.fixed_start,
        )  # fmt: skip
        first = self.first_label(seen.may_leave_out, 0)
        rule = LabelRule(
            self.space_centers, first, Forward(self.space, seen.fit), seen.foreground,
            n_threads=n_threads or 1,
        )  # fmt: skip
        reason = f"the image is a dask array of {len(source.parts):,} blocks"
        return Labelled(
            array.result(lazy_labels(array, rule)), first, "cpu", reason, seen.foreground, match
        )

    @property
    def space(self) -> ColorSpace:
        """Space in which distances are taken."""
        if self.moments is not None:
            return Standardized(moments=self.moments)
        return find_color_space(self.color_space, np.dtype(self.dtype), self.n_channels)

    def check_image(self, dtype: np.dtype[Any], n_channels: int, allow_dtype: bool) -> None:
        """Raise ValueError for an image whose values or channels are not those of the fitted."""
        if n_channels != self.n_channels:
            raise ValueError(
                f"the image has {_channels(n_channels)}, but the model was fitted to"
                f" {_channels(self.n_channels)}"
            )
        ours, theirs = np.dtype(self.dtype), dtype.newbyteorder("=")
        if ours != theirs and not (ours.kind == theirs.kind == "f") and not allow_dtype:
            raise ValueError(
                f"the image is {theirs}, but the model was fitted to {ours}, whose values may be"
                " on another scale; convert the image, or pass allow_dtype=True (--allow-dtype)"
                " to take its values as they are"
            )

    def first_label(self, may_leave_out: bool, n_left_out: int) -> int:
        """Label of the first cluster in another image."""
        fixed = 0 if self.fixed_start and self.start_label == 0 else None
        return max(self.start_label, choose_start_label(fixed, may_leave_out, n_left_out))

    def forward(self, values: Array, fit: Callable[[Array], Array] | None = None) -> Array:
        """Values (n, channels) in image units where distances are taken, fitted by ``fit``."""
        return Forward(self.space, fit)(values)

    def palette(self, start_label: int | None = None) -> Array:
        """Colours (n_label_values, 3) uint8 of the labels: their clusters' mean colours.

        The first three channels, or the first as grey. 8-bit colours are kept,
        others are stretched so that the fitted image's range fills 8 bits. The
        label 0 of pixels left out is black. ``start_label`` is by default the model's.
        """
        n_shown = 3 if self.n_channels >= 3 else 1
        shown = self.centers[:, :n_shown]
        if self.dtype != "uint8":
            low = self.value_range[:n_shown, 0].min()
            high = self.value_range[:n_shown, 1].max()
            shown = (shown - low) * (255.0 / (high - low) if high > low else 0.0)
        colors = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
        colors = np.repeat(colors, 4 - n_shown, axis=1)[:, :3] if n_shown == 1 else colors
        first = self.start_label if start_label is None else start_label
        return np.concatenate([np.zeros((first, 3), np.uint8), colors])

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as JSON.

        Parameters
        ----------
        path : path
            File to write; it is whole or absent.
        overwrite : bool
            Whether an existing file may be replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_model(path, self, overwrite=overwrite)


def load_model(path: str | PathLike[str]) -> Model:
    """Read a model that `Model.save` wrote.

    Parameters
    ----------
    path : path
        JSON file.

    Returns
    -------
    Model
        Model with ``predict``.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no model of this version.
    """
    return Model(**read_model(path))


def _channels(n: int) -> str:
    return "1 channel" if n == 1 else f"{n} channels"
