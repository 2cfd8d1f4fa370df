"""Methods compared on one image, over the number of clusters.

The global optimum, k-means from one k-means++ start and Ward's tree are different answers to
the same question, and the sum of squared distances (inertia) says how good each is. A scree
plot draws it over the number of clusters k: where the curve bends, more clusters explain little
more. How far the other methods are above the optimum is drawn beside.

The input is a matrix of intensities from 0 to 1, a line for each row of the image, no header.

    python examples/compare_methods.py image.csv [FOLDER]      leaves compare_methods.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import fastseg

if len(sys.argv) < 2:
    sys.exit("usage: python compare_methods.py image.csv [FOLDER]")
path = Path(sys.argv[1])
folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".")
ks = range(2, 11)

optimum = fastseg.scan(path, ks, method="optimal")
start = fastseg.scan(path, ks, method="lloyd", n_init=1, random_state=0)
tree = fastseg.segment(path, 2, method="ward").tree
curves = {
    "global optimum": optimum.inertia,
    "k-means++, one start": start.inertia,
    "Ward's tree": [tree.inertia(k) for k in ks],
}
print(optimum.reason)

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
left.axvline(optimum.best, color="gray", linestyle="--", linewidth=1)
# The optimum in large, for others lie on it.
for (name, inertia), mark, size in zip(curves.items(), "os^", (10, 5, 5), strict=True):
    left.plot(ks, inertia, mark + "-", label=name, markersize=size)
    right.plot(ks, 100 * (inertia / optimum.inertia - 1), mark + "-", label=name, markersize=size)
left.set(title=f"scree plot, elbow at k = {optimum.best}", ylabel="inertia")
right.set(title="above the optimum", ylabel="%")
for ax in (left, right):
    ax.set(xlabel="number of clusters k", ylim=(0, None))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "compare_methods.png", dpi=100)

# All methods there are, for one k. The adjusted Rand index is 1 for the same clusters as the
# best method's, and about 0 for clusters that have nothing to do with them.
compared = fastseg.compare(path, optimum.best, random_state=0)
for row, agreement in zip(compared.rows, compared.agreement[compared.best], strict=True):
    print(f"{row.name}: inertia {row.result.inertia:.4f}, adjusted Rand {agreement:.4f}")
