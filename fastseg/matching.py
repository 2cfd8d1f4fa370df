"""Fitting the values of a scan to the scale of another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .color import ColorSpace
from .kernels.backend import Array, FloatArray
from .standardizing import moments, moments_from

MATCHES = ("histogram", "zscore")
# Steps of the cumulative distribution that are kept of a fitted image.
_N_LEVELS = 1024


@dataclass(frozen=True, eq=False)
class Profile:
    """How the values of each channel of an image are distributed.

    ``moments`` (n_channels, 2) are mean and standard deviation. ``values`` and
    ``levels`` hold for each channel ascending values and the share of the pixels below
    each, half of those at the value included.
    """

    moments: FloatArray
    values: tuple[FloatArray, ...]
    levels: tuple[FloatArray, ...]

    @classmethod
    def of(cls, values: Array, weights: FloatArray | None) -> Profile:
        """Profile of values (n, n_channels), repeated as often as their weights say."""
        if values.shape[1] == 1 and weights is not None:  # distinct and ascending already
            curves = [_levels(values[:, 0], weights)]
        else:
            curves = [_distribution(channel, weights) for channel in values.T]
        return cls(moments(values, weights), *zip(*curves, strict=True))

    def thinned(self) -> Profile:
        """Profile of at most some thousand values a channel, of those there are."""
        kept = [_corners(levels) for levels in self.levels]
        values, levels = (
            tuple(curve[rows] for curve, rows in zip(curves, kept, strict=True))
            for curves in (self.values, self.levels)
        )
        return Profile(self.moments, values, levels)

    def as_dict(self) -> dict[str, Any]:
        """Everything for strict JSON."""
        return {
            "moments": self.moments.tolist(),
            "values": [values.tolist() for values in self.values],
            "levels": [levels.tolist() for levels in self.levels],
        }


def _corners(levels: FloatArray) -> Array:
    """Where ascending levels reach another step, and the last."""
    steps = np.floor(levels * _N_LEVELS)
    new = np.diff(steps, prepend=-1.0) > 0
    new[-1] = True
    return np.flatnonzero(new)


def _distribution(channel: Array, weights: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    if channel.dtype.kind == "u" and channel.itemsize <= 2:  # to sort millions takes a second
        totals = np.bincount(channel, weights)
        values = np.flatnonzero(totals)
        return _levels(values, totals[values])
    if weights is None:
        values, counts = np.unique(channel, return_counts=True)
    else:
        values, places = np.unique(channel, return_inverse=True)
        counts = np.bincount(places.ravel(), weights)
    return _levels(values, counts)


def _levels(values: Array, counts: Array) -> tuple[FloatArray, FloatArray]:
    below = np.cumsum(counts, dtype=np.float64)
    return values.astype(np.float64), (below - counts / 2) / below[-1]


def profile_from(field: Any, n_channels: int) -> Profile | None:
    """Profile as read from a file, or ValueError."""
    if field is None:
        return None
    read = moments_from(field["moments"], n_channels)
    values, levels = (
        tuple(np.array(curve, np.float64) for curve in field[name]) for name in ("values", "levels")
    )
    fits = len(values) == len(levels) == n_channels and all(
        x.shape == y.shape == (x.size,)
        and x.size
        and np.isfinite(x).all()
        and (np.diff(x) > 0).all()
        for curve in zip(values, levels, strict=True)
        for x, y in (curve, curve[::-1])
    )
    if read is None or not fits:
        raise ValueError("its profile holds no ascending values and levels of each channel")
    return Profile(read, values, levels)


def check_match(match: Any, reference: Profile | None) -> None:
    """Refuse a way of matching that there is not, or a model that cannot be matched."""
    if match is None:
        return
    if match not in MATCHES:
        listed = ", ".join(repr(name) for name in MATCHES)
        raise ValueError(f"match must be one of {listed} or None, got {match!r}")
    if reference is None:
        raise ValueError(
            f"match={match!r} needs a model that knows the values of its image; fit it with"
            " segment(..., keep_profile=True), as 'fastseg segment --model' does"
        )


@dataclass(frozen=True)
class Forward:
    """Takes values (n, n_channels) in image units to a space, fitted by ``fit`` before."""

    space: ColorSpace
    fit: Callable[[Array], Array] | None = None

    def __call__(self, values: Array) -> Array:
        """Values where distances are taken."""
        if self.fit is None:
            return self.space.forward(values)
        fitted = self.fit(values)
        if self.space.name not in ("rgb", "standardized"):
            fitted = np.clip(fitted, 0.0, self.space.full)  # beyond there are no colours
        return self.space.forward(fitted)

    @property
    def distinct_first(self) -> bool:
        """Whether it takes longer than to count the values, so that those are taken alone."""
        return self.space.name not in ("rgb", "standardized") or self.fit is not None


def matched(
    match: str | None, values: Array, weights: FloatArray | None, reference: Profile | None
) -> Callable[[Array], Array]:
    """Function that takes values of an image (n, n_channels) to the reference's scale.

    "zscore" gives them its mean and standard deviation, "histogram" its distribution.
    ``values`` and ``weights`` are those of the image's pixels that take part.
    """
    if match is None or reference is None:
        return lambda values: values
    there = reference.moments
    if match == "zscore":
        here = moments(values, weights)
        return lambda values: (values - here[:, 0]) / here[:, 1] * there[:, 1] + there[:, 0]
    own = Profile.of(values, weights)

    def by_rank(values: Array) -> Array:
        fitted = np.empty(values.shape)
        for f, channel in enumerate(values.T):
            levels = np.interp(channel, own.values[f], own.levels[f])
            fitted[:, f] = np.interp(levels, reference.levels[f], reference.values[f])
        return fitted

    return by_rank
