"""scikit-learn-compatible deep image clustering.

Estimators are imported on first use, so that ``import skdeepclust`` is quick and needs no
torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skdeepclust.engine.files import ImageFiles
    from skdeepclust.engine.health import CollapseWarning
    from skdeepclust.export import export_onnx as export_onnx
    from skdeepclust.methods.backbone_kmeans import BackboneKMeans as BackboneKMeans
    from skdeepclust.methods.cdc import CDCClustering as CDCClustering
    from skdeepclust.methods.idfd import IDFDClustering as IDFDClustering
    from skdeepclust.methods.propos import ProPosClustering as ProPosClustering
    from skdeepclust.methods.secu import SeCuClustering as SeCuClustering
    from skdeepclust.persistence import load as load

# The registry of methods: tests, benchmarks and the command line go through this table.
METHODS = {
    "IDFDClustering": "skdeepclust.methods.idfd",
    "ProPosClustering": "skdeepclust.methods.propos",
    "SeCuClustering": "skdeepclust.methods.secu",
    "CDCClustering": "skdeepclust.methods.cdc",
}
_EXPORTS = {
    **METHODS,
    "BackboneKMeans": "skdeepclust.methods.backbone_kmeans",
    "CollapseWarning": "skdeepclust.engine.health",
    "ImageFiles": "skdeepclust.engine.files",
    "export_onnx": "skdeepclust.export",
    "load": "skdeepclust.persistence",
}

__all__ = [
    "METHODS",
    "BackboneKMeans",
    "CollapseWarning",
    "ImageFiles",
    "__version__",
    "export_onnx",
    "load",
    *METHODS,
]


def _version() -> str:
    try:
        from skdeepclust._version import __version__ as found
    except ImportError:  # a tree that was never built
        return "0.0.0+unknown"
    return found


__version__ = _version()


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
