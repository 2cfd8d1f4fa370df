"""The demonstration: a photograph, its drawing, and the same job in scikit-learn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np

from ..estimators.counterpart import counterpart
from ..io import StrPath, atomic_write
from ..pictures.side_by_side import side_by_side
from ..pipeline import segment
from ..segmentation import Segmentation
from .jobs import ImageJob
from .source import Source

_REPEATS = 5


def photograph() -> Source:
    """Find the photograph that scikit-learn ships."""
    return Source(str(resources.files("sklearn.datasets.images").joinpath("china.jpg")))


def draw(job: ImageJob, path: StrPath, *, overwrite: bool) -> None:
    """Draw original, segmentation and palette side by side into a PNG file."""
    n_pixels = int(job.counts.sum())
    shares = [int(count) / n_pixels for count in job.counts]
    picture = side_by_side(
        job.image.pixels,
        job.colors[job.labels],
        list(zip(job.cluster_colors, shares, strict=True)),
        title=f"china.jpg in {len(shares)} colours",
        subtitle=f"fastseg, k-means, {job.model.n_iter} iterations",
    )
    with atomic_write(path, overwrite=overwrite) as file:
        picture.save(file, format="PNG")


def compare(job: ImageJob) -> list[str]:
    """Do the job of a segmentation in scikit-learn, and say how the two compare.

    Both start from the same centres, those of the segmentation moved off ties, and are
    warm: compiled, with their thread pools up. scikit-learn is given the pixels as
    float64, so that it computes the same; making them is not timed.
    """
    result = job.model
    assert isinstance(result, Segmentation)
    k = result.n_clusters
    # Starts are pixels, whole numbers, to which others can be equally near: there rounding
    # would decide, which differs between the two. A fraction of a level moves them off.
    shift = np.random.default_rng(0).random(result.centers.shape)
    start = np.asarray(result.init_centers) + shift / 2
    points = job.image.pixels.reshape(-1, result.n_channels).astype(np.float64)

    def ours() -> Segmentation:
        return segment(job.image, k, init=start, method="lloyd")

    def theirs() -> Any:
        return counterpart("KMeans")(k, init=start, n_init=1).fit(points)

    fitted, estimator = ours(), theirs()
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(_REPEATS)]
    seconds, their_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(slow / fast for fast, slow in pairs)
    distances = ((estimator.cluster_centers_[:, None] - fitted.centers) ** 2).sum(axis=2)
    same_order = distances.argmin(axis=1)  # label order: of each of their clusters
    equal = same_order[estimator.labels_] + fitted.start_label == fitted.labels.ravel()
    lines = [
        f"equal labels: {100 * equal.mean():.6g} % of {equal.size:,} pixels",
        f"iterations: {fitted.n_iter} here, {estimator.n_iter_} in scikit-learn",
        f"time: {seconds:.3g} s here, {their_seconds:.3g} s in scikit-learn "
        f"(median of {_REPEATS}, both warm)",
        f"ratio: {statistics.median(ratios):.1f} times as fast as scikit-learn "
        f"({ratios[0]:.1f} to {ratios[-1]:.1f})",
    ]
    if job.seconds["segment"] > 3 * seconds:
        lines.append(
            f"the run above took {job.seconds['segment']:.3g} s because its kernels had to be "
            "compiled (once per machine) or loaded (once per process)"
        )
    return lines


def _seconds(work: Callable[[], object]) -> float:
    # OpenMP's threads spin for a while after their work, on cores the other needs.
    time.sleep(0.2)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
