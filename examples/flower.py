"""A grey flower into petals, heart and background, by a tree.

Hierarchical clustering starts with every pixel by itself and merges, again and again, the two
groups whose union adds least variance (Ward's method), until one is left. Where the tree is cut
decides how many clusters there are. R needs the distances of all pairs of pixels for that; but
equal pixels merge for nothing, so that the tree of the distinct values, weighted by their
pixels, is the same tree, and takes a moment.

The input is a matrix of intensities from 0 to 1, a line for each row of the image, no header.

    python examples/flower.py flower.csv [FOLDER]      leaves flower.png in FOLDER
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from scipy.cluster import hierarchy

import fastseg
from fastseg.io import read_image

if len(sys.argv) < 2:
    sys.exit("usage: python flower.py flower.csv [FOLDER]")
image = read_image(sys.argv[1]).pixels
folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".")

result = fastseg.segment(image, 3, method="ward")
print(f"{image.size:,} pixels, {len(result.tree.values):,} distinct values")
for label, (center, count) in enumerate(zip(result.centers[:, 0], result.counts, strict=True)):
    print(f"cluster {label}: mean {center:.8f}, {count:,} pixels")

# The same tree cut elsewhere, without clustering again.
for k in (2, 3, 4, 5):
    print(f"cut into {k}: sum of squares {result.tree.inertia(k):.3f}")

figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained", width_ratios=[1, 1, 1.5])
axes[0].imshow(image, cmap="gray")
axes[0].set_title(f"original, {image.shape[1]} x {image.shape[0]} pixels")
axes[1].imshow(result.labels, cmap="viridis")
axes[1].set_title("three clusters")

# SciPy's functions take the tree as it is; the last 30 of its branches are enough to see.
cut = result.linkage[-3:-1, 2].mean()
hierarchy.dendrogram(
    result.linkage, p=30, truncate_mode="lastp", no_labels=True, color_threshold=cut, ax=axes[2]
)
axes[2].axhline(cut, color="black", linestyle="--", linewidth=1, label="cut into three")
axes[2].set(title="the tree's last merges", ylabel="height")
axes[2].legend(frameon=False)
axes[2].spines[["top", "right", "bottom"]].set_visible(False)
for ax in axes[:2]:
    ax.axis("off")
figure.savefig(folder / "flower.png", dpi=100)
