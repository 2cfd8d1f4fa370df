"""What the commands that print a table found out about an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..io import Image
from .source import Source

if TYPE_CHECKING:
    from ..choosing_k import Scan
    from ..comparison import Comparison

Found = TypeVar("Found", "Scan", "Comparison")


@dataclass(frozen=True)
class Study(Generic[Found]):
    """What was compared: an image, and several ways to cluster it."""

    source: Source
    image: Image
    found: Found
    plot: str | None
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the labels, for strict JSON."""
        return {
            "input": self.source.path,
            "plot": self.plot,
            "grid": list(self.image.grid),
            "dtype": self.image.pixels.dtype.name,
            "n_channels": self.image.n_channels,
            **self.found.as_dict(),
            "seconds": {stage: round(value, 6) for stage, value in self.seconds.items()},
            "notes": list(self.image.notes),
        }

    def last_lines(self, n_left_out: int) -> list[str]:
        """Say what was left out, how long it took, and what was written."""
        import click

        lines = [f"left out: {n_left_out:,} pixels"] if n_left_out else []
        parts = ", ".join(f"{part} {s:.3g}" for part, s in self.seconds.items() if part != "total")
        lines.append(f"time: {self.seconds['total']:.3g} s ({parts})")
        if self.plot is not None:
            lines.append(f"written: {click.format_filename(self.plot)}")
        return lines
