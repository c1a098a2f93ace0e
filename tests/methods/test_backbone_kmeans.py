"""k-means on features: scikit-learn's on the same features, and an estimator like the others."""

import numpy as np
import pytest
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from skdeepclust import BackboneKMeans, ImageFiles
from skdeepclust.datasets import load_digits_images, make_image_blobs
from skdeepclust.metrics import clustering_accuracy


@parametrize_with_checks([BackboneKMeans(n_clusters=3, random_state=0)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return load_digits_images(return_X_y=True)


def on_pixels(k=10, **params):
    return BackboneKMeans(k, backbone="identity", weights=None, random_state=0, **params)


def test_it_clusters_like_scikit_learn_on_the_same_features(digits):
    images, target = digits
    model = on_pixels().fit(images)
    reference = KMeans(10, n_init=10, random_state=0).fit(model.transform(images))
    ours = clustering_accuracy(target, model.labels_)
    assert ours == pytest.approx(clustering_accuracy(target, reference.labels_), abs=0.03)
    assert ours > 0.75
    z = model.transform(images)
    means = np.stack([z[model.labels_ == k].mean(0) for k in range(10)])
    assert ((z - means[model.labels_]) ** 2).sum() < 1.01 * reference.inertia_


def test_features_are_the_networks_and_are_not_trained():
    X, _ = make_image_blobs(40, image_shape=(3, 8, 8), random_state=0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 7))
    net.num_features = 7
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = BackboneKMeans(3, backbone=net, random_state=0).fit(X)
    for name, value in model.net_.module_.views.backbone.state_dict().items():
        assert (value == before[name]).all(), name
    assert model.transform(X).shape == (40, 7)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_array_equal(model.predict_proba(X).argmax(1), model.labels_)
    assert model.get_feature_names_out()[0] == "backbonekmeans0"


def test_random_weights_are_warned_of():
    images = load_digits_images().images[:30]
    with pytest.warns(UserWarning, match="random weights: pass weights"):
        BackboneKMeans(3, backbone="convnet", weights=None, random_state=0).fit(images)


def test_folders_and_broken_files(tmp_path):
    images = (make_image_blobs(20, image_shape=(3, 9, 9), random_state=0)[0] * 255).astype("u1")
    for i, image in enumerate(images.transpose(0, 2, 3, 1)):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    whole = on_pixels(3).fit(images)
    np.testing.assert_array_equal(on_pixels(3).fit(tmp_path).labels_, whole.labels_)
    (tmp_path / "20.png").write_bytes(b"")
    model = on_pixels(3, on_error="skip").fit(ImageFiles(tmp_path))
    np.testing.assert_array_equal(model.labels_, [*whole.labels_, -1])
    assert model.skipped_ == [str(tmp_path / "20.png")]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"backbone": "resnet18"}, "backbone='resnet18' needs images"),
        ({"backbone": "nonsense"}, "backbone='nonsense' needs images"),
        ({"backbone": nn.Flatten()}, "backbone=Flatten.* needs images"),
        ({"weights": "nowhere.pt"}, "weights='nowhere.pt' needs images"),
    ],
)
def test_vectors_go_through_no_network(given, named):
    rows = np.random.default_rng(0).normal(size=(20, 12))
    with pytest.raises(ValueError, match=f"{named}, but X holds vectors: pass image_shape="):
        BackboneKMeans(2, **given).fit(rows)
    for backbone in ("auto", "identity"):
        assert BackboneKMeans(2, backbone=backbone).fit(rows).labels_.max() == 1


def test_weights_of_modules_are_their_own_and_names_need_some(monkeypatch):
    def offline(name):
        raise ValueError("weights='DEFAULT' could not be downloaded")

    monkeypatch.setattr("skdeepclust.backbones.torchvision_state", offline)
    with pytest.raises(ValueError, match="could not be downloaded"):
        BackboneKMeans(2).fit(np.zeros((4, 3, 16, 16), np.uint8))
