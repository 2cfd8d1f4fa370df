"""Counting 8-bit colours: a byte for each, and a list of what the bytes cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ..backend import Array, Tick
from . import count
from .jit import array, compiled
from .pool import run_chunks
from .table_counter import CHUNK, TableCounter, in_chunks

# Threads that count at once: a table for each costs memory, and the caches are shared.
_MAX_TABLES = 4


class ColorCounter(TableCounter):
    """A byte for each of the 2**24 8-bit colours, in a table for each of a few threads."""

    def __init__(self, dtype: np.dtype[Any], n_features: int, n_threads: int) -> None:
        super().__init__(dtype, n_features, n_threads)
        # The system gives the memory of a table when its thread first writes to it.
        self.tables = np.zeros((min(n_threads, _MAX_TABLES), 2**24), np.uint8)
        self.carries: list[Array] = []  # codes that stand for 256 pixels each
        self.singles: list[Array] = []  # codes of pixels beyond whole words
        self.order = np.empty(0, np.uint32)

    def add(self, pixels: Array, tick: Tick | None = None) -> None:
        """See `Counter.add`."""
        words, head, tail = _words(pixels)
        self.singles += [_color_codes(pixels[:head]), _color_codes(pixels[tail:])]
        kernel = compiled(
            count.count_colors,
            array("uint32"),
            types.intp,
            types.intp,
            array("uint8", written=True),
            array("uint32", written=True),
        )
        free = list(self.tables)

        def task(start: int, stop: int) -> None:
            table = free.pop()
            carries = np.empty((stop - start) // 3 * 4, np.uint32)
            n = kernel(words, start, stop, table, carries)
            self.carries.append(carries[:n].copy())
            free.append(table)

        in_chunks(task, len(words), 3 * CHUNK // 4, len(self.tables), _in_pixels(tick, pixels))

    def distinct(self) -> tuple[Array, Array]:
        """See `Counter.distinct`."""
        keys, counts = self._listed()
        parts: list[Array] = []
        kernel = compiled(
            count.used_colors,
            array("uint64", 2),
            types.intp,
            types.intp,
            array("uint64", written=True),
        )
        words = self.tables.view(np.uint64)
        step = words.shape[1] // 32
        free: list[Array] = []

        def task(chunk: int) -> Array:
            # New memory would cost more than the scan: buffers are handed on.
            try:
                found = free.pop()
            except IndexError:
                found = np.empty(8 * step, np.uint64)
            used = found[: kernel(words, chunk * step, (chunk + 1) * step, found)].copy()
            free.append(found)
            return used

        run_chunks(task, 32, self.n_threads, lambda _, found: parts.append(found))
        # The value in reading order stands above the count: one sort carries both.
        both = np.concatenate([*parts, (keys << np.uint64(40)) | counts])
        both.sort()
        keys, counts = both >> np.uint64(40), (both & np.uint64(2**40 - 1)).astype(np.int64)
        first = np.concatenate([[True], keys[1:] != keys[:-1]])
        if not first.all():
            keys, counts = keys[first], np.add.reduceat(counts, np.flatnonzero(first))
        codes = keys.astype(np.uint32)
        values = np.empty((len(codes), 3), np.uint8)
        for f in range(3):
            values[:, f] = codes >> np.uint32(16 - 8 * f)
        self.order = _swapped(codes)
        return values, counts

    def _listed(self) -> tuple[Array, Array]:
        """Keys and counts of what is not in the tables."""
        none = np.empty(0, np.uint32)
        carries, times = np.unique(np.concatenate([none, *self.carries]), return_counts=True)
        singles, more = np.unique(np.concatenate([none, *self.singles]), return_counts=True)
        keys = _swapped(np.concatenate([carries, singles])).astype(np.uint64)
        return keys, np.concatenate([256 * times, more]).astype(np.uint64)

    def look_up(self, pixels: Array, table: Array, labels: Array, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        by_code = np.empty(2**24, labels.dtype)
        by_code[self.order] = table
        words, head, tail = _words(pixels)
        for part in (slice(head), slice(tail, None)):
            labels[part] = by_code[_color_codes(pixels[part])]
        kernel = compiled(
            count.label_colors,
            array("uint32"),
            types.intp,
            types.intp,
            array(labels.dtype.name),
            array(labels.dtype.name, written=True),
        )
        target = labels[head:tail]
        in_chunks(
            lambda start, stop: kernel(words, start, stop, by_code, target),
            len(words),
            3 * CHUNK // 4,
            self.n_threads,
            _in_pixels(tick, pixels),
        )


def _color_codes(colors: Array) -> Array:
    wide = colors.astype(np.uint32)
    return wide[:, 0] | (wide[:, 1] << np.uint32(8)) | (wide[:, 2] << np.uint32(16))


def _swapped(codes: Array) -> Array:
    """Codes with their lowest byte at the top, so that they sort as values do; and back."""
    middle = codes & np.uint32(0xFF00)
    return ((codes & np.uint32(0xFF)) << np.uint32(16)) | middle | (codes >> np.uint32(16))


def _words(pixels: Array) -> tuple[Array, int, int]:
    """Whole aligned groups of four pixels as 32-bit words, their first pixel and their end."""
    head = min(pixels.ctypes.data % 4, len(pixels))
    tail = head + (len(pixels) - head) // 4 * 4
    return pixels[head:tail].reshape(-1).view(np.uint32), head, tail


def _in_pixels(tick: Tick | None, pixels: Array) -> Tick | None:
    """Tick that is told words and tells pixels."""
    if tick is None:
        return None
    n = len(pixels)
    return lambda done, total: tick(n if done == total else done // 3 * 4, n)
