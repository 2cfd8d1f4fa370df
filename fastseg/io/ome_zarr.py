"""What OME-Zarr says of an image, and what is to be said of its labels: versions 0.4 and 0.5.

https://ngff.openmicroscopy.org/0.4, https://ngff.openmicroscopy.org/0.5. Older versions,
down to 0.1, are read too.
"""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .failures import words_of
from .image import Legend
from .zarr_store import attributes_of, is_zarr

_OLD_AXES = "tczyx"  # of versions 0.1 and 0.2, always all of them
_TYPES = {"t": "time", "c": "channel"}
_NEWEST, _IN_V2 = "0.5", "0.4"
# Each is opened to be looked at, and halving brings any image to a pixel in fewer.
_MOST_LEVELS = 64


@dataclass(frozen=True)
class Multiscale:
    """An image in several sizes.

    ``axes`` and ``paths`` are as in the file, the largest size first; ``transforms`` lie
    from indices to places, for each size and then (``common``) for all.
    """

    version: str
    axes: tuple[dict[str, Any], ...]
    paths: tuple[str, ...]
    transforms: tuple[list[dict[str, Any]], ...]
    common: list[dict[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(str(axis.get("name")) for axis in self.axes)

    @property
    def channel(self) -> int | None:
        """Which axis is that of the channels."""
        types = [axis.get("type", _TYPES.get(str(axis.get("name")))) for axis in self.axes]
        return types.index("channel") if "channel" in types else None

    def without_channels(self, first: int) -> Multiscale:
        """The same of labels, from one of the sizes on."""
        at = self.channel
        return Multiscale(
            self.version,
            tuple(axis for i, axis in enumerate(self.axes) if i != at),
            self.paths[first:],
            tuple(_without(each, at) for each in self.transforms[first:]),
            _without(self.common, at),
        )


def _without(transforms: list[dict[str, Any]], at: int | None) -> list[dict[str, Any]]:
    """Transforms without one of the axes."""
    found = copy.deepcopy(transforms)
    if at is None:
        return found
    for transform in found:
        for values in transform.values():
            if isinstance(values, list):
                del values[at]
    return found


def multiscales(path: str, attributes: dict[str, Any]) -> list[Multiscale]:
    """Images that the attributes of a group tell of.

    Raises
    ------
    ValueError
        What they say cannot be understood.
    """
    own = own_attributes(path, attributes)
    try:
        return [_multiscale(own, each) for each in own.get("multiscales", ())]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: the OME-Zarr metadata is damaged ({words_of(error)})") from error


def own_attributes(path: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """What OME-Zarr says in the attributes of a group, of any version."""
    own = attributes.get("ome", attributes)
    if not isinstance(own, dict):
        raise ValueError(f"{path}: the OME-Zarr metadata is damaged (ome: {own!r:.60})")
    return own


def _multiscale(own: dict[str, Any], found: dict[str, Any]) -> Multiscale:
    version = str(own.get("version") or found.get("version") or _IN_V2)
    axes = found.get("axes") or list(_OLD_AXES)
    axes = [{"name": axis} if isinstance(axis, str) else dict(axis) for axis in axes]
    datasets = found["datasets"]
    if not 0 < len(datasets) <= _MOST_LEVELS:
        raise ValueError(f"{len(datasets):,} datasets")
    transforms = tuple(list(each.get("coordinateTransformations", ())) for each in datasets)
    for each in itertools.chain(*transforms):
        lists = [values for values in each.values() if isinstance(values, list)]
        if any(len(values) != len(axes) for values in lists):
            raise ValueError(f"{each} does not fit {len(axes)} axes")
    paths = tuple(str(each["path"]) for each in datasets)
    for path in paths:
        if (
            not path.isprintable()
            or {"", ".", ".."} & set(path.replace("\\", "/").split("/"))
            or ":" in path
        ):
            raise ValueError(f"the path {path!r} leads out of the image")
    return Multiscale(
        version,
        tuple(axes),
        paths,
        transforms,
        list(found.get("coordinateTransformations", ())),
    )


def version_for(zarr_format: int) -> str:
    """Version of OME-Zarr that goes with a version of Zarr."""
    return _IN_V2 if zarr_format == 2 else _NEWEST


def plain(n_axes: int, version: str) -> Multiscale:
    """Axes of an image of which nothing but its grid is known."""
    names = "tzyx"[-n_axes:]
    axes = tuple({"name": name, "type": _TYPES.get(name, "space")} for name in names)
    return Multiscale(version, axes, (), ([],), [])


def label_attributes(
    image: Multiscale,
    shapes: Sequence[tuple[int, ...]],
    version: str,
    legend: Legend,
    prefix: str = "",
) -> dict[str, Any]:
    """Attributes of a group of labels whose sizes are the arrays 0, 1, …

    With a prefix to the arrays' names those of a group above it, which tells of the image
    alone.
    """
    transforms = [_scale_of(image, shapes, number) for number in range(len(shapes))]
    axes = [{"type": _TYPES.get(str(axis.get("name")), "space"), **axis} for axis in image.axes]
    multiscale: dict[str, Any] = {
        "name": "labels",
        "axes": axes,
        "datasets": [
            {"path": f"{prefix}{number}", "coordinateTransformations": transform}
            for number, transform in enumerate(transforms)
        ],
    }
    if image.common:
        multiscale["coordinateTransformations"] = image.common
    found: dict[str, Any] = {"multiscales": [multiscale]}
    if not prefix:
        found["image-label"] = {"version": version, **_image_label(legend)}
    if version == _IN_V2:
        multiscale["version"] = version
        return found
    return {"ome": {"version": version, **found}}


def _scale_of(
    image: Multiscale, shapes: Sequence[tuple[int, ...]], number: int
) -> list[dict[str, Any]]:
    """Transforms of a size: the image's own, or the last of them carried on."""
    known = image.transforms
    if number < len(known) and known[number]:
        return known[number]
    last = max((i for i, each in enumerate(known[:number]) if each), default=0)
    base = copy.deepcopy(known[last]) or [{"type": "scale", "scale": [1.0] * len(image.axes)}]
    for transform in base:
        if "scale" in transform:
            ratios = [a / b for a, b in zip(shapes[last], shapes[number], strict=True)]
            transform["scale"] = [s * r for s, r in zip(transform["scale"], ratios, strict=True)]
    return base


def _image_label(legend: Legend) -> dict[str, Any]:
    colors = [] if legend.colors is None else [[int(c) for c in row] for row in legend.colors]
    alphas = [0 if legend.left_out and label == 0 else 255 for label in range(len(colors))]
    found: dict[str, Any] = {"source": {"image": "../../"}}
    if colors:
        found["colors"] = [
            {"label-value": label, "rgba": [*color, alpha]}
            for label, (color, alpha) in enumerate(zip(colors, alphas, strict=True))
        ]
    if legend.names:
        # Whoever checks the metadata wants the values of the colours here, named or not.
        values = range(len(colors)) if colors else sorted(legend.names)
        found["properties"] = [
            {
                "label-value": label,
                **({"class": legend.names[label]} if label in legend.names else {}),
            }
            for label in values
        ]
    return found


def in_image(path: str) -> str | None:
    """Folder of the image for a path such as ``IMAGE/labels/NAME``, or None for another path."""
    folder = os.path.dirname(os.path.abspath(path))
    image = os.path.dirname(folder)
    if os.path.basename(folder) != "labels" or not is_zarr(image):
        return None
    return image if multiscales(image, attributes_of(image)) else None
