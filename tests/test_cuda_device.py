"""What only a GPU can show: many blocks, real streams, and other people's arrays."""

import gc

import numpy as np
import pytest

import fastseg
from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cuda import CudaBackend, cupy_device, transfer
from fastseg.kernels.cuda.cupy_device import CupyDevice

pytestmark = pytest.mark.gpu

N = 3_000_017  # many pieces, groups and blocks, and an odd tail


def spread(dtype, d):
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, 30.0, (N, d))
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else values.round().astype(dtype)


@pytest.mark.parametrize("k", [2, 8, 50, 300])
@pytest.mark.parametrize(
    ("dtype", "d"),
    [("uint8", 3), ("uint16", 1), ("int16", 5), ("float32", 3), ("float64", 2), ("float32", 20)],
)
def test_many_blocks_give_the_sums_and_labels_of_the_cpu(dtype, d, k):
    values = spread(dtype, d)
    # Halves make exact ties with integers, and near ones in float32.
    centers = values[:: N // k][:k].astype(np.float64) + 0.5
    ours, theirs = CudaBackend().put(values), CpuBackend().put(values)
    found, expected = ours.accumulate(centers), theirs.accumulate(centers)
    np.testing.assert_array_equal(found.weights, expected.weights)
    if np.dtype(dtype).kind != "f":
        np.testing.assert_array_equal(found.sums, expected.sums)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-10)
    np.testing.assert_allclose(found.inertia, expected.inertia, rtol=1e-10)
    np.testing.assert_array_equal(ours.assign(centers), theirs.assign(centers))
    again = ours.accumulate(centers)
    assert again.sums.tobytes() == found.sums.tobytes()
    assert again.inertia == found.inertia


def test_many_channels_by_matrix_products():
    values = spread("float32", 64)[:200_003]
    centers = values[:500].astype(np.float64) + 1e-3
    ours, theirs = CudaBackend().put(values), CpuBackend().put(values)
    np.testing.assert_array_equal(ours.assign(centers), theirs.assign(centers))
    found, expected = ours.accumulate(centers), theirs.accumulate(centers)
    np.testing.assert_array_equal(found.weights, expected.weights)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-10)


def test_points_sent_anew_in_each_pass_give_the_same_bytes(monkeypatch):
    values = spread("float32", 3)
    centers = values[:8].astype(np.float64)
    whole = CudaBackend().put(values).accumulate(centers)
    monkeypatch.setattr(transfer, "PINNED_BYTES", 2**20)
    monkeypatch.setattr(CupyDevice, "free_memory", lambda self: 2**23)
    points = CudaBackend().put(values)
    assert points.feed.resident is None
    for _ in range(5):
        sent = points.accumulate(centers)
        assert sent.sums.tobytes() == whole.sums.tobytes()
        assert sent.inertia == whole.inertia
    np.testing.assert_array_equal(points.assign(centers), CpuBackend().put(values).assign(centers))


def test_a_photograph_gets_the_bits_of_the_cpu():
    image = np.clip(spread("float32", 3), 0, 255).astype(np.uint8)[: 1500 * 2000]
    image = image.reshape(1500, 2000, 3)
    ours, theirs = (
        fastseg.segment(image, 16, random_state=0, backend=name) for name in ("cuda", "cpu")
    )
    np.testing.assert_array_equal(ours.centers, theirs.centers)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_the_stream_and_the_arrays_of_the_caller():
    cupy = pytest.importorskip("cupy")
    values = spread("float32", 3)
    centers = values[:8].astype(np.float64)
    with cupy.cuda.Stream(non_blocking=True):
        # Still being computed when it is put: the same stream orders it.
        there = cupy.asarray(values) * 2
        labels = CudaBackend().put(there).assign(2 * centers)
        assert isinstance(labels, cupy.ndarray)
        found = cupy.asnumpy(labels)
    np.testing.assert_array_equal(found, CpuBackend().put(2 * values).assign(2 * centers))


def test_arrays_by_dlpack():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    values = spread("uint8", 3)
    centers = values[:8].astype(np.float64) + 0.5
    labels = CudaBackend().put(torch.as_tensor(values, device="cuda")).assign(centers)
    np.testing.assert_array_equal(labels.get(), CpuBackend().put(values).assign(centers))


@pytest.mark.filterwarnings("ignore::fastseg.ConvergenceWarning")
@pytest.mark.parametrize(("dtype", "d"), [("uint8", 3), ("float32", 3), ("float32", 1)])
def test_an_image_on_the_device_with_a_mask(dtype, d):
    cupy = pytest.importorskip("cupy")
    image = spread(dtype, d)[: 1500 * 2000].reshape(1500, 2000, d)
    if dtype == "uint8":
        image = np.minimum(image, 40)
    mask = np.random.default_rng(1).random((1500, 2000)) < 0.6
    options = {"random_state": 0, "max_iter": 5, "channel_axis": -1, "method": "lloyd"}
    ours = fastseg.segment(cupy.asarray(image), 5, mask=cupy.asarray(mask), **options)
    theirs = fastseg.segment(image, 5, mask=mask, backend="cpu", **options)
    assert isinstance(ours.labels, cupy.ndarray)
    np.testing.assert_array_equal(ours.labels.get(), theirs.labels)
    np.testing.assert_array_equal(ours.value_range, theirs.value_range)


@pytest.mark.parametrize("k", [8, 16, 4096])
def test_no_block_waits_for_others(k, monkeypatch):
    device = CudaBackend().device()
    points = CudaBackend().put(spread("uint8", 3))
    asked, launch = [], CupyDevice.launch
    monkeypatch.setattr(
        CupyDevice, "launch", lambda self, *given: (asked.append(given), launch(self, *given))
    )
    points.accumulate(np.random.default_rng(0).uniform(0, 200, (k, 3)))
    ((kernel, n_blocks, n_threads, _, shared_bytes),) = asked
    assert 0 < n_blocks <= device.max_blocks(kernel, n_threads, shared_bytes)


@pytest.mark.parametrize("shape", [(1, 3), (N, 3), (N, 1), (50, 40_000)])
def test_the_range_of_values(shape):
    cupy = pytest.importorskip("cupy")
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    device = CudaBackend().device()
    expected = np.stack([values.min(0), values.max(0)], axis=1)
    np.testing.assert_array_equal(device.extent(cupy.asarray(values)), expected)
    turned = cupy.asfortranarray(cupy.asarray(values))
    np.testing.assert_array_equal(device.extent(turned), expected)
    values[-1, 0] = np.nan
    assert np.isnan(device.extent(cupy.asarray(values))[0]).all()


def test_the_farthest_points_are_those_of_the_cpu():
    values = spread("float32", 3)
    centers = values[:4].astype(np.float64)
    ours, theirs = (b.put(values).farthest(centers, 7) for b in (CudaBackend(), CpuBackend()))
    for name in ("values", "labels", "distances"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_memory_goes_back_to_the_device(monkeypatch):
    cupy = pytest.importorskip("cupy")
    monkeypatch.setattr(cupy_device, "_KEPT", 0)
    pool = cupy.get_default_memory_pool()
    gc.collect()
    pool.free_all_blocks()
    before = pool.total_bytes()
    result = fastseg.segment(spread("uint8", 3)[None, :1_000_000], 5, backend="cuda")
    del result
    values = spread("float32", 3)
    points = CudaBackend().put(values)
    points.accumulate(values[:8].astype(np.float64))
    assert pool.total_bytes() >= before + values.nbytes
    del points
    gc.collect()
    assert pool.total_bytes() <= before


def test_memory_goes_back_to_the_pool():
    cupy = pytest.importorskip("cupy")
    values = spread("float32", 3)
    gc.collect()
    before = cupy.get_default_memory_pool().used_bytes()
    CudaBackend().put(values).accumulate(values[:8].astype(np.float64))
    gc.collect()
    assert cupy.get_default_memory_pool().used_bytes() == before
