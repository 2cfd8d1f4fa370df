"""The file of a model: JSON, checked when it is read."""

from __future__ import annotations

import json
import os
from os import PathLike
from typing import Any

import numpy as np

from .class_names import check_names
from .color import color_space as find_color_space
from .io.atomic import atomic_write
from .io.failures import words_of
from .matching import profile_from
from .standardizing import moments_from

_FORMAT = "fastseg-model"
_VERSION = 1
_MOST_BYTES = 2**28
_PLAIN = (
    "n_clusters", "n_channels", "dtype", "color_space", "method", "channel_axis", "axis_rule",
    "start_label", "fixed_start", "inertia", "n_iter", "converged",
)  # fmt: skip


def write_model(path: str | PathLike[str], model: Any, *, overwrite: bool) -> None:
    """Write a `Model`; the file is whole or absent."""
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(model_text(model))


def model_text(model: Any) -> bytes:
    """What the file of a `Model` holds."""
    fields = {
        "format": _FORMAT,
        "version": _VERSION,
        **{name: getattr(model, name) for name in _PLAIN},
        "value_range": model.value_range.tolist(),
        "names": None if model.names is None else list(model.names),
        "moments": None if model.moments is None else model.moments.tolist(),
        "profile": None if model.profile is None else model.profile.as_dict(),
        "counts": model.counts.tolist(),
        "centers": model.centers.tolist(),
        "space_centers": model.space_centers.tolist(),
    }
    return json.dumps(fields, indent=1, allow_nan=False).encode() + b"\n"


def read_model(path: str | PathLike[str]) -> dict[str, Any]:
    """Fields of a `Model` that `write_model` wrote, or ValueError."""
    size = os.path.getsize(path)
    if size > _MOST_BYTES:
        raise ValueError(
            f"{path} is not a fastseg model: it has {size:,} bytes, and a model at most"
            f" {_MOST_BYTES:,}"
        )
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a fastseg model: it is no JSON ({words_of(error)})"
        ) from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise ValueError(f"{path} is not a fastseg model")
    if fields.get("version") != _VERSION:
        raise ValueError(
            f"{path} is a model of format version {fields.get('version')!r:.60}, but this fastseg"
            f" reads version {_VERSION}; upgrade fastseg"
        )
    try:
        return _checked(fields)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"no {words_of(error)}" if isinstance(error, KeyError) else words_of(error)
        raise ValueError(f"{path} is a damaged fastseg model: {what}") from None


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    centers, space_centers = (
        np.array(fields[name], np.float64) for name in ("centers", "space_centers")
    )
    counts = np.array(fields["counts"], np.int64)
    value_range = np.array(fields["value_range"], np.float64)
    if centers.ndim != 2 or 0 in centers.shape or not np.isfinite(centers).all():
        raise ValueError("its centers are no finite matrix")
    k, d = centers.shape
    if (k, d) != (fields["n_clusters"], fields["n_channels"]):
        raise ValueError("its centers do not match n_clusters and n_channels")
    if space_centers.shape != (k, d) or not np.isfinite(space_centers).all():
        raise ValueError("its space_centers are no finite matrix like its centers")
    if counts.shape != (k,) or value_range.shape != (d, 2):
        raise ValueError("its counts or value_range do not match its centers")
    if not np.isfinite(value_range).all():
        raise ValueError("its value_range is not finite")
    if fields["start_label"] not in (0, 1):
        raise ValueError("its start_label is neither 0 nor 1")
    for name, word in (("axis_rule", "auto"), ("channel_axis", None)):
        if type(fields[name]) not in (int, type(None)) and fields[name] != word:
            raise ValueError(f"its {name} is {fields[name]!r:.60}")
    if not 0 <= float(fields["inertia"]) < np.inf:
        raise ValueError(f"its inertia is {fields['inertia']!r:.60}")
    if (counts < 0).any():
        raise ValueError("its counts are negative")
    if np.dtype(fields["dtype"]).kind not in "biuf":
        raise ValueError(f"its dtype is {fields['dtype']!r}")
    find_color_space(fields["color_space"], np.dtype(fields["dtype"]), d)
    return {
        "centers": centers,
        "space_centers": space_centers,
        "counts": counts,
        "dtype": str(fields["dtype"]),
        "value_range": value_range,
        "channel_axis": fields["channel_axis"],
        "start_label": int(fields["start_label"]),
        "method": str(fields["method"]),
        "color_space": str(fields["color_space"]),
        "inertia": float(fields["inertia"]),
        "n_iter": int(fields["n_iter"]),
        "converged": bool(fields["converged"]),
        "axis_rule": fields["axis_rule"],
        "fixed_start": bool(fields["fixed_start"]),
        "names": check_names(fields.get("names"), k),
        "moments": moments_from(fields.get("moments"), d),
        "profile": profile_from(fields.get("profile"), d),
    }
