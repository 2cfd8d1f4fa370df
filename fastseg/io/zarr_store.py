"""Arrays and groups of Zarr v2 and v3 folders: all that is asked of zarr-python to find them.

https://zarr-specs.readthedocs.io
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from .chunked import MissingCodec
from .failures import words_of
from .quiet import without
from .undisturbed import to_its_end

# One of them stands in the folder of every array or group.
_MARKS = ("zarr.json", ".zarray", ".zgroup")

_MOST_BYTES = 2**62

# Prefix of a codec's name -> what brings it.
_PACKAGES = {
    "imagecodecs": 'imagecodecs: pip install "fastseg[deep]"',
    "pcodec": "pcodec: pip install pcodec",
    "pco": "pcodec: pip install pcodec",
    "zfpy": "zfpy: pip install zfpy",
    "numcodecs.zfpy": "zfpy: pip install zfpy",
    "wavpack": "wavpack-numcodecs: pip install wavpack-numcodecs",
    "flac": "flac-numcodecs: pip install flac-numcodecs",
    "neuroglancer_compressed_segmentation": "compressed-segmentation: pip install"
    " compressed-segmentation",
}


def is_zarr(path: str) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any(os.path.isfile(os.path.join(path, mark)) for mark in _MARKS)


def check_folder(path: str) -> None:
    """Refuse what is no Zarr folder that can be read."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if not os.path.isdir(path):
        raise ValueError(f"{path}: is a file, but a Zarr array is a folder; unpack it first")
    if not os.access(path, os.R_OK | os.X_OK):
        raise PermissionError(f"{path}: no permission to read the folder")
    if not is_zarr(path):
        raise ValueError(
            f"{path}: is no Zarr array or group (it holds neither {', '.join(_MARKS[:-1])} nor"
            f" {_MARKS[-1]})"
        )


def library(path: str) -> Any:
    """Import zarr-python."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError(
            f'{path}: Zarr needs the package zarr: pip install "fastseg[zarr]"'
        ) from error
    return zarr


def open_array(path: str) -> Any:
    """Open an array for reading."""
    zarr = library(path)
    with _failures(path), without(Warning):  # of codecs that are read all the same
        _register_codecs(path)
        array = to_its_end(lambda: zarr.open_array(path, mode="r"))
        for shape in (array.chunks, array.shards or array.chunks, (max(array.shape, default=0),)):
            # Beyond, sizes in bytes overflow, and what was never written would be read.
            if math.prod(shape) * np.dtype(array.dtype).itemsize >= _MOST_BYTES:
                raise ValueError("its sizes are absurd")
        if 0 in array.chunks:
            raise ValueError(f"chunks of {array.chunks} hold nothing")
        from .zarr_bounded import bounded

        return bounded(array)


def is_array(path: str) -> bool:
    """Whether a Zarr folder holds an array, and not a group."""
    if os.path.isfile(os.path.join(path, ".zarray")):
        return True
    node: object = read_json(os.path.join(path, "zarr.json")).get("node_type")
    return node == "array"


def attributes_of(path: str) -> dict[str, Any]:
    """Attributes of an array or group, of either version."""
    v3 = os.path.join(path, "zarr.json")
    found = read_json(v3).get("attributes") if os.path.isfile(v3) else None
    if found is None:
        found = read_json(os.path.join(path, ".zattrs"))
    if not isinstance(found, dict):
        raise ValueError(f"{path}: the Zarr metadata is damaged (attributes: {found!r:.60})")
    return found


def read_json(path: str) -> dict[str, Any]:
    """Object in a file of metadata; empty where there is no such file."""
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the Zarr metadata is damaged ({words_of(error)})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: the Zarr metadata is damaged (no object, but {found!r:.60})")
    return found


def arrays_in(path: str) -> list[str]:
    """Names of the arrays of a group."""
    inner = sorted(os.scandir(path), key=lambda entry: entry.name)
    return [e.name for e in inner if e.is_dir() and is_zarr(e.path) and is_array(e.path)]


def files_in(folder: str, depth: int) -> Iterator[str]:
    """Files of a folder and of those in it that may hold chunks, with a slash between names."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if depth and (entry.name == "c" or entry.name.isdigit()) and entry.is_dir():
                for name in files_in(entry.path, depth - 1):
                    yield f"{entry.name}/{name}"
            else:
                yield entry.name


def _register_codecs(path: str) -> None:
    """Make imagecodecs known where the array's metadata name one of its codecs."""
    metadata = read_json(os.path.join(path, ".zarray"))
    codecs = [metadata.get("compressor"), *(metadata.get("filters") or ())]
    if any(str((codec or {}).get("id")).startswith("imagecodecs") for codec in codecs):
        with contextlib.suppress(ImportError):
            from imagecodecs.numcodecs import register_codecs

            register_codecs(verbose=False)


@contextlib.contextmanager
def _failures(path: str) -> Iterator[None]:
    """Name the folder in whatever zarr-python raises."""
    try:
        yield
    except MemoryError as error:
        raise ValueError(f"{path}: the Zarr metadata is damaged (sizes are absurd)") from error
    except OSError:
        raise
    except Exception as error:
        words = words_of(error)
        if words.startswith(path):
            raise
        if "UnknownCodec" in type(error).__name__ or "codec not available" in words:
            raise _needs(path, words) from error
        raise ValueError(f"{path}: the Zarr metadata is damaged ({words})") from error


def _needs(path: str, words: str) -> MissingCodec:
    """Error that says which codec is missing, and what brings it."""
    found = re.search(r"'+([\w.]+)'+", words)
    codec = found[1] if found else words
    brings = next((what for name, what in _PACKAGES.items() if codec.startswith(name)), None)
    fix = f"it comes with {brings}" if brings else "install the package that brings it"
    return MissingCodec(f"{path}: is compressed by {codec!r}, which is not installed; {fix}")
