"""The table of implementations: who can do which task, and how each is called at its best.

A function makes an `Entrant` of a problem: what is converted before the timing, what is
timed, how its answer is read, and by how much that may differ. It returns None where the
problem is not for it. What is not installed, or needs a GPU that is not there, is left out.
"""

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import fastseg
from fastseg.bench.answers import IN_FLOAT32, SAME, Answer
from fastseg.bench.contest import Entrant
from fastseg.cli import main
from fastseg.init_centers import kmeans_plusplus
from fastseg.kernels.cpu import CpuBackend
from fastseg.optimal_1d import optimal_1d
from fastseg.progress import Progress

N_THREADS = int(os.environ.get("FASTSEG_NUM_THREADS", "2"))
SEED = 0


def every_run(work):
    """Same work in every run, with nothing to prepare."""
    return lambda: work


def is_float(problem):
    return problem.values.dtype.kind == "f"


# Lloyd's iterations from given centres


def our_fit(problem, name, backend="cpu"):
    options = {"init": problem.start, "max_iter": problem.max_iter, "tol": problem.tol,
               "backend": backend, "n_threads": N_THREADS}  # fmt: skip
    if is_float(problem):
        model = fastseg.KMeans(problem.n_clusters, n_init=1, **options)
        return Entrant(name, every_run(lambda: model.fit(problem.values).labels_), Answer, SAME)
    work = every_run(lambda: fastseg.segment(problem.image, problem.n_clusters, **options).labels)
    return Entrant(name, work, lambda labels: Answer(labels.ravel()), SAME)


def our_fit_on_cuda(problem, name):
    return our_fit(problem, name, "cuda")


def _sklearn_like(problem, name, estimator):
    """In float64 for integers, which is made before, as only there the labels agree."""
    values = problem.values if is_float(problem) else problem.values.astype(np.float64)
    model = estimator(
        problem.n_clusters, init=problem.start.astype(values.dtype), n_init=1, copy_x=False,
        max_iter=problem.max_iter, tol=problem.tol,
    )  # fmt: skip
    tolerance = IN_FLOAT32 if values.dtype == np.float32 else SAME
    return Entrant(name, every_run(lambda: model.fit(values).labels_), Answer, tolerance)


def sklearn_fit(problem, name):
    from sklearn.cluster import KMeans

    return _sklearn_like(problem, name, KMeans)


def intelex_fit(problem, name):
    from sklearnex.cluster import KMeans

    return _sklearn_like(problem, name, KMeans)


def faiss_fit(problem, name):
    """All points, of which it would take 256 a cluster; its fit gives no labels."""
    if not is_float(problem):
        return None
    import faiss

    faiss.omp_set_num_threads(N_THREADS)
    start = problem.start.astype(np.float32)

    def work():
        model = faiss.Kmeans(
            start.shape[1], len(start), niter=problem.max_iter, min_points_per_centroid=1,
            max_points_per_centroid=len(problem.values),
        )  # fmt: skip
        model.train(problem.values, init_centroids=start)
        return model.centroids

    return Entrant(name, every_run(work), lambda found: Answer(centers=found), IN_FLOAT32)


def opencv_fit(problem, name):
    """It starts from labels, so those of the starting centres are given, made before."""
    if not is_float(problem):
        return None
    import cv2

    cv2.setNumThreads(N_THREADS)
    first = CpuBackend().put(problem.values).assign(problem.start)[:, None]
    stop = (cv2.TERM_CRITERIA_MAX_ITER, problem.max_iter, 0.0)

    def prepare():
        labels = first.copy()  # it writes there
        return lambda: cv2.kmeans(
            problem.values, problem.n_clusters, labels, stop, 1, cv2.KMEANS_USE_INITIAL_LABELS
        )[1]

    return Entrant(name, prepare, lambda labels: Answer(labels.ravel()), IN_FLOAT32)


# On a GPU, from and to the host's memory as the others


def torch_fit(problem, name):
    """Lloyd's iterations as they are written with PyTorch, without TF32."""
    if not is_float(problem):
        return None
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    rows = 2**22

    def work():
        points = torch.from_numpy(problem.values).cuda()
        centers = torch.from_numpy(problem.start.astype(np.float32)).cuda()
        for i in range(problem.max_iter + 1):
            norms = (centers * centers).sum(1)
            labels = torch.cat([
                (norms - 2 * part @ centers.T).argmin(1) for part in points.split(rows)
            ])  # fmt: skip
            if i < problem.max_iter:
                sums = torch.zeros_like(centers).index_add_(0, labels, points)
                centers = sums / torch.bincount(labels, minlength=len(centers))[:, None]
        return labels.cpu().numpy()

    return Entrant(name, every_run(work), Answer, IN_FLOAT32)


def flash_fit(problem, name):
    """Its float32 is TF32, so its answer is told and not asked for."""
    if not is_float(problem):
        return None
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    start = torch.from_numpy(problem.start.astype(np.float32))[None]

    def work():
        points = torch.from_numpy(problem.values).cuda()[None]
        labels, *_ = batch_kmeans_Euclid(
            points, n_clusters=problem.n_clusters, max_iters=problem.max_iter,
            init_centroids=start.cuda(),
        )  # fmt: skip
        return labels[0].cpu().numpy()

    return Entrant(name, every_run(work), Answer)


def cuml_fit(problem, name):
    if not is_float(problem):
        return None
    from cuml.cluster import KMeans

    model = KMeans(
        n_clusters=problem.n_clusters, init=problem.start.astype(np.float32), n_init=1,
        max_iter=problem.max_iter, tol=0.0, output_type="numpy",
    )  # fmt: skip
    return Entrant(name, every_run(lambda: model.fit(problem.values).labels_), Answer, IN_FLOAT32)


# The best of ten starts, each by k-means++


def our_restarts(problem, name):
    def work():
        return fastseg.segment(problem.image, problem.n_clusters, n_init=10, random_state=SEED,
                               n_threads=N_THREADS).labels  # fmt: skip

    return Entrant(name, every_run(work), lambda labels: Answer(labels.ravel()))


def sklearn_restart(problem, name):
    """One run, counted ten times."""
    from sklearn.cluster import KMeans

    values = problem.values.astype(np.float64)
    model = KMeans(problem.n_clusters, n_init=1, random_state=SEED, copy_x=False)
    return Entrant(name, every_run(lambda: model.fit(values).labels_), Answer, times=10)


# k-means++ alone


def our_seeding(problem, name):
    def work():
        points = CpuBackend().put(problem.values, n_threads=N_THREADS)
        draws = np.random.RandomState(SEED)
        return kmeans_plusplus(
            points, problem.values, None, problem.n_clusters, draws, Progress()
        )  # fmt: skip

    return Entrant(name, every_run(work), lambda centers: Answer(centers=centers))


def sklearn_seeding(problem, name):
    from sklearn.cluster import kmeans_plusplus as theirs

    def work():
        return theirs(problem.values, problem.n_clusters, random_state=SEED)[0]

    return Entrant(name, every_run(work), lambda centers: Answer(centers=centers))


# As many colours as a palette holds


def our_palette(problem, name):
    def work():
        return fastseg.segment(problem.image, problem.n_clusters, random_state=SEED,
                               n_threads=N_THREADS).labels  # fmt: skip

    return Entrant(name, every_run(work), lambda labels: Answer(labels.ravel()))


def imagequant_palette(problem, name):
    import imagequant

    picture = Image.fromarray(problem.image).convert("RGBA")

    def work():
        return imagequant.quantize_pil_image(
            picture, dithering_level=0.0, max_colors=problem.n_clusters, min_quality=0,
            max_quality=100,
        )  # fmt: skip

    return Entrant(name, every_run(work), lambda found: Answer(np.asarray(found).ravel()))


def pillow_palette(problem, name):
    """Median cut, then k-means until a thousandth of the pixels or less changes."""
    picture = Image.fromarray(problem.image)
    rest = max(1, len(problem.values) // 1000)

    def work():
        return picture.quantize(
            problem.n_clusters, Image.Quantize.MEDIANCUT, kmeans=rest, dither=Image.Dither.NONE
        )

    return Entrant(name, every_run(work), lambda found: Answer(np.asarray(found).ravel()))


# The global optimum of one channel


def our_optimum(problem, name):
    image = problem.image[..., 0] if len(problem.grid) > 1 else problem.values

    def work():
        return fastseg.segment(image, problem.n_clusters, method="optimal", channel_axis=None,
                               n_threads=N_THREADS).labels  # fmt: skip

    return Entrant(name, every_run(work), lambda labels: Answer(labels.ravel()), SAME)


def numpy_optimum(problem, name):
    """NumPy counts and looks up; the optimum of the few values costs next to nothing."""
    if problem.values.dtype != np.uint8:
        return None
    flat = problem.values.ravel()

    def work():
        counts = np.bincount(flat, minlength=256)
        found = np.flatnonzero(counts)
        best = optimal_1d(found.astype(np.float64), counts[found].astype(np.float64),
                          problem.n_clusters, n_threads=1)  # fmt: skip
        centers = best.centers(problem.n_clusters)
        bounds = (centers[1:] + centers[:-1]) / 2
        return np.searchsorted(bounds, np.arange(256)).astype(np.uint8)[flat]

    return Entrant(name, every_run(work), Answer, SAME)


def simpleitk_optimum(problem, name):
    """One thread; given starts next to the answer."""
    if problem.values.dtype != np.uint8:
        return None
    import SimpleITK

    best = fastseg.segment(problem.image[..., 0], problem.n_clusters, method="optimal")
    start = (best.centers[:, 0] + np.resize([1.0, -1.0], problem.n_clusters)).tolist()
    volume = SimpleITK.GetImageFromArray(problem.image[..., 0])

    def read(found):
        return Answer(SimpleITK.GetArrayFromImage(found).ravel())

    return Entrant(name, every_run(lambda: SimpleITK.ScalarImageKmeans(volume, start)), read, SAME)


def sklearn_optimum(problem, name):
    """A local optimum from quantiles, as it offers no other."""
    from sklearn.cluster import KMeans

    values = problem.values.astype(np.float64)
    model = KMeans(problem.n_clusters, init=problem.start, n_init=1, copy_x=False)
    return Entrant(name, every_run(lambda: model.fit(values).labels_), Answer)


def kmeans1d_optimum(problem, name):
    if not is_float(problem):
        return None  # for 8 million voxels it takes a minute, as it counts nothing
    import kmeans1d

    flat = problem.values.ravel()
    work = every_run(lambda: kmeans1d.cluster(flat, problem.n_clusters).clusters)
    return Entrant(name, work, lambda labels: Answer(np.array(labels)), SAME)


def ckmeans_optimum(problem, name):
    """It gives the values in their clusters, from which labels are made after."""
    if not is_float(problem):
        return None
    import ckmeans

    flat = problem.values.ravel()

    def read(parts):
        bounds = [np.min(part) for part in parts[1:]]
        return Answer(np.searchsorted(bounds, flat, side="right"))

    return Entrant(
        name, every_run(lambda: ckmeans.ckmeans(flat, problem.n_clusters)), read, SAME
    )  # fmt: skip


# From file to file


def our_file(problem, name):
    out = Path(tempfile.mkdtemp(prefix="fastseg-bench-")) / "labels.nii.gz"

    words = ["segment", problem.path, out, "-k", problem.n_clusters, "--overwrite"]

    def work():
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*map(str, words), "--threads", str(N_THREADS)]) == 0

    def read(_):
        import nibabel

        return Answer(np.asanyarray(nibabel.load(out).dataobj).ravel())

    return Entrant(name, every_run(work), read, SAME)


def nibabel_copy(problem, name):
    """Reading the voxels and writing them back, with no clustering between."""
    import nibabel

    out = Path(tempfile.mkdtemp(prefix="fastseg-bench-")) / "again.nii.gz"

    def work():
        scan = nibabel.load(problem.path)
        voxels = np.asanyarray(scan.dataobj)
        nibabel.save(nibabel.Nifti1Image(voxels, scan.affine, scan.header), out)

    return Entrant(name, every_run(work), None)


@dataclass(frozen=True)
class Implementation:
    """One who takes part in some tasks; ``module`` has to be importable, and ``gpu`` there."""

    name: str
    module: str
    tasks: dict
    gpu: bool = False
    distribution: str | None = None

    def missing(self):
        """Why it cannot take part here, or None."""
        if find_spec(self.module) is None:
            return f"{self.module} is not installed"
        reason = fastseg.available_backends()["cuda"] if self.gpu else None
        return f"no GPU: {reason}" if reason else None


# The first who can do a task is the reference.
IMPLEMENTATIONS = [
    Implementation("fastseg", "fastseg", {
        "fit": our_fit, "restarts": our_restarts, "palette": our_palette, "file": our_file,
        "optimum": our_optimum, "seeding": our_seeding,
    }),
    Implementation("fastseg cuda", "cupy", {"fit": our_fit_on_cuda}, gpu=True),
    Implementation("scikit-learn", "sklearn", {
        "fit": sklearn_fit, "restarts": sklearn_restart, "optimum": sklearn_optimum,
        "seeding": sklearn_seeding,
    }),
    Implementation("scikit-learn-intelex", "sklearnex", {"fit": intelex_fit}),
    Implementation("FAISS", "faiss", {"fit": faiss_fit}, distribution="faiss-cpu"),
    Implementation("OpenCV", "cv2", {"fit": opencv_fit}, distribution="opencv-python-headless"),
    Implementation("imagequant", "imagequant", {"palette": imagequant_palette}),
    Implementation("Pillow", "PIL", {"palette": pillow_palette}),
    Implementation("NumPy", "numpy", {"optimum": numpy_optimum}),
    Implementation("SimpleITK", "SimpleITK", {"optimum": simpleitk_optimum}),
    Implementation("kmeans1d", "kmeans1d", {"optimum": kmeans1d_optimum}),
    Implementation("ckmeans", "ckmeans", {"optimum": ckmeans_optimum}),
    Implementation("nibabel, reading and writing alone", "nibabel", {"file": nibabel_copy},
                   distribution="nibabel"),
    Implementation("PyTorch", "torch", {"fit": torch_fit}, gpu=True),
    Implementation("flash-kmeans", "flash_kmeans", {"fit": flash_fit}, gpu=True),
    Implementation("cuML", "cuml", {"fit": cuml_fit}, gpu=True),
]  # fmt: skip


def entrants(case, problem, names=None):
    """Those who can do a case here, the reference first."""
    found = []
    for one in IMPLEMENTATIONS:
        wanted = names is None or one.name in names or one.name == "fastseg"
        if wanted and case.task in one.tasks and one.missing() is None:
            entrant = one.tasks[case.task](problem, one.name)
            if entrant is not None:
                found.append(entrant)
    return found
