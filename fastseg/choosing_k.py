"""Choosing the number of clusters: every k solved on one summary, and measured."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .color import ColorSpace
from .color import color_space as find_color_space
from .dispatch import choose_backend
from .io import atomic_write, check_output, read_image
from .kernels.backend import Array, Backend, FloatArray, Partials, Points, Problem, Tick
from .methods import DEFAULT_INIT, choose_method, mean_values
from .pixels import as_pixels
from .progress import Callback, Progress
from .solver import ConvergenceWarning, check_parameters, solve, tolerance
from .summary import distinct_up_to, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AUTO_RANGE = range(2, 11)  # what n_clusters="auto" scans
PLOT_SUFFIXES = (".pdf", ".png", ".svg")
_BLOCK = 2**13  # rows measured at once, whose distances stay in the cache


@dataclass(eq=False)
class Scan:
    """An image clustered into several numbers of clusters, and how good each is.

    Attributes
    ----------
    n_clusters : tuple of int
        Numbers of clusters k, ascending. The arrays go along with them.
    inertia : ndarray of shape (n_ks,), float64
        Sum of squared distances of the pixels to their centres.
    explained : ndarray of shape (n_ks,), float64
        Share 1 - inertia / total sum of squares about the mean.
    silhouette : ndarray of shape (n_ks,), float64
        Simplified silhouette: the pixels' mean of 1 - a / b, a being the distance to
        the own centre and b to the next; NaN for k = 1.
    calinski_harabasz : ndarray of shape (n_ks,), float64
        Variance between the clusters over that within, each by its degrees of
        freedom; NaN for k = 1, infinite where the clusters hold equal pixels only.
    elbow : int or None
        The k at the knee of the inertia, None where there is none.
    best : int
        The k chosen: the elbow, else the k of the largest silhouette.
    reason : str
        Why, in words.
    centers : dict of int to ndarray of shape (k, n_channels), float64
        Centres for each k in image units, ordered as `segment` orders labels.
    n_iter, converged : dict of int to int, to bool
        Iterations of the best run for each k (0 for the global optimum), and whether it
        converged before ``max_iter``.
    method, color_space, backend : str
        How and where the clusters were found.
    n_pixels, n_left_out : int
        Pixels clustered, and left out.
    seconds : dict of str to float
        Seconds spent in the stages count and scan.
    """

    n_clusters: tuple[int, ...]
    inertia: FloatArray
    explained: FloatArray
    silhouette: FloatArray
    calinski_harabasz: FloatArray
    elbow: int | None
    best: int
    reason: str
    centers: dict[int, FloatArray] = field(repr=False)
    n_iter: dict[int, int] = field(repr=False)
    converged: dict[int, bool] = field(repr=False)
    method: str
    color_space: str
    backend: str
    n_pixels: int
    n_left_out: int = 0
    seconds: dict[str, float] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for strict JSON: lists along ``n_clusters``, None for what is not finite."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    def plot(self, path_or_ax: Any = None, *, overwrite: bool = False) -> Figure:
        """Draw the inertia against k with the elbow marked (scree plot), and the silhouettes.

        Parameters
        ----------
        path_or_ax : path, Axes or pair of Axes, optional
            File to write (.png, .svg or .pdf; whole or absent), or matplotlib's axes to
            draw in: one for the inertia alone, two for the silhouettes as well.
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
        require_matplotlib()
        from matplotlib.figure import Figure

        if path_or_ax is not None and not isinstance(path_or_ax, (str, os.PathLike)):
            axes = np.atleast_1d(np.asarray(path_or_ax, dtype=object)).ravel()
            self._draw(axes)
            drawn: Figure = axes[0].figure
            return drawn
        if path_or_ax is not None:
            check_output(path_or_ax, overwrite, PLOT_SUFFIXES)
        figure = Figure(figsize=(6.4, 7.0), layout="constrained", dpi=120)
        self._draw(figure.subplots(2, sharex=True))
        if path_or_ax is not None:
            suffix = os.path.splitext(path_or_ax)[1].lower()
            with atomic_write(path_or_ax, overwrite=overwrite) as file:
                figure.savefig(file, format=suffix[1:])
        return figure

    def _draw(self, axes: Any) -> None:
        panels = (("inertia", self.inertia), ("simplified silhouette", self.silhouette))
        for ax, (name, values) in zip(axes, panels, strict=False):
            ax.plot(self.n_clusters, values, "o-", color="#1f4e79")
            ax.set_ylabel(name)
            ax.grid(alpha=0.3)
            ax.spines[["top", "right"]].set_visible(False)
            ax.axvline(self.best, color="#c0392b", linestyle="--", linewidth=1)
            here = self.n_clusters.index(self.best)
            mark = "elbow" if self.best == self.elbow else "chosen"
            ax.plot(self.best, values[here], "o", color="#c0392b", markersize=9,
                    label=f"{mark}: k = {self.best}")  # fmt: skip
            ax.xaxis.get_major_locator().set_params(integer=True)
        axes[0].set_ylim(bottom=0)
        axes[0].legend(frameon=False)
        axes[0].set_title(f"{self.explained[here]:.1%} of the variance explained by k = {self.best}")
        axes[-1].set_xlabel("number of clusters k")


def require_matplotlib() -> None:
    """Raise ImportError with the extra to install where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"drawing needs matplotlib ({error}); install it with: pip install 'fastseg[plot]'"
        ) from error


def scan(
    image: Any,
    n_clusters: Iterable[int] = AUTO_RANGE,
    *,
    method: str = "auto",
    init: str = DEFAULT_INIT,
    n_init: Any = "auto",
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: Any = None,
    mask: Any = None,
    nodata: float | None = None,
    channel_axis: Any = "auto",
    color_space: str = "rgb",
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
) -> Scan:
    """Cluster an image into several numbers of clusters, to choose one of them.

    The pixels are counted once for all k, and everything else is done on the counts.

    Parameters
    ----------
    image : array_like, path or Image
        Grey or multichannel image or volume, as for `segment`.
    n_clusters : iterable of int
        Numbers of clusters in any order, at most the number of distinct pixels.
    method : {"auto", "optimal", "lloyd"}
        As for `segment`; the global optima of one channel are found in one go.
    init : {"k-means++", "random"}
        Starting centres.
    random_state : int, RandomState, Generator or None
        Source of the draws; an integer gives each k the clusters `segment` finds with it.
    n_init, max_iter, tol, mask, nodata, channel_axis, color_space, backend, n_threads
        As for `segment`.
    callback : callable, optional
        ``callback(stage, done, total, info)`` is called several times a second with the
        stage "count", then "scan" (numbers of clusters done, ``info`` telling which is
        under way), and stops the work by returning True.

    Returns
    -------
    Scan
        Inertia, explained share and indices for each k, and the k to choose.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described or does not fit the image.
    OSError
        If a file cannot be read.
    Stopped
        If the callback returned True.

    Warns
    -----
    ConvergenceWarning
        If the best run of some k stopped at ``max_iter``.

    References
    ----------
    V. Satopää, J. Albrecht, D. Irwin, B. Raghavan, "Finding a 'Kneedle' in a haystack:
    detecting knee points in system behavior", ICDCS Workshops, 2011.
    E. R. Hruschka, L. N. de Castro, R. J. G. B. Campello, "Evolutionary algorithms for
    clustering gene-expression data", ICDM, 2004 (the simplified silhouette).
    L. Vendramin, R. J. G. B. Campello, E. R. Hruschka, "Relative clustering validity
    criteria: a comparative overview", Statistical Analysis and Data Mining 3, 2010.
    T. Caliński, J. Harabasz, "A dendrite method for cluster analysis", Communications
    in Statistics 3, 1974.
    """
    ks = _as_ks(n_clusters)
    progress = Progress(callback)
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    pixels = as_pixels(image, channel_axis, mask, nodata)
    n, d = pixels.values.shape
    space = find_color_space(color_space, pixels.dtype, d)
    chosen = choose_backend(Problem(n, d, ks[-1], pixels.values.dtype.name), backend).backend
    solver = _Solver(
        method=method, init=init, n_init=n_init, max_iter=max_iter, tol=tol,
        random_state=random_state, backend=chosen, n_threads=n_threads,
    )  # fmt: skip
    solver.check(ks[-1], d)
    start = time.perf_counter()
    summary = summarize(pixels.values, chosen, n_threads=n_threads, tick=progress.tick("count"))
    counted = time.perf_counter()
