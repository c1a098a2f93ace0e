import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch.utils.data import TensorDataset

from skdeepclust import IDFDClustering
from skdeepclust.datasets import make_image_blobs
from skdeepclust.inspection import ClusterGalleryDisplay
from skdeepclust.metrics import hungarian_accuracy_scorer
from skdeepclust.model_selection import KSelection, TransductiveSplit


@pytest.fixture
def blobs():
    X, y = make_image_blobs(60, 3, (3, 10, 8), random_state=0)
    return X, y


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


def shown(display):
    return [image.get_array() for image in display.ax_.images]


def test_a_row_per_cluster(blobs):
    X, y = blobs
    display = ClusterGalleryDisplay.from_predictions(X, y, n_members=4, n_borderline=2)

    assert display.figure_ is display.ax_.figure
    assert display.clusters == [0, 1, 2]
    assert display.sizes == {0: 20, 1: 20, 2: 20}
    assert len(shown(display)) == 3 * (4 + 2)
    assert {"cluster 0", "20 images", "most typical", "borderline"} <= set(texts(display))
    for k in range(3):
        chosen = np.concatenate([display.members[k], display.borderline[k]])
        assert (y[chosen] == k).all()
        assert len(set(chosen)) == 6


def test_scores_rank_the_members():
    scores = np.array([[0.9, 0.1, 0.0], [0.5, 0.49, 0.0], [0.6, 0.1, 0.1], [0.55, 0.3, 0.1]])
    display = ClusterGalleryDisplay.from_predictions(
        np.zeros((4, 5, 5)), [0, 0, 0, 0], scores=scores, n_members=2, n_borderline=2
    )
    assert display.members[0].tolist() == [0, 2]
    assert display.borderline[0].tolist() == [1, 3]


def test_without_scores_the_mean_image_is_typical():
    X = np.zeros((6, 5, 5))
    X[3:] = 10
    X[2] = 4  # pulled away from its cluster, towards the other
    display = ClusterGalleryDisplay.from_predictions(
        X, [0, 0, 0, 1, 1, 1], n_members=2, n_borderline=1
    )
    assert display.members[0].tolist() == [0, 1]
    assert display.borderline[0].tolist() == [2]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "layout", ["channels_last", "channels_first", "grey", "rows", "tensor", "dataset", "alpha"]
)
def test_layouts(layout, dtype):
    rng = np.random.default_rng(0)
    X = (rng.random((12, 6, 7, 3)) * 255).astype(dtype)
    X[0, 0, 0], X[1, 0, 0] = 0, 255  # black and white on the scale of all images
    first, shape = np.ascontiguousarray(X.transpose(0, 3, 1, 2)), None
    images = {
        "channels_last": X,
        "channels_first": first,
        "grey": X[..., 0],
        "rows": first.reshape(12, -1),
        "tensor": torch.from_numpy(first),
        "dataset": TensorDataset(torch.from_numpy(first), torch.zeros(12)),
        "alpha": np.concatenate([X, X[..., :1]], axis=3),
    }[layout]
    if layout == "rows":
        shape = (3, 6, 7)
    display = ClusterGalleryDisplay.from_predictions(
        images, np.arange(12) % 2, n_members=6, image_shape=shape
    )
    expected = X / 255
    if layout == "grey":
        expected = expected[..., 0]
    elif layout == "alpha":
        expected = np.concatenate([expected, expected[..., :1]], axis=3)
    np.testing.assert_allclose(shown(display)[0], expected[display.members[0][0]], atol=0.01)


def test_other_channel_counts_are_averaged():
    X = np.random.default_rng(0).random((8, 5, 6, 6))
    display = ClusterGalleryDisplay.from_predictions(
        X, np.arange(8) % 2, image_shape=(5, 6, 6), n_members=4
    )
    assert display.images.shape == (8, 6, 6)


def test_constant_images_are_drawn():
    display = ClusterGalleryDisplay.from_predictions(np.full((4, 5, 5), 7.0), [0, 0, 1, 1])
    assert np.isfinite(shown(display)[0]).all()


def test_classes_name_and_order_the_rows(blobs):
    X, y = blobs
    names = np.array(["wolf", "cat", "owl"])[y]
    labels = np.array([2, 0, 1])[y]
    display = ClusterGalleryDisplay.from_predictions(X, labels, y=names)
    assert display.names == {0: "cat", 1: "owl", 2: "wolf"}
    assert display.clusters == [0, 1, 2]
    assert {"cat", "cluster 0, 20 images"} <= set(texts(display))


def test_clusters_beyond_the_classes_come_last_by_number(blobs):
    X, y = blobs
    labels = y.copy()
    labels[np.flatnonzero(y == 0)[:5]] = 3
    display = ClusterGalleryDisplay.from_predictions(X, labels, y=y)
    assert display.clusters[-1] == 3
    assert 3 not in display.names
    assert {"cluster 3", "5 images"} <= set(texts(display))


def test_chosen_clusters_in_the_given_order(blobs):
    display = ClusterGalleryDisplay.from_predictions(*blobs, clusters=[2, 0])
    assert display.clusters == [2, 0]


def test_small_clusters_and_unassigned_samples():
    X = np.random.default_rng(0).random((5, 6, 6))
    display = ClusterGalleryDisplay.from_predictions(X, [0, 0, 0, 4, -1], n_members=2)
    assert display.clusters == [0, 4]
    assert display.sizes == {0: 3, 4: 1}
    assert len(shown(display)) == 4


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    for i in range(5):
        Image.fromarray(np.full((6, 6), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "5.png").write_text("no image")
    display = ClusterGalleryDisplay.from_predictions(tmp_path, [0, 0, 0, 1, 1, -1])
    assert display.sizes == {0: 3, 1: 2} and display.members[0][0] == 1  # the mean of three


def test_one_cluster_has_no_borderline():
    display = ClusterGalleryDisplay.from_predictions(np.ones((30, 5, 5)), np.zeros(30, int))
    assert display.borderline[0].size == 0
    assert "borderline" not in texts(display)


@pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained
def test_from_a_deep_clusterer(digits):
    images, target = digits
    model = IDFDClustering(10, max_epochs=1, random_state=0).fit(images)
    display = ClusterGalleryDisplay.from_estimator(model, images, y=target)
    k = display.clusters[0]
    own = model.predict_proba(images)[model.labels_ == k, k]
    assert model.predict_proba(images)[display.members[k][0], k] == own.max()
    assert sum(display.sizes.values()) == len(images)


@pytest.mark.parametrize("kind", ["search", "pipeline", "selection"])
def test_flat_images_of_what_holds_an_estimator(kind, blobs):
    X, shape = blobs[0].reshape(len(blobs[0]), -1), blobs[0].shape[1:]
    model = IDFDClustering(3, image_shape=shape, max_epochs=1, backbone="mlp", random_state=0)
    holders = {
        "search": GridSearchCV(
            model, {"lr": [1e-3]}, cv=TransductiveSplit(), scoring=hungarian_accuracy_scorer
        ),
        "pipeline": make_pipeline("passthrough", model),
        "selection": KSelection(model, [2, 3], random_state=0),
    }
    held = holders[kind].fit(X, blobs[1])
    display = ClusterGalleryDisplay.from_estimator(held, X)
    assert display.images.shape[1:] == (10, 8, 3)


def test_from_an_estimator_without_probabilities():
    X = np.random.default_rng(0).random((20, 9))
    kmeans = KMeans(2, n_init=1, random_state=0).fit(X)
    kmeans.image_shape_in_ = (1, 3, 3)
    display = ClusterGalleryDisplay.from_estimator(kmeans, X)
    assert display.images.shape == (20, 3, 3)


def test_given_axes_are_used(blobs):
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.subfigures(1, 2)[0].subplots()
    display = ClusterGalleryDisplay.from_predictions(*blobs, ax=ax)
    assert display.ax_ is ax
    assert display.plot().figure_ is not figure


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0, 1]}, "labels must have shape"),
        ({"labels": [0.0] * 60}, "labels must be integers"),
        ({"labels": [-1] * 60}, "no sample"),
        ({"scores": np.zeros((60, 2))}, "scores must have shape"),
        ({"y": [0, 1]}, "y must hold one class for each of"),
        ({"y": np.zeros((60, 1))}, r"one class for each of 60 samples, got shape \(60, 1\)"),
        ({"clusters": [7]}, "clusters must name"),
        ({"clusters": []}, "clusters must name"),
        ({"n_members": 0}, "n_members"),
        ({"n_borderline": -1}, "n_borderline"),
        ({"X": np.zeros((60, 9))}, "holds vectors"),
        ({"X": np.zeros((60, 5, 6, 7))}, "image_shape"),
    ],
)
def test_bad_input_is_named(blobs, arguments, message):
    X, y = blobs
    with pytest.raises((ValueError, TypeError), match=message):
        ClusterGalleryDisplay.from_predictions(**{"X": X, "labels": y, **arguments})


def test_without_matplotlib_the_extra_is_named(blobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skdeepclust\[plot\]"):
        ClusterGalleryDisplay.from_predictions(*blobs)


def test_a_folder_is_shown_without_decoding_the_rest(tmp_path, monkeypatch):
    from PIL import Image

    from skdeepclust import BackboneKMeans
    from skdeepclust.engine import files

    shades = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    for i, shade in enumerate(shades):
        Image.fromarray(shade).save(tmp_path / f"{i:02}.png")
    (tmp_path / "07.png").write_bytes(b"")
    model = BackboneKMeans(2, backbone="identity", weights=None, on_error="skip", random_state=0)
    model.fit(tmp_path)
    display = ClusterGalleryDisplay.from_estimator(model, tmp_path, n_members=3, n_borderline=1)
    assert sum(display.sizes.values()) == 29
    shown = [i for group in (display.members, display.borderline) for k in group for i in group[k]]
    assert 7 not in shown and len(shown) == 8
    np.testing.assert_array_equal(display.images[shown[0]], shades[shown[0]])
    decoded, real = [], files.decode
    monkeypatch.setattr(files, "decode", lambda path, *a: decoded.append(path) or real(path, *a))
    display.plot()
    assert len(decoded) == 8
