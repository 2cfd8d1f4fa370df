"""One segmentation of layers: asked for in the window, done in a thread beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.backend import Array
from ..pipeline import segment
from ..pixels import both
from ..progress import Callback, Progress
from ..segmentation import Segmentation
from .layers import colors_shown, grid, levels, nearest, placement, read, same_place

if TYPE_CHECKING:
    from napari.layers import Image, Labels

LayerData = tuple[Any, dict[str, Any], str]


@dataclass(frozen=True)
class Job:
    """What to segment, as it lay when it was asked for: layers may be moved meanwhile.

    ``arrays`` are one image, or one for each of several ``layers``; ``finest`` is the grid of
    their finest level, ``placed`` where the labels lie, and ``options`` go to `segment`.
    """

    layers: tuple[Image, ...]
    arrays: tuple[Any, ...]
    finest: tuple[int, ...]
    placed: dict[str, Any]
    mask: Any
    options: dict[str, Any]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of what is clustered."""
        if self.layers[0].rgb:
            return ("red", "green", "blue")
        return tuple(layer.name for layer in self.layers) if len(self.layers) > 1 else ("mean",)

    def run(self, callback: Callback | None = None) -> LayerData:
        """Segment, and give the data, arguments and type of the Labels layer.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As `segment` does, and if lazy layers do not fit into memory.
        Stopped
            If the callback returned True.
        """
        image, kept = self._image(Progress(callback))
        result = segment(
            image,
            mask=both(kept, self._mask(image)),
            channel_axis=None if len(self.channels) == 1 else -1,
            start_label=1,  # napari shows nothing where a label is 0
            callback=callback,
            **self.options,
        )
        return result.labels, self._described(result), "labels"

    def _image(self, progress: Progress) -> tuple[Array, Array | None]:
        """Image with its channels last, and which pixels are not transparent."""
        arrays = read(self.layers[0].name, self.arrays, progress)
        if len(arrays) > 1:
            return np.stack(arrays, axis=-1), None
        image = arrays[0]
        if not self.layers[0].rgb or image.shape[-1] == 3:
            return image, None
        visible: Array = image[..., 3] > 0
        return image[..., :3], None if visible.all() else visible

    def _mask(self, image: Array) -> Array | None:
        """Which pixels are kept, on the grid of the level that is segmented."""
        if self.mask is None:
            return None
        shape = image.shape if len(self.channels) == 1 else image.shape[:-1]
        mask = np.asarray(self.mask)
        if mask.shape == self.finest != shape:
            mask = nearest(mask, shape)
        kept: Array = mask != 0
        return kept

    def _described(self, result: Segmentation) -> dict[str, Any]:
        """Arguments of the Labels layer."""
        from napari.utils.colormaps import DirectLabelColormap

        clear = (0.0, 0.0, 0.0, 0.0)
        colors: dict[int | None, Any] = {None: clear, 0: clear}
        for label, color in enumerate(colors_shown(self.layers, result.centers).tolist(), 1):
            colors[label] = (*color, 1.0)
        return {
            "name": f"{self.layers[0].name} k={result.n_clusters}",
            "colormap": DirectLabelColormap(color_dict=colors),
            "features": self._table(result),
            "metadata": {"fastseg": result},
            **self.placed,
        }

    def _table(self, result: Segmentation) -> dict[str, Any]:
        """What napari tells of the label under the pointer."""
        return {
            "index": np.arange(1, result.n_clusters + 1),
            "pixels": result.counts,
            "percent": 100 * result.counts / result.counts.sum(),
            **dict(zip(self.channels, result.centers.T, strict=True)),
        }


def job_of(
    layers: Sequence[Image], level: int, mask: Labels | None, options: dict[str, Any]
) -> Job:
    """Take from layers what a job needs.

    Parameters
    ----------
    layers : sequence of Image
        One layer, or one for each channel.
    level : int
        Level of multiscale layers, 0 is the finest.
    mask : Labels or None
        Layer whose label 0 is left out.
    options : dict
        Arguments of `segment`.

    Raises
    ------
    ValueError
        If layers of one grid do not lie at the same place.
    """
    first = layers[0]
    for other in [*layers[1:], *([] if mask is None else [mask])]:
        if grid(other) == grid(first) and not same_place(other, first):
            raise ValueError(
                f"layer {other.name!r} lies elsewhere than {first.name!r}; give both the same"
                " scale, translate, rotate, shear and affine"
            )
    return Job(
        layers=tuple(layers),
        arrays=tuple(levels(layer)[level] for layer in layers),
        finest=grid(first),
        placed=placement(first, level),
        mask=None if mask is None else levels(mask)[0],
        options=options,
    )
