"""`fastseg.MiniBatchKMeans` as those who know scikit-learn's use it: draw by draw the same."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from cuda_backends import emulated, needs_compiler
from sklearn.base import clone
from sklearn.datasets import load_digits, load_sample_image, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from versions import same_batches

import fastseg
from fastseg import dispatch
from fastseg.kernels.cpu.points import chunk_size

# What scikit-learn expects to fail of its own MiniBatchKMeans: see test_scikit_learn.py.
EXPECTED_FAILED_CHECKS = {
    f"check_sample_weight_equivalence_on_{kind}_data": (
        "sample_weight is not equivalent to removing/repeating samples."
    )
    for kind in ("dense", "sparse")
}


@parametrize_with_checks(
    [
        fastseg.MiniBatchKMeans(n_clusters=2, n_init=2, max_iter=5, batch_size=10),
        fastseg.MiniBatchKMeans(n_clusters=2, init="random", tol=1e-3, backend="cpu"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS,
)
def test_scikit_learns_checks_of_an_estimator(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def X():
    """Clusters of unequal size, some of which touch."""
    sizes = [900, 30, 400, 400, 200, 70]
    return make_blobs(sizes, n_features=3, cluster_std=2.0, random_state=0)[0]


@pytest.fixture(scope="module")
def pixels():
    """Every seventh pixel each way of a photograph, uint8."""
    image = load_sample_image("china.jpg")[::7, ::7]
    return np.ascontiguousarray(image.reshape(-1, 3))


def both(*args, **options):
    """The same estimator of fastseg and of scikit-learn."""
    return [module.MiniBatchKMeans(*args, **options) for module in (fastseg, sklearn.cluster)]


def assert_same(ours, theirs, labels=True):
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-9)
    np.testing.assert_allclose(ours._counts, theirs._counts, rtol=1e-12)
    assert ours.n_steps_ == theirs.n_steps_
    assert getattr(ours, "n_iter_", None) == getattr(theirs, "n_iter_", None)
    if labels:
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)


@same_batches
class TestFitIsScikitLearns:
    """A seed gives the centres, counts and steps of scikit-learn in float64."""

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"batch_size": 100},
            {"init": "random", "batch_size": 150},
            {"n_init": 4, "init_size": 50, "batch_size": 200},
            {"tol": 0.01, "batch_size": 64, "max_no_improvement": None},
            {"max_no_improvement": 0},
            {"max_no_improvement": None, "max_iter": 3, "batch_size": 300},
            {"reassignment_ratio": 0.3, "batch_size": 80},
            {"reassignment_ratio": 0},
            {"batch_size": 10**6},
            {"compute_labels": False, "batch_size": 100},
        ],
        ids=str,
    )
    def test_with_options(self, X, options, seed):
        ours, theirs = both(6, random_state=seed, **options)
        assert_same(ours.fit(X), theirs.fit(X), labels=options.get("compute_labels", True))
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)

    @pytest.mark.parametrize("init", ["k-means++", "random", "given"])
    def test_with_weights(self, X, init):
        weights = np.random.default_rng(4).integers(0, 4, len(X)).astype(np.float64)
        init = X[:6] if init == "given" else init
        ours, theirs = both(6, init=init, random_state=1, batch_size=128)
        for estimator in (ours, theirs):
            estimator.fit(X, sample_weight=weights)
        assert_same(ours, theirs)

    def test_a_function_gets_the_part_that_starts_are_drawn_from(self, X):
        seen = []

        def start(X, n_clusters, random_state):
            seen.append(X.shape)
            return X[random_state.choice(len(X), n_clusters, replace=False)]

        ours, theirs = both(6, init=start, init_size=77, random_state=3)
        assert_same(ours.fit(X), theirs.fit(X))
        assert seen == [(77, 3)] * 6  # n_init="auto" is 3 for both

    @pytest.mark.parametrize("n", [4000, 2**17], ids=["few points", "counted"])
    def test_with_pixels_as_they_are(self, pixels, n):
        pixels = np.resize(pixels, (n, 3))
        ours, theirs = both(8, random_state=0)
        assert_same(ours.fit(pixels), theirs.fit(pixels.astype(np.float64)))
        assert ours.labels_.dtype == np.int32
        np.testing.assert_array_equal(ours.predict(pixels), ours.labels_)

    @pytest.mark.parametrize("data", ["blobs", "digits", "pixels"])
    def test_no_worse_over_seeds(self, X, pixels, data):
        rows, k = {"blobs": (X, 6), "digits": (load_digits().data, 10), "pixels": (pixels, 16)}[
            data
        ]
        inertias = [
            [
                estimator.fit(rows.astype(np.float64)).inertia_
                for estimator in both(k, random_state=s)
            ]
            for s in range(6)
        ]
        ours, theirs = np.mean(inertias, axis=0)
        assert ours <= theirs * (1 + 1e-12)

    def test_close_to_k_means(self, pixels):
        few = fastseg.MiniBatchKMeans(8, random_state=0, batch_size=4096, n_init=5).fit(pixels)
        assert (
            few.inertia_ < 1.03 * fastseg.KMeans(8, random_state=0, n_init=5).fit(pixels).inertia_
        )


class TestPartialFit:
    """Batch after batch the centres are scikit-learn's in float64."""

    def run(self, estimator, X, weights=None, size=200):
        for start in range(0, len(X), size):
            part = slice(start, start + size)
            estimator.partial_fit(X[part], sample_weight=None if weights is None else weights[part])
        return estimator

    @pytest.mark.parametrize("reassignment_ratio", [0, 0.01, 0.5])
    @pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
    @pytest.mark.parametrize("init", ["k-means++", "random", "given"])
    def test_the_same_centres_from_the_same_batches(self, X, init, weighted, reassignment_ratio):
        weights = np.random.default_rng(1).random(len(X)) if weighted else None
        init = X[::333][:6] if init == "given" else init
        pair = both(6, init=init, random_state=5, reassignment_ratio=reassignment_ratio)
        assert_same(*(self.run(estimator, X, weights) for estimator in pair))

    def test_each_centre_is_the_mean_of_all_it_was_given(self, X):
        model = fastseg.MiniBatchKMeans(3, init=X[:3], reassignment_ratio=0, compute_labels=False)
        sums, counts = np.zeros((3, 3)), np.zeros(3)
        for batch in np.split(X, 10):
            centers = getattr(model, "cluster_centers_", X[:3])
            nearest = ((batch[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
            np.add.at(sums, nearest, batch)
            counts += np.bincount(nearest, minlength=3)
            model.partial_fit(batch)
            np.testing.assert_allclose(model.cluster_centers_, sums / counts[:, None], rtol=1e-12)

    @same_batches
    def test_it_goes_on_after_a_fit(self, X):
        pair = both(6, random_state=5, batch_size=100)
        assert_same(*(self.run(estimator.fit(X), X) for estimator in pair))

    def test_a_fit_after_it_begins_anew(self, X):
        used = self.run(fastseg.MiniBatchKMeans(6, random_state=5), X)
        used.fit(X)
        fresh = fastseg.MiniBatchKMeans(6, random_state=5).fit(X)
        assert used.n_steps_ == fresh.n_steps_
        np.testing.assert_array_equal(used.cluster_centers_, fresh.cluster_centers_)
        for estimator in (used, fresh):
            estimator.partial_fit(X[:50])
        np.testing.assert_array_equal(used.cluster_centers_, fresh.cluster_centers_)

    def test_pickled_in_between(self, X):
        whole = self.run(fastseg.MiniBatchKMeans(6, random_state=5, reassignment_ratio=0.5), X)
        half = self.run(
            fastseg.MiniBatchKMeans(6, random_state=5, reassignment_ratio=0.5), X[:1000]
        )
        half = self.run(pickle.loads(pickle.dumps(half)), X[1000:])
        np.testing.assert_array_equal(half.cluster_centers_, whole.cluster_centers_)

    def test_labels_and_inertia_are_those_of_the_batch_after_it(self, X):
        model = fastseg.MiniBatchKMeans(6, random_state=0).partial_fit(X[:300])
        assert model.partial_fit(X[300:350]) is model
        np.testing.assert_array_equal(model.labels_, model.predict(X[300:350]))
        assert model.inertia_ == pytest.approx(-model.score(X[300:350]))
        assert model.n_steps_ == 2
        assert not hasattr(model, "n_iter_")

    def test_other_centres_may_be_set(self, X):
        model = fastseg.MiniBatchKMeans(2, random_state=0).partial_fit(X[:300])
        model.cluster_centers_ = [[100.0, 0, 0], [0, 0, 0]]
        model.partial_fit(X[:300])
        assert model.labels_.tolist() == [1] * 300

    @pytest.mark.parametrize("shape", [(3, 3), (2, 2), (6,)])
    def test_other_centres_have_the_shape_of_these(self, X, shape):
        model = fastseg.MiniBatchKMeans(2).partial_fit(X[:300])
        model.cluster_centers_ = np.zeros(shape)
        with pytest.raises(ValueError, match="cluster_centers_ must have"):
            model.partial_fit(X[:300])

    def test_centres_that_were_given_out_do_not_change(self, X):
        model = fastseg.MiniBatchKMeans(6, random_state=0).partial_fit(X[:300])
        before = model.cluster_centers_
        kept = before.copy()
        model.partial_fit(X[300:])
        np.testing.assert_array_equal(before, kept)
        assert not np.array_equal(model.cluster_centers_, kept)

    def test_batches_of_any_size_and_type(self, pixels):
        model = fastseg.MiniBatchKMeans(4, random_state=0)
        model.partial_fit(pixels[:50])
        model.partial_fit(pixels[50:51].astype(np.float32))
        model.partial_fit(pixels[51:5000].astype(np.float64))
        same = self.run(fastseg.MiniBatchKMeans(4, random_state=0), pixels[:50])
        same.partial_fit(pixels[50:51]).partial_fit(pixels[51:5000])
        np.testing.assert_array_equal(model.cluster_centers_, same.cluster_centers_)

    def test_the_first_batch_needs_a_point_for_each_cluster(self, X):
        model = fastseg.MiniBatchKMeans(6)
        with pytest.raises(ValueError, match="n_samples=5 should be >= n_clusters=6"):
            model.partial_fit(X[:5])
        model.partial_fit(X[:6]).partial_fit(X[:1])

    def test_the_features_of_the_first_batch_stay(self, X):
        model = fastseg.MiniBatchKMeans(2).partial_fit(X)
        with pytest.raises(
            ValueError, match="X has 2 features, but MiniBatchKMeans is expecting 3"
        ):
            model.partial_fit(X[:, :2])

    def test_names_of_features_are_kept(self, X):
        frame = pd.DataFrame(X, columns=["red", "green", "blue"])
        model = fastseg.MiniBatchKMeans(2).partial_fit(frame[:500]).partial_fit(frame[500:])
        assert model.feature_names_in_.tolist() == ["red", "green", "blue"]
        names = model.get_feature_names_out().tolist()
        assert names == ["minibatchkmeans0", "minibatchkmeans1"]


class TestReassignment:
    def test_a_cluster_that_gets_nothing_goes_to_a_point_of_the_batch(self, X):
        start = np.array([[0.0, 0, 0], [1e6, 1e6, 1e6]])
        model = fastseg.MiniBatchKMeans(2, init=start, random_state=0).partial_fit(X[:100])
        assert model.cluster_centers_[1] in X[:100]
        stays = fastseg.MiniBatchKMeans(2, init=start, reassignment_ratio=0).partial_fit(X[:100])
        np.testing.assert_array_equal(stays.cluster_centers_[1], start[1])

    def test_half_of_a_batch_at_most_becomes_centres(self, X):
        start = np.full((40, 3), 1e6)
        start[7] = 0.0
        model = fastseg.MiniBatchKMeans(40, init=start, random_state=0).partial_fit(X[:40])
        moved = (model.cluster_centers_ < 1e5).all(axis=1)
        assert moved.sum() == 1 + 20

    def test_the_heaviest_cluster_stays_whatever_the_ratio(self, X):
        model = fastseg.MiniBatchKMeans(6, reassignment_ratio=5.0, random_state=0, max_iter=1)
        assert np.isfinite(model.fit(X).cluster_centers_).all()
        assert model.partial_fit(X).inertia_ > 0


class TestSameAnswer:
    @pytest.mark.parametrize("dtype", ["float64", "uint8"])
    def test_for_any_number_of_threads(self, dtype):
        size = chunk_size(3, 5) + 1000
        points = np.random.default_rng(0).integers(0, 99, (size, 3)).astype(dtype)
        points = points + (0 if dtype == "uint8" else 0.25)
        fits = [
            fastseg.MiniBatchKMeans(
                5, random_state=0, batch_size=size, max_iter=2, n_threads=n_threads
            ).fit(points)
            for n_threads in (1, 2, 5)
        ]
        for other in fits[1:]:
            assert other.cluster_centers_.tobytes() == fits[0].cluster_centers_.tobytes()
            assert other.labels_.tobytes() == fits[0].labels_.tobytes()
            assert other.inertia_ == fits[0].inertia_

    @needs_compiler
    def test_on_the_cuda_backend(self, pixels, monkeypatch):
        cuda, named = emulated()[0], dispatch.backend_named
        monkeypatch.setattr(
            dispatch, "backend_named", lambda name: cuda if name == "cuda" else named(name)
        )
        ours, theirs = (
            fastseg.MiniBatchKMeans(4, random_state=0, batch_size=500, max_iter=2, backend=name)
            .fit(pixels[:1500])
            .partial_fit(pixels[1500:1700])
            for name in ("cuda", "cpu")
        )
        assert (ours.backend_, theirs.backend_) == ("cuda", "cpu")
        np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12)

    def test_a_generator_of_numpy_is_taken(self, X):
        fits = [
            fastseg.MiniBatchKMeans(4, random_state=np.random.default_rng(3)).fit(X)
            for _ in range(2)
        ]
        np.testing.assert_array_equal(*(fit.cluster_centers_ for fit in fits))

    def test_what_is_given_is_left_alone(self, X):
        points, start = X.copy(), X[:4].copy()
        points.flags.writeable = start.flags.writeable = False
        estimator = fastseg.MiniBatchKMeans(4, init=start).fit(points).partial_fit(points)
        assert estimator.init is start
        np.testing.assert_array_equal(start, X[:4])


class TestInterface:
    def test_scikit_learns_parameters_with_the_same_defaults(self):
        ours, theirs = (estimator.get_params() for estimator in both())
        assert {name: ours[name] for name in theirs} == theirs
        assert set(ours) - set(theirs) == {"backend", "n_threads"}

    def test_scikit_learns_attributes(self, X):
        ours, theirs = (
            {name for name in vars(estimator.fit(X)) if name[0] != "_" and name[-1] == "_"}
            for estimator in both(3)
        )
        assert ours - theirs == {"backend_"}
        assert theirs <= ours

    def test_a_clone_is_not_fitted(self, X):
        copy = clone(fastseg.MiniBatchKMeans(3, batch_size=99).fit(X))
        assert copy.get_params()["batch_size"] == 99
        with pytest.raises(NotFittedError, match="MiniBatchKMeans instance is not fitted yet"):
            copy.predict(X)

    def test_labels_are_computed_when_asked_for_alone(self, X):
        model = fastseg.MiniBatchKMeans(3, random_state=0, compute_labels=False)
        labels = model.fit_predict(X)
        assert not hasattr(model, "labels_")
        np.testing.assert_array_equal(labels, model.predict(X))
        model.set_params(compute_labels=True).fit(X)
        np.testing.assert_array_equal(model.labels_, labels)
        assert not hasattr(model.set_params(compute_labels=False).fit(X), "labels_")

    def test_inertia_without_labels_after_a_single_batch(self, X):
        model = fastseg.MiniBatchKMeans(
            3, init=X[:3], batch_size=len(X), max_iter=1, compute_labels=False
        ).fit(X)
        assert model.n_steps_ == 1
        assert 0 < model.inertia_ < np.inf

    @same_batches
    def test_transform_and_score(self, X):
        ours, theirs = (estimator.fit(X) for estimator in both(5, random_state=0))
        np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-9)
        assert ours.score(X) == pytest.approx(theirs.score(X), rel=1e-9)


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "error", "message"),
        [
            ({"n_clusters": 5000}, ValueError, "n_samples=2000 should be >= n_clusters=5000"),
            ({"backend": "gpu"}, ValueError, "backend must be .*'auto', 'cpu'.*got 'gpu'"),
            ({"n_threads": 0}, ValueError, "n_threads must be at least 1.*got 0"),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_of_parameters(self, X, method, parameters, error, message):
        estimator = fastseg.MiniBatchKMeans(**parameters)
        with pytest.raises(error, match=message):
            getattr(estimator, method)(X[:2000])
        assert not hasattr(estimator, "cluster_centers_")

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_of_points(self, X, method):
        bad = X.copy()
        bad[3, 1] = np.nan
        with pytest.raises(ValueError, match="X contains NaN"):
            getattr(fastseg.MiniBatchKMeans(3), method)(bad)
        with pytest.raises(ValueError, match="X holds values beyond 1e"):
            getattr(fastseg.MiniBatchKMeans(3), method)(X * 1e160)

    def test_of_weights(self, X):
        with pytest.raises(ValueError, match="sample_weight must hold finite numbers"):
            fastseg.MiniBatchKMeans(3).fit(X, sample_weight=np.full(len(X), -1.0))

    def test_of_a_start_among_points_without_weight(self, X):
        weights = np.zeros(len(X))
        weights[-1] = 1
        estimator = fastseg.MiniBatchKMeans(1, init_size=2, random_state=0)
        with pytest.raises(ValueError, match=r"none of the init_size=2 points .* raise init_size"):
            estimator.fit(X, sample_weight=weights)

    @same_batches
    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_warnings_are_scikit_learns(self, X, method):
        for parameters, words in [
            ({"init_size": 4}, r"init_size=4 should be larger than n_clusters=6"),
            ({"init": X[:6], "n_init": 3}, "Explicit initial center position passed"),
        ]:
            pair = both(6, random_state=0, **parameters)
            for estimator in pair:
                with pytest.warns(RuntimeWarning, match=words) as record:
                    getattr(estimator, method)(X)
                assert len(record) == 1
                if estimator is pair[0]:
                    assert record[0].filename == __file__
            assert_same(*pair)


@same_batches
class TestVerbose:
    @pytest.mark.parametrize(
        "options",
        [{}, {"tol": 0.01}, {"n_init": 2, "init": "random"}, {"reassignment_ratio": 0.4}],
        ids=str,
    )
    def test_it_prints_what_scikit_learn_prints(self, X, capsys, options):
        texts = []
        for estimator in both(6, random_state=1, batch_size=100, verbose=1, **options):
            estimator.fit(X).partial_fit(X[:100])
            texts.append(capsys.readouterr().out.splitlines())
        assert len(texts[0]) > 5
        for ours, theirs in zip(*texts, strict=True):
            assert self.rounded(ours) == self.rounded(theirs)

    def rounded(self, line):
        """Words of a line, numbers to nine digits."""
        words = line.replace(",", " ").split()
        return [f"{float(word):.9g}" if "." in word[:-1] else word for word in words]

    def test_silent_unless_asked(self, X, capsys):
        fastseg.MiniBatchKMeans(4).fit(X).partial_fit(X)
        assert capsys.readouterr() == ("", "")
