"""`fastseg.KMeans` as those who know scikit-learn's KMeans use it."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastseg

# What scikit-learn expects to fail of its own KMeans: see test_scikit_learn.py.
EXPECTED_FAILED_CHECKS = {
    f"check_sample_weight_equivalence_on_{kind}_data": (
        "a point of weight two draws other random starts than two points"
    )
    for kind in ("dense", "sparse")
}


@parametrize_with_checks(
    [
        fastseg.KMeans(n_clusters=2),
        fastseg.KMeans(n_clusters=2, n_init=2, algorithm="elkan", n_threads=2),
        fastseg.KMeans(n_clusters=3, init="random", backend="cpu"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS,
)
def test_scikit_learns_checks_of_an_estimator(estimator, check):
    check(estimator)


@pytest.fixture
def X():
    """Three clear clusters and what lies between them."""
    rng = np.random.default_rng(0)
    clear = rng.normal(size=(90, 3)) + np.repeat([[0, 0, 0], [20, 0, 5], [0, 20, -5]], 30, axis=0)
    return np.concatenate([clear, rng.uniform(-5, 25, (60, 3))])


@pytest.fixture
def kmeans():
    return fastseg.KMeans(n_clusters=4, random_state=0)


@pytest.fixture
def fitted(kmeans, X):
    return kmeans.fit(X)


@pytest.fixture
def theirs(X):
    return sklearn.cluster.KMeans(n_clusters=4, random_state=0).fit(X)


class TestInScikitLearn:
    def test_its_parameters_are_all_there_with_the_same_defaults(self):
        parameters = fastseg.KMeans().get_params()
        expected = sklearn.cluster.KMeans().get_params()
        assert {name: parameters[name] for name in expected} == expected
        assert set(parameters) - set(expected) == {"backend", "n_threads"}

    def test_its_public_attributes_are_all_there(self, fitted, theirs):
        def learned(estimator):
            return {name for name in vars(estimator) if re.fullmatch(r"[a-z].*_", name)}

        assert learned(fitted) - learned(theirs) == {"backend_"}
        assert learned(theirs) <= learned(fitted)
        for name in learned(theirs):
            ours, expected = np.asarray(getattr(fitted, name)), np.asarray(getattr(theirs, name))
            assert (ours.shape, ours.dtype.kind) == (expected.shape, expected.dtype.kind)

    def test_a_clone_has_the_parameters_and_is_not_fitted(self, X):
        start = X[:4].copy()
        estimator = fastseg.KMeans(4, init=start, tol=0.5, n_threads=2, backend="cpu").fit(X)
        copy = clone(estimator)
        assert not hasattr(copy, "cluster_centers_")
        np.testing.assert_array_equal(copy.fit(X).labels_, estimator.labels_)

    def test_set_params_in_a_pipeline(self, X):
        pipeline = make_pipeline(StandardScaler(), fastseg.KMeans(random_state=0))
        pipeline.set_params(kmeans__n_clusters=3, kmeans__backend="cpu")
        labels = pipeline.fit_predict(X)
        assert sorted(set(labels)) == [0, 1, 2]
        np.testing.assert_array_equal(pipeline.predict(X), labels)
        assert pipeline.transform(X).shape == (len(X), 3)
        assert pipeline.score(X) == pytest.approx(-pipeline[-1].inertia_)

    def test_sample_weight_in_a_pipeline(self, X):
        weights = np.linspace(0, 2, len(X))
        pipeline = make_pipeline(StandardScaler(), fastseg.KMeans(3, random_state=0))
        pipeline.fit(X, kmeans__sample_weight=weights)
        alone = fastseg.KMeans(3, random_state=0)
        alone.fit(StandardScaler().fit_transform(X), sample_weight=weights)
        np.testing.assert_array_equal(pipeline[-1].labels_, alone.labels_)

    def test_grid_search(self, X):
        grid = {"n_clusters": [2, 3, 5], "init": ["k-means++", "random"]}
        searches = [
            GridSearchCV(module.KMeans(random_state=0), grid, cv=3).fit(X)
            for module in (fastseg, sklearn.cluster)
        ]
        ours, expected = (search.cv_results_["mean_test_score"] for search in searches)
        np.testing.assert_allclose(ours, expected, rtol=1e-9)
        assert searches[0].best_params_ == searches[1].best_params_

    def test_pickled_and_back(self, fitted, X):
        again = pickle.loads(pickle.dumps(fitted))
        assert again.get_params() == fitted.get_params()
        np.testing.assert_array_equal(again.predict(X), fitted.labels_)
        np.testing.assert_array_equal(again.cluster_centers_, fitted.cluster_centers_)

    def test_repr_shows_what_was_set(self):
        estimator = fastseg.KMeans(n_clusters=3, n_threads=2)
        assert repr(estimator) == "KMeans(n_clusters=3, n_threads=2)"

    def test_fit_returns_itself_and_fits_anew(self, kmeans, X):
        assert kmeans.fit(X[:, :2]) is kmeans
        assert kmeans.fit(X).n_features_in_ == 3
        assert kmeans.cluster_centers_.shape == (4, 3)

    @pytest.mark.parametrize("method", ["predict", "transform", "score", "get_feature_names_out"])
    def test_nothing_works_before_fit(self, kmeans, X, method):
        arguments = () if method == "get_feature_names_out" else (X,)
        with pytest.raises(NotFittedError, match="KMeans instance is not fitted yet"):
            getattr(kmeans, method)(*arguments)


class TestNames:
    def test_features_have_those_of_the_frame(self, kmeans, X):
        frame = pd.DataFrame(X, columns=["red", "green", "blue"])
        kmeans.fit(frame)
        assert kmeans.feature_names_in_.tolist() == ["red", "green", "blue"]
        np.testing.assert_array_equal(kmeans.predict(frame), kmeans.labels_)
        with pytest.raises(ValueError, match="feature names"):
            kmeans.predict(frame[["blue", "green", "red"]])
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            kmeans.predict(X)

    def test_an_array_has_none(self, fitted):
        assert not hasattr(fitted, "feature_names_in_")

    def test_distances_are_named_after_the_class(self, fitted, theirs):
        names = fitted.get_feature_names_out()
        assert names.tolist() == ["kmeans0", "kmeans1", "kmeans2", "kmeans3"]
        np.testing.assert_array_equal(names, theirs.get_feature_names_out())

    def test_pandas_output(self, kmeans, X):
        frame = pd.DataFrame(X, columns=["red", "green", "blue"], index=range(100, 100 + len(X)))
        distances = kmeans.set_output(transform="pandas").fit_transform(frame)
        assert distances.columns.tolist() == ["kmeans0", "kmeans1", "kmeans2", "kmeans3"]
        assert distances.index.equals(frame.index)
        plain = clone(kmeans).set_output(transform="default").fit_transform(frame)
        assert isinstance(plain, np.ndarray)
        np.testing.assert_array_equal(distances.to_numpy(), plain)


class TestResults:
    def test_transform_gives_scikit_learns_distances(self, fitted, theirs, X):
        np.testing.assert_allclose(fitted.transform(X), theirs.transform(X), rtol=1e-9)
        np.testing.assert_array_equal(fitted.transform(X).argmin(axis=1), fitted.labels_)
        np.testing.assert_array_equal(clone(fitted).fit_transform(X), fitted.transform(X))

    @pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
    def test_score_is_minus_the_inertia(self, fitted, theirs, X, weighted):
        weights = np.linspace(0, 3, len(X)) if weighted else None
        score = fitted.score(X, sample_weight=weights)
        assert isinstance(score, float)
        assert score == pytest.approx(theirs.score(X, sample_weight=weights), rel=1e-12)
        if not weighted:
            assert score == pytest.approx(-fitted.inertia_, rel=1e-12)

    def test_score_of_other_points(self, fitted, theirs):
        others = np.random.default_rng(9).uniform(-30, 30, (77, 3))
        assert fitted.score(others) == pytest.approx(theirs.score(others), rel=1e-12)
        assert fitted.score(others, None) == fitted.score(others)

    @pytest.mark.parametrize(
        "dtype", ["float64", "float32", "float16", "uint8", "uint16", "int16", "int8", "int64"]
    )
    @pytest.mark.parametrize("d", [1, 3, 20])
    def test_labels_are_what_predict_says(self, dtype, d):
        rng = np.random.default_rng(d)
        X = rng.uniform(0, 120, (3000, d)).astype(dtype)
        estimator = fastseg.KMeans(5, random_state=0)
        labels = estimator.fit_predict(X)
        assert labels is estimator.labels_
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(estimator.predict(X), labels)
        assert estimator.score(X) == pytest.approx(-estimator.inertia_, rel=1e-12)

    @pytest.mark.parametrize(
        "dtype", ["uint8", "uint16", "int16", "int8", "int32", "int64", "bool"]
    )
    def test_integers_are_clustered_as_their_float64_values(self, dtype):
        X = np.random.default_rng(0).integers(0, 100, (500, 3)) > 50
        if dtype != "bool":
            X = np.random.default_rng(0).integers(0, 100, (500, 3)).astype(dtype)
        estimator = fastseg.KMeans(4, random_state=0).fit(X)
        expected = fastseg.KMeans(4, random_state=0).fit(X.astype(np.float64))
        np.testing.assert_array_equal(estimator.labels_, expected.labels_)
        np.testing.assert_allclose(
            estimator.cluster_centers_, expected.cluster_centers_, rtol=1e-13
        )
        assert estimator.cluster_centers_.dtype == np.float64
        np.testing.assert_array_equal(estimator.transform(X), expected.transform(X * 1.0))

    def test_float32_keeps_its_type_in_transform(self, X):
        estimator = fastseg.KMeans(4, random_state=0).fit(X.astype(np.float32))
        assert estimator.transform(X.astype(np.float32)).dtype == np.float32

    def test_lists_are_taken(self):
        estimator = fastseg.KMeans(2, random_state=0).fit([[1, 2], [1, 4], [10, 2], [10, 4]])
        np.testing.assert_array_equal(
            np.sort(estimator.cluster_centers_, axis=0), [[1, 3], [10, 3]]
        )
        assert estimator.predict([[0, 0]]) == estimator.labels_[0]

    def test_elkan_is_lloyd(self, X):
        lloyd, elkan = (
            fastseg.KMeans(4, random_state=0, algorithm=algorithm).fit(X)
            for algorithm in ("lloyd", "elkan")
        )
        np.testing.assert_array_equal(lloyd.cluster_centers_, elkan.cluster_centers_)
        assert lloyd.n_iter_ == elkan.n_iter_

    @pytest.mark.parametrize("backend", ["auto", "cpu"])
    def test_the_backend_is_recorded(self, X, backend):
        estimator = fastseg.KMeans(3, backend=backend).fit(X)
        assert estimator.backend_ == "cpu"
        assert estimator.backend == backend

    @pytest.mark.parametrize("n_threads", [None, -1, 1, 3, np.int64(2)])
    def test_threads(self, X, fitted, n_threads):
        estimator = clone(fitted).set_params(n_threads=n_threads).fit(X)
        np.testing.assert_array_equal(estimator.labels_, fitted.labels_)

    @pytest.mark.parametrize(
        "weights",
        [
            np.linspace(0, 2, 150).astype(np.float32),
            list(range(150)),
            np.arange(300)[::2],
            pd.Series(np.arange(150.0)),
            2.5,
        ],
        ids=["float32", "list", "strided", "series", "number"],
    )
    def test_weights_of_any_kind(self, X, weights):
        estimator = fastseg.KMeans(4, random_state=0).fit(X, sample_weight=weights)
        expected = sklearn.cluster.KMeans(4, random_state=0).fit(X, sample_weight=weights)
        np.testing.assert_array_equal(estimator.labels_, expected.labels_)
        assert estimator.inertia_ == pytest.approx(expected.inertia_, rel=1e-9)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "read-only": read_only,
    "Fortran order": np.asfortranarray,
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "negative strides": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "read-only and in Fortran order": lambda X: read_only(np.asfortranarray(X)),
}


@pytest.mark.parametrize("copy_x", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "uint16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_the_input_does_not_matter_and_it_is_left_alone(layout, dtype, copy_x):
    X = np.random.default_rng(0).uniform(0, 250, (300, 3)).astype(dtype)
    weights = np.linspace(0, 1, 300)
    # Big-endian float32 becomes float64, as in scikit-learn, and with it the centres.
    rtol = 1e-6 if dtype == "float32" else 1e-13
    expected = fastseg.KMeans(4, random_state=0).fit(X, sample_weight=weights)
    given, given_weights = LAYOUTS[layout](X), read_only(weights)
    estimator = fastseg.KMeans(4, random_state=0, copy_x=copy_x)
    estimator.fit(given, sample_weight=given_weights)
    np.testing.assert_array_equal(estimator.labels_, expected.labels_)
    np.testing.assert_allclose(estimator.cluster_centers_, expected.cluster_centers_, rtol=rtol)
    np.testing.assert_array_equal(estimator.predict(given), expected.labels_)
    np.testing.assert_allclose(estimator.transform(given), expected.transform(X), rtol=1e-5)
    np.testing.assert_array_equal(given, X)
    _, labels, _ = fastseg.k_means(given, 4, random_state=0, sample_weight=given_weights)
    np.testing.assert_array_equal(labels, expected.labels_)


def test_a_read_only_start_is_left_alone(X):
    start = read_only(X[:4])
    estimator = fastseg.KMeans(4, init=start).fit(X)
    np.testing.assert_array_equal(start, X[:4])
    assert estimator.init is start


class TestStarts:
    @pytest.mark.parametrize(
        ("init", "n_runs"),
        [("callable", 10), ("random", 10), ("k-means++", 1), ("given", 1)],
    )
    def test_the_number_of_runs_by_default(self, X, capsys, init, n_runs):
        calls = []

        def first(X, n_clusters, random_state):
            calls.append(random_state)
            return X[:n_clusters]

        start = {"callable": first, "given": X[:4]}.get(init, init)
        fastseg.KMeans(4, init=start, verbose=1).fit(X)
        assert capsys.readouterr().out.count("Iteration 0,") == n_runs
        assert len(calls) == (n_runs if init == "callable" else 0)

    def test_more_runs_are_never_worse(self, X):
        few, many = (
            fastseg.KMeans(7, init="random", n_init=n_init, random_state=3).fit(X).inertia_
            for n_init in (1, 20)
        )
        assert many <= few

    def test_several_runs_from_given_centres_are_one(self, X):
        estimator = fastseg.KMeans(4, init=X[:4], n_init=3)
        message = "Explicit initial center position passed: performing only one init"
        with pytest.warns(RuntimeWarning, match=message + ".* instead of n_init=3") as record:
            estimator.fit(X)
        assert record[0].filename == __file__
        np.testing.assert_array_equal(
            estimator.labels_, fastseg.KMeans(4, init=X[:4]).fit(X).labels_
        )

    @pytest.mark.parametrize("n_init", ["auto", 1])
    def test_one_run_from_given_centres_needs_no_warning(self, X, n_init):
        fastseg.KMeans(4, init=X[:4].tolist(), n_init=n_init).fit(X)

    def test_a_function_gets_the_points_the_number_and_the_generator(self, X):
        seen = []

        def start(X, n_clusters, random_state):
            seen.append((X, n_clusters, random_state))
            return X[random_state.choice(len(X), n_clusters, replace=False)]

        generator = np.random.RandomState(5)
        fastseg.KMeans(4, init=start, n_init=2, random_state=generator).fit(X)
        assert [n_clusters for _, n_clusters, _ in seen] == [4, 4]
        assert all(given is generator for *_, given in seen)
        np.testing.assert_array_equal(seen[0][0], X)

    def test_the_same_seed_gives_the_same_fit(self, X):
        seeded = [fastseg.KMeans(6, init="random", n_init=1, random_state=8) for _ in range(2)]
        labels = [estimator.fit(X).labels_ for estimator in seeded]
        np.testing.assert_array_equal(*labels)

    def test_one_cluster_of_one_point(self):
        estimator = fastseg.KMeans(1).fit([[3.0, 4.0]])
        np.testing.assert_array_equal(estimator.cluster_centers_, [[3.0, 4.0]])
        assert estimator.inertia_ == 0.0


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "error", "message"),
        [
            ({"n_clusters": 0}, ValueError, "n_clusters must be at least 1, got 0"),
            ({"n_clusters": -3}, ValueError, "n_clusters must be at least 1, got -3"),
            ({"n_clusters": "a"}, TypeError, "n_clusters must be a whole number, got 'a'"),
            ({"n_clusters": 2.0}, TypeError, r"n_clusters must be a whole number, got 2\.0"),
            ({"n_clusters": True}, TypeError, "n_clusters must be a whole number, got True"),
            ({"n_clusters": None}, TypeError, "n_clusters must be a whole number, got None"),
            ({"n_clusters": 151}, ValueError, "n_samples=150 should be >= n_clusters=151"),
            ({"max_iter": 0}, ValueError, "max_iter must be at least 1, got 0"),
            ({"max_iter": 1.5}, TypeError, r"max_iter must be a whole number, got 1\.5"),
            ({"n_init": 0}, ValueError, "n_init must be at least 1, got 0"),
            ({"n_init": "many"}, TypeError, "n_init must be a whole number.*got 'many'"),
            ({"tol": -1e-4}, ValueError, "tol must be a number of at least 0, got -0.0001"),
            ({"tol": np.nan}, ValueError, "tol must be a number of at least 0, got nan"),
            ({"tol": "a"}, ValueError, "tol must be a number of at least 0, got 'a'"),
            ({"tol": None}, ValueError, "tol must be a number of at least 0, got None"),
            ({"backend": "gpu"}, ValueError, "backend must be .*'auto', 'cpu'.*got 'gpu'"),
            ({"backend": None}, ValueError, "backend must be .*'auto', 'cpu'.*got None"),
            ({"n_threads": 0}, ValueError, "n_threads must be at least 1.*got 0"),
            ({"n_threads": -2}, ValueError, "n_threads must be at least 1.*got -2"),
            ({"n_threads": 1.0}, TypeError, r"n_threads must be a whole number.*got 1\.0"),
            ({"n_threads": "all"}, TypeError, "n_threads must be a whole number.*got 'all'"),
            ({"init": "kmeans"}, ValueError, "init must be 'k-means.*got 'kmeans'"),
            ({"init": None}, ValueError, "init must be .*got None"),
            ({"init": 3}, ValueError, "init must be .*got 3"),
            ({"random_state": "a"}, ValueError, "random_state must be .*got 'a'"),
            ({"random_state": -1}, ValueError, "random_state must be .*got -1"),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    def test_of_parameters(self, X, parameters, error, message):
        with pytest.raises(error, match=message):
            fastseg.k_means(X, **{"n_clusters": 8, **parameters})
        # Of scikit-learn's parameters the estimator says what that says.
        words = message if {"backend", "n_threads"} & set(parameters) else None
        estimator = fastseg.KMeans(**parameters)
        with pytest.raises((ValueError, TypeError), match=words):
            estimator.fit(X)
        assert not hasattr(estimator, "labels_")

    @pytest.mark.parametrize("function", [False, True], ids=["array", "callable"])
    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((3, 3), r"initial centers \(3, 3\) does not match the number of clusters 4"),
            ((5, 3), r"initial centers \(5, 3\) does not match the number of clusters 4"),
            ((4, 2), r"initial centers \(4, 2\) does not match the number of features .* 3"),
            ((4,), r"initial centers \(4,\)"),
            ((4, 3, 1), r"initial centers \(4, 3, 1\)"),
        ],
    )
    def test_of_starts_by_their_shape(self, X, shape, message, function):
        start = np.zeros(shape)
        init = (lambda X, n_clusters, random_state: start) if function else start
        with pytest.raises(ValueError, match=message):
            fastseg.KMeans(4, init=init, n_init=1).fit(X)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_of_starts_that_are_not_finite(self, X, value):
        start = X[:4].copy()
        start[2, 1] = value
        with pytest.raises(ValueError, match=r"init.*NaN or infinite"):
            fastseg.KMeans(4, init=start).fit(X)

    def test_of_starts_that_are_not_numbers(self, X):
        for start in (np.full((2, 3), "a"), np.ones((2, 3), complex)):
            with pytest.raises(TypeError, match=r"init has dtype .*, which is not supported"):
                fastseg.KMeans(2, init=start).fit(X)
        with pytest.raises(ValueError, match="init holds values beyond 1e"):
            fastseg.KMeans(2, init=np.array([[0.0] * 3, [1e200] * 3])).fit(X)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.nan, "X contains NaN"),
            (np.inf, "X contains infinite values"),
            (-np.inf, "X contains infinite values"),
        ],
    )
    def test_of_points_that_are_not_finite(self, X, dtype, value, message):
        fitted = fastseg.KMeans(3).fit(X)
        X = X.astype(dtype)
        X[17, 2] = value
        for method in (fastseg.KMeans(3).fit, fitted.predict, fitted.transform, fitted.score):
            with pytest.raises(ValueError, match=message):
                method(X)
        with pytest.raises(ValueError, match=message):
            fastseg.k_means(X, 3)

    @pytest.mark.parametrize(
        ("points", "message"),
        [
            (np.zeros(5), r"X must have 2 dimensions .*X\.reshape\(-1, 1\)"),
            (np.zeros((3, 4, 5)), r"X must have 2 dimensions .*\(3, 4, 5\)"),
            (np.zeros((0, 3)), "X is empty: 0 sample"),
            (np.zeros((5, 0)), "X is empty: 0 feature"),
            (np.zeros((5, 2), complex), "X has dtype complex128; use X.real"),
            ([["a", "b"], ["c", "d"]], "X has dtype <U1"),
            ([["1", "2"], ["3", "4"]], "X has dtype <U1"),
            ([["1", 2], [3, 4.5]], "X has dtype <U"),
            (np.array([["1", 2], [3, 4]], object), r"X holds what is no number \('1'\)"),
            (np.array([[2**60 + 1, 2], [3, 4]], object), r"X holds integers beyond 2\*\*53"),
            (np.full((2, 2), 2**60 + 1), r"X holds integers beyond 2\*\*53"),
            ([[1, 2], [3]], "X is a sequence of parts of several lengths"),
            (np.zeros((2, 2), "datetime64[s]"), "X has dtype datetime64"),
            (np.zeros((2, 2), np.longdouble), "X has dtype"),
            (np.ma.masked_equal([[1, 2], [3, 4]], 3), "X has 1 masked values"),
        ],
        ids=[
            *("1-D", "3-D", "no points", "no features", "complex", "words", "digits", "mixed"),
            *("objects", "large objects", "large", "ragged", "dates", "long doubles", "masked"),
        ],
    )
    def test_of_points_by_their_shape_and_type(self, points, message):
        fitted = fastseg.KMeans(2).fit([[0.0, 0.0], [1.0, 1.0]])
        for function in (fastseg.KMeans(2).fit, fitted.predict, lambda X: fastseg.k_means(X, 2)):
            with pytest.raises((ValueError, TypeError), match=message) as error:
                function(points)
            assert "\n" not in str(error.value)

    def test_of_points_that_are_too_far(self, fitted, X):
        for method in (fastseg.KMeans(3).fit, fitted.predict, fitted.transform, fitted.score):
            with pytest.raises(ValueError, match="X holds values beyond 1e"):
                method(X * 1e160)
        with pytest.raises(ValueError, match=r"float32 cannot hold; use X\.astype"):
            fitted.transform(np.full((1, 3), 3e38, np.float32))

    def test_of_sparse_points(self, X):
        sparse = pytest.importorskip("scipy.sparse").csr_array(X)
        with pytest.raises(TypeError, match=r"X is a sparse matrix.*X\.toarray\(\).*KMeans"):
            fastseg.k_means(sparse, 3)

    def test_of_another_number_of_features(self, fitted, X):
        for method in (fitted.predict, fitted.transform, fitted.score):
            with pytest.raises(ValueError, match="X has 2 features, but KMeans is expecting 3"):
                method(X[:, :2])

    @pytest.mark.parametrize("shape", [(4, 2), (4,), (4, 3, 1)])
    def test_of_centres_that_do_not_fit_the_features(self, fitted, X, shape):
        fitted.cluster_centers_ = np.zeros(shape)
        for method in (fitted.predict, fitted.score):
            with pytest.raises(ValueError, match=r"cluster_centers_ must .*\(n_clusters, 3\)"):
                method(X)

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (np.ones(149), r"sample_weight.*\(149,\).*\(150,\)"),
            (np.ones((150, 1)), r"sample_weight.*\(150, 1\)"),
            (np.full(150, -1.0), "sample_weight.*at least 0"),
            (np.full(150, np.nan), "sample_weight.*finite"),
            (np.full(150, np.inf), "sample_weight.*finite"),
            (np.zeros(150), "sample_weight is zero everywhere"),
            (np.full(150, 1e300), r"sample_weight holds weights of up to 1e\+300, .*; divide it"),
            (np.full(150, 1e-300), "sample_weight holds weights of up to 1e-300, .*; divide it"),
            (np.ma.masked_less(np.arange(150), 3), "sample_weight has 3 masked values"),
        ],
        ids=["too few", "2-D", "negative", "NaN", "infinite", "zero", "huge", "tiny", "masked"],
    )
    def test_of_weights(self, X, weights, message):
        with pytest.raises(ValueError, match=message):
            fastseg.KMeans(3).fit(X, sample_weight=weights)


class TestFewDistinctPoints:
    """k may exceed the number of distinct points: some clusters stay empty, and it is said."""

    @pytest.mark.parametrize("init", ["k-means++", "random", "given"])
    @pytest.mark.parametrize("n_distinct", [1, 2, 3])
    def test_scikit_learns_warning(self, n_distinct, init):
        X = np.repeat([[0.0, 1.0], [5.0, 5.0], [9.0, 2.0]][:n_distinct], 5, axis=0)
        start = np.random.default_rng(0).normal(size=(5, 2)) if init == "given" else init
        records = []
        for module in (fastseg, sklearn.cluster):
            estimator = module.KMeans(5, init=start, n_init=1, random_state=0)
            with pytest.warns(ConvergenceWarning) as record:
                estimator.fit(X)
            assert len(set(estimator.labels_)) == n_distinct
            assert estimator.inertia_ == pytest.approx(0.0, abs=1e-12)
            records.append(record)
        ours, expected = ([str(warning.message) for warning in record] for record in records)
        assert ours == expected
        assert ours == [
            f"Number of distinct clusters ({n_distinct}) found smaller than n_clusters (5)."
            " Possibly due to duplicate points in X."
        ]
        assert records[0][0].filename == __file__

    def test_labels_are_still_what_predict_says(self):
        X = np.repeat([[0], [7]], 4, axis=0).astype(np.uint8)
        with pytest.warns(ConvergenceWarning, match="distinct clusters"):
            estimator = fastseg.KMeans(4, random_state=0).fit(X)
        np.testing.assert_array_equal(estimator.predict(X), estimator.labels_)
        assert np.isfinite(estimator.cluster_centers_).all()


class TestVerbose:
    LINE = re.compile(r"Iteration (\d+), inertia (.+)\.")

    def iterations(self, text):
        """(number, inertia) of every line about an iteration."""
        found = [self.LINE.fullmatch(line) for line in text.splitlines()]
        return [(int(match[1]), float(match[2])) for match in found if match]

    def test_silent_unless_asked(self, X, capsys):
        fastseg.KMeans(4).fit(X)
        assert capsys.readouterr() == ("", "")

    @pytest.fixture(params=["k-means++", "random", "given"])
    def texts(self, request, X, capsys):
        """Function of tol that gives what we print, and what scikit-learn prints."""
        start = X[:4] if request.param == "given" else request.param
        n_init = 1 if request.param == "given" else 2

        def run(tol):
            for module in (fastseg, sklearn.cluster):
                estimator = module.KMeans(4, init=start, n_init=n_init, tol=tol, random_state=0)
                estimator.set_params(verbose=1).fit(X)
                yield capsys.readouterr().out

        return run

    @pytest.mark.parametrize("tol", [0.1, 0])
    def test_every_iteration_is_printed_as_scikit_learn_does(self, texts, tol):
        ours, expected = map(self.iterations, texts(tol))
        np.testing.assert_allclose(ours, expected, rtol=1e-9)

    def test_every_start_is_announced_as_scikit_learn_does(self, texts):
        ours, expected = (text.count("Initialization complete\n") for text in texts(0.1))
        assert ours == expected

    def test_every_iteration_once_however_long_it_takes(self, X, capsys, monkeypatch):
        monkeypatch.setattr("fastseg.progress._INTERVAL", 0.0)
        estimator = fastseg.KMeans(4, init=X[:4], tol=0.1, verbose=1).fit(X)
        numbers = [number for number, _ in self.iterations(capsys.readouterr().out)]
        assert numbers == list(range(estimator.n_iter_))


class TestMaxIter:
    def test_it_is_said_where_the_user_is(self, X):
        estimator = fastseg.KMeans(6, init="random", n_init=1, random_state=0, max_iter=1)
        with pytest.warns(ConvergenceWarning, match="max_iter=1 before it converged") as record:
            estimator.fit(X)
        assert [warning.filename for warning in record] == [__file__]
        assert estimator.n_iter_ == 1
        np.testing.assert_array_equal(estimator.predict(X), estimator.labels_)


class TestImports:
    """What is loaded, seen from a new process."""

    def run(self, code):
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.split()

    def test_importing_fastseg_loads_none_of_what_it_builds_on(self):
        code = "import sys, fastseg; print(*sys.modules)"
        loaded = {name.partition(".")[0] for name in self.run(code)}
        assert loaded.isdisjoint({"numpy", "numba", "llvmlite", "sklearn", "scipy", "PIL", "cupy"})

    def test_k_means_runs_without_scikit_learn(self):
        code = (
            "import sys, fastseg;"
            "centers, labels, inertia = fastseg.k_means([[0.0], [1.0], [9.0]], 2, random_state=0);"
            "assert sorted(centers.ravel()) == [0.5, 9.0];"
            "print(*sys.modules)"
        )
        loaded = {name.partition(".")[0] for name in self.run(code)}
        assert "numba" in loaded
        assert "sklearn" not in loaded


def test_arrays_that_need_no_conversion_are_checked_all_the_same():
    points = np.arange(40, dtype=np.float32).reshape(20, 2) ** 2
    model = fastseg.KMeans(2, n_init=1, random_state=0).fit(points)
    assert model.n_features_in_ == 2
    for bad, words in (
        (points[:, :1].copy(), "X has 1 features"),
        (np.where(points > 9, np.nan, points), "contains NaN"),
        (np.where(points > 9, np.inf, points), "contains infinite values"),
        (points[:0], "0 sample"),
        (points[0], "Reshape your data"),
    ):
        with pytest.raises(ValueError, match=words):
            model.predict(bad)
        if "features" not in words:
            with pytest.raises(ValueError, match=words):
                fastseg.KMeans(2).fit(bad)


def test_values_whose_sum_overflows_are_taken():
    points = np.full((40, 2), 3e38, np.float32)
    points[20:] = -3e38
    assert len(set(fastseg.KMeans(2, n_init=1, random_state=0).fit_predict(points))) == 2
