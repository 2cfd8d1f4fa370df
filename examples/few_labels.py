"""A classifier from fifty labels: label what stands for many.

Labels cost work. Fifty digits drawn at random teach a classifier less than the fifty that lie
nearest the centres of fifty clusters; and their labels can be given to the whole cluster, or to
the part of it near the centre, where they are most often right.

The method is Géron's (Hands-On Machine Learning, 3rd edition, 2022, chapter 9).

    python examples/few_labels.py [FOLDER]      leaves few_labels.png in FOLDER
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastseg import KMeans
from fastseg.semi_supervised import propagate, representatives

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)


def score(samples, labels):
    """Share of the test's digits that a classifier gets right when it learns from these."""
    model = make_pipeline(StandardScaler(), RidgeClassifier())
    return model.fit(samples, labels).score(X_test, y_test)


kmeans = KMeans(50, n_init=10, random_state=0).fit(X)
chosen = representatives(X, kmeans)
by_hand = y[chosen]  # what a person would say about these fifty pictures
everywhere = propagate(by_hand, kmeans, X)
near = propagate(by_hand, kmeans, X, percentile=50)
kept = near != -1  # the rest stays without a label
drawn = np.random.default_rng(0).choice(len(X), 50, replace=False)

scores = {
    "50 at random": score(X[drawn], y[drawn]),
    "50 representatives": score(X[chosen], by_hand),
    "their labels, everywhere": score(X, everywhere),
    "their labels, nearest half": score(X[kept], near[kept]),
    f"all {len(X):,} labels": score(X, y),
}
for name, share in scores.items():
    print(f"{name}: {share:.3f}")
print(f"propagated labels right: {np.mean(everywhere == y):.3f}, ", end="")
print(f"in the nearest half: {np.mean(near[kept] == y[kept]):.3f}")

figure = plt.figure(figsize=(12, 4.4), layout="constrained")
left, right = figure.subfigures(1, 2)
left.suptitle("the fifty to label, one for each cluster")
for ax, index in zip(left.subplots(5, 10).flat, chosen, strict=True):
    ax.imshow(X[index].reshape(8, 8), cmap="gray_r")
    ax.axis("off")
ax = right.subplots()
bars = ax.barh(list(scores), list(scores.values()), color=["C3", "C0", "C0", "C0", "gray"])
ax.bar_label(bars, fmt=" {:.3f}")
ax.set(title="share of the test's digits right", xlim=(0, 1.1))
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "few_labels.png", dpi=100)
