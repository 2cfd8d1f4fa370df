"""fastseg's estimators in the place of scikit-learn's, for programs that name those."""

from __future__ import annotations

import importlib
from typing import Any

from .kmeans import KMeans
from .minibatch import MiniBatchKMeans


def patch_sklearn() -> None:
    """Put fastseg's estimators in the place of scikit-learn's, in this process.

    From then on ``from sklearn.cluster import KMeans, MiniBatchKMeans, k_means`` gives
    those of fastseg, and scikit-learn's spectral clustering, biclustering and
    `KBinsDiscretizer` compute by them. A second call changes nothing.

    Notes
    -----
    What a module has imported by name before stays what it was, so this is to be called
    first. The module that defines scikit-learn's classes is left alone, so that pickles of
    them, and their instances, still work.

    See Also
    --------
    unpatch_sklearn : Undo it.

    Examples
    --------
    >>> import fastseg
    >>> fastseg.patch_sklearn()
    >>> from sklearn.cluster import KMeans
    >>> KMeans is fastseg.KMeans
    True
    >>> fastseg.unpatch_sklearn()
    """
    for place in _PLACES:
        module, name = _at(place)
        if (present := getattr(module, name, None)) is not _OURS[name] and present is not None:
            _replaced[place] = present
            setattr(module, name, _OURS[name])


def unpatch_sklearn() -> None:
    """Undo `patch_sklearn`; without one nothing is changed."""
    for place, before in _replaced.items():
        module, name = _at(place)
        # Somebody else may have put something in our place since.
        if getattr(module, name) is _OURS[name]:
            setattr(module, name, before)
    _replaced.clear()


def k_means(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: Any = None,
    init: Any = "k-means++",
    n_init: Any = "auto",
    max_iter: int = 300,
    verbose: bool = False,
    tol: float = 1e-4,
    random_state: Any = None,
    copy_x: bool = True,
    algorithm: str = "lloyd",
    return_n_iter: bool = False,
) -> tuple[Any, ...]:
    """Cluster points as `sklearn.cluster.k_means` does, whose parameters these are.

    Returns
    -------
    centers, labels, inertia
        As the attributes of `KMeans`, and ``n_iter`` with ``return_n_iter``.
    """
    model = KMeans(
        n_clusters, init=init, n_init=n_init, max_iter=max_iter, verbose=verbose, tol=tol,
        random_state=random_state, copy_x=copy_x, algorithm=algorithm,
    ).fit(X, sample_weight=sample_weight)  # fmt: skip
    found = (model.cluster_centers_, model.labels_, model.inertia_)
    return (*found, model.n_iter_) if return_n_iter else found


_OURS: dict[str, Any] = {"KMeans": KMeans, "MiniBatchKMeans": MiniBatchKMeans, "k_means": k_means}

# Where scikit-learn's names are looked up, but for the module that defines them.
_PLACES = (
    ("sklearn.cluster", "KMeans"),
    ("sklearn.cluster", "MiniBatchKMeans"),
    ("sklearn.cluster", "k_means"),
    ("sklearn.cluster._bicluster", "KMeans"),
    ("sklearn.cluster._bicluster", "MiniBatchKMeans"),
    ("sklearn.cluster._spectral", "k_means"),
)

# What was there before, as long as it is patched.
_replaced: dict[tuple[str, str], Any] = {}


def _at(place: tuple[str, str]) -> tuple[Any, str]:
    return importlib.import_module(place[0]), place[1]
