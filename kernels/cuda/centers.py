"""Centres as the kernels take them, with the bound on what float32 may be wrong by."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, FloatArray
from .device import Device

# Centres that travel with a launch: as many values as FEW in nearest.cuh.
FEW = 80

# Centres that are compared at once, and told apart by the last bits of a float32.
_AT_ONCE = 4
_GROUP = 16

# Above this error float32 may have overflowed; larger than any value that it decides by.
_LARGE, _FAR = 1e30, 3e38

_ERROR = ("error", np.float32, 2)
_N = ("n_clusters", np.int32)
_PAD = ("pad", np.int32)
_FEW = np.dtype(
    [
        ("exact", np.float64, FEW), ("terms", np.float32, 2 * FEW + 8),
        ("origin", np.float32, FEW), _ERROR, _N, _PAD,
    ]
)  # fmt: skip
_MANY = np.dtype(
    [("exact", np.uint64), ("terms", np.uint64), ("origin", np.uint64), _ERROR, _N, _PAD]
)


def few_centers(centers: FloatArray, dtype: np.dtype[Any]) -> Array:
    """Argument of type FewCenters, for points of a type."""
    comparison = Comparison(centers, dtype)
    argument = np.zeros(1, _FEW)
    argument["exact"][0, : centers.size] = centers.ravel()
    argument["terms"][0, : comparison.terms.size] = comparison.terms.ravel()
    argument["origin"][0, : centers.shape[1]] = comparison.origin
    argument["error"][0] = comparison.error
    argument["n_clusters"] = len(centers)
    return argument


class ManyCenters:
    """Centres in device memory, and the argument of type ManyCenters that points to them."""

    def __init__(self, device: Device, centers: FloatArray, dtype: np.dtype[Any]) -> None:
        comparison = Comparison(centers, dtype)
        self.exact: Any = device.to_device(np.ascontiguousarray(centers, np.float64))
        self.terms: Any = device.to_device(comparison.terms)
        self.origin: Any = device.to_device(comparison.origin)
        self.argument: Array = np.zeros(1, _MANY)
        for name in ("exact", "terms", "origin"):
            self.argument[name] = device.address(getattr(self, name))
        self.argument["error"][0] = comparison.error
        self.argument["n_clusters"] = len(centers)


class Comparison:
    """What float32 compares points with, and what it may be wrong by: see nearest.cuh.

    With t = x - origin and c' = c - origin it compares |c'|^2 - 2 t.c', which at most is
    p = |c'|^2 + 2 |t| |c'| <= 2 m^2 + |t|^2, where m is the largest |c'|. With u the rounding
    error and D features, the terms are wrong by at most 2 u p together, the D additions by
    u D p, and 4 bits that name a centre by 16 x 2 u p; so two values by twice that together.

    Attributes
    ----------
    terms : ndarray of shape (n_padded, 1 + n_features), float32
        ``|c'|^2`` and ``-2 c'`` of each centre.
    origin : ndarray of shape (n_features,), float32
        The middle of the centres, in whole numbers for points that are whole.
    error : ndarray of shape (2,), float32
        Two values are wrong by at most ``error[0] + error[1] |t|^2`` together.
    """

    def __init__(self, centers: FloatArray, dtype: np.dtype[Any]) -> None:
        k, d = centers.shape
        origin = 0.5 * centers.min(axis=0) + 0.5 * centers.max(axis=0)
        if dtype.kind in "iu":
            # Within 16 bits differences are exact.
            origin = np.clip(np.rint(origin), -(2**15), 2**16 - 1)
        self.terms = np.zeros((-(-k // _AT_ONCE) * _AT_ONCE, 1 + d), np.float32)
        self.terms[k:, 0] = _FAR
        with np.errstate(over="ignore", invalid="ignore"):
            self.origin = origin.astype(np.float32)
            moved = centers - self.origin
            norms = np.square(moved).sum(axis=1)
            self.terms[:k, 0] = norms
            self.terms[:k, 1:] = -2 * moved
            relative = 2 * 1.25 * 2.0**-24 * (d + 2 + 2 * _GROUP)
            # Numbers below the range of float32 vanish, in each of the sums.
            error = relative * 2 * norms.max() + (d + 2) * 1e-37
            error = error if error < _LARGE else np.inf
            self.error = np.array([error, relative]).astype(np.float32)
