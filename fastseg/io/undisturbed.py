"""Short work of other libraries that Ctrl-C may not come into."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def to_its_end(work: Callable[[], T]) -> T:
    """Call what Ctrl-C may not come into; where it comes meanwhile, raise when that has ended.

    zarr works in a thread of its own, and goes on there when the wait for it is interrupted: it
    would put files into a folder that has been given up and removed. And the wait, in Python's
    own locks, can end in another error then. Pillow loses memory where it encodes.
    """
    begun, working = threading.Lock(), threading.Lock()
    found: list[T] = []
    failed: list[BaseException] = []

    def do() -> None:
        if begun.acquire(blocking=False):
            try:
                found.append(work())
            except BaseException as error:
                failed.append(error)
            finally:
                working.release()

    working.acquire()
    try:
        threading.Thread(target=do, daemon=True).start()
        # Python before 3.13 takes a thread for ended once Ctrl-C has come while it was joined.
        with working:
            pass
    except BaseException:
        if not begun.acquire(blocking=False):  # else it will not begin
            with working:
                pass
        raise
    if failed:
        raise failed[0]
    return found[0]
