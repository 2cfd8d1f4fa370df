"""A device for the CUDA backend made of g++ and main memory.

It runs the kernels' own sources (see emulated_cuda.h), so that the whole backend can be
tested where there is no GPU. Memory comes filled with garbage and between guards, which
are looked at after every launch.
"""

import ctypes
import hashlib
import mmap
import os
import re
import shutil
import subprocess
import tempfile
import weakref
from functools import cache
from pathlib import Path

import numpy as np

from fastseg.kernels.cuda.device import OutOfMemory
from fastseg.kernels.cuda.source import source

COMPILER = shutil.which("g++")
HEADER = Path(__file__).with_name("emulated_cuda.h")
GUARD = 64
FLAGS = ["-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing"]
# A device stops at a vector that is not aligned; so does this, where the processor would not.
FLAGS += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]


def folder():
    """Where compiled kernels are kept, so that the next run of the tests finds them."""
    path = Path(tempfile.gettempdir()) / f"fastseg-emulated-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def kernel_names(text, options):
    """Names of the kernels in a source that is compiled with these options."""
    if "-DINTEGER=0" in options:
        text = re.sub(r"^#if INTEGER$.*?^#endif$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"__global__ void (?:__launch_bounds__\([\w, ]+\) )?(\w+)\(", text)


@cache
def library(name, options):
    """Kernels of a file, compiled for these macros."""
    text = f'#include "{HEADER}"\n{source(name)}\n' + "".join(
        f'extern "C" const char* launch_{kernel}(unsigned grid, unsigned block, void** values,'
        f" const size_t* sizes, size_t shared_bytes) {{\n"
        f"    return emulator::launch({kernel}, grid, block, values, sizes, shared_bytes);\n}}\n"
        for kernel in kernel_names(source(name), options)
    )
    key = hashlib.sha256(repr((text, HEADER.read_text(), options, FLAGS)).encode()).hexdigest()
    built = folder() / f"{key[:24]}.so"
    if not built.exists():
        part = built.with_suffix(f".{os.getpid()}")
        macros = [option for option in options if option.startswith("-D")]
        command = [COMPILER, *FLAGS, *macros, "-x", "c++", "-", "-o", str(part)]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        part.replace(built)
    return ctypes.CDLL(str(built))


class DeviceArray(np.ndarray):
    """Main memory that plays the device's: NumPy's functions do not take it."""

    def __array_function__(self, function, types, arguments, options):
        raise TypeError(f"{function.__name__} of NumPy was called on an array of a device")

    def __array_ufunc__(self, function, method, *arguments, **options):
        raise TypeError(f"{function.__name__} of NumPy was called on an array of a device")

    def __array__(self, dtype=None, copy=None):
        raise TypeError("an array of a device is not copied to the host unasked")


def memory(array):
    """The memory of a device array, for the device itself."""
    return array.view(np.ndarray)


def unowned(array):
    """Gives an array at the same address, which does not keep the memory alive."""
    address, shape, dtype = array.ctypes.data, array.shape, array.dtype
    block = ctypes.c_uint8 * array.nbytes
    return lambda: np.frombuffer(block.from_address(address), dtype).reshape(shape)


def flush_memory(n_bytes):
    """Memory (uint8) of garbage with pages on both sides that end the process that touches them.

    An array starts where a vector of 16 bytes may, so that up to 15 bytes lie behind it.
    """
    page = mmap.PAGESIZE
    n_pages = -(-n_bytes // page)
    whole = mmap.mmap(-1, (n_pages + 2) * page)
    memory = np.frombuffer(whole, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    for first in (0, n_pages + 1):
        at = ctypes.c_void_p(memory.ctypes.data + first * page)
        assert libc.mprotect(at, ctypes.c_size_t(page), 0) == 0
    end = (n_pages + 1) * page
    start = end - -(-n_bytes // 16) * 16
    memory[page:end] = 0xA5
    return memory[start : start + n_bytes]


class Stream:
    """Operations in order. A lazy one puts them off until somebody waits for them."""

    def __init__(self, lazy):
        self.lazy = lazy
        self.queue = []
        self.n_done = 0

    def put(self, operation):
        self.queue.append(operation)
        event = (self, self.n_done + len(self.queue))
        if not self.lazy:
            run(event)
        return event


def run(event):
    stream, number = event
    while stream.n_done < number:
        stream.n_done += 1
        stream.queue.pop(0)()


class EmulatedDevice:
    """See `fastseg.kernels.cuda.device.Device`.

    With ``lazy`` "copies" the copies between host and device are as late as events allow,
    with "work" the kernels are, with "both" all of them: what does not wait as it must
    then computes on garbage. Pinned memory goes to a pool as soon as nobody refers to it.
    """

    name = "emulated"
    max_shared_bytes = 96 * 2**10
    exact_float32 = True

    def __init__(self, memory=2**33, lazy="copies"):
        self.memory = memory
        self.work = Stream(lazy in ("work", "both"))
        self.incoming, self.outgoing = (Stream(lazy in ("copies", "both")) for _ in range(2))
        self.pool = []
        self.used = 0
        self.held = 0  # what was used at most, as a pool holds it
        self.guarded = []
        self.kept = []  # memory goes back in the order of the work, as in CuPy's pool
        self.launches = []
        self.sent = 0

    def free_memory(self):
        return self.memory - self.used

    def held_memory(self):
        return self.held

    def give_back(self, held):
        if self.held > held:
            self.held = self.used

    def owns(self, array):
        return isinstance(array, DeviceArray)

    def wrap(self, array):
        return array

    def address(self, array):
        return array.__array_interface__["data"][0]

    def empty(self, shape, dtype):
        dtype = np.dtype(dtype)
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        if n_bytes > self.free_memory():
            run(self.mark())
            self.kept.clear()
        if n_bytes > self.free_memory():
            raise OutOfMemory(f"{n_bytes} bytes")
        whole = np.full(n_bytes + 3 * GUARD, 0xA5, np.uint8)
        start = GUARD + -whole.ctypes.data % GUARD
        self.used += n_bytes
        self.held = max(self.held, self.used)
        weakref.finalize(whole, self._freed, n_bytes)
        if self.work.lazy:
            self.kept = [*self.kept, whole] if self.work.queue else [whole]
        self.guarded.append((weakref.ref(whole), start, n_bytes))
        return whole[start : start + n_bytes].view(dtype).reshape(shape).view(DeviceArray)

    def _freed(self, n_bytes):
        self.used -= n_bytes

    def full(self, shape, dtype, value):
        array = self.empty(shape, dtype)
        self.work.put(lambda: memory(array).fill(value))
        return array

    def copy(self, source, target):
        self.work.put(lambda: np.copyto(memory(target), memory(source), casting="unsafe"))

    def pinned(self, n_bytes):
        fits = [i for i, block in enumerate(self.pool) if len(block) == n_bytes]
        block = self.pool.pop(fits[0]) if fits else (ctypes.c_uint8 * n_bytes)()
        array = np.frombuffer(block, np.uint8)
        weakref.finalize(array, self.pool.append, block)
        return array

    def is_pinned(self, array):
        return False

    def to_device(self, array):
        target = self.empty(array.shape, array.dtype)
        values = array.copy()
        self.work.put(lambda: np.copyto(memory(target), values))
        return target

    def to_host(self, array):
        run(self.mark())
        return memory(array).copy()

    def send(self, pinned, target, after):
        assert isinstance(target, DeviceArray)
        self.sent += pinned.nbytes
        if after is not None:
            self.incoming.put(lambda: run(after))
        source = unowned(pinned)
        return self.incoming.put(lambda: np.copyto(memory(target), source()))

    def fetch(self, array, pinned, after):
        self.outgoing.put(lambda: run(after))
        target = unowned(pinned)
        return self.outgoing.put(lambda: np.copyto(target(), memory(array)))

    def mark(self):
        return self.work.put(lambda: None)

    def wait(self, event):
        self.work.put(lambda: run(event))

    def synchronize(self, event):
        run(event)

    def extent(self, array):
        values = self.to_host(array).astype(np.float64)
        return np.stack([values.min(axis=0), values.max(axis=0)], axis=1)

    def largest(self, matrix):
        return self.to_host(matrix).max(axis=1)

    def rows(self, array, places):
        return self.to_host(array)[places]

    def max_blocks(self, kernel, n_threads, shared_bytes=0):
        assert shared_bytes <= self.max_shared_bytes, kernel
        return 16

    def multiply(self, a, b, out):
        def product():
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(memory(a), memory(b).T, out=memory(out))

        self.work.put(product)

    def launch(self, kernel, n_blocks, n_threads, arguments, shared_bytes=0):
        assert n_blocks > 0, kernel
        assert shared_bytes <= self.max_shared_bytes, kernel
        self.launches.append(kernel[2])
        arguments = [
            a if isinstance(a, (np.ndarray, np.generic)) else np.int64(a) for a in arguments
        ]
        self.work.put(lambda: self._run(kernel, n_blocks, n_threads, arguments, shared_bytes))

    def _run(self, kernel, n_blocks, n_threads, arguments, shared_bytes):
        file, options, name = kernel
        function = getattr(library(file, options), f"launch_{name}")
        function.restype = ctypes.c_char_p
        values = []
        for argument in arguments:
            if isinstance(argument, DeviceArray):
                values.append(np.array([self.address(argument)], np.uint64))
            else:
                assert not isinstance(argument, np.ndarray) or argument.dtype.kind == "V", name
                values.append(np.atleast_1d(argument))
        pointers = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
        sizes = (ctypes.c_size_t * len(values))(*[value.nbytes for value in values])
        error = function(n_blocks, n_threads, pointers, sizes, ctypes.c_size_t(shared_bytes))
        assert error is None, f"{name}: {error.decode()}"
        self._check_guards(name)

    def _check_guards(self, name):
        alive = []
        for reference, start, n_bytes in self.guarded:
            whole = reference()
            if whole is not None:
                around = [whole[:start], whole[start + n_bytes :]]
                assert all((part == 0xA5).all() for part in around), f"{name} wrote out of bounds"
                alive.append((reference, start, n_bytes))
        self.guarded = alive
