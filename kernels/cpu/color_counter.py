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
_PIXELS_PER_TABLE = 2**22


class ColorCounter(TableCounter):
    """A byte for each of the 2**24 8-bit colours, in a table for each of a few threads."""

    def __init__(self, dtype: np.dtype[Any], n_features: int, n_threads: int) -> None:
        super().__init__(dtype, n_features, n_threads)
        # The system gives the memory of a table when its thread first writes to it.
        self.tables = np.zeros((min(n_threads, _MAX_TABLES), 2**24), np.uint8)
        self.n_used = 1
        self.carries: list[Array] = []  # codes that stand for 256 pixels each
        self.singles: list[Array] = []  # codes of pixels beyond whole tiles
        self.order = np.empty(0, np.uint32)

    def add(self, pixels: Array, tick: Tick | None = None, *, again: bool = False) -> None:
        """See `Counter.add`."""
        n_tiles = len(pixels) // count.TILE
        self.singles.append(_color_codes(pixels[n_tiles * count.TILE :]))
        kernel = compiled(
            count.count_colors,
            array("uint8"),
            types.intp,
            types.intp,
            array("uint8", written=True),
            array("uint32", written=True),
        )
        # A second table is worth its clearing and merging from some millions of pixels on.
        self.n_used = max(self.n_used, min(len(self.tables), len(pixels) // _PIXELS_PER_TABLE))
        free = list(self.tables[: self.n_used])

        def task(start: int, stop: int) -> None:
            table = free.pop()
            carries = np.empty(count.TILE * (stop - start), np.uint32)
            n = kernel(pixels.reshape(-1), start, stop, table, carries)
            self.carries.append(carries[:n].copy())
            free.append(table)

        in_chunks(task, n_tiles, CHUNK // count.TILE, self.n_used, _in_pixels(tick, pixels))

    def distinct(self) -> tuple[Array, Array]:
        """See `Counter.distinct`."""
        kernel = compiled(
            count.used_colors,
            array("uint64", 2),
            types.intp,
            types.intp,
            array("uint32", written=True),
            array("int64", written=True),
        )
        words = self.tables[: self.n_used].view(np.uint64)
        step = words.shape[1] // 32
        free: list[tuple[Array, Array]] = []
        parts: list[tuple[Array, Array]] = []

        def task(chunk: int) -> tuple[Array, Array]:
            # New memory would cost more than the scan: buffers are handed on.
            try:
                found = free.pop()
            except IndexError:
                found = np.empty(8 * step, np.uint32), np.empty(8 * step, np.int64)
            n = kernel(words, chunk * step, (chunk + 1) * step, *found)
            used = found[0][:n].copy(), found[1][:n].copy()
            free.append(found)
            return used

        run_chunks(task, 32, self.n_threads, lambda _, used: parts.append(used))
        codes = np.concatenate([part[0] for part in parts])
        counts = np.concatenate([part[1] for part in parts])
        for listed, weight in ((self.carries, 256), (self.singles, 1)):
            codes, counts = _with_listed(codes, counts, listed, weight)
        self.order = codes
        values = np.empty((len(codes), 3), np.uint8)
        for f in range(3):
            values[:, f] = codes >> np.uint32(16 - 8 * f)
        return values, counts

    def look_up(self, pixels: Array, table: Array, labels: Array, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        # The counts are not needed any more, and their memory is at hand.
        by_code = np.empty(2**24, labels.dtype) if labels.itemsize > 1 else self.tables[0]
        by_code[self.order] = table
        n_tiles = len(pixels) // count.TILE
        rest = slice(n_tiles * count.TILE, None)
        labels[rest] = by_code[_color_codes(pixels[rest])]
        kernel = compiled(
            count.label_colors,
            array("uint8"),
            types.intp,
            types.intp,
            array(labels.dtype.name),
            array(labels.dtype.name, written=True),
        )
        in_chunks(
            lambda start, stop: kernel(pixels.reshape(-1), start, stop, by_code, labels),
            n_tiles,
            CHUNK // count.TILE,
            self.n_threads,
            _in_pixels(tick, pixels),
        )


def _color_codes(colors: Array) -> Array:
    wide = colors.astype(np.uint32)
    return (wide[:, 0] << np.uint32(16)) | (wide[:, 1] << np.uint32(8)) | wide[:, 2]


def _with_listed(
    codes: Array, counts: Array, listed: list[Array], weight: int
) -> tuple[Array, Array]:
    """Ascending codes and their counts, with ``weight`` more for each code that is listed."""
    more, times = np.unique(np.concatenate([codes[:0], *listed]), return_counts=True)
    at = np.searchsorted(codes, more)
    known = np.zeros(len(more), bool)
    inside = at < len(codes)
    known[inside] = codes[at[inside]] == more[inside]
    counts[at[known]] += weight * times[known]
    if not known.all():
        # A count that is a multiple of 256 has left nothing in the table.
        counts = np.insert(counts, at[~known], weight * times[~known])
        codes = np.insert(codes, at[~known], more[~known])
    return codes, counts


def _in_pixels(tick: Tick | None, pixels: Array) -> Tick | None:
    """Tick that is told tiles and tells pixels."""
    if tick is None:
        return None
    n = len(pixels)
    return lambda done, total: tick(n if done == total else count.TILE * done, n)
