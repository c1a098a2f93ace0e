"""Real photographs seen by a real pretrained network, whose weights come with a package."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import skdeepclust
from skdeepclust import BackboneKMeans
from skdeepclust.metrics import clustering_accuracy

# IDFD tells single images apart, of which there are too few here; asv_bench/pretrained.py has more.
METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS if name != "IDFDClustering"]
SHAPE = (3, 96, 96)


@pytest.fixture(scope="module")
def network():
    """That of asv_bench/pretrained.py, by which the documentation's table was made."""
    before = list(sys.path)
    path = Path(__file__).parents[1] / "asv_bench" / "pretrained.py"
    spec = importlib.util.spec_from_file_location("pretrained", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before  # the script puts its own folder there
    return module.efficientnet_lite()


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """JPEGs cut from two photographs, of a temple and of a flower, and one broken file."""
    folder, random = tmp_path_factory.mktemp("patches"), np.random.default_rng(0)
    for name, picture in zip(("china", "flower"), load_sample_images().images, strict=True):
        for i in range(40):
            side = random.integers(150, 250)
            top, left = random.integers(0, np.array(picture.shape[:2]) - side)
            patch = Image.fromarray(picture[top : top + side, left : left + side])
            patch.save(folder / f"{name}{i:02}.jpg", quality=90)
    (folder / "broken.jpg").write_bytes(b"")
    return folder


def accuracy(model):
    good = model.labels_ >= 0
    classes = np.array([path.rsplit("/")[-1][0] for path in model.image_paths_])
    return clustering_accuracy(classes[good], model.labels_[good])


def test_kmeans_on_pretrained_features(network, patches):
    model = BackboneKMeans(
        2, backbone=network, image_shape=SHAPE, on_error="skip", random_state=0
    ).fit(patches)
    assert len(model.skipped_) == 1 and accuracy(model) >= 0.95
    np.testing.assert_array_equal(model.predict(patches), model.labels_)


@pytest.mark.parametrize("method", METHODS)
def test_heads_on_frozen_features(method, network, patches):
    model = method(
        2,
        backbone=network,
        freeze_backbone=True,
        augment="features",
        image_shape=SHAPE,
        on_error="skip",
        random_state=0,
    ).fit(patches)
    assert accuracy(model) >= 0.95
    with torch.no_grad():
        assert np.isfinite(model.score(patches))
