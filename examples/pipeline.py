"""Clusters as features: fastseg inside a scikit-learn pipeline.

A linear classifier sees of a handwritten digit its 64 pixels. k-means in front of it turns them
into distances to k typical digits, in which the classes lie more apart. How many there should be
is found like any other parameter, by cross-validation in a grid search. Of the numbers tried here
the largest wins; more gain little (0.979 right in validation with 100, 0.987 with 300).

    python examples/pipeline.py [FOLDER]      leaves pipeline.png in FOLDER
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastseg import KMeans

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)

alone = make_pipeline(StandardScaler(), RidgeClassifier()).fit(X, y)
clustered = make_pipeline(KMeans(random_state=0), StandardScaler(), RidgeClassifier())
search = GridSearchCV(clustered, {"kmeans__n_clusters": [10, 20, 30, 50, 75, 100]}, cv=3).fit(X, y)

best = search.best_params_["kmeans__n_clusters"]
score, score_alone = search.score(X_test, y_test), alone.score(X_test, y_test)
print(f"the classifier alone: {score_alone:.3f} of the test's digits right")
print(f"behind k-means with k = {best}: {score:.3f}")

figure = plt.figure(figsize=(11.5, 4.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
ax = left.subplots()
ks, validated = (search.cv_results_[n] for n in ("param_kmeans__n_clusters", "mean_test_score"))
ax.plot(ks, validated, "o-", label="in validation")
ax.plot(best, score, "*", color="C3", markersize=14, label=f"k = {best} in the test, {score:.3f}")
ax.axhline(score_alone, color="gray", linestyle="--", label=f"without k-means, {score_alone:.3f}")
ax.set(title="a linear classifier behind k-means", xlabel="number of clusters k")
ax.set_ylabel("share of digits right")
ax.legend(frameon=False)
ax.grid(alpha=0.3)
ax.spines[["top", "right"]].set_visible(False)

right.suptitle("forty of the centres: typical digits")
centers = search.best_estimator_["kmeans"].cluster_centers_
for ax, center in zip(right.subplots(5, 8).flat, centers, strict=False):
    ax.imshow(center.reshape(8, 8), cmap="gray_r")
    ax.axis("off")
figure.savefig(folder / "pipeline.png", dpi=100)
