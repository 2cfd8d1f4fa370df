"""Names of the classes that clusters stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_names(names: Any, n_clusters: int | None = None) -> tuple[str, ...] | None:
    """Names of the clusters in label order, as a tuple; None stays None.

    Raises
    ------
    TypeError
        If they are no sequence of str.
    ValueError
        If one is empty or occurs twice, or there are not as many as clusters.
    """
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names must be a sequence of str in label order, got {names!r}")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names must hold str, got {name!r}")
        if not name.strip() or not name.isprintable():
            raise ValueError(f"names must hold words that can be printed, got {name!r}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"names must differ from each other, but {twice[0]!r} occurs twice")
    if n_clusters is not None and len(names) != n_clusters:
        raise ValueError(
            f"names has {len(names)} names ({', '.join(names)}), but there are {n_clusters}"
            " clusters; give one for each, in label order (from dark to bright)"
        )
    return tuple(names)


def label_names(names: Sequence[str] | None, start_label: int) -> dict[int, str]:
    """Names by label value."""
    return dict(enumerate(names or (), start_label))
