"""BLAS on one thread, while our own threads call it side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _libraries() -> list[Any]:
    # Looking for them takes longer than some passes over the points.
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


class _Users:
    """Those who want one thread now: the first one sets the limit, the last one lifts it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.number = 0
        self.before: list[tuple[Any, int]] = []


_users = _Users()


def _forget() -> None:
    global _users
    _users = _Users()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS from starting threads of its own."""
    users = _users
    with users.lock:
        if users.number == 0:
            users.before = [(library, library.get_num_threads()) for library in _libraries()]
            for library, n_threads in users.before:
                if n_threads != 1:
                    library.set_num_threads(1)
        users.number += 1
    try:
        yield
    finally:
        with users.lock:
            users.number -= 1
            if users.number == 0:
                for library, n_threads in users.before:
                    if n_threads != 1:
                        library.set_num_threads(n_threads)
