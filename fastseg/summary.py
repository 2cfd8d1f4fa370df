"""Pixels as distinct values and their counts: the same k-means for less work.

k-means on the distinct values weighted by their counts is k-means on the pixels:
the sums are the same numbers, only added in another order, and sums of integers
are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .kernels.backend import Array, Tick

# Pixels sorted in one go: a fraction of a second, so that progress is shown.
_CHUNK = 2**20


@dataclass(frozen=True)
class Summary:
    """Distinct values (m, d) in ascending order, and how often each occurs (m,) int64."""

    values: Array
    counts: Array

    def merge(self, other: Summary) -> Summary:
        """Summary of both sets of pixels together; any order and any split give the same."""
        codes = np.concatenate([_pack(self.values), _pack(other.values)])
        counts = np.concatenate([self.counts, other.counts])
        distinct, inverse = np.unique(codes, return_inverse=True)
        totals = np.zeros(len(distinct), np.int64)
        np.add.at(totals, inverse, counts)
        return Summary(_unpack(distinct, self.values), totals)


def summarize(pixels: Array, tick: Tick | None = None) -> Summary | None:
    """Count the distinct values of pixels (n, d), or None where that does not pay.

    It does not where a pixel has more than 64 bits or most values occur once.
    """
    n, d = pixels.shape
    if pixels.itemsize * d > 8 or (pixels.dtype.kind == "f" and d > 1):
        return None
    total: Summary | None = None
    for start in range(0, n, _CHUNK):
        chunk = pixels[start : start + _CHUNK]
        codes, counts = np.unique(_pack(chunk), return_counts=True)
        part = Summary(_unpack(codes, pixels), counts.astype(np.int64))
        total = part if total is None else total.merge(part)
        seen = start + len(chunk)
        if tick is not None:
            tick(seen, n)
        if seen < n and len(total.values) > seen // 2:
            return None
    return total


def distinct_up_to(pixels: Array, limit: int) -> int:
    """Number of distinct pixels, counted no further than ``limit``."""
    found = pixels[:0]
    size = max(64, 4 * limit)
    start = 0
    while start < len(pixels) and len(found) < limit:
        found = np.unique(np.concatenate([found, pixels[start : start + size]]), axis=0)
        start += size
        size = min(2 * size, _CHUNK)
    return min(len(found), limit)


def _pack(values: Array) -> Array:
    """One number per pixel, in the order of the pixels' values."""
    n, d = values.shape
    if d == 1:
        return values[:, 0]
    bits = 8 * values.itemsize
    wide = np.uint32 if bits * d <= 32 else np.uint64
    codes: Array = np.zeros(n, wide)
    for f in range(d):
        np.left_shift(codes, wide(bits), out=codes)
        np.bitwise_or(codes, _unsigned(values[:, f]), out=codes)
    return codes


def _unpack(codes: Array, like: Array) -> Array:
    d, dtype = like.shape[1], like.dtype
    if d == 1:
        return codes[:, None]
    bits = 8 * dtype.itemsize
    values = np.empty((len(codes), d), dtype)
    for f in range(d):
        channel = (codes >> codes.dtype.type(bits * (d - 1 - f))).astype(f"uint{bits}")
        values[:, f] = channel if dtype.kind == "u" else (channel ^ (1 << (bits - 1))).view(dtype)
    return values


def _unsigned(channel: Array) -> Array:
    """Unsigned numbers in the order of the signed ones."""
    if channel.dtype.kind == "u":
        return channel
    bits = 8 * channel.itemsize
    return np.ascontiguousarray(channel).view(f"uint{bits}") ^ (1 << (bits - 1))
