"""A fitted estimator as one ONNX graph, which predicts without torch and without this package."""

import copy
import os
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skdeepclust._errors import first_line
from skdeepclust.clusterer import ImageClusterer
from skdeepclust.engine.archive import replacing
from skdeepclust.engine.device import cpu_by_default
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.engine.objective import Learner

__all__ = ["export_onnx"]

_OUTPUTS = ["labels", "probabilities", "embedding"]


@cpu_by_default
def export_onnx(
    estimator: Any, path: str | os.PathLike[str], *, dtype: str = "auto", opset: int | None = None
) -> None:
    """Write what a fitted estimator predicts as an ONNX graph.

    The graph has one input, ``X``, of any number of samples: images (n, C, H, W) as the
    estimator was trained on, or vectors (n, n_features); scaling and standardisation are inside.
    Its outputs are ``labels`` (n,), int64, and ``probabilities`` (n, n_clusters) and
    ``embedding`` (n, embedding_dim), float32: those of ``predict``, ``predict_proba`` and
    ``transform``.

    Parameters
    ----------
    estimator : estimator of skdeepclust
        Fitted, by a method or `BackboneKMeans`.
    path : path
        Of the file, best with the ending ``.onnx``; what is there is replaced once the new file
        is complete and on the disk.
    dtype : {"auto", "uint8", "float"}, default="auto"
        Type of ``X``: ``"float"`` is float32; ``"auto"`` is uint8 for images that are read as 0
        to 255, else float32.
    opset : int, default=None
        Version of the ONNX operators; None takes that of PyTorch's exporter.

    Raises
    ------
    ImportError
        If onnx or onnxscript is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is not an estimator of skdeepclust.
    ValueError
        If `path` is a folder, `dtype` is none of these, or the backbone does what ONNX cannot
        express.
    OSError
        If the file cannot be written.

    Notes
    -----
    The size of images is fixed. Image files, whose sizes vary, are for the graph what they are
    for the estimator: ``np.asarray(ImageFiles(folder, model.image_shape_in_))``.

    The graph computes in float32, whatever the estimator's `precision`, and rounds in another
    order than PyTorch: probabilities and embeddings agree to about 1e-5, and the label of a sample
    that lies between two clusters may be the other one.

    Examples
    --------
    >>> from skdeepclust import CDCClustering, export_onnx
    >>> from skdeepclust.datasets import make_image_blobs
    >>> X, _ = make_image_blobs(60, n_classes=3, random_state=0)
    >>> model = CDCClustering(3, max_epochs=2, random_state=0).fit(X)
    >>> export_onnx(model, "model.onnx")  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("model.onnx")  # doctest: +SKIP
    >>> labels, probabilities, embedding = session.run(None, {"X": X})  # doctest: +SKIP
    """
    _check(estimator, dtype)
    with replacing(path) as file:
        file.write(_graph(estimator, _example(estimator, dtype), opset))


def _check(estimator: Any, dtype: str) -> None:
    if not isinstance(estimator, ImageClusterer):
        kind = type(estimator).__name__
        raise TypeError(f"estimator must be one of skdeepclust, got {kind}")
    check_is_fitted(estimator, "labels_")
    if dtype not in ("auto", "uint8", "float"):
        raise ValueError(f"dtype must be 'auto', 'uint8' or 'float', got {dtype!r}")
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs {error.name}: pip install 'skdeepclust[onnx]'"
        ) from error


def _example(estimator: ImageClusterer, dtype: str) -> Tensor:
    """Two samples of the shape and type that the graph takes."""
    net: ObjectiveNet = estimator.net_
    views, shape = net.module_.views, estimator._sample_shape
    eight_bits = len(shape) == 3 and float(views.low) == 0 and float(views.span) == 255
    narrow = dtype == "uint8" or (dtype == "auto" and eight_bits)
    kind = torch.uint8 if narrow else torch.float32
    return torch.zeros(2, *shape, dtype=kind, device=net.device)


@torch.no_grad()
def _graph(estimator: ImageClusterer, example: Tensor, opset: int | None) -> bytes:
    prediction = Prediction(estimator.net_).eval()
    try:
        program = torch.onnx.export(
            prediction,
            (example,),
            input_names=["X"],
            output_names=_OUTPUTS,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = first_line(error.__cause__ or error)
        kind = type(estimator).__name__
        raise ValueError(f"{kind} with this backbone cannot be an ONNX graph: {reason}") from error
    assert program is not None  # as always without a file
    return program.model_proto.SerializeToString()


class Prediction(nn.Module):
    """What a net predicts, as one function of a batch.

    Parameters
    ----------
    net : ObjectiveNet
        Of a fitted estimator.
    """

    def __init__(self, net: ObjectiveNet):
        super().__init__()
        learner = net.module_
        # Runtimes have few operators for doubles.
        double = learner.views.mean.dtype == torch.float64
        self.learner: Learner = copy.deepcopy(learner).float() if double else learner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (n,), probabilities (n, n_clusters) and embedding (n, dim) of samples."""
        z = self.learner.embed(x)
        p = self.learner.objective.probabilities(z)
        return p.argmax(1), p, z
