"""Specks: components too small to be kept, given to their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from .array_libraries import from_caller
from .components import check_min_size, components, plain_labels
from .kernels.backend import Array
from .segmentation import Segmentation


def remove_specks(
    labels: Any, min_size: int, *, connectivity: int | None = None, background: int | None = 0
) -> Any:
    """Give every component of fewer than ``min_size`` pixels to its neighbours.

    A speck takes the label of which most pixels border on it, each counted for every
    face it shares with the speck; the lowest of equal ones. Only components that are
    large enough vote, then specks that took a label, and so on inwards. The background
    neither votes nor changes, and what borders on nothing else stays as it is.

    Parameters
    ----------
    labels : array_like of integers or Segmentation
        Label image of two or three axes.
    min_size : int
        Pixels that a component needs to stay.
    connectivity : int, optional
        Axes in which the places of neighbours may differ: 1 for pixels that share a
        face, by default all.
    background : int or None
        Label of the background, None for none. Not used for a segmentation.

    Returns
    -------
    array of the labels' shape, type and library
        Labels without specks; those given are left as they are.

    Raises
    ------
    ImportError
        If cc3d is not installed.
    TypeError, ValueError
        If an argument is not as described or does not fit the labels.
    """
    array, background = plain_labels(labels, background)
    size = check_min_size(min_size)
    chosen = np.ones(array.shape, bool) if background is None else array != background
    parts, n_parts = components(chosen, array, connectivity)
    small = np.bincount(parts.ravel("K"), minlength=n_parts + 1) < size
    small[0] = False
    taken = np.zeros(n_parts + 1, array.dtype)
    taken[parts] = array
    places = np.nonzero(small[parts])
    _vote(taken, small, *_borders(parts, places))
    cleaned = array.copy(order="K")
    cleaned[places] = taken[parts[places]]
    given = labels.labels if isinstance(labels, Segmentation) else labels
    _, caller = from_caller(given, "labels")
    return caller.grid(cleaned, None)


def _borders(parts: Array, places: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """Pairs of a speck and a component beside it, and how many faces they share."""
    own = parts[places].astype(np.int64)
    n = int(parts.max()) + 1
    pairs = []
    for axis, length in enumerate(parts.shape):
        for step in (-1, 1):
            moved = places[axis] + step
            inside = (moved >= 0) & (moved < length)
            beside = tuple(
                (moved if a == axis else place)[inside] for a, place in enumerate(places)
            )
            other = parts[beside].astype(np.int64)
            apart = (other != own[inside]) & (other != 0)
            pairs.append((own[inside] * n + other)[apart])
    keys, faces = np.unique(np.concatenate(pairs), return_counts=True)
    return keys // n, keys % n, faces


def _vote(taken: Array, open_: Array, specks: Array, others: Array, faces: Array) -> None:
    """Settle the labels ``taken`` of the specks that are still ``open_``, ring by ring."""
    while True:
        voting = open_[specks] & ~open_[others]
        if not voting.any():
            return
        voters, votes = specks[voting], taken[others[voting]].astype(np.int64)
        keys, places = np.unique(np.stack([voters, votes]), axis=1, return_inverse=True)
        totals = np.bincount(places.ravel(), faces[voting])
        # By speck, then most faces, then lowest label: the first row of each speck wins.
        order = np.lexsort([keys[1], -totals, keys[0]])
        winners, first = np.unique(keys[0][order], return_index=True)
        taken[winners] = keys[1][order][first]
        open_[winners] = False
