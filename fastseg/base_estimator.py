"""What the estimators share: points as the kernels take them, and all that follows a fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils.validation import check_is_fitted, validate_data

from .arrays import as_weights, check_magnitude, is_dask, is_plain, refuse_dask, refuse_gpu
from .dispatch import choose_backend
from .kernels.backend import Array, Backend, FloatArray, Points, Problem

# Integers of up to 16 bits are clustered as they are; others become float64.
_DTYPES = [np.float64, np.float32, np.uint8, np.uint16, np.int16]


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
    labels_: Array

    @abstractmethod
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of X."""

    def _rows(self, X: Any, *, reset: bool = False, dtype: Any = _DTYPES) -> Array:
        """X as C-contiguous rows; with ``reset`` its features are those to come again."""
        if dtype is _DTYPES and is_plain(X) and not hasattr(self, "feature_names_in_"):
            if reset:
                self.n_features_in_ = X.shape[1]
            if X.shape[1] == self.n_features_in_:
                plain: Array = X
                return plain
        refuse_gpu(X, "X")
        refuse_dask(X, "X")
        rows: Array = validate_data(self, X, dtype=dtype, order="C", reset=reset)
        return rows

    def _rows_to_fit(self, X: Any, *, reset: bool = True) -> Array:
        rows = self._rows(X, reset=reset)
        check_magnitude(rows, "X")
        return rows

    def _check_enough(self, rows: Array) -> None:
        if len(rows) < self.n_clusters:
            raise ValueError(f"n_samples={len(rows)} should be >= n_clusters={self.n_clusters}.")

    def _backend_for(self, rows: Array, n_clusters: int) -> Backend:
        problem = Problem(rows.shape[0], rows.shape[1], n_clusters, rows.dtype.name)
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

    def _put(self, X: Any, sample_weight: Any = None) -> tuple[Points, FloatArray]:
        """Points to compare with the centres, and the centres in float64."""
        check_is_fitted(self)
        rows = self._rows(X)
        centers = self._centers()
        weights = as_weights(sample_weight, len(rows))
        backend = self._backend_for(rows, len(centers))
        return backend.put(rows, weights, n_threads=self.n_threads), centers

    def predict(self, X: Any) -> Array:
        """Index of the nearest centre of each point.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points.

        Returns
        -------
        ndarray of shape (n_samples,), int32
            Labels; the lowest index wins a tie. Of a dask array they are one too, not
            computed yet.
        """
        if is_dask(X):
            return self._predict_dask(X)
        points, centers = self._put(X)
        return points.assign(centers)

    def _predict_dask(self, X: Any) -> Array:
        """Labels as a dask array, computed when they are asked for."""
        from .dask_rows import lazy_row_labels

        check_is_fitted(self)
        labels: Array = lazy_row_labels(X, self._centers(), self.n_threads)
        return labels

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Fit to X and return the labels of its points; the arguments are those of `fit`."""
        fitted = self.fit(X, sample_weight=sample_weight)
        return fitted.labels_ if hasattr(fitted, "labels_") else fitted.predict(X)

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
        rows = self._rows(X, dtype=[np.float64, np.float32])
        distances = euclidean_distances(rows, self.cluster_centers_)
        typed: Array = distances.astype(rows.dtype, copy=False)
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
