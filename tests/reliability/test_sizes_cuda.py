"""The CUDA kernels on pixels beyond 2**31 and 2**32, in memory that is hardly there.

They run on the CPU; those of many channels always begin with their first point, and are
left out.
"""

import sys

import numpy as np
import pytest
from cuda_backends import emulated, needs_compiler
from emulated_device import DeviceArray
from test_sizes import BORDERS, Far, N, vast

from fastseg.kernels import reference
from fastseg.kernels.cuda.centers import ManyCenters, few_centers
from fastseg.kernels.cuda.device import NULL
from fastseg.kernels.cuda.points import GROUP, compiled_for
from fastseg.kernels.cuda.source import defines

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's memory maps"),
    needs_compiler,
    pytest.mark.parametrize("border", BORDERS),
]
PIECE = 1024


@pytest.fixture(scope="module")
def device():
    return emulated(lazy="")[1]


def there(array):
    """An array as the device's own."""
    return array.view(DeviceArray)


def on_host(array):
    return array.view(np.ndarray)


@pytest.mark.parametrize("d", [1, 3])
class TestPoints:
    def test_labels(self, device, border, d):
        far = Far(border, "uint8", d)
        labels, distances = vast((far.length,), np.uint8), vast((far.length,), np.float64)
        many = ManyCenters(device, far.centers, np.dtype("uint8"))
        device.launch(
            ("assign.cu", compiled_for(np.dtype("uint8"), d), "assign_uint8"), 2, 256,
            (
                there(far.there), many.argument, np.int64(far.first), np.int64(far.length),
                np.int32(d), np.int32(1), there(labels), there(distances),
            ),
        )  # fmt: skip
        nearest, away = reference.assign(far.here, far.centers)
        np.testing.assert_array_equal(labels[far.first :], nearest + 1)
        np.testing.assert_array_equal(distances[far.first :], away)
        assert not labels[: far.first][-PIECE:].any()

    @pytest.mark.parametrize(
        ("file", "kernel", "n_threads", "shared"),
        [
            ("accumulate.cu", "accumulate_int32_128", 128, 4 * 128),
            ("accumulate.cu", "accumulate_float64_128", 128, 8 * 128),
            ("accumulate_many.cu", "accumulate_shared", 256, 4),
            ("accumulate_many.cu", "accumulate_owned", 256, 0),
        ],
    )
    def test_sums(self, device, border, d, file, kernel, n_threads, shared):
        """The points of a chunk begin at its start; pieces are numbered from the first of all."""
        far = Far(border, "uint8", d)
        n_sums = far.centers.size + len(far.centers)
        n_pieces = -(-far.length // PIECE)
        few = few_centers(far.centers, np.dtype("uint8"))
        many = ManyCenters(device, far.centers, np.dtype("uint8"))
        weights = NULL if kernel in ("accumulate_int32_128", "accumulate_shared") else far.weights
        rows = vast((n_pieces, n_sums + 1), np.float64)
        tickets = vast((n_pieces // GROUP + 1,), np.uint32)
        sums = vast((n_pieces // GROUP + 1, n_sums + 1), np.float64)
        # The group's pieces before the first one are taken to be done.
        first = far.first // PIECE
        tickets[first // GROUP] = first % GROUP
        device.launch(
            (file, compiled_for(np.dtype("uint8"), d), kernel), 2, n_threads,
            (
                there(far.there[far.first :]), weights if weights is NULL else there(weights),
                few if file == "accumulate.cu" else many.argument,
                np.int64(far.first), np.int64(far.length), np.int64(far.length), np.int64(PIECE),
                np.int32(d), there(rows), there(tickets), there(sums),
            ),
            shared * n_sums,
        )  # fmt: skip
        weights = None if weights is NULL else far.weights
        expected = reference.accumulate(far.here, weights, far.centers)
        table = sums[first // GROUP :].sum(axis=0)
        np.testing.assert_allclose(
            table[:-1].reshape(-1, d + 1),
            np.column_stack([expected.sums, expected.weights]),
            rtol=1e-12 if weights is not None else 0,
        )
        assert table[-1] == pytest.approx(expected.inertia)
        assert not tickets[first // GROUP :].any()

    def test_candidates_of_starts(self, device, border, d):
        far = Far(border, "uint8", d)
        closest = vast((far.length,), np.float64)
        closest[far.first :] = np.inf
        totals = vast((-(-far.length // PIECE), len(far.centers)), np.float64)
        device.launch(
            ("assign.cu", compiled_for(np.dtype("uint8"), d), "potentials"), 2, 256,
            (
                there(far.there), there(far.far_weights), device.to_device(far.centers),
                np.int64(far.first), np.int64(far.length), np.int64(PIECE),
                np.int32(len(far.centers)), np.int32(d), there(closest), np.int32(0),
                there(totals),
            ),
        )  # fmt: skip
        expected = reference.potentials(far.here, far.weights, np.full(N, np.inf), far.centers)
        np.testing.assert_allclose(totals[far.first // PIECE :].sum(axis=0), expected, rtol=1e-12)


class TestCounting:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_bins(self, device, border, dtype):
        far, n_bins = Far(border, dtype, 1), 2 ** (8 * np.dtype(dtype).itemsize)
        bins = device.full((n_bins,), np.uint64, 0)
        device.launch(
            ("count.cu", defines(CODE=dtype), "count_bins"), 2, 256,
            (
                there(far.there), np.int64(far.first), np.int64(far.length), np.uint32(0), bins,
            ),
        )  # fmt: skip
        expected = np.bincount(far.here[:, 0], minlength=n_bins)
        np.testing.assert_array_equal(on_host(bins), expected)
        table = np.random.default_rng(1).integers(0, 256, n_bins).astype(np.uint8)
        labels = vast((far.length,), np.uint8)
        device.launch(
            ("look_up.cu", defines(CODE=dtype, LABEL="uint8"), "label_bins"), 2, 256,
            (
                there(far.there), np.int64(far.first), np.int64(far.length),
                device.to_device(table), there(labels),
            ),
        )  # fmt: skip
        np.testing.assert_array_equal(labels[far.first :], table[far.here[:, 0]])

    def test_colours(self, device, border):
        far = Far(border, "uint8", 3)
        table = device.full((2**24,), np.uint32, 0)
        device.launch(
            ("count.cu", defines(CODE="uint16"), "count_colors"), 2, 256,
            (there(far.there), np.int64(far.first), np.int64(far.length), table),
        )  # fmt: skip
        codes = far.here.astype(np.int64) @ [65536, 256, 1]
        np.testing.assert_array_equal(on_host(table), np.bincount(codes, minlength=2**24))
        looked_up = np.random.default_rng(1).integers(0, 256, 2**24).astype(np.uint8)
        labels = vast((far.length,), np.uint8)
        device.launch(
            ("look_up.cu", defines(CODE="uint16", LABEL="uint8"), "label_colors"), 2, 256,
            (
                there(far.there), np.int64(far.first), np.int64(far.length),
                device.to_device(looked_up), there(labels),
            ),
        )  # fmt: skip
        np.testing.assert_array_equal(labels[far.first :], looked_up[codes])
