"""What an Image layer of napari holds, where it lies and how it looks, without a viewer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.backend import Array, FloatArray
from ..memory import MEBIBYTE, free_memory, memory_budget
from ..progress import Progress

if TYPE_CHECKING:
    from napari.layers import Image, Layer


def levels(layer: Layer) -> list[Any]:
    """Arrays of a layer, the finest first; one where it is not multiscale."""
    return list(layer.data) if layer.multiscale else [layer.data]


def grid(layer: Layer, level: int = 0) -> tuple[int, ...]:
    """Shape of a level without the channels of RGB."""
    return tuple(levels(layer)[level].shape[: layer.ndim])


def grids(layer: Layer) -> list[tuple[int, ...]]:
    """Shapes of all levels without the channels of RGB, the finest first."""
    return [grid(layer, level) for level in range(len(levels(layer)))]


def fitting_level(layer: Image) -> int:
    """Finest level that takes at most a quarter of the memory that is free, else the coarsest."""
    budget = memory_budget()
    fits = [n_bytes(array) <= budget for array in levels(layer)]
    return fits.index(True) if True in fits else len(fits) - 1


def n_bytes(array: Any) -> int:
    """Bytes that an array, lazy or not, takes in memory."""
    return int(math.prod(array.shape) * np.dtype(array.dtype).itemsize)


def read(name: str, arrays: Sequence[Any], progress: Progress) -> list[Array]:
    """Arrays in memory: NumPy's as they are, lazy ones (Dask, Zarr, ...) chunk by chunk.

    Raises
    ------
    MemoryError
        If the lazy ones take more than what is free.
    """
    lazy = [array for array in arrays if not isinstance(array, np.ndarray)]
    size, free = sum(map(n_bytes, lazy)), free_memory()
    if free is not None and size > free:
        raise MemoryError(
            f"layer {name!r} takes {size / MEBIBYTE:,.0f} MiB in memory, but"
            f" {free / MEBIBYTE:,.0f} MiB are free; choose a coarser level, crop it, or segment"
            " its file with fastseg.segment_file"
        )
    total = sum(len(array) for array in lazy)
    done = 0
    found: list[Array] = []
    for array in arrays:
        if isinstance(array, np.ndarray):
            found.append(array)
            continue
        whole = np.empty(array.shape, array.dtype)
        for start, stop in pairwise(_edges(array)):
            progress.report("read", done + start, total)
            whole[start:stop] = np.asarray(array[start:stop])
        done += len(array)
        found.append(whole)
    return found


def _edges(array: Any) -> list[int]:
    """Where the chunks of a lazy array begin and end along its first axis."""
    n, chunks = len(array), getattr(array, "chunks", None)
    if not chunks:
        return [0, n]
    if isinstance(chunks[0], int):  # Zarr: the length of all but the last
        return [*range(0, n, chunks[0]), n]
    return list(accumulate(chunks[0], initial=0))  # Dask: the length of each


def nearest(array: Array, shape: tuple[int, ...]) -> Array:
    """Array on a coarser grid over the same extent: the nearest value to each new pixel."""
    index = [
        ((np.arange(n) + 0.5) * (length / n)).astype(np.intp)
        for n, length in zip(shape, array.shape, strict=True)
    ]
    coarse: Array = array[np.ix_(*index)]
    return coarse


def placement(layer: Layer, level: int = 0) -> dict[str, Any]:
    """Arguments by which another layer lies where a level of this one does.

    A coarser pixel is centred on those it stands for, as napari shows it.
    """
    from napari.utils.transforms import Affine

    factors = np.divide(grid(layer), grid(layer, level))
    turns = {"rotate": layer.rotate, "shear": layer.shear}
    to_middle = Affine(scale=layer.scale, **turns).linear_matrix @ ((factors - 1) / 2)
    return {
        "scale": np.asarray(layer.scale) * factors,
        "translate": np.asarray(layer.translate) + to_middle,
        "affine": np.array(layer.affine),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
        **turns,
    }


def same_place(a: Layer, b: Layer) -> bool:
    """Whether the same index is at the same place of the world in two layers of one grid."""
    corners = np.vstack([np.zeros(a.ndim), np.diag(grid(a))])
    return a.ndim == b.ndim and all(
        np.allclose(a.data_to_world(corner), b.data_to_world(corner)) for corner in corners
    )


def colors_shown(layers: Sequence[Image], values: FloatArray) -> FloatArray:
    """Colours (n, 3) from 0 to 1 in which layers show the values (n, n_channels)."""
    first = layers[0]
    if first.rgb:
        kind = np.dtype(first.dtype)
        colors: FloatArray = values / (1.0 if kind.kind == "f" else np.iinfo(kind).max)
        return np.clip(colors, 0.0, 1.0)
    total = np.zeros((len(values), 3))
    for layer, column in zip(layers, values.T, strict=True):
        low, high = layer.contrast_limits
        share = np.clip((column - low) / (high - low), 0.0, 1.0) ** layer.gamma
        total += layer.colormap.map(share)[:, :3]
    return np.clip(total, 0.0, 1.0)
