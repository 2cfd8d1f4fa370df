"""Counting pixels of any type and width: rows in a hash table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ..backend import Array, Tick
from . import count
from .jit import array, compiled
from .pool import run_chunks
from .table_counter import CHUNK, TableCounter, in_chunks

# Distinct rows that are kept, and bytes of them: with table, counts and what clustering
# needs of each, some 200 MB.
MAX_ROWS = 2**22
_MAX_ROW_BYTES = 2**25
# Counting a row costs some iterations of Lloyd's on it: few of them must be distinct.
_MAX_DISTINCT_SHARE = 0.7
_FEW_ROWS = 2**16


class RowCounter(TableCounter):
    """A hash table of rows, in shares that threads fill apart."""

    may_give_up = True

    def __init__(self, dtype: np.dtype[Any], n_features: int, n_threads: int) -> None:
        super().__init__(dtype, n_features, n_threads)
        self.word = np.dtype(f"uint{8 * dtype.itemsize}")
        n_parts = 1 << max(0, min(n_threads, 8) - 1).bit_length()
        self.shares = [_Share(self.word, n_features) for _ in range(n_parts)]
        self.rows = np.empty((0, n_features), self.word)
        self.slots = np.empty(0, np.uint64)
        self.n_seen = 0

    @property
    def full(self) -> bool:  # type: ignore[override]
        """See `Counter.full`."""
        row_bytes = self.word.itemsize * self.n_features
        return self._n_rows() > min(MAX_ROWS, _MAX_ROW_BYTES // row_bytes)

    @property
    def pays(self) -> bool:  # type: ignore[override]
        """See `Counter.pays`."""
        return self._n_rows() <= max(_FEW_ROWS, _MAX_DISTINCT_SHARE * self.n_seen)

    def _n_rows(self) -> int:
        return sum(share.n_rows for share in self.shares)

    def add(self, pixels: Array, tick: Tick | None = None, *, again: bool = False) -> None:
        """See `Counter.add`."""
        kernel = compiled(
            count.count_rows,
            array(self.word.name, 2),
            *(types.intp,) * 4,
            array("uint64", written=True),
            array(self.word.name, 2, written=True),
            array("int64", written=True),
            types.intp,
        )
        for first in range(0, len(pixels), CHUNK):
            bits = self._bits(pixels[first : first + CHUNK])

            reached = [0] * len(self.shares)

            def task(part: int, bits: Array = bits, reached: list[int] = reached) -> None:
                share = self.shares[part]
                reached[part], share.n_rows = kernel(
                    bits, reached[part], len(bits), part, len(self.shares),
                    share.slots, share.rows, share.counts, share.n_rows,
                )  # fmt: skip

            while min(reached) < len(bits):
                run_chunks(task, len(self.shares), self.n_threads)
                # Grown here: memory that a helper thread takes may never be given back.
                for at, share in zip(reached, self.shares, strict=True):
                    if at < len(bits):
                        share.grow()
            self.n_seen += len(bits)
            if tick is not None:
                tick(first + len(bits), len(pixels))

    def distinct(self) -> tuple[Array, Array]:
        """See `Counter.distinct`."""
        # Each table goes as soon as it has been read: together they are the peak of memory.
        for share in self.shares:
            share.slots = np.empty(0, np.uint64)
        rows = np.concatenate([share.rows[: share.n_rows] for share in self.shares])
        for share in self.shares:
            share.rows = rows[:0]
        counts = np.concatenate([share.counts[: share.n_rows] for share in self.shares])
        self.shares = []
        order = _ascending(rows.view(self.dtype))
        self.rows = rows[order]
        return self.rows.view(self.dtype), counts[order]

    def look_up(self, pixels: Array, table: Array, labels: Array, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        if not len(self.slots):
            self.slots = _indexed(self.rows, len(self.rows), 2 * len(self.rows))
        table = table.astype(labels.dtype, copy=False)
        kernel = compiled(
            count.label_rows,
            array(self.word.name, 2),
            types.intp,
            types.intp,
            array("uint64"),
            array(self.word.name, 2),
            array(labels.dtype.name),
            array(labels.dtype.name, written=True),
        )

        def task(start: int, stop: int) -> None:
            bits = self._bits(pixels[start:stop])
            kernel(bits, 0, len(bits), self.slots, self.rows, table, labels[start:stop])

        in_chunks(task, len(pixels), CHUNK // 4, self.n_threads, tick)

    def _bits(self, pixels: Array) -> Array:
        """Bits of the values; adding zero makes one of the two zeros that floats have."""
        if self.dtype.kind == "f":
            pixels = pixels + self.dtype.type(0)
        return pixels.view(self.word)


class _Share:
    """Rows of one share of the hashes, with room for twice as many slots."""

    def __init__(self, word: np.dtype[Any], n_features: int) -> None:
        self.rows = np.empty((2**10, n_features), word)
        self.counts = np.empty(2**10, np.int64)
        self.slots = np.zeros(2**11, np.uint64)
        self.n_rows = 0

    def grow(self) -> None:
        room = 2 * len(self.counts)
        rows = np.empty((room, self.rows.shape[1]), self.rows.dtype)
        rows[: self.n_rows] = self.rows[: self.n_rows]
        self.rows = rows
        self.counts = np.concatenate([self.counts, np.empty_like(self.counts)])
        self.slots = _indexed(rows, self.n_rows, 2 * room)


def _indexed(rows: Array, n_rows: int, n_slots: int) -> Array:
    slots = np.zeros(1 << max(1, n_slots - 1).bit_length(), np.uint64)
    kernel = compiled(
        count.index_rows,
        array(rows.dtype.name, 2),
        types.intp,
        array("uint64", written=True),
    )
    kernel(rows, n_rows, slots)
    return slots


def _ascending(values: Array) -> Array:
    """Order of rows by their channels, the first one first."""
    bits = 8 * values.itemsize
    if bits * values.shape[1] > 64:
        return np.lexsort(values.T[::-1])
    # As one number each they are sorted many times faster.
    keys = np.zeros(len(values), np.uint64)
    for channel in values.T:
        keys <<= np.uint64(bits % 64)
        keys |= _ascending_bits(channel)
    return np.argsort(keys)


def _ascending_bits(channel: Array) -> Array:
    """Unsigned numbers in the order of the values."""
    word = np.dtype(f"uint{8 * channel.itemsize}")
    raw: Array = np.ascontiguousarray(channel).view(word)
    top = word.type(1 << (8 * channel.itemsize - 1))
    if channel.dtype.kind == "i":
        raw = raw ^ top
    elif channel.dtype.kind == "f":
        raw = np.where(raw & top, ~raw, raw | top)
    return raw
