"""MiniBatchKMeans with scikit-learn's interface, over fastseg's batches."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

from scipy.sparse import issparse

from ..arrays import as_weights
from ..init_centers import Generator, check_random_state
from ..kernels.backend import Array, Backend, FloatArray
from ..minibatch import Plan, Put, RowDraws, RunningMeans, draw_start, fit_batches, label_rows
from ..parameters import Init, check_parameters
from ..progress import Progress
from .base import BaseKMeans


class MiniBatchKMeans(BaseKMeans):
    """k-means on small batches, with the parameters and attributes of scikit-learn's.

    Each batch moves the centres to the means of all points they were given so far: for
    points that are too many for `KMeans`, or come bit by bit (`partial_fit`). Distances
    and sums are in float64 for every type of input. From a seed it draws the starts and
    batches that `sklearn.cluster.MiniBatchKMeans` draws (of millions of points without
    weights a few fall on the row beside, where the rounding of a sum of as many
    probabilities would show).

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"}, array_like of shape (n_clusters, n_features) or callable
        Starting centres.
    max_iter : int
        Batches at most, in passes over as many points as X has.
    batch_size : int
        Points of a batch.
    verbose : int
        Above 0, each batch is told of as scikit-learn does.
    compute_labels : bool
        Whether a fit labels its points, and computes their inertia.
    random_state : int, RandomState or None
        Source of the draws.
    tol : float
        Above 0, a fit stops when a batch moves the centres by a sum of squares of at
        most ``tol`` times the mean variance of the features.
    max_no_improvement : int or None
        A fit stops after so many batches in a row that did not better the smoothed
        inertia; with None it does not.
    init_size : int or None
        Points that starts are drawn from and judged on; by default three batches, or
        where those are fewer than clusters, three for each cluster.
    n_init : int or "auto"
        Starts, of which the best goes on. "auto" is 1 for k-means++ and given centres,
        else 3.
    reassignment_ratio : float
        Clusters of less than this share of the largest one's weight begin anew at
        points of the batch, now and then.
    backend : str
        "auto" or one of `fastseg.available_backends`.
    n_threads : int, optional
        Threads of the CPU backend; -1 or by default all that may be used. The result is
        the same for any number.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centres in float64, for float32 input too.
    labels_ : array of shape (n_samples,), int32
        Cluster of each point of X, in its library, of the last X with `partial_fit`; only
        with ``compute_labels``.
    inertia_ : float
        Weighted sum of squared distances of these points to their centres. Without
        ``compute_labels`` a fit estimates it from the smoothed inertia of the batches.
    n_iter_ : int
        Passes over as many points as X has, in `fit`.
    n_steps_ : int
        Batches taken in.
    n_features_in_ : int
        Features seen in fit.
    feature_names_in_ : ndarray of str
        Names of the features, where X has them.
    backend_ : str
        Backend that computed the batches; "scikit-learn" for sparse points.

    References
    ----------
    D. Sculley, "Web-Scale K-Means Clustering", WWW 2010.
    """

    _counterpart = "MiniBatchKMeans"

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: Any = "auto",
        reassignment_ratio: float = 0.01,
        backend: str = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.backend = backend
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Find the clusters of X by batches drawn from it.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
            Points. Sparse ones, with ``backend="auto"``, are clustered by scikit-learn.
        y : None
            Not used.
        sample_weight : array_like of shape (n_samples,), optional
            Weights of the points, not negative: how often they are drawn.

        Returns
        -------
        MiniBatchKMeans
            This estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not as described.
        """
        rows, caller = self._rows_to_fit(X)
        if issparse(rows):
            return self._keep_sparse(rows, self._fit_sparse(rows, sample_weight))
        init, plan = self._plan(rows)
        weights = as_weights(sample_weight, rows)
        backend = self._backend_for(rows, self.n_clusters, plan.batch_size)
        fit = fit_batches(
            rows,
            weights,
            self.n_clusters,
            init=init,
            plan=plan,
            random_state=self.random_state,
            backend=backend,
            n_threads=self.n_threads,
            progress=self._progress(),
        )
        self._keep(fit.means, fit.n_steps, backend)
        self.n_iter_ = math.ceil(fit.n_steps * plan.batch_size / len(rows))
        self._batch_size = plan.batch_size
        self._generator: Generator | None = None
        if self.compute_labels:
            labels, self.inertia_ = label_rows(
                rows, weights, fit.means.centers, backend=backend, n_threads=self.n_threads
            )
            self.labels_ = caller.grid(labels, dropped=1)
        else:
            if hasattr(self, "labels_"):
                del self.labels_
            self.inertia_ = fit.inertia * (len(rows) if weights is None else float(weights.sum()))
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Take in X as one batch, after those before or after a fit.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
            Points; the first batch must have as many as clusters. Sparse ones are copied
            to a dense array.
        y : None
            Not used.
        sample_weight : array_like of shape (n_samples,), optional
            Weights of the points, not negative.

        Returns
        -------
        MiniBatchKMeans
            This estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not as described.
        """
        begun = hasattr(self, "_means")
        rows, caller = self._rows_to_fit(X, reset=not begun)
        sparse = issparse(rows)
        if sparse:
            rows = rows.toarray()
        weights = as_weights(sample_weight, rows)
        backend = self._backend_for(rows, self.n_clusters)
        generator = vars(self).get("_generator") or check_random_state(self.random_state)
        progress = self._progress()
        if begun:
            means, batch_size = self._means, self._batch_size
            means.go_on_from(self._centers())
        else:
            init, plan = self._plan(rows)
            draws, put = RowDraws(rows, weights, generator), self._putter(backend)
            start = draw_start(draws, self.n_clusters, init, plan.init_size, put, progress)
            means, batch_size = RunningMeans(start), plan.batch_size
        points = self._putter(backend)(rows, weights)
        means.step(rows, points, batch_size, self.reassignment_ratio, generator, progress)
        self._keep(means, getattr(self, "n_steps_", 0) + 1, backend)
        self._batch_size, self._generator = batch_size, generator
        if self.compute_labels:
            labels, self.inertia_ = points.label(means.centers)
            self.labels_ = self.predict(X) if sparse else caller.grid(labels, dropped=1)
        return self

    def _keep_sparse(self, rows: Any, theirs: Any) -> MiniBatchKMeans:
        """Go on from a fit of scikit-learn's to sparse rows."""
        self._means = RunningMeans(self.cluster_centers_)
        self._means.counts = theirs._counts
        self._means.n_pending = theirs._n_since_last_reassign
        self._batch_size = min(int(self.batch_size), rows.shape[0])
        self._generator = None
        self.n_steps_ = theirs.n_steps_
        if self.compute_labels:
            self.labels_ = self.predict(rows)
        elif hasattr(self, "labels_"):
            del self.labels_
        return self

    @property
    def _counts(self) -> FloatArray:
        """Weight (n_clusters,) that each centre is the mean of, under scikit-learn's name."""
        return self._means.counts

    def _plan(self, rows: Array) -> tuple[Init, Plan]:
        """Validate the parameters; return ``init`` as the solver takes it, and the rest."""
        init, n_init = check_parameters(
            self.n_clusters, self.init, self.n_init, self.max_iter, self.tol, rows.shape[1],
            several=3, stacklevel=4,
        )  # fmt: skip
        self._check_enough(rows)
        batch_size = min(int(self.batch_size), len(rows))
        plan = Plan(
            batch_size,
            self._checked_init_size(batch_size, len(rows)),
            n_init,
            self.max_iter,
            self.tol,
            self.max_no_improvement,
            self.reassignment_ratio,
        )
        return init, plan

    def _checked_init_size(self, batch_size: int, n_rows: int) -> int:
        size = self.init_size
        if size is None:
            size = 3 * batch_size
            if size < self.n_clusters:
                size = 3 * self.n_clusters
            return min(size, n_rows)
        if size < self.n_clusters:
            warnings.warn(
                f"init_size={size} should be larger than n_clusters={self.n_clusters}. Setting it"
                " to min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=4,
            )
            size = 3 * self.n_clusters
        return min(int(size), n_rows)

    def _keep(self, means: RunningMeans, n_steps: int, backend: Backend) -> None:
        self._means = means
        self.cluster_centers_ = means.centers
        self.n_steps_ = n_steps
        self.backend_ = backend.name
        self._n_features_out = len(means.centers)

    def _putter(self, backend: Backend) -> Put:
        return partial(backend.put, n_threads=self.n_threads)

    def _progress(self) -> Progress:
        return Progress(_Printer(self.init) if self.verbose else None)


class _Printer:
    """Callback that prints what scikit-learn prints of starts and batches."""

    def __init__(self, init: Any) -> None:
        self.init = init

    def __call__(self, stage: str, done: int, total: int, info: dict[str, Any]) -> None:
        if stage == "starts" and info["inertia"] is None:
            print(f"Init {done}/{total} with method {self.init}")
        elif stage == "starts":
            print(f"Inertia for init {done}/{total}: {info['inertia']}")
        elif stage == "reassigning":
            print(f"[MiniBatchKMeans] Reassigning {done} cluster centers.")
        elif stage == "batches":
            smoothed = "" if done == 1 else f", ewa inertia: {info['smoothed']}"
            print(f"Minibatch step {done}/{total}: mean batch inertia: {info['inertia']}{smoothed}")
            if info["reason"]:
                print(f"Converged ({info['reason']}) at step {done}/{total}")
