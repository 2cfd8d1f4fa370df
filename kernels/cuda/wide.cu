// Points of many channels: the products with all centres come from a matrix product, tile
// by tile, and stay in the L2 cache between the kernels. Compiled with N_FEATURES 0.

#include "nearest.cuh"

#define THREADS 128

// The type of the products: every value but those of float64 is exact in float32.
template <class Value> struct RealOf { typedef float type; };
template <> struct RealOf<double> { typedef double type; };
typedef RealOf<POINT>::type Real;

// (distance, label) of the nearer of two; the lowest label wins a tie.
__device__ inline void keep_nearer(double d, int label, double& best, int& best_label) {
    if (d < best || (d == best && label < best_label)) {
        best = d;
        best_label = label;
    }
}

// One warp for each point. A centre whose |c|^2 - 2 x.c is above the least one by more than
// rounding explains is out; the others are decided in float64.
extern "C" __global__ void __launch_bounds__(THREADS) assign_products(
    const POINT* points,      // IN (n, n_features)
    const double* centers,    // IN (n_clusters, n_features)
    const Real* norms,        // IN (n_clusters,) squared norms of the centres
    const Real* products,     // IN (n, n_clusters) of points and centres
    Real largest,             // largest norm of a centre, rounded up
    Real unit,                // rounding error of Real, enlarged
    int64 n,
    int n_clusters,
    int n_features,
    int first_label,          // added to every label
    int32* labels,            // OUT (n,)
    double* distances         // OUT (n,) squared
) {
    const int lane = threadIdx.x % WARP;
    const int64 step = int64(gridDim.x) * (THREADS / WARP);
    for (int64 i = int64(blockIdx.x) * (THREADS / WARP) + threadIdx.x / WARP; i < n; i += step) {
        const Rows x(points, i, n, n_features);
        Real norm = 0;
        for (int f = lane; f < n_features; f += WARP) {
            const Real value = Real(x.value(0, f));
            norm += value * value;
        }
        Real least = Real(__int_as_float(0x7f800000));
        for (int j = lane; j < n_clusters; j += WARP) {
            const Real v = norms[j] - 2 * products[i * n_clusters + j];
            least = v < least ? v : least;
        }
#pragma unroll
        for (int lanes = WARP / 2; lanes > 0; lanes /= 2) {
            norm += __shfl_xor_sync(ALL_LANES, norm, lanes);
            const Real other = __shfl_xor_sync(ALL_LANES, least, lanes);
            least = other < least ? other : least;
        }
        const Real reach = sqrt(norm) * Real(1.001);
        // Of the products, and of the float64 distances that decide.
        const Real error = unit * largest * ((n_features + 2) * reach + largest)
            + (n_features + 2) * Real(1e-15) * (reach * reach + largest * largest)
            + (n_features + 2) * Real(1e-37);
        const Real limit = least + 4 * error;
        double best = __longlong_as_double(0x7ff0000000000000);
        int label = 0x7fffffff;
        for (int j = lane; j < n_clusters; j += WARP) {
            // Written so that what is no number is decided in float64 too.
            if (!(norms[j] - 2 * products[i * n_clusters + j] > limit)) {
                keep_nearer(exact_distance(x, 0, centers + int64(j) * n_features), j, best, label);
            }
        }
#pragma unroll
        for (int lanes = WARP / 2; lanes > 0; lanes /= 2) {
            const double d = __shfl_xor_sync(ALL_LANES, best, lanes);
            keep_nearer(d, __shfl_xor_sync(ALL_LANES, label, lanes), best, label);
        }
        if (lane == 0) {
            labels[i] = label + first_label;
            distances[i] = best;
        }
    }
}

// One block for each cluster, which adds its points in their order.
extern "C" __global__ void __launch_bounds__(THREADS) add_labelled(
    const POINT* points,      // IN (n, n_features)
    const double* weights,    // IN (n,), or null: every point weighs one
    const int32* labels,      // IN (n,)
    const double* distances,  // IN (n,) squared
    int64 n,
    int n_features,
    double* sums              // INOUT (n_clusters, n_features + 2), then weight and inertia
) {
    __shared__ int found[THREADS];
    __shared__ int starts[THREADS / WARP + 1];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    double* row = sums + int64(blockIdx.x) * (n_features + 2);
    for (int64 first = 0; first < n; first += THREADS) {
        const int64 i = first + threadIdx.x;
        const bool mine = i < n && labels[i] == blockIdx.x;
        const uint32 mask = __ballot_sync(ALL_LANES, mine);
        if (lane == 0) starts[warp + 1] = __popc(mask);
        __syncthreads();
        int start = 0;
        for (int w = 0; w < warp; ++w) start += starts[w + 1];
        int n_found = start;
        for (int w = warp; w < THREADS / WARP; ++w) n_found += starts[w + 1];
        if (mine) found[start + __popc(mask & ((1u << lane) - 1))] = threadIdx.x;
        __syncthreads();
        for (int f = threadIdx.x; n_found > 0 && f < n_features + 2; f += THREADS) {
            double sum = row[f];
            for (int q = 0; q < n_found; ++q) {
                const int64 at = first + found[q];
                const double w = weights ? weights[at] : 1.0;
                const double x = f < n_features    ? to_double(points[at * n_features + f])
                                 : f == n_features ? 1.0
                                                   : distances[at];
                sum += __dmul_rn(w, x);
            }
            row[f] = sum;
        }
        __syncthreads();
    }
}
