"""Jobs on images that are read in pieces, and when an image is."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..io import WRITERS, check_output
from ..io.atomic import suffix_of
from ..io.opening import (
    CHUNK_WRITERS,
    can_stream,
    check_label_output,
    largest_picture,
    open_image,
)
from ..memory import ENGINE_BYTES, MEBIBYTE, VALUE_BYTES, map_large_blocks, memory_budget
from ..progress import Callback, Clock
from ..streaming.options import FileOptions
from .extras import Extras
from .job import Clusters, Job, clusters_as_dict, without_infinities
from .starts import fitting_count, start_centers

if TYPE_CHECKING:
    from ..segmentation import FileModel
    from .source import Source

# Distinct values of 8-bit colours; of wider ones fewer are kept.
_MOST_DISTINCT = 2**24
# Of an image that is held, beside its pixels: labels, and copies of what takes part.
_HELD = 2


def file_options(given: dict[str, Any], source: Source | None = None) -> FileOptions:
    """Take the options of files out of what is given."""
    names = {field.name for field in fields(FileOptions)} - {"channels", "overwrite", "max_pixels"}
    taken = {name: given.pop(name) for name in names if name in given}
    max_pixels = given.pop("max_pixels") if source is None else source.max_pixels
    return FileOptions(
        **taken, channels=given.pop("bands"), max_pixels=max_pixels, overwrite=given["overwrite"]
    )


def reason_for_pieces(
    source: Source, options: FileOptions, sample: int | None = None
) -> str | None:
    """Why an image is read in pieces, or None where it is held as a whole.

    It is where something is asked for that is done so, and where the image, as it is
    computed on, takes more than the memory, or may take more than the memory given.
    """
    default = FileOptions(memory=options.memory, overwrite=options.overwrite)
    default = replace(default, max_pixels=options.max_pixels)
    asked = [
        option.name
        for option in fields(FileOptions)
        if getattr(options, option.name) != getattr(default, option.name)
    ]
    if sample is not None:
        asked.append("sample")
    if asked:
        return f"--{asked[0].replace('_', '-')} is given"
    with contextlib.suppress(OSError, ValueError, ImportError):  # told when it is read
        files = [path for path in (source.path, *source.channels) if can_stream(path)]
        n_bytes = n_pixels = n_pictured = 0
        for path in files:
            with open_image(path, max_pixels=source.max_pixels) as image:
                n_bytes += image.n_pixels * image.pixel_bytes
                n_pixels = max(n_pixels, image.n_pixels)
                n_pictured = max(n_pictured, image.n_pixels if suffix_of(path) != ".npy" else 0)
        if n_bytes * _HELD > memory_budget(options.memory):
            return f"its pixels take {n_bytes / MEBIBYTE:,.0f} MiB"
        # What was asked for holds even if all pixels are distinct.
        needed = ENGINE_BYTES + n_bytes * _HELD + VALUE_BYTES * min(n_pixels, _MOST_DISTINCT)
        if files and options.memory is not None and needed > memory_budget(options.memory):
            return f"to hold it may take {needed / MEBIBYTE:,.0f} MiB"
        most = largest_picture()
        if source.max_pixels is None and most is not None and n_pictured > most:
            return f"pictures are held up to {most:,} pixels"
    return None


def check_whole(reason: str, source: Source, extras: Extras, drawings: dict[str, Any]) -> None:
    """Refuse what is only made of labels that are held as a whole."""
    asked = {
        "--min-size": extras.min_size,
        "--objects": extras.objects,
        "--objects-out": extras.objects_path,
        "--distance": extras.distance_path,
        "--frames": None if source.frames == "auto" else source.frames,
        **drawings,
    }
    for name, value in asked.items():
        if value is not None:
            raise ValueError(
                f"{name} needs the image as a whole, and {source.path} is read in pieces because"
                f" {reason}; leave one of them out, or give more memory (--memory)"
            )


def segment_in_pieces(
    source: Source,
    output: str,
    options: FileOptions,
    *,
    n_clusters: int | str | None = None,
    init: str | None = None,
    names: list[str] | None = None,
    model_path: str | None = None,
    overwrite: bool,
    callback: Callback,
    **given: Any,
) -> Job:
    """Segment an image file piece by piece."""
    from ..streaming.segment import segment_file

    clock = Clock()
    map_large_blocks()
    start = start_centers(init, lambda: _n_channels(source, options))
    n_clusters = fitting_count(n_clusters, start, names)
    result = segment_file(
        [source.path, *source.channels], output, n_clusters, init=start, names=names,
        mask=source.mask, nodata=source.nodata, model=model_path, options=options,
        callback=callback, **given,
    )  # fmt: skip
    clock.stop("total")
    return Job(
        source.path, output, result.grid, result.stored_dtype, result.geometry, result.notes,
        result, result.counts, result.palette(), result.start_label, result.backend,
        result.reason, {**result.seconds, "total": clock.seconds["total"]},
        foreground=result.foreground, more_files=_more(options),
        in_pieces={
            "n_passes": result.n_passes, "n_sampled": result.n_sampled, "skipped": result.skipped,
        },
    )  # fmt: skip


def _more(options: FileOptions) -> tuple[str, ...]:
    return () if options.preview is None else (os.fspath(options.preview),)


def _n_channels(source: Source, options: FileOptions) -> int:
    paths = [source.path, *source.channels]
    with open_image(paths, options.part, max_pixels=options.max_pixels) as image:
        return image.n_channels


def predict_in_pieces(
    model_path: str,
    source: Source,
    output: str,
    options: FileOptions,
    *,
    overwrite: bool,
    callback: Callback,
    **given: Any,
) -> Job:
    """Label an image file piece by piece."""
    from ..model import load_model
    from ..streaming.predict import predict_file

    clock = Clock()
    map_large_blocks()
    check_label_output(output, overwrite, (*source.files, model_path))
    model = load_model(model_path)
    found = predict_file(
        model, [source.path, *source.channels], output, mask=source.mask, nodata=source.nodata,
        options=options, callback=callback, **given,
    )  # fmt: skip
    clock.stop("total")
    return Job(
        source.path, output, found.grid, found.dtype, found.geometry, found.notes, model,
        found.counts, model.palette(found.start_label), found.start_label, found.backend,
        found.reason, {**found.seconds, "total": clock.seconds["total"]},
        foreground=found.foreground, match=found.match, more_files=_more(options),
        in_pieces={"n_passes": found.n_passes, "skipped": found.skipped},
    )  # fmt: skip


@dataclass(frozen=True)
class FitJob(Clusters):
    """One model fitted to many files."""

    inputs: tuple[str, ...]
    model_path: str
    model: FileModel
    counts: NDArray[Any]
    colors: NDArray[Any]
    start_label: int
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for strict JSON."""
        from ..memory import peak_memory

        model, total = self.model, self.seconds["total"]
        return without_infinities({
            "inputs": list(self.inputs),
            "model": self.model_path,
            "dtype": model.dtype,
            **clusters_as_dict(model),
            "counts": model.counts.tolist(),
            "n_left_out": model.n_left_out,
            "foreground": model.foreground,
            "backend": model.backend,
            "reason": model.reason,
            "start_label": model.start_label,
            "seconds": {stage: round(value, 6) for stage, value in self.seconds.items()},
            "pixels_per_second": round(model.n_pixels / total) if total else None,
            "peak_memory": peak_memory(),
            "n_passes": model.n_passes,
            "n_sampled": model.n_sampled,
            "skipped": model.skipped,
        })  # fmt: skip


def fit_many(
    inputs: tuple[str, ...],
    model_path: str,
    options: FileOptions,
    *,
    n_clusters: int | str | None = None,
    init: str | None = None,
    names: list[str] | None = None,
    overwrite: bool,
    callback: Callback,
    **given: Any,
) -> FitJob:
    """Fit one model to many files, and save it."""
    from ..streaming.segment import fit_files
    from .source import Source

    clock = Clock()
    map_large_blocks()
    check_output(model_path, overwrite, (".json",), inputs)
    start = start_centers(init, lambda: _n_channels(Source(inputs[0]), options))
    n_clusters = fitting_count(n_clusters, start, names)
    model = fit_files(
        list(inputs), n_clusters, init=start, names=names, options=options, callback=callback,
        **given,
    )  # fmt: skip
    model.save(model_path, overwrite=overwrite)
    clock.stop("total")
    return FitJob(
        inputs, model_path, model, model.counts, model.palette(), model.start_label,
        {**model.seconds, "total": clock.seconds["total"]},
    )  # fmt: skip


def outputs_in(
    folder: str, inputs: tuple[str, ...], suffix: str | None, model: str, overwrite: bool
) -> tuple[str, ...]:
    """Names of the label files of many inputs, in a folder that is made.

    All are checked, and so is that the inputs are there, before the first is labelled.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise NotADirectoryError(f"{folder}: is a file; give a folder to --out-dir")
    outputs = []
    for path in map(os.path.normpath, inputs):  # folders may end in a slash
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: no such file")
        own = suffix_of(path)
        ending = suffix or (own if own in (*WRITERS, *CHUNK_WRITERS) else ".png")
        stem = os.path.basename(path)[: -len(own)] if own else os.path.basename(path)
        outputs.append(os.path.join(folder, stem + ending))
    for output in outputs:
        if outputs.count(output) > 1:
            raise ValueError(
                f"{output}: is the output of more than one input; label those into other folders"
            )
    os.makedirs(folder, exist_ok=True)
    for output in outputs:
        check_label_output(output, overwrite, (*inputs, model))
    return tuple(outputs)
