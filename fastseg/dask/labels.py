"""Labels of blocks, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends import backend_named
from ..kernels.backend import Array, FloatArray
from ..labelling import LabelsOf, by_distance, by_table, choose_start_label, stored_type
from ..matching import Forward
from ..pixels import Pixels
from .images import DaskImage


@dataclass(frozen=True)
class Table:
    """Distinct values (m, channels) of an image, and the label of each (m,)."""

    values: Array
    labels: Array


@dataclass(frozen=True)
class LabelRule:
    """How pixels get their labels, wherever that is done.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_channels)
        Centres where distances are taken, in label order.
    first_label : int
        Label of the first of them.
    forward : Forward
        Takes values in image units there.
    foreground : float or None
        Value below which pixels are left out.
    table : Table or None
        Labels that are not those of the nearest centres.
    n_threads : int
        Threads of each task: Dask runs one on each of a worker's threads already.
    """

    centers: FloatArray
    first_label: int
    forward: Forward
    foreground: float | None = None
    table: Table | None = None
    n_threads: int = 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels, the smallest unsigned one."""
        return stored_type(self.first_label + len(self.centers) - 1)

    def label(self, pixels: Pixels) -> Array:
        """Labels on the grid of pixels, 0 for those left out."""
        if self.foreground is not None:
            pixels = pixels.only(pixels.values[:, 0] >= self.foreground)
        if self.first_label == 0:
            choose_start_label(0, False, pixels.n_left_out)
        labels = np.empty(0, self.dtype)
        if len(pixels.values):
            labels = self._labels_of()(pixels).astype(self.dtype, copy=False)
        full: Array = pixels.to_grid(labels)
        return full

    def _labels_of(self) -> LabelsOf:
        backend = backend_named("cpu")
        if self.table is None:
            return by_distance(
                self.centers, self.first_label, self.forward, backend, self.n_threads,
                distinct_first=self.forward.distinct_first,
            )  # fmt: skip
        values = self.table.values
        counter = backend.counter(values.dtype, values.shape[1], n_threads=self.n_threads)
        counter.add(values)
        counter.distinct()
        return by_table(counter, self.table.labels)


def lazy_labels(image: DaskImage, rule: LabelRule) -> Any:
    """Labels as a dask array in the chunks of the image's grid; nothing is computed."""
    import dask.array as da

    grid = tuple(range(image.array.ndim - (image.channel_axis is not None)))
    given = [image.array, tuple(range(image.array.ndim))]
    if image.mask is not None:
        given += [image.mask, grid]
    return da.blockwise(
        _label_block, grid, *given, read=image.read, rule=rule, concatenate=True,
        dtype=rule.dtype, meta=np.empty((0,) * len(grid), rule.dtype), name=None,
        token="fastseg-labels",
    )  # fmt: skip


def _label_block(
    block: Any, mask: Any = None, *, read: Callable[..., Pixels], rule: LabelRule
) -> Array:
    part = (block,) if mask is None else (block, mask)
    return rule.label(read(*part))


def recolored(labels: Any, palette: Array, channel_axis: int | None) -> Any:
    """Lazy picture of lazy labels in colours (n_labels, channels)."""
    import dask.array as da

    if channel_axis is None:
        return labels.map_blocks(_painted, palette[:, 0], dtype=palette.dtype)
    picture = labels.map_blocks(
        _painted, palette, dtype=palette.dtype, chunks=(*labels.chunks, (palette.shape[1],)),
        new_axis=labels.ndim,
    )  # fmt: skip
    return da.moveaxis(picture, -1, channel_axis)


def _painted(labels: Array, palette: Array) -> Array:
    return palette[labels]
