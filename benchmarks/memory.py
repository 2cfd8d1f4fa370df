"""Memory beyond image and labels: images of four million distinct values, and float points.

    python benchmarks/memory.py [CASE ...]

Each case runs in a process of its own, warmed by a small picture: the peak of its
resident memory during the call, less the resident memory before it and the labels. Of
points that do not repeat it is told by the point. Linux only.
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

import fastseg

N_PIXELS, N_DISTINCT = 8_000_000, 4_000_000
CASES = {
    "uint8 x 3": ("uint8", 3, "rgb"),
    "uint8 x 4": ("uint8", 4, "rgb"),
    "uint16 x 3": ("uint16", 3, "rgb"),
    "uint16 x 4": ("uint16", 4, "rgb"),
    "float64 x 3": ("float64", 3, "rgb"),
    "uint8 x 3, lab": ("uint8", 3, "lab"),
}
POINTS = {
    "8 M points x 3": (8_000_000, 3, 8),
    "2 M points x 13": (2_000_000, 13, 16),
    "1 M points x 32": (1_000_000, 32, 32),
}


def image(dtype, n_channels, n_pixels, n_distinct):
    """Every distinct value as often as the others, in any order."""
    rng = np.random.default_rng(0)
    span = 2 ** (24 // n_channels)
    codes = rng.choice(span**n_channels, n_distinct, replace=False)
    codes = np.resize(codes, n_pixels)
    rng.shuffle(codes)
    scale = {"uint8": 1, "uint16": 65536 // span, "float64": 1 / span}[dtype]
    places = [codes // span**f % span for f in range(n_channels)]
    return np.stack([(place * scale).astype(dtype) for place in places], axis=1)[None]


def resident(field):
    status = Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) / 1024


def beyond(work, few, many):
    """MB that the call takes beyond its argument and the labels of its result."""
    work(few)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    labels = work(many)
    return resident("VmHWM") - before - labels.nbytes / 2**20


def measure(case):
    warnings.simplefilter("ignore")
    threads = os.environ["FASTSEG_NUM_THREADS"]
    if case in POINTS:
        n, d, k = POINTS[case]
        points = np.random.default_rng(0).random((n, d), dtype=np.float32)
        for init in ("k-means++", "random"):
            fit = fastseg.KMeans(k, init=init, n_init=1, max_iter=5, random_state=0).fit
            extra = beyond(lambda X, fit=fit: fit(X).labels_, points[:5000], points)
            each = extra * 2**20 / n
            print(f"{case}, {init}: {each:.1f} bytes a point with {threads} threads", flush=True)
        return
    dtype, n_channels, space = CASES[case]
    options = {"color_space": space, "max_iter": 10, "random_state": 0}
    pixels = image(dtype, n_channels, N_PIXELS, N_DISTINCT)
    few = image(dtype, n_channels, 300_000, 100_000)
    extra = beyond(lambda X: fastseg.segment(X, 8, **options).labels, few, pixels)
    print(f"{case}: {extra:.0f} MB with {threads} threads", flush=True)


if __name__ == "__main__":
    if "FASTSEG_MEMORY_CASE" in os.environ:
        measure(os.environ["FASTSEG_MEMORY_CASE"])
        sys.exit()
    for case in sys.argv[1:] or [*CASES, *POINTS]:
        for n_threads in ("1", "2", "8"):
            changed = {"FASTSEG_MEMORY_CASE": case, "FASTSEG_NUM_THREADS": n_threads}
            subprocess.run([sys.executable, __file__], env=os.environ | changed, check=True)
