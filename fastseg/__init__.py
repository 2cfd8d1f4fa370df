"""fastseg: a high-performance clustering engine for pixels.

The public names are imported on first use, so that ``import fastseg`` loads
neither numba nor scikit-learn.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .choosing_k import Scan, scan
    from .comparison import Comparison, compare
    from .components import Objects, objects
    from .dendrogram_picture import dendrogram
    from .dispatch import available_backends
    from .distances import distance_map
    from .estimator import KMeans
    from .functional import k_means
    from .model import Model, load_model
    from .pipeline import segment
    from .progress import Stopped
    from .report_picture import report
    from .segmentation import Segmentation
    from .solver import ConvergenceWarning
    from .specks import remove_specks

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "comparison",
    "ConvergenceWarning": "solver",
    "KMeans": "estimator",
    "Model": "model",
    "Objects": "components",
    "Scan": "choosing_k",
    "Segmentation": "segmentation",
    "Stopped": "progress",
    "available_backends": "dispatch",
    "compare": "comparison",
    "dendrogram": "dendrogram_picture",
    "distance_map": "distances",
    "k_means": "functional",
    "load_model": "model",
    "objects": "components",
    "remove_specks": "specks",
    "report": "report_picture",
    "scan": "choosing_k",
    "segment": "pipeline",
}

__all__ = [
    "Comparison",
    "ConvergenceWarning",
    "KMeans",
    "Model",
    "Objects",
    "Scan",
    "Segmentation",
    "Stopped",
    "__version__",
    "available_backends",
    "compare",
    "dendrogram",
    "distance_map",
    "k_means",
    "load_model",
    "objects",
    "remove_specks",
    "report",
    "scan",
    "segment",
]

# Python started in the root of a checkout imports this folder, where the
# kernels are one level up: they are found there, with or without an install.
_here = os.path.dirname(os.path.abspath(__file__))
_beside = os.path.dirname(_here)
if not os.path.isdir(os.path.join(_here, "kernels")) and os.path.isfile(
    os.path.join(_beside, "kernels", "backend.py")
):
    __path__.append(_beside)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastseg' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
