"""Labels of images that are read region by region, written as they come."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from ..class_names import label_names
from ..io import StrPath
from ..io.atomic import atomic_write, settle
from ..io.chunked import ChunkedImage, LabelPlan, LabelWriter, Region
from ..io.image import Legend
from ..io.opening import create_labels, writes_regions
from ..io.threads import Threads
from ..io.undisturbed import to_its_end
from ..kernels.backend import Array, Backend
from ..kernels.tasks import Task
from ..labelling import LabelsOf, choose_start_label, label_type, stored_type
from ..memory import MEBIBYTE
from ..model import Model
from ..model_file import model_text
from ..progress import Progress
from .options import FileOptions
from .preview import Preview
from .reading import Chunk, Reading


class _Tally:
    """Pixels of each label."""

    def __init__(self, backend: Backend, last: int, n_threads: int) -> None:
        self._n = last + 1
        self._dtype = np.dtype(label_type(last))
        self._counter = None
        if self._dtype.kind == "u":
            self._counter = backend.counter(self._dtype, 1, n_threads=n_threads)
        self._totals = np.zeros(self._n, np.int64)

    def add(self, labels: Array) -> None:
        """Count labels (n,)."""
        if self._counter is not None:
            self._counter.add(labels[:, None])
        else:
            self._totals += np.bincount(labels, minlength=self._n)

    def counts(self, first_label: int) -> Array:
        """Pixels of each cluster (n_clusters,) int64."""
        if self._counter is not None:
            values, counts = self._counter.distinct()
            self._totals[values[:, 0]] += counts
        return self._totals[first_label:]


def check_room(output: StrPath, n_most: int, reading: Reading) -> None:
    """Refuse a format that holds all labels until they are written, where they do not fit."""
    needed = reading.images[0].n_pixels * np.min_scalar_type(n_most).itemsize
    if needed > reading.room and not writes_regions(output):
        total = (needed + reading.budget - reading.room) // MEBIBYTE + 1
        raise ValueError(
            f"{os.fspath(output)}: labels of this format are held as a whole and take {total} MiB,"
            f" more than the memory of {reading.budget // MEBIBYTE} MiB; write .tif, .npy or .zarr,"
            f" or give more (--memory {total}MiB)"
        )


def label_plan(
    image: ChunkedImage, model: Model, first_label: int, options: FileOptions
) -> LabelPlan:
    """How the labels of an image are stored, and what they mean."""
    legend = Legend(
        model.palette(first_label), first_label == 1, label_names(model.names, first_label),
        image.geometry,
    )  # fmt: skip
    dtype = stored_type(first_label + model.n_clusters - 1)
    return LabelPlan(image.grid, dtype, legend, image, options.compression, options.pyramid)


@dataclass(frozen=True)
class Output:
    """Labels to be written: where, how, and what they mean."""

    path: StrPath
    options: FileOptions
    model: Model
    first_label: int
    backend: Backend

    def write(
        self,
        reading: Reading,
        threads: Threads,
        labels_of: LabelsOf,
        progress: Progress,
        *,
        counts: Array | None = None,
        save_model: StrPath | None = None,
    ) -> Array:
        """One pass that labels and writes; returns the pixels of each cluster, if need be counted.

        The model and the preview are whole before the labels appear, and appear right after.
        """
        image, model, first, options = reading.images[0], self.model, self.first_label, self.options
        last = first + model.n_clusters - 1
        plan = label_plan(image, model, first, options)
        tally = None if counts is not None else _Tally(self.backend, last, reading.n_threads)
        preview = None
        if options.preview is not None:
            preview = Preview(image.grid, image.n_channels, reading.units)

        def beside(path: StrPath | None) -> Any:
            if path is None:
                return contextlib.nullcontext()
            return atomic_write(path, overwrite=options.overwrite)

        with (
            beside(options.preview) as picture,
            beside(save_model) as saved,
            create_labels(self.path, plan, overwrite=options.overwrite) as writer,
        ):
            _Pass(writer, labels_of, first, plan.dtype, tally, preview).run(
                reading, threads, progress
            )
            writer.finish(progress.tick("pyramid"), reading.n_threads)
            if tally is not None:
                counts = tally.counts(first)
            assert counts is not None
            if preview is not None:
                self._draw(preview, picture, counts, image)
            if saved is not None:
                model.counts = counts
                saved.write(model_text(model))
                settle(saved)
        return counts

    def _draw(self, preview: Preview, file: BinaryIO, counts: Array, image: ChunkedImage) -> None:
        size = " x ".join(f"{n:,}" for n in reversed(image.grid))
        picture = preview.draw(
            self.model.palette(self.first_label), self.model.value_range, counts, self.first_label,
            os.path.basename(image.name), f"{size} pixels, {len(counts)} clusters",
        )  # fmt: skip
        to_its_end(lambda: picture.save(file, format="PNG"))
        settle(file)


@dataclass(frozen=True)
class _Pass:
    """One pass: read, label, encode in threads, write in the order of the image."""

    writer: LabelWriter
    labels_of: LabelsOf
    first_label: int
    dtype: np.dtype[Any]
    tally: _Tally | None
    preview: Preview | None

    def run(self, reading: Reading, threads: Threads, progress: Progress) -> None:
        encoding: deque[tuple[Region, Task[Any]]] = deque()
        try:
            for chunk in reading.chunks(threads, progress, "labels", self.writer.block):
                full = self._label(chunk)
                task = Task(partial(self.writer.encode, chunk.region, full))
                encoding.append((chunk.region, task))
                threads.begin(task)
                if len(encoding) > reading.n_threads:
                    self._write(encoding)
            while encoding:
                self._write(encoding)
        finally:  # whoever clears away what was written must be the last to write
            for _, task in encoding:
                task.finish()

    def _label(self, chunk: Chunk) -> Array:
        pixels = chunk.pixels
        if self.first_label == 0:
            choose_start_label(0, False, pixels.n_left_out)
        none = np.empty(0, self.dtype)
        labels = self.labels_of(pixels) if len(pixels.values) else none
        if self.tally is not None:
            self.tally.add(labels)
        full: Array = pixels.to_grid(labels)
        if self.preview is not None:
            self.preview.add(chunk.region, pixels, full)
        return full

    def _write(self, encoding: deque[tuple[Region, Task[Any]]]) -> None:
        region, task = encoding[0]
        encoded = task.result()
        encoding.popleft()
        self.writer.write(region, encoded)
