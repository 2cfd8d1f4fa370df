"""Arrays on their way to the device and back, through pinned buffers in turns.

While one buffer is on its way the host fills or empties the other one, and the device
computes on what came before.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import Array
from .device import Device, DeviceArray, Event, OutOfMemory

# Bytes of a pinned buffer: long enough for a copy to reach the bus's speed.
PINNED_BYTES = 2**24
# A chunk that the device cannot hold twice is halved down to this many rows.
_MIN_ROWS = 2**10


class Guest:
    """Holds memory of a device, which is free for other libraries once nobody needs it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._held = device.held_memory()

    def __del__(self) -> None:
        if sys.is_finalizing() or not hasattr(self, "_held"):
            return
        device, held = self.device, self._held
        vars(self).clear()
        device.give_back(held)


class Inbox:
    """Sends host arrays to the device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.buffers: list[Array] = []
        self.sent: list[Event | None] = [None, None]
        self.turn = 0

    def send(self, source: Array, target: DeviceArray, after: Event | None = None) -> None:
        """Copy an array of the same shape and type; work queued from now on sees it."""
        event = None
        try:
            if _is_direct(self.device, source):
                event = self.device.send(source, target, after)
                # The caller may change the array as soon as this returns.
                self.device.synchronize(event)
            else:
                for start, stop in _parts(source):
                    event = self._send_part(source[start:stop], target[start:stop], after)
        finally:
            # After an interrupt as well: the target may soon be another array's memory.
            if event is not None:
                self.device.wait(event)

    def finish(self) -> None:
        """Wait until everything has been sent."""
        for turn, event in enumerate(self.sent):
            if event is not None:
                self.device.synchronize(event)
                self.sent[turn] = None

    def __del__(self) -> None:
        # The buffers go back to a pool, which does not know of copies on their way.
        self.finish()

    def _send_part(self, source: Array, target: DeviceArray, after: Event | None) -> Event:
        if not self.buffers:
            self.buffers = [self.device.pinned(PINNED_BYTES) for _ in range(2)]
        self.turn = 1 - self.turn
        busy = self.sent[self.turn]
        if busy is not None:
            self.device.synchronize(busy)
        pinned = _as(self.buffers[self.turn], source)
        np.copyto(pinned, source)
        event = self.sent[self.turn] = self.device.send(pinned, target, after)
        return event


class Outbox:
    """Fetches device arrays into host arrays, of which the last ones are there after `flush`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.buffers: list[Array] = []
        # What is on its way; the source is kept until it has been read.
        self.fetched: list[tuple[Event, DeviceArray, Array, Array] | None] = [None, None]
        self.turn = 0

    def fetch(self, source: DeviceArray, target: Array) -> None:
        """Copy an array of the same shape and type once the work queued so far is done."""
        after = self.device.mark()
        direct = _is_direct(self.device, target)
        if not direct and not self.buffers:
            self.buffers = [self.device.pinned(PINNED_BYTES) for _ in range(2)]
        for start, stop in [(0, len(target))] if direct else _parts(target):
            self.turn = 1 - self.turn
            self._land(self.turn)
            part = target[start:stop]
            pinned = part if direct else _as(self.buffers[self.turn], part)
            event = self.device.fetch(source[start:stop], pinned, after)
            self.fetched[self.turn] = event, source, pinned, part

    def flush(self) -> None:
        """Wait until everything has arrived."""
        for turn in (1 - self.turn, self.turn):
            self._land(turn)

    def __del__(self) -> None:
        # As in Inbox, where an error left copies on their way; nobody wants them.
        for arrival in self.fetched:
            if arrival is not None:
                self.device.synchronize(arrival[0])

    def _land(self, turn: int) -> None:
        arrival = self.fetched[turn]
        if arrival is not None:
            event, _, pinned, target = arrival
            self.device.synchronize(event)
            if pinned is not target:
                np.copyto(target, pinned)
            self.fetched[turn] = None


class Feed:
    """Rows of arrays of equal length, chunk by chunk on the device.

    With ``keep`` they stay there as a whole after the first pass, or after `load`, where
    they take at most that share of the free memory; else each pass sends them anew.
    """

    def __init__(self, device: Device, arrays: Sequence[Any], *, keep: float = 0.0) -> None:
        self.device = device
        self.n_rows = len(arrays[0])
        self.inbox = Inbox(device)
        self.host: list[Array] = []
        self.resident: list[DeviceArray] | None = None
        self.room: list[DeviceArray] | None = None
        if device.owns(arrays[0]):
            self.resident = [self._aligned(array) for array in arrays]
            return
        self.host = list(arrays)
        needed = sum(array.nbytes for array in arrays)
        if 0 < needed < keep * device.free_memory():
            with contextlib.suppress(OutOfMemory):
                self.room = [device.empty(array.shape, array.dtype) for array in arrays]

    def load(self) -> None:
        """Send everything now, if there is room for it."""
        if self.room is not None:
            for _ in self.chunks(self.n_rows):
                pass
            # Later passes may come in another stream than this one.
            self.inbox.finish()

    def _aligned(self, array: DeviceArray) -> DeviceArray:
        """The array or a copy that is usable: a slice of another one may start anywhere."""
        if usable(self.device, array):
            return array
        copy = self.device.empty(array.shape, array.dtype)
        self.device.copy(array, copy)
        return copy

    def chunks(
        self, step: int, quantum: int = 16, beside: int = 0
    ) -> Iterator[tuple[int, int, list[DeviceArray]]]:
        """Give first row, end, and rows on the device, ``step`` rows or fewer at a time.

        Chunks start at multiples of ``quantum``, and leave room for ``beside`` bytes a
        row that are computed of three of them. What is queued for a chunk may run while
        the next one is on its way.
        """
        if self.n_rows == 0:
            return
        if beside:
            room = self.device.free_memory() // (4 * beside)
            step = max(_MIN_ROWS, quantum, min(step, room)) // quantum * quantum
        if self.resident is not None:
            for start in range(0, self.n_rows, step):
                stop = min(start + step, self.n_rows)
                yield start, stop, [array[start:stop] for array in self.resident]
            return
        if self.room is not None:
            # New memory may be that of an array whose last use is still queued.
            ready = self.device.mark()
            for start in range(0, self.n_rows, step):
                stop = min(start + step, self.n_rows)
                rows = [array[start:stop] for array in self.room]
                for array, target in zip(self.host, rows, strict=True):
                    self.inbox.send(array[start:stop], target, ready)
                yield start, stop, rows
            self.resident, self.room = self.room, None
            return
        step, buffers = self._buffers(step, quantum, beside)
        used = [self.device.mark()] * 2
        for turn, start in enumerate(range(0, self.n_rows, step)):
            stop = min(start + step, self.n_rows)
            slot = turn % 2
            rows = [buffer[: stop - start] for buffer in buffers[slot]]
            for array, target in zip(self.host, rows, strict=True):
                self.inbox.send(array[start:stop], target, used[slot])
            yield start, stop, rows
            used[slot] = self.device.mark()

    def _buffers(self, step: int, quantum: int, beside: int) -> tuple[int, list[list[DeviceArray]]]:
        """Two sets of chunk buffers, of half the rows as often as they do not fit."""
        row_bytes = sum(array.nbytes // self.n_rows for array in self.host)
        room = self.device.free_memory() // (3 * row_bytes + 4 * beside)
        least = max(_MIN_ROWS, quantum)
        rows = max(least, min(step, room, -(-self.n_rows // quantum) * quantum))
        while True:
            rows = rows // quantum * quantum
            try:
                return rows, [
                    [self.device.empty((rows, *a.shape[1:]), a.dtype) for a in self.host]
                    for _ in range(2)
                ]
            except OutOfMemory:
                if rows <= least:
                    raise OutOfMemory(self.shortage(2 * rows * row_bytes)) from None
                rows = max(least, rows // 2)

    def shortage(self, needed: int) -> str:
        """Words for a device that has no room for so many bytes."""
        theirs = ""
        if "torch" in sys.modules:
            theirs = " (torch.cuda.empty_cache() frees what PyTorch keeps)"
        return (
            f"the device {self.device.name} has {self.device.free_memory() / 2**20:.1f} MiB free,"
            f" but {needed / 2**20:.1f} MiB are needed for a part of the {self.n_rows} points;"
            f" free memory on it{theirs}, or use backend='cpu'"
        )


def usable(device: Device, array: DeviceArray) -> bool:
    """Whether kernels can use an array as it is: in one piece, and aligned for vector loads."""
    return bool(array.flags.c_contiguous and device.address(array) % 16 == 0)


def dtype_of(device: Device, array: Any) -> np.dtype[Any]:
    """NumPy's type of an array of any library."""
    dtype: np.dtype[Any] = (device.wrap(array) if device.owns(array) else array).dtype
    return dtype


def _is_direct(device: Device, array: Array) -> bool:
    """Whether the device can copy from or to a host array itself."""
    return bool(array.flags.c_contiguous) and device.is_pinned(array)


def _parts(array: Array) -> Iterator[tuple[int, int]]:
    """First row and end of parts that fit into a pinned buffer."""
    rows = max(1, PINNED_BYTES // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array), rows):
        yield start, min(start + rows, len(array))


def _as(buffer: Array, like: Array) -> Array:
    return buffer[: like.nbytes].view(like.dtype).reshape(like.shape)
