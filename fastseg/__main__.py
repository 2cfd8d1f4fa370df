"""The program: `fastseg`, or `python -m fastseg`."""

import os
import sys

_INTERRUPTED = 130


def program() -> int:
    """Run the command line as this process; return the exit code.

    An interrupt is answered while modules are still being loaded, too, and ends the process
    at once: to clear away compiled code and large arrays can take longer than the work left.
    """
    _open_closed_streams()
    try:
        from .cli import main

        code = main()
    except KeyboardInterrupt:
        print("fastseg: error: interrupted", file=sys.stderr)
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _open_closed_streams() -> None:
    """Let nothing stand in for a closed stream: a file would get what a library prints there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


if __name__ == "__main__":
    sys.exit(program())
