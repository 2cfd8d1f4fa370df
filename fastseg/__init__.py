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
    from .dispatch import available_backends
    from .distances import distance_map
    from .estimators.functional import k_means
    from .estimators.kmeans import KMeans
    from .estimators.minibatch import MiniBatchKMeans
    from .estimators.patching import patch_sklearn, unpatch_sklearn
    from .model import Model, load_model
    from .pictures.dendrogram import dendrogram
    from .pictures.report import report
    from .pipeline import segment
    from .progress import Stopped
    from .segmentation import FileLabels, FileModel, FileSegmentation, Segmentation
    from .solver import ConvergenceWarning
    from .specks import remove_specks
    from .streaming.options import FileOptions
    from .streaming.predict import predict_file
    from .streaming.segment import fit_files, segment_file

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "comparison",
    "ConvergenceWarning": "solver",
    "FileLabels": "segmentation",
    "FileModel": "segmentation",
    "FileOptions": "streaming.options",
    "FileSegmentation": "segmentation",
    "KMeans": "estimators.kmeans",
    "MiniBatchKMeans": "estimators.minibatch",
    "Model": "model",
    "Objects": "components",
    "Scan": "choosing_k",
    "Segmentation": "segmentation",
    "Stopped": "progress",
    "available_backends": "dispatch",
    "compare": "comparison",
    "dendrogram": "pictures.dendrogram",
    "distance_map": "distances",
    "fit_files": "streaming.segment",
    "k_means": "estimators.functional",
    "load_model": "model",
    "objects": "components",
    "patch_sklearn": "estimators.patching",
    "predict_file": "streaming.predict",
    "remove_specks": "specks",
    "report": "pictures.report",
    "scan": "choosing_k",
    "segment": "pipeline",
    "segment_file": "streaming.segment",
    "unpatch_sklearn": "estimators.patching",
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
    "patch_sklearn",
    "predict_file",
    "remove_specks",
    "report",
    "scan",
    "segment",
    "segment_file",
    "unpatch_sklearn",
]

# Python started in the root of a checkout imports this folder, where the
# kernels are one level up: they are found there, with or without an install.
_here = os.path.dirname(os.path.abspath(__file__))
_beside = os.path.dirname(_here)
if not os.path.isdir(os.path.join(_here, "kernels")) and os.path.isfile(
    os.path.join(_beside, "kernels", "backend.py")
):
    __path__.append(_beside)

# Not left to the first use: what is imported then, a fork waits for.
_forking = importlib.import_module(f"{__name__}.kernels.forking")


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastseg' has no attribute {name!r}")
    with _forking.unforked():
        value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
