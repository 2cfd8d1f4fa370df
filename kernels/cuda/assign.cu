// Labels, and the weighing of candidates of k-means++.

#include "nearest.cuh"
#include "rows.cuh"

template <class Label>
__device__ void assign(
    const POINT* points, const ManyCenters& centers, int64 start, int64 stop, int n_features,
    int first_label, Label* labels, double* distances
) {
    const int64 step = int64(gridDim.x) * blockDim.x * PACK;
    for (int64 i = start + (int64(blockIdx.x) * blockDim.x + threadIdx.x) * PACK; i < stop;
         i += step) {
        const Rows x(points, i, stop, n_features);
        int found[PACK];
        nearest(x, centers, centers.exact, found);
        Pack<Label, PACK> out;
#pragma unroll
        for (int p = 0; p < PACK; ++p) {
            out.v[p] = Label(found[p] + first_label);
            if (distances && i + p < stop) {
                distances[i + p] =
                    exact_distance(x, p, centers.exact + int64(found[p]) * x.n_features());
            }
        }
        store_pack(out, i, stop, labels);
    }
}

#define ARGUMENTS(Label)                                                                  \
    const POINT* points,  /* IN (n, n_features) */                                        \
    const __grid_constant__ ManyCenters centers,                                          \
    int64 start,          /* first point of the chunk, a multiple of 8 */                 \
    int64 stop,           /* end of the chunk */                                          \
    int n_features,                                                                       \
    int first_label,      /* added to every label */                                      \
    Label* labels,        /* OUT (n,) */                                                  \
    double* distances     /* OUT (n,), or null: not wanted */

extern "C" __global__ void __launch_bounds__(256, 2) assign_uint8(ARGUMENTS(uint8)) {
    assign(points, centers, start, stop, n_features, first_label, labels, distances);
}

extern "C" __global__ void __launch_bounds__(256, 2) assign_uint16(ARGUMENTS(uint16)) {
    assign(points, centers, start, stop, n_features, first_label, labels, distances);
}

extern "C" __global__ void __launch_bounds__(256, 2) assign_int32(ARGUMENTS(int32)) {
    assign(points, centers, start, stop, n_features, first_label, labels, distances);
}

extern "C" __global__ void __launch_bounds__(256, 2) potentials(
    const POINT* points,       // IN (n, n_features)
    const double* weights,     // IN (n,), or null: every point weighs one
    const double* candidates,  // IN (n_candidates, n_features)
    int64 start,               // first point, a multiple of piece_size
    int64 stop,                // end
    int64 piece_size,
    int n_candidates,
    int n_features,
    double* closest,           // INOUT (n,) squared distance to the centres so far
    int update,                // whether the candidates become centres
    double* totals             // OUT (n_pieces, n_candidates) inertia each would leave
) {
    __shared__ double scratch[WARP];
    for (int64 piece = start / piece_size + blockIdx.x; piece * piece_size < stop;
         piece += gridDim.x) {
        const int64 last = (piece + 1) * piece_size < stop ? (piece + 1) * piece_size : stop;
        for (int c = 0; c < n_candidates; ++c) {
            const double* candidate = candidates + int64(c) * n_features;
            double total = 0.0;
            for (int64 i = piece * piece_size + threadIdx.x * PACK; i < last;
                 i += blockDim.x * PACK) {
                const Rows x(points, i, last, n_features);
#pragma unroll
                for (int p = 0; p < PACK; ++p) {
                    if (i + p >= last) break;
                    const double d = fmin(exact_distance(x, p, candidate), closest[i + p]);
                    if (update) closest[i + p] = d;
                    total += weights ? __dmul_rn(weights[i + p], d) : d;
                }
            }
            total = block_sum(total, scratch);
            if (threadIdx.x == 0) totals[piece * n_candidates + c] = total;
        }
    }
}
