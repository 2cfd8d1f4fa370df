"""The CUDA backend from image to labels: the CPU's bits, whatever the device has room for."""

import gc
import importlib.util
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from cuda_backends import CUDA, emulated, needs_compiler
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fastseg
from fastseg import dispatch
from fastseg.kernels import reference
from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cuda import CudaBackend, counters, transfer, wide
from fastseg.kernels.cuda import centers as cuda_centers
from fastseg.kernels.cuda import points as cuda_points
from fastseg.kernels.cuda.centers import FEW, N_NAMES, Comparison, few_centers
from fastseg.kernels.cuda.device import OutOfMemory
from fastseg.kernels.cuda.points import Plan
from fastseg.kernels.cuda.source import source

named = dispatch.backend_named


@pytest.fixture(params=CUDA)
def cuda(request, monkeypatch):
    """The CUDA backend, which backend="cuda" then means as well."""
    use(request.param, monkeypatch)
    return request.param


def use(backend, monkeypatch):
    monkeypatch.setattr(
        dispatch, "backend_named", lambda name: backend if name == "cuda" else named(name)
    )


def picture(shape, dtype, seed=0, spread=1.0):
    """Smooth areas with noise: many pixels are near the borders of clusters."""
    rng = np.random.default_rng(seed)
    base = rng.random(shape[-1]) + np.add.outer(
        np.linspace(0, 1, shape[0]), np.linspace(0, 2, shape[1])
    )[..., None] * rng.random(shape[-1])
    values = (base + rng.normal(0, 0.1, shape)) * 40 * spread
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else values.round().astype(dtype)


IMAGES = {
    "rgb": picture((61, 53, 3), "uint8"),
    "grey": picture((61, 53, 1), "uint8")[..., 0],
    "16-bit": picture((47, 51, 1), "uint16", spread=200)[..., 0],
    "signed": picture((47, 51, 1), "int16", spread=9)[..., 0] - np.int16(300),
    "four channels": picture((31, 37, 4), "uint8"),
    "sixteen bits, three channels": picture((31, 37, 3), "uint16", spread=50),
    "many channels": picture((13, 17, 40), "uint8"),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("k", [2, 9])
def test_integer_images_get_the_bits_of_the_cpu(cuda, name, k):
    axis = -1 if IMAGES[name].ndim == 3 else None
    options = {"random_state": 3, "method": "lloyd", "n_init": 2, "channel_axis": axis}
    ours = fastseg.segment(IMAGES[name], k, backend="cuda", **options)
    theirs = fastseg.segment(IMAGES[name], k, backend="cpu", **options)
    assert (ours.backend, theirs.backend) == ("cuda", "cpu")
    np.testing.assert_array_equal(ours.init_centers, theirs.init_centers)
    np.testing.assert_array_equal(ours.centers, theirs.centers)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.n_iter == theirs.n_iter
    np.testing.assert_allclose(ours.inertia, theirs.inertia, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [3, 40])
def test_float_images_agree_with_the_cpu(cuda, dtype, d):
    image = picture((29, 31, d), dtype)
    options = {"init": image.reshape(-1, d)[[7, 300, 555, 801]], "channel_axis": -1, "tol": 0}
    ours = fastseg.segment(image, 4, backend="cuda", **options)
    theirs = fastseg.segment(image, 4, backend="cpu", **options)
    np.testing.assert_allclose(ours.centers, theirs.centers, rtol=1e-12)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_the_optimum_of_one_channel_and_other_colour_spaces(cuda):
    for name, options in [("grey", {}), ("rgb", {"color_space": "lab", "random_state": 0})]:
        ours, theirs = (
            fastseg.segment(IMAGES[name], 3, backend=b, **options) for b in ("cuda", "cpu")
        )
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.centers, theirs.centers, rtol=1e-12)


def test_estimator_predict_and_scan_take_the_backend(cuda):
    rows = IMAGES["rgb"].reshape(-1, 3)
    ours, theirs = (fastseg.KMeans(5, random_state=1, backend=b).fit(rows) for b in ("cuda", "cpu"))
    assert ours.backend_ == "cuda"
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.predict(rows[:99]), theirs.labels_[:99])
    image = IMAGES["rgb"]
    scans = [fastseg.scan(image, [2, 3], random_state=0, backend=b) for b in ("cuda", "cpu")]
    np.testing.assert_array_equal(scans[0].best, scans[1].best)
    model = fastseg.segment(image, 4, random_state=0, backend="cuda")
    np.testing.assert_array_equal(model.predict(image, backend="cuda"), model.labels)


@pytest.mark.parametrize(
    ("dtype", "d"),
    [("float32", 3), ("float64", 3), ("uint16", 3), ("float32", 40), ("float64", 40)],
)
@pytest.mark.parametrize("far", [1e4, 6e4, 1e9, 1e17, 3e38])
def test_far_from_all_centers_float64_rounds_too(cuda, dtype, d, far):
    """Where its distances tie the lowest index wins, though float32 or a product might not."""
    centers = np.full((3, d), 5.0)
    centers[:, 0] = 7, 1, 1 - 1e-7
    point = np.full(d, min(far, 65535) if dtype == "uint16" else far).astype(dtype)
    points = np.stack([point, point])
    points[:, 0] = 0, 1
    expected = reference.distances(points, centers).argmin(axis=1)
    np.testing.assert_array_equal(cuda.put(points).assign(centers), expected)


def test_empty_clusters_take_the_same_points(cuda):
    rows = np.repeat(np.arange(12, dtype=np.uint8) ** 2, 5)[:, None] * np.array([1, 2, 1], np.uint8)
    init = np.concatenate([rows[:2].astype(float), np.full((3, 3), 1000.0)])
    ours, theirs = (fastseg.KMeans(5, init=init, backend=b).fit(rows) for b in ("cuda", "cpu"))
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)


def flushed(array):
    """Float32 numbers as CuPy lets a device compute: without subnormal ones."""
    return np.where(np.abs(array) < np.finfo(np.float32).tiny, np.float32(0), array)


def compared(points, centers):
    """The values that kernels compare (n, k), and what they may be wrong by (n, k)."""
    comparison = Comparison(centers, points.dtype)
    terms = flushed(comparison.terms[: len(centers)].T)[:, None]
    t = flushed(flushed(points) - flushed(comparison.origin))
    values, square = terms[0], np.zeros(len(points), np.float32)
    for f in range(points.shape[1]):
        # Multiplied and added in one step, as exact in float64.
        values = flushed(np.float32(t[:, f, None].astype(np.float64) * terms[1 + f] + values))
        square = flushed(np.float32(t[:, f].astype(np.float64) ** 2 + square))
    names = np.arange(len(centers), dtype=np.int32) % N_NAMES
    values = (values.view(np.int32) & ~np.int32(N_NAMES - 1) | names).view(np.float32)
    values, square = values.astype(np.float64), square.astype(np.float64)[:, None]
    constant, of_square, of_least = comparison.error.astype(np.float64)
    return values, constant + of_square * square + of_least * values


class TestNearTies:
    """Where float32 cannot decide: exact ties, and gaps of a rounding error of float64."""

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
    @pytest.mark.parametrize("offset", [0.0, 2.0**-40, -(2.0**-40)])
    def test_points_midway_between_centres(self, cuda, dtype, offset):
        ramp = np.arange(0, 200, dtype=dtype)
        points = np.stack([ramp, ramp[::-1], ramp], axis=1)
        centers = np.array([[20.0, 0, 0], [60.0 + offset, 0, 0], [20.0, 0, 0], [100.0, 0, 0]])
        for center in (centers, centers[::-1].copy()):
            labels = cuda.put(points).assign(center)
            np.testing.assert_array_equal(labels, reference.assign(points, center)[0])

    @pytest.mark.parametrize("d", [3, 40])
    def test_a_large_offset_with_a_small_spread(self, cuda, d):
        rng = np.random.default_rng(0)
        points = (1e5 + rng.normal(0, 1, (1500, d))).astype(np.float32)
        centers = points[:8].astype(np.float64) + 1e-3
        labels = cuda.put(points).assign(centers)
        np.testing.assert_array_equal(labels, reference.assign(points, centers)[0])

    @pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e25, 3e38])
    def test_squares_beyond_the_range_of_float32(self, cuda, scale):
        rng = np.random.default_rng(0)
        for d in (3, 40):
            points = (rng.random((700, d)) * scale).astype(np.float32)
            centers = points[:6].astype(np.float64)
            labels = cuda.put(points).assign(centers)
            np.testing.assert_array_equal(labels, reference.assign(points, centers)[0])

    @given(st.integers(1, 99), st.floats(-70, 30), st.floats(-70, 30), st.integers(0, 99))
    @example(99, -63, -63, 0)
    @settings(max_examples=100, deadline=None)
    def test_float32_is_never_wrong_by_more_than_the_bound(self, d, log_scale, log_offset, seed):
        rng = np.random.default_rng(seed)
        points = rng.normal(0, 2.0**log_scale, (50, d)) + 2.0**log_offset
        points = points.astype(np.float32)
        centers = rng.normal(0, 2.0**log_scale, (20, d)) + 2.0**log_offset
        points[25:] = centers[rng.integers(0, 20, (25, 2))].mean(axis=1)
        values, errors = compared(points, centers)
        exact = reference.distances(points, centers)
        gaps = values[:, None, :] - values[:, :, None]  # [point, i, j]: how much j exceeds i
        farther = exact[:, None, :] - exact[:, :, None]
        # The error of the gap itself is among those of errors.
        assert (farther >= gaps * (1 - 1e-5) - errors[:, :, None])[gaps > 0].all()

    @pytest.mark.parametrize("outlier", [0.0, -9999.0, 65535.0, -3.4e38])
    def test_a_far_centre_makes_no_other_one_uncertain(self, outlier):
        rng = np.random.default_rng(0)
        points = (1e4 + rng.random((5000, 3))).astype(np.float32)
        centers = np.concatenate([points[:7], [[outlier] * 3]]).astype(np.float64)
        points[::5] = outlier if abs(outlier) < 1e9 else points[1::5]
        values, errors = compared(points, centers)
        least, second = np.sort(values, axis=1)[:, :2].T
        assert (second - least <= errors[np.arange(5000), values.argmin(axis=1)]).mean() < 0.01

    @pytest.mark.parametrize("d", [1, 3, 20])
    @pytest.mark.parametrize("k", [1, 3, 16, 17, 40, 64])
    def test_any_number_of_centres_is_compared_in_groups(self, cuda, k, d):
        rng = np.random.default_rng(k)
        points = rng.integers(0, 256, (999, d), dtype=np.uint8)
        centers = rng.uniform(-20, 280, (k, d))
        labels, distances = reference.assign(points, centers)
        np.testing.assert_array_equal(cuda.put(points).assign(centers), labels)
        partials = cuda.put(points).accumulate(centers)
        np.testing.assert_array_equal(partials.weights, np.bincount(labels, minlength=k))
        np.testing.assert_allclose(partials.inertia, distances.sum(), rtol=1e-12)

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
    @pytest.mark.parametrize("far", [1e5, 1e9, 1e20, 1e38])
    def test_centres_far_from_all_points(self, cuda, dtype, far):
        rng = np.random.default_rng(0)
        points = rng.integers(0, 256, (700, 3)).astype(dtype)
        centers = np.concatenate([rng.uniform(0, 256, (5, 3)), [[far, 0, 0], [-far, far, 1]]])
        for order in (slice(None), slice(None, None, -1)):
            labels = cuda.put(points).assign(centers[order])
            np.testing.assert_array_equal(labels, reference.assign(points, centers[order])[0])


class TestRoom:
    """Any amount of memory gives the same bits, or a clear error."""

    @pytest.fixture(autouse=True)
    def small_buffers(self, monkeypatch):
        monkeypatch.setattr(transfer, "PINNED_BYTES", 5000)
        monkeypatch.setattr(cuda_points, "_LABEL_CHUNK", 4096)

    @needs_compiler
    @pytest.mark.parametrize("lazy", ["copies", "work", "both"])
    @pytest.mark.parametrize(
        ("dtype", "n", "d"), [("float32", 20_011, 3), ("uint8", 20_011, 5), ("float64", 2011, 40)]
    )
    def test_points_that_do_not_fit_are_sent_anew(self, dtype, n, d, lazy, monkeypatch):
        monkeypatch.setattr(wide, "_TILE_POINTS", 256)
        monkeypatch.setattr(transfer, "_MIN_ROWS", 256)
        rng = np.random.default_rng(0)
        points = (rng.random((n, d)) * 200).astype(dtype)
        weights = rng.random(len(points))
        centers = points[:7].astype(np.float64)
        results = set()
        for memory in (2**30, 2 * points.nbytes // 3):
            backend, _ = emulated(memory=memory, lazy=lazy)
            for w in (None, weights):
                resident = backend.put(points, w)
                assert (resident.feed.resident is None) == (memory < 2**30)
                partials = resident.accumulate(centers)
                np.testing.assert_array_equal(
                    partials.weights, reference.accumulate(points, None, centers).weights
                ) if w is None else None
                labels = resident.assign(centers, labels=np.empty(len(points), np.uint8))
                far = resident.farthest(centers, 5)
                results.add(
                    (
                        w is None,
                        partials.sums.tobytes(),
                        partials.weights.tobytes(),
                        partials.inertia,
                        labels.tobytes(),
                        far.distances.tobytes(),
                    )
                )
                sampler = resident.sampler()
                total = sampler.add(centers[0])
                closest = reference.distances(points, centers[:1])[:, 0]
                expected = closest.sum() if w is None else closest @ w
                np.testing.assert_allclose(total, expected, rtol=1e-12)
                del resident, sampler
                gc.collect()
        assert len(results) == 2

    @needs_compiler
    @pytest.mark.parametrize("lazy", ["copies", "work", "both"])
    def test_pixels_are_counted_chunk_by_chunk(self, lazy):
        pixels = np.random.default_rng(0).integers(0, 9, (30_000, 1)).astype(np.uint16)
        backend, device = emulated(memory=2**19 + 40_000, lazy=lazy)
        counter = backend.counter(pixels.dtype, 1)
        counter.add(pixels)
        values, counts = counter.distinct()
        np.testing.assert_array_equal(counts, np.bincount(pixels[:, 0]))
        labels = np.empty(len(pixels), np.uint8)
        device.memory += 2**17  # for the table of labels
        counter.look_up(pixels, values[:, 0].astype(np.uint8), labels)
        np.testing.assert_array_equal(labels, pixels[:, 0])
        assert device.launches.count("count_bins") > 3

    @needs_compiler
    @pytest.mark.parametrize("lazy", ["copies", "work", "both"])
    @pytest.mark.parametrize("again", [True, False])
    def test_pixels_that_are_needed_again_are_sent_once(self, again, lazy, monkeypatch):
        monkeypatch.setattr(counters, "_CHUNK", 4096)
        pixels = np.random.default_rng(0).integers(0, 9, (30_000, 3)).astype(np.uint8)
        backend, device = emulated(lazy=lazy)
        counter = backend.counter(pixels.dtype, 3)
        counter.add(pixels, again=again)
        values, _ = counter.distinct()
        labels = np.empty(len(pixels), np.int32)
        if not again:
            pixels = pixels[::-1].copy()
        counter.look_up(pixels, np.arange(len(values), dtype=np.int32), labels)
        np.testing.assert_array_equal(values[labels], pixels)
        assert device.sent == (1 if again else 2) * pixels.nbytes

    @needs_compiler
    def test_pinned_buffers_are_used_again_only_after_their_copies(self):
        first, second = np.random.default_rng(0).integers(0, 9, (2, 3000, 3)).astype(np.uint8)
        backend, _ = emulated(lazy="both")
        counter = backend.counter(first.dtype, 3)
        for pixels in (first, second):
            counter.add(pixels)
        both = np.concatenate([first, second])
        expected = np.unique(both, axis=0, return_counts=True)
        for found, right in zip(counter.distinct(), expected, strict=True):
            np.testing.assert_array_equal(found, right)

    @needs_compiler
    def test_points_are_there_once_they_are_put(self):
        """For whoever uses them in another stream."""
        backend, device = emulated(lazy="both")
        points = backend.put(np.ones((20_011, 3), np.float32))
        assert points.feed.resident is not None
        assert not device.incoming.queue

    @needs_compiler
    def test_what_is_stopped_leaves_no_copies_on_their_way(self):
        backend, device = emulated(lazy="both")
        points = np.random.default_rng(0).random((20_011, 3)).astype(np.float32)

        def stop(done, total):
            raise KeyboardInterrupt

        resident = backend.put(points)
        with pytest.raises(KeyboardInterrupt):
            resident.assign(np.eye(3), tick=stop)
        gc.collect()
        assert not device.outgoing.queue

    @needs_compiler
    def test_no_room_at_all_is_told_with_the_sizes(self):
        points = np.random.default_rng(0).random((50_000, 3))
        backend, _ = emulated(memory=20_000)
        with pytest.raises(MemoryError, match=r"0\.0 MiB free, but .* MiB are needed .* 50000"):
            backend.put(points).accumulate(points[:2])

    @needs_compiler
    def test_an_error_on_the_way_leaves_no_half_sum(self):
        points = np.random.default_rng(0).random((20_011, 3)).astype(np.float32)
        backend, _ = emulated(memory=200_000)
        first, second, third = (points[i : i + 3].astype(np.float64) for i in (0, 3, 6))
        expected = backend.put(points).accumulate(third)

        def stop(done, total):
            raise KeyboardInterrupt

        resident = backend.put(points)
        resident.accumulate(first)
        with pytest.raises(KeyboardInterrupt):
            resident.accumulate(second, stop)
        again = resident.accumulate(third)
        np.testing.assert_array_equal(again.sums, expected.sums)
        assert again.inertia == expected.inertia

    @needs_compiler
    @pytest.mark.parametrize("d", [3, 40])
    def test_memory_is_given_back(self, d):
        """And not only to a pool of which other libraries cannot take it."""
        backend, device = emulated()
        points = np.zeros((5000, d), np.float32)
        resident = backend.put(points)
        resident.accumulate(np.eye(3, d))
        resident.sampler().add(np.zeros(d))
        resident.assign(np.eye(3, d))
        assert device.held >= points.nbytes
        del resident
        gc.collect()
        assert (device.used, device.held) == (0, 0)

    @needs_compiler
    def test_so_is_that_of_counted_pixels(self):
        backend, device = emulated()
        image = IMAGES["rgb"]
        counter = backend.counter(image.dtype, 3)
        before = device.held
        counter.add(image.reshape(-1, 3), again=True)
        counter.distinct()
        assert device.held > before
        del counter
        gc.collect()
        assert (device.used, device.held) == (0, 0)

    @needs_compiler
    def test_memory_that_pytorch_keeps_is_told_of(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
        backend, _ = emulated(memory=20_000)
        with pytest.raises(MemoryError, match=r"on it \(torch\.cuda\.empty_cache\(\) frees what"):
            backend.put(np.ones((50_000, 3))).accumulate(np.eye(3))


class TestDeviceArrays:
    """Arrays that are on the device already stay there, and so do their labels."""

    def on_device(self, backend, array):
        return backend.device().to_device(np.ascontiguousarray(array))

    @pytest.mark.parametrize("start", [0, 1])
    def test_points_in_place_or_copied_where_they_are_not_aligned(self, cuda, start):
        device = cuda.device()
        points = (np.random.default_rng(0).random((3000, 3)) * 255).astype(np.uint8)
        weights = np.random.default_rng(1).integers(1, 5, 3000).astype(np.float64)
        centers = points[:5].astype(np.float64)
        there = self.on_device(cuda, points)[start:]
        resident = cuda.put(there, self.on_device(cuda, weights)[start:])
        in_place = device.address(resident.feed.resident[0]) == device.address(there)
        assert in_place == (start == 0)
        labels = resident.assign(centers)
        assert device.owns(labels)
        expected, _ = reference.assign(points[start:], centers)
        np.testing.assert_array_equal(device.to_host(labels), expected)
        target = device.full((3000,), np.uint8, 77)[start:]
        assert resident.assign(centers, labels=target, first_label=1) is target
        np.testing.assert_array_equal(device.to_host(target), expected + 1)
        partials = resident.accumulate(centers)
        theirs = reference.accumulate(points[start:], weights[start:], centers)
        np.testing.assert_array_equal(partials.sums, theirs.sums)

    @pytest.mark.parametrize("start", [0, 1])
    @pytest.mark.parametrize(("dtype", "d"), [("uint8", 3), ("uint16", 1), ("uint8", 4)])
    def test_pixels_are_counted_and_looked_up(self, cuda, dtype, d, start):
        device = cuda.device()
        pixels = np.random.default_rng(0).integers(0, 5, (2000, d)).astype(dtype)
        there = self.on_device(cuda, pixels)[start:]
        counter = cuda.counter(pixels.dtype, d)
        counter.add(there)
        values, _ = counter.distinct()
        expected, inverse = np.unique(pixels[start:], axis=0, return_inverse=True)
        np.testing.assert_array_equal(values, expected)
        labels = device.full((2000,), np.int32, -1)[start:]
        counter.look_up(there, np.arange(len(values), dtype=np.int32), labels)
        np.testing.assert_array_equal(device.to_host(labels), inverse.ravel())


@needs_compiler
def test_types_without_kernels_are_refused():
    backend, device = emulated()
    points = np.ones((10, 3), np.float32)
    with pytest.raises(TypeError, match="weights must be of float64, got float32"):
        backend.put(points, np.ones(10, np.float32))
    with pytest.raises(TypeError, match="weights must be of float64, got int64"):
        backend.put(device.to_device(points), device.to_device(np.ones(10, np.int64)))
    for wrong in (points.astype(np.int32), device.to_device(points.astype(np.float16))):
        with pytest.raises(TypeError, match=r"points must be of uint8, .*, got "):
            backend.put(wrong)


@needs_compiler
def test_labels_of_another_library_are_written_by_their_own_type(monkeypatch):
    class Tensor:
        def __init__(self, array):
            self.array, self.dtype = array, "torch.uint8"

    backend, device = emulated()
    owns = device.owns
    monkeypatch.setattr(device, "owns", lambda a: isinstance(a, Tensor) or owns(a))
    monkeypatch.setattr(device, "wrap", lambda a: a.array if isinstance(a, Tensor) else a)
    points = np.random.default_rng(0).random((100, 3))
    labels = Tensor(device.full((100,), np.uint8, 9))
    assert backend.put(points).assign(points[:4], labels=labels) is labels
    found = device.to_host(labels.array)
    np.testing.assert_array_equal(found, reference.assign(points, points[:4])[0])
    for dtype, d in [("uint8", 1), ("uint8", 3), ("uint16", 2)]:
        pixels = (points[:, :d] * 9).astype(dtype)
        counter = backend.counter(pixels.dtype, d)
        counter.add(pixels)
        values, _ = counter.distinct()
        counter.look_up(pixels, np.arange(len(values), dtype=np.uint8), labels)
        np.testing.assert_array_equal(values[device.to_host(labels.array)], pixels)


def test_images_on_a_device_are_refused_with_the_fix(monkeypatch):
    monkeypatch.setattr(CudaBackend, "unavailable", lambda self: "there is no NVIDIA driver")

    class OnDevice:
        __cuda_array_interface__ = None

        def __array__(self, dtype=None, copy=None):
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    image = np.eye(9)
    for name, call in {
        "image": lambda there: fastseg.segment(there, 2),
        "mask": lambda there: fastseg.segment(image, 2, mask=there),
        "X": lambda there: fastseg.KMeans(2).fit(there),
        "sample_weight": lambda there: fastseg.KMeans(2).fit(image, sample_weight=there),
    }.items():
        with pytest.raises(TypeError, match=rf"{name} is in a GPU.*use cupy.asnumpy\({name}\)"):
            call(OnDevice())


class TestPlan:
    @given(
        st.integers(1, 10**10),
        st.integers(1, 31),
        st.integers(1, 4096),
        st.booleans(),
    )
    @settings(max_examples=200, deadline=None)
    def test_pieces_cover_the_points_and_their_sums_fit(self, n, d, k, integers):
        plan = Plan.of(n, d, k, integers)
        assert (plan.n_pieces - 1) * plan.piece < n <= plan.n_pieces * plan.piece
        assert plan.shared_bytes <= (160 if plan.kernel[1] == "accumulate_shared" else 40) * 2**10
        n_sums = k * (d + 1)
        assert plan.n_groups * (n_sums + 1) <= max(2 * 2**18, n * n_sums / 2**23)
        if plan.kernel[1].startswith("accumulate_int32"):
            assert plan.piece / plan.n_threads * 65535 < 2**31

    def test_few_centres_have_room_in_a_launch(self):
        for k in range(1, FEW + 1):
            for d in range(1, FEW // k + 1):
                for integers, dtype in [(True, "uint8"), (False, "float32")]:
                    if Plan.of(10**6, d, k, integers).kernel[0] == "accumulate.cu":
                        few_centers(np.zeros((k, d)), np.dtype(dtype))

    @pytest.mark.parametrize("name", ["FEW", "AT_ONCE", "N_NAMES", "LARGE"])
    def test_both_languages_have_the_same_constants(self, name):
        (value,) = re.findall(rf"constexpr \w+ {name} = ([\de]+)f?;", source("nearest.cuh"))
        assert float(value) == getattr(cuda_centers, name)

    def test_each_kernel_has_its_share(self):
        kernels = {
            Plan.of(10**6, d, k, integers).kernel[1]
            for integers in (True, False)
            for d, k in [(3, 8), (2, 40), (3, 20), (3, 64)]
        }
        assert kernels == {
            "accumulate_int32_128",
            "accumulate_int32_64",
            "accumulate_float64_128",
            "accumulate_float64_64",
            "accumulate_shared",
            "accumulate_owned",
        }


@needs_compiler
@pytest.mark.parametrize("d", [33, 300])
def test_products_that_are_not_exact_enough_are_not_used(d):
    backend, device = emulated()
    device.exact_float32 = False
    points = np.random.default_rng(0).random((400, d)).astype(np.float32)
    centers = points[:5].astype(np.float64)
    resident = backend.put(points)
    partials, expected = resident.accumulate(centers), reference.accumulate(points, None, centers)
    assert device.launches == ["accumulate_owned"]
    np.testing.assert_allclose(partials.sums, expected.sums, rtol=1e-12)
    np.testing.assert_array_equal(resident.assign(centers), reference.assign(points, centers)[0])


@needs_compiler
def test_a_device_of_less_shared_memory_gives_the_same_bits():
    rng = np.random.default_rng(0)
    points = rng.integers(0, 256, (5003, 3)).astype(np.uint8)
    centers = rng.uniform(0, 255, (4096, 3))
    results, launches = set(), []
    for room in (96, 47):
        backend, device = emulated()
        device.max_shared_bytes = room * 2**10
        partials = backend.put(points).accumulate(centers)
        launches += device.launches
        results.add((partials.sums.tobytes(), partials.weights.tobytes(), partials.inertia))
    assert launches == ["accumulate_shared", "accumulate_owned"]
    assert len(results) == 1
    expected = reference.accumulate(points, None, centers)
    np.testing.assert_array_equal(partials.sums, expected.sums)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_two_to_4096_clusters(cuda, dtype):
    """Just on both sides of where another kernel has room for the sums."""
    rng = np.random.default_rng(0)
    points = (rng.random((4999, 3)) * 250).astype(dtype)
    for k in (2, 10, 11, 20, 21, 26, 27, 257, 2560, 4096):
        centers = points[rng.choice(len(points), k, replace=False)].astype(np.float64) + 0.25
        resident = cuda.put(points)
        partials, expected = resident.accumulate(centers), CpuBackend().put(points)
        labels = expected.assign(centers)
        expected = expected.accumulate(centers)
        np.testing.assert_array_equal(partials.weights, expected.weights)
        np.testing.assert_allclose(partials.sums, expected.sums, rtol=1e-13)
        np.testing.assert_allclose(partials.inertia, expected.inertia, rtol=1e-12)
        np.testing.assert_array_equal(resident.assign(centers), labels)


@needs_compiler
@pytest.mark.parametrize("d", [3, 40])
def test_the_farthest_points_are_all_that_comes_back(d, monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.random((5003, d)).astype(np.float32)
    weights = rng.random(5003)
    backend, device = emulated()
    fetched, rows = [], device.rows
    monkeypatch.setattr(
        device, "rows", lambda array, places: fetched.append(len(places)) or rows(array, places)
    )
    far = backend.put(points, weights).farthest(points[:4].astype(np.float64), 2)
    assert max(fetched) <= 4 * 256
    expected = CpuBackend().put(points, weights).farthest(points[:4].astype(np.float64), 2)
    for name in ("values", "weights", "labels", "distances"):
        np.testing.assert_array_equal(getattr(far, name), getattr(expected, name))


@needs_compiler
def test_a_hundred_sizes_need_the_kernels_of_the_first(monkeypatch):
    backend, device = emulated()
    use(backend, monkeypatch)
    kernels, launch = [], device.launch
    monkeypatch.setattr(
        device, "launch", lambda kernel, *more: kernels.append(kernel) or launch(kernel, *more)
    )
    image = picture((30, 130, 1), "uint8")[..., 0]
    for rows in range(30, 5, -1):
        for columns in (130, 129, 77, 40):
            part = image[:rows, :columns]
            for values in (part, part.astype(np.float32)):
                fastseg.segment(values, 3, backend="cuda", random_state=0, method="lloyd")
        if rows == 30:
            first = set(kernels)
    assert set(kernels) == first
    assert {"-DN_FEATURES=1"} == {o for k in first for o in k[1] if o.startswith("-DN_FEATURES")}


@needs_compiler
def test_one_launch_per_iteration():
    backend, device = emulated()
    points = backend.put(np.random.default_rng(0).random((9000, 3)).astype(np.float32))
    points.accumulate(np.eye(3))
    device.launches.clear()
    points.accumulate(np.eye(3))
    assert device.launches == ["accumulate_float64_128"]


@needs_compiler
@pytest.mark.parametrize("d", [1, 3])
def test_pixels_on_the_device_are_counted_in_one_launch(d, monkeypatch):
    monkeypatch.setattr(counters, "_CHUNK", 4096)
    backend, device = emulated()
    pixels = np.random.default_rng(0).integers(0, 5, (10_000, d)).astype(np.uint8)
    counter = backend.counter(pixels.dtype, d)
    counter.add(device.to_device(pixels))
    assert device.launches == ["count_bins" if d == 1 else "count_colors"]
    np.testing.assert_array_equal(
        counter.distinct()[1], np.unique(pixels, axis=0, return_counts=True)[1]
    )


@needs_compiler
def test_pinned_arrays_are_copied_directly(monkeypatch):
    backend, device = emulated()
    monkeypatch.setattr(device, "is_pinned", lambda array: True)
    monkeypatch.setattr(device, "pinned", lambda n_bytes: pytest.fail("no buffer is needed"))
    points = np.random.default_rng(0).random((5000, 2))
    labels = np.empty(5000, np.int32)
    backend.put(points).assign(points[:3], labels=labels)
    np.testing.assert_array_equal(labels, CpuBackend().put(points).assign(points[:3]))


@needs_compiler
def test_pinned_labels_with_gaps_are_not(monkeypatch):
    backend, device = emulated()
    monkeypatch.setattr(device, "is_pinned", lambda array: True)
    points = np.random.default_rng(0).random((5000, 2))
    labels = np.full((5000, 2), -1, np.int32)
    backend.put(points).assign(points[:3], labels=labels[:, 0])
    np.testing.assert_array_equal(labels[:, 0], CpuBackend().put(points).assign(points[:3]))
    assert (labels[:, 1] == -1).all()


@needs_compiler
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("k", [2, 60, 90])
def test_sums_of_a_piece_do_not_overflow_32_bits(dtype, k, monkeypatch):
    monkeypatch.setattr(cuda_points, "_MIN_PIECE", 2**17)
    extreme = np.iinfo(dtype).max if dtype == "uint16" else np.iinfo(dtype).min
    points = np.full((2**17 - 5, 1), extreme, dtype)
    centers = extreme + 3.0 * np.arange(k)[:, None]
    backend, device = emulated()
    partials = backend.put(points).accumulate(centers)
    kernels = {2: "accumulate_int32_128", 60: "accumulate_int32_64", 90: "accumulate_shared"}
    assert device.launches == [kernels[k]]
    assert partials.sums[0, 0] == int(extreme) * len(points)
    assert partials.weights[0] == len(points)


def test_out_of_memory_is_a_memory_error():
    assert issubclass(OutOfMemory, MemoryError)


@pytest.fixture
def bench():
    """The benchmark of a device."""
    folder = Path(__file__).parent.parent / "benchmarks"
    spec = importlib.util.spec_from_file_location("bench_gpu", folder / "gpu.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    return bench


@needs_compiler
def test_the_benchmark_tells_the_times_of_the_kernels(bench, capsys):
    backend, _ = emulated()
    run = bench.Bench(backend, 1, None, None)
    ticks = iter(range(99))
    now = types.SimpleNamespace(synchronize=lambda: None)
    run.cupy = types.SimpleNamespace(
        cuda=types.SimpleNamespace(
            Event=lambda: types.SimpleNamespace(record=lambda: None, at=next(ticks)),
            get_elapsed_time=lambda before, after: after.at - before.at,
            get_current_stream=lambda: now,
        )
    )
    points = backend.put(np.ones((2000, 3), np.float32))
    run.say_kernels(lambda: (points.accumulate(np.eye(3)), points.accumulate(np.eye(3))))
    assert capsys.readouterr().out == "    accumulate_float64_128: 2.000 ms in 2 launches\n"
    run.compare_goal(3.0, 2, "ms")
    run.compare_goal(3.0, 2, "times as fast", at_least=True)
    assert capsys.readouterr().out.splitlines() == [
        "    goal at most 2 ms: NOT reached, 3.000",
        "    goal at least 2 times as fast: reached, 3.000",
    ]


@needs_compiler
def test_the_benchmark_runs(bench, tmp_path, monkeypatch, capsys):
    """So that it does not fail on the day there is a device."""
    monkeypatch.setattr(bench, "RUNS", 1)
    monkeypatch.setattr(bench, "SIZES", 2)
    output = tmp_path / "results.txt"
    broken = next(case for case in bench.CASES if case.__name__ == "grey")

    def fails(bench):
        raise AssertionError("other sums than the CPU's")

    fails.__name__ = broken.__name__
    cases = tuple(fails if case is broken else case for case in bench.CASES)
    monkeypatch.setattr(bench, "CASES", cases)

    def run():
        bench.main(
            ["--scale", "1e-5", "--commit", "abc", "--output", str(output)],
            backend=emulated()[0],
            about=lambda commit: [f"device: emulated, at {commit}"],
        )

    with pytest.raises(SystemExit, match="failed: grey"):
        run()
    lines = output.read_text().splitlines()
    assert lines[0] == "device: emulated, at abc"
    assert "grey: FAILED, AssertionError: other sums than the CPU's" in lines
    assert sum(": median " in line for line in lines) == 8
    assert any(": 0 kernels compiled after the first" in line for line in lines)
    assert lines == capsys.readouterr().out.splitlines()
    monkeypatch.setattr(bench, "CASES", (broken,))
    run()
    assert sum(": median " in line for line in output.read_text().splitlines()) == 2
