"""scikit-learn's estimators of the same names: their rules for parameters, and sparse points.

On sparse points theirs compute, which leave them sparse; ours are for pixels, of which
every value is there.
"""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from ..kernels.backend import FloatArray


@cache
def counterpart(name: str) -> Any:
    """scikit-learn's class of that name, where it is defined, which `patch_sklearn` leaves."""
    from sklearn.cluster import _kmeans

    return getattr(_kmeans, name)


@cache
def _rules(kind: Any, name: str) -> list[tuple[str, Any, list[Any]]]:
    """Parameter, its default in a class of ours, and what it may be, for each shared one."""
    from sklearn.utils._param_validation import make_constraint

    given = counterpart(name)._parameter_constraints
    ours = signature(kind).parameters
    return [
        (p, ours[p].default if p in ours else None, [make_constraint(rule) for rule in given[p]])
        for p in given
    ]


def check_shared_parameters(estimator: Any, name: str) -> None:
    """Raise scikit-learn's InvalidParameterError for a parameter that it would refuse.

    A Generator of NumPy is taken for ``random_state`` all the same.
    """
    ours: Any = type(estimator)
    for parameter, default, rules in _rules(ours, name):
        value = getattr(estimator, parameter)
        if value is default or any(rule.is_satisfied_by(value) for rule in rules):
            continue
        if parameter == "random_state" and isinstance(value, np.random.Generator):
            continue
        from sklearn.utils._param_validation import validate_parameter_constraints

        given = counterpart(name)._parameter_constraints
        validate_parameter_constraints(given, {parameter: value}, type(estimator).__name__)


def check_sparse_backend(backend: str) -> None:
    """Raise ValueError where sparse points are to be computed on by one of our backends."""
    if backend != "auto":
        raise ValueError(
            f"backend={backend!r} cannot run this: X is sparse; use backend='auto', by which"
            " scikit-learn computes on sparse points, or X.toarray()"
        )


def unfitted(estimator: Any, name: str) -> Any:
    """scikit-learn's estimator with the parameters of ours."""
    kind = counterpart(name)
    return kind(**{p: getattr(estimator, p) for p in kind._get_param_names()})


def fitted(estimator: Any, name: str, centers: FloatArray) -> Any:
    """scikit-learn's estimator with the centres of ours, to predict and score by."""
    from ..kernels.cpu.threads import resolve_n_threads

    theirs = unfitted(estimator, name)
    theirs.cluster_centers_ = centers
    theirs.n_features_in_ = centers.shape[1]
    theirs._n_threads = resolve_n_threads(estimator.n_threads)
    return theirs
