// Types, and points as they are loaded. Compiled with POINT (the type of a value) and
// N_FEATURES (values of a point, 0 for any number) defined.

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef short int16;
typedef unsigned int uint32;
typedef int int32;
typedef unsigned long long uint64;
typedef long long int64;
typedef float float32;
typedef double float64;

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#endif

#define WARP 32

// Values in float64. CuPy compiles so that float32 loses its subnormal numbers; the
// instruction by name keeps them.
__device__ inline double to_double(double x) { return x; }
__device__ inline double to_double(int32 x) { return x; }
__device__ inline double to_double(float x) {
#ifdef __CUDA_ARCH__
    double d;
    asm("cvt.f64.f32 %0, %1;" : "=d"(d) : "f"(x));
    return d;
#else
    return x;
#endif
}
#define ALL_LANES 0xffffffffu

// The largest alignment of N bytes that one load can use.
__device__ constexpr int alignment(int n) {
    return n % 16 == 0 ? 16 : n % 8 == 0 ? 8 : n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1;
}

template <class Value, int N>
struct alignas(alignment(N * sizeof(Value))) Pack {
    Value v[N];
};

// ``N`` values from ``at`` on; those from ``stop`` on are zero and not read.
template <class Value, int N>
__device__ Pack<Value, N> load_pack(const Value* values, int64 at, int64 stop) {
    Pack<Value, N> pack;
    if (at + N <= stop) {
        pack = *reinterpret_cast<const Pack<Value, N>*>(values + at);
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i) pack.v[i] = at + i < stop ? values[at + i] : Value(0);
    }
    return pack;
}

template <class Value, int N>
__device__ void store_pack(const Pack<Value, N>& pack, int64 at, int64 stop, Value* values) {
    if (at + N <= stop) {
        *reinterpret_cast<Pack<Value, N>*>(values + at) = pack;
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i)
            if (at + i < stop) values[at + i] = pack.v[i];
    }
}

#ifdef POINT

// Every value but those of float64 is exact in float32.
template <class Value> struct RealOf { typedef float type; };
template <> struct RealOf<double> { typedef double type; };
typedef RealOf<POINT>::type Real;

#if N_FEATURES > 0

// Points that a thread works on at once, so that a centre is loaded once for all of them.
constexpr int PACK = N_FEATURES > 8 ? 1 : N_FEATURES > 4 || sizeof(POINT) == 8 ? 2 : 4;

struct Rows {
    Real x[PACK][N_FEATURES];

    __device__ Rows(const POINT* points, int64 first, int64 stop, int) {
        const Pack<POINT, PACK * N_FEATURES> pack =
            load_pack<POINT, PACK * N_FEATURES>(points, first * N_FEATURES, stop * N_FEATURES);
#pragma unroll
        for (int p = 0; p < PACK; ++p)
#pragma unroll
            for (int f = 0; f < N_FEATURES; ++f) x[p][f] = Real(pack.v[p * N_FEATURES + f]);
    }
    __device__ static constexpr int n_features() { return N_FEATURES; }
    __device__ Real value(int p, int f) const { return x[p][f]; }
};

#else

constexpr int PACK = 1;

struct Rows {
    const POINT* row;
    int n;

    __device__ Rows(const POINT* points, int64 first, int64, int n_features)
        : row(points + first * n_features), n(n_features) {}
    __device__ int n_features() const { return n; }
    __device__ Real value(int, int f) const { return Real(row[f]); }
};

#endif
#endif
