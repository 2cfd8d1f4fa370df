"""Nearest centres by float32 for many points at once, and for which of them that is not sure."""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .column_sums import clusters_summed
from .columns import about, columns, exact_type
from .lanes import (
    ABREAST,
    DOUBLE,
    FLOATS,
    LANE,
    LANES,
    WORD,
    filled,
    known,
    number_at,
    place,
    smaller,
    splat,
    times,
    together,
)

# What an operation errs by: half a last bit, and a little for errors of errors.
OF_STEP = 1.05 * 2.0**-24


class _Race:
    """Best and second best scores of ABREAST points, and whose the best are."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.best, self.second = (
            cgutils.alloca_once_value(builder, filled(float("inf"))) for _ in range(2)
        )
        self.owner = cgutils.alloca_once_value(builder, ir.Constant(LANES, [0] * ABREAST))
        # Rounding errors beside those of the scores, in halves of their last bit.
        self.more_steps = cgutils.alloca_once_value(builder, WORD(0))

    def enter(self, scores: list[Any], first: Any) -> None:
        """Compare the scores of centres, the lowest of which wins a tie."""
        builder = self.builder
        low, runner, owner = map(builder.load, (self.best, self.second, self.owner))
        for b, score in enumerate(scores):
            closer = builder.fcmp_ordered("<", score, low)
            runner = smaller(builder, builder.select(closer, low, score), runner)
            low = builder.select(closer, score, low)
            number = builder.trunc(builder.add(first, WORD(b)), LANE)
            owner = builder.select(closer, splat(builder, number, ABREAST), owner)
        builder.store(low, self.best)
        builder.store(runner, self.second)
        builder.store(owner, self.owner)

    def enter_tagged(self, scores: list[Any], tags: list[Any], n_bits: Any) -> None:
        """Compare scores in whose lowest bits the numbers of their centres are put.

        That takes fewer operations, and leaves more points in doubt.
        """
        builder = self.builder
        low, runner = builder.load(self.best), builder.load(self.second)
        for score, tag in zip(scores, tags, strict=True):
            rest = builder.and_(builder.bitcast(score, LANES), builder.not_(_mask(builder, n_bits)))
            score = builder.bitcast(builder.or_(rest, builder.bitcast(tag, LANES)), FLOATS)
            worse = builder.select(builder.fcmp_ordered(">", low, score), low, score)
            runner = smaller(builder, worse, runner)
            low = smaller(builder, score, low)
        builder.store(low, self.best)
        builder.store(runner, self.second)

    def read_tags(self, n_bits: Any) -> None:
        """Learn from the best scores whose they are."""
        builder = self.builder
        best = builder.bitcast(builder.load(self.best), LANES)
        builder.store(builder.and_(best, _mask(builder, n_bits)), self.owner)
        # Of two scores each changed by less than 2**n_bits of its last bits.
        builder.store(builder.shl(WORD(2), n_bits), self.more_steps)

    def nearest(self) -> Any:
        """Numbers of the centres with the best scores."""
        return self.builder.load(self.owner)

    def doubtful(self, lengths: Any, n_features: Any) -> Any:
        """Lanes of 1 where rounding may hide that another centre is nearer, else 0.

        With x and c about the origin and R from `relative_error`, |c|**2 / 2 - x c is wrong by
        at most R (|c|**2 + |x|**2 / 2). As R |c|**2 is taken off it beforehand, a score s of the
        true w is between w - 2 R |c|**2 - R |x|**2 / 2 and w + R |x|**2 / 2. So a centre is
        farther than the best if its score exceeds the best one by R |x|**2 + 2 R |c|**2, where
        c is the best: |c|**2 <= 2 |x|**2 + 2 |x - c|**2 = 4 |x|**2 + 4 w. A far centre makes no
        error larger than its own.
        """
        builder = self.builder
        best = builder.load(self.best)
        gap = builder.fsub(builder.load(self.second), best)
        # A little is for errors of errors, of what float64 decides and of this sum itself.
        steps, more_steps = (
            splat(builder, builder.uitofp(n, FLOATS.element), ABREAST)
            for n in (_steps(builder, n_features), builder.load(self.more_steps))
        )
        error = builder.fmul(steps, filled(OF_STEP))
        # Beside the best score, which is more than -|x|**2 / 2, is |x|**2 at least its size.
        names = builder.fmul(more_steps, filled(2 * OF_STEP))
        of_length = builder.fadd(builder.fmul(error, filled(10.0)), names)
        of_best = builder.fadd(builder.fmul(error, filled(9.0)), names)
        bound = builder.fadd(builder.fmul(lengths, of_length), builder.fmul(best, of_best))
        slack = builder.fmul(builder.fadd(steps, more_steps), filled(64 * 2.0**-149))
        bound = builder.fadd(bound, slack)
        # Beyond this float32 may overflow, or a centre be near that it does not hold.
        in_range = builder.fcmp_ordered("<", builder.fadd(lengths, best), filled(1e34))
        sure = builder.and_(builder.fcmp_ordered(">", gap, bound), in_range)
        return builder.zext(builder.not_(sure), LANES)


def _mask(builder: Any, n_bits: Any) -> Any:
    mask = builder.sub(builder.shl(WORD(1), n_bits), WORD(1))
    return splat(builder, builder.trunc(mask, LANE), ABREAST)


def _steps(builder: Any, n_features: Any) -> Any:
    """Operations that a score errs by, as in `relative_error`."""
    return builder.add(builder.mul(n_features, WORD(2)), WORD(5))


def _less_product(builder: Any, score: Any, x: Any, c: Any) -> Any:
    # Contracted into a fused operation: the bound on the error holds with and without.
    product = builder.fmul(x, c, flags=("contract",))
    return builder.fsub(score, product, flags=("contract",))


def _plus_square(builder: Any, total: Any, x: Any) -> Any:
    square = builder.fmul(x, x, flags=("contract",))
    return builder.fadd(total, square, flags=("contract",))


def _nearest_of_points(
    tagged: bool,
    typing_context: Any,
    points: Any,  # IN flat array of any number
    point: Any,  # uint64, the first of ABREAST points
    origin: Any,  # IN (n_features,) float32
    centers: Any,  # IN flat float32, as `narrow_centers` lays them out
    halves: Any,  # IN (2 * n_centers,) float32, as `narrow_centers` gives them
    n_centers: Any,  # uint64, a multiple of `together`
    at: Any,  # uint64, where the points come in what follows
    nearest: Any,  # OUT uint32, the best centre by float32; the lowest wins a tie
    doubtful: Any,  # OUT uint32, 1 where rounding may hide that another one is nearer
    planes: Any,  # OUT flat float32, (n_features, tile): the points, if float32 holds them
    tile: Any,  # uint64
    unroll: Any,  # tuple of n_features
) -> Any:
    """Nearest centres of ABREAST points by float32, and which of them are not sure."""
    n, group = len(unroll), together(len(unroll))

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        points_, point_, _, _, _, k_, at_, _, _, planes_, tile_, _ = arguments
        kind = signature.args

        def number(argument: int, index: Any) -> Any:
            scalar = number_at(context, builder, kind[argument], arguments[argument], index)
            return splat(builder, scalar, ABREAST)

        raw = columns(context, builder, kind[0], points_, point_, n)
        if clusters_summed(n) and exact_type(kind[0].dtype) != DOUBLE:
            for f in range(n):
                index = builder.add(builder.mul(tile_, WORD(f)), at_)
                target = place(context, builder, kind[9], planes_, index, FLOATS)
                builder.store(raw[f], target, align=4)
        x = [about(builder, raw[f], number(2, WORD(f))) for f in range(n)]
        race = _Race(builder)
        last = builder.sub(k_, WORD(1))
        n_bits = builder.sub(WORD(64), builder.ctlz(last, ir.IntType(1)(0)))
        with cgutils.for_range(builder, builder.udiv(k_, WORD(group)), intp=WORD) as loop:
            first = times(builder, loop.index, group)
            row = times(builder, first, n)
            scores = [number(4, builder.add(first, WORD(b))) for b in range(group)]
            for f in range(n):
                for b in range(group):
                    c = number(3, builder.add(row, WORD(f * group + b)))
                    scores[b] = _less_product(builder, scores[b], x[f], c)
            if tagged:
                at = builder.add(k_, first)
                tags = [number(4, builder.add(at, WORD(b))) for b in range(group)]
                race.enter_tagged(scores, tags, n_bits)
            else:
                race.enter(scores, first)
        if tagged:
            race.read_tags(n_bits)
        lengths = filled(0.0)
        for f in range(n):
            lengths = _plus_square(builder, lengths, x[f])
        for argument, value in (
            (7, race.nearest()),
            (8, race.doubtful(lengths, WORD(n))),
        ):
            target = place(context, builder, kind[argument], arguments[argument], at_, LANES)
            builder.store(value, target, align=4)
        return context.get_dummy_value()

    given = (
        points, point, origin, centers, halves, n_centers, at, nearest, doubtful, planes,
        tile, unroll,
    )  # fmt: skip
    return types.none(*given), build


def _nearest_of_columns(
    typing_context: Any,
    columns: Any,  # IN flat float32, (n_features, ABREAST), points about the origin
    centers: Any,  # IN flat float32, as `narrow_centers` lays them out
    halves: Any,  # IN (2 * n_centers,) float32, as `narrow_centers` gives them
    n_features: Any,  # uint64
    n_centers: Any,  # uint64, a multiple of `together`
    at: Any,  # uint64, where the points come in what follows
    nearest: Any,  # OUT uint32, the best centre by float32; the lowest wins a tie
    doubtful: Any,  # OUT uint32, 1 where rounding may hide that another one is nearer
    best: Any,  # OUT float32, half the squared distances less half the points' squared lengths
    second: Any,  # OUT float32, the same of the centres that come second
    lengths: Any,  # OUT float32, squared lengths of the points
) -> Any:
    """`_nearest_of_points` for any number of features."""
    group = together(ABREAST)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, _, n_, k_, at_, _, _, _, _, _ = arguments
        kind = signature.args

        def number(argument: int, index: Any) -> Any:
            scalar = number_at(context, builder, kind[argument], arguments[argument], index)
            return splat(builder, scalar, ABREAST)

        def column(f: Any) -> Any:
            index = times(builder, f, ABREAST)
            at = place(context, builder, kind[0], arguments[0], index, FLOATS)
            return builder.load(at, align=4)

        race = _Race(builder)
        sums = [cgutils.alloca_once(builder, FLOATS) for _ in range(group)]
        with cgutils.for_range(builder, builder.udiv(k_, WORD(group)), intp=WORD) as loop:
            first = times(builder, loop.index, group)
            row = builder.mul(first, n_)
            for b, total in enumerate(sums):
                builder.store(number(2, builder.add(first, WORD(b))), total)
            with cgutils.for_range(builder, n_, intp=WORD) as features:
                x = column(features.index)
                here = builder.add(row, times(builder, features.index, group))
                for b, total in enumerate(sums):
                    c = number(1, builder.add(here, WORD(b)))
                    builder.store(_less_product(builder, builder.load(total), x, c), total)
            race.enter([builder.load(total) for total in sums], first)
        length = cgutils.alloca_once_value(builder, filled(0.0))
        with cgutils.for_range(builder, n_, intp=WORD) as features:
            x = column(features.index)
            builder.store(_plus_square(builder, builder.load(length), x), length)
        for argument, value in (
            (6, race.nearest()),
            (7, race.doubtful(builder.load(length), n_)),
        ):
            target = place(context, builder, kind[argument], arguments[argument], at_, LANES)
            builder.store(value, target, align=4)
        for argument, value in ((8, race.best), (9, race.second), (10, length)):
            target = place(context, builder, kind[argument], arguments[argument], at_, FLOATS)
            builder.store(builder.load(value), target, align=4)
        return context.get_dummy_value()

    given = (
        columns, centers, halves, n_features, n_centers, at, nearest, doubtful, best,
        second, lengths,
    )  # fmt: skip
    return types.none(*given), build


def tagging_pays(n_features: int) -> int:
    """Centres up to which their numbers may take the place of bits of the scores.

    With more of them the points in doubt cost more than is saved, in few dimensions
    already with few.
    """
    return min(64, 8 << n_features)


nearest_of_points: Any = intrinsic(partial(_nearest_of_points, False))
nearest_by_tags: Any = intrinsic(partial(_nearest_of_points, True))
nearest_of_columns: Any = intrinsic(_nearest_of_columns)
tagging_pays_of: Any = known(tagging_pays)
