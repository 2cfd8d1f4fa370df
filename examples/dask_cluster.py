"""An image of many blocks, clustered on a Dask cluster.

A dask array is a recipe for blocks that no machine need hold at once. fastseg sends its counting
to where the blocks are and gets back distinct colours and counts, which add up whatever the
blocks are; it clusters those, and gives labels back as another dask array, to be computed or
stored block by block. They are those of the image in memory, to the last bit.

Here the cluster is two processes of this machine; a `Client` of any other does the same.

    python examples/dask_cluster.py [FOLDER]      leaves dask_cluster.png in FOLDER
"""

import sys
from pathlib import Path

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster
from sklearn.datasets import load_sample_image

import fastseg


def main(folder):
    photo = load_sample_image("flower.jpg")
    # Eight copies in two rows, cut into blocks of 200 x 200 pixels with all channels.
    image = da.tile(da.from_array(photo, chunks=(200, 200, 3)), (2, 4, 1))
    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**workers) as cluster, Client(cluster):
        result = fastseg.segment(image, 6, random_state=0)
        print(f"{image.npartitions} blocks, {result.counts.sum():,} pixels")
        print(f"labels in blocks of {result.labels.chunksize}, not computed yet")
        labels = result.labels.compute()
        picture = result.recolor()[::4, ::4].compute()

    in_memory = fastseg.segment(np.tile(photo, (2, 4, 1)), 6, random_state=0)
    equal = np.array_equal(labels, in_memory.labels)
    print(f"the same labels as in memory: {'yes' if equal else 'no'}")

    figure, ax = plt.subplots(figsize=(11, 3.9), layout="constrained")
    ax.imshow(picture, extent=(0, image.shape[1], image.shape[0], 0))
    rows, columns = (np.cumsum(sizes)[:-1] for sizes in image.chunks[:2])
    ax.hlines(rows, 0, image.shape[1], color="white", linewidth=0.5)
    ax.vlines(columns, 0, image.shape[0], color="white", linewidth=0.5)
    ax.set_title(f"six colours, and the {image.npartitions} blocks that two workers computed")
    ax.axis("off")
    figure.savefig(folder / "dask_cluster.png", dpi=100)


# Workers are processes that import this file: only the first one is to run it.
if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
