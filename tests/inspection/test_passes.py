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
