"""What a job makes of its labels besides: labels without specks, objects, distances."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..io import VALUE_WRITERS, WRITERS, Image, check_labels, check_output

if TYPE_CHECKING:
    from rich.table import Table

    from ..components import Objects
    from ..io.channels import Placed

_SHOWN_OBJECTS = 20


@dataclass(frozen=True)
class Extras:
    """What is asked for: the smallest part, the classes of objects, and files to write."""

    min_size: int | None = None
    objects: str | None = None
    objects_path: str | None = None
    distance_path: str | None = None

    @property
    def files(self) -> list[str]:
        """Files that are written."""
        return [path for path in (self.objects_path, self.distance_path) if path is not None]

    def check(self, outputs: list[str], overwrite: bool, inputs: tuple[str, ...]) -> None:
        """Refuse files that cannot be written, besides the ``outputs``, before any work."""
        if self.objects_path is not None:
            check_output(self.objects_path, overwrite, WRITERS, inputs)
        if self.distance_path is not None:
            check_output(self.distance_path, overwrite, VALUE_WRITERS, inputs)
        seen: set[str] = set()
        for path in [*outputs, *self.files]:
            if os.path.realpath(path) in seen:
                raise ValueError(f"{path}: is to be written twice in this run; give two names")
            seen.add(os.path.realpath(path))

    def check_grid(self, image: Image) -> None:
        """Refuse what is not for labels of such an image, before it is clustered."""
        from ..components import load_cc3d

        for path in self.files:
            check_labels(path, 1, image.grid)
        if (self.min_size, self.objects, self.objects_path) == (None, None, None):
            return
        load_cc3d()
        if len(image.grid) not in (2, 3):
            raise ValueError(
                f"--min-size and --objects are for labels of 2 or 3 axes, but the grid is"
                f" {image.grid}; take the frames of a series as channels (--frames channels)"
            )

    def cleaned(self, labels: NDArray[Any], start_label: int) -> NDArray[Any]:
        """Labels without specks."""
        from ..specks import remove_specks

        if self.min_size is None:
            return labels
        background = 0 if start_label else None
        cleaned: NDArray[Any] = remove_specks(labels, self.min_size, background=background)
        return cleaned

    def found(
        self, labels: NDArray[Any], known: range, names: Mapping[int, str], image: Image
    ) -> Objects | None:
        """Objects in the labels, of which the ``known`` are clusters, where they are asked for."""
        from ..components import check_classes, objects

        if self.objects is None and self.objects_path is None:
            return None
        classes = classes_of(self.objects)
        check_classes(classes, known)
        spacing = None
        if image.geometry is not None:
            spacing = image.geometry.voxel_size[: labels.ndim]
        return objects(
            labels, classes, names=names, spacing=spacing,
            background=0 if known[0] else None,
        )  # fmt: skip


def classes_of(words: str | None) -> list[int | str] | None:
    """Classes such as ``2,WM``, by label or name; None for all."""
    if words is None or words.strip() == "all":
        return None
    return [int(w) if w.isdecimal() else w for w in (word.strip() for word in words.split(","))]


def object_table(found: Objects, unit: str) -> Table:
    """Build a table with a row for each of the largest objects."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("object", "label", "class", "pixels", unit, "box", "centroid"):
        table.add_column(name, justify="left" if name in ("class", "box", "centroid") else "right")
    for row, _ in zip(found.as_dicts(), range(_SHOWN_OBJECTS), strict=False):
        table.add_row(
            str(row["object"]),
            str(row["label"]),
            row["name"] or "",
            f"{row['pixels']:,}",
            f"{row['size']:.6g}",
            " ".join(f"{first}:{end}" for first, end in row["box"]),
            " ".join(f"{x:.1f}" for x in row["centroid"]),
        )
    return table


def object_words(found: Objects) -> str:
    """Say how many objects there are."""
    n = len(found)
    more = f", the {_SHOWN_OBJECTS} largest shown" if n > _SHOWN_OBJECTS else ""
    return f"objects: {n:,}{more}"


def size_unit(image: Placed) -> str:
    """Unit in which objects are measured."""
    if image.geometry is None:
        return "size"
    return "mm2" if len(image.grid) == 2 else "mm3"
