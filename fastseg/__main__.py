"""The program: `fastseg`, or `python -m fastseg`."""

import os
import sys

_INTERRUPTED = 130


def program() -> int:
    """Run the command line as this process; return the exit code.

    An interrupt is answered while modules are still being loaded, too, and ends the process
    at once: to clear away compiled code and large arrays can take longer than the work left.
    """
    _open_streams()
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


def _open_streams() -> None:
    """Give a process that was started without them (a daemon, ``>&-``) streams to write to.

    Its first files would take their numbers, and what libraries in C print would go into those.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(program())
