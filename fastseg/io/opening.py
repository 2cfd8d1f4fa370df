"""Opening images to be read in regions, and files for labels that are written in regions.

To add a format of large files: a module with ``open_chunks(path, part)`` that gives a
`ChunkedImage`, or with ``create(path, plan, overwrite=...)`` that gives a `LabelWriter` in a
``with`` statement, and its suffixes in the tables below.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import READERS, WRITERS, check_labels, encode_labels, read_image
from .atomic import StrPath, atomic_write, check_output, suffix_of
from .chunked import (
    ChunkedImage,
    LabelPlan,
    LabelWriter,
    MissingCodec,
    NotInPieces,
    Part,
    Region,
    refuse_options,
    refuse_parts,
)
from .combined import StackedImage, WholeImage
from .failures import reading
from .tiff import is_tiff
from .tiff_place import is_georeferenced
from .zarr_store import is_zarr
from .zarr_target import check_target, is_target

# suffix -> the module whose open_chunks(path, part) reads it in regions
CHUNK_READERS = {
    ".bif": "slides",
    ".jp2": "geo_chunks",
    ".mrxs": "slides",
    ".ndpi": "slides",
    ".npy": "npy",
    ".scn": "slides",
    ".svs": "slides",
    ".svslide": "slides",
    ".tif": "tiff_chunks",
    ".tiff": "tiff_chunks",
    ".vms": "slides",
    ".vmu": "slides",
    ".vrt": "geo_chunks",
    ".zarr": "zarr_chunks",
}

# suffix -> the module whose create(path, plan, overwrite=...) writes it in regions
CHUNK_WRITERS = {
    ".npy": "npy",
    ".tif": "tiff_writer",
    ".tiff": "tiff_writer",
    ".zarr": "zarr_writer",
}

_WHOLE = Part()
# Sparse and damaged files may claim any number, and would be read for weeks.
_MOST_PIXELS = 2**38


def open_image(
    paths: StrPath | Sequence[StrPath], part: Part = _WHOLE, *, max_pixels: int | None = None
) -> ChunkedImage:
    """Open an image to be read in regions.

    Formats that can only be read as a whole are; they take the memory of the image.

    Parameters
    ----------
    paths : path or sequence of path
        A file of any format that `read_image` takes, or several of one grid whose channels
        make one image.
    part : Part
        Which part of each file is the image; ``channels`` are those of all together.
    max_pixels : int, optional
        The largest picture to open; by default 2**38 pixels for what is read in regions, and
        the limit of `read_image` for what is read as a whole.

    Returns
    -------
    ChunkedImage
        To be closed after use.

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_image` and `read_channels`, or a file has no such part.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    names = [os.fspath(path) for path in given]
    with contextlib.ExitStack() as opened:
        images = [opened.enter_context(open_one(name, part, max_pixels)) for name in names]
        image = images[0] if len(images) == 1 else StackedImage(images)
        if part.channels is not None:
            image = image.choose(part.channels)
        opened.pop_all()  # whoever closes the image closes them
        return image


def reader_of(name: str, part: Part = _WHOLE) -> str | None:
    """Name of the module that reads a file in regions, or None where it is read as a whole.

    A TIFF file that says where on the ground it lies is GDAL's, where rasterio is installed
    and no series or pages are asked for; all others are tifffile's.
    """
    if os.path.isdir(name) and is_zarr(name):
        return "zarr_chunks"
    module = CHUNK_READERS.get(suffix_of(name))
    if module != "tiff_chunks" or not os.path.isfile(name):
        return module
    if not is_tiff(name):
        return None  # another picture in spite of its name
    is_geo = part.series is None and part.pages is None and find_spec("rasterio") is not None
    return "geo_chunks" if is_geo and is_georeferenced(name) else module


def open_one(name: str, part: Part = _WHOLE, max_pixels: int | None = None) -> ChunkedImage:
    """Open a single file, with all its channels."""
    module = reader_of(name, part)
    if module is None:
        known = ", ".join(sorted(set(CHUNK_READERS) - {".npy"}))
        refuse_parts(name, part, f"this is for {known}", but=("channels",))
        return WholeImage(name, read_image(name, max_pixels=max_pixels))
    if module != "zarr_chunks":
        check_file(name)
    if module == "geo_chunks" and CHUNK_READERS[suffix_of(name)] == "tiff_chunks":
        # tifffile has codecs that GDAL may lack, and shows white as white.
        with contextlib.suppress(NotInPieces):
            return _open_by(module, name, part, max_pixels)
        module = "tiff_chunks"
    try:
        return _open_by(module, name, part, max_pixels)
    except MissingCodec:
        raise
    except (NotInPieces, ImportError):
        whole = _module("raster") if module == "tiff_chunks" else None
        if whole is None or (part.series, part.level, part.pages) != (None, None, None):
            raise
        with reading(name):
            return WholeImage(name, whole.read(name, max_pixels))


def _open_by(module: str, name: str, part: Part, max_pixels: int | None) -> ChunkedImage:
    """Open a file by the module of a format, of no more pixels than are allowed."""
    with contextlib.ExitStack() as opened:
        with reading(name):
            image: ChunkedImage = opened.enter_context(_module(module).open_chunks(name, part))
        if max_pixels is not None and module != "npy":
            from .pillow_state import check_size

            check_size(name, image.grid, max_pixels)
        elif image.n_pixels > _MOST_PIXELS:
            sides = " x ".join(map(str, reversed(image.grid)))
            raise ValueError(
                f"{name}: {sides} = {image.n_pixels:,} pixels are more than the limit of"
                f" {_MOST_PIXELS:,}; the file is damaged, or read a coarser level, or if you trust"
                f" it raise the limit with --max-pixels {image.n_pixels} (in Python: max_pixels)"
            )
        opened.pop_all()  # whoever closes the image closes the file
        return image


def check_file(name: str) -> None:
    """Refuse what is no file that can be read."""
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file")
    if os.path.isdir(name):
        raise IsADirectoryError(f"{name}: is a folder; give the name of a file")
    if not os.access(name, os.R_OK):
        raise PermissionError(f"{name}: no permission to read the file")
    if os.path.getsize(name) == 0:
        raise ValueError(f"{name}: the file is empty")


@contextlib.contextmanager
def create_labels(
    path: StrPath, plan: LabelPlan, *, overwrite: bool = False
) -> Iterator[LabelWriter]:
    """Create a file of labels that appears when the block has ended well.

    The caller writes every region, and calls ``finish`` of the writer.

    Parameters
    ----------
    path : path
        The file to write; formats that can only be written as a whole are collected in
        memory first.
    plan : LabelPlan
        What is to be written.
    overwrite : bool
        Whether a file of that name may be replaced.

    Raises
    ------
    OSError, ValueError, ImportError
        As `check_output`, or the format cannot hold these labels.
    """
    name = os.fspath(path)
    module = _writer_of(name)
    if module is not None:
        with _module(module).create(name, plan, overwrite=overwrite) as writer:
            yield writer
        return
    with atomic_write(name, overwrite=overwrite) as file:
        yield WholeWriter(name, file, plan)


def writes_regions(path: StrPath) -> bool:
    """Whether labels go to a file of this name region by region, and are not held as a whole."""
    return _writer_of(os.fspath(path)) is not None


def _writer_of(name: str) -> str | None:
    return CHUNK_WRITERS[".zarr"] if is_target(name) else CHUNK_WRITERS.get(suffix_of(name))


class WholeWriter:
    """Collects labels in memory for a format that is written as a whole."""

    def __init__(self, name: str, file: Any, plan: LabelPlan) -> None:
        refuse_options(name, plan)
        check_labels(name, int(np.iinfo(plan.dtype).max) + 1 if plan.legend.colors is None
                     else len(plan.legend.colors), plan.grid)  # fmt: skip
        self.block = (1,) * len(plan.grid)
        self._name, self._file, self._plan = name, file, plan
        self._labels = np.zeros(plan.grid, plan.dtype)

    def encode(self, region: Region, labels: NDArray[Any]) -> NDArray[Any]:
        """See `LabelWriter.encode`."""
        return labels

    def write(self, region: Region, encoded: NDArray[Any]) -> None:
        """See `LabelWriter.write`."""
        self._labels[region] = encoded.reshape(self._labels[region].shape)

    def finish(self, tick: Any = None, n_threads: int = 1) -> None:
        """See `LabelWriter.finish`."""
        legend = self._plan.legend
        encode_labels(
            self._file, self._name, self._labels, colors=legend.colors, left_out=legend.left_out,
            names=legend.names, geometry=legend.geometry,
        )  # fmt: skip


def check_label_output(
    path: StrPath, overwrite: bool = False, inputs: Collection[StrPath] = ()
) -> None:
    """Refuse a file or folder of labels that could not be written, before any work is done.

    As `check_output`, and for Zarr: a folder is replaced only where it holds an array, or
    labels that were written here.
    """
    name = os.fspath(path)
    if is_target(name):
        check_target(name, overwrite, inputs)
    else:
        check_output(name, overwrite, {*WRITERS, *CHUNK_WRITERS}, inputs)


def largest_picture() -> int | None:
    """Pixels of the largest picture that is decoded as a whole unless more are asked for."""
    from .pillow_state import SIZE_LIMIT

    return SIZE_LIMIT.pixels()


def can_stream(path: StrPath) -> bool:
    """Whether files of this name can be read in regions."""
    return reader_of(os.fspath(path)) is not None


def _module(name: str) -> Any:
    return importlib.import_module(f"fastseg.io.{name}")


__all__ = [
    "CHUNK_READERS",
    "CHUNK_WRITERS",
    "READERS",
    "can_stream",
    "check_label_output",
    "create_labels",
    "largest_picture",
    "open_image",
    "open_one",
    "reader_of",
    "writes_regions",
]
