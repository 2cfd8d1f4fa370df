"""Warnings of libraries that concern nobody, kept back while they read a file."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..kernels.forking import unforked

_swap = threading.Lock()


class Quiet:
    """While entered, by any thread, some warnings are ignored.

    Filters are the process's, and threads that save and restore them by turns would leave each
    other's behind for good. So a rule comes with the first who enters, and goes with the last.
    """

    def __init__(self, category: type[Warning] = Warning, module: str = "") -> None:
        self._category, self._module = category, module
        self._n_inside = 0
        self._rules: list[object] = []

    def __enter__(self) -> None:
        with unforked(), _swap:
            self._n_inside += 1
            if self._n_inside == 1:
                before = list(warnings.filters)
                warnings.filterwarnings("ignore", category=self._category, module=self._module)
                self._rules = [rule for rule in warnings.filters if rule not in before]

    def __exit__(self, *error: object) -> None:
        with unforked(), _swap:
            self._n_inside -= 1
            if self._n_inside == 0:
                filters: list[object] = warnings.filters  # type: ignore[assignment]
                filters[:] = [rule for rule in filters if rule not in self._rules]


_by_category: dict[type[Warning], Quiet] = {}


@contextmanager
def without(category: type[Warning]) -> Iterator[None]:
    """While entered, warnings of a category are ignored, and a fork waits."""
    with unforked(), _by_category.setdefault(category, Quiet(category)):
        yield
