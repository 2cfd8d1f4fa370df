"""The panel: what to segment and how, a button that starts it and one that stops it."""

from __future__ import annotations

import io
import math
from typing import Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    LineEdit,
    ProgressBar,
    PushButton,
    Select,
    SpinBox,
)
from napari.layers import Image, Labels, Layer
from napari.qt.threading import create_worker
from napari.utils import cancelable_progress
from napari.utils.notifications import notification_manager, show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from ..kernels.compilation import Compilation, watched
from ..progress import Stopped
from ..solver import ConvergenceWarning
from .job import Job, LayerData, job_of
from .layers import fitting_level, grids

# What a choice says, and the arguments of `segment` it stands for.
_METHODS: dict[str, dict[str, Any]] = {
    "automatic": {},
    "optimal (one channel)": {"method": "optimal"},
    "Lloyd's k-means": {"method": "lloyd"},
    "Ward's tree": {"method": "ward"},
    "Ward's tree of 1024 colours": {"method": "ward", "prototypes": 1024},
}
_SPACES = {
    "RGB as stored": "rgb",
    "CIELAB": "lab",
    "Oklab": "oklab",
    "linear light": "linear",
}
_STAGES = {
    "start": "Starting",
    "read": "Reading the layer",
    "compile": "Compiling, once on a machine",
    "count": "Counting distinct values",
    "scan": "Choosing k",
    "init": "Drawing starting centres",
    "iterations": "Iteration",
    "optimal": "Finding the optimum",
    "tree": "Building the tree",
    "labels": "Labelling pixels",
}
_REFRESH = 100  # milliseconds


class SegmentPanel(Container):
    """Segments the chosen Image layer in the background and adds a Labels layer.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer whose layers are offered, and that gets the labels; napari passes it by name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self.viewer = napari_viewer
        self.worker: Any = None
        self._reached: tuple[str, int, int] = ("start", 0, 0)
        self._activity: Any = None
        self._gone = False
        super().__init__(labels=False)
        self._make_widgets()
        form = Container()
        form.extend([  # one by one, so that magicgui aligns the labels
            self.image, self.level, self.others, self.k, self.choose_k, self.method, self.space,
            self.standardize, self.mask, self.nodata, self.foreground, self.seed,
        ])  # fmt: skip
        self.extend([form, self.start_button, self.cancel_button, self.bar, self.status])
        self.native.layout().addStretch()
        self.image.changed.connect(self._fit_to_image)
        self.others.changed.connect(self._fit_to_channels)
        self.choose_k.changed.connect(lambda on: setattr(self.k, "enabled", not on))
        self.start_button.changed.connect(self.start)
        self.cancel_button.changed.connect(self.cancel)
        self.timer = QTimer(self.native)
        self.timer.setInterval(_REFRESH)
        self.timer.timeout.connect(self._show_progress)
        self.native.destroyed.connect(self._abandon)
        self._fit_to_image()
        self._set_running(False)

    def _make_widgets(self) -> None:
        self.image = ComboBox(label="image", choices=self._images, tooltip="Image layer to segment")
        self.level = ComboBox(
            label="level", choices=self._levels,
            tooltip="Level of the multiscale image: at first the finest that fits well into memory",
        )  # fmt: skip
        self.others = Select(
            label="other channels", choices=self._other_channels,
            tooltip="Further layers that are channels of the same image (Ctrl-click for several)",
        )  # fmt: skip
        self.others.max_height = 80
        self.k = SpinBox(label="clusters", value=8, min=2, max=256, tooltip="Number of clusters")
        self.choose_k = CheckBox(
            text="choose the number (2 to 10)", tooltip="Take the number of clusters that fits best"
        )
        self.method = ComboBox(
            label="method", choices=list(_METHODS),
            tooltip="automatic: the global optimum of one channel, Lloyd's k-means of several",
        )  # fmt: skip
        self.space = ComboBox(
            label="colour space", choices=list(_SPACES),
            tooltip="Colour space in which distances are taken, for RGB images",
        )  # fmt: skip
        self.standardize = CheckBox(
            text="standardize channels", tooltip="Give every channel the same weight"
        )
        self.mask = ComboBox(
            label="only within", choices=self._masks, nullable=True,
            tooltip="Labels layer of the same size: where it is 0, pixels are left out",
        )  # fmt: skip
        self.mask.null_string = "whole image"
        self.nodata = LineEdit(
            label="no data", tooltip="Leave out pixels that have this value in all channels"
        )
        self.nodata.native.setPlaceholderText("none")
        self.foreground = CheckBox(
            text="leave out the background",
            tooltip="Leave out what is not brighter than Otsu's threshold (one channel)",
        )
        self.seed = SpinBox(
            label="seed", value=0, min=0, max=2**31 - 1,
            tooltip="The same seed gives the same clusters",
        )  # fmt: skip
        self.start_button = PushButton(text="Segment")
        self.cancel_button = PushButton(text="Cancel")
        self.bar = ProgressBar(min=0, max=100, value=0)
        self.status = Label(value="")
        self.status.native.setWordWrap(True)

    # What can be chosen follows the layers: napari calls reset_choices when they change.

    def _images(self, _: Any) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self.viewer.layers if isinstance(layer, Image)]

    def _masks(self, _: Any) -> list[tuple[str, Labels]]:
        return [(layer.name, layer) for layer in self.viewer.layers if isinstance(layer, Labels)]

    def _other_channels(self, _: Any) -> list[tuple[str, Image]]:
        first = self.image.value
        if first is None or first.rgb:
            return []
        return [
            (name, layer)
            for name, layer in self._images(None)
            if layer is not first and not layer.rgb and grids(layer) == grids(first)
        ]

    def _levels(self, _: Any) -> list[tuple[str, int]]:
        layer = self.image.value
        if layer is None or not layer.multiscale:
            return [("0", 0)]
        return [(" x ".join(map(str, shape)), level) for level, shape in enumerate(grids(layer))]

    def _fit_to_image(self, *_: Any) -> None:
        """Offer what makes sense for the chosen image."""
        layer = self.image.value
        self.level.reset_choices()
        self.others.reset_choices()
        multiscale = layer is not None and layer.multiscale
        self.level.visible = multiscale
        if multiscale:
            self.level.value = fitting_level(layer)
        self.others.visible = len(self.others.choices) > 0
        self.space.enabled = layer is not None and layer.rgb
        self._fit_to_channels()

    def _fit_to_channels(self, *_: Any) -> None:
        layer = self.image.value
        several = layer is not None and (layer.rgb or len(self.others.value) > 0)
        self.standardize.enabled = several
        self.foreground.enabled = not several

    def reset_choices(self, *args: Any) -> None:
        """Offer the layers that there are now."""
        before = self.image.value
        super().reset_choices(*args)
        if self.image.value is not before:
            self._fit_to_image()
        else:
            self.others.visible = len(self.others.choices) > 0
        self._set_running(self.worker is not None)

    # A segmentation, from the button to the layer.

    def start(self) -> None:
        """Segment what is chosen, in a thread of napari's; errors become notifications."""
        try:
            job = self._job()
        except ValueError as error:
            show_error(str(error))
            return
        self._reached = ("start", 0, 0)
        self.worker = create_worker(self._work, job, _start_thread=False, _ignore_errors=True)
        self.worker.returned.connect(self._add)
        self.worker.errored.connect(self._fail)
        self.worker.warned.connect(self._warn)
        self.worker.finished.connect(self._finish)
        # Without a file it would write to the terminal as well.
        self._activity = cancelable_progress(
            total=100, desc="fastseg", cancel_callback=self.cancel, file=io.StringIO()
        )
        self.status.value = ""
        self._set_running(True)
        self.timer.start()
        self.worker.start()

    def cancel(self) -> None:
        """Stop the segmentation that is running; it leaves nothing."""
        if self.worker is not None:
            self.worker.quit()
            self.status.value = "Stopping"

    def _job(self) -> Job:
        several = self.standardize.enabled
        options = {
            "n_clusters": "auto" if self.choose_k.value else self.k.value,
            **_METHODS[self.method.value],
            "color_space": _SPACES[self.space.value] if self.space.enabled else "rgb",
            "standardize": several and self.standardize.value,
            "nodata": _number(self.nodata.value),
            "foreground": "auto" if self.foreground.value and not several else None,
            "random_state": self.seed.value,
        }
        layers = [self.image.value, *self.others.value]
        return job_of(layers, self.level.value, self.mask.value, options)

    def _work(self, job: Job) -> LayerData | None:
        """Do the job; in the worker's thread, so nothing of the window is touched."""
        worker = self.worker

        def report(stage: str, done: int, total: int, _: Any = None) -> bool:
            self._reached = (stage, done, total)
            return bool(worker.abort_requested)

        def compiling(event: Compilation) -> None:
            if event.seconds is None:
                self._reached = ("compile", 0, 0)

        try:
            with watched(compiling):
                return job.run(report)
        except Stopped:
            return None

    def _show_progress(self) -> None:
        stage, done, total = self._reached
        words = _STAGES.get(stage, stage)
        counted = stage != "iterations" and total > 0
        percent = 100 * done // total if counted else 0
        self.bar.max = 100 if counted else 0  # 0 shows that it is busy
        self.bar.value = percent
        if not self.worker.abort_requested:
            self.status.value = f"{words} {done}" if stage == "iterations" else words
        self._activity.set_description(words)
        self._activity.update(percent - self._activity.n)

    def _add(self, data: LayerData) -> None:
        if self._gone:
            return
        self.timer.stop()  # adding a layer lets it go off
        layer = self.viewer.add_layer(Layer.create(*data))
        self.status.value = _summary(layer.metadata["fastseg"])

    def _fail(self, error: Exception) -> None:
        if isinstance(error, (ValueError, TypeError, MemoryError, OSError)):
            show_error(str(error))
        else:  # with the traceback, for whoever reports it
            notification_manager.receive_error(type(error), error, error.__traceback__)
        if not self._gone:
            self.timer.stop()
            self.status.value = str(error)

    def _warn(self, warning: tuple[Any, ...]) -> None:
        """Show what fastseg warns of, and not what libraries tell programmers."""
        if isinstance(warning[0], ConvergenceWarning):
            show_warning(str(warning[0]))

    def _finish(self) -> None:
        if self._activity is not None:
            self._activity.close()
        aborted = self.worker.abort_requested
        self.worker = None
        if self._gone:
            return
        self.timer.stop()
        self._set_running(False)
        if aborted:
            self.status.value = "Cancelled"

    def _set_running(self, running: bool) -> None:
        self.start_button.enabled = not running and self.image.value is not None
        self.cancel_button.visible = running
        self.bar.visible = running

    def _abandon(self) -> None:
        """The panel is closed: stop what is running, and touch nothing of the window again."""
        self._gone = True
        if self.worker is not None:
            self.worker.quit()


def _number(text: str) -> float | None:
    """Number that was typed, None for nothing."""
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"no data must be a number, got {text!r}; leave it empty for none")
    return number


def _summary(result: Any) -> str:
    """What came out, in a few words."""
    how = "global optimum" if result.method == "optimal" else result.method
    if result.method == "lloyd":
        how = f"Lloyd's k-means, {result.n_iter} iterations"
    elif result.method == "ward":
        how = "Ward's tree"
    left_out = f", {result.n_left_out:,} pixels left out" if result.n_left_out else ""
    seconds = sum(result.seconds.values())
    return f"{result.n_clusters} clusters: {how}{left_out} ({seconds:.2g} s)"
