"""Output files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterator
from typing import BinaryIO

StrPath = str | os.PathLike[str]

# What is being written is named .OUTPUT.MACHINE-PROCESS-RANDOM.part, OUTPUT in so many letters.
_LEFTOVER = ".part"
_KEPT = 80
# A disk, a quota, a limit on the size of files; Windows has not all of them.
_FULL = [getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)]


def suffix_of(path: StrPath) -> str:
    """Suffix of a file name in small letters; of a compressed file both, as in ``.nii.gz``."""
    stem, suffix = os.path.splitext(os.fspath(path).lower())
    return os.path.splitext(stem)[1] + suffix if suffix == ".gz" else suffix


def check_output(
    path: StrPath,
    overwrite: bool = False,
    suffixes: Collection[str] | None = None,
    inputs: Collection[StrPath] = (),
) -> None:
    """Refuse an output path that could not be written, before any work is done.

    Parameters
    ----------
    path : path
        The file to be written.
    overwrite : bool, default=False
        Whether a file of that name may be replaced.
    suffixes : collection of str, optional
        The suffixes that can be written, such as ``{".png", ".npy"}``.
    inputs : collection of paths
        Files that are read: writing onto one of them is refused even with
        ``overwrite=True``.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        The folder does not exist, or is a file.
    FileExistsError
        The file exists, and `overwrite` is False.
    IsADirectoryError, PermissionError
        The path is a folder, or the folder cannot be written to.
    ValueError
        The suffix is not one of `suffixes`, the path is no ordinary file, or
        it is one of `inputs`.
    """
    name = os.fspath(path)
    suffix = suffix_of(name)
    if suffixes is not None and suffix not in suffixes:
        what = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise ValueError(
            f"{name}: has {what}; what can be written is {', '.join(sorted(suffixes))}"
        )
    if os.path.isdir(name):
        raise IsADirectoryError(f"{name}: is a folder; give the name of a file to write")
    folder = os.path.dirname(os.path.realpath(name))
    check_parent(name, folder)
    for source in inputs:
        with contextlib.suppress(OSError):
            if os.path.samefile(source, name):
                raise ValueError(f"{name}: is also an input of this run; give another output name")
    _check_existing(name, overwrite)


@contextlib.contextmanager
def _room_for(path: StrPath, temporary: str) -> Iterator[None]:
    """Name the file where a disk or a limit is too small for it."""
    try:
        yield
    except OSError as error:
        other = error.filename is not None and not str(error.filename).startswith(temporary)
        if error.errno not in _FULL or other:
            raise
        name, why = os.fspath(path), error.strerror
        raise OSError(
            f"{name}: cannot be written ({why}); make room, or write elsewhere"
        ) from error


def check_parent(name: str, folder: str) -> None:
    """Refuse an output whose folder is not there or cannot be written to."""
    if not os.path.exists(folder):
        shown = os.path.dirname(name) or folder
        raise FileNotFoundError(f"{name}: the folder {shown} does not exist; make it first")
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{name}: {os.path.dirname(name) or folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{name}: no permission to write in the folder {folder}")


@contextlib.contextmanager
def atomic_write(path: StrPath, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Write a file that appears whole, under its name, only when all went well.

    The bytes go to a temporary file in the same folder, which is synchronised
    to the disk and renamed when the block ends. When the block raises, an
    interrupt included, the temporary file is removed and an older file of that
    name stays as it was.

    Parameters
    ----------
    path : path
        The file to write. Where it is a symbolic link, the file it points at
        is replaced and the link stays.
    overwrite : bool, default=False
        Whether a file of that name may be replaced.

    Yields
    ------
    file
        A binary file, open for writing (and reading and seeking).

    Raises
    ------
    OSError, ValueError
        As `check_output`, or when the disk refuses.
    """
    check_output(path, overwrite)
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    _remove_leftovers(folder, name)
    temporary = _temporary(folder, name)
    try:
        # Not tempfile: the mode then follows the umask as for any new file. And no number of
        # an open file between two steps of Python, where Ctrl-C would leave it open.
        with _room_for(path, temporary), open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, target, os.fspath(path), overwrite)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


@contextlib.contextmanager
def atomic_folder(path: StrPath, *, overwrite: bool = False) -> Iterator[str]:
    """Write a folder that appears whole, under its name, only when all went well.

    Parameters
    ----------
    path : path
        The folder to write.
    overwrite : bool, default=False
        Whether a folder of that name may be replaced.

    Yields
    ------
    str
        A temporary folder beside it, to be filled.

    Raises
    ------
    OSError
        There is something of that name that may not be replaced, or the disk refuses.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    _check_folder(target, os.fspath(path), overwrite)
    _remove_leftovers(folder, name)
    temporary = _temporary(folder, name)
    old = temporary.removesuffix(_LEFTOVER) + ".old" + _LEFTOVER
    try:
        os.mkdir(temporary)
        with _room_for(path, temporary):
            yield temporary
            for inner, _, files in os.walk(temporary):
                for file in files:
                    _sync_file(os.path.join(inner, file))
                _sync_folder(inner)
        _check_folder(target, os.fspath(path), overwrite)  # another process may have made it
        # A folder cannot be renamed onto one that holds something.
        if os.path.isdir(target):
            os.rename(target, old)
        os.rename(temporary, target)
    except BaseException:
        if os.path.isdir(old) and not os.path.lexists(target):
            os.rename(old, target)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(folder)
    shutil.rmtree(old, ignore_errors=True)


def remove_late(path: str) -> None:
    """Remove what came into a folder of `atomic_folder` after that was given up, by its name."""
    while path != os.path.dirname(path):
        if path.endswith(_LEFTOVER):
            shutil.rmtree(path, ignore_errors=True)
            return
        path = os.path.dirname(path)


def _temporary(folder: str, name: str) -> str:
    """Hidden name of bounded length: long names of outputs are near the limit already."""
    own = f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    return os.path.join(folder, f".{name[:_KEPT]}.{own}{_LEFTOVER}")


def _machine() -> str:
    """Digits for this machine: on a shared disk others may be writing."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove what runs that were killed have left of an output of this name.

    A process of that number may be another one by now: its leftovers stay till the next run.
    """
    pattern = re.compile(
        re.escape(f".{name[:_KEPT]}.{_machine()}-") + r"(\d+)-[0-9a-f]{8}(\.old)?\.part"
    )
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            found = pattern.fullmatch(entry)
            if found is None or _is_running(int(found[1])):
                continue
            left = os.path.join(folder, entry)
            # What was moved away is the old folder: it comes back where no new one came.
            if found[2] and not os.path.lexists(os.path.join(folder, name)):
                os.rename(left, os.path.join(folder, name))
            elif os.path.isdir(left):
                shutil.rmtree(left, ignore_errors=True)
            else:
                os.unlink(left)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return True
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


def _check_existing(name: str, overwrite: bool) -> None:
    if not os.path.exists(name):
        return
    if not os.path.isfile(name):
        raise ValueError(f"{name}: is not an ordinary file; give the name of a file to write")
    if not overwrite:
        raise FileExistsError(
            f"{name}: exists already; give another name, or allow it to be replaced "
            "with --overwrite (in Python: overwrite=True)"
        )


def _check_folder(target: str, name: str, overwrite: bool) -> None:
    if os.path.lexists(target) and not (overwrite and os.path.isdir(target)):
        raise FileExistsError(
            f"{name}: exists already; give another name, or allow a folder to be "
            "replaced with --overwrite (in Python: overwrite=True)"
        )


def _publish(temporary: str, target: str, name: str, overwrite: bool) -> None:
    """Rename, without replacing a file that another process made meanwhile."""
    if not overwrite:
        try:
            os.link(temporary, target)
        except FileExistsError:
            _check_existing(name, overwrite)
        except OSError:  # a file system without hard links
            _check_existing(name, overwrite)
        else:
            os.unlink(temporary)
            return
    os.replace(temporary, target)


def _sync_file(path: str) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    # Only then does the new name survive a power cut. Windows cannot open a folder.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
