// The nearest centre of a point: decided in float32 where rounding cannot matter, else in
// float64. The float64 distance is the one that every backend computes: channels in
// ascending order, and no product fused into a sum.

#include "types.cuh"

__device__ inline double square_of_difference(double a, double b) {
    const double t = __dsub_rn(a, b);
    return __dmul_rn(t, t);
}

__device__ inline double exact_distance(const Rows& rows, int p, const double* center) {
    double d = square_of_difference(to_double(rows.value(p, 0)), center[0]);
#pragma unroll
    for (int f = 1; f < rows.n_features(); ++f) {
        d = __dadd_rn(d, square_of_difference(to_double(rows.value(p, f)), center[f]));
    }
    return d;
}

// With t = x - origin and c' = c - origin a squared distance is |t|^2 + |c'|^2 - 2 t.c'.
// The first term is the same for all centres: float32 compares the others alone, which take
// a multiplication and addition for each feature.

// Few centres travel with the launch, into constant memory.
constexpr int FEW = 80;

// Centres compared between two looks at whether there are more; terms are padded to a
// multiple with centres that are far from all points.
constexpr int AT_ONCE = 4;

// What float32 may be wrong by where it compares a centre with that of the least value.
struct Error {
    float constant, of_square, of_least;

    __device__ float at(float square, float least) const {
        return fmaf(of_least, least, fmaf(of_square, square, constant));
    }
};

struct FewCenters {
    double exact[FEW];                             // (n_clusters, n_features)
    alignas(16) float terms[AT_ONCE * (1 + FEW)];  // (n_padded, 1 + n_features) |c'|^2, -2 c'
    float origin[FEW];                             // (n_features,) whole where points are
    Error error;
    int n_clusters;
};

struct ManyCenters {
    const double* exact;
    const float* terms;
    const float* origin;
    Error error;
    int n_clusters;
};

// Above this error float32 may have overflowed, and centres be near that it does not hold. Whole
// points are too small for that.
constexpr float LARGE = 1e30f;

// Written so that what is no number is not in range.
__device__ inline bool in_range(float error) { return sizeof(POINT) < 4 || error < LARGE; }

// Points less the origin, in float32.
#if N_FEATURES > 0
struct Shifted {
    float t[PACK][N_FEATURES];

    template <class Centers>
    __device__ Shifted(const Rows& rows, const Centers& centers) {
#pragma unroll
        for (int p = 0; p < PACK; ++p)
#pragma unroll
            for (int f = 0; f < N_FEATURES; ++f)
                t[p][f] = difference(rows.value(p, f), centers.origin[f]);
    }
    __device__ static constexpr int n_features() { return N_FEATURES; }
    __device__ float value(int p, int f) const { return t[p][f]; }
};
#else
struct Shifted {
    const Rows& rows;
    const float* origin;

    template <class Centers>
    __device__ Shifted(const Rows& rows, const Centers& centers)
        : rows(rows), origin(centers.origin) {}
    __device__ int n_features() const { return rows.n; }
    __device__ float value(int p, int f) const { return difference(rows.value(p, f), origin[f]); }
};
#endif

// Squared distance less |t|^2.
__device__ inline float compared(const Shifted& t, int p, const float* terms) {
    float d = terms[0];
#pragma unroll
    for (int f = 0; f < t.n_features(); ++f) d = fmaf(t.value(p, f), terms[1 + f], d);
    return d;
}

__device__ inline float square(const Shifted& t, int p) {
    float s = 0.0f;
#pragma unroll
    for (int f = 0; f < t.n_features(); ++f) s = fmaf(t.value(p, f), t.value(p, f), s);
    return s;
}

// The last bits of a compared value name the centre in a group of so many, so that the least
// value brings its label along.
constexpr int N_NAMES = 16;
constexpr int NAME_BITS = N_NAMES - 1;

__device__ inline float named(float d, int name) {
    return __int_as_float((__float_as_int(d) & ~NAME_BITS) | name);
}
__device__ inline int name_of(float d) { return __float_as_int(d) & NAME_BITS; }

// Take a group of centres into the least and the second least value of each point.
__device__ inline void compare_group(
    const Shifted& t, const float* terms, int size, float (&least)[PACK], float (&second)[PACK]
) {
    int name = 0;
    do {
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) {
#pragma unroll
            for (int p = 0; p < PACK; ++p) {
                const float d = named(compared(t, p, terms), name);
                second[p] = minimum(second[p], maximum(least[p], d));
                least[p] = minimum(least[p], d);
            }
            terms += 1 + t.n_features();
            ++name;
        }
    } while (name < size);
}

template <class Centers>
__device__ void compare(
    const Shifted& t, const Centers& centers, float (&least)[PACK], float (&second)[PACK],
    int (&labels)[PACK]
) {
    const int n = centers.n_clusters;
#pragma unroll
    for (int p = 0; p < PACK; ++p) least[p] = second[p] = __int_as_float(0x7f800000);
    compare_group(t, centers.terms, n < N_NAMES ? n : N_NAMES, least, second);
#pragma unroll
    for (int p = 0; p < PACK; ++p) labels[p] = name_of(least[p]);
    for (int first = N_NAMES; first < n; first += N_NAMES) {
        const int size = n - first < N_NAMES ? n - first : N_NAMES;
        float before[PACK];
#pragma unroll
        for (int p = 0; p < PACK; ++p) before[p] = least[p];
        compare_group(t, centers.terms + first * (1 + t.n_features()), size, least, second);
#pragma unroll
        for (int p = 0; p < PACK; ++p) {
            if (least[p] < before[p]) labels[p] = first + name_of(least[p]);
        }
    }
}

// Nearest of the centres that ``may_be`` it, in float64; the lowest label wins a tie.
template <class MayBe>
__device__ int nearest_exact(
    const Rows& rows, int p, const double* exact, int n_clusters, MayBe may_be
) {
    double best = __longlong_as_double(0x7ff0000000000000);
    int label = 0;
    for (int j = 0; j < n_clusters; ++j) {
        if (!may_be(j)) continue;
        const double d = exact_distance(rows, p, exact + j * rows.n_features());
        if (d < best) {
            best = d;
            label = j;
        }
    }
    return label;
}

template <class Centers>
__device__ void nearest_filtered(
    const Rows& rows, const Centers& centers, const double* exact, int (&labels)[PACK]
) {
    const Shifted t(rows, centers);
    float least[PACK], second[PACK];
    compare(t, centers, least, second, labels);
    const auto error = [&](int p) { return centers.error.at(square(t, p), least[p]); };
    const auto is_sure = [&](int p) {
        return (second[p] - least[p] > error(p)) & in_range(error(p));
    };
    bool sure = true;
#pragma unroll
    for (int p = 0; p < PACK; ++p) sure = sure & is_sure(p);
    if (sure) return;
#pragma unroll
    for (int p = 0; p < PACK; ++p) {
        if (is_sure(p)) continue;
        const float limit =
            in_range(error(p)) ? least[p] + error(p) : __int_as_float(0x7f800000);
        labels[p] = nearest_exact(rows, p, exact, centers.n_clusters, [&](int j) {
            return !(compared(t, p, centers.terms + j * (1 + t.n_features())) > limit);
        });
    }
}

template <class Centers>
__device__ void nearest(
    const Rows& rows,        // PACK points
    const Centers& centers,
    const double* exact,     // IN (n_clusters, n_features), where it is quick to reach
    int (&labels)[PACK]      // OUT
) {
    if constexpr (sizeof(POINT) == 8) {
#pragma unroll
        for (int p = 0; p < PACK; ++p) {
            labels[p] = nearest_exact(
                rows, p, exact, centers.n_clusters, [](int) { return true; });
        }
    } else {
        nearest_filtered(rows, centers, exact, labels);
    }
}
