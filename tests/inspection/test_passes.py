"""Pictures, the report and scorers look at the images once."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from skdeepclust import IDFDClustering
from skdeepclust.datasets import make_image_blobs
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.inspection import ClusterReport, EmbeddingDisplay, SilhouetteDisplay
from skdeepclust.metrics import silhouette_scorer

X, _ = make_image_blobs(30, random_state=0)


@pytest.fixture(scope="module")
def model():
    return IDFDClustering(3, max_epochs=2, random_state=0).fit(X)


@pytest.mark.parametrize(
    "look",
    [
        lambda model: ClusterReport.from_estimator(model, X, map_method="pca"),
        lambda model: EmbeddingDisplay.from_estimator(model, X, method="pca"),
        lambda model: SilhouetteDisplay.from_estimator(model, X),
        lambda model: silhouette_scorer(model, X),
    ],
    ids=["report", "embedding", "silhouette", "scorer"],
)
def test_one_pass(look, model, monkeypatch):
    passes, infer = [], ObjectiveNet._infer_all
    monkeypatch.setattr(ObjectiveNet, "_infer_all", lambda *args: passes.append(1) or infer(*args))
    look(model)
    assert len(passes) == 1


class Foreign:
    """Of another package: clusters 3 and 7, or none."""

    def transform(self, X):
        return X.reshape(len(X), -1)

    def predict(self, X):
        return np.where(np.arange(len(X)) % 3 == 0, -1, np.where(np.arange(len(X)) % 2, 3, 7))

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


class Merging(IDFDClustering):
    """A subclass with another prediction."""

    def predict(self, X):
        return np.minimum(super().predict(X), 1)


@pytest.mark.parametrize("display", [EmbeddingDisplay, SilhouetteDisplay])
def test_clusters_are_those_of_predict(display, monkeypatch):
    seen = []
    monkeypatch.setattr(display, "from_predictions", lambda z, labels, **how: seen.append(labels))
    merging = Merging(3, max_epochs=2, random_state=0).fit(X)
    for estimator in (Foreign(), merging):
        display.from_estimator(estimator, X)
        np.testing.assert_array_equal(seen.pop(), estimator.predict(X))


def test_what_cannot_be_read_has_no_cluster(model, tmp_path):
    from PIL import Image

    for i in range(4):
        Image.fromarray(np.full((8, 8), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    model.set_params(on_error="skip")
    z, labels, proba = model._in_one_pass(tmp_path)
    assert labels.tolist().index(-1) == 2 and (labels[[0, 1, 3]] >= 0).all()
    assert np.isnan(z).all(axis=1).tolist() == [False, False, True, False]
    assert np.isnan(proba).all(axis=1).tolist() == [False, False, True, False]
