"""Counting pixels on a device, and looking their labels up there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import Array, Counter, Tick
from ..cpu.counters import make_counter
from .device import Device, DeviceArray
from .source import defines
from .transfer import Feed, Guest, Outbox, dtype_of, usable

# Pixels sent and counted at once.
_CHUNK = 2**23
# Pixels counted at once where they are: blocks count in 32 bits.
_RESIDENT_CHUNK = 2**28
_THREADS = 256
_N_COLORS = 2**24
# Colours of a block when the used ones are listed: THREADS x SHARE of count.cu.
_COLORS_OF_BLOCK = 256 * 16


def make_device_counter(
    device: Device, dtype: np.dtype[Any], n_features: int, n_threads: int
) -> Counter:
    """Counter for pixels of a type: bins, colours, or rows, which the host counts."""
    if dtype.kind in "ui" and dtype.itemsize * n_features <= 2:
        return DeviceBins(device, dtype, n_features)
    if dtype == np.uint8 and n_features == 3:
        return DeviceColors(device, dtype, n_features)
    return HostRows(device, make_counter(dtype, n_features, n_threads))


class HostRows:
    """Rows of any type and width, which the host counts wherever they are."""

    may_give_up = True

    def __init__(self, device: Device, counter: Counter) -> None:
        self.device, self.counter = device, counter

    @property
    def full(self) -> bool:
        """See `Counter.full`."""
        return self.counter.full

    @property
    def pays(self) -> bool:
        """See `Counter.pays`."""
        return self.counter.pays

    def add(self, pixels: Any, tick: Tick | None = None, *, again: bool = False) -> None:
        """See `Counter.add`."""
        self.counter.add(self._on_host(pixels), tick)

    def distinct(self) -> tuple[Array, Array]:
        """See `Counter.distinct`."""
        return self.counter.distinct()

    def look_up(self, pixels: Any, table: Array, labels: Any, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        pixels = self._on_host(pixels)
        if not self.device.owns(labels):
            self.counter.look_up(pixels, table, labels, tick)
            return
        found = np.empty(len(pixels), dtype_of(self.device, labels))
        self.counter.look_up(pixels, table, found, tick)
        self.device.copy(self.device.to_device(found), self.device.wrap(labels))

    def _on_host(self, pixels: Any) -> Array:
        if not self.device.owns(pixels):
            host: Array = pixels
            return host
        return np.ascontiguousarray(self.device.to_host(self.device.wrap(pixels)))


class DeviceCounter(Guest):
    """What the counters share: pixels that are sent to be counted, and their labels back."""

    may_give_up = False
    full = False
    pays = True

    def __init__(self, device: Device, dtype: np.dtype[Any], n_features: int) -> None:
        super().__init__(device)
        self.dtype, self.n_features = dtype, n_features
        self.code = f"uint{8 * min(2, dtype.itemsize * n_features)}"
        # An array that will be looked up, and what the device was sent of it.
        self.kept: tuple[Any, Feed] | None = None

    def launch(self, kernel: tuple[str, str], n: int, *arguments: Any, label: str = "") -> None:
        """Run a kernel of count.cu or look_up.cu over n pixels."""
        options = defines(CODE=self.code, **({"LABEL": label} if label else {}))
        whole = kernel[0], options, kernel[1]
        n_blocks = min(-(-n // (16 * _THREADS)), self.device.max_blocks(whole, _THREADS))
        self.device.launch(whole, n_blocks, _THREADS, arguments)

    def feed(self, pixels: Any, again: bool = False) -> Feed:
        """Pixels on the device, or on their way; to be kept if they are needed again."""
        if self.kept is not None and self.kept[0] is pixels and not again:
            return self.kept[1]
        there = self.device.wrap(pixels) if self.device.owns(pixels) else pixels
        feed = Feed(self.device, [there], keep=0.5 if again else 0.0)
        if again:
            self.kept = pixels, feed
        return feed

    def to_count(self, pixels: Any, again: bool) -> Iterator[tuple[int, int, list[DeviceArray]]]:
        """Chunks of pixels; those that are on the device already need no small ones."""
        feed = self.feed(pixels, again)
        return feed.chunks(_CHUNK if feed.resident is None else _RESIDENT_CHUNK)

    def labelled(
        self, kernel: str, pixels: Any, table: DeviceArray, labels: Any, tick: Tick | None
    ) -> None:
        """Write the labels of pixels, by a table of all codes on the device."""
        n, name = len(pixels), np.dtype(table.dtype).name
        there: Any = self.device.wrap(labels) if self.device.owns(labels) else None
        direct = there is not None and usable(self.device, there)
        outbox = Outbox(self.device)
        beside = np.dtype(table.dtype).itemsize
        for start, stop, (chunk,) in self.feed(pixels).chunks(_CHUNK, beside=beside):
            size = stop - start
            found = there[start:stop] if direct else self.device.empty((size,), table.dtype)
            self.launch(
                ("look_up.cu", kernel), size, chunk, np.int64(0), np.int64(size), table, found,
                label=name,
            )  # fmt: skip
            if there is None:
                outbox.fetch(found, labels[start:stop])
            elif not direct:
                self.device.copy(found, there[start:stop])
            if tick is not None:
                tick(stop, n)
        outbox.flush()


class DeviceBins(DeviceCounter):
    """A bin for each of the values that up to 16 bits can have."""

    def __init__(self, device: Device, dtype: np.dtype[Any], n_features: int) -> None:
        super().__init__(device, dtype, n_features)
        self.bins = device.full((2 ** (8 * np.dtype(self.code).itemsize),), np.uint64, 0)
        self.order: Array = np.empty(0, np.int64)

    def add(self, pixels: Any, tick: Tick | None = None, *, again: bool = False) -> None:
        """See `Counter.add`."""
        origin = None
        for start, stop, (chunk,) in self.to_count(pixels, again):
            if origin is None:
                # A guess at the lowest value: a wrong one costs time alone.
                sample = self.device.to_host(chunk[:1024]).astype(np.int64)
                origin = int(sample.min()) if self.n_features == 1 else 0
            self.launch(
                ("count.cu", "count_bins"), stop - start, chunk, np.int64(0),
                np.int64(stop - start), np.uint32(origin % 2**16), self.bins,
            )  # fmt: skip
            if tick is not None:
                tick(stop, len(pixels))

    def distinct(self) -> tuple[Array, Array]:
        """See `Counter.distinct`."""
        bins = self.device.to_host(self.bins).astype(np.int64)
        codes = np.flatnonzero(bins)
        values = codes.astype(self.code).view(self.dtype).reshape(-1, self.n_features)
        order = np.lexsort(values.T[::-1])
        self.order = codes[order]
        return np.ascontiguousarray(values[order]), bins[self.order]

    def look_up(self, pixels: Any, table: Array, labels: Any, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        by_code = np.zeros(len(self.bins), dtype_of(self.device, labels))
        by_code[self.order] = table
        self.labelled("label_bins", pixels, self.device.to_device(by_code), labels, tick)


class DeviceColors(DeviceCounter):
    """A 32-bit count for each of the 2**24 8-bit colours."""

    def __init__(self, device: Device, dtype: np.dtype[Any], n_features: int) -> None:
        super().__init__(device, dtype, n_features)
        self.table = device.full((_N_COLORS,), np.uint32, 0)
        self.n_counted = 0
        self.parts: list[tuple[Array, Array]] = []
        self.codes: Array = np.empty(0, np.uint32)

    def add(self, pixels: Any, tick: Tick | None = None, *, again: bool = False) -> None:
        """See `Counter.add`."""
        for start, stop, (chunk,) in self.to_count(pixels, again):
            if self.n_counted + stop - start >= 2**32:
                self._empty_table()
            self.n_counted += stop - start
            self.launch(
                ("count.cu", "count_colors"), stop - start, chunk, np.int64(0),
                np.int64(stop - start), self.table,
            )  # fmt: skip
            if tick is not None:
                tick(stop, len(pixels))

    def _empty_table(self) -> None:
        """Take the counts out of the table before they can overflow."""
        n_blocks = _N_COLORS // _COLORS_OF_BLOCK
        options = defines(CODE=self.code)
        n_used = self.device.full((n_blocks,), np.uint32, 0)
        self.device.launch(
            ("count.cu", options, "used_colors"), n_blocks, _THREADS, (self.table, n_used)
        )
        offsets = np.zeros(n_blocks + 1, np.int64)
        np.cumsum(self.device.to_host(n_used), out=offsets[1:])
        codes = self.device.empty((int(offsets[-1]),), np.uint32)
        counts = self.device.empty((int(offsets[-1]),), np.uint32)
        self.device.launch(
            ("count.cu", options, "list_colors"), n_blocks, _THREADS,
            (self.table, self.device.to_device(offsets), codes, counts),
        )  # fmt: skip
        counted = self.device.to_host(counts).astype(np.int64)
        self.parts.append((self.device.to_host(codes), counted))
        self.table = self.device.full((_N_COLORS,), np.uint32, 0)
        self.n_counted = 0

    def distinct(self) -> tuple[Array, Array]:
        """See `Counter.distinct`."""
        self._empty_table()
        self.codes, counts = self.parts[0]
        if len(self.parts) > 1:
            codes, place = np.unique(
                np.concatenate([c for c, _ in self.parts]), return_inverse=True
            )
            self.codes, counts = codes, np.zeros(len(codes), np.int64)
            np.add.at(counts, place, np.concatenate([n for _, n in self.parts]))
        values = np.empty((len(self.codes), 3), np.uint8)
        for f in range(3):
            values[:, f] = self.codes >> np.uint32(16 - 8 * f)
        return values, counts

    def look_up(self, pixels: Any, table: Array, labels: Any, tick: Tick | None = None) -> None:
        """See `Counter.look_up`."""
        # The counts are not needed any more, and their memory is at hand.
        dtype = dtype_of(self.device, labels)
        by_code = self.table.view(dtype)[:_N_COLORS]
        n, table = len(self.codes), np.ascontiguousarray(table, dtype)
        self.launch(
            ("look_up.cu", "enter_colors"), n, self.device.to_device(self.codes),
            self.device.to_device(table), np.int64(n), by_code, label=table.dtype.name,
        )  # fmt: skip
        self.labelled("label_colors", pixels, by_code, labels, tick)
