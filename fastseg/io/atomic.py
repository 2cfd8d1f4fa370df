"""Output files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, BinaryIO

from .exchange import exchange
from .leftovers import LEFTOVER, Temporary, remove_folder, remove_leftovers
from .undisturbed import to_its_end

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

StrPath = str | os.PathLike[str]

_BUFFER_BYTES = 2**17
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
def writing_to(path: StrPath) -> Iterator[None]:
    """Name the output that could not be written, whatever file or folder of it that was."""
    try:
        yield
    except OSError as error:
        way_out = "; make room, or write elsewhere" if error.errno in _FULL else ""
        named = OSError(
            f"{os.fspath(path)}: cannot be written ({error.strerror or error}){way_out}"
        )
        named.errno = error.errno
        raise named from error


class _Raw(io.FileIO):
    """A file that is named by its output, not by where it is written, when the disk refuses."""

    def __init__(self, output: StrPath, path: str) -> None:
        self.output, self.settled = output, False
        # Not tempfile: the mode then follows the umask as for any new file. And no number of
        # an open file between two steps of Python, where Ctrl-C would leave it open.
        super().__init__(path, "x+")

    def write(self, data: Buffer) -> int:
        self.settled = False
        with writing_to(self.output):
            return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self.settled = False
        with writing_to(self.output):
            return super().truncate(size)


def settle(file: BinaryIO) -> None:
    """Bring all that was written to a file of `atomic_write` to the disk: only a name is missing.

    Of several files that belong together each is settled before the first one appears.
    """
    file.flush()
    raw: _Raw = file.raw  # type: ignore[attr-defined]
    if not raw.settled:
        with writing_to(raw.output):
            os.fsync(raw.fileno())
        raw.settled = True


def make_folder(path: StrPath) -> None:
    """Make a folder for output files, and those above it, where it is not there.

    Raises
    ------
    ValueError
        The name is empty.
    NotADirectoryError
        The path, or one above it, is a file.
    OSError
        The folder cannot be made.
    """
    name = os.fspath(path)
    if not name:
        raise ValueError("the folder for the output has an empty name; give it a name")
    try:
        os.makedirs(name, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(
            f"{name}: is a file, or in one; give the name of a folder"
        ) from None


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
        A binary file, open for writing (and reading and seeking), whose errors name `path`.

    Raises
    ------
    OSError, ValueError
        As `check_output`, or when the disk refuses.

    Notes
    -----
    To be entered by a ``with`` statement: `contextlib.ExitStack` keeps an interrupt that comes
    while it leaves in a cycle of references, and with it the temporary file.
    """
    check_output(path, overwrite)
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    remove_leftovers(folder, name)
    temporary = Temporary(folder, name)
    try:
        with writing_to(path):
            raw = _Raw(path, temporary.path)
        with io.BufferedRandom(raw, _BUFFER_BYTES) as file:
            yield file
            settle(file)
        _publish(temporary.path, target, os.fspath(path), overwrite)
    except BaseException:
        try:
            temporary.remove()
        except BaseException:  # Ctrl-C came before that had begun
            temporary.remove()
            raise
        raise
    temporary.forget()
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
    remove_leftovers(folder, name)  # an old folder may come back
    _check_folder(target, os.fspath(path), overwrite)
    hidden = Temporary(folder, name)
    temporary = hidden.path
    old = temporary.removesuffix(LEFTOVER) + ".old" + LEFTOVER
    try:
        with writing_to(path):
            os.mkdir(temporary)
        yield temporary
        with writing_to(path):
            for inner, _, files in os.walk(temporary):
                for file in files:
                    _sync_file(os.path.join(inner, file))
                _sync_folder(inner)
        _check_folder(target, os.fspath(path), overwrite)  # another process may have made it
        with writing_to(path):
            if not (os.path.isdir(target) and exchange(temporary, target)):
                # A folder cannot be renamed onto one that holds something.
                if os.path.isdir(target):
                    os.rename(target, old)
                os.rename(temporary, target)
        _sync_folder(folder)
    except BaseException:
        if os.path.isdir(old) and not os.path.lexists(target):
            with contextlib.suppress(OSError):  # else it comes back with the next run
                os.rename(old, target)
        raise
    finally:
        try:
            remove_folder(temporary)
        except BaseException:  # as above
            remove_folder(temporary)
            raise
        hidden.forget()
        if os.path.lexists(target):
            remove_folder(old)


def remove_late(path: str) -> None:
    """Remove what came into a folder of `atomic_folder` after that was given up, by its name."""
    while path != os.path.dirname(path):
        if path.endswith(LEFTOVER):
            remove_folder(path)
            return
        path = os.path.dirname(path)


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
            with contextlib.suppress(OSError):  # else the next run removes it
                os.unlink(temporary)
            return
    with writing_to(name):
        os.replace(temporary, target)


def _sync_file(path: str) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    def sync() -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # Only then does the new name survive a power cut. Windows cannot open a folder.
    with contextlib.suppress(OSError):
        to_its_end(sync)  # Ctrl-C would leave the folder open
