"""The seam to the GPU: all that the backend asks of a device, and CuPy's answer.

Work is queued in the caller's current stream and copies in streams beside it; events
order them. Everything else in this folder knows devices by these few methods alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from ..backend import Array
from .source import OPTIONS, source

# An array on the device (CuPy's), and a mark in a stream.
DeviceArray = Any
Event = Any

NULL = np.uint64(0)  # a pointer to nothing, among a kernel's arguments


# CuPy's numbers for float16, bfloat16 and TF32 in matrix products.
_ROUNDED_TYPES = (3, 6, 7)


class OutOfMemory(MemoryError):
    """The device has no room for an array."""


class Device(Protocol):
    """A GPU."""

    name: str
    n_multiprocessors: int

    @property
    def exact_float32(self) -> bool:
        """Whether products of float32 matrices are computed in float32."""

    def free_memory(self) -> int:
        """Bytes that could be allocated."""

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

    def multiply(self, a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
        """Write the matrix product of ``a`` and the transposed ``b`` into ``out``."""

    def launch(
        self,
        kernel: tuple[str, tuple[str, ...], str],
        n_blocks: int,
        n_threads: int,
        arguments: tuple[Any, ...],
        shared_bytes: int = 0,
    ) -> None:
        """Queue a kernel: its file, the options it is compiled with, and its name."""


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _there(method: _Method) -> _Method:
    """Method that runs on its own device, whichever is the current one by then."""

    @wraps(method)
    def run(self: CupyDevice, *arguments: Any, **options: Any) -> Any:
        with self.device:
            return method(self, *arguments, **options)

    return cast(_Method, run)


class CupyDevice:
    """The CUDA device that is CuPy's current one when this is made."""

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        self.runtime = cupy.cuda.runtime
        self.device = cupy.cuda.Device()
        properties = self.runtime.getDeviceProperties(self.device.id)
        self.name = properties["name"].decode()
        self.n_multiprocessors = int(properties["multiProcessorCount"])
        # One stream each way: a GPU has a copy engine for each.
        self.incoming = cupy.cuda.Stream(non_blocking=True)
        self.outgoing = cupy.cuda.Stream(non_blocking=True)

    @property
    def exact_float32(self) -> bool:
        """See `Device.exact_float32`; a program may change it at any time."""
        # Any of them asks for TF32 or less, whose errors are a thousand times larger.
        asked = [os.environ.get(name, "0") for name in ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE")]
        core = getattr(self.cupy, "_core", None)
        get = getattr(core, "get_compute_type", None)
        rounded = get is not None and int(get(np.float32)) in _ROUNDED_TYPES
        return not rounded and not any(value not in ("", "0") for value in asked)

    @_there
    def free_memory(self) -> int:
        """See `Device.free_memory`."""
        free, _ = self.runtime.memGetInfo()
        return int(free + self.cupy.get_default_memory_pool().free_bytes())

    def owns(self, array: Any) -> bool:
        """See `Device.owns`."""
        return is_on_gpu(array)

    def wrap(self, array: Any) -> DeviceArray:
        """See `Device.wrap`."""
        if not isinstance(array, self.cupy.ndarray):
            # DLPack orders the streams of the two libraries, which the other way may not.
            by_dlpack = hasattr(array, "__dlpack__")
            array = (self.cupy.from_dlpack if by_dlpack else self.cupy.asarray)(array)
        if array.device.id != self.device.id:
            raise ValueError(
                f"an array is on CUDA device {array.device.id}, but work goes to device"
                f" {self.device.id}; use it within cupy.cuda.Device({array.device.id})"
            )
        return array

    def address(self, array: DeviceArray) -> int:
        """See `Device.address`."""
        return int(array.data.ptr)

    @_there
    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """See `Device.empty`."""
        try:
            return self.cupy.empty(shape, dtype)
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            advice = "free memory on the device, or use backend='cpu'"
            raise OutOfMemory(f"{error}; {advice}") from None

    @_there
    def full(self, shape: tuple[int, ...], dtype: Any, value: float) -> DeviceArray:
        """See `Device.full`."""
        array = self.empty(shape, dtype)
        array.fill(value)
        return array

    @_there
    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        """See `Device.copy`."""
        target[...] = source

    @_there
    def pinned(self, n_bytes: int) -> Array:
        """See `Device.pinned`."""
        memory = self.cupy.cuda.alloc_pinned_memory(n_bytes)
        return np.frombuffer(memory, np.uint8, n_bytes)

    def is_pinned(self, array: Array) -> bool:
        """See `Device.is_pinned`."""
        return bool(self.runtime.pointerGetAttributes(array.ctypes.data).type == 1)

    @_there
    def to_device(self, array: Array) -> DeviceArray:
        """See `Device.to_device`."""
        target = self.empty(array.shape, array.dtype)
        target.set(array)
        return target

    @_there
    def to_host(self, array: DeviceArray) -> Array:
        """See `Device.to_host`."""
        host: Array = array.get()
        return host

    @_there
    def send(self, pinned: Array, target: DeviceArray, after: Event | None) -> Event:
        """See `Device.send`."""
        if after is not None:
            self.incoming.wait_event(after)
        self.runtime.memcpyAsync(
            target.data.ptr, pinned.ctypes.data, pinned.nbytes,
            self.runtime.memcpyHostToDevice, self.incoming.ptr,
        )  # fmt: skip
        return self.incoming.record()

    @_there
    def fetch(self, array: DeviceArray, pinned: Array, after: Event) -> Event:
        """See `Device.fetch`."""
        self.outgoing.wait_event(after)
        self.runtime.memcpyAsync(
            pinned.ctypes.data, array.data.ptr, pinned.nbytes,
            self.runtime.memcpyDeviceToHost, self.outgoing.ptr,
        )  # fmt: skip
        return self.outgoing.record()

    @_there
    def mark(self) -> Event:
        """See `Device.mark`."""
        return self.cupy.cuda.get_current_stream().record()

    @_there
    def wait(self, event: Event) -> None:
        """See `Device.wait`."""
        self.cupy.cuda.get_current_stream().wait_event(event)

    def synchronize(self, event: Event) -> None:
        """See `Device.synchronize`."""
        event.synchronize()

    @_there
    def extent(self, array: DeviceArray) -> Array:
        """See `Device.extent`."""
        ends = [self.to_host(end).astype(np.float64) for end in (array.min(0), array.max(0))]
        return np.stack(ends, axis=1)

    @_there
    def multiply(self, a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
        """See `Device.multiply`."""
        self.cupy.matmul(a, b.T, out=out)

    @_there
    def launch(
        self,
        kernel: tuple[str, tuple[str, ...], str],
        n_blocks: int,
        n_threads: int,
        arguments: tuple[Any, ...],
        shared_bytes: int = 0,
    ) -> None:
        """See `Device.launch`."""
        _function(*kernel)((n_blocks,), (n_threads,), arguments, shared_mem=shared_bytes)


@cache
def _function(file: str, options: tuple[str, ...], name: str) -> Any:
    """Kernel, which CuPy compiles on its first launch on a device and keeps on disk."""
    return _module(file, options).get_function(name)


@cache
def _module(file: str, options: tuple[str, ...]) -> Any:
    import cupy

    return cupy.RawModule(code=source(file), options=OPTIONS + options)


def is_on_gpu(array: Any) -> bool:
    """Whether an array of any library is in a GPU's memory."""
    if hasattr(array, "__cuda_array_interface__"):
        return True
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return False
    cuda = (2, 13)  # kDLCUDA and kDLCUDAManaged
    return int(array.__dlpack_device__()[0]) in cuda
