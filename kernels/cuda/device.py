"""The seam to the GPU: all that the backend asks of a device; `cupy_device` is the answer.

Work is queued in the caller's current stream and copies in streams beside it; events
order them. Everything else in this folder knows devices by these few methods alone.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..backend import Array

# An array on the device (CuPy's), and a mark in a stream.
DeviceArray = Any
Event = Any

# A kernel: its file, the options it is compiled with, and its name.
Kernel = tuple[str, tuple[str, ...], str]

NULL = np.uint64(0)  # a pointer to nothing, among a kernel's arguments


class OutOfMemory(MemoryError):
    """The device has no room for an array."""


class Device(Protocol):
    """A GPU."""

    name: str
    max_shared_bytes: int  # of a block, for a kernel that asks for them

    @property
    def exact_float32(self) -> bool:
        """Whether products of float32 matrices are computed in float32."""

    def free_memory(self) -> int:
        """Bytes that could be allocated."""

    def held_memory(self) -> int:
        """Bytes that other libraries cannot allocate, whether they are in use or not."""

    def give_back(self, held: int) -> None:
        """Free what is not in use if much more than ``held`` is held by now."""

    def owns(self, array: Any) -> bool:
        """Whether the array is in some GPU's memory."""

    def wrap(self, array: Any) -> DeviceArray:
        """Array of another library in this device's memory, without a copy."""

    def address(self, array: DeviceArray) -> int:
        """Where the array starts."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """New array; raises OutOfMemory."""

    def full(self, shape: tuple[int, ...], dtype: Any, value: float) -> DeviceArray:
        """New array of one value; raises OutOfMemory."""

    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        """Copy within the device, into the target's type."""

    def pinned(self, n_bytes: int) -> Array:
        """Host memory (uint8) that copies need not wait for."""

    def is_pinned(self, array: Array) -> bool:
        """Whether a host array is in such memory."""

    def to_device(self, array: Array) -> DeviceArray:
        """Copy of a small array."""

    def to_host(self, array: DeviceArray) -> Array:
        """Copy on the host, once all work queued before is done."""

    def send(self, pinned: Array, target: DeviceArray, after: Event | None) -> Event:
        """Copy to the device after an event, beside the work."""

    def fetch(self, array: DeviceArray, pinned: Array, after: Event) -> Event:
        """Copy to the host after an event, beside the work."""

    def mark(self) -> Event:
        """Event of all work queued so far."""

    def wait(self, event: Event) -> None:
        """Let work that is queued from now on wait for an event."""

    def synchronize(self, event: Event) -> None:
        """Wait on the host for an event."""

    def extent(self, array: DeviceArray) -> Array:
        """Smallest and largest value (d, 2) float64 of each column; NaN where there is one."""

    def largest(self, matrix: DeviceArray) -> Array:
        """Largest value of each row, on the host."""

    def rows(self, array: DeviceArray, places: Array) -> Array:
        """Copy of some rows on the host."""

    def multiply(self, a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
        """Write the matrix product of ``a`` and the transposed ``b`` into ``out``."""

    def max_blocks(self, kernel: Kernel, n_threads: int, shared_bytes: int = 0) -> int:
        """Blocks of a kernel that run at once: more of them would wait for those."""

    def launch(
        self,
        kernel: Kernel,
        n_blocks: int,
        n_threads: int,
        arguments: tuple[Any, ...],
        shared_bytes: int = 0,
    ) -> None:
        """Queue a kernel."""


def is_on_gpu(array: Any) -> bool:
    """Whether an array of any library is in a GPU's memory."""
    if hasattr(array, "__cuda_array_interface__"):
        return True
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return False
    cuda = (2, 13)  # kDLCUDA and kDLCUDAManaged
    return int(array.__dlpack_device__()[0]) in cuda
