"""A head to its tissues: cerebrospinal fluid, grey matter and white matter.

In a T1-weighted scan the three differ in brightness, in that order. One channel of 256 values is
clustered by its global optimum in milliseconds, however many voxels there are. How good the
tissues are is measured against the template's own maps by Dice's coefficient: twice the common
voxels over the voxels of both, 1 for the same.

The head is the template MNI152 that nilearn ships, its skull removed: outside the brain it is 0.

    python examples/mri_tissues.py [FOLDER]      leaves mri_tissues.png and tissues.nii.gz in FOLDER
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import numpy as np
from matplotlib.colors import ListedColormap

import fastseg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
nilearn = Path(find_spec("nilearn").origin).parent / "datasets" / "data"
template = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
path = nilearn / template.format("t1")

options = fastseg.FileOptions(overwrite=True)
tissues = folder / "tissues.nii.gz"
result = fastseg.segment_file(
    path, tissues, 3, nodata=0, names=["CSF", "GM", "WM"], options=options
)
print(f"{result.counts.sum():,} voxels, {result.method}, {result.seconds['fit'] * 1000:.1f} ms")

# The labels lie where the scan does, 1 to 3 and 0 outside the brain.
labels = np.asarray(nibabel.load(tissues).dataobj)
head = np.asarray(nibabel.load(path).dataobj)

# Of each voxel the template gives the probability of grey and of white matter, up to 255.
grey, white = (
    np.asarray(nibabel.load(nilearn / template.format(part)).dataobj).astype(int)
    for part in ("gm", "wm")
)
fluid = np.where(head > 0, np.maximum(255 - grey - white, 0), 0)
truth = np.where(head > 0, 1 + np.argmax([fluid, grey, white], axis=0), 0)
for label, name in enumerate(result.names, start=1):
    ours, theirs = labels == label, truth == label
    dice = 2 * np.count_nonzero(ours & theirs) / (ours.sum() + theirs.sum())
    print(f"{name}: Dice {dice:.3f}, {ours.sum():,} voxels")

cut = (slice(None), slice(None), 85)
colors = ListedColormap(["black", "#3b6fb5", "#c9a36a", "#f4f1e8"])
figure, axes = plt.subplots(1, 3, figsize=(11.5, 4.9), layout="constrained")
axes[0].imshow(head[cut].T, cmap="gray", origin="lower")
axes[0].set_title("T1")
for ax, volume, title in ((axes[1], labels, "three clusters"), (axes[2], truth, "the template's")):
    ax.imshow(volume[cut].T, cmap=colors, vmin=0, vmax=3, origin="lower", interpolation="nearest")
    ax.set_title(title)
for ax in axes:
    ax.axis("off")
patches = [plt.Rectangle((0, 0), 1, 1, fc=colors(i), ec="gray") for i in (1, 2, 3)]
figure.legend(patches, result.names, loc="outside lower center", ncols=3, frameon=False)
figure.savefig(folder / "mri_tissues.png", dpi=100)
