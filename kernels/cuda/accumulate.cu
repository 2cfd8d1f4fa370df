// Assignment and sums in one pass, for so few sums that every thread keeps its own in
// shared memory. A row of sums is (n_clusters, n_features + 1), the weight last, and then
// the inertia. See accumulate_many.cu for more sums.

#include "nearest.cuh"
#include "rows.cuh"

template <class Sum>
__device__ Sum value_as(Computed value, double weight, bool weighted) {
    if constexpr (sizeof(Sum) == sizeof(double)) {
        return weighted ? __dmul_rn(weight, to_double(value)) : to_double(value);
    } else {
        return Sum(value);
    }
}

// A thread's sums in shared memory, in vectors side by side with those of other threads, so
// that a warp's additions meet each bank once.
template <class Sum, int THREADS>
struct Columns {
    static constexpr int WIDTH = N_FEATURES + 1;  // of a cluster, where it is known
    static constexpr int UNIT = N_FEATURES ? alignment(WIDTH * sizeof(Sum)) / sizeof(Sum) : 1;
    typedef Pack<Sum, UNIT> Unit;
    Unit* units;

    __device__ explicit Columns(void* shared)
        : units(reinterpret_cast<Unit*>(shared) + threadIdx.x) {}
    __device__ void clear(int n_sums) {
        for (int u = 0; u < n_sums / UNIT; ++u) units[u * THREADS] = Unit{};
    }
    __device__ void add(const Rows& x, int p, int label, double weight, bool weighted) {
        const int width = x.n_features() + 1;
        Unit* mine = units + label * (width / UNIT) * THREADS;
#pragma unroll
        for (int u = 0; u < width / UNIT; ++u) {
            Unit unit = mine[u * THREADS];
#pragma unroll
            for (int i = 0; i < UNIT; ++i) {
                const int f = u * UNIT + i;
                unit.v[i] += f < x.n_features() ? value_as<Sum>(x.value(p, f), weight, weighted)
                                                : Sum(weight);
            }
            mine[u * THREADS] = unit;
        }
    }
    // Sum of a column over the block's threads, called by a whole warp.
    __device__ double total(int column) const {
        const Unit* all = units - threadIdx.x + column / UNIT * THREADS;
        double sum = 0.0;
        for (int i = threadIdx.x % WARP; i < THREADS; i += WARP) sum += all[i].v[column % UNIT];
        return warp_sum(sum);
    }
};

template <class Sum, int THREADS>
__device__ void accumulate_columns(
    const POINT* points, const double* weights, const FewCenters& centers, int64 start,
    int64 stop, int64 n_points, int64 piece_size, int n_features, double* rows,
    uint32* tickets, double* sums
) {
    DYNAMIC_SHARED(double, shared);
    __shared__ double scratch[WARP];
    __shared__ double exact[FEW];
    Columns<Sum, THREADS> columns(shared);
    // 32-bit sums are of points that weigh one, which the compiler then knows.
    const bool weighted = sizeof(Sum) == sizeof(double) && weights;
    const int d = N_FEATURES ? N_FEATURES : n_features;
    const int n_sums = centers.n_clusters * (d + 1);
    const int64 n_pieces = (n_points + piece_size - 1) / piece_size;
    for (int i = threadIdx.x; i < centers.n_clusters * d; i += THREADS) {
        exact[i] = centers.exact[i];
    }
    __syncthreads();
    for (int64 piece = start / piece_size + blockIdx.x; piece * piece_size < stop;
         piece += gridDim.x) {
        // Within a piece 32 bits tell the points.
        const int64 first = piece * piece_size - start;
        const int size = int(stop - start - first < piece_size ? stop - start - first : piece_size);
        const POINT* here = points + first * d;
        columns.clear(n_sums);
        double inertia = 0.0;
        for (int i = threadIdx.x * PACK; i < size; i += THREADS * PACK) {
            const Rows x(here, i, size, d);
            int labels[PACK];
            nearest(x, centers, exact, labels);
#pragma unroll
            for (int p = 0; p < PACK; ++p) {
                if (i + p >= size) break;
                const double w = weighted ? weights[first + i + p] : 1.0;
                columns.add(x, p, labels[p], w, weighted);
                const double squared = exact_distance(x, p, exact + labels[p] * d);
                inertia += weighted ? __dmul_rn(w, squared) : squared;
            }
        }
        __syncthreads();
        double* row = rows + piece * (n_sums + 1);
        for (int c = threadIdx.x / WARP; c < n_sums; c += THREADS / WARP) {
            const double sum = columns.total(c);
            if (threadIdx.x % WARP == 0) row[c] = sum;
        }
        inertia = block_sum(inertia, scratch);
        if (threadIdx.x == 0) row[n_sums] = inertia;
        finish_row(rows, piece, n_pieces, n_sums + 1, tickets, sums);
    }
}

#define ARGUMENTS                                                                          \
    const POINT* points,   /* IN (stop - start, n_features), the first one is ``start`` */ \
    const double* weights, /* IN (stop - start,), or null: every point weighs one */       \
    const __grid_constant__ FewCenters centers,                                            \
    int64 start,           /* first point of the chunk, a multiple of piece_size */        \
    int64 stop,            /* end of the chunk, another multiple or n_points */            \
    int64 n_points,        /* points of all chunks */                                      \
    int64 piece_size,      /* points of a row of sums */                                   \
    int n_features,                                                                        \
    double* rows,          /* SCRATCH (n_pieces, n_sums + 1) */                            \
    uint32* tickets,       /* INOUT (n_groups,) zero */                                    \
    double* sums           /* OUT (n_groups, n_sums + 1) */

// Blocks of 64 threads have room for twice as many sums of each.

#if INTEGER
// A piece has too few points for 32 bits to overflow.
extern "C" __global__ void __launch_bounds__(128, 4) accumulate_int32_128(ARGUMENTS) {
    accumulate_columns<int32, 128>(points, weights, centers, start, stop, n_points, piece_size,
                                   n_features, rows, tickets, sums);
}

extern "C" __global__ void __launch_bounds__(64, 8) accumulate_int32_64(ARGUMENTS) {
    accumulate_columns<int32, 64>(points, weights, centers, start, stop, n_points, piece_size,
                                  n_features, rows, tickets, sums);
}
#endif

extern "C" __global__ void __launch_bounds__(128, 4) accumulate_float64_128(ARGUMENTS) {
    accumulate_columns<float64, 128>(points, weights, centers, start, stop, n_points, piece_size,
                                     n_features, rows, tickets, sums);
}

extern "C" __global__ void __launch_bounds__(64, 8) accumulate_float64_64(ARGUMENTS) {
    accumulate_columns<float64, 64>(points, weights, centers, start, stop, n_points, piece_size,
                                    n_features, rows, tickets, sums);
}
