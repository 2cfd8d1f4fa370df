// The nearest centre of a point: decided in float32 where rounding cannot matter, else in
// float64. The float64 distance is the one that every backend computes: channels in
// ascending order, and no product fused into a sum.

#include "types.cuh"

__device__ inline double add_square(double total, double a, double b) {
    const double t = __dsub_rn(a, b);
    return __dadd_rn(total, __dmul_rn(t, t));
}

__device__ inline double exact_distance(const Rows& rows, int p, const double* center) {
    double d = 0.0;
#pragma unroll
    for (int f = 0; f < rows.n_features(); ++f) {
        d = add_square(d, to_double(rows.value(p, f)), center[f]);
    }
    return d;
}

// What float32 distances to the best two centres may be wrong by together, where the
// second is ``d``: a x d + b x sqrt(d) + c.
struct Bound {
    float a, b_squared, c;

    // Whether the gap is larger. Squared, for a root costs as much as a distance; written
    // so that infinities and what is no number do not decide.
    __device__ bool decides(float best, float second) const {
        const float left = (second - best) - (a * second + c);
        return left > 0.0f && left * left > b_squared * second;
    }
};

// Few centres travel with the launch, into constant memory.
constexpr int FEW = 80;

struct FewCenters {
    double exact[FEW];   // (n_clusters, n_features)
    float rounded[FEW];  // the same in float32
    Bound bound;
    int n_clusters;
};

struct ManyCenters {
    const double* exact;
    const float* rounded;
    Bound bound;
    int n_clusters;
};

__device__ inline int nearest_exact(
    const Rows& rows, int p, const double* exact, int n_clusters) {
    double best = __longlong_as_double(0x7ff0000000000000);
    int label = 0;
    for (int j = 0; j < n_clusters; ++j) {
        const double d = exact_distance(rows, p, exact + int64(j) * rows.n_features());
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
    float best[PACK], second[PACK];
#pragma unroll
    for (int p = 0; p < PACK; ++p) {
        best[p] = second[p] = __int_as_float(0x7f800000);
        labels[p] = 0;
    }
#pragma unroll 2
    for (int j = 0; j < centers.n_clusters; ++j) {
        const float* center = centers.rounded + int64(j) * rows.n_features();
        float d[PACK] = {};
#pragma unroll
        for (int f = 0; f < rows.n_features(); ++f) {
            const float c = center[f];
#pragma unroll
            for (int p = 0; p < PACK; ++p) {
                const float t = float(rows.value(p, f)) - c;
                d[p] = fmaf(t, t, d[p]);
            }
        }
#pragma unroll
        for (int p = 0; p < PACK; ++p) {
            second[p] = fminf(second[p], fmaxf(best[p], d[p]));
            labels[p] = d[p] < best[p] ? j : labels[p];
            best[p] = fminf(best[p], d[p]);
        }
    }
    if (centers.n_clusters == 1) return;
#pragma unroll
    for (int p = 0; p < PACK; ++p) {
        if (!centers.bound.decides(best[p], second[p])) {
            labels[p] = nearest_exact(rows, p, exact, centers.n_clusters);
        }
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
            labels[p] = nearest_exact(rows, p, exact, centers.n_clusters);
        }
    } else {
        nearest_filtered(rows, centers, exact, labels);
    }
}
