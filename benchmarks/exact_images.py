"""Integer images against the peers: whole calls, the answers compared before the times.

    benchmarks/fetch_photos.sh photos
    python benchmarks/exact_images.py photos [CASE ...]

Every case prints a line: seconds of fastseg (median of several calls, warm) and of the
peer (few calls: some take minutes), their ratio, and what was compared. Both use
FASTSEG_NUM_THREADS threads, two by default, and the same starting centres. The peers
are scikit-learn, and SimpleITK and imagequant where they are installed.
"""

import os
import statistics
import sys
import time
import warnings
from pathlib import Path

N_THREADS = int(os.environ.setdefault("FASTSEG_NUM_THREADS", "2"))
os.environ.setdefault("OMP_NUM_THREADS", str(N_THREADS))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402

import fastseg  # noqa: E402
from fastseg.color import label_order  # noqa: E402
from fastseg.kernels.cpu import CpuBackend  # noqa: E402

warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
Image.MAX_IMAGE_PIXELS = None


def median_seconds(work, repeats=7):
    time.sleep(1)  # peers' threads spin for a while after their work
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def once(work):
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def show(case, ours, theirs, peer, compared):
    print(
        f"{case}: fastseg {ours * 1e3:.1f} ms, {peer} {theirs * 1e3:.1f} ms,"
        f" ratio {theirs / ours:.2f}; {compared}",
        flush=True,
    )


def photograph(folder):
    path = next(Path(folder).rglob("Elephants_5640x3172.jpg"))
    return np.asarray(Image.open(path).convert("RGB"))


def start_of(image, k):
    """Distinct colours of the picture, moved off ties by random fractions."""
    rng = np.random.default_rng(k)
    pixels = image.reshape(-1, image.shape[-1])
    colors = np.unique(pixels[rng.choice(len(pixels), 20_000)], axis=0)
    return colors[rng.choice(len(colors), k, replace=False)] + rng.random((k, image.shape[-1]))


def against_scikit_learn(case, image, k, max_iter=300, tol=1e-4):
    start = start_of(image, k)
    options = {"init": start, "max_iter": max_iter, "tol": tol}
    result = fastseg.segment(image, k, **options)
    points = image.reshape(-1, image.shape[-1]).astype(np.float64)
    theirs, fitted = once(lambda: KMeans(k, n_init=1, copy_x=False, **options).fit(points))
    order = label_order(fitted.cluster_centers_)
    equal = np.mean(np.argsort(order)[fitted.labels_] == result.labels.ravel())
    away = np.abs(fitted.cluster_centers_[order] - result.centers).max()
    ours = median_seconds(lambda: fastseg.segment(image, k, **options))
    show(
        case,
        ours,
        theirs,
        "scikit-learn",
        f"equal labels {equal:.8f}, centres within {away:.1e}, iterations {result.n_iter}"
        f" and {fitted.n_iter_}",
    )


def photo_k8(folder):
    against_scikit_learn("18 Mpx, k=8, to convergence", photograph(folder), 8)


def photo_k32(folder):
    against_scikit_learn("18 Mpx, k=32, to convergence", photograph(folder), 32)


def photo_k256(folder):
    image = np.ascontiguousarray(photograph(folder)[500:2500, 1500:3500])
    against_scikit_learn("4 Mpx, k=256, 10 iterations", image, 256, max_iter=10, tol=0)


def restarts(folder):
    image = photograph(folder)
    ours = median_seconds(lambda: fastseg.segment(image, 8, n_init=10, random_state=0), 3)
    points = image.reshape(-1, 3).astype(np.float64)
    theirs, fitted = once(lambda: KMeans(8, n_init=1, random_state=0, copy_x=False).fit(points))
    best = fastseg.segment(image, 8, n_init=10, random_state=0).inertia
    compared = f"inertia {best:.6g}, scikit-learn's one run {fitted.inertia_:.6g}"
    show("18 Mpx, k=8, n_init=10", ours, 10 * theirs, "scikit-learn (one run, times ten)", compared)


def palette(folder):
    import imagequant

    photos = sorted(Path(folder).rglob("nature/*.jpg"))
    tiles = [np.asarray(Image.open(p).convert("RGB").resize((1500, 1000))) for p in photos[:8]]
    big = np.asarray(Image.fromarray(photograph(folder)).resize((6000, 2000)))
    rows = [np.concatenate(tiles[:4], axis=1), np.concatenate(tiles[4:], axis=1), big]
    image = np.concatenate(rows)
    rgba = Image.fromarray(image).convert("RGBA")

    def theirs():
        return imagequant.quantize_pil_image(
            rgba, dithering_level=0.0, max_colors=256, min_quality=0, max_quality=100
        )

    def error(picture):
        return np.mean((picture.astype(np.float64) - image) ** 2)

    ours = fastseg.segment(image, 256, random_state=0)
    compared = (
        f"mean squared error {error(ours.recolor()):.3f}, imagequant's"
        f" {error(np.asarray(theirs().convert('RGB'))):.3f}; {ours.n_iter} iterations,"
        f" converged {ours.converged}"
    )
    seconds = median_seconds(lambda: fastseg.segment(image, 256, random_state=0), 3)
    show(f"{image.shape[0] * image.shape[1] / 1e6:.0f} Mpx, k=256, converged", seconds,
         median_seconds(theirs, 3), "imagequant", compared)  # fmt: skip


def volume(shape, dtype, scale):
    """Head-like volume: air, and three tissues with noise."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape],
                                indexing="ij"))  # fmt: skip
    radius = np.sqrt((grid**2).sum(axis=0))
    tissue = np.digitize(radius, [0.35, 0.6, 0.85])
    mean = np.array([0.75, 0.5, 0.25, 0.02], np.float32)[tissue]
    noisy = mean + rng.normal(0, 0.04, shape).astype(np.float32)
    return np.clip(noisy * scale, 0, scale).astype(dtype)


def mri_8_bit(folder):
    scan = volume((221, 217, 181), np.uint8, 255)
    result = fastseg.segment(scan, 4)
    ours = median_seconds(lambda: fastseg.segment(scan, 4), 15)
    flat = scan.ravel()
    bins = median_seconds(lambda: np.bincount(flat, minlength=256), 15)
    show("8.7 M voxels uint8, k=4, optimum", ours, bins, "np.bincount", f"method {result.method}")
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(scan)
    means = result.centers[:, 0] + [1.0, -1.0, 1.0, -1.0]
    theirs, labels = once(lambda: sitk.ScalarImageKmeans(picture, means.tolist()))
    equal = np.mean(sitk.GetArrayFromImage(labels) == result.labels)
    show("the same", ours, theirs, "SimpleITK", f"equal labels {equal:.6f}")


def mri_16_bit(folder):
    scan = volume((512, 512, 512), np.uint16, 4095)
    result = fastseg.segment(scan, 4)
    ours = median_seconds(lambda: fastseg.segment(scan, 4), 3)
    points = scan.reshape(-1, 1).astype(np.float64)
    start = np.quantile(scan[::8, ::8, ::8], [0.2, 0.4, 0.6, 0.8])[:, None] + 0.5
    theirs, fitted = once(lambda: KMeans(4, init=start, n_init=1, copy_x=False).fit(points))
    compared = f"inertia {result.inertia:.8g}, scikit-learn's {fitted.inertia_:.8g}"
    show("512^3 uint16, k=4, optimum", ours, theirs, "scikit-learn", compared)


def passes(folder):
    photo = photograph(folder).reshape(-1, 3)
    for name, pixels in (("18 Mpx", photo), ("100 Mpx", np.tile(photo, (6, 1))[:100_000_000])):
        pixels = np.ascontiguousarray(pixels)
        target, labels = np.empty_like(pixels), np.empty(len(pixels), np.uint8)

        def both(pixels=pixels, labels=labels):
            counter = CpuBackend().counter(pixels.dtype, 3, n_threads=N_THREADS)
            counter.add(pixels)
            values, counts = counter.distinct()
            counter.look_up(pixels, np.zeros(len(values), np.uint8), labels)
            return counts

        exact = int(both().sum()) == len(pixels)
        copy = median_seconds(lambda t=target, p=pixels: np.copyto(t, p), 15)
        ours = median_seconds(both, 15)
        print(
            f"{name}, count and label passes: {ours * 1e3:.1f} ms, memcpy {copy * 1e3:.1f} ms,"
            f" {ours / copy:.2f} times; all pixels counted: {exact}",
            flush=True,
        )


CASES = {
    f.__name__: f
    for f in (passes, mri_8_bit, photo_k256, photo_k8, photo_k32, restarts, palette, mri_16_bit)
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(CASES):
        sys.exit(f"{__doc__}\nCases: {', '.join(CASES)}")
    for chosen in sys.argv[2:] or CASES:
        CASES[chosen](sys.argv[1])
