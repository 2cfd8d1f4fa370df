// Counting pixels of up to 16 bits and 8-bit colours, and looking their labels up.
// Compiled with CODE, the unsigned type of all the bits of a pixel of up to 16 bits.

#include "types.cuh"

#define THREADS 256
#define WINDOW 8192  // bins in shared memory

// Equal neighbours are counted together: flat areas would else queue for one address.
template <class Key, int N, class Add>
__device__ void count_runs(const Key (&keys)[N], int n, Add add) {
    Key key = keys[0];
    uint32 run = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i >= n) break;
        if (keys[i] != key) {
            add(key, run);
            key = keys[i];
            run = 0;
        }
        ++run;
    }
    add(key, run);
}

extern "C" __global__ void __launch_bounds__(THREADS) count_bins(
    const CODE* codes,  // IN (n,)
    int64 start,        // first pixel of the chunk, 0 or a multiple of 16
    int64 stop,         // end of the chunk
    uint32 origin,      // first code of the window that is counted in shared memory
    uint64* bins        // INOUT (n_bins,)
) {
    constexpr int N = 16 / sizeof(CODE);
    constexpr uint32 MASK = CODE(-1);
    constexpr uint32 N_SHARED = WINDOW < MASK + 1 ? WINDOW : MASK + 1;
    __shared__ uint32 window[N_SHARED];
    for (uint32 b = threadIdx.x; b < N_SHARED; b += THREADS) window[b] = 0;
    __syncthreads();
    const int64 step = int64(gridDim.x) * THREADS * N;
    for (int64 i = start + (int64(blockIdx.x) * THREADS + threadIdx.x) * N; i < stop; i += step) {
        const Pack<CODE, N> pack = load_pack<CODE, N>(codes, i, stop);
        count_runs(pack.v, stop - i < N ? int(stop - i) : N, [&](CODE code, uint32 run) {
            const uint32 at = (code - origin) & MASK;
            if (at < N_SHARED) {
                atomicAdd(&window[at], run);
            } else {
                atomicAdd(&bins[code], uint64(run));
            }
        });
    }
    __syncthreads();
    for (uint32 b = threadIdx.x; b < N_SHARED; b += THREADS) {
        if (window[b]) atomicAdd(&bins[(b + origin) & MASK], uint64(window[b]));
    }
}

constexpr int COLORS = 4;  // whose bytes are three words

__device__ inline int load_colors(const uint8* pixels, int64 at, int64 stop, uint32* codes) {
    const Pack<uint8, 3 * COLORS> pack = load_pack<uint8, 3 * COLORS>(pixels, 3 * at, 3 * stop);
#pragma unroll
    for (int p = 0; p < COLORS; ++p) {
        codes[p] = uint32(pack.v[3 * p]) << 16 | uint32(pack.v[3 * p + 1]) << 8 | pack.v[3 * p + 2];
    }
    return stop - at < COLORS ? int(stop - at) : COLORS;
}

extern "C" __global__ void __launch_bounds__(THREADS) count_colors(
    const uint8* pixels,  // IN (n, 3)
    int64 start,          // first pixel of the chunk, a multiple of 4
    int64 stop,           // end of the chunk
    uint32* table         // INOUT (2**24,) at 65536 red + 256 green + blue
) {
    const int64 step = int64(gridDim.x) * THREADS * COLORS;
    // Whole warps go around together, so that they can compare their colours.
    const int64 last = start + (stop - start + step - 1) / step * step;
    for (int64 i = start + (int64(blockIdx.x) * THREADS + threadIdx.x) * COLORS; i < last;
         i += step) {
        uint32 codes[COLORS] = {};
        const int n = i < stop ? load_colors(pixels, i, stop, codes) : 0;
        bool flat = n == COLORS;
#pragma unroll
        for (int p = 1; p < COLORS; ++p) flat = flat && codes[p] == codes[0];
        const uint32 first = __shfl_sync(ALL_LANES, codes[0], 0);
        if (__all_sync(ALL_LANES, flat && codes[0] == first)) {
            if (threadIdx.x % WARP == 0) atomicAdd(&table[first], uint32(WARP * COLORS));
        } else if (n > 0) {
            count_runs(codes, n, [&](uint32 code, uint32 run) { atomicAdd(&table[code], run); });
        }
    }
}

constexpr int SHARE = 16;  // colours of a thread when the used ones are listed

__device__ inline uint32 used_in_share(const uint32* table) {
    const uint32* mine = table + (int64(blockIdx.x) * THREADS + threadIdx.x) * SHARE;
    uint32 n = 0;
    for (int i = 0; i < SHARE; ++i) n += mine[i] != 0;
    return n;
}

extern "C" __global__ void __launch_bounds__(THREADS) used_colors(
    const uint32* table,  // IN (2**24,)
    uint32* n_used        // INOUT (n_blocks,) zero
) {
    const uint32 n = used_in_share(table);
    if (n) atomicAdd(&n_used[blockIdx.x], n);
}

extern "C" __global__ void __launch_bounds__(THREADS) list_colors(
    const uint32* table,   // IN (2**24,)
    const int64* offsets,  // IN (n_blocks + 1,) used colours before each block's
    uint32* codes,         // OUT (n_used,) ascending
    uint32* counts         // OUT (n_used,)
) {
    __shared__ uint32 ends[THREADS];
    if (offsets[blockIdx.x] == offsets[blockIdx.x + 1]) return;
    const uint32 n = used_in_share(table);
    ends[threadIdx.x] = n;
    __syncthreads();
    for (int reach = 1; reach < THREADS; reach *= 2) {
        const uint32 before = threadIdx.x >= reach ? ends[threadIdx.x - reach] : 0;
        __syncthreads();
        ends[threadIdx.x] += before;
        __syncthreads();
    }
    int64 at = offsets[blockIdx.x] + ends[threadIdx.x] - n;
    const int64 first = (int64(blockIdx.x) * THREADS + threadIdx.x) * SHARE;
    for (int64 code = first; code < first + SHARE; ++code) {
        if (table[code]) {
            codes[at] = uint32(code);
            counts[at++] = table[code];
        }
    }
}
