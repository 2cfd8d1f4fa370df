"""Methods side by side on one image: inertia, sizes, agreement and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .array_libraries import axis_named, from_caller, like_image
from .color import label_order
from .dispatch import choose_backend
from .estimators.counterpart import counterpart
from .foreground import keep_foreground
from .io import Image, StrPath
from .kernels.backend import Backend, FloatArray, Problem
from .methods import mean_values
from .pictures.drawing import check_plot, new_figure, save_figure
from .pictures.views import draw_plane, label_colors, original, planes_of, segmented, spacing_of
from .pipeline import segment
from .pixels import Pixels, as_pixels, read_files
from .progress import Callback, Progress
from .segmentation import Segmentation
from .summary import summarize
from .validity import adjusted_rand
from .ward import MAX_VALUES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPARED = ("lloyd", "optimal", "ward", "sklearn")
_NAMES = {
    "lloyd": "k-means++",
    "optimal": "global optimum",
    "ward": "Ward",
    "sklearn": "scikit-learn",
}
# Longer runs are not repeated to take the compiling and loading of code out of their time.
_LONG = 30.0


@dataclass(frozen=True, eq=False)
class Compared:
    """What one method found.

    Attributes
    ----------
    method, name : str
        One of "lloyd", "optimal", "ward" and "sklearn", and what to call it.
    result : Segmentation
        Labels, centres, counts and inertia.
    seconds : float
        Time from the pixels in memory to the labels; of two runs the shorter, unless the
        first took more than five seconds.
    """

    method: str
    name: str
    result: Segmentation
    seconds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several methods found on one image.

    Attributes
    ----------
    rows : list of Compared
        One for each method.
    agreement : ndarray of shape (n_methods, n_methods), float64
        Adjusted Rand index of each two: 1 for equal clusters, about 0 for independent ones.
    best : int
        Index of the row with the lowest inertia, of equal ones that of the global optimum
        or the first.
    """

    rows: list[Compared]
    agreement: FloatArray
    best: int
    _pixels: Pixels = field(repr=False)
    _variance: float = field(repr=False)
    _spacing: Sequence[float] | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the labels, for strict JSON."""
        first = self.rows[0].result
        rows = [
            {
                "method": row.method,
                "name": row.name,
                "inertia": row.result.inertia,
                "sizes": row.result.counts.tolist(),
                "centers": row.result.centers.tolist(),
                "n_iter": row.result.n_iter,
                "seconds": round(row.seconds, 6),
            }
            for row in self.rows
        ]
        return {
            "n_clusters": first.n_clusters,
            "color_space": first.color_space,
            "n_pixels": int(first.counts.sum()),
            "n_left_out": first.n_left_out,
            "methods": rows,
            "adjusted_rand": self.agreement.tolist(),
            "best": self.rows[self.best].method,
        }

    def excess(self, row: Compared) -> float:
        """By which share the inertia of a row is above the lowest."""
        lowest = self.rows[self.best].result.inertia
        away = row.result.inertia - lowest
        # What is left of every pixel being a cluster is rounding.
        return away / lowest if away > 1e-12 * self._variance else 0.0

    def plot(self, path: StrPath | None = None, *, overwrite: bool = False) -> Figure:
        """Draw the image, of a volume a slice, and its clusters by each method.

        Parameters
        ----------
        path : path, optional
            File to write: .png, .svg or .pdf. It is whole or absent.
        overwrite : bool
            Whether an existing file may be replaced.

        Returns
        -------
        matplotlib.figure.Figure
            The drawing.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        OSError, ValueError
            If the file cannot be written.
        """
        if path is not None:
            check_plot(path, overwrite)
        planes = planes_of(
            self._pixels.grid, self._pixels.kept, self._spacing, stood_up=self._spacing is not None
        )
        plane = max(planes, key=lambda plane: plane.shape[0] * plane.shape[1])
        n_panels = len(self.rows) + 1
        n_columns = n_panels if n_panels < 4 else -(-n_panels // 2)
        n_rows = -(-n_panels // n_columns)
        height = float(np.clip(4.6 / plane.drawn_ratio, 1.5, 6.0)) + 0.6
        figure = new_figure(4.6 * n_columns, height * n_rows)
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        title = ", ".join(filter(None, ["original", plane.title]))
        draw_plane(axes[0], original(self._pixels, plane), plane, title)
        for ax, row, index in zip(axes[1:], self.rows, self.agreement[self.best], strict=False):
            picture = segmented(row.result, label_colors(row.result), plane)
            facts = f"inertia {row.result.inertia:.6g}, the lowest"
            if row is not self.rows[self.best]:
                more = f"+{100 * self.excess(row):.2f} %"
                facts = f"inertia {row.result.inertia:.6g} ({more}), adjusted Rand {index:.3f}"
            draw_plane(ax, picture, plane, f"{row.name}, {row.seconds:.3g} s\n{facts}")
        for ax in axes[n_panels:]:
            ax.axis("off")
        if path is not None:
            save_figure(figure, path, overwrite=overwrite)
        return figure


def compare(
    image: Any,
    n_clusters: Any = 8,
    *,
    methods: Sequence[str] | None = None,
    prototypes: int = 1024,
    random_state: int | None = None,
    mask: Any = None,
    nodata: float | None = None,
    foreground: str | None = None,
    channel_axis: Any = "auto",
    color_space: str = "rgb",
    standardize: bool = False,
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
) -> Comparison:
    """Cluster an image by several methods, and compare what they find.

    Parameters
    ----------
    image : array_like, path or Image
        Grey or multichannel image or volume, as for `segment`.
    n_clusters : int
        Number of clusters, at most the number of distinct pixels.
    methods : sequence of {"lloyd", "optimal", "ward", "sklearn"}, optional
        What to compare: k-means from k-means++ starts, the global optimum of one channel,
        Ward's tree, and scikit-learn's KMeans on every pixel in float64. By default all
        that there are for the image.
    prototypes : int
        Ward's tree is that of so many colours where there are more than 20,000.
    random_state : int, optional
        Seed of the draws.
    mask, nodata, foreground, channel_axis, color_space, standardize, backend, n_threads
        As for `segment`; scikit-learn takes the threads it finds.
    callback : callable, optional
        As for `segment`, and called with the stage "sklearn" before that starts, which
        cannot be stopped.

    Returns
    -------
    Comparison
        Results, agreement and time of each method.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described or does not fit the image.
    OSError
        If a file cannot be read.
    Stopped
        If the callback returned True.

    References
    ----------
    L. Hubert, P. Arabie, "Comparing partitions", Journal of Classification 2, 1985.
    """
    if isinstance(n_clusters, str):
        raise ValueError(f"n_clusters must be a number to compare methods, got {n_clusters!r}")
    # Read and drawn once, so that methods and their repeated runs get the same.
    image, mask = read_files(image, mask)
    channel_axis, mask = axis_named(image, channel_axis), like_image(mask, image)
    image, _ = from_caller(image, "image")
    if random_state is None:
        random_state = int(np.random.default_rng().integers(2**31))
    pixels = as_pixels(image, channel_axis, mask, nodata).upright()
    several = pixels.values.shape[1] > 1
    chosen = _chosen(methods, several)
    counting = _backend_for(pixels, backend)
    pixels, _ = keep_foreground(
        pixels, foreground, counting, n_threads=n_threads, progress=Progress(callback)
    )

    def run(method: str, prototypes: int | None = None) -> Segmentation:
        return segment(
            image, n_clusters, method=method, prototypes=prototypes, random_state=random_state,
            mask=mask, nodata=nodata, foreground=foreground, channel_axis=channel_axis,
            color_space=color_space, standardize=standardize, backend=backend,
            n_threads=n_threads, callback=callback,
        )  # fmt: skip

    rows: list[Compared] = []
    for method in chosen:
        name = _NAMES[method]
        if method == "sklearn":
            like = rows[0].result if rows else run("auto")
            Progress(callback).report("sklearn", 0, 1)
            rows.append(Compared(method, name, *_timed(_sklearn, pixels, like, random_state)))
        elif method == "ward" and several and _too_many(pixels, counting, n_threads):
            name = f"Ward of {prototypes:,} prototypes"
            rows.append(Compared(method, name, *_timed(run, method, prototypes)))
        else:
            rows.append(Compared(method, name, *_timed(run, method)))
    labels = [row.result.labels.ravel() for row in rows]
    if pixels.kept is not None:
        labels = [each[pixels.kept.ravel()] for each in labels]
    agreement = np.array([[adjusted_rand(a, b) for b in labels] for a in labels])
    geometry = image.geometry if isinstance(image, Image) else None
    spacing = None if geometry is None else spacing_of(geometry, len(pixels.grid))
    variance = float(pixels.values.astype(np.float64).var(axis=0).sum() * len(pixels.values))
    return Comparison(rows, agreement, _best(rows), pixels, variance, spacing)


def check_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """Methods to compare, each once.

    Raises
    ------
    ValueError, TypeError
        If there is none, or one that is not known.
    """
    if isinstance(methods, str):
        raise TypeError(f"methods must be a sequence such as ['lloyd', 'ward'], got {methods!r}")
    for method in methods:
        if method not in COMPARED:
            listed = ", ".join(COMPARED)
            raise ValueError(f"methods must be some of {listed}, got {method!r}")
    if not methods:
        raise ValueError(f"methods is empty; give some of {', '.join(COMPARED)}")
    return tuple(dict.fromkeys(methods))


def _chosen(methods: Sequence[str] | None, several: bool) -> tuple[str, ...]:
    if methods is None:
        return tuple(method for method in COMPARED if method != "optimal" or not several)
    return check_methods(methods)


def _best(rows: list[Compared]) -> int:
    # Equal clusters can differ in rounding.
    limit = min(row.result.inertia for row in rows) * (1 + 1e-12)
    lowest = [i for i, row in enumerate(rows) if row.result.inertia <= limit]
    return next((i for i in lowest if rows[i].method == "optimal"), lowest[0])


def _backend_for(pixels: Pixels, backend: str) -> Backend:
    n, d = pixels.values.shape
    return choose_backend(Problem(n, d, 1, pixels.values.dtype.name), backend).backend


def _too_many(pixels: Pixels, backend: Backend, n_threads: int | None) -> bool:
    """Whether there are more distinct colours than Ward's tree is built of."""
    summary = summarize(pixels.values, backend, n_threads=n_threads)
    return summary is None or len(summary.values) > MAX_VALUES


def _sklearn(pixels: Pixels, like: Segmentation, random_state: int | None) -> Segmentation:
    """What scikit-learn finds on every pixel, in the form of another result."""
    k = like.n_clusters
    inside = like.space.forward(pixels.values)
    fitted = counterpart("KMeans")(k, random_state=random_state).fit(inside.astype(np.float64))
    means = mean_values(pixels.values, None, fitted.labels_, k)
    order = label_order(means)
    labels = np.argsort(order)[fitted.labels_]
    return replace(
        like,
        method="sklearn",
        centers=means[order],
        space_centers=fitted.cluster_centers_[order],
        counts=np.bincount(labels, minlength=k),
        labels=pixels.to_grid((labels + like.start_label).astype(like.labels.dtype)),
        inertia=float(fitted.inertia_),
        n_iter=int(fitted.n_iter_),
        converged=bool(fitted.n_iter_ < fitted.max_iter),
        tree=None,
        init_centers=None,
    )


def _timed(work: Callable[..., Segmentation], *arguments: Any) -> tuple[Segmentation, float]:
    """Result of some work, and its time: of two runs the shorter, of long ones the only."""
    times: list[float] = []
    while len(times) < 2 and sum(times) <= _LONG:
        start = time.perf_counter()
        result = work(*arguments)
        times.append(time.perf_counter() - start)
    return result, min(times)
