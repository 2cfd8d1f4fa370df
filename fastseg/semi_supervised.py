"""Learning from few labels: label the samples that stand for clusters, and spread those labels.

The method is Géron's ("Hands-On Machine Learning", 3rd edition, 2022, chapter 9): whoever can
label only k samples by hand labels the k that lie nearest the centres of k clusters.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .arrays import as_points
from .estimators.kmeans import KMeans
from .kernels.backend import Array, FloatArray

# The mark of scikit-learn for samples without a label.
UNLABELLED = -1
# Rows whose differences to centres are held at once.
_ROWS = 2**14


def representatives(X: Any, kmeans: Any) -> Array:
    """Samples to label by hand: for each cluster the one nearest its centre.

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Samples.
    kmeans : estimator
        Fitted clusters, with ``cluster_centers_``: `fastseg.KMeans`, scikit-learn's, or
        another of that kind.

    Returns
    -------
    ndarray of shape (n_clusters,), int64
        Index of a sample for each cluster, the lowest of those equally near. Where clusters
        are empty one sample can stand for two.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or X has other features than the centres.
    NotFittedError
        If ``kmeans`` has not been fitted.
    """
    rows, centers = _samples(X, kmeans)
    nearest = np.zeros(len(centers), np.int64)
    least = np.full(len(centers), np.inf)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        for cluster, center in enumerate(centers):
            far = _squared(part - center)
            best = int(far.argmin())
            if far[best] < least[cluster]:
                least[cluster], nearest[cluster] = far[best], start + best
    return nearest


def propagate(labels: Any, kmeans: Any, X: Any, percentile: Any = 100) -> Array:
    """Give samples the label of their cluster: all of them, or those near its centre.

    Parameters
    ----------
    labels : array_like of shape (n_clusters,)
        Label of each cluster: numbers or words, those of the representatives for instance.
    kmeans : estimator
        Fitted clusters, with ``cluster_centers_`` and ``predict``.
    X : array_like of shape (n_samples, n_features)
        Samples.
    percentile : float
        How many percent of the samples of each cluster get its label: those nearest its
        centre, and one at least.

    Returns
    -------
    ndarray of shape (n_samples,)
        Labels; -1, scikit-learn's mark for samples without a label, for those farther out.
        Beside that number words are objects of Python, not NumPy's strings.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    NotFittedError
        If ``kmeans`` has not been fitted.
    """
    rows, centers = _samples(X, kmeans)
    given = np.asarray(labels)
    if given.shape != (len(centers),):
        raise ValueError(
            f"labels must hold one for each of the {len(centers)} clusters, got the shape"
            f" {given.shape}"
        )
    if isinstance(percentile, bool) or not isinstance(percentile, Real):
        raise TypeError(f"percentile must be a number from 0 to 100, got {percentile!r}")
    share = float(percentile)
    if not 0 <= share <= 100:
        raise ValueError(f"percentile must be from 0 to 100, got {percentile}")
    clusters = np.asarray(kmeans.predict(X))
    spread: Array = given[clusters]
    if share == 100:
        return spread
    if spread.dtype.kind == "u" and spread.max() <= np.iinfo(np.int64).max:
        spread = spread.astype(np.int64)
    elif spread.dtype.kind not in "ifO":
        spread = spread.astype(object)
    spread[_far_out(rows, centers, clusters, share)] = UNLABELLED
    return spread


class ClusterLabeler(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier for few labels: k-means on all samples, a label for each cluster.

    Each cluster gets the label of the labelled sample nearest its centre, wherever that
    sample lies: clusters in which nothing is labelled take the label of another one.

    Parameters
    ----------
    n_clusters : int
        Number of clusters, more than there are classes. A good number is that of the
        samples one can label by hand.
    percentile : float
        How many percent of the samples of each cluster get its label in
        ``transduction_``, as in `propagate`. `predict` labels every sample.
    random_state : int, RandomState or None
        Source of the starting centres.

    Attributes
    ----------
    kmeans_ : KMeans
        The clusters.
    cluster_labels_ : ndarray of shape (n_clusters,)
        The label of each.
    transduction_ : ndarray of shape (n_samples,)
        Labels of the samples of the fit: those given, those propagated, and -1.
    classes_ : ndarray of shape (n_classes,)
        The labels there are.
    n_features_in_, feature_names_in_
        As of scikit-learn's estimators.

    Examples
    --------
    >>> import numpy as np
    >>> from fastseg.semi_supervised import ClusterLabeler
    >>> X = np.array([[0.0], [0.2], [0.4], [5.0], [5.2], [5.4]])
    >>> y = np.array([-1, 7, -1, -1, 9, -1])
    >>> ClusterLabeler(n_clusters=2, random_state=0).fit(X, y).predict([[0.1], [4.9]])
    array([7, 9])
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "percentile": [Interval(Real, 0, 100, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, n_clusters: int = 8, *, percentile: float = 100, random_state: Any = None
    ) -> None:
        self.n_clusters = n_clusters
        self.percentile = percentile
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Cluster all samples and label the clusters.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Samples, labelled or not.
        y : array_like of shape (n_samples,)
            Labels, -1 for samples that have none. Words among which some are missing are
            an array of objects, ``np.array(["cat", -1, "dog"], dtype=object)``: without
            the ``dtype`` NumPy makes the number a word. Where -1 and one other number are
            all there is, both are classes: one class alone would leave nothing to tell
            apart.

        Returns
        -------
        ClusterLabeler
            This one, fitted.

        Raises
        ------
        ValueError
            If an argument is not as described, or nothing is labelled.
        """
        self._validate_params()
        as_points(X, "X")
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        labelled = np.flatnonzero(_is_labelled(y))
        if len(labelled) == 0:
            raise ValueError("y is -1 everywhere; label at least one sample")
        check_classification_targets(y[labelled])
        self.classes_ = np.unique(y[labelled])
        kmeans = KMeans(self.n_clusters, random_state=self.random_state).fit(X)
        self.kmeans_ = kmeans
        self.cluster_labels_ = y[labelled[representatives(X[labelled], kmeans)]]
        self.transduction_ = propagate(self.cluster_labels_, kmeans, X, self.percentile)
        self.transduction_[labelled] = y[labelled]
        return self

    def predict(self, X: Any) -> Array:
        """Label of the nearest cluster of each sample.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        as_points(X, "X")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        labels: Array = self.cluster_labels_[self.kmeans_.predict(X)]
        return labels


def _samples(X: Any, kmeans: Any) -> tuple[Array, FloatArray]:
    if isinstance(kmeans, type) or not hasattr(kmeans, "fit"):
        name = kmeans.__name__ if isinstance(kmeans, type) else type(kmeans).__name__
        raise TypeError(f"kmeans must be a fitted estimator, such as KMeans(50).fit(X), got {name}")
    check_is_fitted(kmeans, "cluster_centers_")
    centers = np.asarray(kmeans.cluster_centers_, np.float64)
    rows = as_points(X, "X")
    if rows.shape[1] != centers.shape[1]:
        raise ValueError(
            f"X has {rows.shape[1]} features, but the centres of kmeans have {centers.shape[1]}"
        )
    return rows, centers


def _squared(differences: FloatArray) -> FloatArray:
    squares: FloatArray = np.einsum("nd,nd->n", differences, differences)
    return squares


def _far_out(rows: Array, centers: FloatArray, clusters: Array, percentile: float) -> Array:
    """True for samples beyond the given share of their cluster."""
    far = np.concatenate([
        _squared(rows[start : start + _ROWS] - centers[clusters[start : start + _ROWS]])
        for start in range(0, len(rows), _ROWS)
    ])  # fmt: skip
    out = np.zeros(len(rows), bool)
    for cluster in range(len(centers)):
        members = np.flatnonzero(clusters == cluster)
        if len(members):
            bound = np.percentile(far[members], percentile, method="lower")
            out[members] = far[members] > bound
    return out


def _is_labelled(y: Array) -> Array:
    everything = np.ones(len(y), bool)
    if y.dtype.kind in "US":  # words: none of them is the number
        if y.dtype.kind == "U" and (y == str(UNLABELLED)).any():
            raise ValueError(
                "y holds the word '-1', which NumPy makes of the number among words;"
                " give np.array([...], dtype=object) for labels of which some are missing"
            )
        return everything
    labelled: Array = y != UNLABELLED
    if y.dtype.kind == "O":
        return labelled
    n_classes = len(np.unique(y[labelled]))
    return everything if n_classes == 1 and not labelled.all() else labelled
