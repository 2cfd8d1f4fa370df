"""From Zarr to Zarr by the workers of a Dask cluster, which alone read and write pixels.

Every worker has the image and the labels on its disks under the names they have here. A task
fills whole chunks, or shards, so that no two write to one file.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..fitting import Asked
from ..foreground import check_foreground
from ..io import StrPath, check_labels, check_output
from ..io.atomic import atomic_write, remove_late
from ..io.chunked import Region, cut, regions
from ..io.opening import create_labels, reader_of
from ..io.zarr_store import is_zarr
from ..io.zarr_target import is_target
from ..io.zarr_writer import ZarrWriter
from ..kernels.backend import Array
from ..labelling import choose_start_label
from ..matching import Forward
from ..model import Model
from ..model_file import model_text
from ..pixels import Pixels
from ..progress import Clock, Progress
from ..segmentation import FileLabels, FileSegmentation
from ..streaming.labels import label_plan
from ..streaming.options import FileOptions, Paths, opened, paths_of
from ..streaming.reading import Reading
from .cluster import Cluster, check_backend
from .fit import fit_source
from .images import Source
from .labels import LabelRule
from .predict import look

# Bytes of pixels that a task reads: some hundred milliseconds of work, some times that memory.
_TASK_BYTES = 2**25
# Seconds to wait for a scheduler, and for a first worker.
_PATIENCE = 30


def segment_zarr(
    path: Paths,
    output: StrPath,
    asked: Asked,
    *,
    mask: StrPath | None,
    nodata: float | None,
    foreground: str | None,
    start_label: int | None,
    model: StrPath | None,
    options: FileOptions,
    backend: str,
    n_threads: int | None,
    progress: Progress,
    clock: Clock,
) -> FileSegmentation:
    """Segment a Zarr image where the workers are, see `segment_file`."""
    check_backend(backend)
    if model is not None:
        check_output(model, options.overwrite, (".json",), paths_of(path))
    with _on_workers(path, output, mask, nodata, options) as (stored, cluster):
        reading, source = stored.reading, _source(stored)
        image = reading.images[0]
        task = asked.of(reading.units, reading.n_channels)
        check_foreground(foreground, reading.n_channels)
        first = choose_start_label(start_label, reading.may_leave_out, 0)
        check_labels(output, task.n_most + first, image.grid)
        clock.stop("open")
        fit = fit_source(
            task, source, cluster, foreground=foreground, n_threads=n_threads, progress=progress,
            clock=clock,
        )  # fmt: skip
        first = choose_start_label(start_label, fit.may_leave_out, fit.n_left_out)
        fitted = fit.fitted
        result = FileSegmentation(
            **fitted.fields(),
            dtype=reading.units.name,
            channel_axis=image.channel_axis,
            start_label=first,
            color_space=asked.color_space,
            fixed_start=start_label is not None,
            n_left_out=fit.n_left_out,
            backend="cpu",
            reason=f"asked for: the workers of {options.dask}",
            seconds=clock.seconds,
            foreground=fit.foreground,
            output=os.fspath(output),
            grid=image.grid,
            stored_dtype=image.dtype.name,
            geometry=image.geometry,
            n_pixels=image.n_pixels,
            skipped={},
            n_passes=2 if fit.values is not None else 3,
            n_sampled=None,
            notes=image.notes,
        )
        rule = LabelRule(
            fitted.space_centers, first, Forward(fitted.space), fit.foreground,
            fit.table(first, progress), n_threads or 1,
        )  # fmt: skip
        clock.stop("fit")
        del fit
        _write(result, rule, stored, cluster, output, options, progress, save_model=model)
        clock.stop("labels")
    return result


def predict_zarr(
    model: Model,
    path: Paths,
    output: StrPath,
    *,
    mask: StrPath | None,
    nodata: float | None,
    foreground: str | None,
    match: str | None,
    allow_dtype: bool,
    options: FileOptions,
    backend: str,
    n_threads: int | None,
    progress: Progress,
    clock: Clock,
) -> FileLabels:
    """Label a Zarr image where the workers are, see `predict_file`."""
    check_backend(backend)
    with _on_workers(path, output, mask, nodata, options) as (stored, cluster):
        reading, source = stored.reading, _source(stored)
        image = reading.images[0]
        model.check_image(reading.units, reading.n_channels, allow_dtype or match is not None)
        check_labels(output, model.n_clusters + model.start_label, image.grid)
        clock.stop("open")
        seen = look(
            source, cluster, foreground, match, model.profile, progress, n_threads=n_threads,
            for_nan=model.start_label == 0 and not model.fixed_start,
        )  # fmt: skip
        clock.stop("count")
        first = model.first_label(seen.may_leave_out, 0)
        rule = LabelRule(
            model.space_centers, first, Forward(model.space, seen.fit), seen.foreground,
            n_threads=n_threads or 1,
        )  # fmt: skip
        counts = _write(model, rule, stored, cluster, output, options, progress)
        clock.stop("labels")
        return FileLabels(
            output=os.fspath(output),
            grid=image.grid,
            dtype=image.dtype.name,
            geometry=image.geometry,
            counts=counts,
            start_label=first,
            n_left_out=image.n_pixels - int(counts.sum()),
            backend="cpu",
            reason=f"asked for: the workers of {options.dask}",
            seconds=clock.seconds,
            skipped={},
            n_passes=1 + seen.n_passes,
            foreground=seen.foreground,
            match=match,
            notes=image.notes,
        )


@dataclass(frozen=True)
class _Stored:
    """An image, and its mask, in folders that all workers see."""

    reading: Reading
    folders: tuple[str, ...]

    def pixels(self, region: Region) -> Pixels:
        """Pixels of a region, on a worker."""
        for folder in self.folders:
            _check_seen(folder)
        return self.reading.read(0, region).pixels


@contextlib.contextmanager
def _on_workers(
    path: Paths, output: StrPath, mask: StrPath | None, nodata: float | None, options: FileOptions
) -> Iterator[tuple[_Stored, Cluster]]:
    """Open the headers of the images here, and connect to the scheduler."""
    given = [os.fspath(each) for each in paths_of(path)]
    masks = [] if mask is None else [os.fspath(mask)]
    options.check([output], [*given, *masks])
    _check_options(options)
    for name in (*given, *masks):
        if os.path.exists(name) and reader_of(name, options.part) != "zarr_chunks":
            raise ValueError(
                f"{name}: is not Zarr, which alone is read by Dask workers; convert it, or leave"
                " --dask out"
            )
    if not is_target(os.fspath(output)):
        raise ValueError(
            f"{os.fspath(output)}: Dask workers write Zarr alone; write .zarr or .ome.zarr, or"
            " leave --dask out"
        )
    # Workers may have started elsewhere.
    whole = [os.path.abspath(name) for name in given]
    hiding = None if mask is None else os.path.abspath(mask)
    with opened([whole], [hiding], nodata, options, 1) as (reading, _), _client(options) as client:
        folders = whole if hiding is None else [*whole, hiding]
        yield _Stored(reading, tuple(folders)), Cluster(client)


def _check_options(options: FileOptions) -> None:
    asked = {
        "on_error": options.on_error if options.on_error != "raise" else None,
        "preview": options.preview,
        "memory": options.memory,
    }
    for name, value in asked.items():
        if value is not None:
            option = name.replace("_", "-")
            raise ValueError(
                f"{name}={value!r} (--{option}) has no meaning with dask (--dask); leave one of"
                " the two out"
            )


@contextlib.contextmanager
def _client(options: FileOptions) -> Iterator[Any]:
    """Connection to the scheduler, which has a worker."""
    try:
        from distributed import Client
        from distributed import TimeoutError as Late
        from distributed.comm import parse_address, parse_host_port
        from distributed.comm.registry import get_backend
    except ImportError as error:
        raise ImportError(
            '--dask needs the package distributed: pip install "fastseg[dask]"'
        ) from error
    address = options.dask
    try:
        # A client that cannot connect takes minutes to give up; of a wrong scheme it never ends.
        scheme, place = parse_address(address)
        get_backend(scheme)
        where = parse_host_port(place)
        socket.create_connection(where, timeout=_PATIENCE).close()
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, Late) as error:
        raise OSError(
            f"dask={address!r} (--dask): no scheduler answers there"
            f" ({' '.join(str(error).split())}); start one with 'dask scheduler', and give the"
            " address that it prints"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except Late as error:
            raise OSError(
                f"dask={address!r} (--dask): the scheduler has no workers; start some with"
                f" 'dask worker {address}'"
            ) from error
        yield client


def _source(stored: _Stored) -> Source:
    reading, image = stored.reading, stored.reading.images[0]
    step = cut(
        image.grid, (1,) * len(image.grid), image.block, image.pixel_bytes, _TASK_BYTES
    )  # fmt: skip
    parts = regions(image.grid, step)
    return Source(
        [(region,) for region in parts], parts, stored.pixels, image.grid,
        reading.stored, reading.n_channels, reading.may_leave_out, reading.stored.kind == "f",
    )  # fmt: skip


def _check_seen(folder: str) -> None:
    # Chunks that are not there would be read as empty ones.
    if not os.path.isdir(folder):
        raise OSError(
            f"{folder}: the worker on {socket.gethostname()} sees no such folder; --dask needs"
            " disks that this machine and all workers see by the same names"
        )


def _write(
    model: Model,
    rule: LabelRule,
    stored: _Stored,
    cluster: Cluster,
    output: StrPath,
    options: FileOptions,
    progress: Progress,
    *,
    save_model: StrPath | None = None,
) -> Array:
    """Label and write where the workers are; returns the pixels of each cluster."""
    image, first = stored.reading.images[0], rule.first_label
    n = image.n_pixels
    plan = label_plan(image, model, first, options)
    beat = progress.heartbeat_at("labels")
    progress.report("labels", 0, n)
    whole = os.path.abspath(output)
    beside: Any = contextlib.nullcontext()
    if save_model is not None:
        beside = atomic_write(save_model, overwrite=options.overwrite)
    with beside as saved, create_labels(whole, plan, overwrite=options.overwrite) as writer:
        assert isinstance(writer, ZarrWriter)
        step = cut(image.grid, writer.block, image.block, image.pixel_bytes, _TASK_BYTES)
        parts = [(region,) for region in regions(image.grid, step)]
        counts: Array = cluster.reduce(
            parts, _label_region, sum, stored, rule, writer,
            tick=lambda done, tasks: beat(done * n // tasks, n),
        )  # fmt: skip
        progress.report("labels", n, n)
        for level, smaller in enumerate(writer.smaller()):
            shrunk = [(region,) for region in smaller]
            cluster.reduce(shrunk, _shrink_region, all, writer, level)
        if saved is not None:  # appears right after the labels
            saved.write(model_text(model))
            saved.flush()
    return counts[first:]


def _label_region(region: Region, stored: _Stored, rule: LabelRule, writer: ZarrWriter) -> Array:
    """Write the labels of a region; returns the pixels of each label."""
    _check_seen(writer.folder)
    labels = rule.label(stored.pixels(region))
    writer.encode(region, labels)
    if not is_zarr(writer.folder):  # the run was stopped meanwhile
        remove_late(writer.folder)
    return np.bincount(labels.reshape(-1), minlength=rule.first_label + len(rule.centers))


def _shrink_region(region: Region, writer: ZarrWriter, level: int) -> bool:
    writer.shrink(level, region)
    return True
