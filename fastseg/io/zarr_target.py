"""Where labels may be written as Zarr, and how an OME-Zarr image comes to know of them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from typing import Any

from .atomic import StrPath, atomic_write, check_parent
from .ome_zarr import in_image
from .zarr_store import attributes_of, is_array, is_zarr, read_json

# Attribute of what is written here.
MARK = "fastseg"

_GROUP_V2, _ATTRIBUTES_V2, _ALL_V2 = ".zgroup", ".zattrs", ".zmetadata"
_V3 = "zarr.json"


def is_target(path: str) -> bool:
    """Whether labels of this name are Zarr: NAME.zarr, or IMAGE/labels/NAME of OME-Zarr."""
    return path.lower().rstrip("/\\").endswith(".zarr") or in_image(path) is not None


def check_target(path: str, overwrite: bool, inputs: Collection[StrPath]) -> None:
    """Refuse a folder that could not be written, or that is not to be replaced.

    Raises
    ------
    OSError, ValueError
        As `check_output`.
    """
    image = in_image(path)
    check_parent(path, image or os.path.dirname(os.path.realpath(path)))
    for source in inputs:
        _check_apart(path, os.fspath(source), image)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"{path}: exists already; give another name, or allow it to be replaced with"
            " --overwrite (in Python: overwrite=True)"
        )
    if not _is_replaceable(path):
        raise ValueError(
            f"{path}: is more than an array of labels, and is not replaced; give another name, or"
            f" for labels of an OME-Zarr image {os.path.join(path, 'labels', 'NAME')}"
        )


def _check_apart(path: str, source: str, image: str | None) -> None:
    """Refuse an output that is an input, lies in one, or holds one."""
    here, there = os.path.realpath(path), os.path.realpath(source)
    inside = here.startswith(there + os.sep) and (image is None or os.path.realpath(image) != there)
    if here == there or inside or there.startswith(here + os.sep):
        raise ValueError(f"{path}: is also an input of this run; give another output name")


def _is_replaceable(path: str) -> bool:
    if not os.path.isdir(path) or not is_zarr(path):
        return False
    return is_array(path) or MARK in attributes_of(path)


def register(image: str, path: str, zarr_format: int, version: str) -> None:
    """Add labels to the list in ``labels/`` of an image, and to its consolidated metadata."""
    name = os.path.basename(path)
    labels = os.path.dirname(path)
    found = attributes_of(labels) if is_zarr(labels) else {}
    holder = found if zarr_format == 2 else found.setdefault("ome", {"version": version})
    listed = holder.setdefault("labels", [])
    if name not in listed:
        listed.append(name)
    if zarr_format == 2:
        _write_json(os.path.join(labels, _GROUP_V2), {"zarr_format": 2})
        _write_json(os.path.join(labels, _ATTRIBUTES_V2), found)
    else:
        group = {"zarr_format": 3, "node_type": "group", "attributes": found}
        _write_json(os.path.join(labels, _V3), group)
    _consolidate(image, labels, path, zarr_format)


def _consolidate(image: str, labels: str, path: str, zarr_format: int) -> None:
    """Bring the copy of all metadata at the root up to date, where there is one."""
    file = os.path.join(image, _ALL_V2 if zarr_format == 2 else _V3)
    whole = read_json(file)
    held = whole if zarr_format == 2 else whole.get("consolidated_metadata") or {}
    if "metadata" not in held:
        return
    prefix = f"labels/{os.path.basename(path)}"
    entries = held["metadata"]
    for key in [key for key in entries if key == prefix or key.startswith(prefix + "/")]:
        del entries[key]
    for folder in (labels, path, *_arrays(path)):
        node = os.path.relpath(folder, image).replace(os.sep, "/")
        if zarr_format == 3:
            entries[node] = read_json(os.path.join(folder, _V3))
            continue
        for mark in (_GROUP_V2, ".zarray", _ATTRIBUTES_V2):
            if os.path.isfile(os.path.join(folder, mark)):
                entries[f"{node}/{mark}"] = read_json(os.path.join(folder, mark))
    _write_json(file, whole)


def _arrays(path: str) -> Iterator[str]:
    number = 0
    while is_zarr(os.path.join(path, str(number))):
        yield os.path.join(path, str(number))
        number += 1


def _write_json(path: str, content: dict[str, Any]) -> None:
    with atomic_write(path, overwrite=True) as file:
        file.write(json.dumps(content, indent=2).encode())
