"""Images and points in a GPU's memory: computed on there, and their labels left there."""

import types

import numpy as np
import pytest
from cuda_backends import emulated, needs_compiler

import fastseg
from fastseg import dispatch
from fastseg.array_libraries import from_caller


class Tensor:
    """Array of a library whose arrays are on the emulated device; NumPy cannot read them."""

    def __init__(self, array):
        self.memory, self.device = array, "cuda:0"

    __cuda_array_interface__ = None

    def __array__(self, dtype=None, copy=None):
        raise TypeError("an array on a device is not copied to the host unasked")

    def __dlpack__(self, **options):
        raise TypeError("the emulated device takes what it knows")

    def __dlpack_device__(self):
        return (2, 0)

    def __array_namespace__(self):
        def from_dlpack(array):
            assert type(array) is not np.ndarray, "results of the device are not on the host"
            return Tensor(array)

        def asarray(array, device):
            assert device == self.device
            return Tensor(array)

        return types.SimpleNamespace(__name__="tensors", from_dlpack=from_dlpack, asarray=asarray)


@pytest.fixture
def device(monkeypatch):
    cuda, device = emulated()
    named, owns, wrap = dispatch.backend_named, device.owns, device.wrap
    monkeypatch.setattr(
        dispatch, "backend_named", lambda name: cuda if name == "cuda" else named(name)
    )
    monkeypatch.setattr("fastseg.resident.backend_named", dispatch.backend_named)

    def unwrapped(array):
        array = getattr(array, "rows", array)
        return wrap(array.memory if isinstance(array, Tensor) else array)

    monkeypatch.setattr(device, "owns", lambda a: owns(a) or isinstance(a, Tensor) or on_it(a))
    monkeypatch.setattr(device, "wrap", unwrapped)
    # So that images as small as these are clustered pixel by pixel where they hardly repeat.
    monkeypatch.setattr("fastseg.kernels.cpu.row_counter._FEW_ROWS", 100)
    return device


def on_it(array):
    return getattr(array, "on_device", False)


@pytest.fixture
def there(device):
    return lambda array: Tensor(device.to_device(np.ascontiguousarray(array)))


@pytest.fixture
def here(device):
    def fetch(tensor):
        assert isinstance(tensor, Tensor), tensor
        return device.to_host(tensor.memory)

    return fetch


pytestmark = needs_compiler

IMAGES = {
    "colours": lambda rng: rng.integers(0, 256, (40, 50, 3)).astype(np.uint8),
    "grey": lambda rng: rng.integers(0, 256, (40, 50)).astype(np.uint8),
    "grey, 16 bits": lambda rng: rng.integers(0, 65536, (40, 50)).astype(np.uint16),
    "floats": lambda rng: rng.normal(size=(40, 50, 3)).astype(np.float32),
    "grey floats": lambda rng: rng.normal(size=(40, 50)).astype(np.float32),
}


@pytest.fixture(params=IMAGES)
def image(request):
    return IMAGES[request.param](np.random.default_rng(0))


class TestImages:
    def test_it_is_segmented_where_it_is(self, image, device, there, here):
        given = there(image)
        result = fastseg.segment(given, 4, random_state=0)
        expected = fastseg.segment(image, 4, random_state=0, backend="cpu")
        assert (result.backend, result.reason) == ("cuda", "the values are in the GPU's memory")
        assert device.launches
        np.testing.assert_array_equal(here(result.labels), expected.labels)
        assert here(result.labels).dtype == expected.labels.dtype
        np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)
        np.testing.assert_array_equal(result.value_range, expected.value_range)
        np.testing.assert_array_equal(here(result.predict(given)), expected.labels)
        np.testing.assert_array_equal(here(expected.predict(given)), expected.labels)

    def test_its_values_are_not_sent_again(self, device, there):
        grey, floats = (there(IMAGES[n](np.random.default_rng(0))) for n in ("grey", "floats"))
        fastseg.segment(floats, 4, random_state=0)
        assert device.sent == 0
        fastseg.segment(grey, 4, random_state=0, method="lloyd")
        n_distinct = 256
        assert 0 < device.sent <= 2 * n_distinct * (1 + 8)  # values and counts, to cluster them

    def test_channels_on_another_axis(self, there, here):
        image = IMAGES["floats"](np.random.default_rng(0))
        turned = there(np.moveaxis(image, -1, 0))
        result = fastseg.segment(turned, 3, channel_axis=0, random_state=0)
        expected = fastseg.segment(image, 3, random_state=0)
        np.testing.assert_array_equal(here(result.labels), expected.labels)
        assert result.channel_axis == 0

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("colours", {"color_space": "lab"}),
            ("grey", {"standardize": True}),
            ("grey", {"method": "ward"}),
            ("grey", {"keep_profile": True}),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
    )
    def test_counted_images_may_be_asked_for_anything(self, there, here, name, options):
        image = IMAGES[name](np.random.default_rng(0))
        result = fastseg.segment(there(image), 3, random_state=0, **options)
        expected = fastseg.segment(image, 3, random_state=0, **options)
        np.testing.assert_array_equal(here(result.labels), expected.labels)

    @pytest.mark.parametrize(
        "options",
        [
            {"nodata": 0},
            {"foreground": "auto"},
            {"color_space": "lab"},
            {"standardize": True},
            {"keep_profile": True},
            {"method": "ward"},
            {"n_clusters": "auto"},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_what_is_done_on_the_host_is_refused(self, there, options):
        image = IMAGES["floats"](np.random.default_rng(0))
        image = image[..., 0] if "foreground" in options else np.abs(image) % 1
        name = next(iter(options))
        with pytest.raises(ValueError, match=rf"{name} is not supported.*cupy\.asnumpy\(image\)"):
            fastseg.segment(there(image), **{"n_clusters": 3, **options})

    @pytest.mark.parametrize("where", ["here", "there"])
    def test_a_mask_leaves_pixels_out(self, image, there, here, where):
        mask = np.random.default_rng(1).random((40, 50)) < 0.7
        given = there(mask) if where == "there" else mask
        result = fastseg.segment(there(image), 4, mask=given, random_state=0)
        expected = fastseg.segment(image, 4, mask=mask, random_state=0)
        np.testing.assert_array_equal(here(result.labels), expected.labels)
        assert result.n_left_out == (~mask).sum()
        assert result.start_label == 1
        labels = here(result.predict(there(image), mask=given))
        np.testing.assert_array_equal(labels, expected.labels)

    def test_what_a_mask_leaves_out_need_not_be_a_number(self, there, here):
        image = IMAGES["floats"](np.random.default_rng(0))
        image[3, 4, 1] = np.nan
        mask = np.isfinite(image).all(axis=-1)
        result = fastseg.segment(there(image), 3, mask=there(mask), random_state=0)
        expected = fastseg.segment(image, 3, random_state=0)
        np.testing.assert_array_equal(here(result.labels), expected.labels)

    def test_masks_that_do_not_fit(self, there):
        image = there(IMAGES["floats"](np.random.default_rng(0)))
        with pytest.raises(ValueError, match=r"mask has shape \(3, 3\), but the image's grid is"):
            fastseg.segment(image, 3, mask=there(np.ones((3, 3))))
        with pytest.raises(ValueError, match="every pixel of the image is left out"):
            fastseg.segment(image, 3, mask=there(np.zeros((40, 50))))

    def test_so_it_is_of_a_model(self, there):
        image = IMAGES["floats"](np.random.default_rng(0))
        model = fastseg.segment(image, 3, keep_profile=True, standardize=True)
        with pytest.raises(ValueError, match="standardize is not supported"):
            model.predict(there(image))
        model = fastseg.segment(image, 3, keep_profile=True)
        with pytest.raises(ValueError, match="match is not supported"):
            model.predict(there(image), match="zscore")
        with pytest.raises(ValueError, match="distances is not supported"):
            fastseg.distance_map(there(image), model)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_no_numbers_are_refused(self, there, value):
        image = IMAGES["floats"](np.random.default_rng(0))
        image[3, 4, 1] = value
        with pytest.raises(ValueError, match="image contains NaN or infinite values"):
            fastseg.segment(there(image), 3)

    def test_types_without_kernels_are_refused(self, there):
        with pytest.raises(TypeError, match="image has dtype int64, which is not supported"):
            fastseg.segment(there(np.arange(100).reshape(10, 10)), 3)

    def test_the_cpu_does_not_take_it(self, there):
        with pytest.raises(ValueError, match=r"backend='cpu' cannot run this: the values are in"):
            fastseg.segment(there(np.eye(9)), 2, backend="cpu")

    def test_others_ask_for_a_copy(self, there):
        for call in (
            lambda image: fastseg.scan(image),
            lambda image: fastseg.compare(image, 2),
        ):
            with pytest.raises(TypeError, match=r"image is in a GPU.*cupy\.asnumpy\(image\)"):
                call(there(np.eye(9)))


class TestPoints:
    @pytest.fixture(params=[("float32", 3), ("uint8", 1)], ids=["floats", "counted"])
    def points(self, request):
        dtype, d = request.param
        return np.random.default_rng(1).uniform(0, 200, (900, d)).astype(dtype)

    def test_k_means(self, points, there, here):
        centers, labels, inertia = fastseg.k_means(there(points), 4, random_state=0)
        expected = fastseg.k_means(points, 4, random_state=0)
        assert isinstance(centers, Tensor)
        np.testing.assert_allclose(centers.memory, expected[0], rtol=1e-12)
        np.testing.assert_array_equal(here(labels), expected[1])
        assert inertia == pytest.approx(expected[2], rel=1e-12)

    @pytest.mark.parametrize("init", ["random", "given"])
    def test_starts(self, points, there, here, init):
        start = points[:4] if init == "given" else init
        labels = fastseg.k_means(there(points), 4, init=start, random_state=0)[1]
        expected = fastseg.k_means(points, 4, init=start, random_state=0)[1]
        np.testing.assert_array_equal(here(labels), expected)

    @pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans"])
    def test_estimators(self, points, there, here, name):
        given = there(points)
        ours, theirs = (getattr(fastseg, name)(4, random_state=0) for _ in range(2))
        labels = here(ours.fit_predict(given))
        np.testing.assert_array_equal(labels, theirs.fit_predict(points))
        assert (ours.backend_, ours.n_features_in_) == ("cuda", points.shape[1])
        assert type(ours.cluster_centers_) is np.ndarray
        np.testing.assert_array_equal(here(ours.predict(given)), labels)
        assert ours.score(given) == pytest.approx(theirs.score(points), rel=1e-12)
        np.testing.assert_array_equal(ours.predict(points), labels)
        with pytest.raises(TypeError, match=r"X is in a GPU.*cupy\.asnumpy\(X\)"):
            ours.transform(given)
        with pytest.raises(ValueError, match=r"X has \d features, but \w+ is expecting \d"):
            ours.predict(there(np.hstack([points, points])))

    @pytest.mark.parametrize("where", ["here", "there"])
    def test_weights(self, points, there, here, where):
        weights = np.linspace(0, 2, 900)
        given = there(weights) if where == "there" else weights
        ours = fastseg.KMeans(4, random_state=0).fit(there(points), sample_weight=given)
        theirs = fastseg.KMeans(4, random_state=0).fit(points, sample_weight=weights)
        np.testing.assert_array_equal(here(ours.labels_), theirs.labels_)

    def test_batches(self, points, there, here):
        ours, theirs = (fastseg.MiniBatchKMeans(4, random_state=0) for _ in range(2))
        for batch in np.split(points, 3):
            ours.partial_fit(there(batch))
            theirs.partial_fit(batch)
        np.testing.assert_array_equal(here(ours.labels_), theirs.labels_)

    def test_refusals(self, there):
        with pytest.raises(ValueError, match=r"X must have 2 dimensions .*got shape \(5,\)"):
            fastseg.k_means(there(np.zeros(5)), 2)
        with pytest.raises(ValueError, match="X is empty"):
            fastseg.k_means(there(np.zeros((5, 0))), 2)
        with pytest.raises(ValueError, match="X contains NaN"):
            fastseg.KMeans(2).fit(there(np.full((5, 2), np.nan)))
        with pytest.raises(ValueError, match="X holds values beyond 1e"):
            fastseg.KMeans(2).fit(there(np.array([[1e150, 0.0], [0.0, 0.0]])))
        with pytest.raises(ValueError, match="n_samples=5 should be >= n_clusters=9"):
            fastseg.KMeans(9).fit(there(np.zeros((5, 2))))


def test_a_library_of_its_own_takes_results_on_its_device(there):
    given = there(np.zeros((2, 2)))
    values, caller = from_caller(given, "X")
    assert values is given
    assert isinstance(caller.array(np.zeros(3)), Tensor)
