"""Warnings of libraries that concern nobody, kept back while they read a file."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..kernels.forking import unforked

_one = threading.Lock()


@contextmanager
def without(category: type[Warning]) -> Iterator[None]:
    """While entered, warnings of a category are ignored.

    Filters are the process's, and threads that change and restore them by turns would leave
    each other's behind for good. So one goes after the other, and a fork waits.
    """
    with unforked(), _one, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield
