"""Counting 8-bit colours: a byte for each, and a list of what the bytes cannot hold."""

from __future__ import annotations

import threading
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
# Codes that are listed before they are sorted and counted: 1 MB, for sorting takes thrice that.
_MOST_WAITING = 2**18
# Codes that are looked for at once: what that takes must not grow with the image.
_AT_ONCE = 2**16
# Of the table, that are searched for used colours by themselves.
_PARTS = 32


class ColorCounter(TableCounter):
    """A byte for each of the 2**24 8-bit colours, in a table for each of a few threads."""

    def __init__(self, dtype: np.dtype[Any], n_features: int, n_threads: int) -> None:
        super().__init__(dtype, n_features, n_threads)
        # The system gives the memory of a table when its thread first writes to it.
        self.tables = np.zeros((min(n_threads, _MAX_TABLES), 2**24), np.uint8)
        self.n_used = 1
        self.n_seen = 0
        self.carries = _Listed(256)  # what the bytes of the tables cannot hold
        self.singles = _Listed(1)  # pixels beyond whole tiles
        self.order = np.empty(0, np.uint32)
        self.looked_up: tuple[Array, Array] | None = None

    def add(self, pixels: Array, tick: Tick | None = None, *, again: bool = False) -> None:
        """See `Counter.add`."""
        n_tiles = len(pixels) // count.TILE
        self.singles.add(_color_codes(pixels[n_tiles * count.TILE :]))
        self.n_seen += len(pixels)
        kernel = compiled(
            count.count_colors,
            array("uint8"),
            types.intp,
            types.intp,
            array("uint8", written=True),
            array("uint32", written=True),
        )
        # A second table is worth its clearing and merging from some millions of pixels on.
        self.n_used = max(self.n_used, min(len(self.tables), self.n_seen // _PIXELS_PER_TABLE))
        free = list(self.tables[: self.n_used])

        def task(start: int, stop: int) -> None:
            table = free.pop()
            carries = np.empty(count.TILE * (stop - start), np.uint32)
            n = kernel(pixels.reshape(-1), start, stop, table, carries)
            self.carries.add(carries[:n].copy())
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
        step = words.shape[1] // _PARTS
        listed = [each.taken() for each in (self.carries, self.singles)]
        free: list[tuple[Array, Array]] = []
        parts: list[tuple[Array, Array]] = []

        def task(part: int) -> tuple[Array, Array]:
            # New memory would cost more than the scan: buffers are handed on.
            try:
                found = free.pop()
            except IndexError:
                found = np.empty(8 * step, np.uint32), np.empty(8 * step, np.int64)
            n = kernel(words, part * step, (part + 1) * step, *found)
            used = found[0][:n].copy(), found[1][:n].copy()
            free.append(found)
            for codes, counts in listed:
                here = slice(*np.searchsorted(codes, (8 * step * part, 8 * step * (part + 1))))
                used = _with(*used, codes[here], counts[here])
            return used

        run_chunks(task, _PARTS, self.n_threads, lambda _, used: parts.append(used))
        # A large image lists most of its colours: that must not be held beside two copies.
        listed.clear()
        codes = np.concatenate([part[0] for part in parts])
        counts = np.concatenate([part[1] for part in parts])
        parts.clear()
        self.order = codes
        values = np.empty((len(codes), 3), np.uint8)
        for f in range(3):
            values[:, f] = codes >> np.uint32(16 - 8 * f)
        return values, counts

    def look_up(self, pixels: Array, table: Array, labels: Array, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        by_code = self._by_code(table, labels)
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

    def _by_code(self, table: Array, labels: Array) -> Array:
        """Labels of all colours; of chunks that share a table it is laid out once."""
        if self.looked_up is not None:
            before, by_code = self.looked_up
            if before is table and by_code.dtype == labels.dtype:
                return by_code
        # The counts are not needed any more, and their memory is at hand.
        by_code = np.empty(2**24, labels.dtype) if labels.itemsize > 1 else self.tables[0]
        by_code[self.order] = table
        self.looked_up = table, by_code
        return by_code


class _Listed:
    """Codes that stand for so many pixels each; sorted and counted before they grow many."""

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.codes = np.empty(0, np.uint32)
        self.counts = np.empty(0, np.int64)
        self.waiting: list[Array] = []
        self.n_waiting = 0
        self.lock = threading.Lock()

    def add(self, codes: Array) -> None:
        """Add codes, in any thread."""
        with self.lock:
            self.waiting.append(codes)
            self.n_waiting += len(codes)
            if self.n_waiting > _MOST_WAITING:
                self._sort()

    def _sort(self) -> None:
        more, times = np.unique(np.concatenate(self.waiting), return_counts=True)
        self.codes, self.counts = _with(self.codes, self.counts, more, self.weight * times)
        self.waiting, self.n_waiting = [], 0

    def taken(self) -> tuple[Array, Array]:
        """Ascending codes and their counts, which are not held any more."""
        if self.waiting:
            self._sort()
        taken = self.codes, self.counts
        self.codes, self.counts = taken[0][:0].copy(), taken[1][:0].copy()
        return taken


def _color_codes(colors: Array) -> Array:
    wide = colors.astype(np.uint32)
    return (wide[:, 0] << np.uint32(16)) | (wide[:, 1] << np.uint32(8)) | wide[:, 2]


def _with(codes: Array, counts: Array, more: Array, times: Array) -> tuple[Array, Array]:
    """Ascending codes and their counts, with more of such."""
    new = [np.empty(0, np.intp)]
    for start in range(0, len(more), _AT_ONCE):
        part = more[start : start + _AT_ONCE]
        at = np.searchsorted(codes, part)
        known = at < len(codes)
        known[known] = codes[at[known]] == part[known]
        counts[at[known]] += times[start : start + _AT_ONCE][known]
        new.append(start + np.flatnonzero(~known))
    rows = np.concatenate(new)
    if len(rows):
        at = np.searchsorted(codes, more[rows])
        counts = np.insert(counts, at, times[rows])
        codes = np.insert(codes, at, more[rows])
    return codes, counts


def _in_pixels(tick: Tick | None, pixels: Array) -> Tick | None:
    """Tick that is told tiles and tells pixels."""
    if tick is None:
        return None
    n = len(pixels)
    return lambda done, total: tick(n if done == total else count.TILE * done, n)
