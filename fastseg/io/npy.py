"""NumPy ``.npy`` files: any array in, labels out; as a whole, or region by region."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from .atomic import atomic_write
from .chunked import ChunkedImage, LabelPlan, Part, Region, refuse_options, refuse_parts, shape_of
from .failures import words_of
from .image import Geometry, Image, Legend, auto_axis


def read(path: str, max_pixels: int | None) -> Image:
    """Map an array into memory; its pages are read when they are used."""
    return Image(_mapped(path), channel_axis="auto")


def _mapped(path: str) -> NDArray[Any]:
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except EOFError as error:
        raise ValueError(f"{path}: the file is truncated") from error
    except Exception as error:  # a header is text of Python, and NumPy passes on what that raises
        raise ValueError(f"{path}: {_reason(path, error)}") from error
    if not isinstance(pixels, np.ndarray):  # np.load goes by content: this is a .npz archive
        pixels.close()
        raise ValueError(f"{path}: is not a .npy file but a .npz archive; save one array of it")
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{path}: holds {pixels.dtype} values; integers or floats are expected")
    return pixels


def _reason(path: str, error: Exception) -> str:
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            return "is not a .npy file"
    if "object" in str(error).lower():
        return "holds Python objects, which are not read; integers or floats are expected"
    return f"the file is truncated or damaged ({words_of(error)})"


def open_chunks(path: str, part: Part) -> ChunkedImage:
    """Open an array to be read in regions."""
    refuse_parts(path, part, ".npy files hold a single array", but=("channels",))
    pixels = _mapped(path)
    if pixels.ndim < 2 or pixels.size == 0:
        raise ValueError(
            f"{path}: has the shape {pixels.shape}; at least 2 dimensions and one value are"
            " expected"
        )
    return NpyImage(path, pixels)


class NpyImage(ChunkedImage):
    """An array in a file. What is read is copied, so that no more of it stays in memory."""

    def __init__(self, path: str, mapped: NDArray[Any]) -> None:
        axis = auto_axis(mapped.shape)
        grid = mapped.shape if axis is None else mapped.shape[:axis]
        self._turned = not mapped.flags.c_contiguous
        # Whole rows lie together, and in Fortran's order whole columns.
        long = 0 if self._turned else len(grid) - 1
        block = tuple(n if i == long else 1 for i, n in enumerate(grid))
        n_channels = 1 if axis is None else mapped.shape[axis]
        super().__init__(path, grid, mapped.dtype, n_channels, axis, block)
        self._shape = mapped.shape[::-1] if self._turned else mapped.shape
        self._stored = mapped.dtype
        self._offset = int(mapped.offset)  # type: ignore[attr-defined]

    def read(self, region: Region) -> tuple[NDArray[Any], None]:
        """See `ChunkedImage.read`."""
        index = region if self.channel_axis is None else (*region, slice(0, self.n_channels))
        index = index[::-1] if self._turned else index
        whole = all(s.stop - s.start == n for s, n in zip(index[1:], self._shape[1:], strict=True))
        values = self._span(index[0], copied=whole)[(slice(None), *index[1:])]
        values = values.T if self._turned else values
        if self.channel_axis is None:
            values = values[..., None]
        copy = np.ascontiguousarray if whole else np.array
        return copy(values, self.dtype), None

    def _span(self, rows: slice, copied: bool) -> NDArray[Any]:
        """Rows of the first axis as they lie in the file, copied or mapped into memory."""
        shape = (rows.stop - rows.start, *self._shape[1:])
        first = self._offset + rows.start * math.prod(shape[1:]) * self._stored.itemsize
        if not copied:
            return np.memmap(self.name, self._stored, "r", first, shape)
        values = np.fromfile(self.name, self._stored, math.prod(shape), offset=first)
        if len(values) < math.prod(shape):
            raise ValueError(f"{self.name}: the file is truncated; get a fresh copy")
        return values.reshape(shape)


def check_labels(name: str, n_values: int, shape: tuple[int, ...] | None) -> None:
    """Any labels fit."""


def write(file: BinaryIO, name: str, labels: NDArray[Any], legend: Legend) -> None:
    """Write the labels as they are."""
    np.save(file, labels, allow_pickle=False)


def write_values(
    file: BinaryIO, name: str, values: NDArray[Any], geometry: Geometry | None
) -> None:
    """Write the values as they are."""
    np.save(file, values, allow_pickle=False)


@contextlib.contextmanager
def create(path: str, plan: LabelPlan, *, overwrite: bool) -> Iterator[NpyWriter]:
    """Begin an array of labels."""
    refuse_options(path, plan)
    with atomic_write(path, overwrite=overwrite) as file:
        yield NpyWriter(file, plan)


class NpyWriter:
    """Writes an array of labels in regions, each run of it where it belongs."""

    def __init__(self, file: BinaryIO, plan: LabelPlan) -> None:
        self.block = (1,) * len(plan.grid)
        self._file = file
        self._grid, self._dtype = plan.grid, np.dtype(plan.dtype)
        npy_format.write_array_header_1_0(
            file,
            {
                "descr": npy_format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": plan.grid,
            },
        )
        self._offset = file.tell()
        file.truncate(self._offset + math.prod(plan.grid) * self._dtype.itemsize)

    def encode(self, region: Region, labels: NDArray[Any]) -> NDArray[Any]:
        """See `LabelWriter.encode`."""
        return np.ascontiguousarray(labels.reshape(shape_of(region)), self._dtype)

    def write(self, region: Region, encoded: NDArray[Any]) -> None:
        """See `LabelWriter.write`."""
        # Axes that the region has in full lie together with what is before them.
        n_cut = max((i for i, n in enumerate(self._grid) if encoded.shape[i] < n), default=0)
        strides = [math.prod(self._grid[i + 1 :]) for i in range(len(self._grid))]
        for index in np.ndindex(*encoded.shape[:n_cut]):
            at = sum((s.start + i) * n for s, i, n in zip(region, index, strides, strict=False))
            at += region[n_cut].start * strides[n_cut]
            self._file.seek(self._offset + at * self._dtype.itemsize)
            self._file.write(encoded[index].data)

    def finish(self, tick: Any = None, n_threads: int = 1) -> None:
        """See `LabelWriter.finish`."""
