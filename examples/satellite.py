"""A satellite scene of six bands, partly without data, to a land cover map on the same ground.

A scene has more channels than a picture, on scales of its own, and pixels that were not seen.
`standardize` gives every band the same say; pixels of no data are left out of the clusters and
have label 0; and the map is a GeoTIFF with the scene's coordinates, so that a GIS lays the one
over the other. The scene is made here: five kinds of ground with spectra of their own.

    python examples/satellite.py [FOLDER]

leaves satellite.png in FOLDER, and scene.tif and land.tif there.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib.colors import ListedColormap
from rasterio import Affine
from scipy.ndimage import gaussian_filter

import fastseg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
rng = np.random.default_rng(0)
side = 400

# Reflectance times 10,000 in blue, green, red, near and two short-wave infrared bands.
SPECTRA = {
    "water": [700, 600, 400, 250, 150, 100],
    "forest": [300, 500, 350, 3200, 1500, 700],
    "town": [1300, 1400, 1500, 2000, 2200, 2000],
    "bare soil": [1000, 1400, 1900, 2500, 3400, 3000],
    "fields": [500, 900, 600, 4600, 2300, 1200],
}
# Where each kind is: the smooth random field that is highest there.
fields = [gaussian_filter(rng.normal(size=(side, side)), 14) for _ in SPECTRA]
truth = np.argmax(fields, axis=0)
# A pixel sees a bit of its neighbours, and no piece of ground is like another.
spectra = np.array(list(SPECTRA.values()), float)[truth]
scene = gaussian_filter(spectra, (1.5, 1.5, 0)) * rng.normal(1, 0.15, (side, side, 6))
scene = np.clip(scene, 1, 10_000).astype(np.uint16)
# Outside the satellite's oblique track nothing was seen: 0.
rows, columns = np.indices((side, side))
seen = abs(columns - side / 2 + (rows - side / 2) / 4) < 0.42 * side
scene[~seen] = 0

profile = {"driver": "GTiff", "width": side, "height": side, "count": 6, "dtype": "uint16"}
ground = Affine(20, 0, 500_000, 0, -20, 5_200_000)  # 20 m a pixel, in metres east and north
with rasterio.open(
    folder / "scene.tif", "w", crs="EPSG:32632", transform=ground, nodata=0, **profile
) as file:
    file.write(np.moveaxis(scene, -1, 0))

written = fastseg.segment_file(
    folder / "scene.tif", folder / "land.tif", len(SPECTRA),
    standardize=True, n_init=10, random_state=0, options=fastseg.FileOptions(overwrite=True),
)  # fmt: skip

with rasterio.open(folder / "land.tif") as file:
    labels = file.read(1)
    print(f"{file.crs}, {file.transform == ground and 'the same ground'}, no data: {file.nodata:g}")
print(f"left out: {written.n_left_out:,} pixels, not seen: {np.count_nonzero(~seen):,}")
# Labels go by brightness; to say which is what, take the kind of ground most frequent in each.
names = {0: "no data"}
for label in range(1, len(SPECTRA) + 1):
    kind = np.bincount(truth[labels == label]).argmax()
    names[label] = list(SPECTRA)[kind]
    right = np.mean(truth[labels == label] == kind)
    area = np.count_nonzero(labels == label) * 20 * 20 / 1e6
    print(f"label {label}: {names[label]}, {area:.2f} km2, {100 * right:.1f} % right")

COLORS = {
    "no data": "white", "water": "#3b6fb5", "forest": "#2d6a3e", "town": "#8c8c8c",
    "bare soil": "#c79a5b", "fields": "#a8d05f",
}  # fmt: skip
figure, axes = plt.subplots(1, 2, figsize=(11.5, 5), layout="constrained")
false_color = scene[..., [3, 2, 1]] / [6000, 3000, 2000]
axes[0].imshow(np.where(seen[..., None], np.clip(false_color, 0, 1), 1))
axes[0].set_title("the scene in false colour: near infrared, red, green")
colors = [COLORS[names[label]] for label in sorted(names)]
axes[1].imshow(labels, cmap=ListedColormap(colors), interpolation="nearest")
axes[1].set_title("five clusters of six bands")
patches = [plt.Rectangle((0, 0), 1, 1, color=COLORS[kind]) for kind in SPECTRA]
axes[1].legend(patches, list(SPECTRA), loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
for ax in axes:
    ax.axis("off")
figure.savefig(folder / "satellite.png", dpi=100)
