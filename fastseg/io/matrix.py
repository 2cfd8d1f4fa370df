"""CSV: a matrix of numbers as a grey image, and starting centres."""

from __future__ import annotations

import os
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from .failures import words_of
from .image import Image

_EXPECTED = "a matrix of numbers is expected, without a header row"


def read(path: str, max_pixels: int | None) -> Image:
    """Read a grey image, a line per row of pixels."""
    return Image(read_matrix(path))


def read_matrix(path: str) -> NDArray[np.float64]:
    """Read numbers separated by commas, semicolons, tabs or blanks.

    Lines end in LF, CRLF or CR; blank lines are skipped.
    """
    try:
        with _open(path) as file:
            separator = _separator(file)
            file.seek(0)
            if separator is None and not file.read().strip():
                raise ValueError(f"{path}: the file holds no numbers; {_EXPECTED}")
            file.seek(0)
            try:
                return np.loadtxt(file, delimiter=separator, comments=None, ndmin=2)
            except UnicodeDecodeError:
                raise
            except ValueError as error:
                file.seek(0)
                raise ValueError(f"{path}: {_problem(file, separator, error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not a text file in UTF-8; {_EXPECTED}") from error


def centers(text: str, n_channels: int | None) -> NDArray[np.float64]:
    """Read starting centres from a file or from the words themselves."""
    if os.path.isfile(text) or text.lower().endswith(".csv"):
        if not os.path.isfile(text):
            raise FileNotFoundError(f"{text}: no such file")
        values, name = read_matrix(text), text
    else:
        values, name = _inline(text), "the starting centres"
    one_row = len(values) == 1
    if one_row and (n_channels == 1 or (n_channels is None and name != text)):
        values = values.T
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: values must be finite numbers")
    if n_channels is not None and values.shape[1] != n_channels:
        raise ValueError(
            f"{name}: {values.shape[1]} values per centre, but the image has {n_channels} "
            f"channel{'s' * (n_channels > 1)}"
            + ("; separate the centres by ';'" if one_row and name != text else "")
        )
    return values


def _inline(text: str) -> NDArray[np.float64]:
    rows = [row.split(",") for row in text.strip().rstrip(";").split(";")]
    try:
        values = [[float(word) for word in row] for row in rows]
    except ValueError:
        raise ValueError(
            f"{text!r} is neither the name of a file nor values such as 0.43,0.09 "
            "(one channel) or 10,20,30;40,50,60 (three channels)"
        ) from None
    if len({len(row) for row in values}) > 1:
        raise ValueError(f"{text!r}: every centre needs the same number of values")
    return np.array(values, dtype=np.float64)


def _open(path: str) -> TextIO:
    # newline=None takes all three line ends; -sig drops the mark that Excel puts first.
    return open(path, encoding="utf-8-sig", newline=None)


def _separator(file: TextIO) -> str | None:
    """Go by the first line that is not blank; None stands for blanks."""
    for line in file:
        if line.strip():
            return next((mark for mark in ";\t," if mark in line), None)
    return None


def _problem(file: TextIO, separator: str | None, error: ValueError) -> str:
    """Find the line that np.loadtxt, which counts rows only, stumbled over."""
    n_columns = 0
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        words = [word.strip() for word in line.strip("\n").split(separator)]
        for column, word in enumerate(words, 1):
            if not word:
                return f"line {number}: value {column} is missing; {_EXPECTED}"
            try:
                float(word)
            except ValueError:
                shown = word if len(word) <= 40 else word[:37] + "..."
                return f"line {number}: {shown!r} is not a number; {_EXPECTED}"
        n_columns = n_columns or len(words)
        if len(words) != n_columns:
            return (
                f"line {number}: has {len(words)} values where the lines before have "
                f"{n_columns}; every line needs the same number"
            )
    return f"cannot be read as numbers ({words_of(error)}); {_EXPECTED}"
