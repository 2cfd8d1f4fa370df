"""Dask arrays: the answer of one machine, computed by many, and never held at once."""

import os
import signal
import time
import tracemalloc
import warnings

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
from sklearn.utils._param_validation import InvalidParameterError

import fastseg
from fastseg.kernels.cpu.row_counter import RowCounter


def photograph(rng, shape=(61, 83)):
    """Colours that repeat, none at the same share."""
    return (rng.random((*shape, 3)) ** 2 * 40).astype(np.uint8)


def noise(rng, shape=(310, 251)):
    """16-bit colours that hardly repeat: more than 65,536 distinct ones."""
    return rng.integers(0, 2**16, (*shape, 3)).astype(np.uint16)


CUTS = [(61, 83, 3), (16, 83, 1), (7, 20, 3), (61, 11, 2)]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def client(dask_cluster):
    with distributed.Client(dask_cluster) as client:
        yield client


def assert_same(result, expected, *, exact_inertia=True):
    np.testing.assert_array_equal(result.centers, expected.centers)
    np.testing.assert_array_equal(result.counts, expected.counts)
    labels = result.labels.compute()
    np.testing.assert_array_equal(labels, expected.labels)
    assert labels.dtype == expected.labels.dtype
    assert result.start_label == expected.start_label
    assert result.n_left_out == expected.n_left_out
    assert (result.method, result.n_iter) == (expected.method, expected.n_iter)
    rtol = 0 if exact_inertia else 1e-12
    np.testing.assert_allclose(result.inertia, expected.inertia, rtol=rtol)


class TestAnswersOfOneMachine:
    @pytest.mark.parametrize("chunks", CUTS, ids=str)
    def test_repeated_colours(self, rng, chunks):
        image = photograph(rng)
        expected = fastseg.segment(image, 5, random_state=0)
        result = fastseg.segment(da.from_array(image, chunks=chunks), 5, random_state=0)
        assert_same(result, expected)
        np.testing.assert_array_equal(result.init_centers, expected.init_centers)

    @pytest.mark.parametrize("chunks", [(310, 251, 3), (64, 251, 3), (100, 60, 2)], ids=str)
    def test_colours_that_hardly_repeat(self, rng, chunks):
        """Starts are drawn in the order of the image, and sums of integers are exact."""
        image = noise(rng)
        expected = fastseg.segment(image, 3, random_state=0)
        result = fastseg.segment(da.from_array(image, chunks=chunks), 3, random_state=0)
        np.testing.assert_array_equal(result.init_centers, expected.init_centers)
        assert_same(result, expected, exact_inertia=False)

    def test_with_pixels_left_out_anywhere(self, rng):
        image = noise(rng)
        mask = rng.random(image.shape[:2]) < 0.95
        mask[:70] = mask[:, 200:] = False
        mask[75, :60] = False
        expected = fastseg.segment(image, 3, mask=mask, random_state=0)
        lazy = da.from_array(image, chunks=(50, 60, 3))
        for given in (mask, da.from_array(mask, chunks=(33, 251))):
            result = fastseg.segment(lazy, 3, mask=given, random_state=0)
            np.testing.assert_array_equal(result.init_centers, expected.init_centers)
            assert_same(result, expected, exact_inertia=False)

    def test_random_starts_and_several_runs(self, rng):
        image = noise(rng)
        how = {"init": "random", "n_init": 2, "max_iter": 3, "random_state": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
            expected = fastseg.segment(image, 3, **how)
            result = fastseg.segment(da.from_array(image, chunks=(77, 100, 3)), 3, **how)
        assert_same(result, expected, exact_inertia=False)

    @pytest.mark.parametrize(
        "options",
        [
            {"nodata": 3},
            {"n_clusters": "auto"},
            {"method": "lloyd", "random_state": 1},
            {"method": "ward"},
            {"foreground": "auto"},
            {"standardize": True, "method": "lloyd", "random_state": 1},
            {"start_label": 1, "names": ["a", "b", "c"]},
        ],
        ids=lambda options: next(iter(options)) + "=" + str(next(iter(options.values()))),
    )
    def test_options_on_a_grey_volume(self, rng, options):
        volume = (rng.random((9, 21, 30)) ** 3 * 200).astype(np.uint8)
        how = {"n_clusters": 3, "channel_axis": None} | options
        expected = fastseg.segment(volume, **how)
        result = fastseg.segment(da.from_array(volume, chunks=(4, 21, 7)), **how)
        assert_same(result, expected)
        assert result.names == expected.names
        assert result.foreground == expected.foreground

    @pytest.mark.parametrize(
        "options",
        [
            {"color_space": "lab"},
            {"method": "ward", "prototypes": 40},
            {"init": [[0, 0, 0], [20, 20, 20], [39, 39, 39]]},
            {"channel_axis": 0},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_options_on_colours(self, rng, options):
        image = photograph(rng)
        if options.get("channel_axis") == 0:
            image = np.moveaxis(image, -1, 0).copy()
        how = {"n_clusters": 3, "random_state": 0} | options
        expected = fastseg.segment(image, **how)
        lazy = da.from_array(image, chunks=20)
        assert_same(fastseg.segment(lazy, **how), expected)

    @pytest.mark.parametrize("options", [{"color_space": "lab"}, {"standardize": True}], ids=str)
    def test_other_spaces_where_colours_hardly_repeat(self, rng, options):
        image = noise(rng)
        how = {"init": [[9000, 9000, 9000], [50000, 40000, 50000]], "tol": 1e-3} | options
        expected = fastseg.segment(image, 2, **how)
        result = fastseg.segment(da.from_array(image, chunks=(64, 100, 3)), 2, **how)
        np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)
        np.testing.assert_array_equal(result.labels.compute(), expected.labels)

    @pytest.mark.parametrize("dtype", ["bool", "int8", "int32", ">u2", "float16"])
    def test_types_that_are_converted(self, rng, dtype):
        image = rng.integers(0, 2 if dtype == "bool" else 90, (30, 40)).astype(dtype)
        expected = fastseg.segment(image, 2)
        result = fastseg.segment(da.from_array(image, chunks=(11, 40)), 2)
        assert_same(result, expected)
        assert result.dtype == expected.dtype

    def test_floats_with_nan(self, rng):
        image = rng.integers(0, 50, (40, 50)).astype(np.float32)
        image[3, 4:9] = np.nan
        expected = fastseg.segment(image, 4)
        result = fastseg.segment(da.from_array(image, chunks=(10, 50)), 4)
        assert_same(result, expected)
        assert result.start_label == 1

    def test_masked_arrays(self, rng):
        image = np.ma.masked_less(rng.integers(0, 50, (40, 50)).astype(np.uint8), 5)
        expected = fastseg.segment(image, 4)
        assert_same(fastseg.segment(da.from_array(image, chunks=(10, 50)), 4), expected)

    def test_a_mask_that_hides_nothing_says_nothing_however_numpy_keeps_it(self, rng):
        pixels = rng.integers(0, 50, (40, 50, 3)).astype(np.uint8)
        expected = fastseg.segment(pixels, 4, random_state=0)
        for hidden in (np.ma.nomask, np.zeros(pixels.shape, bool)):
            image = np.ma.array(pixels, mask=hidden)
            assert fastseg.segment(image, 4, random_state=0).start_label == 0
            for chunks in ((40, 50, 3), (11, 20, 2)):
                lazy = da.from_array(image, chunks=chunks)
                assert_same(fastseg.segment(lazy, 4, random_state=0), expected)

    def test_an_image_larger_than_its_memory_is_read_in_each_round(self, rng, monkeypatch):
        image = noise(rng)
        expected = fastseg.segment(image, 2, init=[[0] * 3, [60000] * 3])
        monkeypatch.setattr("fastseg.dask.points.memory_budget", lambda: 1000)
        lazy = da.from_array(image, chunks=(100, 251, 3))
        result = fastseg.segment(lazy, 2, init=[[0] * 3, [60000] * 3])
        assert_same(result, expected, exact_inertia=False)


class TestFloats:
    def test_chunks_show_in_the_last_bits_alone(self, rng):
        image = rng.random((300, 250, 3)).astype(np.float32)
        expected = fastseg.segment(image, 4, random_state=0)
        for chunks in [(300, 250, 3), (64, 250, 3), (100, 90, 1)]:
            result = fastseg.segment(da.from_array(image, chunks=chunks), 4, random_state=0)
            np.testing.assert_array_equal(result.init_centers, expected.init_centers)
            np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)
            assert np.mean(result.labels.compute() != expected.labels) < 1e-4

    def test_the_sample_that_stands_for_all_does_not_depend_on_chunks(self, rng):
        image = rng.random((600, 500, 3)).astype(np.float32)
        starts = {"init": [[0.2] * 3, [0.8] * 3], "max_iter": 1, "keep_profile": True}
        profiles = []
        for chunks in [(600, 500, 3), (123, 250, 3)]:
            with pytest.warns(fastseg.ConvergenceWarning):
                result = fastseg.segment(da.from_array(image, chunks=chunks), 2, **starts)
            profiles.append(result.profile)
        for a, b in zip(profiles[0].values, profiles[1].values, strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(np.unique(image)) > 2**18  # so that a sample was drawn


class TestLaziness:
    def test_labels_have_the_chunks_of_the_image(self, rng):
        lazy = da.from_array(photograph(rng), chunks=(20, 30, 3))
        labels = fastseg.segment(lazy, 3, random_state=0).labels
        assert isinstance(labels, da.Array)
        assert labels.chunks == lazy.chunks[:2]
        assert labels.dtype == np.uint8

    def test_an_image_is_read_once_for_its_clusters_and_once_for_its_labels(self, rng):
        image, reads = photograph(rng), []

        def block(block_info):
            reads.append(1)
            where = block_info[None]["array-location"]
            return image[tuple(slice(*ends) for ends in where)]

        lazy = da.map_blocks(block, chunks=((31, 30), (83,), (3,)), meta=image[:0])
        result = fastseg.segment(lazy, 3, random_state=0)
        assert len(reads) == 2
        result.labels.compute()
        assert len(reads) == 4

    def test_recolor_is_lazy_too(self, rng):
        image = photograph(rng)
        expected = fastseg.segment(image, 3, random_state=0).recolor()
        picture = fastseg.segment(da.from_array(image, chunks=30), 3, random_state=0).recolor()
        assert isinstance(picture, da.Array)
        np.testing.assert_array_equal(picture.compute(), expected)
        assert picture.shape == image.shape

    def test_predict(self, rng):
        image, other = photograph(rng), photograph(rng, (50, 40))
        model = fastseg.segment(da.from_array(image, chunks=30), 3, random_state=0)
        expected = fastseg.segment(image, 3, random_state=0).predict(other, nodata=0)
        labels = model.predict(da.from_array(other, chunks=17), nodata=0)
        assert isinstance(labels, da.Array)
        np.testing.assert_array_equal(labels.compute(), expected)

    @pytest.mark.parametrize(
        "options",
        [{}, {"match": "histogram"}, {"match": "zscore"}, {"foreground": "auto"}],
        ids=str,
    )
    def test_predict_what_depends_on_the_whole_image(self, rng, options):
        model = fastseg.segment(rng.integers(0, 99, (40, 50)).astype(np.float32), 3)
        other = rng.integers(50, 150, (60, 50)).astype(np.float32)
        other[3, 3] = np.nan
        labels = model.predict(da.from_array(other, chunks=25), **options)
        np.testing.assert_array_equal(labels.compute(), model.predict(other, **options))

    def test_importing_fastseg_or_segmenting_an_array_loads_no_dask(self):
        import subprocess
        import sys

        code = "import sys, numpy, fastseg; fastseg.segment(numpy.eye(9), 2);"
        code += "print('dask' in sys.modules)"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert found.stdout.strip() == "False"


class TestRows:
    @pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
    def test_k_means(self, rng, kind):
        X = rng.integers(0, 250, (80_000, 3)).astype(kind)
        if kind != "uint8":
            X = (rng.random((80_000, 3)) * 60000).astype(kind)
        expected = fastseg.k_means(X, 4, random_state=0, return_n_iter=True)
        found = fastseg.k_means(
            da.from_array(X, chunks=(17_000, 2)), 4, random_state=0, return_n_iter=True
        )
        if kind == "float32":
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
        else:
            np.testing.assert_array_equal(found[0], expected[0])
        assert isinstance(found[1], da.Array)
        np.testing.assert_array_equal(found[1].compute(), expected[1])
        assert found[1].dtype == np.int32
        np.testing.assert_allclose(found[2], expected[2], rtol=1e-12)
        assert found[3] == expected[3]

    def test_the_estimator(self, rng):
        X = rng.integers(0, 250, (9000, 3)).astype(np.uint8)
        lazy = da.from_array(X, chunks=(2000, 3))
        expected = fastseg.KMeans(4, random_state=0).fit(X)
        model = fastseg.KMeans(4, random_state=0).fit(lazy)
        np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
        np.testing.assert_array_equal(model.labels_.compute(), expected.labels_)
        np.testing.assert_array_equal(model.predict(lazy).compute(), expected.labels_)
        assert (model.n_features_in_, model.backend_) == (3, "cpu")
        assert model.inertia_ == expected.inertia_

    def test_the_estimator_checks_what_it_checks_in_memory(self, rng):
        X = rng.integers(0, 250, (300, 3)).astype(np.uint8)
        lazy = da.from_array(X, chunks=(100, 3))
        model = fastseg.KMeans(4, random_state=0).fit(X)
        for wrong in (lazy[:, :2], da.concatenate([lazy, lazy], axis=1)):
            with pytest.raises(ValueError, match="features, but KMeans is expecting 3 features"):
                model.predict(wrong)
        with pytest.raises(InvalidParameterError, match="'algorithm' parameter of KMeans must be"):
            fastseg.KMeans(4, algorithm="x").fit(lazy)
        with pytest.raises(TypeError, match="X has dtype complex128"):
            fastseg.KMeans(4).fit(lazy.astype(complex))

    def test_rows_of_a_data_array(self, rng):
        xr = pytest.importorskip("xarray")
        X = rng.integers(0, 250, (300, 3)).astype(np.uint8)
        rows = xr.DataArray(X, dims=("n", "band"), coords={"n": np.arange(300) * 2.0})
        lazy = rows.chunk({"n": 70})
        model = fastseg.KMeans(4, random_state=0).fit(lazy)
        expected = fastseg.KMeans(4, random_state=0).fit(rows)
        labels = fastseg.k_means(lazy, 4, random_state=0)[1]
        for found in (model.labels_, model.predict(lazy), labels):
            assert isinstance(found.data, da.Array)
            xr.testing.assert_identical(found.compute(), expected.labels_)

    def test_duplicates_only(self):
        X = np.repeat(np.array([[1.5, 2.0]]), 3000, axis=0)
        with pytest.warns(fastseg.ConvergenceWarning, match="distinct clusters"):
            centers, labels, inertia = fastseg.k_means(da.from_array(X, chunks=700), 2)
        assert (centers == X[0]).all()
        assert inertia == 0
        assert not labels.compute().any()


class TestSummaries:
    """One law: tallies add up, by the rule of an image in memory."""

    @pytest.mark.parametrize("n_distinct", [65_536, 65_537, 70_000, 70_001])
    def test_what_pays_is_what_pays_in_memory(self, rng, n_distinct):
        from fastseg.dask.cluster import Cluster
        from fastseg.dask.counting import count
        from fastseg.dask.images import as_dask_image
        from fastseg.progress import Progress

        values = np.arange(100_000) % n_distinct
        pixels = np.stack([values % 2**16, values // 2**16], axis=-1).astype(np.uint16)
        counter = RowCounter(pixels.dtype, 2, 1)
        counter.add(pixels)
        lazy = da.from_array(pixels.reshape(100, 1000, 2), chunks=(13, 333, 2))
        tally = count(Cluster(), as_dask_image(lazy, -1, None, None).source(), Progress())
        assert tally.pays == counter.pays
        assert tally.n == 100_000


class TestErrors:
    def test_unknown_chunks(self, rng):
        lazy = da.from_array(photograph(rng), chunks=20)
        lazy = lazy[lazy.sum(axis=(1, 2)) > 0]
        with pytest.raises(ValueError, match=r"image has chunks of unknown size.*compute_chunk_s"):
            fastseg.segment(lazy, 3)

    def test_all_left_out(self, rng):
        with pytest.raises(ValueError, match="every pixel of the image is left out"):
            fastseg.segment(da.zeros((20, 20), chunks=7), 2, nodata=0)

    def test_infinite_values_and_those_too_large(self):
        for value, message in ((np.inf, "image contains infinite"), (1e200, "beyond 1e.140")):
            image = np.random.default_rng(0).random((20, 20))
            image[3, 3] = value
            with pytest.raises(ValueError, match=message):
                fastseg.segment(da.from_array(image, chunks=7), 2)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda x: fastseg.segment(x, 3, backend="cuda"), "backend='cuda' is not for dask"),
            (lambda x: fastseg.segment(x, 3, mask=np.ones((2, 2))), "mask has shape"),
            (lambda x: fastseg.segment(x, 3, nodata="0"), "nodata must be a number"),
            (lambda x: fastseg.segment(x[0, 0], 3), "at least 2 dimensions"),
            (lambda x: fastseg.segment(x[:0], 3), "image is empty"),
            (lambda x: fastseg.segment(x.astype(complex), 3), "dtype complex"),
            (lambda x: fastseg.segment(x, 10**6), "distinct pixels"),
            (lambda x: fastseg.scan(x), r"image is a dask array.*image.compute\(\)"),
            (lambda x: fastseg.compare(x, 2), "image is a dask array"),
            (lambda x: fastseg.k_means(x, 3), "X must have 2 dimensions"),
            (lambda x: fastseg.k_means(x[0], 3, sample_weight=np.ones(83)), "sample_weight is not"),
            (lambda x: fastseg.k_means(x[0], 999), "n_samples=83 should be"),
            (lambda x: fastseg.k_means(x[0], 3, init=lambda *a, **k: 0), "init must be"),
            (lambda x: fastseg.MiniBatchKMeans(3).fit(x[0]), "X is a dask array"),
            (lambda x: fastseg.segment(np.zeros((61, 83)), 3, mask=x[..., 0]), "mask is a dask"),
        ],
    )
    def test_messages(self, rng, call, message):
        with pytest.raises((ValueError, TypeError), match=message):
            call(da.from_array(photograph(rng), chunks=30))

    def test_what_needs_labels_as_a_whole(self, rng):
        image = photograph(rng)
        result = fastseg.segment(da.from_array(image, chunks=30), 3)
        for call in (fastseg.objects, lambda r: fastseg.remove_specks(r, 3)):
            with pytest.raises(TypeError, match="labels is a dask array"):
                call(result)

    def test_foreground_and_optimum_of_floats_that_are_too_many(self, monkeypatch):
        monkeypatch.setattr("fastseg.kernels.cpu.row_counter.MAX_ROWS", 1000)
        lazy = da.from_array(np.random.default_rng(0).random((60, 60)), chunks=20)
        for options in ({"foreground": "auto"}, {"method": "optimal"}, {"method": "ward"}):
            with pytest.raises(ValueError, match="too many to be held"):
                fastseg.segment(lazy, 2, **options)

    def test_a_callback_stops_it(self, rng):
        lazy = da.from_array(noise(rng), chunks=(100, 251, 3))
        with pytest.raises(fastseg.Stopped, match="iterations"):
            fastseg.segment(
                lazy, 3, random_state=0, callback=lambda stage, *_: stage == "iterations"
            )


class TestCluster:
    """A scheduler and three worker processes."""

    def test_repeated_colours(self, client, rng):
        image = photograph(rng)
        expected = fastseg.segment(image, 5, random_state=0)
        result = fastseg.segment(da.from_array(image, chunks=(20, 30, 3)), 5, random_state=0)
        assert_same(result, expected)

    def test_colours_that_hardly_repeat(self, client, rng):
        image = noise(rng)
        expected = fastseg.segment(image, 3, random_state=0)
        result = fastseg.segment(da.from_array(image, chunks=(100, 130, 3)), 3, random_state=0)
        assert_same(result, expected, exact_inertia=False)

    def test_floats_do_not_depend_on_workers(self, client, rng):
        """Sums are added in one order, wherever they are computed."""
        image = rng.random((300, 250, 3)).astype(np.float32)
        lazy = da.from_array(image, chunks=(70, 125, 3))
        how = {"init": image[[0, 9, 33], 0], "tol": 1e-3}
        result = fastseg.segment(lazy, 3, **how)
        with dask.config.set(scheduler="threads"):
            expected = fastseg.segment(lazy, 3, **how)
        assert_same(result, expected)
        np.testing.assert_array_equal(result.labels.compute(), expected.labels.compute())

    def test_tasks_start_no_threads(self, client, rng):
        """As many threads compute on a worker as Dask gave it."""
        lazy = da.from_array(noise(rng, (500, 500)), chunks=(500, 250, 3))
        how = {"init": [[0] * 3, [60000] * 3], "tol": 1e-2}
        fastseg.segment(lazy, 2, **how).labels.compute()
        assert not any(client.run(_threads_of_ours).values())
        fastseg.segment(lazy, 2, n_threads=2, **how)
        assert any(client.run(_threads_of_ours).values())

    def test_a_callback_stops_it(self, client, rng):
        lazy = da.from_array(noise(rng), chunks=(100, 251, 3))
        with pytest.raises(fastseg.Stopped):
            fastseg.segment(lazy, 3, callback=lambda stage, *_: stage == "iterations")

    @pytest.mark.parametrize("repeats", [True, False], ids=["counting", "iterating"])
    def test_the_image_never_comes_to_the_client_or_the_scheduler(self, client, repeats):
        """Both are this process, and it takes a small part of the image's 48 MB."""
        dtype = np.uint16 if repeats else np.float32
        shape, chunks = ((4000, 6000), 1000) if repeats else ((2000, 3000, 2), (500, 1000, 2))
        lazy = da.zeros(shape, chunks=chunks, dtype=dtype)
        lazy = lazy.map_blocks(_filled, dtype=dtype, repeats=repeats)
        how = {} if repeats else {"init": [[0.2, 0.2], [0.7, 0.7]], "tol": 1e-2}
        fastseg.segment(lazy[:100, :100], 2, **how)  # loads what is to be loaded
        tracemalloc.start()
        try:
            result = fastseg.segment(lazy, 2, **how)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert result.counts.sum() == result.labels.size
        assert lazy.nbytes == 48_000_000
        assert peak < lazy.nbytes / 4

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills by a signal")
    @pytest.mark.parametrize("repeats", [True, False], ids=["counting", "iterating"])
    def test_a_worker_that_is_killed(self, client, rng, repeats):
        """What it held is computed anew, and the answer is the same to the last bit."""
        image = photograph(rng) if repeats else rng.random((300, 250, 3)).astype(np.float32)
        chunks = (10, 20, 3) if repeats else (50, 50, 3)
        lazy = da.from_array(image, chunks=chunks).map_blocks(_slowly, dtype=image.dtype)
        how = {"init": image[[0, 9, 33], 0], "tol": 1e-3}
        with dask.config.set(scheduler="sync"):
            expected = fastseg.segment(lazy, 3, **how)
        before, told = dict(client.run(os.getpid)), []
        wanted = "count" if repeats else "iterations"

        def kill(stage, done, total, info):
            told.append((stage, done < total))
            if told.count((wanted, True)) == 2 and "killed" not in told:
                os.kill(next(iter(before.values())), signal.SIGKILL)
                told.append("killed")

        result = fastseg.segment(lazy, 3, callback=kill, **how)
        assert told.count("killed") == 1
        assert told[-1] != "killed"
        assert_same(result, expected)
        assert set(dict(client.run(os.getpid)).values()) != set(before.values())


def _slowly(block):
    time.sleep(0.03)
    return block


def _filled(block, repeats, block_id=None):
    if repeats:
        return block + np.arange(block.shape[1], dtype=block.dtype)
    return np.random.default_rng(block_id).random(block.shape, np.float32)


def _threads_of_ours():
    import threading

    return sum(thread.name.startswith("fastseg") for thread in threading.enumerate())


def test_a_data_array_around_dask_gets_lazy_labels_with_its_coordinates():
    xr = pytest.importorskip("xarray")
    pixels = np.random.default_rng(4).integers(0, 9, (3, 40, 50)).astype(np.uint8)
    scene = xr.DataArray(
        da.from_array(pixels, chunks=(3, 16, 20)),
        dims=("band", "y", "x"),
        coords={"y": np.arange(40) * 10.0},
    )
    result = fastseg.segment(scene, 4, random_state=0)
    whole = fastseg.segment(pixels, 4, random_state=0, channel_axis=0)
    assert isinstance(result.labels.data, da.Array)
    assert result.labels.dims == ("y", "x")
    assert result.labels.y.identical(scene.y)
    np.testing.assert_array_equal(result.labels.values, whole.labels)
    np.testing.assert_array_equal(result.predict(scene).values, whole.labels)
    np.testing.assert_array_equal(result.recolor().compute(), whole.recolor())
