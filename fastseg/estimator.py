"""KMeans with scikit-learn's interface, over fastseg's solver."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils.validation import check_is_fitted, validate_data

from .arrays import as_weights, check_magnitude, is_plain, refuse_gpu
from .dispatch import choose_backend
from .functional import fit_rows
from .kernels.backend import Array, FloatArray, Points, Problem
from .progress import Progress
from .solver import ConvergenceWarning, check_parameters, warn_of

# Integers of up to 16 bits are clustered as they are; others become float64.
_DTYPES = [np.float64, np.float32, np.uint8, np.uint16, np.int16]


class _EitherWarning(SklearnConvergenceWarning, ConvergenceWarning):  # type: ignore[misc]
    """Caught by filters on either library's warning."""


class KMeans(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """k-means clustering with the parameters and attributes of `sklearn.cluster.KMeans`.

    From the same start it finds scikit-learn's float64 result, and a seed draws the
    same start. Distances and sums are in float64 for every type of input.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"}, array_like of shape (n_clusters, n_features) or callable
        Starting centres.
    n_init : int or "auto"
        Runs from different starts, of which the best is kept. "auto" is 1 for
        k-means++ and given centres, else 10.
    max_iter : int
        Iterations of a run at most.
    tol : float
        A run stops when the squared shift of the centres is at most ``tol`` times the
        mean variance of the features.
    verbose : int
        Above 0, the inertia of each iteration is printed as scikit-learn does.
    random_state : int, RandomState or None
        Source of the draws.
    copy_x : bool
        Accepted for compatibility: X is never changed.
    algorithm : {"lloyd", "elkan"}
        Accepted for compatibility: both give the same result, by the same kernels.
    backend : str
        "auto" or one of `fastseg.available_backends`.
    n_threads : int, optional
        Threads of the CPU backend; -1 or by default all that may be used.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centres in float64, for float32 input too: rounded centres would label points
        near a border otherwise than float64 does.
    labels_ : ndarray of shape (n_samples,), int32
        Cluster of each point; equal to ``predict(X)``.
    inertia_ : float
        Weighted sum of squared distances to the nearest centre.
    n_iter_ : int
        Iterations of the best run.
    n_features_in_ : int
        Features seen in fit.
    feature_names_in_ : ndarray of str
        Names of the features, where X has them.
    backend_ : str
        Backend that computed the fit.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        backend: str = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.backend = backend
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> KMeans:
        """Find the clusters of X.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points.
        y : None
            Not used.
        sample_weight : array_like of shape (n_samples,), optional
            Weights of the points, not negative.

        Returns
        -------
        KMeans
            This estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not as described.
        """
        values = self._validated(X, reset=True)
        check_magnitude(values, "X")
        if self.algorithm not in ("lloyd", "elkan"):
            raise ValueError(f"algorithm must be 'lloyd' or 'elkan', got {self.algorithm!r}")
        init, n_init = check_parameters(
            self.n_clusters, self.init, self.n_init, self.max_iter, self.tol, values.shape[1]
        )
        if len(values) < self.n_clusters:
            raise ValueError(f"n_samples={len(values)} should be >= n_clusters={self.n_clusters}.")
        fit = fit_rows(
            values,
            as_weights(sample_weight, len(values)),
            self.n_clusters,
            init=init,
            n_init=n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=self.random_state,
            backend=self.backend,
            n_threads=self.n_threads,
            progress=Progress(_Printer() if self.verbose else None),
        )
        warn_of(fit.run, self.max_iter, _EitherWarning)
        self.cluster_centers_ = fit.run.centers
        self.labels_ = fit.labels
        self.inertia_ = fit.run.inertia
        self.n_iter_ = fit.run.n_iter
        self.backend_ = fit.backend
        self._n_features_out = self.n_clusters
        return self

    def _validated(self, X: Any, *, reset: bool) -> Array:
        """X as the kernels take it; ``reset`` where the features are those of this X."""
        if is_plain(X) and not hasattr(self, "feature_names_in_"):
            if reset:
                self.n_features_in_ = X.shape[1]
            if X.shape[1] == self.n_features_in_:
                plain: Array = X
                return plain
        refuse_gpu(X, "X")
        values: Array = validate_data(self, X, dtype=_DTYPES, order="C", reset=reset)
        return values

    def _put(self, X: Any, sample_weight: Any = None) -> tuple[Points, FloatArray]:
        """Points to compare with the centres, and the centres in float64."""
        check_is_fitted(self)
        values = self._validated(X, reset=False)
        centers = np.ascontiguousarray(self.cluster_centers_, dtype=np.float64)
        problem = Problem(values.shape[0], values.shape[1], len(centers), values.dtype.name)
        backend = choose_backend(problem, self.backend).backend
        weights = as_weights(sample_weight, len(values))
        return backend.put(values, weights, n_threads=self.n_threads), centers

    def predict(self, X: Any) -> Array:
        """Index of the nearest centre of each point.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points.

        Returns
        -------
        ndarray of shape (n_samples,), int32
            Labels; the lowest index wins a tie.
        """
        points, centers = self._put(X)
        return points.assign(centers)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Fit to X and return ``labels_``; the arguments are those of `fit`."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def transform(self, X: Any) -> Array:
        """Euclidean distances of points to the centres.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            Distances, in float32 for float32 input and else in float64.
        """
        check_is_fitted(self)
        refuse_gpu(X, "X")
        values = validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=False)
        distances = euclidean_distances(values, self.cluster_centers_)
        typed: Array = distances.astype(values.dtype, copy=False)
        return typed

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Fit to X and return `transform` of it; the arguments are those of `fit`."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the inertia of X.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points.
        y : None
            Not used.
        sample_weight : array_like of shape (n_samples,), optional
            Weights of the points.

        Returns
        -------
        float
            Minus the weighted sum of squared distances to the nearest centre.
        """
        points, centers = self._put(X, sample_weight)
        return -points.accumulate(centers).inertia

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class _Printer:
    """Callback that prints what scikit-learn prints of each iteration."""

    def __init__(self) -> None:
        self.last = (0, 0)

    def __call__(self, stage: str, done: int, total: int, info: dict[str, Any]) -> None:
        if stage == "init" and done == total:
            print("Initialization complete")
        # Within an iteration it is called again.
        if stage != "iterations" or self.last == (info["run"], done) or info["shift"] is None:
            return
        self.last = (info["run"], done)
        print(f"Iteration {done - 1}, inertia {info['inertia']}.")
        if info.get("strict"):
            print(f"Converged at iteration {done - 1}: strict convergence.")
        elif info["shift"] <= info["tol"]:
            print(
                f"Converged at iteration {done - 1}: center shift {info['shift']} within"
                f" tolerance {info['tol']}."
            )
