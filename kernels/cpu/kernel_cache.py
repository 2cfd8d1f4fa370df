"""Compiled kernels in files, which are checked before they are believed."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

_DIGEST_BYTES = 32
# A version that is still in use compiles anew, once in so long.
_KEPT_SECONDS = 30 * 24 * 3600
_HERE = Path(__file__).parent


def digest_of_sources() -> str | None:
    """Digest of the sources of all kernels, or None where they cannot be read."""
    digest = sha256()
    try:
        files = [path.read_bytes() for path in sorted(_HERE.glob("*.py"))]
    except OSError:
        return None
    for content in files:
        digest.update(content)
    return digest.hexdigest() if files else None


# Taken when kernels are imported: a process goes on with those, whatever is installed later.
SOURCES = digest_of_sources()


class KernelCache(NullCache):
    """Where Numba looks for a compiled kernel of this package, and leaves one.

    Numba's own cache believes its files: machine code with a wrong bit ends the process or
    gives wrong answers. It looks for changes in the file that holds a function and in none of
    those it calls, takes no folder that can only be read, and raises where a disk is full.
    Here the name of a file is a digest of all that its content depends on, the file begins with
    one of its content, and counts as missing unless that is right.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Compiled function for a signature, or None where there is none to be trusted."""
        target_context.refresh()
        name, identity = self._identified(sig, target_context.codegen())
        for folder in _folders():
            # Whatever is wrong with a file, what was to be in it can be compiled.
            with contextlib.suppress(Exception):
                content = Path(folder, name).read_bytes()
                digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
                if _digest(identity, data) == digest:
                    return CompileResult._rebuild(target_context, *pickle.loads(data))
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function in the first folder that takes it, if there is one."""
        if data.library.has_dynamic_globals:  # addresses in this process
            return
        name, identity = self._identified(sig, data.codegen)
        content = dumps(data._reduce())
        for folder in _folders():
            with contextlib.suppress(OSError):
                _write(os.path.join(folder, name), _digest(identity, content) + content)
                _remove_old(folder)
                return

    def _identified(self, sig: Any, codegen: Any) -> tuple[str, bytes]:
        """Name of the file, and all that its content depends on."""
        function = self._function
        versions = sys.version, numba.__version__, llvmlite.__version__
        place = function.__module__, function.__qualname__
        identity = repr((SOURCES, versions, codegen.magic_tuple(), place, sig)).encode()
        kernel = f"{function.__name__}-{sha256(identity).hexdigest()[:24]}"
        return f"{_version()}-{kernel}.nbc", identity


def _version() -> str:
    """What the names of kernels of these sources begin with."""
    return str(SOURCES)[:12]


@cache
def _remove_old(folder: str) -> None:
    """Remove what other versions compiled long ago: upgrades leave it, and nobody else knows it."""
    oldest = time.time() - _KEPT_SECONDS
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            others = entry.name.endswith(".nbc") and not entry.name.startswith(_version())
            with contextlib.suppress(OSError):
                if others and entry.stat().st_mtime < oldest:
                    os.unlink(entry.path)


def cache_folder() -> str | None:
    """Folder where compiled kernels are kept, or None where none can be written."""
    return next(filter(_is_writable, _folders()), None)


def _folders() -> Iterator[str]:
    """Where a kernel may be: in the folder asked for; else beside the package, or at home."""
    if SOURCES is None:
        return  # nothing would show that they have changed
    if asked := getattr(config, "CACHE_DIR", ""):
        yield (folder := os.path.join(asked, "fastseg"))
        if _is_writable(folder):
            return
    yield str(_HERE / "__pycache__")
    home = AppDirs(appname="numba", appauthor=False).user_cache_dir
    if os.path.isabs(home):  # else the user has no home
        yield os.path.join(home, "fastseg")


@cache
def _is_writable(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _write(path: str, content: bytes) -> None:
    """Write a file that appears whole, also where several processes write it at once."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex[:16]}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _digest(identity: bytes, data: bytes) -> bytes:
    return sha256(identity + data).digest()
