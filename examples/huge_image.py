"""A huge image in constant memory: written, segmented and shown without ever being held.

`fastseg.segment_file` reads a file tile by tile, twice: the first time it counts the colours,
the second time it looks up a label for each pixel and writes it. Between the two are the
clusters of the distinct colours. An image of sixteen times as many pixels takes little more, and
the labels are those of `fastseg.segment` for the image in memory, to the last bit.

    python examples/huge_image.py [FOLDER] [SIDE]

leaves huge_image.png in FOLDER, and huge.tif and labels.tif of SIDE (8192) pixels a side there.
"""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import tifffile
from sklearn.datasets import load_sample_image

import fastseg

TILE = 256
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
full_side = int(sys.argv[2]) if len(sys.argv) > 2 else 8192
photos = [load_sample_image("flower.jpg"), load_sample_image("china.jpg")]


def tiles(side):
    """Tiles of a mosaic: parts of two photographs, lighter towards the lower right."""
    rng = np.random.default_rng(0)
    for row in range(0, side, TILE):
        for column in range(0, side, TILE):
            photo = photos[rng.integers(2)]
            top, left = rng.integers(photo.shape[0] - TILE), rng.integers(photo.shape[1] - TILE)
            light = 0.5 + (row + column) / side / 4
            tile = photo[top : top + TILE, left : left + TILE] * light
            yield tile.astype(np.uint8)


def write(path, side):
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            tiles(side), shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE),
            photometric="rgb", compression="zlib",
        )  # fmt: skip


def show_progress(stage, done, total, info):
    if sys.stderr.isatty():
        print(f"\r{stage}: {done / total:4.0%}", end=" ", file=sys.stderr)


for side in (full_side // 4, full_side):
    write(folder / "huge.tif", side)
    options = fastseg.FileOptions(preview=folder / "huge_image.png", pyramid=True, overwrite=True)
    # The most that arrays and objects of Python took at any time.
    tracemalloc.start()
    result = fastseg.segment_file(
        folder / "huge.tif", folder / "labels.tif", 12,
        random_state=0, options=options, callback=show_progress,
    )  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"{side:,} x {side:,}: {side * side * 3 / 1e6:,.1f} MB of pixels,"
        f" read {result.n_passes} times; {peak / 1e6:.0f} MB of memory"
    )
