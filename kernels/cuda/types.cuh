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

// A value less another one in float32, exact where both are whole and of 16 bits.
__device__ inline float difference(double x, float origin) { return float(x) - origin; }
__device__ inline float difference(float x, float origin) { return x - origin; }
__device__ inline float difference(int32 x, float origin) {
    // An addition makes its bits those of a float32 above 2^23, where ones are the last bits;
    // to convert it would be slower.
    return __int_as_float(0x4b008000 + x) - (8388608.0f + 32768.0f + origin);
}

// The smaller and the larger of two values. By name, for CuPy's kind would turn the bits of
// the smallest numbers into zeros.
__device__ inline float minimum(float a, float b) {
#ifdef __CUDA_ARCH__
    float c;
    asm("min.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
#else
    return fmin(a, b);
#endif
}
__device__ inline float maximum(float a, float b) {
#ifdef __CUDA_ARCH__
    float c;
    asm("max.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
#else
    return fmax(a, b);
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

// Values as they are computed with.
template <class Value> struct ComputedOf { typedef int32 type; };
template <> struct ComputedOf<float> { typedef float type; };
template <> struct ComputedOf<double> { typedef double type; };
typedef ComputedOf<POINT>::type Computed;

#if N_FEATURES > 0

// Points that a thread works on at once, so that a centre is loaded once for all of them.
constexpr int PACK = N_FEATURES > 8 ? 1 : N_FEATURES > 4 || sizeof(POINT) == 8 ? 2 : 4;

struct Rows {
    Computed x[PACK * N_FEATURES];

    // Those from ``stop`` on are zero and not read.
    template <class Index>
    __device__ Rows(const POINT* points, Index first, Index stop, int) {
        constexpr int N = PACK * N_FEATURES;
        if (first + PACK <= stop) {
            const Pack<POINT, N> pack =
                *reinterpret_cast<const Pack<POINT, N>*>(points + first * N_FEATURES);
#pragma unroll
            for (int i = 0; i < N; ++i) x[i] = pack.v[i];
        } else {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                const bool inside = first + i / N_FEATURES < stop;
                x[i] = inside ? Computed(points[first * N_FEATURES + i]) : Computed(0);
            }
        }
    }
    __device__ static constexpr int n_features() { return N_FEATURES; }
    __device__ Computed value(int p, int f) const { return x[p * N_FEATURES + f]; }
};

#else

constexpr int PACK = 1;

struct Rows {
    const POINT* row;
    int n;

    template <class Index>
    __device__ Rows(const POINT* points, Index first, Index, int n_features)
        : row(points + first * n_features), n(n_features) {}
    __device__ int n_features() const { return n; }
    __device__ Computed value(int, int f) const { return row[f]; }
};

#endif
#endif
