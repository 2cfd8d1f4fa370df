"""Sums of the points of a few clusters, many points at once: a mask for every cluster."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .lanes import ALIGNED, DOUBLE, LANE, WIDE, WORD, converted, known, load, picked, splat

# Sums of vectors that fit in registers beside what is added to them.
_REGISTERS = 24
_MOST = 8
_SUM = ir.VectorType(DOUBLE, ALIGNED)


def clusters_summed(n_features: int) -> int:
    """Clusters whose sums are taken at once; for more, a point at a time is as quick."""
    return min(_MOST, _REGISTERS // n_features) if n_features <= 8 else 0


def _add_columns(
    typing_context: Any,
    planes: Any,  # IN flat float32, (n_features, tile)
    tile: Any,  # uint64
    nearest: Any,  # IN uint32, clusters of the points, below `clusters_summed`
    n_points: Any,  # uint64, a multiple of WIDE
    sums: Any,  # INOUT flat float64, (clusters_summed, n_features, ALIGNED), aligned
    totals: Any,  # INOUT (clusters_summed,) int64
    unroll: Any,  # tuple of n_features
) -> Any:
    """Add points to the sums of their clusters: the i-th to the lane i % ALIGNED."""
    n = len(unroll)
    n_clusters = clusters_summed(n)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        planes_, tile_, nearest_, n_points_, sums_, totals_, _ = arguments
        kind = signature.args
        sums_at = context.make_array(kind[4])(context, builder, sums_).data
        sums_at = builder.bitcast(sums_at, _SUM.as_pointer())
        totals_at = context.make_array(kind[5])(context, builder, totals_).data
        places = [builder.gep(sums_at, [WORD(i)]) for i in range(n_clusters * n)]
        places += [builder.gep(totals_at, [WORD(j)]) for j in range(n_clusters)]
        held = [cgutils.alloca_once_value(builder, builder.load(at)) for at in places]
        with cgutils.for_range(builder, builder.udiv(n_points_, WORD(WIDE)), intp=WORD) as loop:
            at = builder.mul(loop.index, WORD(WIDE))
            own = load(context, builder, kind[2], nearest_, at, WIDE)
            halves = []
            for f in range(n):
                index = builder.add(builder.mul(tile_, WORD(f)), at)
                x = load(context, builder, kind[0], planes_, index, WIDE)
                x = converted(builder, x, types.float32, DOUBLE)
                halves.append([picked(builder, x, x, list(range(h, h + 8))) for h in (0, 8)])
            for j in range(n_clusters):
                mine = builder.icmp_unsigned("==", own, splat(builder, LANE(j), WIDE))
                count = builder.ctpop(builder.bitcast(mine, ir.IntType(WIDE)))
                total = held[n_clusters * n + j]
                builder.store(builder.add(builder.load(total), builder.zext(count, WORD)), total)
                for f in range(n):
                    into = held[j * n + f]
                    for h in (0, 1):
                        mask = picked(builder, mine, mine, list(range(8 * h, 8 * h + 8)))
                        more = builder.fadd(builder.load(into), halves[f][h])
                        builder.store(builder.select(mask, more, builder.load(into)), into)
        for at, value in zip(places, held, strict=True):
            builder.store(builder.load(value), at)
        return context.get_dummy_value()

    return types.none(planes, tile, nearest, n_points, sums, totals, unroll), build


add_columns: Any = intrinsic(_add_columns)
clusters_summed_of: Any = known(clusters_summed)
