"""What people at a terminal see: a progress bar, and tables of clusters."""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from ..kernels.compilation import Compilation, watched

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from ..io import Image
    from ..io.channels import Placed
    from ..model import Model
    from .job import Clusters, Job
    from .piecewise import FitJob

_WORDS = {
    "read": "reading",
    "count": "counting colours",
    "init": "choosing starts",
    "optimal": "finding the optimum",
    "tree": "building the tree",
    "sklearn": "running scikit-learn",
    "draw": "drawing",
    "iterations": "iterating",
    "compile": "compiling kernels",
    "scan": "comparing numbers of clusters",
    "labels": "labelling",
    "sample": "drawing a sample",
    "check": "looking for pixels to leave out",
    "pyramid": "writing the pyramid",
    "write": "writing",
}
# Stages that are told in pixels.
_IN_PIXELS = ("count", "labels", "sample", "pass", "check")
_SHOWN_CHANNELS = 4
# Stages whose times are told, of images that are held and of those read in pieces.
_HELD = ("read", "segment", "predict", "draw", "specks", "objects", "write")
_STREAMED = ("open", "sample", "count", "scan", "fit", "labels")
# Seconds after which a rate means something.
_SETTLED = 0.5


class Bar:
    """A progress bar that shows itself only when the work lasts.

    Called as the library's ``callback(stage, done, total, info)``. What is compiled
    meanwhile is shown as well, and counted in ``n_compiled`` and ``compile_seconds``.
    """

    def __init__(self, file: TextIO, *, enabled: bool, delay: float = 1.0) -> None:
        self._file = file
        self._enabled = enabled
        self._lock = threading.Lock()
        self._delay = delay
        self._timer = threading.Timer(delay, self._show)
        self._timer.daemon = True
        self._progress: Progress | None = None
        self._state: tuple[str, str, int, int | None] = ("", "", 0, None)
        self._shown, self._begun, self._begun_at = "", 0.0, 0
        self._closed = False
        self._watching = ExitStack()
        self._n_compiling = 0
        self.n_compiled = 0
        self.compile_seconds = 0.0

    def __enter__(self) -> Self:
        if self._enabled:
            self._timer.start()
            self._watching.enter_context(watched(self._compiling))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._watching.close()
        with self._lock:
            self._closed = True
            if self._progress is not None:
                self._progress.stop()

    def __call__(self, stage: str, done: int, total: int, info: dict[str, Any]) -> None:
        """Show a stage and how far it is; a total of 0 stands for unknown."""
        words = _WORDS.get(stage, stage)
        if stage == "compile":
            words += f" ({info['problem']})"
        if stage == "bench":
            words = f"measuring: {info['what']}"
        if stage == "scan" and "n_clusters" in info:
            words = f"{info['n_clusters']} clusters"
        if stage == "pass":
            words = f"pass {info.get('pass', 1)} over the pixels"
        if stage == "iterations":  # how many are needed nobody knows
            words, done, total = f"iteration {done}", 0, 0
            if info.get("inertia") is not None:
                words += f", inertia {info['inertia']:.6g}"
        # Of iterations that are passes over a file, each pass is shown.
        if stage == "iterations" and self._shown.startswith("pass"):
            return
        self._state = stage, words, done, total or None
        self._update()

    def _compiling(self, what: Compilation) -> None:
        if not what.compiled:
            return
        with self._lock:
            if what.seconds is None:
                self._n_compiling += 1
            else:
                self._n_compiling -= 1
                self.n_compiled += 1
                self.compile_seconds += what.seconds
        self._update()

    def _show(self) -> None:
        from rich import progress as rich_progress
        from rich.console import Console

        progress = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.TaskProgressColumn(),
            rich_progress.TextColumn("{task.fields[rate]}", markup=False),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("{task.fields[left]}", markup=False),
            console=Console(file=self._file),
            transient=True,
        )
        progress.add_task("", total=None, rate="", left="")
        with self._lock:
            if self._closed:
                return
            progress.start()
            progress.tasks[0].start_time = progress.get_time() - self._delay
            self._progress = progress
        self._update()

    def _update(self) -> None:
        stage, words, done, total = self._state
        if self._n_compiling and stage != "compile":
            stage, words, done, total = "compile", f"{_WORDS['compile']} (first use)", 0, None
        progress = self._progress
        if progress is None:
            return
        now, key = time.monotonic(), f"{stage} {words}" if stage == "pass" else stage
        if key != self._shown:
            self._shown, self._begun, self._begun_at = key, now, done
        task = progress.tasks[0]
        task.total = total  # update() takes None for "as before"
        task.finished_time = None  # else a stage that ended stops the clock
        rate, left = self._pace(stage, done, total, now - self._begun)
        progress.update(task.id, description=words, completed=done, rate=rate, left=left)

    def _pace(self, stage: str, done: int, total: int | None, elapsed: float) -> tuple[str, str]:
        """Say how fast a stage goes, and when it will have ended."""
        gone = done - self._begun_at
        if stage not in _IN_PIXELS or total is None or elapsed < _SETTLED or gone <= 0:
            return "", ""
        speed = gone / elapsed
        left = round((total - done) / speed)
        return (
            f"{speed / 1e6:,.0f} Mpx/s",
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left",
        )


def cluster_table(job: Clusters, *, colored: bool) -> Table:
    """Build a table with a row per cluster: label, colour, centre, pixels and share."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold" if colored else "", pad_edge=False)
    table.add_column("label", justify="right")
    if job.names:
        table.add_column("class")
    table.add_column("colour")
    table.add_column("centre", overflow="fold")
    table.add_column("pixels", justify="right")
    table.add_column("share", justify="right")
    n_pixels = max(1, int(job.counts.sum()))
    rows = zip(job.label_values, job.cluster_colors, job.model.centers, job.counts, strict=True)
    for label, (red, green, blue), center, count in rows:
        code = f"#{red:02x}{green:02x}{blue:02x}"
        name = Text.assemble(("    ", f"on {code}"), " ", code) if colored else Text(code)
        values = " ".join(f"{value:.5g}" for value in center[:_SHOWN_CHANNELS])
        more = " ..." if len(center) > _SHOWN_CHANNELS else ""
        share = f"{100 * int(count) / n_pixels:.1f} %"
        class_ = [Text(job.names[label])] if job.names else []
        table.add_row(str(label), *class_, name, values + more, f"{int(count):,}", share)
    return table


def _grid_words(image: Placed) -> str:
    """Say the size of an image: pictures by width and height, volumes by their axes."""
    sides = image.grid if image.geometry is not None else reversed(image.grid)
    return " x ".join(map(str, sides))


def shape_words(job: Job) -> str:
    """Say the size and kind of a job's image."""
    return _words_of(job, job.model.n_channels, job.dtype)


def image_lines(path: str, image: Image) -> list[str]:
    """Say what an image is, and what was done to its file's content."""
    import click

    notes = [f"note: {note}" for note in image.notes]
    words = _words_of(image, image.n_channels, image.pixels.dtype.name)
    return [f"{click.format_filename(path)}: {words}", *notes]


def _words_of(image: Placed, n_channels: int, dtype: str) -> str:
    channels = f"{n_channels} channel{'s' * (n_channels > 1)}"
    return f"{_grid_words(image)} pixels, {channels}, {dtype}"


def summary_lines(job: Job) -> list[str]:
    """Say how a job went, how long it took and where it ran."""
    lines = []
    if job.n_left_out:
        lines.append(f"left out: {job.n_left_out:,} pixels, label 0")
    if job.foreground is not None:
        lines.append(f"foreground: values from {job.foreground:.6g} up (Otsu's threshold)")
    if job.match is not None:
        lines.append(f"match: the values were fitted to the model's scale by {job.match}")
    if job.in_pieces.get("n_sampled"):
        lines.append(_sample_line(job.in_pieces["n_sampled"]))
    lines.append(_time_line(job))
    return [*lines, *model_lines(job.model)]


def fit_lines(job: FitJob) -> list[str]:
    """Say how one model was fitted to many files."""
    model = job.model
    lines = [f"left out: {model.n_left_out:,} pixels"] if model.n_left_out else []
    if model.n_sampled:
        lines.append(_sample_line(model.n_sampled))
    lines.append(_took(job.seconds, _STREAMED) + _pace_words(model.n_pixels, job, model.n_passes))
    return [*lines, *model_lines(model)]


def _sample_line(n_sampled: int) -> str:
    return f"sample: fitted to {n_sampled:,} of the pixels"


def _time_line(job: Job) -> str:
    if not job.in_pieces:
        return _took(job.seconds, _HELD)
    n_passes = job.in_pieces["n_passes"]
    return _took(job.seconds, _STREAMED) + _pace_words(math.prod(job.grid), job, n_passes)


def _took(seconds: dict[str, float], stages: tuple[str, ...]) -> str:
    words = ", ".join(f"{name} {seconds[name]:.3g}" for name in stages if name in seconds)
    return f"time: {seconds['total']:.3g} s ({words})"


def _pace_words(n_pixels: int, job: Job | FitJob, n_passes: int) -> str:
    rate = n_pixels / max(job.seconds["total"], 1e-9)
    passes = f"{n_passes} pass{'es' * (n_passes > 1)}"
    return f", {rate / 1e6:,.0f} megapixels a second, {passes}"


def model_lines(model: Model) -> list[str]:
    """Say how clusters were found, and where."""
    from ..segmentation import FittedModel

    if not isinstance(model, FittedModel):
        return []
    lines = []
    if model.chosen_k_reason is not None:
        lines.append(f"chosen: {model.n_clusters} clusters, because {model.chosen_k_reason}")
    end = "converged" if model.converged else "stopped before it converged"
    how = f"{model.n_iter} iterations, {end}"
    if model.method == "optimal":
        how = "the global optimum"
    if model.tree is not None:
        how = f"cut from the tree of {len(model.tree.values):,} values"
    lines.append(f"method: {model.method}, {how}, inertia {model.inertia:.6g}")
    lines.append(f"backend: {model.backend} ({model.reason})")
    return lines


_FACTS = {
    "n_channels": "channels",
    "n_distinct": "distinct values",
    "n_left_out": "left out",
    "block": "read at once",
    "voxel_size": "voxel size",
    "cache": "compiled code",
    "warm_up": "warm-up",
}


def fact_lines(facts: dict[str, Any]) -> list[str]:
    """Say facts about an image or an installation, a line each."""
    lines = []
    for name, value in facts.items():
        if name == "grid":
            sides = value if "voxel_size" in facts else reversed(value)
            entries = [" x ".join(map(str, sides)) + " pixels"]
        elif name == "block":
            entries = [" x ".join(map(str, value)) + " pixels"]
        elif name == "ranges":
            entries = [f"{low} to {high}" for low, high in value]
        elif name == "backends":
            entries = [f"{key}: {reason or 'can be used'}" for key, reason in value.items()]
        elif name == "notes":
            entries = value
        elif name == "warm_up":
            ready = f"{value['n_kernels']} kernels are ready: {value['n_compiled']} compiled,"
            cached = value["n_kernels"] - value["n_compiled"]
            entries = [f"{ready} {cached} read from the cache, in {value['seconds']:.3g} s"]
        elif name == "voxel_size":
            entries = [" x ".join(f"{x:g}" for x in value) + " mm"]
        elif value is None:
            entries = ["not counted: most pixels are distinct"]
            if name == "cache":
                entries = [
                    "not kept: no folder can be written, so processes compile what is missing"
                ]
        else:
            entries = [f"{value:,}" if isinstance(value, int) else str(value)]
        lines += [f"{_FACTS.get(name, name) + ':':<17}{entry}" for entry in entries]
    return lines
