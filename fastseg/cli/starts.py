"""Where clusters start, and how many there are, as the command line is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..io import read_centers

DEFAULT_N_CLUSTERS = 8
NAMED_STARTS = ("k-means++", "random")


def start_centers(init: str | None, n_channels: Callable[[], int]) -> Any:
    """What the library takes for ``init``; a default is not the same as its name."""
    from ..methods import DEFAULT_INIT

    if init is None:
        return DEFAULT_INIT
    return init if init in NAMED_STARTS else read_centers(init, n_channels())


def fitting_count(n_clusters: int | str | None, start: Any, names: list[str] | None) -> int | str:
    """The number of clusters to make, in agreement with given starting centres and names."""
    if isinstance(start, str):
        if n_clusters is None and names is not None:
            return len(names)
        return DEFAULT_N_CLUSTERS if n_clusters is None else n_clusters
    if n_clusters not in (None, len(start)):
        asked = "-k auto is" if n_clusters == "auto" else f"{n_clusters} clusters"
        raise ValueError(
            f"{len(start)} starting centres are given, but {asked} asked for; "
            "leave out -k, or change --init"
        )
    return len(start)
