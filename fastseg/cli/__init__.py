"""The command line: options in, files and a summary out."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import TextIO

import click

from .commands import Interrupted, cli
from .printing import leave_standard_output, say, to_standard_output

_DONE, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(args: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    args : list of str, optional
        Words after the program's name; by default those it was called with.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    with _plain_warnings():
        return _run(args)


def _run(args: list[str] | None) -> int:
    try:
        code = cli.main(args, prog_name="fastseg", standalone_mode=False)
        with to_standard_output():
            sys.stdout.flush()
        return code if isinstance(code, int) else _DONE
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return say("error", error.format_message().rstrip(".") + hint, _USAGE)
    except (KeyboardInterrupt, Interrupted, click.Abort):
        return say("error", "interrupted", _INTERRUPTED)
    except BrokenPipeError:
        leave_standard_output()  # who reads it has gone
        return _FAILED
    except Exception as error:
        if os.environ.get("FASTSEG_DEBUG") == "1":
            traceback.print_exc()
        return say("error", _words_of(error), _FAILED)


def _words_of(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)) and str(error):
        return str(error)
    kind = type(error).__name__
    return f"unexpected {kind}: {error}; FASTSEG_DEBUG=1 shows where it comes from"


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as a line each, and keep what concerns developers to itself."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        say("warning", str(message))

    # Readers log what they then raise; without a handler Python would print it.
    silent = logging.NullHandler()
    logging.getLogger().addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            # Where Zarr is interrupted.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            warnings.showwarning = show
            yield
    finally:
        logging.getLogger().removeHandler(silent)
