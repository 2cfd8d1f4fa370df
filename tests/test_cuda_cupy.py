"""What the CUDA backend asks of CuPy, of one that is made up: see test_cuda_device.py too."""

import contextlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from fastseg.kernels.cuda import cupy_device
from fastseg.kernels.cuda.cupy_device import CupyDevice
from fastseg.kernels.cuda.device import OutOfMemory


class CupyArray:
    __cuda_array_interface__ = None

    def __init__(self, *origin):
        self.origin = origin
        self.device = FakeDevice()

    def __dlpack__(self):
        pytest.fail("CuPy's own arrays are taken as they are")


class Matrix(np.ndarray):
    """Array of a device whose reductions give that many results, and which is copied by get."""

    n_results = ()

    def min(self, axis=None):
        Matrix.n_results += (self.shape[1 - axis],)
        return super().min(axis)

    def get(self):
        return np.array(self)


class FakeDevice:
    current = 0

    def __init__(self):
        self.id = FakeDevice.current

    def __enter__(self):
        self.before, FakeDevice.current = FakeDevice.current, self.id

    def __exit__(self, *error):
        FakeDevice.current = self.before


class Pool:
    """Memory pool that holds what was in use before."""

    def __init__(self):
        self.used, self.total = 0, 0

    def total_bytes(self):
        return self.total

    def free_bytes(self):
        return self.total - self.used

    def free_all_blocks(self):
        self.total = self.used


class RuntimeFault(RuntimeError):
    pass


@pytest.fixture
def cupy(monkeypatch):
    module = types.ModuleType("cupy")
    properties = {
        "name": b"Some GPU",
        "multiProcessorCount": 3,
        "sharedMemPerBlockOptin": 99 * 2**10,
    }
    module.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(
            getDeviceProperties=lambda number: properties,
            memGetInfo=lambda: (1000, 2000),
            CUDARuntimeError=RuntimeFault,
        ),
        Device=FakeDevice,
        Stream=lambda non_blocking: None,
    )
    pool = Pool()
    module.get_default_memory_pool = lambda: pool
    module.ndarray = CupyArray
    module.from_dlpack = lambda array: CupyArray("by DLPack", array)
    module.asarray = lambda array: CupyArray("by address", array)
    monkeypatch.setitem(sys.modules, "cupy", module)
    for name in cupy_device._OTHER_PRODUCTS:
        monkeypatch.delenv(name, raising=False)
    return module


def test_arrays_of_other_libraries_come_by_dlpack_where_they_can(cupy):
    device = CupyDevice()
    own = CupyArray()
    assert device.wrap(own) is own
    both = types.SimpleNamespace(__cuda_array_interface__={}, __dlpack__=None)
    assert device.wrap(both).origin == ("by DLPack", both)
    address = types.SimpleNamespace(__cuda_array_interface__={})
    assert device.wrap(address).origin == ("by address", address)


def test_products_are_asked_about_each_time(cupy, monkeypatch):
    device = CupyDevice()
    assert device.exact_float32
    asked = []
    cupy._core = types.SimpleNamespace(get_compute_type=lambda dtype: asked[-1])
    for number, exact in enumerate([True, True, True, False, True, True, False, False]):
        asked.append(number)
        assert device.exact_float32 == exact
    asked.append(4)
    for name in cupy_device._OTHER_PRODUCTS:
        with monkeypatch.context() as inside:
            inside.setenv(name, "1")
            assert not device.exact_float32
        assert device.exact_float32


def test_work_goes_to_the_device_of_the_points(cupy, monkeypatch):
    device = CupyDevice()
    used = []
    stream = types.SimpleNamespace(record=lambda: used.append(FakeDevice.current))
    cupy.cuda.get_current_stream = lambda: stream
    monkeypatch.setattr(FakeDevice, "current", 1)
    device.mark()
    assert used == [0]
    assert FakeDevice.current == 1


def test_arrays_of_another_device_are_refused(cupy, monkeypatch):
    device = CupyDevice()
    monkeypatch.setattr(FakeDevice, "current", 1)
    with pytest.raises(ValueError, match="on CUDA device 1, but work goes to device 0; use it"):
        device.wrap(CupyArray())


@pytest.mark.parametrize("kept", [0, 2**20])
def test_memory_beyond_a_little_goes_back_to_the_device(cupy, kept):
    device, pool = CupyDevice(), cupy.get_default_memory_pool()
    pool.total, pool.used = 5 * 2**30, 2**30  # the user's own arrays, past and present
    held = device.held_memory()
    pool.total += kept
    device.give_back(held)
    assert device.held_memory() == held + kept
    assert device.free_memory() == 1000 + pool.free_bytes()
    pool.total += 2**30
    device.give_back(held)
    assert device.held_memory() == pool.used


def test_no_page_locked_memory_is_out_of_memory(cupy):
    def none(n_bytes):
        raise RuntimeFault("cudaErrorMemoryAllocation: out of memory")

    cupy.cuda.alloc_pinned_memory = none
    with pytest.raises(OutOfMemory, match=r"2\.0 MiB of page-locked host memory cannot be had"):
        CupyDevice().pinned(2**21)


@pytest.mark.parametrize(("n", "d"), [(1, 1), (20_000, 3), (17_000, 1), (7, 9000)])
@pytest.mark.parametrize("order", "CF")
def test_the_range_is_found_by_many_blocks(cupy, monkeypatch, n, d, order):
    values = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32, order=order)
    found = CupyDevice().extent(values.view(Matrix))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.stack([values.min(0), values.max(0)], axis=1))
    monkeypatch.setattr(Matrix, "n_results", ())
    CupyDevice().extent(values.view(Matrix))
    if values.flags.c_contiguous and n > 10_000:
        # Many results at once, but for the rows that are left.
        assert sorted(Matrix.n_results) == [d, 2**14 // d * d]
    values[0, -1] = np.nan
    assert np.isnan(CupyDevice().extent(values.view(Matrix))[-1]).all()


@pytest.fixture
def kernels(cupy, monkeypatch):
    """Kernels that three blocks of a multiprocessor run, and what is asked of them."""
    asked = []

    class Kernel:
        kernel = types.SimpleNamespace(ptr=77)
        max_dynamic_shared_size_bytes = 48 * 2**10

        def __call__(self, grid, block, arguments, shared_mem):
            assert shared_mem <= self.max_dynamic_shared_size_bytes
            asked.append((grid, block, arguments, shared_mem))

    def occupancy(function, n_threads, shared_bytes):
        asked.append((function, n_threads, shared_bytes))
        return 5 if shared_bytes < 50_000 else 0

    cupy.cuda.driver = types.SimpleNamespace(occupancyMaxActiveBlocksPerMultiprocessor=occupancy)
    cupy.RawModule = lambda code, options: types.SimpleNamespace(get_function=lambda name: Kernel())
    with contextlib.ExitStack() as cleared:
        for made in (cupy_device._function, cupy_device._module):
            made.cache_clear()
            cleared.callback(made.cache_clear)
        yield asked


KERNEL = ("assign.cu", ("-DPOINT=uint8",), "assign_uint8")


def test_the_grid_is_what_the_device_runs_at_once(kernels):
    device = CupyDevice()
    for _ in range(2):
        assert device.max_blocks(KERNEL, 256) == 5 * 3
    assert device.max_blocks(KERNEL, 256, 60_000) == 3  # at least one on each
    assert kernels == [(77, 256, 0), (77, 256, 60_000)]  # each is asked about once


def test_more_shared_memory_is_asked_for(kernels):
    device = CupyDevice()
    assert device.max_shared_bytes == 98 * 2**10
    device.launch(KERNEL, 7, 256, (1, 2), 90_000)
    assert kernels == [((7,), (256,), (1, 2), 90_000)]


def test_no_file_beside_the_tests_hides_what_cupy_imports():
    """A script's folder, and those of the tests, come first on the path."""
    root = Path(__file__).parents[1]
    for folder in (root, root / "tests", root / "benchmarks", root / "tests" / "reliability"):
        names = {path.stem for path in folder.iterdir()}
        assert not names & {"cuda", "cupy", "cupyx", "cupy_backends", "nvidia", "torch", "triton"}
