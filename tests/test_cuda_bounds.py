"""Where the CUDA kernels read and write: within their arrays, and far into large ones.

The kernels run on the CPU, see emulated_device.py. For reads out of bounds every array ends
at a page that ends the process, so they run in one of their own.
"""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_backends import needs_compiler
from emulated_device import DeviceArray, EmulatedDevice, flush_memory

from fastseg.kernels import reference
from fastseg.kernels.cuda import CudaBackend
from fastseg.kernels.cuda.centers import ManyCenters
from fastseg.kernels.cuda.points import GROUP, compiled_for
from fastseg.kernels.cuda.source import defines

pytestmark = [
    needs_compiler,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are protected by Linux"),
]

POINTS = [("uint8", 3), ("uint16", 1), ("int16", 5), ("float32", 3), ("float32", 16)]
POINTS += [("float64", 2), ("float32", 40)]


class FlushDevice(EmulatedDevice):
    """Device whose arrays all end at a page that nobody may touch."""

    def empty(self, shape, dtype):
        dtype = np.dtype(dtype)
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        if n_bytes == 0:
            return np.empty(shape, dtype).view(DeviceArray)
        return flush_memory(n_bytes).view(dtype).reshape(shape).view(DeviceArray)


def run_all():
    """Run every kernel on odd numbers of points."""
    device = FlushDevice()
    backend = CudaBackend(lambda: device)
    rng = np.random.default_rng(0)
    for dtype, d in POINTS:
        for n in (1, 2051):
            values = (rng.random((n, d)) * 200).astype(dtype)
            for weights in (None, rng.random(n)):
                for k in (1, 11, 90):
                    centers = rng.random((k, d)) * 200
                    points = backend.put(device.to_device(values), weights)
                    points.accumulate(centers)
                    points.assign(centers)
                    points.farthest(centers, 2)
                points.sampler().add(centers[0])
    for dtype, d in [("uint8", 3), ("uint8", 1), ("uint8", 2), ("uint16", 1)]:
        for n in (1, 17, 4099):
            pixels = rng.integers(0, 200, (n, d)).astype(dtype)
            counter = backend.counter(pixels.dtype, d)
            counter.add(device.to_device(pixels))
            values, _ = counter.distinct()
            labels = device.empty((n,), np.uint8)
            counter.look_up(device.to_device(pixels), np.zeros(len(values), np.uint8), labels)


def read_a_row_too_many():
    device = FlushDevice()
    few = device.to_device(np.ones((40, 3), np.float32))
    points = CudaBackend(lambda: device).put(few)
    points.feed.n_rows, points.feed.resident[0] = 41, Longer(few)
    points.assign(np.eye(3))


def load_what_is_not_aligned():
    device = EmulatedDevice()
    many = device.to_device(np.ones((4000, 3), np.float32))
    points = CudaBackend(lambda: device).put(many)
    points.feed.n_rows, points.feed.resident[0] = 3999, many[1:]
    points.assign(np.eye(3))


class Longer:
    """Claims to be a row longer than it is."""

    def __init__(self, array):
        self.array, self.flags = array, array.flags

    def __getitem__(self, rows):
        return self.array


def run(name):
    """Run a function of this module in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", f"import test_cuda_bounds as t; t.{name}(); print('through')"],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip


def test_no_kernel_reads_or_writes_out_of_bounds():
    done = run("run_all")
    assert (done.returncode, done.stdout) == (0, "through\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "end"),
    [("read_a_row_too_many", signal.SIGSEGV), ("load_what_is_not_aligned", signal.SIGILL)],
)
def test_the_process_ends_where_a_device_would_stop(name, end):
    done = run(name)
    assert (done.returncode, done.stdout) == (-end, ""), done.stderr


def sparse(shape, dtype):
    """Zeros that take no memory until they are written."""
    return np.zeros(shape, dtype).view(DeviceArray)


class TestFarIntoLargeArrays:
    """Kernels on the last pixels of arrays whose elements 32 bits cannot number."""

    @pytest.mark.parametrize(("d", "dtype"), [(3, "uint8"), (20, "float32")])
    def test_labels(self, d, dtype):
        n = 2**32 // d + 77
        device, points = EmulatedDevice(), sparse((n, d), dtype)
        start = n // 16 * 16 - 64
        here = np.asarray(memory_of(points)[start:])
        here[:] = np.random.default_rng(0).integers(0, 200, here.shape)
        centers = np.random.default_rng(1).uniform(0, 200, (5, d))
        labels, distances = sparse(n, np.int32), sparse(n, np.float64)
        device.launch(
            ("assign.cu", compiled_for(np.dtype(dtype), d), "assign_int32"), 2, 256,
            (
                points, ManyCenters(device, centers, np.dtype(dtype)).argument, np.int64(start),
                np.int64(n), np.int32(d), np.int32(0), labels, distances,
            ),
        )  # fmt: skip
        expected, squared = reference.assign(here, centers)
        np.testing.assert_array_equal(memory_of(labels)[start:], expected)
        np.testing.assert_array_equal(memory_of(distances)[start:], squared)

    def test_counts_and_labels_of_colours(self):
        n = 2**32 // 3 + 77
        device, pixels = EmulatedDevice(), sparse((n, 3), np.uint8)
        start = n // 16 * 16 - 64
        here = memory_of(pixels)[start:]
        here[:] = np.random.default_rng(0).integers(0, 9, here.shape)
        table = device.full((2**24,), np.uint32, 0)
        device.launch(
            ("count.cu", defines(CODE="uint16"), "count_colors"), 2, 256,
            (pixels, np.int64(start), np.int64(n), table),
        )  # fmt: skip
        codes = here.astype(np.int64) @ [2**16, 2**8, 1]
        np.testing.assert_array_equal(memory_of(table), np.bincount(codes, minlength=2**24))
        labels, names = sparse(n, np.uint8), sparse(2**24, np.uint8)
        memory_of(names)[codes] = here[:, 2] + 1
        device.launch(
            ("look_up.cu", defines(CODE="uint16", LABEL="uint8"), "label_colors"), 2, 256,
            (pixels, np.int64(start), np.int64(n), names, labels),
        )  # fmt: skip
        np.testing.assert_array_equal(memory_of(labels)[start:], here[:, 2] + 1)

    def test_sums_of_the_last_chunk(self):
        """Chunks are numbered by their place in all points."""
        piece, n = 2**18, 2**33 + 1000
        device = EmulatedDevice()
        values = np.random.default_rng(0).integers(0, 200, (1000, 1)).astype(np.uint8)
        centers, d = np.array([[50.0], [150.0]]), 1
        n_pieces = -(-n // piece)
        n_groups = -(-n_pieces // GROUP)
        rows, sums = sparse((n_pieces, 5), np.float64), sparse((n_groups, 5), np.float64)
        tickets = sparse(n_groups, np.uint32)
        memory_of(tickets)[-1] = n_pieces - (n_groups - 1) * GROUP - 1  # the others were before
        device.launch(
            ("accumulate_many.cu", compiled_for(values.dtype, d), "accumulate_owned"), 2, 256,
            (
                device.to_device(values), np.uint64(0),
                ManyCenters(device, centers, values.dtype).argument,
                np.int64(2**33), np.int64(n), np.int64(n), np.int64(piece), np.int32(d), rows,
                tickets, sums,
            ),
        )  # fmt: skip
        expected = reference.accumulate(values, None, centers)
        table = memory_of(sums)[-1, :4].reshape(2, 2)
        np.testing.assert_array_equal(table[:, :1], expected.sums)
        np.testing.assert_array_equal(table[:, 1], expected.weights)
        assert not memory_of(sums)[:-1].any()


def memory_of(array):
    return array.view(np.ndarray)
