"""KMeans with scikit-learn's interface, over fastseg's solver."""

from __future__ import annotations

from typing import Any

from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from ..array_libraries import from_caller
from ..arrays import as_weights, is_lazy
from ..parameters import check_parameters
from ..progress import Progress
from ..solver import ConvergenceWarning, Run, warn_of
from .base import BaseKMeans
from .counterpart import check_shared_parameters
from .functional import fit_dask, fit_rows


class _EitherWarning(SklearnConvergenceWarning, ConvergenceWarning):  # type: ignore[misc]
    """Caught by filters on either library's warning."""


class KMeans(BaseKMeans):
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
    labels_ : array of shape (n_samples,), int32
        Cluster of each point, in the library of X; equal to ``predict(X)``.
    inertia_ : float
        Weighted sum of squared distances to the nearest centre.
    n_iter_ : int
        Iterations of the best run.
    n_features_in_ : int
        Features seen in fit.
    feature_names_in_ : ndarray of str
        Names of the features, where X has them.
    backend_ : str
        Backend that computed the fit; "scikit-learn" for sparse points.
    """

    _counterpart = "KMeans"

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
        X : array_like or sparse matrix of shape (n_samples, n_features)
            Points. Sparse ones, with ``backend="auto"``, are clustered by scikit-learn. Of a
            dask array ``labels_`` are one too, not computed yet.
        y : None
            Not used.
        sample_weight : array_like of shape (n_samples,), optional
            Weights of the points, not negative; not for a dask array.

        Returns
        -------
        KMeans
            This estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not as described.
        """
        if is_lazy(X):
            return self._fit_dask(X, sample_weight)
        values, caller = self._rows_to_fit(X)
        if issparse(values):
            self._fit_sparse(values, sample_weight)
            self.labels_ = self.predict(values)
            return self
        init, n_init = check_parameters(
            self.n_clusters, self.init, self.n_init, self.max_iter, self.tol, values.shape[1]
        )
        self._check_enough(values)
        fit = fit_rows(
            values,
            as_weights(sample_weight, values),
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
        return self._keep(fit.run, caller.grid(fit.labels, dropped=1), fit.backend)

    def _fit_dask(self, X: Any, sample_weight: Any) -> KMeans:
        from ..dask.rows import lazy_row_labels

        check_shared_parameters(self, self._counterpart)
        X, caller = from_caller(X, "X")
        rows = self._dask_rows(X, reset=True)
        run = fit_dask(
            rows, self.n_clusters, sample_weight, init=self.init, n_init=self.n_init,
            max_iter=self.max_iter, tol=self.tol, random_state=self.random_state,
            backend=self.backend, n_threads=self.n_threads,
            progress=Progress(_Printer() if self.verbose else None),
        )  # fmt: skip
        labels = lazy_row_labels(rows, run.centers, self.n_threads)
        return self._keep(run, caller.grid(labels, dropped=1), "cpu")

    def _keep(self, run: Run, labels: Any, backend: str) -> KMeans:
        warn_of(run, self.max_iter, _EitherWarning, stacklevel=4)
        self.cluster_centers_ = run.centers
        self.labels_ = labels
        self.inertia_ = run.inertia
        self.n_iter_ = run.n_iter
        self.backend_ = backend
        self._n_features_out = self.n_clusters
        return self


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
