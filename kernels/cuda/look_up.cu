// Labels of pixels through a table of the labels of all codes. Compiled with CODE and
// LABEL, the types of a pixel of up to 16 bits and of a label.

#include "types.cuh"

extern "C" __global__ void __launch_bounds__(256) label_bins(
    const CODE* codes,   // IN (n,)
    int64 start,         // first pixel of the chunk, a multiple of 16
    int64 stop,          // end of the chunk
    const LABEL* table,  // IN (n_bins,) label of each code
    LABEL* labels        // OUT (n,)
) {
    constexpr int N = 16 / sizeof(CODE);
    const int64 step = int64(gridDim.x) * blockDim.x * N;
    for (int64 i = start + (int64(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < stop;
         i += step) {
        const Pack<CODE, N> pack = load_pack<CODE, N>(codes, i, stop);
        Pack<LABEL, N> out;
#pragma unroll
        for (int p = 0; p < N; ++p) out.v[p] = table[pack.v[p]];
        store_pack(out, i, stop, labels);
    }
}

extern "C" __global__ void __launch_bounds__(256) enter_colors(
    const uint32* codes,  // IN (n,)
    const LABEL* values,  // IN (n,) label of each
    int64 n,
    LABEL* table          // OUT (2**24,)
) {
    const int64 step = int64(gridDim.x) * blockDim.x;
    for (int64 i = int64(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
        table[codes[i]] = values[i];
    }
}

extern "C" __global__ void __launch_bounds__(256) label_colors(
    const uint8* pixels,  // IN (n, 3)
    int64 start,          // first pixel of the chunk, a multiple of 16
    int64 stop,           // end of the chunk
    const LABEL* table,   // IN (2**24,) label of each code
    LABEL* labels         // OUT (n,)
) {
    constexpr int N = 16;
    const int64 step = int64(gridDim.x) * blockDim.x * N;
    for (int64 i = start + (int64(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < stop;
         i += step) {
        const Pack<uint8, 3 * N> pack = load_pack<uint8, 3 * N>(pixels, 3 * i, 3 * stop);
        Pack<LABEL, N> out;
#pragma unroll
        for (int p = 0; p < N; ++p) {
            const uint8* c = pack.v + 3 * p;
            out.v[p] = table[uint32(c[0]) << 16 | uint32(c[1]) << 8 | c[2]];
        }
        store_pack(out, i, stop, labels);
    }
}
