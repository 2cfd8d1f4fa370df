"""The program: `fastseg`, or `python -m fastseg`."""

import os
import sys

_INTERRUPTED = 130


def program() -> int:
    """Run the command line as this process; return the exit code.

    An interrupt is answered while modules are still being loaded, too, and ends the process
    at once: to clear away compiled code and large arrays can take longer than the work left.
    """
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


if __name__ == "__main__":
    sys.exit(program())
