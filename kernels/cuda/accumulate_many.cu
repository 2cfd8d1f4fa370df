// Assignment and sums in one pass, for more sums than fit beside every thread:
//   accumulate_shared  integers: one table in shared memory, by 32-bit atomics
//   accumulate_owned   any: each sum belongs to one thread, which adds its points in order
// See accumulate.cu for the arguments.

#include "nearest.cuh"
#include "rows.cuh"

#define THREADS 256

// Points whose 16-bit values 32 bits can add up.
#define FLUSH 32768

#define ARGUMENTS                                                                         \
    const POINT* points, const double* weights, const __grid_constant__ ManyCenters centers, \
    int64 start, int64 stop, int64 n_points, int64 piece_size, int n_features,             \
    double* rows, uint32* tickets, double* sums

#if INTEGER
extern "C" __global__ void __launch_bounds__(THREADS, 2) accumulate_shared(ARGUMENTS) {
    DYNAMIC_SHARED(int32, table);
    __shared__ double scratch[WARP];
    const int width = n_features + 1;
    const int n_sums = centers.n_clusters * width;
    const int64 n_pieces = (n_points + piece_size - 1) / piece_size;
    const int tile = THREADS * PACK;
    for (int64 piece = start / piece_size + blockIdx.x; piece * piece_size < stop;
         piece += gridDim.x) {
        const int64 last = (piece + 1) * piece_size < stop ? (piece + 1) * piece_size : stop;
        double* row = rows + piece * (n_sums + 1);
        for (int c = threadIdx.x; c < n_sums; c += THREADS) {
            row[c] = 0.0;
            table[c] = 0;
        }
        __syncthreads();
        double inertia = 0.0;
        int filled = 0;
        for (int64 first = piece * piece_size; first < last; first += tile) {
            const int64 i = first + threadIdx.x * PACK;
            if (i < last) {
                const Rows x(points, i - start, last - start, n_features);
                int labels[PACK];
                nearest(x, centers, centers.exact, labels);
#pragma unroll
                for (int p = 0; p < PACK; ++p) {
                    if (i + p >= last) break;
                    int32* mine = table + labels[p] * width;
#pragma unroll
                    for (int f = 0; f < x.n_features(); ++f) {
                        atomicAdd(&mine[f], int32(x.value(p, f)));
                    }
                    atomicAdd(&mine[x.n_features()], 1);
                    inertia += exact_distance(
                        x, p, centers.exact + int64(labels[p]) * x.n_features());
                }
            }
            filled += tile;
            if (filled + tile > FLUSH || first + tile >= last) {
                __syncthreads();
                for (int c = threadIdx.x; c < n_sums; c += THREADS) {
                    row[c] += table[c];
                    table[c] = 0;
                }
                filled = 0;
                __syncthreads();
            }
        }
        inertia = block_sum(inertia, scratch);
        if (threadIdx.x == 0) row[n_sums] = inertia;
        finish_row(rows, piece, n_pieces, n_sums + 1, tickets, sums);
    }
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS, 2) accumulate_owned(ARGUMENTS) {
    __shared__ int tile_labels[THREADS * PACK];
    __shared__ double scratch[WARP];
    const int width = n_features + 1;
    const int n_sums = centers.n_clusters * width;
    const int64 n_pieces = (n_points + piece_size - 1) / piece_size;
    // A team has a thread for each channel and one for the weight, or is all threads; it
    // owns the clusters whose last bits are its number.
    int n_teams = 1;
    while (2 * n_teams * width <= THREADS) n_teams *= 2;
    const int team = threadIdx.x / width;
    for (int64 piece = start / piece_size + blockIdx.x; piece * piece_size < stop;
         piece += gridDim.x) {
        const int64 last = (piece + 1) * piece_size < stop ? (piece + 1) * piece_size : stop;
        double* row = rows + piece * (n_sums + 1);
        for (int c = threadIdx.x; c < n_sums; c += THREADS) row[c] = 0.0;
        double inertia = 0.0;
        for (int64 first = piece * piece_size; first < last; first += THREADS * PACK) {
            const int64 i = first + threadIdx.x * PACK;
            if (i < last) {
                const Rows x(points, i - start, last - start, n_features);
                int labels[PACK];
                nearest(x, centers, centers.exact, labels);
#pragma unroll
                for (int p = 0; p < PACK; ++p) {
                    if (i + p >= last) break;
                    tile_labels[threadIdx.x * PACK + p] = labels[p];
                    const double w = weights ? weights[i - start + p] : 1.0;
                    inertia += __dmul_rn(w, exact_distance(
                        x, p, centers.exact + int64(labels[p]) * x.n_features()));
                }
            }
            __syncthreads();
            const int64 left = last - first;
            const int size = left < THREADS * PACK ? int(left) : THREADS * PACK;
            if (team < n_teams) {
                for (int q = 0; q < size; ++q) {
                    const int label = tile_labels[q];
                    if ((label & (n_teams - 1)) != team) continue;
                    const int64 at = first - start + q;
                    const double w = weights ? weights[at] : 1.0;
                    for (int f = threadIdx.x % width; f < width; f += THREADS) {
                        const double x =
                            f < n_features ? to_double(points[at * n_features + f]) : 1.0;
                        row[int64(label) * width + f] += __dmul_rn(w, x);
                    }
                }
            }
            __syncthreads();
        }
        inertia = block_sum(inertia, scratch);
        if (threadIdx.x == 0) row[n_sums] = inertia;
        finish_row(rows, piece, n_pieces, n_sums + 1, tickets, sums);
    }
}
