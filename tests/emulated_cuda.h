// Lets g++ compile the CUDA kernels and run them on the CPU, each thread of a block on a
// fibre of its own where it waits for others, so that barriers, shuffles and votes mean what
// they mean on a device. Blocks run one after the other, in every other launch the last one
// first; every other one runs its threads backwards, and in the next launch the others do.
// A warp runs as far as it can before the next one does. So a result that hangs on the order
// of blocks, or of threads between two barriers, differs from the right one.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <csetjmp>
#include <tuple>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::dynamic_shared)

struct Index { unsigned x = 0, y = 0, z = 0; };
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr int MAX_THREADS = 1024, STACK = 1 << 16, LANES = 32;
enum State { FRESH, READY, AT_WARP, AT_BLOCK, DONE };

struct Fibre {
    jmp_buf idle;
    ucontext_t start;
    bool started = false;
};

struct Thread {
    jmp_buf at;
    State state;
};

static Fibre fibres[MAX_THREADS];
static Thread threads[MAX_THREADS];
static char* stacks;
static jmp_buf scheduler;
static ucontext_t home;
static unsigned current;
static bool descending;  // threads of this block, from the last one to the first
static uint64_t exchanged[MAX_THREADS];
alignas(16) static char dynamic_shared[1 << 18];
static void (*body)(void*);
static void* arguments;

inline void leave(State state) {
    threads[current].state = state;
    if (!_setjmp(threads[current].at)) _longjmp(scheduler, 1);
}

inline void begin(unsigned thread) {
    current = threadIdx.x = thread;
    threads[thread].state = READY;
}

// Thread after thread on one fibre, until one waits: to change fibres takes longer than most do.
inline void run_forever() {
    jmp_buf& idle = fibres[current].idle;
    for (;;) {
        body(arguments);
        threads[current].state = DONE;
        const unsigned next = descending ? current - 1 : current + 1;
        if (next < blockDim.x && threads[next].state == FRESH) begin(next);
        else if (!_setjmp(idle)) _longjmp(scheduler, 1);
    }
}

inline void resume(unsigned thread) {
    if (_setjmp(scheduler)) return;
    if (threads[thread].state == READY) {
        current = threadIdx.x = thread;
        _longjmp(threads[thread].at, 1);
    }
    begin(thread);
    Fibre& fibre = fibres[thread];
    if (fibre.started) _longjmp(fibre.idle, 1);
    fibre.started = true;
    getcontext(&fibre.start);
    fibre.start.uc_stack.ss_sp = stacks + size_t(thread) * STACK;
    fibre.start.uc_stack.ss_size = STACK;
    fibre.start.uc_link = &home;
    makecontext(&fibre.start, run_forever, 0);
    setcontext(&fibre.start);
}

// Release the threads from ``first`` to ``end`` if all of them wait in ``state``.
inline bool release(unsigned first, unsigned end, State state) {
    for (unsigned t = first; t < end; ++t)
        if (threads[t].state != state) return false;
    for (unsigned t = first; t < end; ++t) threads[t].state = READY;
    return true;
}

// Run a warp until it ends or waits for others; whether it did anything.
inline bool run_warp(unsigned warp) {
    const unsigned n = blockDim.x - warp < LANES ? blockDim.x - warp : LANES;
    bool moved = false;
    do {
        for (unsigned i = 0; i < n; ++i) {
            const unsigned t = warp + (descending ? n - 1 - i : i);
            if (threads[t].state == FRESH || threads[t].state == READY) {
                resume(t);
                moved = true;
            }
        }
    } while (release(warp, warp + n, AT_WARP));
    return moved;
}

inline const char* run_block() {
    const unsigned n = blockDim.x, n_warps = (n + LANES - 1) / LANES;
    for (unsigned t = 0; t < n; ++t) threads[t].state = FRESH;
    for (;;) {
        bool moved = false;
        for (unsigned i = 0; i < n_warps; ++i) {
            moved |= run_warp((descending ? n_warps - 1 - i : i) * LANES);
        }
        if (std::all_of(threads, threads + n, [](const Thread& t) { return t.state == DONE; })) {
            return nullptr;
        }
        moved |= release(0, n, AT_BLOCK);
        if (!moved) return "some threads wait at a barrier that others do not reach";
    }
}

template <class... Parameters>
const char* launch(
    void (*kernel)(Parameters...), unsigned grid, unsigned block, void** values,
    const size_t* sizes, size_t shared_bytes
) {
    const size_t expected[] = {sizeof(Parameters)...};
    if (std::memcmp(sizes, expected, sizeof expected)) return "an argument is of another size";
    typedef std::tuple<void (*)(Parameters...), void**> Call;
    Call call(kernel, values);
    if (!stacks) stacks = static_cast<char*>(std::malloc(size_t(MAX_THREADS) * STACK));
    body = [](void* pointer) {
        Call& call = *static_cast<Call*>(pointer);
        [&]<size_t... I>(std::index_sequence<I...>) {
            std::get<0>(call)(
                *static_cast<std::remove_const_t<Parameters>*>(std::get<1>(call)[I])...);
        }(std::index_sequence_for<Parameters...>{});
    };
    arguments = &call;
    gridDim.x = grid;
    blockDim.x = block;
    static bool backwards = true;
    backwards = !backwards;
    std::memset(dynamic_shared, 0xff, sizeof dynamic_shared);
    for (unsigned b = 0; b < grid; ++b) {
        blockIdx.x = backwards ? grid - 1 - b : b;
        descending = blockIdx.x % 2 != backwards;
        std::memset(dynamic_shared, 0xff, shared_bytes);
        if (const char* error = run_block()) {
            for (Fibre& fibre : fibres) fibre.started = false;
            return error;
        }
    }
    for (size_t i = shared_bytes; i < sizeof dynamic_shared; ++i) {
        if (dynamic_shared[i] != char(0xff)) return "wrote beyond its shared memory";
    }
    return nullptr;
}

template <class Value>
Value exchange(Value value, unsigned lane) {
    std::memcpy(&exchanged[current], &value, sizeof value);
    leave(AT_WARP);
    std::memcpy(&value, &exchanged[current / LANES * LANES + lane % LANES], sizeof value);
    leave(AT_WARP);
    return value;
}

}  // namespace emulator

inline void __syncthreads() { emulator::leave(emulator::AT_BLOCK); }
inline void __threadfence() {}

template <class Value>
Value __shfl_xor_sync(unsigned, Value value, int mask) {
    return emulator::exchange(value, (emulator::current % 32) ^ mask);
}
template <class Value>
Value __shfl_sync(unsigned, Value value, int lane) {
    return emulator::exchange(value, lane);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
    using namespace emulator;
    exchanged[current] = predicate != 0;
    leave(AT_WARP);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < LANES; ++lane) {
        bits |= unsigned(exchanged[current / LANES * LANES + lane]) << lane;
    }
    leave(AT_WARP);
    return bits;
}
inline int __all_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, predicate) == 0xffffffffu;
}

template <class Value>
Value atomicAdd(Value* at, Value value) {
    const Value before = *at;
    *at += value;
    return before;
}
template <class Value>
Value __ldcg(const Value* at) { return *at; }

inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __int_as_float(int bits) { float x; std::memcpy(&x, &bits, 4); return x; }
inline int __float_as_int(float x) { int bits; std::memcpy(&bits, &x, 4); return bits; }
inline double __longlong_as_double(long long bits) { double x; std::memcpy(&x, &bits, 8); return x; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
using std::fmax, std::fmin, std::sqrt;
