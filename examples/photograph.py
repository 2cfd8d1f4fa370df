"""A photograph in ten, eight, six, four and two colours.

What segmentation by colour is: every pixel is a point with three coordinates, red, green and
blue; k-means finds k colours such that the pixels lie near them; each pixel then gets the
colour that it lies nearest. First the long way, step by step with the estimator, as one would
do it with scikit-learn, then the short way. From the same start both paint the same picture.

    python examples/photograph.py [FOLDER]      leaves photograph.png in FOLDER
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import fastseg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
image = load_sample_image("flower.jpg")  # an array of rows, columns and three channels, uint8
rows, columns, channels = image.shape
colors = np.unique(image.reshape(-1, channels), axis=0)

figure, axes = plt.subplots(2, 3, figsize=(12, 5.8), layout="constrained")
axes[0, 0].imshow(image)
axes[0, 0].set_title(f"original, {len(colors):,} colours")

for ax, k in zip(axes.flat[1:], [10, 8, 6, 4, 2], strict=True):
    start = np.random.default_rng(0).choice(colors, k, replace=False)

    # The long way: pixels as rows of a table, clusters, and back to a picture.
    pixels = image.reshape(rows * columns, channels)
    model = fastseg.KMeans(n_clusters=k, init=start, n_init=1).fit(pixels)
    painted = model.cluster_centers_[model.labels_]
    long_way = np.rint(painted).astype(np.uint8).reshape(rows, columns, channels)

    # The short way. Labels are those of the long way, but in ascending luminance.
    result = fastseg.segment(image, k, init=start)
    short_way = result.recolor()

    same = "the same" if np.array_equal(short_way, long_way) else "another"
    print(f"k = {k:2}: inertia {result.inertia:.4g}, {same} picture both ways")
    ax.imshow(short_way)
    ax.set_title(f"{k} colours")

for ax in axes.flat:
    ax.axis("off")
figure.savefig(folder / "photograph.png", dpi=100)
