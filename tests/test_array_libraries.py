"""Arrays of other libraries: taken where they lie, and answered in kind."""

import subprocess
import sys

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr

import fastseg
from fastseg.array_libraries import from_caller
from fastseg.arrays import as_points
from fastseg.pixels import as_pixels


class Jax:
    array = jax.Array

    @staticmethod
    def make(values):
        return jnp.asarray(values)

    @staticmethod
    def address(array):
        return array.unsafe_buffer_pointer()


class Strict:
    array = type(array_api_strict.asarray(0))

    @staticmethod
    def make(values):
        return array_api_strict.asarray(values)

    @staticmethod
    def address(array):
        return np.from_dlpack(array).ctypes.data


class Torch:
    @property
    def array(self):
        import torch

        return torch.Tensor

    @staticmethod
    def make(values):
        import torch

        return torch.tensor(values)

    @staticmethod
    def address(array):
        return array.data_ptr()


@pytest.fixture(
    params=[
        pytest.param(Jax(), id="jax"),
        pytest.param(Strict(), id="array-api-strict"),
        pytest.param(Torch(), id="torch", marks=pytest.mark.torch),
    ]
)
def library(request):
    return request.param


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)


@pytest.fixture
def points():
    return np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)


class TestWithoutCopies:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
    def test_values_are_read_where_they_lie(self, library, dtype):
        given = library.make(np.arange(600).reshape(10, 20, 3).astype(dtype))
        values = as_pixels(given, "auto", None, None).values
        assert values.ctypes.data == library.address(given)
        assert values.shape == (200, 3)
        rows = library.make(np.arange(60).reshape(20, 3).astype(dtype))
        array, _ = from_caller(rows, "X")
        assert as_points(array, "X").ctypes.data == library.address(rows)

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "float32"])
    def test_results_are_given_where_they_lie(self, library, dtype):
        _, caller = from_caller(library.make(np.zeros((2, 2), np.float32)), "X")
        # Memory aligned as JAX asks for; of any other it makes a copy.
        room = np.zeros(4096, np.uint8)
        start = -room.ctypes.data % 64
        labels = room[start : start + 800].view(dtype)
        back = caller.array(labels)
        assert isinstance(back, library.array)
        assert library.address(back) == labels.ctypes.data

    def test_a_data_array_is_as_good_as_what_it_is_made_of(self, image):
        values = as_pixels(xr.DataArray(image), "auto", None, None).values
        assert np.shares_memory(values, image)

    def test_a_memory_map_is_read_where_it_lies(self, image, tmp_path):
        np.save(tmp_path / "image.npy", image)
        mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
        assert np.shares_memory(as_pixels(mapped, "auto", None, None).values, mapped)


class TestImages:
    def test_labels_come_in_the_library_of_the_image(self, library, image):
        expected = fastseg.segment(image, 4, random_state=0)
        result = fastseg.segment(library.make(image), 4, random_state=0)
        assert isinstance(result.labels, library.array)
        np.testing.assert_array_equal(np.from_dlpack(result.labels), expected.labels)
        np.testing.assert_array_equal(result.centers, expected.centers)
        assert type(result.centers) is np.ndarray

    def test_so_does_all_that_has_a_value_for_each_pixel(self, library, image):
        ours = fastseg.segment(library.make(image), 4, random_state=0)
        theirs = fastseg.segment(image, 4, random_state=0)
        mask = image[..., 0] > 90
        for found, expected in [
            (ours.predict(library.make(image)), theirs.labels),
            (
                theirs.predict(library.make(image), mask=library.make(mask)),
                theirs.predict(image, mask=mask),
            ),
            (ours.recolor(), theirs.recolor()),
            (fastseg.distance_map(library.make(image), ours), fastseg.distance_map(image, theirs)),
            (fastseg.remove_specks(ours, 5), fastseg.remove_specks(theirs, 5)),
            (fastseg.remove_specks(ours.labels, 5), fastseg.remove_specks(theirs.labels, 5)),
        ]:
            assert isinstance(found, library.array)
            np.testing.assert_array_equal(np.from_dlpack(found), expected)

    def test_what_has_none_takes_the_image_all_the_same(self, library, image):
        given = library.make(image)
        result = fastseg.segment(given, 3, random_state=0)
        found = fastseg.objects(result.labels, background=None)
        assert len(found) == len(fastseg.objects(result)) > 0
        scans = [fastseg.scan(each, (2, 3), random_state=0) for each in (image, given)]
        np.testing.assert_array_equal(*(scan.inertia for scan in scans))
        compared = fastseg.compare(given, 2, random_state=0, methods=["lloyd", "sklearn"])
        assert compared.agreement.shape == (2, 2)
        fastseg.report(given, result)


class TestPoints:
    def test_k_means(self, library, points):
        weights = np.linspace(0.5, 2, 300).astype(np.float32)
        expected = fastseg.k_means(points, 3, sample_weight=weights, init=points[:3])
        centers, labels, inertia = fastseg.k_means(
            library.make(points),
            3,
            sample_weight=library.make(weights),
            init=library.make(points[:3]),
        )
        assert isinstance(labels, library.array)
        assert isinstance(centers, library.array)
        np.testing.assert_array_equal(np.from_dlpack(labels), expected[1])
        # JAX holds no float64 unless it is told to.
        found = np.from_dlpack(centers)
        np.testing.assert_array_equal(found, expected[0].astype(found.dtype))
        assert inertia == expected[2]

    @pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans"])
    def test_estimators(self, library, points, name):
        given = library.make(points)
        ours, theirs = (getattr(fastseg, name)(3, random_state=0) for _ in range(2))
        labels, expected = ours.fit_predict(given), theirs.fit_predict(points)
        assert labels is ours.labels_
        for found, there in [
            (labels, expected),
            (ours.predict(given), expected),
            (ours.transform(given), theirs.transform(points)),
        ]:
            assert isinstance(found, library.array)
            np.testing.assert_array_equal(np.from_dlpack(found), there)
        np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
        assert type(ours.cluster_centers_) is np.ndarray
        assert ours.score(given) == theirs.score(points)

    def test_batches(self, library, points):
        model = fastseg.MiniBatchKMeans(3, random_state=0)
        model.partial_fit(library.make(points[:200])).partial_fit(library.make(points[200:]))
        assert isinstance(model.labels_, library.array)

    def test_one_library_fits_and_another_one_asks(self, library, points):
        model = fastseg.KMeans(3, random_state=0).fit(points)
        assert isinstance(model.predict(library.make(points)), library.array)
        model.fit(library.make(points))
        assert type(model.predict(points)) is np.ndarray


class TestFrames:
    @pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
    def test_rows_are_points(self, points, frame):
        given = frame(dict(zip("abc", points.T, strict=True)))
        centers, labels, _ = fastseg.k_means(given, 3, random_state=0)
        expected = fastseg.k_means(points, 3, random_state=0)
        np.testing.assert_array_equal(centers, expected[0])
        np.testing.assert_array_equal(labels, expected[1])
        model = fastseg.KMeans(3, random_state=0).fit(given)
        assert model.feature_names_in_.tolist() == ["a", "b", "c"]
        np.testing.assert_array_equal(model.labels_, labels)
        assert type(model.predict(given)) is np.ndarray

    def test_columns_of_several_types(self):
        frame = pd.DataFrame({"a": np.arange(6, dtype=np.uint8), "b": np.arange(6) / 2})
        _, labels, _ = fastseg.k_means(frame, 2, init=[[0.0, 0.0], [5.0, 2.0]])
        assert labels.tolist() == [0, 0, 0, 1, 1, 1]
        nullable = frame.astype({"a": "UInt8"})
        np.testing.assert_array_equal(
            fastseg.k_means(nullable, 2, init=[[0, 0], [5, 2]])[1], labels
        )

    def test_words_are_refused(self):
        with pytest.raises(TypeError, match=r"X holds what is no number \(.*'x'\); leave out such"):
            fastseg.k_means(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), 1)

    @pytest.mark.parametrize(
        "frame", [pd.DataFrame({"a": [1.0, None]}), pl.DataFrame({"a": [1.0, None]})]
    )
    def test_missing_values_are_refused(self, frame):
        with pytest.raises(ValueError, match="X contains NaN"):
            fastseg.k_means(frame, 1)


class TestDataArrays:
    @pytest.fixture
    def scene(self, image):
        return xr.DataArray(
            np.moveaxis(image, -1, 0),
            dims=("band", "y", "x"),
            coords={
                "band": ["red", "green", "blue"],
                "y": np.arange(40) * 0.5,
                "x": np.arange(50) + 7,
                "time": 3,
                "height": (("y", "x"), np.ones((40, 50))),
                "wavelength": ("band", [650, 550, 450]),
            },
            name="scene",
            attrs={"crs": "EPSG:32633"},
        )

    def test_labels_keep_all_but_the_channels(self, scene, image):
        scene.encoding = {"_FillValue": 255, "dtype": "uint8"}
        result = fastseg.segment(scene, 4, random_state=0)
        labels = result.labels
        expected = fastseg.segment(image, 4, random_state=0)
        np.testing.assert_array_equal(labels.values, expected.labels)
        xr.testing.assert_identical(
            labels, scene.isel(band=0, drop=True).copy(data=expected.labels)
        )
        assert labels.dims == ("y", "x")
        assert set(labels.coords) == {"y", "x", "time", "height"}
        assert (labels.name, labels.attrs) == ("scene", {"crs": "EPSG:32633"})
        assert labels.encoding == {}
        assert scene.encoding

    @pytest.mark.parametrize("channel_axis", ["auto", "band", 0, -3])
    def test_the_channels_are_found_by_name(self, scene, channel_axis):
        result = fastseg.segment(scene, 3, channel_axis=channel_axis, random_state=0)
        assert result.channel_axis == 0
        xr.testing.assert_identical(result.predict(scene), result.labels)
        xr.testing.assert_identical(fastseg.remove_specks(result, 1), result.labels)

    def test_of_any_name_where_it_is_given(self, scene):
        scene = scene.rename(band="wave")
        assert fastseg.segment(scene, 3).labels.shape == (3, 40, 50)
        result = fastseg.segment(scene, 3, channel_axis="wave", random_state=0)
        assert result.labels.dims == ("y", "x")
        assert result.predict(scene).dims == ("y", "x")

    def test_another_name_is_refused(self, scene):
        message = "channel_axis='bnd' is no dimension of the image, whose .* 'band', 'y', 'x'"
        with pytest.raises(ValueError, match=message):
            fastseg.segment(scene, 3, channel_axis="bnd")

    def test_no_channels(self, scene):
        grey = scene[0]
        labels = fastseg.segment(grey, 3).labels
        xr.testing.assert_identical(labels, grey.copy(data=labels.values))
        series = scene.rename(band="time2")
        assert fastseg.segment(series, 3, channel_axis=None).labels.dims == series.dims

    def test_a_mask_is_turned_to_the_image(self, scene):
        mask = scene[0] > 100
        upright, turned = (
            fastseg.segment(scene, 3, mask=each, random_state=0).labels for each in (mask, mask.T)
        )
        xr.testing.assert_identical(upright, turned)
        assert (upright.values[~mask.values] == 0).all()

    def test_distances(self, scene):
        model = fastseg.segment(scene, 3, random_state=0)
        found = fastseg.distance_map(scene, model)
        assert (found.dims, found.dtype) == (("y", "x"), np.float32)

    @pytest.mark.parametrize("library", [Jax(), Strict()], ids=["jax", "array-api-strict"])
    def test_of_another_library(self, library, image):
        wrapped = xr.DataArray(library.make(image), dims=("y", "x", "band"))
        labels = fastseg.segment(wrapped, 3).labels
        assert isinstance(labels.data, library.array)
        assert labels.dims == ("y", "x")

    def test_points(self, points):
        given = xr.DataArray(
            points, dims=("sample", "feature"), coords={"sample": np.arange(300) * 2}
        )
        model = fastseg.KMeans(3, random_state=0).fit(given)
        assert model.labels_.dims == ("sample",)
        xr.testing.assert_identical(model.predict(given), model.labels_)
        _, labels, _ = fastseg.k_means(given, 3, random_state=0)
        xr.testing.assert_identical(labels, model.labels_)
        assert type(model.transform(given)) is np.ndarray


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "negative strides": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda a: np.repeat(np.repeat(a, 2, axis=0), 2, axis=1)[::2, ::2],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_of_an_image_matters_and_none_is_written_to(image, layout, dtype):
    image = image[..., :1].astype(dtype) if dtype == "uint16" else image.astype(dtype)
    expected = fastseg.segment(image, 4, method="lloyd", random_state=0)
    given = LAYOUTS[layout](image)
    given.flags.writeable = False
    result = fastseg.segment(given, 4, method="lloyd", random_state=0)
    np.testing.assert_array_equal(result.labels, expected.labels)
    np.testing.assert_array_equal(result.centers, expected.centers)
    np.testing.assert_array_equal(expected.predict(given), expected.labels)


class Elsewhere:
    """Array of a device that is neither the CPU nor CUDA, such as PyTorch's on a Mac."""

    dtype = "float32"

    def __dlpack__(self, **options):
        pytest.fail("the array was asked for its memory")

    def __dlpack_device__(self):
        return (8, 0)


class TestRefusals:
    @pytest.mark.parametrize("what", ["image", "X"])
    def test_of_devices_that_nothing_here_reads(self, what):
        call = fastseg.segment if what == "image" else fastseg.k_means
        with pytest.raises(TypeError, match=rf"{what} is on a device .*number 8 .* to the CPU"):
            call(Elsewhere(), 2)
        with pytest.raises(TypeError, match="X is on a device that is neither"):
            fastseg.KMeans(2).fit(Elsewhere())

    @pytest.mark.parametrize("call", [lambda X: fastseg.k_means(X, 2), fastseg.KMeans(2).fit])
    def test_of_types_that_numpy_does_not_have(self, call):
        with pytest.raises(TypeError, match=r"X \(jaxlib\.ArrayImpl of bfloat16\) cannot be read"):
            call(jnp.zeros((4, 3), jnp.bfloat16))

    def test_of_arrays_that_are_traced(self):
        with pytest.raises(TypeError, match=r"image \(jax\.\w+ of float32\) cannot .* traces"):
            jax.jit(lambda image: fastseg.segment(image, 2).labels)(jnp.eye(9))

    @pytest.mark.torch
    @pytest.mark.parametrize("options", [{"requires_grad": True}, {"device": "meta"}])
    def test_of_tensors_without_plain_values(self, options):
        import torch

        with pytest.raises(
            TypeError, match=r"X \(torch\.Tensor of torch\.float32\) cannot be read"
        ):
            fastseg.k_means(torch.zeros(4, 3, **options), 2)

    @pytest.mark.torch
    @pytest.mark.parametrize("turn", [lambda t: t.permute(1, 2, 0)[::2], lambda t: t[0].T])
    def test_views_of_tensors_are_taken(self, image, turn):
        import torch

        view = turn(torch.tensor(np.moveaxis(image, -1, 0).copy()))
        labels = fastseg.segment(view, 3, random_state=0).labels
        expected = fastseg.segment(np.ascontiguousarray(view.numpy()), 3, random_state=0).labels
        np.testing.assert_array_equal(labels.numpy(), expected)


def test_no_library_is_imported_for_an_array():
    code = (
        "import sys, numpy, fastseg; fastseg.segment(numpy.eye(9), 2); "
        "fastseg.k_means(numpy.eye(3), 2);"
        "print([n for n in ('xarray', 'jax', 'torch', 'cupy', 'polars') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
