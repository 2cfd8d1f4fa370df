"""Points that lie side by side, as vectors of their features."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from .lanes import (
    ABREAST,
    DOUBLE,
    FLOAT,
    FLOATS,
    WIDE,
    WORD,
    converted,
    fetch,
    load,
    picked,
    place,
    times,
)

# Up to so many features it takes fewer steps to pick each out of all vectors.
MAX_PICKED = 5


def exact_type(source: Any) -> Any:
    """Type of float that holds every number of a type of points."""
    return DOUBLE if source == types.float64 else FLOAT


def columns(
    context: Any, builder: Any, kind: Any, points: Any, point: Any, n_features: int
) -> list[Any]:
    """Vectors, one for each feature, of ABREAST points in the `exact_type`."""
    if n_features > MAX_PICKED:
        start = times(builder, point, n_features)
        return transposed(context, builder, kind, points, start, WORD(n_features), n_features)
    halves = [
        picked_columns(context, builder, kind, points, point, n_features, first)
        for first in (0, WIDE)
    ]
    return [picked(builder, a, b, list(range(ABREAST))) for a, b in zip(*halves, strict=True)]


def picked_columns(
    context: Any, builder: Any, kind: Any, points: Any, point: Any, n_features: int, first: int = 0
) -> list[Any]:
    """Vectors, one for each feature, of WIDE points, the ``first``-th after ``point`` and on."""
    start = builder.add(times(builder, point, n_features), WORD(first * n_features))
    pieces = []
    for v in range(n_features):
        at = builder.add(start, WORD(v * WIDE))
        x = load(context, builder, kind, points, at, WIDE)
        pieces.append(converted(builder, x, kind.dtype, exact_type(kind.dtype)))
    found = []
    for f in range(n_features):
        have = pieces[0]
        places = [divmod(i * n_features + f, WIDE) for i in range(WIDE)]
        for v in range(1, n_features):
            lanes = [
                WIDE + lane if piece == v else lane if v == 1 and piece == 0 else i
                for i, (piece, lane) in enumerate(places)
            ]
            have = picked(builder, have, pieces[v], lanes)
        found.append(have)
    return found


def transposed(
    context: Any, builder: Any, kind: Any, points: Any, start: Any, stride: Any, n_features: int
) -> list[Any]:
    """Vectors, one for each feature, of ABREAST points that lie ``stride`` elements apart.

    At most WIDE features. What follows a point is read as well, but for the last one.
    """
    width = 8 if n_features <= 8 else WIDE
    rows = []
    for i in range(ABREAST):
        back = width - n_features if i == ABREAST - 1 else 0
        at = builder.sub(builder.add(start, builder.mul(stride, WORD(i))), WORD(back))
        x = load(context, builder, kind, points, at, width)
        fetch(context, builder, kind, points, builder.add(at, builder.mul(stride, WORD(ABREAST))))
        if back:
            x = picked(builder, x, x, [*range(back, width), *[0] * back])
        rows.append(converted(builder, x, kind.dtype, exact_type(kind.dtype)))
    halves = [_transposed_squares(builder, rows[first : first + WIDE]) for first in (0, WIDE)]
    joined = zip(*halves, strict=True)
    return [picked(builder, a, b, list(range(ABREAST))) for a, b in joined][:n_features]


def _transposed_squares(builder: Any, rows: list[Any]) -> list[Any]:
    """Columns of WIDE rows of 8 or WIDE numbers.

    Squares of four rows and columns are turned within the quarters of vectors, which
    processors do best, and the quarters are then put in order.
    """
    if rows[0].type.count == 8:
        rows = [
            picked(builder, rows[i], rows[i + 4], list(range(WIDE)))
            for i in (0, 1, 2, 3, 8, 9, 10, 11)
        ]
    squares = []
    for four in range(0, len(rows), 4):
        a, b, c, d = rows[four : four + 4]
        square = []
        for pair in (0, 1):
            ab, cd = (_woven(builder, x, y, pair, 1) for x, y in ((a, b), (c, d)))
            square += [_woven(builder, ab, cd, side, 2) for side in (0, 1)]
        squares.append(square)
    if len(squares) == 2:
        return [
            _quarters(builder, a, b, side) for side in (0, 1) for a, b in zip(*squares, strict=True)
        ]
    found: dict[int, Any] = {}
    for f, (a, b, c, d) in enumerate(zip(*squares, strict=True)):
        for side in (0, 1):
            first, second = _quarters(builder, a, b, side), _quarters(builder, c, d, side)
            for half in (0, 1):
                found[4 * (side + 2 * half) + f] = _quarters(builder, first, second, half)
    return [found[f] for f in range(WIDE)]


def _woven(builder: Any, a: Any, b: Any, half: int, length: int) -> Any:
    """First or second half of each quarter of two vectors, ``length`` numbers by turns."""
    lanes = [
        4 * q + 2 * half + i + j + WIDE * side
        for q in range(4)
        for i in range(0, 2, length)
        for side in (0, 1)
        for j in range(length)
    ]
    return picked(builder, a, b, lanes)


def _quarters(builder: Any, a: Any, b: Any, odd: int) -> Any:
    """Even or odd quarters of one vector, and then those of another."""
    lanes = [4 * q + i + WIDE * side for side in (0, 1) for q in (odd, 2 + odd) for i in range(4)]
    return picked(builder, a, b, lanes)


def about(builder: Any, column: Any, origin: Any) -> Any:
    """Float32 vector of a feature less its origin, a splat float32."""
    double = column.type.element == DOUBLE
    if double:
        origin = builder.fpext(origin, column.type)
    column = builder.fsub(column, origin)
    return builder.fptrunc(column, FLOATS) if double else column


def _load_columns(
    typing_context: Any,
    points: Any,  # IN flat array of any number
    start: Any,  # uint64, the first element
    stride: Any,  # uint64, elements from a point to the next one
    origin: Any,  # IN (n_features,) float32
    feature: Any,  # uint64, which the first element is
    columns: Any,  # OUT flat float32, (n_features, ABREAST)
) -> Any:
    """Put WIDE features of ABREAST points, about the origin, into columns."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        points_, start_, stride_, origin_, feature_, columns_ = arguments
        kind = signature.args
        middle = load(context, builder, kind[3], origin_, feature_, WIDE)
        found = transposed(context, builder, kind[0], points_, start_, stride_, WIDE)
        for f, x in enumerate(found):
            x = about(builder, x, picked(builder, middle, middle, [f] * ABREAST))
            index = times(builder, builder.add(feature_, WORD(f)), ABREAST)
            builder.store(x, place(context, builder, kind[5], columns_, index, FLOATS), align=4)
        return context.get_dummy_value()

    return types.none(points, start, stride, origin, feature, columns), build


load_columns: Any = intrinsic(_load_columns)
