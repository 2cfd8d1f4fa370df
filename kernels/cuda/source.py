"""The kernels' sources, each as one text for the compiler."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)

# No fused multiply-add may hide in a float64 expression; float32 asks for its own by name.
OPTIONS = ("--std=c++17", "--fmad=false")


@cache
def source(name: str) -> str:
    """Text of a kernel file with its headers in it, each once; errors name file and line.

    One text, because a compiler's cache would not see a change of an included file.
    """
    return _expanded(name, set())


def _expanded(name: str, seen: set[str]) -> str:
    if name in seen:
        return ""
    seen.add(name)
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate((FOLDER / name).read_text().splitlines(), 1):
        include = _INCLUDE.match(line)
        if include:
            lines += [_expanded(include[1], seen), f'#line {number + 1} "{name}"']
        else:
            lines.append(line)
    return "\n".join(lines)


def defines(**macros: str | int) -> tuple[str, ...]:
    """Compiler options that define macros."""
    return tuple(f"-D{name}={value}" for name, value in macros.items())
