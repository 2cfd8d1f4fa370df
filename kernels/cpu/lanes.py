"""Sums of points as whole vectors, which Numba's compiler does not find by itself."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Doubles in the widest vectors there are: rows of sums start where such a vector may.
ALIGNED = 8

_LANE, _WORD = ir.IntType(32), ir.IntType(64)


def row_width(n_features: int) -> int:
    """Lanes of a row of sums: the features, the weight, and nothing up to a whole vector."""
    width = 1
    while width < n_features + 1 and width < ALIGNED:
        width *= 2
    return -(-(n_features + 1) // width) * width


def _width_of(typing_context: Any, unroll: Any) -> Any:
    """`row_width` of as many features as the tuple ``unroll`` is long, known to the compiler."""
    width = row_width(len(unroll))

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_WORD, width)

    return types.uint64(unroll), build


def _add_point(
    typing_context: Any,
    points: Any,  # IN flat array of any number
    point: Any,  # uint64, which point
    weight: Any,  # float64
    rows: Any,  # INOUT flat float64, aligned to ALIGNED doubles
    row: Any,  # uint64, which row
    unroll: Any,  # tuple of n_features
) -> Any:
    """Add a weighted point, and its weight in the lane after the features, to a row of sums."""
    n, width = len(unroll), row_width(len(unroll))
    source = points.dtype

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double = ir.DoubleType()
        narrow, wide = ir.VectorType(double, n), ir.VectorType(double, width)

        def place(array: Any, kind: Any, index: Any, step: int, vector: Any) -> Any:
            data = context.make_array(kind)(context, builder, array).data
            at = builder.gep(data, [builder.mul(index, ir.Constant(_WORD, step))])
            return builder.bitcast(at, vector.as_pointer())

        loaded = ir.VectorType(context.get_data_type(source), n)
        x = builder.load(
            place(arguments[0], signature.args[0], arguments[1], n, loaded),
            align=source.bitwidth // 8,
        )
        if source == types.float32:
            x = builder.fpext(x, narrow)
        elif source in types.integer_domain:
            x = (builder.sitofp if source.signed else builder.uitofp)(x, narrow)
        # The features, a one, and zeros.
        rest = ir.Constant(narrow, [1.0, *[0.0] * (n - 1)] if n > 1 else [1.0])
        picked = [*range(n), n, *[n + 1] * (width - n - 1)]
        x = builder.shuffle_vector(
            x,
            rest,
            ir.Constant(ir.VectorType(_LANE, width), [ir.Constant(_LANE, p) for p in picked]),
        )
        first = builder.insert_element(
            ir.Constant(wide, ir.Undefined), arguments[2], ir.Constant(_LANE, 0)
        )
        weights = builder.shuffle_vector(
            first, first, ir.Constant(ir.VectorType(_LANE, width), [ir.Constant(_LANE, 0)] * width)
        )
        target = place(arguments[3], signature.args[3], arguments[4], width, wide)
        align = 8 * min(width, ALIGNED)
        total = builder.fadd(builder.load(target, align=align), builder.fmul(x, weights))
        builder.store(total, target, align=align)
        return context.get_dummy_value()

    return types.none(points, point, weight, rows, row, unroll), build


width_of: Any = intrinsic(_width_of)
add_point: Any = intrinsic(_add_point)
