// Assignment and sums in one pass, for so few sums that every thread keeps its own in
// shared memory. A row of sums is (n_clusters, n_features + 1), the weight last, and then
// the inertia. See accumulate_many.cu for more sums.

#include "nearest.cuh"
#include "rows.cuh"

// A value as an integer, or in float64.
template <class Sum>
__device__ Sum as(Real value) {
    return sizeof(Sum) == sizeof(double) ? Sum(to_double(value)) : Sum(value);
}

template <class Sum, int THREADS>
__device__ void accumulate_columns(
    const POINT* points, const double* weights, const FewCenters& centers, int64 start,
    int64 stop, int64 n_points, int64 piece_size, int n_features, double* rows,
    uint32* tickets, double* sums
) {
    DYNAMIC_SHARED(double, shared);
    __shared__ double scratch[WARP];
    __shared__ double exact[FEW];
    Sum* columns = reinterpret_cast<Sum*>(shared) + threadIdx.x;
    // 32-bit sums are of points that weigh one, which the compiler then knows.
    const bool weighted = sizeof(Sum) == sizeof(double) && weights;
    const int width = n_features + 1;
    const int n_sums = centers.n_clusters * width;
    const int64 n_pieces = (n_points + piece_size - 1) / piece_size;
    for (int i = threadIdx.x; i < centers.n_clusters * n_features; i += THREADS) {
        exact[i] = centers.exact[i];
    }
    __syncthreads();
    for (int64 piece = start / piece_size + blockIdx.x; piece * piece_size < stop;
         piece += gridDim.x) {
        const int64 last = (piece + 1) * piece_size < stop ? (piece + 1) * piece_size : stop;
        for (int c = 0; c < n_sums; ++c) columns[c * THREADS] = Sum(0);
        double inertia = 0.0;
        for (int64 i = piece * piece_size + threadIdx.x * PACK; i < last;
             i += THREADS * PACK) {
            const Rows x(points, i - start, last - start, n_features);
            int labels[PACK];
            nearest(x, centers, exact, labels);
#pragma unroll
            for (int p = 0; p < PACK; ++p) {
                if (i + p >= last) break;
                const double w = weighted ? weights[i - start + p] : 1.0;
                Sum* mine = columns + labels[p] * width * THREADS;
#pragma unroll
                for (int f = 0; f < x.n_features(); ++f) {
                    const Real v = x.value(p, f);
                    mine[f * THREADS] += weighted ? Sum(__dmul_rn(w, to_double(v))) : as<Sum>(v);
                }
                mine[x.n_features() * THREADS] += Sum(w);
                inertia += __dmul_rn(
                    w, exact_distance(x, p, exact + labels[p] * x.n_features()));
            }
        }
        __syncthreads();
        double* row = rows + piece * (n_sums + 1);
        for (int c = threadIdx.x / WARP; c < n_sums; c += THREADS / WARP) {
            const Sum* column = reinterpret_cast<Sum*>(shared) + c * THREADS;
            double sum = 0.0;
            for (int i = threadIdx.x % WARP; i < THREADS; i += WARP) sum += double(column[i]);
            sum = warp_sum(sum);
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
