import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex

from skdeepclust import IDFDClustering
from skdeepclust.inspection import EmbeddingDisplay


@pytest.fixture
def groups():
    """Return three far groups of 20 rows, and the group of each row."""
    labels = np.repeat([0, 1, 2], 20)
    return np.random.default_rng(0).normal(size=(60, 6)) + 20 * np.eye(6)[labels], labels


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_groups_stay_apart(groups, method):
    embedding, labels = groups
    display = EmbeddingDisplay.from_predictions(embedding, labels, method=method)

    assert display.figure_ is display.ax_.figure
    assert display.positions.shape == (60, 2)
    assert np.array_equal(display.labels, labels)
    assert texts(display) == ["0", "1", "2"]
    centers = np.array([display.positions[labels == k].mean(axis=0) for k in range(3)])
    distances = np.linalg.norm(display.positions[:, None] - centers, axis=2)
    assert np.array_equal(distances.argmin(axis=1), labels)


def test_names_stand_at_the_medians_in_the_order_of_the_classes(groups):
    embedding, labels = groups
    y = np.array(["wolf", "cat", "owl"])[labels]
    display = EmbeddingDisplay.from_predictions(embedding, labels, y=y, method="pca")
    assert texts(display) == ["cat", "owl", "wolf"]
    median = np.median(display.positions[labels == 1], axis=0)
    np.testing.assert_allclose(display.ax_.texts[0].get_position(), median)


def test_a_cluster_beyond_the_classes_keeps_its_number(groups):
    embedding, labels = groups
    display = EmbeddingDisplay.from_predictions(
        embedding, labels, y=np.minimum(labels, 1), method="pca"
    )
    assert sorted(texts(display))[-1].startswith("cluster ")


def test_clusters_have_colours_and_other_samples_are_grey(groups):
    embedding, labels = groups
    labels = np.where(labels == 2, -1, labels)
    display = EmbeddingDisplay.from_predictions(embedding, labels, method="pca")
    [points] = display.ax_.collections
    colors = np.array([to_hex(c) for c in points.get_facecolors()])
    assert len({*colors[labels == 0]}) == len({*colors[labels == 1]}) == 1
    assert {*colors[labels == -1]} == {"#d0d0d0"}
    assert len({*colors}) == 3


def test_a_large_set_is_sampled_with_a_fixed_seed(groups):
    embedding, labels = groups
    maps = [
        EmbeddingDisplay.from_predictions(embedding, labels, method="pca", max_samples=30)
        for _ in range(2)
    ]
    assert maps[0].positions.shape == (30, 2)
    np.testing.assert_array_equal(maps[0].positions, maps[1].positions)
    assert "30 samples" in maps[0].ax_.get_xlabel()
    whole = EmbeddingDisplay.from_predictions(embedding, labels, method="pca", max_samples=None)
    assert len(whole.positions) == 60


def test_clusters_that_were_not_sampled_have_no_name(groups):
    embedding, labels = groups
    display = EmbeddingDisplay.from_predictions(embedding, labels, method="pca", max_samples=2)
    assert 1 <= len(texts(display)) <= 2


def test_rows_that_are_not_finite_are_left_out(groups):
    embedding, labels = groups
    embedding[3] = np.nan
    display = EmbeddingDisplay.from_predictions(embedding, labels, method="pca")
    assert len(display.positions) == 59


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("shape", [(2, 5), (5, 1)])
def test_very_small_embeddings(shape, method):
    embedding = np.random.default_rng(0).random(shape)
    display = EmbeddingDisplay.from_predictions(
        embedding, np.zeros(len(embedding), int), method=method
    )
    assert display.positions.shape == (len(embedding), 2)


@pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained
def test_from_a_deep_clusterer(digits):
    images, target = digits
    model = IDFDClustering(10, max_epochs=1, random_state=0).fit(images)
    display = EmbeddingDisplay.from_estimator(model, images, y=target, method="pca")
    assert np.array_equal(display.labels, model.labels_)


def test_given_axes_are_used(groups):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    display = EmbeddingDisplay.from_predictions(*groups, method="pca", ax=ax)
    assert display.ax_ is ax
    assert display.plot().ax_ is not ax


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "umap"}, "method must be one of"),
        ({"max_samples": 1}, "max_samples"),
        ({"labels": [0, 1]}, "labels must have shape"),
        ({"y": [0, 1]}, "inconsistent numbers of samples"),
        ({"embedding": np.full((60, 4), np.nan)}, "at least 2 finite rows"),
    ],
)
def test_bad_input_is_named(groups, arguments, message):
    embedding, labels = groups
    with pytest.raises(ValueError, match=message):
        EmbeddingDisplay.from_predictions(**{"embedding": embedding, "labels": labels, **arguments})


def test_without_matplotlib_the_extra_is_named(groups, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skdeepclust\[plot\]"):
        EmbeddingDisplay.from_predictions(*groups, method="pca")
