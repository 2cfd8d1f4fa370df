"""Centres as the kernels take them, with the bound on what float32 may be wrong by."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, FloatArray
from .device import Device

# Centres that travel with a launch: as many values as FEW in nearest.cuh.
FEW = 80

_BOUND = ("bound", np.float32, 3)
_N = ("n_clusters", np.int32)
_FEW = np.dtype([("exact", np.float64, FEW), ("rounded", np.float32, FEW), _BOUND, _N])
_MANY = np.dtype([("exact", np.uint64), ("rounded", np.uint64), _BOUND, _N])


def few_centers(centers: FloatArray) -> Array:
    """Argument of type FewCenters."""
    argument = np.zeros(1, _FEW)
    argument["exact"][0, : centers.size] = centers.ravel()
    argument["rounded"][0, : centers.size] = _rounded(centers).ravel()
    argument["bound"][0] = _squared(rounding_bound(centers))
    argument["n_clusters"] = len(centers)
    return argument


class ManyCenters:
    """Centres in device memory, and the argument of type ManyCenters that points to them."""

    def __init__(self, device: Device, centers: FloatArray) -> None:
        self.exact: Any = device.to_device(np.ascontiguousarray(centers, np.float64))
        self.rounded: Any = device.to_device(_rounded(centers))
        self.argument: Array = np.zeros(1, _MANY)
        self.argument["exact"] = device.address(self.exact)
        self.argument["rounded"] = device.address(self.rounded)
        self.argument["bound"][0] = _squared(rounding_bound(centers))
        self.argument["n_clusters"] = len(centers)


def rounding_bound(centers: FloatArray) -> tuple[float, float, float]:
    """Numbers a, b, c of the bound a d + b sqrt(d) + c.

    It covers what the float32 distances of a point to two centres are wrong by together,
    where the larger one is d. With u the rounding error, m the largest centre's absolute
    value and D features, a difference t is wrong by u (m + |t|), the sum of squares by
    u (D + 1) d more; so each distance by at most u (D + 5) d + 2 u m sqrt(D d) + D (u m)^2.
    """
    u, n_features = 2.0**-24, centers.shape[1]
    m = min(float(np.abs(centers).max()), 1e30)
    slack = 2 * 1.25
    # Numbers below the range of float32 vanish, in each sum of two distances.
    return (
        slack * u * (n_features + 5),
        slack * 2 * u * m * n_features**0.5,
        slack * n_features * min((u * m) ** 2, 1e30) + n_features * 1e-37,
    )


def _squared(bound: tuple[float, float, float]) -> tuple[float, float, float]:
    """Bound with b squared; where float32 ends no gap is larger anyway."""
    a, b, c = bound
    return a, min(b * b, 3e38), c


def _rounded(centers: FloatArray) -> Array:
    with np.errstate(over="ignore"):
        return centers.astype(np.float32)
