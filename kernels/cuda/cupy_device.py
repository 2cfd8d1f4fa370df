"""CuPy's answer to what the backend asks of a device."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import numpy as np

from ..backend import Array
from .device import DeviceArray, Event, Kernel, OutOfMemory, is_on_gpu
from .source import OPTIONS, source

# CuPy's numbers for float16, bfloat16 and TF32 in matrix products.
_ROUNDED_TYPES = (3, 6, 7)

# Variables by which users ask cuBLAS for products of another kind.
_OTHER_PRODUCTS = (
    "CUPY_TF32",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_EMULATE_DOUBLE_PRECISION",
)

# Shared memory that a block gets without asking.
_SHARED_UNASKED = 48 * 2**10

# Bytes that CuPy's pool may keep of what it grew by: to give memory back takes longer than a
# small image.
_KEPT = 2**28

# Columns of a matrix that is reduced: CuPy has a block for each 32 of them.
_COLUMNS = 2**14

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
        self._n_multiprocessors = int(properties["multiProcessorCount"])
        # Kernels have a little of their own.
        self.max_shared_bytes = int(properties["sharedMemPerBlockOptin"]) - 2**10
        self._resident_blocks: dict[tuple[Any, ...], int] = {}
        # One stream each way: a GPU has a copy engine for each.
        self.incoming = cupy.cuda.Stream(non_blocking=True)
        self.outgoing = cupy.cuda.Stream(non_blocking=True)

    @property
    def exact_float32(self) -> bool:
        """See `Device.exact_float32`; a program may change it at any time."""
        # TF32's errors are a thousand times larger; nothing is known here of emulated products.
        asked = [os.environ.get(name, "0") for name in _OTHER_PRODUCTS]
        core = getattr(self.cupy, "_core", None)
        get = getattr(core, "get_compute_type", None)
        rounded = get is not None and int(get(np.float32)) in _ROUNDED_TYPES
        return not rounded and not any(value not in ("", "0") for value in asked)

    @_there
    def free_memory(self) -> int:
        """See `Device.free_memory`."""
        free, _ = self.runtime.memGetInfo()
        return int(free + self.cupy.get_default_memory_pool().free_bytes())

    @_there
    def held_memory(self) -> int:
        """See `Device.held_memory`."""
        return int(self.cupy.get_default_memory_pool().total_bytes())

    @_there
    def give_back(self, held: int) -> None:
        """See `Device.give_back`."""
        pool = self.cupy.get_default_memory_pool()
        if pool.total_bytes() > held + _KEPT:
            pool.free_all_blocks()

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
        try:
            memory = self.cupy.cuda.alloc_pinned_memory(n_bytes)
        except self.runtime.CUDARuntimeError as error:
            size = f"{n_bytes / 2**20:.1f} MiB of page-locked host memory"
            raise OutOfMemory(f"{size} cannot be had ({error}); free some") from None
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
        n, d = array.shape
        # Points side by side, for else one block or two would pass over all of them.
        abreast = max(1, _COLUMNS // d)
        whole = n // abreast * abreast if array.flags.c_contiguous else 0
        parts = [array[whole:]] if whole < n else []
        if whole:
            parts.append(array[:whole].reshape(-1, abreast * d))
        low, high = (
            np.concatenate([self.to_host(end).reshape(-1, d) for end in ends])
            for ends in ([part.min(0) for part in parts], [part.max(0) for part in parts])
        )
        return np.stack([low.min(0), high.max(0)], axis=1).astype(np.float64)

    @_there
    def largest(self, matrix: DeviceArray) -> Array:
        """See `Device.largest`."""
        return self.to_host(matrix.max(axis=1))

    @_there
    def rows(self, array: DeviceArray, places: Array) -> Array:
        """See `Device.rows`."""
        return self.to_host(array[self.to_device(places)])

    @_there
    def multiply(self, a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
        """See `Device.multiply`."""
        self.cupy.matmul(a, b.T, out=out)

    @_there
    def max_blocks(self, kernel: Kernel, n_threads: int, shared_bytes: int = 0) -> int:
        """See `Device.max_blocks`."""
        key = kernel, n_threads, shared_bytes
        if key not in self._resident_blocks:
            function = _ready(kernel, shared_bytes).kernel.ptr
            of_each = self.cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
                function, n_threads, shared_bytes
            )
            self._resident_blocks[key] = max(1, of_each) * self._n_multiprocessors
        return self._resident_blocks[key]

    @_there
    def launch(
        self,
        kernel: Kernel,
        n_blocks: int,
        n_threads: int,
        arguments: tuple[Any, ...],
        shared_bytes: int = 0,
    ) -> None:
        """See `Device.launch`."""
        function = _ready(kernel, shared_bytes)
        function((n_blocks,), (n_threads,), arguments, shared_mem=shared_bytes)


def _ready(kernel: Kernel, shared_bytes: int) -> Any:
    """Kernel that may use so much shared memory on the current device."""
    function = _function(*kernel)
    if shared_bytes > _SHARED_UNASKED:
        function.max_dynamic_shared_size_bytes = shared_bytes
    return function


@cache
def _function(file: str, options: tuple[str, ...], name: str) -> Any:
    """Kernel, which CuPy compiles on its first launch on a device and keeps on disk."""
    return _module(file, options).get_function(name)


@cache
def _module(file: str, options: tuple[str, ...]) -> Any:
    import cupy

    return cupy.RawModule(code=source(file), options=OPTIONS + options)
