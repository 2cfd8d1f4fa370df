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
    from .file_options import FileOptions
    from .functional import k_means
    from .minibatch_estimator import MiniBatchKMeans
    from .model import Model, load_model
    from .pipeline import segment
    from .progress import Stopped
    from .report_picture import report
    from .segmentation import Segmentation
    from .solver import ConvergenceWarning
    from .specks import remove_specks
    from .streamed_predict import FileLabels, predict_file
    from .streaming import FileModel, FileSegmentation, fit_files, segment_file

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "comparison",
    "ConvergenceWarning": "solver",
    "FileLabels": "streamed_predict",
    "FileModel": "streaming",
    "FileOptions": "file_options",
    "FileSegmentation": "streaming",
    "KMeans": "estimator",
    "MiniBatchKMeans": "minibatch_estimator",
    "Model": "model",
    "Objects": "components",
    "Scan": "choosing_k",
    "Segmentation": "segmentation",
    "Stopped": "progress",
    "available_backends": "dispatch",
    "compare": "comparison",
    "dendrogram": "dendrogram_picture",
    "distance_map": "distances",
    "fit_files": "streaming",
    "k_means": "functional",
    "load_model": "model",
    "objects": "components",
    "predict_file": "streamed_predict",
    "remove_specks": "specks",
    "report": "report_picture",
    "scan": "choosing_k",
    "segment": "pipeline",
    "segment_file": "streaming",
}

__all__ = [
    "Comparison",
    "ConvergenceWarning",
    "FileLabels",
    "FileModel",
    "FileOptions",
    "FileSegmentation",
    "KMeans",
    "MiniBatchKMeans",
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
    "fit_files",
    "k_means",
    "load_model",
    "objects",
    "predict_file",
    "remove_specks",
    "report",
    "scan",
    "segment",
    "segment_file",
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
