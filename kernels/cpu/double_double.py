"""Double-double arithmetic (Dekker 1971): numbers as an unrounded sum of a high and a low part.

The order of operations matters: they must not be contracted or reassociated.
"""

from __future__ import annotations

from numba import njit


@njit(nogil=True)
def two_sum(a, b):
    """Rounded sum of two numbers, and its error (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@njit(nogil=True)
def two_product(a, b):
    """Rounded product of two numbers, and its error."""
    p = a * b
    t = 134217729.0 * a
    a1 = t - (t - a)
    a2 = a - a1
    t = 134217729.0 * b
    b1 = t - (t - b)
    b2 = b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


@njit(nogil=True)
def add(a, a_low, b, b_low):
    """Sum of two double-doubles."""
    s, error = two_sum(a, b)
    error += a_low + b_low
    high = s + error
    return high, error - (high - s)
