"""The CUDA backend on a device: every case is compared with the CPU before it is timed.

    python benchmarks/cuda.py [--photo FILE] [--scale 1.0] [--output results/NAME.txt] [CASE ...]

Writes device, driver, versions and commit, then a line for each case: median, fastest
and slowest of the runs after a warm-up, and what was compared. A call's time is that of
the clock on the wall: launch, work, and what comes back to the host. ``--scale`` makes
the images smaller, for a try. flash-kmeans is timed beside where it is installed.
"""

import argparse
import importlib.util
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

import fastseg
from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cuda import CudaBackend, device
from fastseg.kernels.cuda.transfer import Outbox
from fastseg.optimal_1d import optimal_1d
from fastseg.progress import Progress
from fastseg.solver import lloyd

RUNS = 20


class Bench:
    """A device, the sizes of the cases, and the lines that they print."""

    def __init__(self, backend, scale, photo, output):
        self.backend, self.device = backend, backend.device()
        self.scale, self.output = scale, output
        self.rng = np.random.default_rng(0)
        self.photo = photo

    def size(self, n):
        return max(1000, int(n * self.scale))

    def say(self, line):
        print(line, flush=True)
        if self.output is not None:
            print(line, file=self.output, flush=True)

    def time(self, case, work, compared):
        work()
        seconds = []
        for _ in range(RUNS):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
        ms = [1e3 * s for s in (statistics.median(seconds), min(seconds), max(seconds))]
        self.say(f"{case}: median {ms[0]:.3f} ms, {ms[1]:.3f} to {ms[2]:.3f}; {compared}")

    def resident(self, array):
        """Array on the device, put there in chunks as the backend does."""
        points = self.backend.put(array)
        if points.feed.resident is None:
            raise SystemExit(f"the device has no room for {array.nbytes / 2**30:.1f} GiB")
        return points.feed.resident[0]

    def pixels(self, n):
        """Pixels of the photograph, as often as it takes."""
        colors = self.photo.reshape(-1, 3)
        return np.ascontiguousarray(np.resize(colors, (n, 3)))

    def colors(self, pixels, k):
        """Starting centres: distinct colours moved off ties."""
        found = np.unique(pixels[self.rng.choice(len(pixels), 5000)], axis=0)
        chosen = found[self.rng.choice(len(found), k, replace=False)]
        return chosen + self.rng.random((k, pixels.shape[1]))


def same_sums(ours, theirs, integers):
    np.testing.assert_array_equal(ours.weights, theirs.weights)
    if integers:
        np.testing.assert_array_equal(ours.sums, theirs.sums)
    np.testing.assert_allclose(ours.sums, theirs.sums, rtol=1e-9, atol=1e-6)


def iteration(bench, case, values, centers):
    """One iteration on resident points, compared with the CPU's."""
    points = bench.backend.put(bench.resident(values))
    integers = values.dtype.kind in "ui"
    same_sums(points.accumulate(centers), CpuBackend().put(values).accumulate(centers), integers)
    what = "exact sums" if integers else "sums to 1e-9"
    bench.time(case, lambda: points.accumulate(centers), f"weights equal, {what} as on the CPU")


def float32(bench):
    """float32, D=3, k=8: one iteration on 100 million points."""
    values = bench.rng.random((bench.size(100e6), 3), np.float32)
    iteration(
        bench, f"float32 {values.shape}, k=8, one iteration", values, values[:8] + 1e-3 * np.ones(3)
    )


def rgb_iteration(bench):
    """uint8 RGB: one iteration over 100 million pixels."""
    values = bench.pixels(bench.size(100e6))
    iteration(bench, f"uint8 {values.shape}, k=8, one iteration", values, bench.colors(values, 8))


def fitted(bench, backend, pixels, start, labels):
    """Count, iterate to convergence, and label: on what the pixels are on."""
    counter = backend.counter(np.dtype(np.uint8), 3)
    counter.add(pixels, again=True)
    values, counts = counter.distinct()
    points = backend.put(values, counts.astype(np.float64), repeated=True)
    run = lloyd(points, start)
    table = points.assign(run.centers, labels=np.empty(len(values), np.uint8))
    counter.look_up(pixels, table, labels)
    return run.centers


def rgb_fit(bench):
    """The same, to convergence with labels, counting included, all on the device."""
    values = bench.pixels(bench.size(100e6))
    start = bench.colors(values, 8)
    there = bench.resident(values)
    labels = bench.device.empty((len(values),), np.uint8)
    host_labels = np.empty(len(values), np.uint8)
    theirs = fitted(bench, CpuBackend(), values, start, host_labels)
    np.testing.assert_array_equal(fitted(bench, bench.backend, there, start, labels), theirs)
    np.testing.assert_array_equal(bench.device.to_host(labels), host_labels)
    bench.time(
        f"uint8 {values.shape}, k=8, fit to convergence with labels",
        lambda: (
            fitted(bench, bench.backend, there, start, labels),
            bench.device.to_host(labels[:1]),
        ),
        "centres and labels equal to the CPU's",
    )


def grey(bench):
    """uint16, D=1, k=4: an iteration on 512**3 voxels, and the optimum of 4096 values."""
    n = bench.size(512**3)
    values = np.clip(bench.rng.normal(1500, 400, n), 0, 4095).astype(np.uint16)[:, None]
    centers = np.array([[500.5], [1200.25], [1900.75], [3000.5]])
    iteration(bench, f"uint16 {values.shape}, k=4, one iteration", values, centers)
    there = bench.resident(values)
    labels = bench.device.empty((n,), np.uint8)

    def optimum(backend, pixels, labels):
        counter = backend.counter(values.dtype, 1)
        counter.add(pixels, again=True)
        found, counts = counter.distinct()
        weights = counts.astype(np.float64)
        best = optimal_1d(found[:, 0], weights, 4, n_threads=None, progress=Progress())
        table = CpuBackend().put(found).assign(best.centers(4)[:, None])
        counter.look_up(pixels, table.astype(np.uint8), labels)
        return best.centers(4)

    host_labels = np.empty(n, np.uint8)
    theirs = optimum(CpuBackend(), values, host_labels)
    np.testing.assert_array_equal(optimum(bench.backend, there, labels), theirs)
    np.testing.assert_array_equal(bench.device.to_host(labels), host_labels)
    bench.time(
        f"uint16 {values.shape}, k=4, optimum with counting and labels",
        lambda: (optimum(bench.backend, there, labels), bench.device.to_host(labels[:1])),
        "centres and labels equal to the CPU's",
    )


def transfers(bench):
    """uint8 RGB in host memory: fit and labels back, beside the two copies alone."""
    pageable = bench.pixels(bench.size(100e6))
    pinned = bench.device.pinned(pageable.nbytes).reshape(pageable.shape)
    pinned[...] = pageable
    start = bench.colors(pageable, 8)
    there = bench.resident(pageable)
    for name, pixels in (("pinned", pinned), ("pageable", pageable)):
        n = len(pixels)
        labels = bench.device.pinned(n) if name == "pinned" else np.empty(n, np.uint8)
        filled = bench.device.full((n,), np.uint8, 1)

        def copies(pixels=pixels, labels=labels, filled=filled):
            bench.backend.put(pixels)
            box = Outbox(bench.device)
            box.fetch(filled, labels)
            box.flush()

        bench.time(f"uint8 {pixels.shape} from and to {name} memory, the copies", copies, "none")
        theirs = fitted(bench, bench.backend, there, start, filled)
        ours = fitted(bench, bench.backend, pixels, start, labels)
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(labels, bench.device.to_host(filled))
        bench.time(
            f"uint8 {pixels.shape} from and to {name} memory, k=8, fit and labels",
            lambda pixels=pixels, labels=labels: fitted(
                bench, bench.backend, pixels, start, labels
            ),
            "equal to the fit on the device",
        )


def sizes(bench):
    """100 sizes in a row: nothing is compiled after the first."""
    image = bench.pixels(bench.size(1e6)).astype(np.float32)
    centers = image[:8] + np.full(3, 0.5)
    bench.backend.put(image).accumulate(centers)
    before = device._function.cache_info().misses
    times = []
    for i in range(100):
        points = bench.backend.put(image[: len(image) - 7 * i])
        began = time.perf_counter()
        points.accumulate(centers)
        times.append(1e3 * (time.perf_counter() - began))
    compiled = device._function.cache_info().misses - before
    bench.say(
        f"100 sizes: {compiled} kernels compiled after the first; slowest {max(times):.3f} ms"
    )
    assert compiled == 0


def wide(bench):
    """float32, D=128, k=1024: one iteration on a million points."""
    values = bench.rng.normal(0, 1, (bench.size(1e6), 128)).astype(np.float32)
    centers = values[: min(1024, len(values) // 2)] + 1e-3 * np.ones(128)
    part = slice(0, 20_000)
    labels = bench.backend.put(values[part]).assign(centers)
    np.testing.assert_array_equal(labels, CpuBackend().put(values[part]).assign(centers))
    points = bench.backend.put(bench.resident(values))
    compared = "labels of 20000 points equal to float64's on the CPU"
    bench.time(f"float32 {values.shape}, k={len(centers)}, one iteration",
               lambda: points.accumulate(centers), compared)  # fmt: skip


def two_values(bench):
    """400 million pixels of two values: the centres are exact."""
    n = bench.size(400e6)
    values = np.full((n, 1), 10, np.uint8)
    values[: n // 3] = 200
    points = bench.backend.put(bench.resident(values))
    partials = points.accumulate(np.array([[20.0], [180.0]]))
    found = (partials.sums / partials.weights[:, None]).ravel().tolist()
    assert found == [10.0, 200.0], found
    bench.say(f"uint8 {values.shape} of two values: centres {found}, exact")


def flash(bench):
    """flash-kmeans on the cases of float32 points, where it is installed."""
    if importlib.util.find_spec("flash_kmeans") is None:
        bench.say("flash-kmeans is not installed: not compared")
        return
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    for n, d, k in [(100e6, 3, 8), (1e6, 128, 1024)]:
        x = torch.rand((1, bench.size(n), d), device="cuda")
        start = x[:, :k].clone()

        def one(x=x, k=k, start=start):
            batch_kmeans_Euclid(x, n_clusters=k, max_iters=1, init_centroids=start)
            torch.cuda.synchronize()

        bench.time(f"flash-kmeans, float32 {tuple(x.shape[1:])}, k={k}, one iteration", one, "none")


CASES = (float32, rgb_iteration, rgb_fit, grey, transfers, sizes, wide, two_values, flash)


def facts():
    """What ran: device, driver, versions and commit."""
    import cupy

    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    return [
        f"device: {name}",
        f"driver: CUDA {runtime.driverGetVersion()}, runtime {runtime.runtimeGetVersion()}",
        f"fastseg {fastseg.__version__} at {commit}, CuPy {cupy.__version__}, NumPy"
        f" {np.__version__}, Python {platform.python_version()}",
        f"host: {platform.processor() or platform.machine()}",
    ]


def main(arguments=None, backend=None, about=facts):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="by default all")
    parser.add_argument("--photo", help="photograph to tile; by default scikit-learn's china.jpg")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--output", help="file for the lines as well")
    given = parser.parse_args(arguments)
    known = {case.__name__: case for case in CASES}
    unknown = set(given.cases) - set(known)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if backend is None:
        backend = CudaBackend()
        missing = backend.unavailable()
        if missing is not None:
            sys.exit(f"cannot run: {missing}")
    photo = load_sample_image("china.jpg")
    if given.photo:
        from PIL import Image

        photo = np.asarray(Image.open(given.photo).convert("RGB"))
    with open(given.output or "/dev/null", "w") as output:
        bench = Bench(backend, given.scale, photo, output)
        for line in about():
            bench.say(line)
        for name in given.cases or known:
            known[name](bench)


if __name__ == "__main__":
    main()
