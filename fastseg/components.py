"""Objects: connected components of the classes of a label image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .array_libraries import from_caller
from .arrays import as_array, refuse_dask
from .class_names import label_names
from .kernels.backend import Array, FloatArray
from .segmentation import Segmentation

# cc3d's words for how many axes two neighbours may differ in.
_CONNECTIVITIES = {2: (4, 8), 3: (6, 18, 26)}


@dataclass(frozen=True, eq=False, repr=False)
class Objects:
    """Objects in a label image, the largest first; object i has the number i + 1.

    Attributes
    ----------
    instances : ndarray of the label image's shape
        Number of each pixel's object in the smallest unsigned type, 0 for none.
    classes : ndarray of shape (n_objects,), int64
        Label of each object's pixels.
    pixels : ndarray of shape (n_objects,), int64
        Pixels of each.
    sizes : ndarray of shape (n_objects,), float64
        Area or volume of each, in units of ``spacing``.
    boxes : ndarray of shape (n_objects, n_axes, 2), int64
        First index of each along each axis, and one past the last.
    centroids : ndarray of shape (n_objects, n_axes), float64
        Mean index of the pixels of each.
    names : dict of int to str
        Class of the labels that have a name.
    """

    instances: Array
    classes: Array
    pixels: Array
    sizes: FloatArray
    boxes: Array
    centroids: FloatArray
    names: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return f"<{len(self)} objects in labels of {self.instances.shape}>"

    def as_dicts(self) -> Iterator[dict[str, Any]]:
        """Row of each object for strict JSON."""
        for i in range(len(self)):
            label = int(self.classes[i])
            yield {
                "object": i + 1,
                "label": label,
                "name": self.names.get(label),
                "pixels": int(self.pixels[i]),
                "size": float(self.sizes[i]),
                "box": self.boxes[i].tolist(),
                "centroid": self.centroids[i].tolist(),
            }


def objects(
    labels: Any,
    classes: Sequence[int | str] | None = None,
    *,
    connectivity: int | None = None,
    min_size: int = 1,
    spacing: Sequence[float] | None = None,
    names: Mapping[int, str] | None = None,
    background: int | None = 0,
) -> Objects:
    """Find the connected components of each class of a label image.

    Parameters
    ----------
    labels : array_like of integers or Segmentation
        Label image of two or three axes. A segmentation brings its names, and knows
        whether it has a background.
    classes : sequence of int or str, optional
        Labels, or their names, whose objects to find. By default all but the background.
    connectivity : int, optional
        Axes in which the places of neighbours may differ: 1 for pixels that share a
        face, by default all.
    min_size : int
        Objects of fewer pixels are left out.
    spacing : sequence of float, optional
        Length of a pixel along each axis, by default 1.
    names : dict of int to str, optional
        Class of each label.
    background : int or None
        Label that is no class; None where every label is one. Not used for a
        segmentation.

    Returns
    -------
    Objects
        A table of them, and a label image of their numbers. Those of equal size go by
        class, and then by the first corner of their boxes.

    Raises
    ------
    ImportError
        If cc3d is not installed.
    TypeError, ValueError
        If an argument is not as described or does not fit the labels.
    """
    if isinstance(labels, Segmentation) and names is None:
        names = label_names(labels.names, labels.start_label)
    known = None
    if isinstance(labels, Segmentation):
        known = range(labels.start_label, labels.start_label + labels.n_clusters)
    array, background = plain_labels(labels, background)
    names = dict(names or {})
    check_classes(classes, known)
    size = check_min_size(min_size)
    lengths = _spacing(spacing, array.ndim)
    parts, n_parts = components(_chosen(array, classes, names, background), array, connectivity)
    statistics = load_cc3d().statistics(parts, no_slice_conversion=True)
    counts = np.asarray(statistics["voxel_counts"], np.int64)[1 : n_parts + 1]
    # Last index included, in pairs for each axis.
    ends = np.asarray(statistics["bounding_boxes"], np.int64)[1 : n_parts + 1]
    boxes = ends.reshape(n_parts, array.ndim, 2) + np.array([0, 1])
    labels_of = np.zeros(n_parts + 1, array.dtype)
    labels_of[parts] = array
    labels_of = labels_of[1:].astype(np.int64)
    order = np.lexsort([*boxes[:, ::-1, 0].T, labels_of, -counts])
    order = order[counts[order] >= size]
    return Objects(
        instances=_numbered(parts, order, n_parts),
        classes=labels_of[order],
        pixels=counts[order],
        sizes=counts[order] * np.float64(math.prod(lengths)),
        boxes=boxes[order],
        centroids=np.asarray(statistics["centroids"], np.float64)[1 : n_parts + 1][order],
        names=names,
    )


def check_classes(classes: Any, known: range | None) -> None:
    """Refuse what is no sequence of classes, and labels that are not ``known``.

    Raises
    ------
    TypeError, ValueError
        If there is such a class.
    """
    if classes is None:
        return
    if isinstance(classes, str) or not isinstance(classes, (Sequence, np.ndarray)):
        raise TypeError(f"classes must be a sequence such as [2] or ['WM'], got {classes!r}")
    for label in classes:
        if known is not None and not isinstance(label, str) and label not in known:
            raise ValueError(
                f"there is no label {label} to find objects of; they are from {known[0]} to"
                f" {known[-1]}"
            )


def _numbered(parts: Array, order: Array, n_parts: int) -> Array:
    """Image of the numbers that components have in an order, 0 for those not in it."""
    numbers = np.zeros(n_parts + 1, np.min_scalar_type(len(order)))
    numbers[order + 1] = np.arange(1, len(order) + 1)
    image: Array = numbers[parts]
    return image


def components(chosen: Array, labels: Array, connectivity: int | None) -> tuple[Array, int]:
    """Number of each pixel's component, 0 where it is not chosen, and how many there are."""
    steps = _CONNECTIVITIES[labels.ndim]
    if connectivity is None:
        connectivity = labels.ndim
    if connectivity not in range(1, labels.ndim + 1):
        raise ValueError(
            f"connectivity must be from 1 to {labels.ndim} for labels of {labels.ndim} axes,"
            f" got {connectivity!r}"
        )
    # From 1, because for cc3d 0 is no label.
    work = np.where(chosen, labels + np.uint32(1), np.uint32(0)).astype(np.uint32, copy=False)
    parts, n_parts = load_cc3d().connected_components(
        work, connectivity=steps[connectivity - 1], return_N=True
    )
    return parts, int(n_parts)


def plain_labels(labels: Any, background: int | None) -> tuple[Array, int | None]:
    """Label image as an array, and which of its labels is the background."""
    if isinstance(labels, Segmentation):
        background = 0 if labels.start_label == 1 else None
        labels = labels.labels
    refuse_dask(labels, "labels")
    labels, _ = from_caller(labels, "labels")
    array = as_array(labels, "labels")
    if array.dtype.kind not in "bui":
        raise TypeError(f"labels must hold integers, got dtype {array.dtype}")
    if array.ndim not in _CONNECTIVITIES:
        raise ValueError(
            f"labels must have 2 or 3 axes, got the shape {array.shape}; take the frames of a"
            " series one by one"
        )
    if array.size == 0:
        raise ValueError(f"labels are empty, their shape is {array.shape}; give at least one pixel")
    if int(array.min()) < 0 or int(array.max()) >= 2**32 - 1:
        raise ValueError(
            f"labels must be from 0 to {2**32 - 2}, got {int(array.min())} to {int(array.max())}"
        )
    return array, background


def check_min_size(min_size: Any) -> int:
    """Raise TypeError or ValueError unless ``min_size`` is a number of pixels."""
    if isinstance(min_size, bool) or not isinstance(min_size, (int, np.integer)):
        raise TypeError(f"min_size must be a whole number of pixels, got {min_size!r}")
    if min_size < 1:
        raise ValueError(f"min_size must be at least 1 pixel, got {min_size}")
    return int(min_size)


def _spacing(spacing: Sequence[float] | None, n_axes: int) -> tuple[float, ...]:
    lengths = (1.0,) * n_axes if spacing is None else tuple(float(x) for x in spacing)
    if len(lengths) != n_axes or not all(0 < x < math.inf for x in lengths):
        raise ValueError(
            f"spacing must be {n_axes} positive lengths, one for each axis of the labels, got"
            f" {spacing!r}"
        )
    return lengths


def _chosen(
    array: Array,
    classes: Sequence[int | str] | None,
    names: Mapping[int, str],
    background: int | None,
) -> Array:
    """Where the pixels of the chosen classes are."""
    if classes is None:
        if background is None:
            return np.ones(array.shape, bool)
        kept: Array = array != background
        return kept
    labels = [_label(class_, names) for class_ in classes]
    for label in labels:
        if label == background:
            raise ValueError(f"classes holds {label}, which is the background and has no objects")
    return np.isin(array, labels)


def _label(class_: int | str, names: Mapping[int, str]) -> int:
    if isinstance(class_, str):
        found = [label for label, name in names.items() if name == class_]
        if not found:
            listed = ", ".join(names.values()) or "none"
            raise ValueError(f"classes holds {class_!r}, but the names of the labels are: {listed}")
        return found[0]
    if isinstance(class_, bool) or not isinstance(class_, (int, np.integer)):
        raise TypeError(f"classes must hold labels or their names, got {class_!r}")
    return int(class_)


def load_cc3d() -> Any:
    """Module cc3d, or ImportError with what to install."""
    try:
        import cc3d
    except ImportError as error:
        raise ImportError(
            'connected components need connected-components-3d: pip install "fastseg[mri]"'
        ) from error
    return cc3d
