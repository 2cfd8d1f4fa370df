"""Few labels, spread over clusters."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastseg import KMeans
from fastseg.semi_supervised import ClusterLabeler, propagate, representatives

RNG = np.random.default_rng(5)
BLOBS = np.concatenate([RNG.normal(c, 0.5, (40, 2)) for c in ([0, 0], [9, 0], [0, 9])])
CENTERS = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])


@pytest.fixture(scope="module")
def three():
    return KMeans(3, init=CENTERS, n_init=1).fit(BLOBS)


@parametrize_with_checks([ClusterLabeler(n_clusters=3, random_state=0)])
def test_scikit_learns_checks_of_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", [KMeans, SklearnKMeans])
def test_representatives_are_the_samples_nearest_the_centres(kind):
    kmeans = kind(3, init=CENTERS, n_init=1).fit(BLOBS)
    far = np.linalg.norm(BLOBS[:, None] - kmeans.cluster_centers_, axis=-1)
    assert (representatives(BLOBS, kmeans) == far.argmin(axis=0)).all()


def test_of_samples_equally_near_the_first_stands_for_the_cluster(three):
    doubled = np.concatenate([BLOBS, BLOBS])
    assert (representatives(doubled, three) == representatives(BLOBS, three)).all()


def test_all_samples_get_the_label_of_their_cluster(three):
    labels = propagate(["a", "b", "c"], three, BLOBS)
    assert labels.tolist() == ["a"] * 40 + ["b"] * 40 + ["c"] * 40


@pytest.mark.parametrize("percentile", [0, 10, 50, 99.9])
def test_only_those_near_the_centre_get_it(three, percentile):
    labels = propagate([4, 5, 6], three, BLOBS, percentile)
    far = np.linalg.norm(BLOBS - three.cluster_centers_[three.labels_], axis=1)
    for cluster, label in enumerate((4, 5, 6)):
        inside = far[labels == label]
        outside = far[(three.labels_ == cluster) & (labels == -1)]
        assert inside.max() < outside.min()
        assert len(inside) == int(39 * percentile / 100) + 1


def test_words_and_unsigned_labels_can_be_left_out_too(three):
    words = propagate(["a", "b", "c"], three, BLOBS, 50)
    assert words.dtype == object
    assert set(words) == {"a", "b", "c", -1}
    unsigned = propagate(np.array([4, 5, 6], np.uint8), three, BLOBS, 50)
    assert set(unsigned.tolist()) == {4, 5, 6, -1}
    huge = propagate(np.array([4, 5, 2**63 + 6], np.uint64), three, BLOBS, 50)
    assert set(huge.tolist()) == {4, 5, 2**63 + 6, -1}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda k: propagate([1, 2], k, BLOBS), ValueError, "each of the 3 clusters"),
        (lambda k: propagate([1, 2, 3], k, BLOBS, 101), ValueError, "percentile must be from 0"),
        (lambda k: propagate([1, 2, 3], k, BLOBS, "all"), TypeError, "percentile must be a number"),
        (lambda k: propagate([1, 2, 3], k, BLOBS, np.complex128(50)), TypeError, "percentile must"),
        (lambda k: propagate([1, 2, 3], k, BLOBS, np.nan), ValueError, "percentile must be from 0"),
        (lambda k: propagate([1, 2, 3], BLOBS, k), TypeError, "kmeans must .* got ndarray$"),
        (lambda k: representatives(k, BLOBS), TypeError, "kmeans must .* got ndarray$"),
        (lambda k: representatives(BLOBS, KMeans), TypeError, "kmeans must .* got KMeans$"),
        (lambda k: propagate([1, 2, 3], k, BLOBS[:, :1]), ValueError, "X has 1 features"),
        (lambda k: representatives(BLOBS[:0], k), ValueError, "0 sample"),
        (lambda k: representatives(BLOBS, KMeans(3)), NotFittedError, "not fitted"),
    ],
)
def test_wrong_arguments_are_named(three, call, error, words):
    with pytest.raises(error, match=words):
        call(three)


def test_a_labeler_needs_one_label_in_each_cluster(three):
    y = np.full(len(BLOBS), -1)
    y[representatives(BLOBS, three)] = [7, 8, 9]
    labeler = ClusterLabeler(3, percentile=50, random_state=0).fit(BLOBS, y)
    assert labeler.classes_.tolist() == [7, 8, 9]
    assert labeler.predict(BLOBS).tolist() == [7] * 40 + [8] * 40 + [9] * 40
    known = labeler.transduction_ != -1
    assert 60 <= known.sum() <= 63
    assert (labeler.transduction_[known] == labeler.predict(BLOBS)[known]).all()
    assert (labeler.transduction_[y != -1] == y[y != -1]).all()


def test_nothing_labelled_is_an_error():
    with pytest.raises(ValueError, match="y is -1 everywhere"):
        ClusterLabeler(3).fit(BLOBS, np.full(len(BLOBS), -1))


def test_words_of_which_some_are_missing_are_objects(three):
    y = np.full(len(BLOBS), -1, object)
    y[representatives(BLOBS, three)] = ["cat", "dog", "owl"]
    labeler = ClusterLabeler(3, percentile=50, random_state=0).fit(BLOBS, y)
    assert labeler.classes_.tolist() == ["cat", "dog", "owl"]
    assert labeler.predict(BLOBS).tolist() == ["cat"] * 40 + ["dog"] * 40 + ["owl"] * 40
    assert set(labeler.transduction_) == {"cat", "dog", "owl", -1}
    assert labeler.score(BLOBS, labeler.predict(BLOBS)) == 1


def test_a_mark_that_became_a_word_is_refused():
    y = np.array(["cat", -1, "dog"] * 40)
    with pytest.raises(ValueError, match=r"y holds the word '-1'.*dtype=object"):
        ClusterLabeler(3).fit(BLOBS, y)


def digits(seed):
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, random_state=seed)


def classifier():
    return LogisticRegression(max_iter=10_000)


def test_fifty_representatives_beat_fifty_random_samples():
    gains = []
    for seed in range(5):
        X, X_test, y, y_test = digits(seed)
        kmeans = KMeans(50, n_init=5, random_state=seed).fit(X)
        chosen = representatives(X, kmeans)
        drawn = np.random.default_rng(seed).choice(len(X), 50, replace=False)
        by_hand, by_chance = (
            classifier().fit(X[rows], y[rows]).score(X_test, y_test) for rows in (chosen, drawn)
        )
        gains.append(by_hand - by_chance)
    assert min(gains) > 0
    assert np.median(gains) > 0.05


def test_labels_near_the_centres_are_at_least_as_accurate_as_all():
    for seed in range(5):
        X, _, y, _ = digits(seed)
        kmeans = KMeans(50, n_init=5, random_state=seed).fit(X)
        known = y[representatives(X, kmeans)]
        whole = propagate(known, kmeans, X)
        near = propagate(known, kmeans, X, percentile=20)
        kept = near != -1
        assert (near[kept] == y[kept]).mean() >= (whole == y).mean()


def test_distances_to_clusters_help_a_classifier():
    for seed in range(5):
        X, X_test, y, y_test = digits(seed)
        alone = make_pipeline(StandardScaler(), RidgeClassifier()).fit(X, y)
        pipeline = make_pipeline(KMeans(random_state=seed), StandardScaler(), RidgeClassifier())
        search = GridSearchCV(pipeline, {"kmeans__n_clusters": [25, 50, 100]}, cv=3).fit(X, y)
        assert search.score(X_test, y_test) > alone.score(X_test, y_test) + 0.02


def test_of_minus_one_and_a_single_label_both_are_classes():
    y = np.repeat([-1, 1, 1], 40)
    labeler = ClusterLabeler(3, random_state=0).fit(BLOBS, y)
    assert labeler.classes_.tolist() == [-1, 1]
    assert (labeler.predict(BLOBS) == y).all()
