"""Counting pixels of up to 16 bits: a bin for each value."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import types

from ..backend import Array, Tick
from . import count
from .jit import array, compiled
from .table_counter import CHUNK, TableCounter, in_chunks


class BinCounter(TableCounter):
    """One bin for each of the values that up to 16 bits can have."""

    def __init__(self, dtype: np.dtype[Any], n_features: int, n_threads: int) -> None:
        super().__init__(dtype, n_features, n_threads)
        self.code = np.dtype(f"uint{8 * dtype.itemsize * n_features}")
        self.totals = np.zeros(2 ** (8 * self.code.itemsize), np.int64)
        self.order = np.empty(0, np.int64)

    def add(self, pixels: Array, tick: Tick | None = None, *, again: bool = False) -> None:
        """See `Counter.add`."""
        codes = self._codes(pixels)
        kernel = compiled(
            count.count_bins,
            array(self.code.name),
            types.intp,
            types.intp,
            array("uint32", 2, written=True),
        )
        free: list[Array] = []
        made: list[Array] = []

        def task(codes: Array, start: int, stop: int) -> None:
            try:
                bins = free.pop()
            except IndexError:
                bins = np.zeros((4, len(self.totals)), np.uint32)
                made.append(bins)
            kernel(codes, start, stop, bins)
            free.append(bins)

        # 32-bit bins are emptied before they can overflow.
        for first in range(0, len(codes), 2**31):
            part = codes[first : first + 2**31]
            in_chunks(partial(task, part), len(part), CHUNK, self.n_threads, tick)
            for bins in made:
                self.totals += bins.sum(axis=0, dtype=np.int64)
                bins[:] = 0

    def distinct(self) -> tuple[Array, Array]:
        """See `Counter.distinct`."""
        codes = np.flatnonzero(self.totals)
        values = codes.astype(self.code).view(self.dtype).reshape(-1, self.n_features)
        order = np.lexsort(values.T[::-1])
        self.order = codes[order]
        return np.ascontiguousarray(values[order]), self.totals[self.order]

    def look_up(self, pixels: Array, table: Array, labels: Array, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        codes = self._codes(pixels)
        by_code = np.zeros(len(self.totals), labels.dtype)
        by_code[self.order] = table
        kernel = compiled(
            count.label_bins,
            array(self.code.name),
            types.intp,
            types.intp,
            array(labels.dtype.name),
            array(labels.dtype.name, written=True),
        )
        in_chunks(
            lambda start, stop: kernel(codes, start, stop, by_code, labels),
            len(codes),
            CHUNK,
            self.n_threads,
            tick,
        )

    def _codes(self, pixels: Array) -> Array:
        return _aligned(pixels).reshape(-1).view(self.code)


def _aligned(pixels: Array) -> Array:
    return pixels if pixels.flags.aligned else pixels.copy()
