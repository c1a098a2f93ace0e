"""The ONNX graph of a fitted estimator predicts what the estimator does."""

import os
import sys

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from torch import nn

import skdeepclust
from skdeepclust import IDFDClustering, ImageFiles, export_onnx

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
QUICK = {"max_epochs": 3, "warmup_epochs": 1, "random_state": 0}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore:The frozen backbone has random weights"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]


@pytest.fixture(scope="module")
def data(digits):
    images = digits[0][:100, None]
    return {"images": images, "floats": images / 16.0, "vectors": images.reshape(100, -1) / 16.0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def session_of(estimator, path, **options):
    export_onnx(estimator, path, **options)
    return onnxruntime.InferenceSession(path)


def assert_same(estimator, X, session):
    (taken,) = session.get_inputs()
    kinds = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(double)": np.float64}
    assert taken.name == "X" and taken.shape[1:] == list(X.shape[1:])
    for n in (1, 7, 64):
        labels, probabilities, embedding = session.run(
            ["labels", "probabilities", "embedding"], {"X": X[:n].astype(kinds[taken.type])}
        )
        expected = estimator.predict_proba(X[:n])
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-4)
        np.testing.assert_allclose(embedding, estimator.transform(X[:n]), rtol=0, atol=1e-4)
        assert (labels.dtype, probabilities.dtype, embedding.dtype) == ("i8", "f4", "f4")
        second, first = np.sort(expected, axis=1)[:, -2:].T
        clear = first - second > 1e-5  # between two clusters rounding decides
        assert clear.mean() > 0.5 or n == 1
        np.testing.assert_array_equal(labels[clear], estimator.predict(X[:n])[clear])


CASES = [
    ("IDFDClustering", "images", {}),
    pytest.param("ProPosClustering", "floats", {"precision": "float64"}, marks=pytest.mark.slow),
    ("SeCuClustering", "floats", {"self_label_epochs": 1}),
    ("CDCClustering", "images", {"backbone": "convnet", "freeze_backbone": True}),
    ("IDFDClustering", "vectors", {"norm_batch_size": 8}),
    pytest.param("ProPosClustering", "vectors", {}, marks=pytest.mark.slow),
    pytest.param("SeCuClustering", "vectors", {}, marks=pytest.mark.slow),
    pytest.param("CDCClustering", "vectors", {}, marks=pytest.mark.slow),
    pytest.param(
        "BackboneKMeans",
        "images",
        {"backbone": "resnet18", "weights": None},
        marks=pytest.mark.slow,
    ),
    ("BackboneKMeans", "vectors", {}),
]


@pytest.mark.parametrize(("name", "kind", "params"), CASES)
def test_the_graph_predicts_what_the_estimator_does(name, kind, params, data, path):
    quick = {"random_state": 0} if name == "BackboneKMeans" else QUICK
    X = data[kind]
    estimator = getattr(skdeepclust, name)(3, **quick | params).fit(X)
    before = estimator.predict_proba(X)
    session = session_of(estimator, path)
    expected = "uint8" if kind == "images" else "float"
    assert session.get_inputs()[0].type == f"tensor({expected})"
    assert_same(estimator, X, session)
    np.testing.assert_array_equal(estimator.predict_proba(X), before)  # it is left as it was
    if name == "ProPosClustering" and kind == "vectors":  # of its two networks one is written
        target = sum(p.numel() for p in estimator.net_.objective.target.parameters())
        assert path.stat().st_size < 6 * target


@pytest.fixture(scope="module")
def model(data):
    return IDFDClustering(3, backbone="mlp", **QUICK).fit(data["images"])


def test_type_and_operators_may_be_chosen(model, data, path):
    import onnx

    session = session_of(model, path, dtype="float", opset=18)
    assert session.get_inputs()[0].type == "tensor(float)"
    assert_same(model, data["images"], session)
    assert [part.version for part in onnx.load(path).opset_import if not part.domain] == [18]
    with pytest.raises(ValueError, match="dtype must be 'auto', 'uint8' or 'float', got 'int8'"):
        export_onnx(model, path, dtype="int8")


def test_a_default_device_has_no_say(model, data, path):
    with torch.device("meta"):
        session = session_of(model, path)
    assert_same(model, data["images"], session)


def test_image_files_as_the_docstring_says(tmp_path, data, path):
    from PIL import Image

    folder = tmp_path / "photographs"
    folder.mkdir()
    for i, pixels in enumerate(data["images"][:70, 0]):
        Image.fromarray(16 * pixels).resize((10 + i % 3, 9)).save(folder / f"{i:02d}.png")
    model = IDFDClustering(3, backbone="mlp", image_shape=(1, 8, 8), **QUICK).fit(folder)
    images = np.asarray(ImageFiles(folder, model.image_shape_in_))
    assert_same(model, images, session_of(model, path))


class Hesitant(nn.Module):
    num_features = 64

    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


def test_what_cannot_be_a_graph(data, path):
    model = IDFDClustering(3, backbone=Hesitant(), **QUICK).fit(data["images"])
    with pytest.raises(ValueError, match="IDFDClustering with this backbone cannot be an ONNX"):
        export_onnx(model, path)
    assert not os.listdir(path.parent)


def test_what_is_no_fitted_estimator(data, path):
    with pytest.raises(NotFittedError):
        export_onnx(IDFDClustering(), path)
    with pytest.raises(TypeError, match="estimator must be one of skdeepclust, got KMeans"):
        export_onnx(KMeans(2, n_init=1).fit(data["vectors"]), path)


def test_where_a_graph_cannot_go(model, path, monkeypatch):
    with pytest.raises(ValueError, match="is a folder"):
        export_onnx(model, path.parent)
    with pytest.raises(FileNotFoundError, match=r"nowhere.model\.onnx"):
        export_onnx(model, path.parent / "nowhere" / "model.onnx")
    path.write_bytes(b"what was there")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skdeepclust.engine.archive.os.fsync", full)
    with pytest.raises(OSError, match=r"No space left.*model\.onnx"):
        export_onnx(model, path)
    assert path.read_bytes() == b"what was there" and os.listdir(path.parent) == ["model.onnx"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra(package, model, path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install .*skdeepclust\[onnx\]"):
        export_onnx(model, path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_model_on_a_gpu(data, path):
    model = IDFDClustering(3, device="cuda", **QUICK).fit(data["images"])
    assert_same(model, data["images"], session_of(model, path))
