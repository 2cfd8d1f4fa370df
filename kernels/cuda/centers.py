"""Centres as the kernels take them, with the bound on what float32 may be wrong by."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, FloatArray
from .device import Device

# These are as in nearest.cuh. Centres that travel with a launch have so many values.
FEW = 80
# Centres that are compared between two looks at whether there are more.
AT_ONCE = 4
# Names of centres in the last bits of a float32.
N_NAMES = 16
# Above this error float32 may have overflowed.
LARGE = 1e30

# Squared length of a centre that float32 need not hold: it is none of a point that float32
# decides, and its squared distance is taken for what follows.
_TOO_FAR, _FAR = 1e37, 3e38

_U = 2.0**-24  # rounding error of float32
_SLACK = 1.25  # for errors of errors

_REST = [("error", np.float32, 3), ("n_clusters", np.int32)]
# The most terms has one centre of FEW values.
_FEW = np.dtype(
    [("exact", np.float64, FEW), ("terms", np.float32, AT_ONCE * (1 + FEW)),
     ("origin", np.float32, FEW), *_REST]
)  # fmt: skip
_MANY = np.dtype([("exact", np.uint64), ("terms", np.uint64), ("origin", np.uint64), *_REST])


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

    With t = x - origin and c' = c - origin it compares w = |c'|^2 - 2 t.c'. With u the rounding
    error and D features a value v of it is wrong by at most (D + 2) u (|c'|^2 + 2 |t| |c'|), thus
    with R = (D + 2) u by R (2 |c'|^2 + |t|^2). As 2 R |c'|^2 is taken off |c'|^2 beforehand,

        w - 4 R |c'|^2 - R |t|^2 <= v <= w + R |t|^2.

    So a centre is farther than the one of the least v if its own exceeds that by
    2 R |t|^2 + 4 R |c'|^2, where c' is the latter's: |c'|^2 <= 2 |t|^2 + 2 (w + |t|^2). A far
    centre makes no error larger than its own. The name in the last bits of v changes it by at
    most N |v|, and |v| <= v + 2 |t|^2.

    Attributes
    ----------
    terms : ndarray of shape (n_padded, 1 + n_features), float32
        ``|c'|^2`` and ``-2 c'`` of each centre.
    origin : ndarray of shape (n_features,), float32
        The median of the centres, in whole numbers for points that are whole.
    error : ndarray of shape (3,), float32
        Centres whose values exceed the least v by more than
        ``error[0] + error[1] |t|^2 + error[2] v`` are farther than that of v.
    """

    def __init__(self, centers: FloatArray, dtype: np.dtype[Any]) -> None:
        k, d = centers.shape
        sums, names = _SLACK * _U * (d + 2), _SLACK * 2 * (N_NAMES * 2 * _U)
        ordered = np.sort(centers, axis=0)
        origin = 0.5 * ordered[(k - 1) // 2] + 0.5 * ordered[k // 2]
        if dtype.kind in "iu":
            # Within 16 bits differences are exact.
            origin = np.clip(np.rint(origin), -(2**15), 2**16 - 1)
        self.terms = np.zeros((-(-k // AT_ONCE) * AT_ONCE, 1 + d), np.float32)
        self.terms[:, 0] = _FAR
        with np.errstate(over="ignore", invalid="ignore"):
            self.origin = origin.astype(np.float32)
            moved = centers - self.origin
            norms = np.square(moved).sum(axis=1)
        near = np.flatnonzero(norms < _TOO_FAR)
        self.terms[near, 0] = (1 - 2 * sums) * norms[near]
        self.terms[near, 1:] = -2 * moved[near]
        # Results below the range of float32 become zero: of each term and each addition.
        error = (d + 2) * 1e-37, 19 * sums + 2 * names, 8 * sums + names
        self.error = np.array(error, np.float32)
