"""Short work of other libraries that Ctrl-C may not come into."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..kernels.tasks import Task

T = TypeVar("T")


def to_its_end(work: Callable[[], T]) -> T:
    """Call what Ctrl-C may not come into; where it comes meanwhile, raise when that has ended.

    zarr works in a thread of its own, and goes on there when the wait for it is interrupted: it
    would put files into a folder that has been given up and removed. And the wait, in Python's
    own locks, can end in another error then. Pillow loses memory where it encodes.
    """
    task = Task(work)
    try:
        return task.in_a_thread().result()
    finally:
        task.finish()
