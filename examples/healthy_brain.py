"""A slice of a healthy brain into five classes of brightness.

A grey image has one channel, and in one channel the best clusters of all can be computed, by
dynamic programming over the sorted distinct values: no starting centres, no seed, no luck.
k-means runs from random starts end in local optima, some of them worse; here are ten.

The input is a matrix of intensities from 0 to 1, a line for each row of the image, no header.

    python examples/healthy_brain.py healthy.csv [FOLDER]      leaves healthy_brain.png in FOLDER
"""

import sys
from pathlib import Path

import fastseg

if len(sys.argv) < 2:
    sys.exit("usage: python healthy_brain.py healthy.csv [FOLDER]")
path = Path(sys.argv[1])
folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".")

result = fastseg.segment(path, 5)
print(f"{result.method}: inertia {result.inertia:.6f} of {result.counts.sum():,} pixels")
for label, (center, count) in enumerate(zip(result.centers[:, 0], result.counts, strict=True)):
    print(f"cluster {label}: mean {center:.8f}, {count:,} pixels")

# Lloyd's iterations from ten random starts: each is "the k-means result" of its seed.
for seed in range(10):
    run = fastseg.segment(path, 5, method="lloyd", init="random", n_init=1, random_state=seed)
    above = 100 * (run.inertia / result.inertia - 1)
    print(f"seed {seed}: inertia {run.inertia:.6f}, {above:.3f} % above the optimum")

# Image, clusters, histogram, other numbers of clusters and a table on one sheet.
fastseg.report(path, result, folder / "healthy_brain.png", overwrite=True)
