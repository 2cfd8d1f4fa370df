"""The CPU against the GPU, or against scikit-learn where there is no GPU.

Backends are asked for by name, and one that cannot run says why. Of an integer image all of them
give the same labels and centres, to the last bit, so that only the times are left to compare.

    python examples/cpu_and_gpu.py [FOLDER]      leaves cpu_and_gpu.png in FOLDER
"""

import statistics
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

import fastseg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
image = load_sample_image("china.jpg")
pixels = image.reshape(-1, 3)
# Starts between the levels, so that no pixel is equally near to two of them.
start = np.random.default_rng(0).uniform(0, 255, (8, 3))


def on(backend):
    return fastseg.segment(image, 8, init=start, backend=backend)


def in_scikit_learn():
    return KMeans(8, init=start, n_init=1).fit(pixels.astype(np.float64))


missing = fastseg.available_backends()["cuda"]
if missing is None:
    other, run = "GPU", lambda: on("cuda")
else:
    print(f"no GPU here: {missing}")
    other, run = "scikit-learn", in_scikit_learn

contestants = {"CPU": lambda: on("cpu"), other: run}
medians = {}
for name, work in contestants.items():
    work()  # compiles and loads what it needs
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    medians[name] = statistics.median(seconds)

# The same picture? Labels count in ascending luminance here, in scikit-learn as the starts do.
ours, theirs = on("cpu"), run()
if missing is None:
    picture = theirs.recolor()
else:
    means = np.rint(theirs.cluster_centers_).astype(np.uint8)
    picture = means[theirs.labels_].reshape(image.shape)
equal = 100 * np.mean((ours.recolor() == picture).all(axis=-1))
print(f"equal pixels, CPU and {other}: {equal:.4g} %")
for name, median in medians.items():
    print(f"{name}: {1000 * median:.1f} ms")

figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained", width_ratios=[1.3, 1])
axes[0].imshow(picture)
axes[0].set_title(f"{pixels.shape[0]:,} pixels in 8 colours, {equal:.4g} % equal")
axes[0].axis("off")
bars = axes[1].barh(list(medians), [1000 * t for t in medians.values()], color=["C0", "C1"])
axes[1].bar_label(bars, fmt=" {:.0f} ms")
axes[1].set(title="the whole call, median of three", xlabel="milliseconds")
axes[1].margins(x=0.2)
axes[1].invert_yaxis()
axes[1].spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "cpu_and_gpu.png", dpi=100)
