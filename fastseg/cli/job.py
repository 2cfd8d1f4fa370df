"""What a job did, as it is told to people and programs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..class_names import label_names
from ..memory import peak_memory
from ..model import Model
from ..segmentation import FittedModel

if TYPE_CHECKING:
    from ..components import Objects
    from ..io import Geometry


class Clusters:
    """What is shown of clusters: their labels, names and colours."""

    model: Model
    counts: NDArray[Any]
    colors: NDArray[Any]
    start_label: int

    @property
    def names(self) -> dict[int, str]:
        """Class of each label, where they have names."""
        return label_names(self.model.names, self.start_label)

    @property
    def label_values(self) -> list[int]:
        """The label of each cluster in the written file."""
        return list(range(self.start_label, self.start_label + len(self.counts)))

    @property
    def cluster_colors(self) -> list[list[int]]:
        """The colour of each cluster in the written file."""
        colors: list[list[int]] = self.colors[self.start_label :].tolist()
        return colors


@dataclass(frozen=True)
class Job(Clusters):
    """What was made of an image: its clusters, and the files that were written.

    ``in_pieces`` tells of an image that was not held as a whole: how often it was read
    (n_passes), the pixels of a sample (n_sampled), and what was left out (skipped).
    """

    input: str
    output: str
    grid: tuple[int, ...]
    dtype: str
    geometry: Geometry | None
    notes: tuple[str, ...]
    model: Model
    counts: NDArray[Any]
    colors: NDArray[Any]
    start_label: int
    backend: str
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    foreground: float | None = None
    match: str | None = None
    objects: Objects | None = None
    more_files: tuple[str, ...] = ()
    in_pieces: dict[str, Any] = field(default_factory=dict)

    @property
    def n_left_out(self) -> int:
        """Pixels that belong to no cluster."""
        return math.prod(self.grid) - int(self.counts.sum())

    def as_dict(self) -> dict[str, Any]:
        """Everything but the labels, for strict JSON."""
        entries: dict[str, Any] = {
            "input": self.input,
            "output": self.output,
            "grid": list(self.grid),
            "dtype": self.dtype,
            **clusters_as_dict(self.model),
            "counts": self.counts.tolist(),
        }
        if not isinstance(self.model, FittedModel):
            entries["match"] = self.match
        if self.objects is not None:
            entries["objects"] = list(self.objects.as_dicts())
        total = self.seconds.get("total", 0.0)
        entries |= {
            "foreground": self.foreground,
            "backend": self.backend,
            "reason": self.reason,
            "n_left_out": self.n_left_out,
            "start_label": self.start_label,
            "label_values": self.label_values,
            "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in self.cluster_colors],
            "seconds": {stage: round(value, 6) for stage, value in self.seconds.items()},
            "pixels_per_second": round(math.prod(self.grid) / total) if total else None,
            "peak_memory": peak_memory(),
            **self.in_pieces,
            "notes": list(self.notes),
        }
        return without_infinities(entries)


def clusters_as_dict(model: Model) -> dict[str, Any]:
    """What there is to tell of clusters."""
    entries: dict[str, Any] = {
        "n_channels": model.n_channels,
        "n_clusters": model.n_clusters,
        "names": None if model.names is None else list(model.names),
        "centers": model.centers.tolist(),
    }
    if isinstance(model, FittedModel):
        for name in ("inertia", "n_iter", "converged", "method", "chosen_k_reason"):
            entries[name] = getattr(model, name)
        entries["standardized"] = model.moments is not None
    return entries


def without_infinities(entries: dict[str, Any]) -> dict[str, Any]:
    """Entries with None where a number is not finite, which JSON cannot say."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in entries.items()
    }
