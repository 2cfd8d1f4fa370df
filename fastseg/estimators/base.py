"""What the estimators share: points as the kernels take them, and all that follows a fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils.validation import check_is_fitted, validate_data

from ..array_libraries import Caller, from_caller, is_on_gpu
from ..arrays import (
    as_points,
    as_weights,
    check_largest,
    check_magnitude,
    is_dask,
    is_plain,
    refuse_gpu,
)
from ..dispatch import choose_backend
from ..kernels.backend import Array, Backend, FloatArray, Points, Problem
from ..resident import rows_there
from .counterpart import check_shared_parameters, check_sparse_backend, fitted, unfitted


class BaseKMeans(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
    ABC,
):
    """Clusters given by ``cluster_centers_``: predict, transform and score."""

    n_clusters: int
    backend: str
    n_threads: int | None
    n_features_in_: int
    cluster_centers_: FloatArray
    labels_: Any

    # The class of scikit-learn with this interface.
    _counterpart: ClassVar[str]

    @abstractmethod
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of X."""

    def _rows(self, X: Any, *, reset: bool = False) -> Any:
        """X as C-contiguous rows, or CSR; with ``reset`` its features are those to come again."""
        if is_plain(X) and not hasattr(self, "feature_names_in_"):
            if reset:
                self.n_features_in_ = X.shape[1]
            if X.shape[1] == self.n_features_in_:
                plain: Array = X
                return plain
        if is_on_gpu(X):
            there = rows_there(X, "X")
            return validate_data(self, there, reset=reset, skip_check_array=True)
        if issparse(X):
            check_sparse_backend(self.backend)
            options = {"order": "C", "accept_sparse": "csr", "accept_large_sparse": False}
            return validate_data(self, X, dtype=np.float64, reset=reset, **options)
        rows = as_points(X, "X")
        validate_data(self, X, reset=reset, skip_check_array=True)
        return rows

    def _rows_to_compare(self, X: Any) -> Any:
        """Rows of X to be compared with the centres."""
        rows = self._rows(X)
        if not issparse(rows):
            check_largest(rows, "X")
        return rows

    def _rows_to_fit(self, X: Any, *, reset: bool = True) -> tuple[Any, Caller]:
        """Rows of X, once the parameters are known to be right, and whose they are."""
        check_shared_parameters(self, self._counterpart)
        X, caller = from_caller(X, "X")
        rows = self._rows(X, reset=reset)
        if not issparse(rows):
            check_magnitude(rows, "X")
        return rows, caller

    def _fit_sparse(self, rows: Any, sample_weight: Any) -> Any:
        """Fit to sparse rows as scikit-learn does, whose fitted estimator is returned."""
        theirs = unfitted(self, self._counterpart).fit(rows, sample_weight=sample_weight)
        self.cluster_centers_ = theirs.cluster_centers_
        self.inertia_ = theirs.inertia_
        self.n_iter_ = theirs.n_iter_
        self.backend_ = "scikit-learn"
        self._n_features_out = len(self.cluster_centers_)
        return theirs

    def _check_enough(self, rows: Array) -> None:
        if len(rows) < self.n_clusters:
            raise ValueError(f"n_samples={len(rows)} should be >= n_clusters={self.n_clusters}.")

    def _backend_for(self, rows: Any, n_clusters: int, n_points: int | None = None) -> Backend:
        """Backend for rows, or for so many of them at a time."""
        problem = Problem.of(rows, n_clusters)
        if n_points is not None:
            problem = replace(problem, n_points=n_points)
        return choose_backend(problem, self.backend).backend

    def _centers(self) -> FloatArray:
        """The centres in float64, which may have been set by others."""
        centers = np.ascontiguousarray(self.cluster_centers_, dtype=np.float64)
        if centers.ndim != 2 or centers.shape[1] != self.n_features_in_:
            raise ValueError(
                f"cluster_centers_ must have the shape (n_clusters, {self.n_features_in_}), as"
                f" n_features_in_ says, got {centers.shape}"
            )
        return centers

    def _put(self, rows: Array, centers: FloatArray, sample_weight: Any = None) -> Points:
        """Rows where they are compared with the centres."""
        weights = as_weights(sample_weight, rows)
        backend = self._backend_for(rows, len(centers))
        return backend.put(rows, weights, n_threads=self.n_threads)

    def predict(self, X: Any) -> Any:
        """Index of the nearest centre of each point.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
            Points.

        Returns
        -------
        array of shape (n_samples,), int32
            Labels, in the library of X; the lowest index wins a tie. Those of a dask array
            are not computed yet.
        """
        check_is_fitted(self)
        X, caller = from_caller(X, "X")
        if is_dask(X):
            return caller.grid(self._predict_dask(X), dropped=1)
        rows, centers = self._rows_to_compare(X), self._centers()
        if issparse(rows):
            return fitted(self, self._counterpart, centers).predict(rows)
        return caller.grid(self._put(rows, centers).assign(centers), dropped=1)

    def _predict_dask(self, X: Any) -> Any:
        """Labels as a dask array, computed when they are asked for."""
        from ..dask.rows import lazy_row_labels

        rows = self._dask_rows(X, reset=False)
        return lazy_row_labels(rows, self._centers(), self.n_threads)

    def _dask_rows(self, X: Any, *, reset: bool) -> Any:
        """Rows of a dask array, with the features to come again or those that came in `fit`."""
        from ..dask.images import check_rows

        return validate_data(self, check_rows(X), reset=reset, skip_check_array=True)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit to X and return the labels of its points; the arguments are those of `fit`."""
        fitted = self.fit(X, sample_weight=sample_weight)
        return fitted.labels_ if hasattr(fitted, "labels_") else fitted.predict(X)

    def transform(self, X: Any) -> Any:
        """Euclidean distances of points to the centres.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
            Points.

        Returns
        -------
        array of shape (n_samples, n_clusters)
            Distances, in float32 for input of float16 or float32 and else in float64, in the
            library of X.

        Raises
        ------
        ValueError
            If X is not as described, or float32 cannot hold the distances.
        """
        check_is_fitted(self)
        X, caller = from_caller(X, "X")
        refuse_gpu(X, "X")
        rows = self._rows_to_compare(X)
        distances = euclidean_distances(rows, self.cluster_centers_)
        if rows.dtype == np.float32:
            if distances.max() > np.finfo(np.float32).max:
                raise ValueError(
                    f"X lies up to {distances.max():g} from the centres, which float32 cannot hold;"
                    " use X.astype(np.float64)"
                )
            distances = distances.astype(np.float32)
        return caller.array(distances)

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit to X and return `transform` of it; the arguments are those of `fit`."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the inertia of X.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
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
        check_is_fitted(self)
        X, _ = from_caller(X, "X")
        rows, centers = self._rows_to_compare(X), self._centers()
        if issparse(rows):
            theirs = fitted(self, self._counterpart, centers)
            return float(theirs.score(rows, sample_weight=sample_weight))
        return -self._put(rows, centers, sample_weight).accumulate(centers).inertia

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = self.backend == "auto"
        return tags
