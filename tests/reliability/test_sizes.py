"""More pixels than 31 bits count, and sums past 2**53, in memory that is hardly there.

An array may consist of the same pages of memory over and over, or of pages of zeros that
are none until something is written to them; both are ordinary to whoever reads them.
"""

import ctypes
import mmap
import os
import sys
from fractions import Fraction

import numpy as np
import pytest
from numba import types

import fastseg
from fastseg.kernels.cpu import CpuBackend, bounded, count, lloyd, sorted_points
from fastseg.kernels.cpu.jit import array, compiled
from fastseg.solver import lloyd as iterate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's memory maps")
NO_RESERVE = 0x4000  # MAP_NORESERVE: the memory is not even promised


def vast(shape, dtype):
    """Zeros that take memory only where something is written."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    return np.frombuffer(mmap.mmap(-1, size, flags=flags), dtype).reshape(shape)


def repeated(block, times):
    """Rows of a block over and over, all in the memory of one block."""
    size = block.nbytes
    assert size % mmap.PAGESIZE == 0
    room = mmap.mmap(-1, times * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
    whole = np.frombuffer(room, block.dtype)
    memory = os.memfd_create("block")
    os.ftruncate(memory, size)
    with mmap.mmap(memory, size) as pages:
        pages[:] = block.tobytes()
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    for i in range(times):
        at, fixed = whole.ctypes.data + i * size, 0x10
        got = library.mmap(at, size, mmap.PROT_READ, mmap.MAP_SHARED | fixed, memory, 0)
        assert got == at, os.strerror(ctypes.get_errno())
    os.close(memory)
    whole.flags.writeable = False
    return whole.reshape(times * len(block), *block.shape[1:])


# Element numbers around which kernels are called, and points of a call.
BORDERS = [2**31, 2**32]
N = 3000


class Far:
    """Points (N, d) around a border of a vast array, and the same ones at its beginning."""

    def __init__(self, border, dtype, d, seed=0):
        rng = np.random.default_rng(seed)
        # A chunk starts at a multiple of every tile.
        self.first = (border // d) // 1024 * 1024 - 1024
        self.length = self.first + N
        self.here = rng.integers(0, 200, (N, d)).astype(dtype)
        self.there = vast((self.length, d), dtype)
        self.there[self.first :] = self.here
        self.weights = rng.random(N)
        self.far_weights = self.vast_of(self.weights)
        self.centers = rng.random((5, d)) * 200

    def vast_of(self, values):
        """Values at the points' places."""
        there = vast((self.length,), values.dtype)
        there[self.first :] = values
        return there

    @property
    def places(self):
        return (self.here, self.weights, 0), (self.there, self.far_weights, self.first)


POINTS = [("uint8", 1), ("uint8", 3), ("float32", 3), ("float64", 2), ("float64", 20)]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("dtype", "d"), POINTS)
class TestPoints:
    @pytest.mark.parametrize("weighted", [False, True])
    def test_sums(self, border, dtype, d, weighted):
        far = Far(border, dtype, d)
        kernel = lloyd.kernel_for("accumulate", dtype, d)
        found = []
        for points, weights, first in far.places:
            sums, totals = np.empty_like(far.centers), np.empty(len(far.centers))
            inertia = kernel(
                points, weights if weighted else np.empty(0), far.centers, first, first + N,
                unroll(d), True, sums, totals,
            )  # fmt: skip
            found.append((sums.tolist(), totals.tolist(), inertia))
        assert found[0] == found[1]
        assert sum(found[0][1]) == pytest.approx(far.weights.sum() if weighted else N)

    def test_labels(self, border, dtype, d):
        far = Far(border, dtype, d)
        kernel = lloyd.kernel_for("assign", dtype, d, "uint8")
        found = []
        for points, _, first in far.places:
            labels, distances = vast((first + N,), np.uint8), vast((first + N,), np.float64)
            kernel(points, far.centers, first, first + N, unroll(d), 1, labels, distances)
            found.append((labels[first:].tolist(), distances[first:].tolist()))
        assert found[0] == found[1]
        assert set(found[0][0]) <= {1, 2, 3, 4, 5}

    def test_candidates_of_starts(self, border, dtype, d):
        far = Far(border, dtype, d)
        kernel = lloyd.kernel_for("potentials", dtype, d)
        found = []
        for points, weights, first in far.places:
            closest, totals = vast((first + N,), np.float64), np.empty(3)
            closest[first:] = np.inf
            kernel(
                points, weights, far.centers[:2], far.centers[2:], first, first + N, unroll(d),
                closest, totals,
            )  # fmt: skip
            found.append((closest[first:].tolist(), totals.tolist()))
        assert found[0] == found[1]
        assert np.isfinite(found[0][1]).all()


def unroll(d):
    return (0,) * (d if d <= lloyd.MAX_FEATURES else 0)


@pytest.mark.parametrize("border", BORDERS)
def test_bounds(border):
    far = Far(border, "float64", 20)
    kernel = bounded.bounded_kernel("float64")
    k, found = len(far.centers), []
    for points, weights, first in far.places:
        known = [vast((first + N,), kind) for kind in (np.uint32, np.float32, np.float32)]
        known[1][first:] = np.inf
        results = []
        for _ in range(2):  # from nothing, and from the bounds of the first pass
            sums, totals, still = np.empty_like(far.centers), np.empty(k), np.zeros(k, np.float32)
            inertia = kernel(
                points, weights, far.centers, first, first + N, still, still, *known, True, sums,
                totals,
            )  # fmt: skip
            results.append((sums.tolist(), totals.tolist(), inertia, known[0][first:].tolist()))
        assert results[0] == results[1]
        found.append(results)
    assert found[0] == found[1]


@pytest.mark.parametrize("border", BORDERS)
class TestCounting:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_bins(self, border, dtype):
        far = Far(border, dtype, 1)
        codes = array(dtype)
        count_bins = compiled(
            count.count_bins, codes, types.intp, types.intp, array("uint32", 2, written=True)
        )
        label_bins = compiled(
            count.label_bins, codes, types.intp, types.intp, array("uint8"),
            array("uint8", written=True),
        )  # fmt: skip
        bins = np.zeros((4, 2 ** (8 * np.dtype(dtype).itemsize)), np.uint32)
        flat = far.there.reshape(-1)
        count_bins(flat, far.first, far.first + N, bins)
        expected = np.bincount(far.here[:, 0], minlength=bins.shape[1])
        np.testing.assert_array_equal(bins.sum(axis=0), expected)
        table = np.random.default_rng(1).integers(0, 256, bins.shape[1]).astype(np.uint8)
        labels = vast((far.length,), np.uint8)
        label_bins(flat, far.first, far.first + N, table, labels)
        np.testing.assert_array_equal(labels[far.first :], table[far.here[:, 0]])

    def test_colours(self, border):
        far = Far(border, "uint8", 3)
        colors = array("uint8")
        count_colors = compiled(
            count.count_colors, colors, types.intp, types.intp, array("uint8", written=True),
            array("uint32", written=True),
        )  # fmt: skip
        label_colors = compiled(
            count.label_colors, colors, types.intp, types.intp, array("uint8"),
            array("uint8", written=True),
        )  # fmt: skip
        tiles = far.first // count.TILE, (far.first + N) // count.TILE
        n = (tiles[1] - tiles[0]) * count.TILE
        codes = far.here[:n].astype(np.int64) @ [65536, 256, 1]
        table, carries = np.zeros(2**24, np.uint8), np.empty(n, np.uint32)
        assert count_colors(far.there.reshape(-1), *tiles, table, carries) == 0
        np.testing.assert_array_equal(table, np.bincount(codes, minlength=2**24))
        looked_up = np.random.default_rng(1).integers(0, 256, 2**24).astype(np.uint8)
        labels = vast((far.length,), np.uint8)
        label_colors(far.there.reshape(-1), *tiles, looked_up, labels)
        np.testing.assert_array_equal(labels[far.first :][:n], looked_up[codes])

    def test_values_in_order(self, border):
        """Zeros, and ones at the end: where one centre's points end and the next one's begin."""
        n, ones = border + N, N // 2
        values = vast((n,), np.float64)
        values[n - ones :] = 1.0
        find = compiled(
            sorted_points.find_bounds, array("float64"), array("float64"), array("int64"),
            array("int64", written=True),
        )  # fmt: skip
        bounds = np.empty(3, np.int64)
        find(values, np.array([0.1, 0.8]), np.arange(2), bounds)
        assert bounds.tolist() == [0, n - ones, n]
        step = sorted_points.STEP
        sum_up = compiled(
            sorted_points.step_sums, array("float64"), array("float64"), types.float64,
            types.intp, types.intp, array("float64", 2, written=True),
        )  # fmt: skip
        sums = vast((n // step + 1, 6), np.float64)
        first = (n - N) // step * step
        sum_up(values, np.empty(0), 0.0, first, n, sums)
        assert sums[first // step :, 0].sum() == n - first
        assert sums[first // step :, 2].sum() == ones


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint8", 3), ("uint16", 1)])
def test_two_valued_images(dtype, channels, times, figure):
    """Counts, centres and labels to the pixel, also where counts pass 2**31."""
    n = times(10_000_001, 2_200_000_000)
    rng = np.random.default_rng(0)
    block = np.where(rng.random((2**22, 1)) < 0.97, 200, 30).astype(dtype).repeat(channels, axis=1)
    whole, rest = divmod(n, len(block))
    image = repeated(block, whole + 1)[: whole * len(block) + rest]
    found = fastseg.segment(image.reshape(1, n, channels), 2, channel_axis=-1, random_state=0)
    bright = np.count_nonzero(block[:, 0] == 200) * whole + np.count_nonzero(block[:rest, 0] == 200)
    assert found.counts.tolist() == [n - bright, bright]
    assert found.centers.tolist() == [[30.0] * channels, [200.0] * channels]
    assert found.inertia == 0.0
    labels = found.labels.reshape(-1)
    for start in range(0, n, len(block)):
        part = labels[start : start + len(block)]
        np.testing.assert_array_equal(part, block[: len(part), 0] == 200)
    figure(
        f"two-valued images of 2,200,000,000 pixels, {dtype} of {channels} channels",
        f"counts {n - bright:,} and {bright:,}, centres and labels exact",
    )


@pytest.mark.parametrize("heavy", [False, True], ids=["below 2**53", "past 2**53"])
def test_weighted_points(heavy, times, figure):
    """Sums of a billion weighted points: exact below 2**53, and the same bits on all threads."""
    rng = np.random.default_rng(1)
    block = rng.integers(0, 256, (2**20, 3)).astype(np.uint8)
    weights = rng.integers(1, 2**31 if heavy else 100, 2**20).astype(np.float64)
    n_blocks = times(3, 954)  # of 2**20 points
    points, all_weights = repeated(block, n_blocks), repeated(weights, n_blocks)
    start = np.array([[40.0, 40, 40], [130, 130, 130], [220, 210, 200]])
    runs = []
    for n_threads in (1, 2, 5):
        there = CpuBackend().put(points, all_weights, n_threads=n_threads)
        run = iterate(there, start, max_iter=2)
        runs.append((run.centers.tobytes(), run.partials.weights.tobytes(), run.inertia))
    assert runs[0] == runs[1] == runs[2]
    partials = there.accumulate(start)
    nearest = ((block[:, None].astype(np.int64) - start.astype(np.int64)) ** 2).sum(axis=2)
    labels = nearest.argmin(axis=1)
    worst = 0.0
    for j in range(3):
        w, x = weights[labels == j].astype(np.int64), block[labels == j].astype(np.int64)
        exact = [n_blocks * int(total) for total in (w.sum(), *(w @ x))]
        ours = [partials.weights[j], *partials.sums[j]]
        off = [abs(Fraction(a) - b) / b for a, b in zip(ours, exact, strict=True)]
        worst = max(worst, float(max(off)))
    assert worst < 1e-13 if heavy else worst == 0.0
    total = n_blocks * int(weights.sum())
    figure(
        f"{n_blocks * 2**20:,} weighted points, whose weights add up to {total:.2g}",
        "sums exact, the same bits on 1, 2 and 5 threads" if not heavy else
        f"sums right to {worst:.0e}, the same bits on 1, 2 and 5 threads",
    )  # fmt: skip
