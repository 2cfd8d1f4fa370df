"""Points that do not repeat against the peers: whole fits, the answers compared first.

    python benchmarks/float_points.py [N_POINTS N_FEATURES N_CLUSTERS]

Every case is a number of float32 points, features and clusters. All fit ITERATIONS
iterations from the same centres with FASTSEG_NUM_THREADS threads, two by default, in
turns; each line is the median of the ratios of the turns and their spread. FAISS, where
it is installed, takes all points (by default it would take a sample), and its fit gives
no labels. The last line is k-means++, against scikit-learn's.
"""

import os
import statistics
import sys
import time
import warnings

N_THREADS = int(os.environ.setdefault("FASTSEG_NUM_THREADS", "2"))
os.environ.setdefault("OMP_NUM_THREADS", str(N_THREADS))

import numpy as np  # noqa: E402
from sklearn.cluster import KMeans, kmeans_plusplus  # noqa: E402
from sklearn.metrics import pairwise_distances_argmin_min  # noqa: E402

import fastseg  # noqa: E402

warnings.simplefilter("ignore")

ITERATIONS = 20
TURNS = 5
CASES = [
    (8_000_000, 3, 8),
    (8_000_000, 1, 4),
    (8_000_000, 3, 64),
    (2_000_000, 13, 16),
    (1_000_000, 32, 32),
    (200_000, 128, 1024),
    (1_000, 2, 3),
]


def scikit_learn(points, centers):
    fit = KMeans(len(centers), init=centers, n_init=1, max_iter=ITERATIONS, tol=0).fit(points)
    return fit.cluster_centers_, fit.n_iter_


def ours(points, centers):
    fit = fastseg.KMeans(
        len(centers), init=centers, n_init=1, max_iter=ITERATIONS, tol=0, n_threads=N_THREADS
    ).fit(points)
    return fit.cluster_centers_, fit.n_iter_


def faiss_fit(points, centers):
    import faiss

    faiss.omp_set_num_threads(N_THREADS)
    fit = faiss.Kmeans(
        points.shape[1], len(centers), niter=ITERATIONS,
        min_points_per_centroid=1, max_points_per_centroid=len(points),
    )  # fmt: skip
    fit.train(points, init_centroids=centers)
    return fit.centroids, ITERATIONS


def inertia(points, centers):
    """On a part of the points: it only shows that the fits are as good."""
    part = points[:200_000].astype(np.float64)
    return float((pairwise_distances_argmin_min(part, centers)[1] ** 2).mean())


def seconds(work, repeats):
    # Other libraries' threads spin for a while after their work, on cores we need.
    time.sleep(0.5)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - started) / repeats


def compare(name, work, peers, told, turns=TURNS):
    work()
    repeats = max(1, int(0.05 / seconds(work, 3)))
    for peer, theirs in peers.items():
        pairs = [(seconds(theirs, repeats), seconds(work, repeats)) for _ in range(turns)]
        ratios = sorted(a / b for a, b in pairs)
        theirs, mine = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
        print(
            f"{name}: fastseg {mine:.2f} ms, {peer} {theirs:.1f} ms; ratio"
            f" {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}){told[peer]}",
            flush=True,
        )


def fits(n, d, k):
    rng = np.random.default_rng(0)
    points = rng.random((n, d), dtype=np.float32)
    centers = points[rng.choice(n, k, replace=False)]
    peers = {"scikit-learn": scikit_learn}
    try:
        import faiss  # noqa: F401

        peers["FAISS"] = faiss_fit
    except ImportError:
        pass
    mine, n_iter = ours(points, centers)
    told = {}
    for peer, fit in peers.items():
        found, iterations = fit(points, centers)
        away = np.abs(found - mine).max()
        told[peer] = (
            f"; centres within {away:.1e}, mean squared distance {inertia(points, mine):.6g} and"
            f" {inertia(points, found):.6g}, iterations {n_iter} and {iterations}"
        )
    compare(
        f"{n} x {d}, k={k}",
        lambda: ours(points, centers),
        {peer: lambda fit=fit: fit(points, centers) for peer, fit in peers.items()},
        told,
        turns=3 if n * d * k > 1e9 else TURNS,
    )


def plusplus(n=8_000_000, d=3, k=16):
    """k-means++ alone: a fit of one iteration, less that from given centres, is its time."""
    from fastseg.init_centers import kmeans_plusplus as our_plusplus
    from fastseg.kernels.cpu import CpuBackend
    from fastseg.progress import Progress

    points = np.random.default_rng(0).random((n, d), dtype=np.float32)

    def work():
        resident = CpuBackend().put(points, n_threads=N_THREADS)
        seed = np.random.RandomState(0)
        return our_plusplus(resident, points, None, k, seed, Progress(None))

    def theirs():
        return kmeans_plusplus(points, k, random_state=0)[0]

    told = (
        f"; mean squared distance {inertia(points, work()):.6g} and {inertia(points, theirs()):.6g}"
    )
    compare(
        f"k-means++ of {n} x {d}, k={k}", work, {"scikit-learn": theirs}, {"scikit-learn": told}
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        fits(*map(int, sys.argv[1:]))
    else:
        for case in CASES:
            fits(*case)
        plusplus()
