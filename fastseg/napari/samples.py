"""Images to try the panel on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.backend import Array

LayerData = tuple[Any, dict[str, Any], str]


def photograph() -> list[LayerData]:
    """Photograph that scikit-learn ships, china.jpg by danielbuechele (CC BY 2.0)."""
    from sklearn.datasets import load_sample_image

    return [(load_sample_image("china.jpg"), {"name": "photograph", "rgb": True}, "image")]


def volume() -> list[LayerData]:
    """Noisy ellipsoids of four grey values in air, with slices twice as thick as pixels."""
    grid = (40, 96, 80)
    values = np.zeros(grid)
    for radius, value in ((1.0, 90.0), (0.85, 40.0), (0.75, 140.0), (0.5, 200.0)):
        values[_distance(grid) < radius] = value
    values += np.random.default_rng(0).normal(0, 6, grid)
    image: Array = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return [(image, {"name": "volume", "scale": (2.0, 1.0, 1.0)}, "image")]


def _distance(grid: tuple[int, ...]) -> Array:
    """Distance of each voxel to the middle, 1 at 0.9 times the way to the nearest faces."""
    axes = (np.linspace(-1, 1, length) / 0.9 for length in grid)
    squares = [axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)]
    distance: Array = np.sqrt(squares[0] + squares[1] + squares[2])
    return distance
