// Sums of pieces of the points, and of groups of pieces. Pieces and groups depend on the
// problem alone and are added in order, so that neither the device nor the way in which
// the points come in chunks shows in the last bits.

#include "types.cuh"

#define GROUP 128  // pieces whose sums are added on the device; the host adds the groups

template <class Value>
__device__ Value warp_sum(Value value) {
#pragma unroll
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, lanes);
    }
    return value;
}

// Sum over the block, right in thread 0; ``scratch`` holds a value for each warp.
__device__ inline double block_sum(double value, double* scratch) {
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = value;
    __syncthreads();
    double total = 0.0;
    if (threadIdx.x == 0) {
        for (int warp = 0; warp < blockDim.x / WARP; ++warp) total += scratch[warp];
    }
    __syncthreads();
    return total;
}

// To be called by the whole block after it has written row ``piece``: the block that
// finishes a group adds the group's rows up.
__device__ inline void finish_row(
    const double* rows,  // IN (n_pieces, n_columns)
    int64 piece,
    int64 n_pieces,
    int n_columns,
    uint32* tickets,     // INOUT (n_groups,) zero before the first piece and after the last
    double* sums         // OUT (n_groups, n_columns)
) {
    __shared__ uint32 n_done;
    const int64 group = piece / GROUP;
    const int64 end = (group + 1) * GROUP < n_pieces ? (group + 1) * GROUP : n_pieces;
    const uint32 members = uint32(end - group * GROUP);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) n_done = atomicAdd(&tickets[group], 1u) + 1;
    __syncthreads();
    if (n_done == members) {
        __threadfence();
        for (int c = threadIdx.x; c < n_columns; c += blockDim.x) {
            double sum = 0.0;
#pragma unroll 16
            for (int64 r = group * GROUP; r < end; ++r) sum += __ldcg(&rows[r * n_columns + c]);
            sums[group * n_columns + c] = sum;
        }
        if (threadIdx.x == 0) tickets[group] = 0;
    }
    __syncthreads();
}
