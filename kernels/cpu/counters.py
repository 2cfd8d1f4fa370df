"""The choice of a table to count distinct pixels in."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Counter
from .bin_counter import BinCounter
from .color_counter import ColorCounter
from .row_counter import RowCounter


def make_counter(dtype: np.dtype[Any], n_features: int, n_threads: int) -> Counter:
    """Counter for pixels of a type and number of channels."""
    bits = 8 * dtype.itemsize * n_features
    if dtype.kind in "ui" and bits <= 16:
        return BinCounter(dtype, n_features, n_threads)
    if dtype == np.uint8 and n_features == 3:
        return ColorCounter(dtype, n_features, n_threads)
    return RowCounter(dtype, n_features, n_threads)
