"""What libraries raise and say of files, in the words of this package: one error, no warnings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..memory import MEBIBYTE, free_memory
from .quiet import Quiet

# Packages that warn of what they read all the same, or raise themselves.
_QUIET = Quiet(
    module=r"(PIL|nibabel|pydicom|zarr|numcodecs|tifffile|imagecodecs|rasterio|openslide|numpy)\b"
)
_MOST_WORDS = 300
# Bytes that are taken without a look at what is free, which is slow.
_ALWAYS = 64 * MEBIBYTE


def words_of(error: BaseException) -> str:
    """What an error says, as a line of words that can be printed; else its kind."""
    words = " ".join(str(error)[: 4 * _MOST_WORDS].split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    if len(shown) > _MOST_WORDS:
        shown = shown[:_MOST_WORDS] + "..."
    return shown or type(error).__name__


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Name the file in whatever is raised while it is read, and keep libraries' warnings back.

    Raises
    ------
    ValueError, OSError, ImportError
        As they were raised where they name the file, else a ValueError that does.
    """
    with _QUIET:
        try:
            yield
        except MemoryError as error:
            raise ValueError(
                f"{path}: needs more memory than there is, or is damaged (its sizes are absurd)"
            ) from error
        except Exception as error:
            ours = isinstance(error, (ValueError, OSError, ImportError))
            if ours and str(error).startswith(path):
                raise
            if isinstance(error, OSError) and error.filename is not None:
                raise
            raise ValueError(
                f"{path}: cannot be read, it is damaged or of an unknown kind ({words_of(error)})"
            ) from error


def check_memory(path: str, n_bytes: int, what: str, fix: str) -> None:
    """Refuse to take more memory than is free, before it is taken.

    Raises
    ------
    ValueError
        With what needs it, and the fix.
    """
    free = free_memory() if n_bytes > _ALWAYS else None
    if free is not None and n_bytes > free:
        raise ValueError(
            f"{path}: {what} {n_bytes / MEBIBYTE:,.0f} MiB of memory, and {free / MEBIBYTE:,.0f}"
            f" MiB are free; {fix}"
        )
