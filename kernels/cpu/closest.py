"""Distances to candidates of k-means++ in float64, many points at once."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .columns import picked_columns
from .lanes import DOUBLE, WIDE, WORD, converted, load, number_at, place, smaller, splat, times

_DOUBLES = ir.VectorType(DOUBLE, WIDE)


def _closest_of_points(
    typing_context: Any,
    points: Any,  # IN flat array of any number
    point: Any,  # uint64, the first of WIDE points
    added: Any,  # IN flat float64, (n_added, n_features), centres that are new
    n_added: Any,  # uint64
    candidates: Any,  # IN flat float64, (n_candidates, n_features)
    n_candidates: Any,  # uint64
    weights: Any,  # IN float64, weights of the points
    weighted: Any,  # bool, or every point weighs one
    closest: Any,  # INOUT float64, squared distances of the points to the centres so far
    totals: Any,  # INOUT flat float64, (n_candidates, WIDE)
    unroll: Any,  # tuple of n_features
) -> Any:
    """Bring in the new centres, and add what each candidate would leave to its totals."""
    n = len(unroll)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        points_, point_, added_, n_added_, candidates_, n_candidates_ = arguments[:6]
        weights_, weighted_, closest_, totals_, _ = arguments[6:]
        kind = signature.args
        x = [
            converted(builder, column, types.float32, DOUBLE)
            for column in picked_columns(context, builder, kind[0], points_, point_, n)
        ]

        def distance(argument: int, centers: Any, j: Any) -> Any:
            total = None
            for f in range(n):
                index = builder.add(times(builder, j, n), WORD(f))
                c = number_at(context, builder, kind[argument], centers, index)
                t = builder.fsub(x[f], splat(builder, c, WIDE))
                square = builder.fmul(t, t)
                total = square if total is None else builder.fadd(total, square)
            return total

        near_at = place(context, builder, kind[8], closest_, point_, _DOUBLES)
        near = cgutils.alloca_once_value(builder, builder.load(near_at, align=8))
        with cgutils.for_range(builder, n_added_, intp=WORD) as loop:
            found = smaller(builder, distance(2, added_, loop.index), builder.load(near))
            builder.store(found, near)
            builder.store(found, near_at, align=8)
        weight = cgutils.alloca_once_value(builder, ir.Constant(_DOUBLES, [1.0] * WIDE))
        with builder.if_then(weighted_):
            builder.store(load(context, builder, kind[6], weights_, point_, WIDE), weight)
        with cgutils.for_range(builder, n_candidates_, intp=WORD) as loop:
            left = smaller(builder, distance(4, candidates_, loop.index), builder.load(near))
            at = times(builder, loop.index, WIDE)
            at = place(context, builder, kind[9], totals_, at, _DOUBLES)
            more = builder.fmul(left, builder.load(weight))
            builder.store(builder.fadd(builder.load(at, align=8), more), at, align=8)
        return context.get_dummy_value()

    given = (
        points, point, added, n_added, candidates, n_candidates, weights, weighted, closest,
        totals, unroll,
    )  # fmt: skip
    return types.none(*given), build


closest_of_points: Any = intrinsic(_closest_of_points)
