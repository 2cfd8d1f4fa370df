"""Names of what is being written, and what runs that were killed have left of it."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import shutil
import weakref
import zlib

from .undisturbed import to_its_end

# What is being written is named .OUTPUT.MACHINE-PROCESS-RANDOM.part, OUTPUT in so many letters.
LEFTOVER = ".part"
_KEPT = 80
# Begins what is random: in a container that is started again, the one before had the same number.
_PROCESS = secrets.token_hex(4)


def temporary_name(folder: str, name: str) -> str:
    """Hidden name of bounded length: long names of outputs are near the limit already."""
    own = f"{_machine()}-{os.getpid()}-{_PROCESS}{secrets.token_hex(4)}"
    return os.path.join(folder, f".{name[:_KEPT]}.{own}{LEFTOVER}")


class Temporary:
    """Hidden file or folder for an output, which is gone with this object at the latest.

    Ctrl-C can come while an error is handled, before what there is has been removed.
    """

    def __init__(self, folder: str, name: str) -> None:
        self.path, self._process = temporary_name(folder, name), os.getpid()
        self._late = weakref.finalize(self, _remove, self.path, self._process)

    def remove(self) -> None:
        """Remove it, if it is there."""
        _remove(self.path, self._process)
        self.forget()

    def forget(self) -> None:
        """Do nothing late: there is nothing left of it."""
        self._late.detach()


def _remove(path: str, process: int) -> None:
    if os.getpid() != process:  # a fork has a copy of the object, and the file is its parent's
        return
    if os.path.isdir(path):
        # Not by `remove_folder`: garbage is collected anywhere, and no thread may be waited for.
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(path)


def _machine() -> str:
    """Digits for this machine: on a shared disk others may be writing."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def remove_leftovers(folder: str, name: str) -> None:
    """Remove what runs that were killed have left of an output of this name.

    A process of that number may be another one by now: its leftovers stay till the next run.
    """
    pattern = re.compile(
        re.escape(f".{name[:_KEPT]}.{_machine()}-")
        + r"(\d+)-([0-9a-f]{8})[0-9a-f]{8}(\.old)?\.part"
    )
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            found = pattern.fullmatch(entry)
            if found is None or _is_written(int(found[1]), found[2]):
                continue
            left = os.path.join(folder, entry)
            # What was moved away is the old folder: it comes back where no new one came.
            if found[3] and not os.path.lexists(os.path.join(folder, name)):
                os.rename(left, os.path.join(folder, name))
            elif os.path.isdir(left):
                remove_folder(left)
            else:
                os.unlink(left)


def remove_folder(path: str) -> None:
    """Remove a folder and what is in it, if it is there; no error where that cannot be."""
    if not os.path.isdir(path):
        return
    try:
        # Ctrl-C would leave folders open, or come as an error of another kind.
        to_its_end(lambda: shutil.rmtree(path, ignore_errors=True))
    finally:
        if os.path.isdir(path):  # it came before that began
            shutil.rmtree(path, ignore_errors=True)


def _is_written(process: int, begin: str) -> bool:
    """Whether a process that runs may be writing it; this one knows what is its own."""
    if process == os.getpid():
        return begin == _PROCESS
    if os.name == "nt":  # os.kill would end it
        return _runs_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _runs_on_windows(process: int) -> bool:
    import ctypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, process)  # to ask for little is always granted
    if not handle:
        return False
    kernel.CloseHandle(handle)
    return True
