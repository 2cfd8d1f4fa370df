"""Two paths that exchange their names in one step, which Python cannot do by itself."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import cache

# As file systems say that they cannot.
_UNABLE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_HERE = -100  # paths are relative to the folder of the process
_SWAP = 2


def exchange(first: str, second: str) -> bool:
    """Exchange the names of two files or folders; whether this system can, and the second is there.

    Linux, renameat2(2) with RENAME_EXCHANGE; macOS, renamex_np(2) with RENAME_SWAP.

    Raises
    ------
    OSError
        The disk refuses.
    """
    call = _call()
    if call is None:
        return False
    if call(os.fsencode(first), os.fsencode(second)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNABLE or (number == errno.ENOENT and not os.path.lexists(second)):
        return False
    raise OSError(number, os.strerror(number), first)


@cache
def _call() -> Callable[[bytes, bytes], int] | None:
    if sys.platform not in ("linux", "darwin"):
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            swap = library.renamex_np
            return lambda first, second: int(swap(first, second, _SWAP))
        rename = library.renameat2
        return lambda first, second: int(rename(_HERE, first, _HERE, second, _SWAP))
    except (OSError, AttributeError):  # an old C library
        return None
