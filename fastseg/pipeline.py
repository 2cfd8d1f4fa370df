"""The pipeline, top to bottom: image -> pixels -> summary -> solver -> labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .arrays import is_lazy
from .dispatch import choose_backend
from .fitting import Asked, fit_clusters
from .foreground import keep_foreground
from .kernels.backend import Problem
from .labelling import choose_start_label, label_pixels
from .methods import DEFAULT_INIT
from .pixels import as_pixels, axis_rule
from .progress import Callback, Clock, Progress
from .resident import refuse_there
from .segmentation import Segmentation
from .summary import count_pixels


def segment(
    image: Any,
    n_clusters: int | str = 8,
    *,
    method: str = "auto",
    init: Any = DEFAULT_INIT,
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
    start_label: int | None = None,
    names: Sequence[str] | None = None,
    keep_profile: bool = False,
    prototypes: int | None = None,
    backend: str = "auto",
    n_threads: int | None = None,
    callback: Callback | None = None,
) -> Segmentation:
    """Segment an image or volume by clustering its pixels.

    Parameters
    ----------
    image : array_like, DataArray, path, sequence of paths or Image
        Grey or multichannel image or volume. uint8, uint16, int16, float32 and
        float64 are computed on as they are, arrays of other libraries in place (by
        DLPack). Of a file, alpha 0 is left out; the files of a sequence are the
        channels of one image. A dask array is read where Dask computes and never held at
        once; the labels are one too, not computed yet.
    n_clusters : int or "auto"
        Number of clusters, at most the number of distinct pixels. "auto" chooses one
        from 2 to 10 as `scan` does, and the result says why.
    method : {"auto", "optimal", "lloyd", "ward"}
        How to find the clusters. "optimal" is the global optimum of one channel,
        "lloyd" a local one by Lloyd's iterations. "auto" takes the optimum for one
        channel unless ``init``, ``n_init``, ``max_iter`` or ``tol`` is given or it
        would take seconds; the result says which it was. "ward" cuts Ward's tree of
        the pixels, R's "ward.D2": of one channel, or of up to 20,000 distinct colours.
    init : {"k-means++", "random"} or array_like of shape (n_clusters, n_channels)
        Starting centres.
    n_init : int or "auto"
        Runs from different starts, of which the best is kept. "auto" is 1 for
        k-means++ and given centres, 10 for random ones.
    max_iter : int
        Iterations of a run at most.
    tol : float
        A run stops when the squared shift of the centres is at most ``tol`` times the
        mean variance of the channels over the pixels.
    random_state : int, RandomState, Generator or None
        Source of the draws.
    mask : array_like of the image's grid, optional
        Pixels to leave out are zero or False. So are the masked ones of a NumPy masked
        array.
    nodata : number, optional
        Pixels that have this value in all channels are left out. So are pixels
        with NaN in any channel, always.
    foreground : "auto", optional
        Leave out what is not brighter than Otsu's threshold, such as the air around a
        head. For one channel.
    channel_axis : "auto", int, str or None
        Axis of the channels, or the name of a DataArray's dimension. "auto" takes a
        two-dimensional array for grey, and the last of three or more axes for channels
        when it is at most 16 long; of a DataArray the dimension called "band", "channel"
        or "c". None: no channels, every element is a pixel.
    color_space : {"rgb", "lab", "oklab", "linear"}
        Space in which distances are taken: the image's own channels, whatever they
        are, or CIELAB, Oklab or linear light of an sRGB picture (uint8, uint16, or
        floats from 0 to 1).
    standardize : bool
        Take distances in channels of mean 0 and standard deviation 1, for channels on
        scales of their own, such as T1 and T2. Centres are given in image units.
    start_label : {0, 1}, optional
        Label of the first cluster. By default 0; and 1 where pixels can be left out
        (a mask, nodata or foreground is given, a file has alpha or is a medical volume,
        NaN or a masked value occurs), whose label is 0.
    names : sequence of str, optional
        Class of each cluster, in label order. The model keeps them.
    keep_profile : bool
        Keep the distribution of the values, for ``match`` in `Model.predict`; of one
        channel it is always kept.
    prototypes : int, optional
        With ``method="ward"``: where there are more distinct values than this, k-means
        with so many centres, and Ward's tree of those, weighted by their pixels.
    backend : str
        "auto" or one of `available_backends`.
    n_threads : int, optional
        Threads of the CPU backend; -1 or by default all that may be used.
    callback : callable, optional
        ``callback(stage, done, total, info)`` is called several times a second with
        the stage ("count", "scan" where k is chosen, "init", "iterations", "optimal",
        "tree" or "labels"), and stops the work by returning True. Iterations come with ``info``
        of inertia and shift, None in the first pass.

    Returns
    -------
    Segmentation
        Labels, centres and how they were found.

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
        If the best run stopped at ``max_iter``, or clusters were left without pixels.

    References
    ----------
    S. Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28, 1982.
    H. Wang, M. Song, "Ckmeans.1d.dp: optimal k-means clustering in one dimension by
    dynamic programming", The R Journal 3, 2011.
    J. H. Ward, "Hierarchical grouping to optimize an objective function", Journal of the
    American Statistical Association 58, 1963.

    Notes
    -----
    Memory beyond the image: labels of one or two bytes a pixel; for every distinct
    value some 50 bytes (95 in another colour space), and under 70 MB of tables;
    where pixels hardly repeat, 8 bytes a pixel for starts that are drawn; and a copy of
    the kept pixels where some are left out or the channels are not the last axis.
    """
    asked = Asked(
        n_clusters, method, init, n_init, max_iter, tol, random_state, color_space, standardize,
        names, keep_profile, prototypes,
    )  # fmt: skip
    asked.check()
    progress = Progress(callback)
    if is_lazy(image):
        from .dask.segment import segment_dask

        return segment_dask(
            asked, image, channel_axis=channel_axis, mask=mask, nodata=nodata,
            foreground=foreground, start_label=start_label, backend=backend, n_threads=n_threads,
            progress=progress,
        )  # fmt: skip
    pixels = as_pixels(image, channel_axis, mask, nodata, resident=True)
    refuse_there(pixels.values, foreground=foreground)
    task = asked.of(pixels.dtype, pixels.values.shape[1])
    choice = choose_backend(Problem.of(pixels.values, task.n_most), backend)

    clock = Clock()
    pixels, threshold = keep_foreground(
        pixels, foreground, choice.backend, n_threads=n_threads, progress=progress
    )
    first_label = choose_start_label(start_label, pixels.may_leave_out, pixels.n_left_out)
    stored, weights, counter = count_pixels(
        pixels.values, choice.backend, n_threads=n_threads, progress=progress
    )
    refuse_there(
        stored, color_space=color_space != "rgb", standardize=standardize,
        keep_profile=keep_profile, method=method == "ward", n_clusters=task.auto,
    )  # fmt: skip
    # Stored integers are counted and looked up as such; what is scaled, to float64, are
    # their distinct values alone, so that centres and labels are those of the scaled image.
    fitted = fit_clusters(
        task, pixels.in_units(stored), weights, backend=choice.backend, n_threads=n_threads,
        progress=progress, clock=clock,
    )  # fmt: skip
    table = None
    if counter is not None or fitted.partition is not None:
        table = fitted.table(first_label, progress)
    clock.stop("fit")
    fields, centers, space = fitted.fields(), fitted.space_centers, fitted.space
    # What the points take beside their values is not needed to look labels up.
    del fitted, weights
    labels = label_pixels(
        pixels, stored, counter, table, centers, first_label,
        forward=lambda part: space.forward(pixels.in_units(part)),
        backend=choice.backend, n_threads=n_threads, progress=progress,
    )  # fmt: skip
    clock.stop("labels")
    return Segmentation(
        **fields,
        dtype=pixels.dtype.name,
        channel_axis=pixels.channel_axis,
        start_label=first_label,
        color_space=color_space,
        axis_rule=axis_rule(channel_axis, pixels.channel_axis),
        fixed_start=start_label is not None,
        labels=pixels.result(labels),
        n_left_out=pixels.n_left_out,
        backend=choice.backend.name,
        reason=choice.reason,
        seconds=clock.seconds,
        foreground=threshold,
    )
