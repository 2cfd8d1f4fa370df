"""The estimators in scikit-learn's world: its errors, sparse points, other processes, its place."""

import importlib
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import scipy.sparse
import sklearn.cluster
import test_estimator
import test_minibatch
from cuda_backends import emulated, needs_compiler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.cluster import _kmeans as home
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils._test_common.instance_generator import PER_ESTIMATOR_XFAIL_CHECKS
from versions import same_batches

import fastseg
from fastseg import dispatch

NAMES = ["KMeans", "MiniBatchKMeans"]


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(120, 3)) + np.repeat([[0, 0, 0], [9, 0, 5], [0, 9, -5]], 40, axis=0)


@pytest.mark.parametrize("name", NAMES)
def test_no_check_is_expected_to_fail_that_does_not_in_scikit_learn(name):
    ours = {"KMeans": test_estimator, "MiniBatchKMeans": test_minibatch}[name]
    theirs = PER_ESTIMATOR_XFAIL_CHECKS[getattr(home, name)]
    assert set(ours.EXPECTED_FAILED_CHECKS) <= set(theirs)


WRONG = {
    "n_clusters": [0, -3, "a", 2.0, None, [2]],
    "init": ["kmeans", None, 3, 1.5],
    "n_init": [0, "many", 2.5, None],
    "max_iter": [0, -1, 1.5, "a", None],
    "tol": [-1e-4, np.nan, "a", None],
    "verbose": [-1, "much", None],
    "random_state": ["a", -1, 2**32, 1.5],
    "copy_x": [2, "yes", None],
    "algorithm": ["fast", None, 1],
    "batch_size": [0, 9.5, None],
    "compute_labels": [2, "yes"],
    "max_no_improvement": [-1, "a"],
    "init_size": [0, "all", 1.5],
    "reassignment_ratio": [-0.1, "a", None],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("parameter", "value"), [(p, v) for p in WRONG for v in WRONG[p]])
def test_errors_of_parameters_are_scikit_learns(X, name, parameter, value):
    if parameter not in getattr(sklearn.cluster, name)().get_params():
        return
    messages = []
    for module in (fastseg, sklearn.cluster):
        estimator = getattr(module, name)(**{parameter: value})
        with pytest.raises(InvalidParameterError) as error:
            estimator.fit(X)
        messages.append(str(error.value))
        assert not hasattr(estimator, "cluster_centers_")
    assert messages[0] == messages[1]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_looked_at_before_the_points(name):
    with pytest.raises(InvalidParameterError, match="'tol' parameter"):
        getattr(fastseg, name)(tol=-1).fit("no points")


def test_a_subclass_may_have_fewer_parameters(X):
    class Three(fastseg.KMeans):
        def __init__(self, random_state=None):
            super().__init__(3, random_state=random_state)

    assert len(Three(random_state=0).fit(X).cluster_centers_) == 3
    with pytest.raises(InvalidParameterError, match="'random_state' parameter of Three must"):
        Three(random_state="a").fit(X)


@st.composite
def problems(draw):
    """Points of few values, so that many are equally near to several centres, and options."""
    dtype = draw(st.sampled_from(["uint8", "float32", "float64"]))
    n = draw(st.integers(4, 40))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    points = rng.integers(0, draw(st.sampled_from([2, 4, 200])), (n, 3)).astype(dtype)
    if dtype != "uint8":
        points /= draw(st.sampled_from([1, 2, 3]))
    weights = rng.integers(0, 3, n) + np.eye(n)[0] if draw(st.booleans()) else None
    if draw(st.booleans()):
        weights = None if weights is None else weights * 0.3
    options = {
        "n_clusters": draw(st.integers(1, 4)),
        "max_iter": draw(st.sampled_from([1, 2, 100])),
        "tol": draw(st.sampled_from([0.0, 1e-4, 1.0])),
        "random_state": seed % 2**16,
    }
    return points, weights, options


@pytest.mark.filterwarnings("ignore:Number of distinct", "ignore:.*before it converged")
@pytest.mark.parametrize("name", NAMES)
@given(problem=problems())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_labels_are_what_predict_says_of_the_same_points(name, problem):
    points, weights, options = problem
    estimator = getattr(fastseg, name)(**options).fit(points, sample_weight=weights)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(points))
    distances = ((points[:, None].astype(np.float64) - estimator.cluster_centers_) ** 2).sum(axis=2)
    np.testing.assert_array_equal(estimator.labels_, distances.argmin(axis=1))


@needs_compiler
@pytest.mark.filterwarnings("ignore:Number of distinct", "ignore:.*before it converged")
@pytest.mark.parametrize("name", NAMES)
@given(problem=problems())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_so_they_are_on_the_cuda_backend(name, problem):
    points, weights, options = problem
    cuda, named = emulated()[0], dispatch.backend_named
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "backend_named", lambda n: cuda if n == "cuda" else named(n))
        model = getattr(fastseg, name)(**options, backend="cuda").fit(points, None, weights)
        np.testing.assert_array_equal(model.labels_, model.predict(points))


class TestSparse:
    @pytest.fixture
    def dense(self):
        points = np.random.default_rng(1).uniform(1, 9, (200, 12))
        return np.where(points > 7, points, 0)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_array", "coo_matrix"])
    def test_it_is_what_scikit_learn_finds(self, dense, name, kind):
        sparse = getattr(scipy.sparse, kind)(dense)
        ours, theirs = (
            getattr(module, name)(3, random_state=0, n_init=1).fit(sparse)
            for module in (fastseg, sklearn.cluster)
        )
        assert ours.backend_ == "scikit-learn"
        np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        np.testing.assert_array_equal(ours.predict(sparse), ours.labels_)
        np.testing.assert_allclose(ours.transform(sparse), theirs.transform(sparse), rtol=1e-12)
        # scikit-learn adds up by threads, whose number libraries in this process may have changed.
        assert ours.score(sparse) == pytest.approx(theirs.score(sparse), rel=1e-14)
        assert ours.score(sparse) == pytest.approx(-ours.inertia_)
        assert ours.n_iter_ == theirs.n_iter_

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
    def test_labels_are_what_predict_says(self, dense, dtype, algorithm):
        sparse = scipy.sparse.csr_array(np.rint(dense / 4).astype(dtype))
        model = fastseg.KMeans(4, random_state=0, algorithm=algorithm, max_iter=3)
        model.fit(sparse)
        np.testing.assert_array_equal(model.predict(sparse), model.labels_)
        assert model.cluster_centers_.dtype == np.float64

    def test_a_fit_to_dense_points_labels_sparse_ones(self, dense):
        model = fastseg.KMeans(3, random_state=0).fit(dense)
        assert model.backend_ == "cpu"
        sparse = scipy.sparse.csr_array(dense)
        np.testing.assert_array_equal(model.predict(sparse), model.labels_)
        assert model.score(sparse) == pytest.approx(model.score(dense), rel=1e-12)

    def test_weights(self, dense):
        weights = np.arange(200.0)
        pair = [
            module.KMeans(3, random_state=0).fit(scipy.sparse.csr_array(dense), None, weights)
            for module in (fastseg, sklearn.cluster)
        ]
        np.testing.assert_array_equal(*(model.cluster_centers_ for model in pair))

    def test_batches_go_on_after_a_fit(self, dense):
        sparse = scipy.sparse.csr_array(dense)
        pair = [
            module.MiniBatchKMeans(3, random_state=0, batch_size=50, n_init=1)
            .fit(sparse)
            .partial_fit(sparse[:50])
            .partial_fit(dense[50:90])
            for module in (fastseg, sklearn.cluster)
        ]
        np.testing.assert_allclose(*(model.cluster_centers_ for model in pair), rtol=1e-12)
        np.testing.assert_allclose(*(model._counts for model in pair))
        assert pair[0].n_steps_ == pair[1].n_steps_
        np.testing.assert_array_equal(pair[0].labels_, pair[0].predict(dense[50:90]))

    def test_a_batch_of_it_is_that_of_the_same_dense_points(self, dense):
        sparse = scipy.sparse.csr_array(dense)
        one, other = (
            fastseg.MiniBatchKMeans(3, random_state=0).partial_fit(X[:100]).partial_fit(X[100:])
            for X in (sparse, dense)
        )
        np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)
        np.testing.assert_array_equal(one.labels_, one.predict(sparse[100:]))

    @pytest.mark.parametrize("name", NAMES)
    def test_a_backend_that_is_named_does_not_take_it(self, dense, name):
        estimator = getattr(fastseg, name)(3, backend="cpu")
        assert not estimator.__sklearn_tags__().input_tags.sparse
        with pytest.raises(ValueError, match=r"backend='cpu' cannot run this: X is sparse; use"):
            estimator.fit(scipy.sparse.csr_array(dense))


class TestElsewhere:
    @pytest.mark.parametrize("name", NAMES)
    def test_another_process_predicts_by_the_pickle(self, X, name, tmp_path):
        model = getattr(fastseg, name)(3, random_state=0).fit(X)
        (tmp_path / "model.pickle").write_bytes(pickle.dumps((model, X)))
        code = (
            "import pickle; model, X = pickle.load(open('model.pickle', 'rb'));"
            "assert (model.predict(X) == model.labels_).all(); print(model.n_clusters)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert (done.stdout.strip(), done.returncode) == ("3", 0), done.stderr

    @pytest.mark.parametrize("name", NAMES)
    def test_polars_output(self, X, name):
        frame = pl.DataFrame(X, schema=["red", "green", "blue"])
        model = getattr(fastseg, name)(3, random_state=0).set_output(transform="polars")
        distances = model.fit_transform(frame)
        assert isinstance(distances, pl.DataFrame)
        assert distances.columns == model.get_feature_names_out().tolist()
        assert model.feature_names_in_.tolist() == ["red", "green", "blue"]
        np.testing.assert_array_equal(distances.to_numpy().argmin(axis=1), model.predict(frame))


@pytest.fixture
def patched():
    fastseg.patch_sklearn()
    yield
    fastseg.unpatch_sklearn()


class TestPatching:
    def test_names_are_ours_and_then_scikit_learns_again(self):
        before = [getattr(sklearn.cluster, name) for name in (*NAMES, "k_means")]
        fastseg.patch_sklearn()
        fastseg.patch_sklearn()
        try:
            from sklearn.cluster import KMeans, MiniBatchKMeans

            assert (KMeans, MiniBatchKMeans) == (fastseg.KMeans, fastseg.MiniBatchKMeans)
        finally:
            fastseg.unpatch_sklearn()
        assert [getattr(sklearn.cluster, name) for name in (*NAMES, "k_means")] == before
        fastseg.unpatch_sklearn()
        assert [getattr(sklearn.cluster, name) for name in (*NAMES, "k_means")] == before

    def test_what_others_put_there_since_stays(self, monkeypatch):
        monkeypatch.setattr(sklearn.cluster, "KMeans", sklearn.cluster.KMeans)  # to be put back
        fastseg.patch_sklearn()
        sklearn.cluster.KMeans = "another accelerator's"
        fastseg.unpatch_sklearn()
        assert sklearn.cluster.KMeans == "another accelerator's"

    def test_pickles_of_scikit_learns_still_work(self, X, patched):
        theirs = home.KMeans(3, random_state=0).fit(X)
        again = pickle.loads(pickle.dumps(theirs))
        assert type(again) is home.KMeans
        np.testing.assert_array_equal(again.labels_, theirs.labels_)

    def test_the_function_takes_all_that_scikit_learns_takes(self, X, patched):
        options = {"n_init": 2, "tol": 0, "algorithm": "elkan", "copy_x": False, "random_state": 0}
        options |= {"return_n_iter": True, "sample_weight": np.arange(120.0)}
        ours = sklearn.cluster.k_means(X, 3, **options)
        theirs = home.k_means(X, 3, **options)
        for mine, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-9)
        assert len(sklearn.cluster.k_means(X, 3)) == 3

    @pytest.mark.parametrize(
        "make",
        [
            lambda: sklearn.cluster.SpectralClustering(3, random_state=0, affinity="rbf"),
            lambda: sklearn.cluster.BisectingKMeans(3, random_state=0),
            lambda: sklearn.cluster.SpectralCoclustering(3, random_state=0),
            pytest.param(
                lambda: sklearn.cluster.SpectralCoclustering(3, random_state=0, mini_batch=True),
                marks=same_batches,
            ),
            lambda: KBinsDiscretizer(3, strategy="kmeans", encode="ordinal"),
        ],
        ids=["spectral", "bisecting", "bicluster", "bicluster-batches", "bins"],
    )
    def test_what_uses_it_in_scikit_learn_finds_the_same(self, X, make):
        X = np.abs(X)
        results = []
        for patch in (False, True):
            if patch:
                fastseg.patch_sklearn()
            try:
                model = make().fit(X)
            finally:
                fastseg.unpatch_sklearn()
            found = [getattr(model, n, None) for n in ("labels_", "row_labels_", "column_labels_")]
            results.append([f for f in found if f is not None] or [model.transform(X)])
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_comparisons_are_still_with_scikit_learns(self, patched):
        from fastseg.estimators.counterpart import counterpart

        assert counterpart("KMeans") is home.KMeans is not fastseg.KMeans

    def test_every_place_is_there_in_this_version(self):
        from fastseg.estimators.patching import _PLACES

        for module, name in _PLACES:
            assert hasattr(importlib.import_module(module), name), (module, name)
