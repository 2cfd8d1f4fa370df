"""A tumour, found with the clusters of a healthy brain.

Clusters are fitted to one image and applied to another: each pixel of the second goes to the
nearest centre of the first. What is far brighter than healthy tissue then stands out as one
connected part of the brightest class.

The inputs are matrices of intensities from 0 to 1, a line for each row of the image.

    python examples/tumor.py healthy.csv tumor.csv [FOLDER]      leaves tumor.png in FOLDER
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import fastseg
from fastseg.io import read_image

if len(sys.argv) < 3:
    sys.exit("usage: python tumor.py healthy.csv tumor.csv [FOLDER]")
healthy, tumor = (read_image(path).pixels for path in sys.argv[1:3])
folder = Path(sys.argv[3] if len(sys.argv) > 3 else ".")

model = fastseg.segment(healthy, 5)
labels = model.predict(tumor)
# Noise leaves specks of other classes; those under 100 pixels go to what surrounds them.
labels = fastseg.remove_specks(labels, 100, background=None)
# The clusters count from 0 and none is a background: the brightest is the last.
brightest = model.n_clusters - 1

# Connected parts of the brightest class, the largest first. The skull is bright as well, but
# its parts are smaller.
found = fastseg.objects(labels, [brightest], connectivity=1, background=None)
print(f"{len(found)} parts in the brightest class, the largest of them:")
for part in list(found.as_dicts())[:3]:
    (top, bottom), (left, right) = part["box"]
    print(f"{part['pixels']:,} pixels, rows {top} to {bottom - 1}, columns {left} to {right - 1}")

figure, axes = plt.subplots(1, 4, figsize=(15, 4.6), layout="constrained")
axes[0].imshow(healthy, cmap="gray", vmin=0, vmax=1)
axes[0].set_title("healthy: the model is fitted here")
axes[1].imshow(tumor, cmap="gray", vmin=0, vmax=1)
axes[1].set_title("the other scan")
axes[2].imshow(labels, cmap="inferno")
axes[2].set_title("its pixels in the model's classes")
axes[3].imshow(tumor, cmap="gray", vmin=0, vmax=1)
axes[3].contour(found.instances == 1, levels=[0.5], colors="red", linewidths=1)
axes[3].set_title(f"largest bright part: {found.pixels[0]:,} pixels")
for ax in axes:
    ax.axis("off")
figure.savefig(folder / "tumor.png", dpi=100)
