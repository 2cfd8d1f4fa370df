"""The CUDA backend on a device: every case is compared with the CPU before it is timed.

    python benchmarks/gpu.py [--photo FILE] [--scale 1.0] [--output results/NAME.txt]
                              [--commit TEXT] [CASE ...]

Writes device, driver, versions and commit, then a line for each case: median, fastest
and slowest of the runs after a warm-up, what was compared, and the goal. A call's time is
that of the clock on the wall: launch, work, and what comes back to the host; the kernels'
own times stand below it. A case that fails is told of, the others go on, and the program
ends with 1. ``--scale`` makes the images smaller, for a try. flash-kmeans is timed beside
where it is installed.
"""

import argparse
import contextlib
import gc
import importlib.metadata
import importlib.util
import platform
import re
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

import fastseg
from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cuda import CudaBackend
from fastseg.optimal_1d import optimal_1d
from fastseg.progress import Progress
from fastseg.solver import lloyd

RUNS = 20
SIZES = 100
FLASH_RUNS = 5


class Bench:
    """A device, the sizes of the cases, and the lines that they print."""

    def __init__(self, backend, scale, photo, output):
        self.backend, self.device = backend, backend.device()
        self.cupy = getattr(self.device, "cupy", None)  # none where the device is made up
        self.scale, self.output = scale, output
        self.rng = np.random.default_rng(0)
        self.photo = photo

    def size(self, n):
        return max(1000, int(n * self.scale))

    def say(self, line):
        print(line, flush=True)
        if self.output is not None:
            print(line, file=self.output, flush=True)

    def compare_goal(self, found, limit, unit, *, at_least=False):
        """Say whether a goal is reached, which is set for the sizes in full."""
        if self.scale == 1:
            reached = found >= limit if at_least else found <= limit
            words = f"at {'least' if at_least else 'most'} {limit} {unit}"
            self.say(f"    goal {words}: {'reached' if reached else 'NOT reached'}, {found:.3f}")

    def time(self, case, work, compared, *, goal=None, runs=None):
        """Median time of a case in ms, which is said beside its ``goal``."""
        work()
        ms = []
        for _ in range(runs or RUNS):
            began = time.perf_counter()
            work()
            ms.append(1e3 * (time.perf_counter() - began))
        median = statistics.median(ms)
        self.say(f"{case}: median {median:.3f} ms, {min(ms):.3f} to {max(ms):.3f}; {compared}")
        if goal is not None:
            self.compare_goal(median, goal, "ms")
        return median

    def say_kernels(self, work):
        """Say how long the kernels alone take, by events around each launch."""
        if self.cupy is None:
            return
        launch, marks = self.device.launch, []

        def marked(kernel, *arguments):
            events = [self.cupy.cuda.Event() for _ in range(2)]
            events[0].record()
            launch(kernel, *arguments)
            events[1].record()
            marks.append((kernel[2], *events))

        self.device.launch = marked
        try:
            work()
        finally:
            del self.device.launch
        self.cupy.cuda.get_current_stream().synchronize()
        total = {}
        for name, before, after in marks:
            ms = self.cupy.cuda.get_elapsed_time(before, after)
            n, sum_ms = total.get(name, (0, 0.0))
            total[name] = n + 1, sum_ms + ms
        for name, (n, ms) in total.items():
            self.say(f"    {name}: {ms:.3f} ms in {n} launches")

    def resident(self, array):
        """Array on the device, put there in chunks as the backend does."""
        points = self.backend.put(array)
        if points.feed.resident is None:
            raise MemoryError(f"the device has no room for {array.nbytes / 2**30:.1f} GiB")
        return points.feed.resident[0]

    def tidy(self):
        """Give all memory back, for the next case."""
        gc.collect()
        if self.cupy is not None:
            self.cupy.get_default_memory_pool().free_all_blocks()
            self.cupy.get_default_pinned_memory_pool().free_all_blocks()
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()

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


def iteration(bench, case, values, centers, goal):
    """One iteration on resident points, compared with the CPU's; its time in ms."""
    points = bench.backend.put(bench.resident(values))
    integers = values.dtype.kind in "ui"
    same_sums(points.accumulate(centers), CpuBackend().put(values).accumulate(centers), integers)
    what = f"weights equal, {'exact sums' if integers else 'sums to 1e-9'} as on the CPU"
    ms = bench.time(case, lambda: points.accumulate(centers), what, goal=goal)
    bench.say_kernels(lambda: points.accumulate(centers))
    return ms


def float32(bench):
    """float32, D=3, k=8: one iteration on 100 million points."""
    values = bench.rng.random((bench.size(100e6), 3), np.float32)
    centers = values[:8] + 1e-3 * np.ones(3)
    ms = iteration(bench, f"float32 {values.shape}, k=8, one iteration", values, centers, 0.55)
    flash_iteration(bench, values, centers, ms, 10)


def rgb_iteration(bench):
    """uint8 RGB: one iteration over 100 million pixels."""
    values = bench.pixels(bench.size(100e6))
    centers = bench.colors(values, 8)
    ms = iteration(bench, f"uint8 {values.shape}, k=8, one iteration", values, centers, 0.35)
    flash_iteration(bench, values, centers, ms, 20)


def fitted(backend, pixels, start, labels):
    """Count, iterate to convergence, and label: on what the pixels are on."""
    counter = backend.counter(np.dtype(np.uint8), 3)
    counter.add(pixels, again=True)
    values, counts = counter.distinct()
    points = backend.put(values, counts.astype(np.float64), repeated=True)
    run = lloyd(points, start)
    table = points.assign(run.centers, labels=np.empty(len(values), np.uint8))
    counter.look_up(pixels, table, labels)
    return run


def rgb_fit(bench):
    """The same, to convergence with labels, counting included, all on the device."""
    values = bench.pixels(bench.size(100e6))
    start = bench.colors(values, 8)
    there = bench.resident(values)
    labels = bench.device.empty((len(values),), np.uint8)
    host_labels = np.empty(len(values), np.uint8)
    theirs = fitted(CpuBackend(), values, start, host_labels)
    ours = fitted(bench.backend, there, start, labels)
    np.testing.assert_array_equal(ours.centers, theirs.centers)
    np.testing.assert_array_equal(bench.device.to_host(labels), host_labels)

    def fit():
        fitted(bench.backend, there, start, labels)
        bench.device.to_host(labels[:1])

    ms = bench.time(
        f"uint8 {values.shape}, k=8, {ours.n_iter} iterations to convergence with labels",
        fit, "centres and labels equal to the CPU's", goal=8,
    )  # fmt: skip
    bench.say_kernels(fit)
    flash_fit(bench, values, start, ours, ms)


def grey(bench):
    """uint16, D=1, k=4: an iteration on 512**3 voxels, and the optimum of 4096 values."""
    n = bench.size(512**3)
    values = np.clip(bench.rng.normal(1500, 400, n), 0, 4095).astype(np.uint16)[:, None]
    centers = np.array([[500.5], [1200.25], [1900.75], [3000.5]])
    iteration(bench, f"uint16 {values.shape}, k=4, one iteration", values, centers, 0.15)
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

    def best():
        optimum(bench.backend, there, labels)
        bench.device.to_host(labels[:1])

    bench.time(f"uint16 {values.shape}, k=4, optimum with counting and labels", best,
               "centres and labels equal to the CPU's", goal=5)  # fmt: skip
    bench.say_kernels(best)


def copies(bench, pixels, labels):
    """What copies the pixels there and labels back, and nothing else."""
    filled = bench.device.full((len(pixels),), np.uint8, 1)
    target = bench.device.empty(pixels.shape, np.uint8)

    def both():
        if bench.cupy is None:
            labels[...] = bench.device.to_host(filled)
        else:
            target.set(pixels)
            filled.get(out=labels)  # in the same stream: it waits for both

    return both


def transfers(bench):
    """uint8 RGB in host memory: fit and labels back, beside the two copies alone."""
    pageable = bench.pixels(bench.size(100e6))
    pinned = bench.device.pinned(pageable.nbytes).reshape(pageable.shape)
    pinned[...] = pageable
    start = bench.colors(pageable, 8)
    n = len(pageable)
    expected = np.empty(n, np.uint8)
    theirs = fitted(CpuBackend(), pageable, start, expected)
    for name, pixels in (("pinned", pinned), ("pageable", pageable)):
        case = f"uint8 {pixels.shape} from and to {name} memory"
        labels = bench.device.pinned(n) if name == "pinned" else np.empty(n, np.uint8)
        alone = bench.time(f"{case}, the copies by CuPy", copies(bench, pixels, labels), "none")
        ours = fitted(bench.backend, pixels, start, labels)
        np.testing.assert_array_equal(ours.centers, theirs.centers)
        np.testing.assert_array_equal(labels, expected)

        def fit(pixels=pixels, labels=labels):
            fitted(bench.backend, pixels, start, labels)

        ms = bench.time(f"{case}, k=8, fit and labels", fit, "equal to the CPU's fit")
        bench.compare_goal(ms / alone, 1.5, "times the copies")


@contextlib.contextmanager
def compilations(bench):
    """List of what is compiled, or loaded from CuPy's cache, within: kernels of all kinds."""
    done = []
    compiler = None if bench.cupy is None else bench.cupy.cuda.compiler
    name = "_compile_module_with_cache"  # of CuPy 14, which all its kernels go through
    whole = getattr(compiler, name, None)
    if whole is None:
        yield done
        return

    def told(source, *arguments, **options):
        done.append(source[:60])
        return whole(source, *arguments, **options)

    setattr(compiler, name, told)
    try:
        yield done
    finally:
        setattr(compiler, name, whole)


def sizes(bench):
    """100 sizes in a row: nothing is compiled after the first."""
    pixels = bench.pixels(bench.size(1e6))
    centers = pixels[:8] + np.full(3, 0.5)
    labels = np.empty(len(pixels), np.uint8)

    def fit(n):
        bench.backend.put(pixels[:n].astype(np.float32)).label(centers)
        fitted(bench.backend, pixels[:n], centers, labels[:n])

    fit(len(pixels))
    times = []
    with compilations(bench) as compiled:
        for i in range(1, SIZES + 1):
            began = time.perf_counter()
            fit(len(pixels) - 7 * i)
            times.append(1e3 * (time.perf_counter() - began))
    bench.say(
        f"{SIZES} sizes of {len(pixels)} pixels and fewer: {len(compiled)} kernels compiled after"
        f" the first; median {statistics.median(times):.3f} ms, slowest {max(times):.3f} ms"
    )
    assert not compiled, compiled


def wide(bench):
    """float32, D=128, k=1024: one iteration on a million points."""
    values = bench.rng.normal(0, 1, (bench.size(1e6), 128)).astype(np.float32)
    centers = values[: min(1024, len(values) // 2)] + 1e-3 * np.ones(128)
    part = values[:20_000]
    labels = bench.backend.put(part).assign(centers)
    np.testing.assert_array_equal(labels, CpuBackend().put(part).assign(centers))
    points = bench.backend.put(bench.resident(values))
    compared = f"labels of {len(part)} points equal to float64's on the CPU"
    case = f"float32 {values.shape}, k={len(centers)}, one iteration"
    ms = bench.time(case, lambda: points.accumulate(centers), compared)
    bench.say_kernels(lambda: points.accumulate(centers))
    flash_iteration(bench, values, centers, ms, 0.5)


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


def beside(compare):
    """Comparison with flash-kmeans, whose absence or failure costs no case of ours."""

    def compared(bench, *arguments):
        if bench.cupy is None or importlib.util.find_spec("flash_kmeans") is None:
            bench.say("    flash-kmeans is not installed: not compared")
            return
        try:
            compare(bench, *arguments)
        except Exception as error:
            traceback.print_exc()
            bench.say(f"    flash-kmeans FAILED, {type(error).__name__}: {str(error)[:300]}")

    return compared


@beside
def flash_iteration(bench, values, centers, ours_ms, goal):
    """The same iteration by flash-kmeans: ten more than one, over ten."""
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    x = torch.as_tensor(values, device="cuda").to(torch.float32)[None]
    start = torch.as_tensor(centers, device="cuda").to(torch.float32)[None]

    def run(n):
        # A shift below -1 would stop it.
        found = batch_kmeans_Euclid(x, len(centers), n, -1.0, start.clone())
        torch.cuda.synchronize()
        return found

    part = values[:20_000]
    labels = run(1)[0][0, : len(part)].cpu().numpy()
    right = (labels == CpuBackend().put(part).assign(centers)).mean()
    which = f"    flash-kmeans, {tuple(x.shape[1:])}, k={len(centers)}"
    words = f"{100 * right:.4f} % of {len(part)} labels are float64's"
    one, eleven = (
        bench.time(f"{which}, {n} iterations", lambda n=n: run(n), words, runs=FLASH_RUNS)
        for n in (1, 11)
    )
    each = (eleven - one) / 10
    bench.say(f"{which}: {each:.3f} ms an iteration, {each / ours_ms:.1f} times as long")
    bench.compare_goal(each / ours_ms, goal, "times as fast", at_least=True)


@beside
def flash_fit(bench, pixels, start, ours, ours_ms):
    """flash-kmeans with as many iterations as it takes to reach our inertia."""
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    counter = CpuBackend().counter(pixels.dtype, 3)
    counter.add(pixels)
    values, counts = counter.distinct()
    points = CpuBackend().put(values, counts.astype(np.float64), repeated=True)
    x = torch.as_tensor(pixels, device="cuda").to(torch.float32)[None]
    begin = torch.as_tensor(start, device="cuda").to(torch.float32)[None]

    def run(n):
        found = batch_kmeans_Euclid(x, len(start), n, -1.0, begin.clone())[1]
        torch.cuda.synchronize()
        return found[0].cpu().numpy().astype(np.float64)

    for n_iter in (ours.n_iter, 2 * ours.n_iter, 4 * ours.n_iter):
        inertia = points.accumulate(run(n_iter)).inertia
        reached = inertia <= ours.inertia * (1 + 1e-6)
        if reached:
            break
    words = f"inertia {inertia:.6e}, ours is {ours.inertia:.6e}"
    case = f"    flash-kmeans, {tuple(x.shape[1:])}, {n_iter} iterations"
    ms = bench.time(case, lambda: run(n_iter), words, runs=FLASH_RUNS)
    bench.say(f"    {ms / ours_ms:.1f} times as long{'' if reached else ', and not converged'}")
    bench.compare_goal(ms / ours_ms, 50, "times as fast", at_least=True)


# The quick ones of the goals first: a device may be lent for minutes.
CASES = (float32, rgb_iteration, grey, rgb_fit, transfers, wide, sizes, two_values)


def driver():
    """Version of NVIDIA's driver, as Linux tells it."""
    with contextlib.suppress(OSError, AttributeError):
        text = Path("/proc/driver/nvidia/version").read_text()
        return re.search(r"Module.*?(\d+\.[\d.]+)", text).group(1)
    with contextlib.suppress(OSError):
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(ask, capture_output=True, text=True).stdout.strip()
    return "unknown"


def checkout():
    """Commit of this folder, where it is a checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):
        return subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return ""


def facts(commit):
    """What ran: device, driver, versions and commit."""
    import cupy

    runtime, number = cupy.cuda.runtime, cupy.cuda.Device().id
    name = runtime.getDeviceProperties(number)["name"].decode()
    _, memory = runtime.memGetInfo()
    others = []
    for package in ("numba", "torch", "triton", "flash-kmeans"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            others.append(f"{package} {importlib.metadata.version(package)}")
    compiler = ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
    return [
        f"device: {name}, {memory / 2**30:.1f} GiB",
        f"driver: {driver()}, CUDA {runtime.driverGetVersion()}, runtime"
        f" {runtime.runtimeGetVersion()}, NVRTC {compiler}",
        f"fastseg {fastseg.__version__} at {commit}, CuPy {cupy.__version__}, NumPy"
        f" {np.__version__}, Python {platform.python_version()}; {', '.join(others)}",
        f"host: {platform.processor() or platform.machine()}",
    ]


def main(arguments=None, backend=None, about=facts):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="by default all")
    parser.add_argument("--photo", help="photograph to tile; by default scikit-learn's china.jpg")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--output", help="file for the lines as well")
    parser.add_argument("--commit", default=checkout(), help="where this is no checkout of git")
    given = parser.parse_args(arguments)
    known = {case.__name__: case for case in CASES}
    unknown = set(given.cases) - set(known)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not given.commit:
        parser.error("this is no checkout of git; name the commit by --commit")
    if backend is None:
        backend = CudaBackend()
        missing = backend.unavailable()
        if missing is not None:
            sys.exit(f"cannot run: {missing}")
    photo = load_sample_image("china.jpg")
    if given.photo:
        from PIL import Image

        photo = np.asarray(Image.open(given.photo).convert("RGB"))
    failed = []
    with contextlib.ExitStack() as opened:
        output = opened.enter_context(open(given.output, "w")) if given.output else None
        bench = Bench(backend, given.scale, photo, output)
        for line in about(given.commit):
            bench.say(line)
        for name in given.cases or known:
            try:
                known[name](bench)
            except Exception as error:
                failed.append(name)
                traceback.print_exc()
                bench.say(f"{name}: FAILED, {type(error).__name__}: {str(error).strip()[:300]}")
            bench.tidy()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
