"""Choosing the number of clusters: an image scanned over several of them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .color import color_space as find_color_space
from .color import label_order
from .dispatch import choose_backend
from .foreground import keep_foreground
from .init_centers import check_random_state
from .kernels.backend import FloatArray, Problem
from .methods import DEFAULT_INIT
from .parameters import check_parameters
from .pictures.drawing import check_plot, new_figure, require_matplotlib, save_figure
from .pixels import as_pixels
from .progress import Callback, Progress
from .standardizing import Standardized, check_standardize, moments
from .summary import check_distinct, count_pixels
from .sweep import AUTO_RANGE, check_named_init, choose, solve_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        the own centre and b that to the next; NaN for k = 1.
    calinski_harabasz : ndarray of shape (n_ks,), float64
        Variance between the clusters over that within, each by its degrees of
        freedom; NaN for k = 1, infinite where no cluster has two different pixels.
    elbow : int or None
        The k at the knee of the inertia over this range of k, None where there is none.
    best : int
        The k to choose: the elbow, else the one of the largest silhouette.
    reason : str
        Why, in words.
    centers : dict of int to ndarray of shape (k, n_channels), float64
        Centres for each k in image units, in the order of the labels of `segment`.
    n_iter, converged : dict of int to int, dict of int to bool
        Iterations of the best run for each k, 0 for the global optimum, and whether it
        converged before ``max_iter``.
    method, color_space, backend : str
        How and where the clusters were found.
    n_pixels, n_left_out : int
        Pixels clustered, and left out.
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
    n_left_out: int

    def as_dict(self) -> dict[str, Any]:
        """Everything for strict JSON: lists along ``n_clusters``, None for what is not finite."""
        entries = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("inertia", "explained", "silhouette", "calinski_harabasz"):
            entries[name] = [x if math.isfinite(x) else None for x in entries[name].tolist()]
        for name in ("n_iter", "converged"):
            entries[name] = list(entries[name].values())
        entries["n_clusters"] = list(self.n_clusters)
        entries["centers"] = [centers.tolist() for centers in self.centers.values()]
        return entries

    def plot(self, path_or_ax: Any = None, *, overwrite: bool = False) -> Figure:
        """Draw a scree plot, the inertia against k, and below it the silhouettes.

        Parameters
        ----------
        path_or_ax : path, Axes or pair of Axes, optional
            File to write (.png, .svg or .pdf; it is whole or absent), or axes of
            matplotlib to draw in: one for the inertia, two for the silhouettes as well.
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
        path = path_or_ax if isinstance(path_or_ax, (str, os.PathLike)) else None
        if path is not None:
            check_plot(path, overwrite)
        if path is None and path_or_ax is not None:
            axes = np.ravel(np.asarray(path_or_ax, dtype=object))
        else:
            axes = new_figure(6.4, 7.2).subplots(2, sharex=True)
        self._draw(axes)
        figure: Figure = axes[0].figure
        if path is not None:
            save_figure(figure, path, overwrite=overwrite)
        return figure

    def _draw(self, axes: Any) -> None:
        here = self.n_clusters.index(self.best)
        mark = f"{'elbow' if self.best == self.elbow else 'chosen'}: k = {self.best}"
        curves = (("inertia", self.inertia), ("simplified silhouette", self.silhouette))
        for ax, (name, values) in zip(axes, curves, strict=False):
            ax.axvline(self.best, color="#c0392b", linestyle="--", linewidth=1)
            ax.plot(self.n_clusters, values, "o-", color="#1f4e79")
            ax.plot(self.best, values[here], "o", color="#c0392b", markersize=9, label=mark)
            ax.set(ylabel=name, xlabel="number of clusters k" if ax is axes[-1] else "")
            ax.grid(alpha=0.3)
            ax.spines[["top", "right"]].set_visible(False)
            if len(self.n_clusters) <= 20:
                ax.set_xticks(self.n_clusters)
        share = f"{100 * self.explained[here]:.1f} %"
        axes[0].set(ylim=(0, None), title=f"k = {self.best} explains {share} of the variance")
        axes[0].legend(frameon=False)


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
    foreground: str | None = None,
    channel_axis: Any = "auto",
    color_space: str = "rgb",
    standardize: bool = False,
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
) -> Scan:
    """Cluster an image into several numbers of clusters, to choose one of them.

    The pixels are counted once for all k; the rest is done on the distinct values.

    Parameters
    ----------
    image : array_like, path or Image
        Grey or multichannel image or volume, as for `segment`.
    n_clusters : iterable of int
        Numbers of clusters in any order, at most the number of distinct pixels.
    init : {"k-means++", "random"}
        Starting centres.
    random_state : int, RandomState, Generator or None
        Source of the draws. With an integer each k gets the clusters `segment` finds.
    method, n_init, max_iter, tol, mask, nodata, foreground, channel_axis, color_space, \
    standardize, backend, n_threads
        As for `segment`. The global optima of one channel are found for all k in one go.
    callback : callable, optional
        ``callback(stage, done, total, info)`` is called several times a second with the
        stage "count", then "scan" (numbers of clusters done, ``info`` telling the one
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
        If the best run for some k stopped at ``max_iter``.

    References
    ----------
    V. Satopää, J. Albrecht, D. Irwin, B. Raghavan, "Finding a 'Kneedle' in a haystack:
    detecting knee points in system behavior", ICDCS Workshops, 2011.
    E. R. Hruschka, L. N. de Castro, R. J. G. B. Campello, "Evolutionary algorithms for
    clustering gene-expression data", ICDM, 2004.
    L. Vendramin, R. J. G. B. Campello, E. R. Hruschka, "Relative clustering validity
    criteria: a comparative overview", Statistical Analysis and Data Mining 3, 2010.
    T. Caliński, J. Harabasz, "A dendrite method for cluster analysis", Communications
    in Statistics 3, 1974.
    """
    ks = _as_ks(n_clusters)
    check_named_init(init)
    progress = Progress(callback)
    check_standardize(standardize, color_space)
    pixels = as_pixels(image, channel_axis, mask, nodata)
    n, d = pixels.values.shape
    space = find_color_space(color_space, pixels.dtype, d)
    check_parameters(ks[-1], init, n_init, max_iter, tol, d)
    check_random_state(random_state)
    chosen = choose_backend(Problem(n, d, ks[-1], pixels.values.dtype.name), backend).backend
    pixels, _ = keep_foreground(pixels, foreground, chosen, n_threads=n_threads, progress=progress)
    n = len(pixels.values)
    values, weights, _ = count_pixels(pixels.values, chosen, n_threads=n_threads, progress=progress)
    values = pixels.in_units(values)
    if standardize:
        space = Standardized(moments=moments(values, weights))
    check_distinct(values, weights, ks[-1])
    method, rows = solve_all(
        values, weights, ks, method=method, space=space, init=init, n_init=n_init,
        max_iter=max_iter, tol=tol, random_state=random_state, backend=chosen,
        n_threads=n_threads, progress=progress,
    )  # fmt: skip
    elbow, best, reason = choose(ks, rows)
    inertia, explained, silhouette, index = np.array([row.measures for row in rows]).T
    return Scan(
        n_clusters=tuple(ks),
        inertia=inertia,
        explained=explained,
        silhouette=silhouette,
        calinski_harabasz=index,
        elbow=elbow,
        best=best,
        reason=reason,
        centers={k: _in_label_order(row.centers) for k, row in zip(ks, rows, strict=True)},
        n_iter={k: row.n_iter for k, row in zip(ks, rows, strict=True)},
        converged={k: row.converged for k, row in zip(ks, rows, strict=True)},
        method=method,
        color_space=color_space,
        backend=chosen.name,
        n_pixels=n,
        n_left_out=pixels.n_left_out,
    )


def _as_ks(n_clusters: Any) -> list[int]:
    """Numbers of clusters, ascending and each once."""
    if isinstance(n_clusters, (str, bytes)) or not isinstance(n_clusters, Iterable):
        raise TypeError(
            "n_clusters must be whole numbers of clusters, such as range(2, 11) or [2, 4, 8],"
            f" got {n_clusters!r}"
        )
    ks = list(n_clusters)
    if not ks:
        raise ValueError("n_clusters is empty; give numbers of clusters such as range(2, 11)")
    for k in ks:
        if isinstance(k, (bool, np.bool_)) or not isinstance(k, (int, np.integer)):
            raise TypeError(f"n_clusters must hold whole numbers, got {k!r}")
        if k < 1:
            raise ValueError(f"n_clusters must be at least 1, got {k}")
    return sorted({int(k) for k in ks})


def _in_label_order(centers: FloatArray) -> FloatArray:
    return np.ascontiguousarray(centers[label_order(centers)])
