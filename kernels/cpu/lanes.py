"""Building blocks for work on whole vectors, which Numba's compiler does not find by itself.

LLVM makes of these vectors what the processor has: one or several of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Doubles in the widest vectors there are: rows of sums start where such a vector may.
ALIGNED = 8
# Float32 numbers in the widest vectors there are.
WIDE = 16
# Points that are compared with centres at once, and centres that many points are compared
# with at once: so many that sums need not wait for each other, and fit in registers.
ABREAST = 32

LANE, WORD = ir.IntType(32), ir.IntType(64)
FLOAT, DOUBLE = ir.FloatType(), ir.DoubleType()
FLOATS = ir.VectorType(FLOAT, ABREAST)
LANES = ir.VectorType(LANE, ABREAST)


def together(n_features: int) -> int:
    """Centres that ABREAST points are compared with at once."""
    return 4 if n_features <= 8 else 8


def number_at(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Element of an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.load(builder.gep(data, [index]))


def place(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any) -> Any:
    """Pointer to a vector that starts at an element of an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def load(context: Any, builder: Any, kind: Any, array: Any, index: Any, width: int) -> Any:
    """Vector of ``width`` elements of an array."""
    vector = ir.VectorType(context.get_data_type(kind.dtype), width)
    at = place(context, builder, kind, array, index, vector)
    return builder.load(at, align=kind.dtype.bitwidth // 8)


def fetch(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> None:
    """Have an element of an array brought nearer, for later; it may lie beyond the end."""
    byte = ir.IntType(8).as_pointer()
    data = context.make_array(kind)(context, builder, array).data
    at = builder.bitcast(builder.gep(data, [index]), byte)
    kind = ir.FunctionType(ir.VoidType(), [byte, LANE, LANE, LANE])
    function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
    builder.call(function, [at, LANE(0), LANE(3), LANE(1)])


def times(builder: Any, index: Any, factor: int) -> Any:
    """Product of an index and a constant."""
    return builder.mul(index, ir.Constant(WORD, factor))


def picked(builder: Any, first: Any, second: Any, lanes: list[int]) -> Any:
    """Vector of lanes of two vectors, those of the second counted on from the first's."""
    mask = ir.VectorType(LANE, len(lanes))
    return builder.shuffle_vector(first, second, ir.Constant(mask, lanes))


def splat(builder: Any, scalar: Any, width: int) -> Any:
    """Vector of one number over and over."""
    vector = ir.VectorType(scalar.type, width)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, LANE(0))
    return picked(builder, first, first, [0] * width)


def filled(number: float, vector: Any = FLOATS) -> Any:
    """Constant vector of one number over and over."""
    return ir.Constant(vector, [number] * vector.count)


def smaller(builder: Any, a: Any, b: Any) -> Any:
    """Smaller number of each lane, the second's where they cannot be compared."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def converted(builder: Any, x: Any, source: Any, element: Any) -> Any:
    """Vector of numbers of a Numba type as one of float32 or float64."""
    target = ir.VectorType(element, x.type.count)
    if source in types.integer_domain:
        return (builder.sitofp if source.signed else builder.uitofp)(x, target)
    if x.type == target:
        return x
    return (builder.fpext if element == DOUBLE else builder.fptrunc)(x, target)


def row_width(n_features: int) -> int:
    """Lanes of a row of sums: the features, the weight, and nothing up to a whole vector."""
    width = 1
    while width < n_features + 1 and width < ALIGNED:
        width *= 2
    return -(-(n_features + 1) // width) * width


def known(number: Callable[[int], int]) -> Any:
    """Function of kernels: a number that goes by the length of a tuple, so compilers know it."""

    def typed(typing_context: Any, unroll: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(WORD, number(len(unroll)))

        return types.uint64(unroll), build

    return intrinsic(typed)


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

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        points_, point_, weight_, rows_, row_, _ = arguments
        kind = signature.args
        narrow, wide = ir.VectorType(DOUBLE, n), ir.VectorType(DOUBLE, width)
        x = load(context, builder, kind[0], points_, times(builder, point_, n), n)
        x = converted(builder, x, points.dtype, DOUBLE)
        # The features, a one, and zeros.
        rest = ir.Constant(narrow, [1.0] + [0.0] * (n - 1))
        x = picked(builder, x, rest, [*range(n), n, *[n + 1] * (width - n - 1)])
        weighted = builder.fmul(x, splat(builder, weight_, width))
        target = place(context, builder, kind[3], rows_, times(builder, row_, width), wide)
        align = 8 * min(width, ALIGNED)
        builder.store(
            builder.fadd(builder.load(target, align=align), weighted), target, align=align
        )
        return context.get_dummy_value()

    return types.none(points, point, weight, rows, row, unroll), build


def _add_row(
    typing_context: Any,
    points: Any,  # IN flat array of any number
    start: Any,  # uint64, the first element of a point
    weight: Any,  # float64
    sums: Any,  # INOUT flat float64
    row: Any,  # uint64, the first element of a row of sums
    n_features: Any,  # uint64
) -> Any:
    """Add a weighted point of any number of features to a row of sums."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        points_, start_, weight_, sums_, row_, n_ = arguments
        kind = signature.args

        def add(offset: Any, width: int) -> None:
            index = builder.add(start_, offset)
            x = load(context, builder, kind[0], points_, index, width)
            x = converted(builder, x, points.dtype, DOUBLE)
            at = place(context, builder, kind[3], sums_, builder.add(row_, offset), x.type)
            more = builder.fmul(x, splat(builder, weight_, width))
            builder.store(builder.fadd(builder.load(at, align=8), more), at, align=8)

        whole = builder.udiv(n_, WORD(ALIGNED))
        with cgutils.for_range(builder, whole, intp=WORD) as loop:
            add(times(builder, loop.index, ALIGNED), ALIGNED)
        done = times(builder, whole, ALIGNED)
        with cgutils.for_range(builder, builder.sub(n_, done), intp=WORD) as loop:
            add(builder.add(done, loop.index), 1)
        return context.get_dummy_value()

    return types.none(points, start, weight, sums, row, n_features), build


together_of: Any = known(together)
width_of: Any = known(row_width)
add_point: Any = intrinsic(_add_point)
add_row: Any = intrinsic(_add_row)
