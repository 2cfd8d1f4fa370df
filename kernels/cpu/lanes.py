"""Work on whole vectors, which Numba's compiler does not find by itself.

LLVM makes of these vectors what the processor has: one or several of its own.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Doubles in the widest vectors there are: rows of sums start where such a vector may.
ALIGNED = 8

_LANE, _WORD = ir.IntType(32), ir.IntType(64)

# Points that are compared with a centre at once, and the vector of their float32.
ABREAST = 32
_FLOATS = ir.VectorType(ir.FloatType(), ABREAST)
_LANES = ir.VectorType(_LANE, ABREAST)


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any) -> Any:
    """Pointer to a vector that starts at an element of an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _times(builder: Any, index: Any, factor: int) -> Any:
    return builder.mul(index, ir.Constant(_WORD, factor))


def _picked(builder: Any, first: Any, second: Any, lanes: list[int]) -> Any:
    """Vector of lanes of two vectors, those of the second counted on from the first's."""
    mask = ir.VectorType(_LANE, len(lanes))
    return builder.shuffle_vector(first, second, ir.Constant(mask, lanes))


def _splat(builder: Any, scalar: Any, width: int) -> Any:
    vector = ir.VectorType(scalar.type, width)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _LANE(0))
    return _picked(builder, first, first, [0] * width)


def _converted(builder: Any, x: Any, source: Any, target: Any) -> Any:
    """Vector of numbers of a Numba type as one of float32 or float64."""
    if source in types.integer_domain:
        return (builder.sitofp if source.signed else builder.uitofp)(x, target)
    if x.type == target:
        return x
    double = target.element == ir.DoubleType()
    return (builder.fpext if double else builder.fptrunc)(x, target)


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
        points_, point_, weight_, rows_, row_, _ = arguments
        kind = signature.args
        narrow, wide = ir.VectorType(ir.DoubleType(), n), ir.VectorType(ir.DoubleType(), width)
        loaded = ir.VectorType(context.get_data_type(source), n)
        at = _place(context, builder, kind[0], points_, _times(builder, point_, n), loaded)
        x = _converted(builder, builder.load(at, align=source.bitwidth // 8), source, narrow)
        # The features, a one, and zeros.
        rest = ir.Constant(narrow, [1.0] + [0.0] * (n - 1))
        x = _picked(builder, x, rest, [*range(n), n, *[n + 1] * (width - n - 1)])
        weighted = builder.fmul(x, _splat(builder, weight_, width))
        target = _place(context, builder, kind[3], rows_, _times(builder, row_, width), wide)
        align = 8 * min(width, ALIGNED)
        builder.store(
            builder.fadd(builder.load(target, align=align), weighted), target, align=align
        )
        return context.get_dummy_value()

    return types.none(points, point, weight, rows, row, unroll), build


def _nearest_of_points(
    typing_context: Any,
    points: Any,  # IN flat array of any number
    point: Any,  # uint64, the first of ABREAST points
    origin: Any,  # IN (n_features,) float32
    centers: Any,  # IN flat float32, (n_clusters, n_features), about the origin
    halves: Any,  # IN (n_clusters,) float32, half the centres' squared lengths
    reach: Any,  # IN (n_features + 1,) float32, largest coordinates, and largest of the halves
    n_clusters: Any,  # uint64
    place: Any,  # uint64, where the points come in what follows
    nearest: Any,  # OUT uint32, the best centre by float32; the lowest wins a tie
    doubtful: Any,  # OUT uint32, 1 where rounding may hide that another one is nearer
    unroll: Any,  # tuple of n_features
) -> Any:
    """Nearest centres of ABREAST points by float32, and which of them are not sure."""
    n = len(unroll)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        points_, point_, origin_, _, _, _, k_, place_ = arguments[:8]
        kind = signature.args
        at = _place(context, builder, kind[2], origin_, _WORD(0), ir.VectorType(ir.FloatType(), n))
        middle = builder.load(at, align=4)
        x = _columns(context, builder, kind[0], points_, point_, middle)

        def number(argument: int, index: Any) -> Any:
            data = context.make_array(kind[argument])(context, builder, arguments[argument]).data
            return _splat(builder, builder.load(builder.gep(data, [index])), ABREAST)

        best, second = (cgutils.alloca_once_value(builder, _filled(float("inf"))) for _ in range(2))
        owner = cgutils.alloca_once_value(builder, ir.Constant(_LANES, [0] * ABREAST))
        with cgutils.for_range(builder, k_, intp=_WORD) as loop:
            # Half the squared distance, less what is the same for all centres. Contracted
            # into fused operations: the bound on the error holds with and without.
            score = number(4, loop.index)
            row = _times(builder, loop.index, n)
            for f in range(n):
                product = builder.fmul(
                    x[f], number(3, builder.add(row, _WORD(f))), flags=("contract",)
                )
                score = builder.fsub(score, product, flags=("contract",))
            low, runner = builder.load(best), builder.load(second)
            closer = builder.fcmp_ordered("<", score, low)
            worse = builder.select(closer, low, score)
            nearer = builder.fcmp_ordered("<", worse, runner)
            builder.store(builder.select(nearer, worse, runner), second)
            builder.store(builder.select(closer, score, low), best)
            here = _splat(builder, builder.trunc(loop.index, _LANE), ABREAST)
            builder.store(builder.select(closer, here, builder.load(owner)), owner)
        gap = builder.fsub(builder.load(second), builder.load(best))
        # Each operation errs by half a unit of what was added up to it at most, centres,
        # points and halves by as much each; twice, for two scores, and a little for this
        # sum itself. What overflows is infinite here, and not sure.
        terms = number(5, _WORD(n))
        for f in range(n):
            negative = builder.fcmp_ordered("<", x[f], _filled(0.0))
            size = builder.select(negative, builder.fsub(_filled(0.0), x[f]), x[f])
            terms = builder.fadd(terms, builder.fmul(size, number(5, _WORD(f))))
        relative = 2.1 * (2 * n + 5) * 2.0**-24
        bound = builder.fadd(builder.fmul(terms, _filled(relative)), _filled(128 * 2.0**-149))
        in_range = builder.fcmp_ordered("<", terms, _filled(1e38))
        sure = builder.and_(builder.fcmp_ordered(">", gap, bound), in_range)
        unsure = builder.zext(builder.not_(sure), _LANES)
        for argument, value in ((8, builder.load(owner)), (9, unsure)):
            at = _place(context, builder, kind[argument], arguments[argument], place_, _LANES)
            builder.store(value, at, align=4)
        return context.get_dummy_value()

    given = (
        points, point, origin, centers, halves, reach, n_clusters, place, nearest, doubtful, unroll
    )  # fmt: skip
    return types.none(*given), build


def _columns(
    context: Any, builder: Any, kind: Any, points: Any, point: Any, middle: Any
) -> list[Any]:
    """Vectors of float32, one for each feature, of ABREAST points less their middle."""
    source, n = kind.dtype, middle.type.count
    exact = ir.VectorType(ir.DoubleType(), n) if source == types.float64 else middle.type
    middle = _converted(builder, middle, types.float32, exact)
    loaded = ir.VectorType(context.get_data_type(source), n)
    width = 1
    while width < n:
        width *= 2
    rows = []
    for i in range(ABREAST):
        index = _times(builder, builder.add(point, _WORD(i)), n)
        at = _place(context, builder, kind, points, index, loaded)
        x = _converted(builder, builder.load(at, align=source.bitwidth // 8), source, exact)
        x = builder.fsub(x, middle)
        if source == types.float64:
            x = builder.fptrunc(x, ir.VectorType(ir.FloatType(), n))
        rows.append(_picked(builder, x, x, [*range(n), *[0] * (width - n)]))
    # Rows are zipped with rows half of all apart: each time the highest bit of a row's
    # number becomes the lowest of its lanes', until the rows are features.
    for _ in range(ABREAST.bit_length() - 1):
        half = len(rows) // 2
        zipped = [lane + width * side for lane in range(width) for side in (0, 1)]
        parts = [slice(0, ABREAST), slice(ABREAST, None)] if width == ABREAST else [slice(None)]
        rows = [
            _picked(builder, rows[i], rows[i + half], zipped[part])
            for i in range(half)
            for part in parts
        ]
        width = min(2 * width, ABREAST)
    return rows[:n]


def _filled(number: float) -> Any:
    return ir.Constant(_FLOATS, [number] * ABREAST)


width_of: Any = intrinsic(_width_of)
add_point: Any = intrinsic(_add_point)
nearest_of_points: Any = intrinsic(_nearest_of_points)
