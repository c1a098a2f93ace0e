import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex

from skdeepclust import BackboneKMeans, IDFDClustering
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


def boxes(display):
    """Return the extents (left, right, bottom, top) of all thumbnails."""
    return np.array([image.get_extent() for image in display.ax_.images])


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_collapsed_embedding_is_one_point(method):
    display = EmbeddingDisplay.from_predictions(np.ones((9, 4)), np.arange(9) % 2, method=method)
    assert (display.positions == display.positions[0]).all()


def test_thumbnails_are_of_their_samples_and_do_not_overlap(groups):
    embedding, labels = groups
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 6, 3), dtype=np.uint8)
    display = EmbeddingDisplay.from_predictions(
        embedding, labels, method="pca", images=images, thumbnails=12
    )
    assert 6 <= len(display.thumbnails) == len(display.ax_.images) <= 12
    for (row, picture), box in zip(display.thumbnails.items(), boxes(display), strict=True):
        np.testing.assert_allclose(picture, images[row] / 255)
        np.testing.assert_allclose(
            [box[:2].mean(), box[2:].mean()], display.positions[row], rtol=1e-6
        )
        assert (box[1] - box[0]) / (box[3] - box[2]) == pytest.approx(6 / 5)
    for i, (left, right, bottom, top) in enumerate(boxes(display)):
        for other in boxes(display)[:i]:
            apart = right < other[0] or other[1] < left or top < other[2] or other[3] < bottom
            assert apart
    colors = [to_hex(frame.get_edgecolor()) for frame in display.ax_.patches]
    points = display.ax_.collections[0].get_facecolors()
    assert colors == [to_hex(points[row]) for row in display.thumbnails]


def test_thumbnails_lie_within_the_map(groups):
    display = EmbeddingDisplay.from_predictions(
        *groups, method="pca", images=np.zeros((60, 5, 5)), thumbnails=20
    )
    display.figure_.canvas.draw()
    (left, right), (bottom, top) = display.ax_.get_xlim(), display.ax_.get_ylim()
    assert (boxes(display)[:, [0, 2]] > [left, bottom]).all()
    assert (boxes(display)[:, [1, 3]] < [right, top]).all()


@pytest.mark.filterwarnings("ignore:invalid value")  # PCA finds no variance
def test_samples_at_one_place_have_no_thumbnails(groups):
    _, labels = groups
    display = EmbeddingDisplay.from_predictions(
        np.ones((60, 4)), labels, method="pca", images=np.zeros((60, 5, 5)), thumbnails=20
    )
    assert not display.thumbnails


def test_thumbnails_of_files_decode_what_is_shown(tmp_path, monkeypatch):
    from PIL import Image

    from skdeepclust import BackboneKMeans
    from skdeepclust.engine import files

    shades = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    for i, shade in enumerate(shades):
        Image.fromarray(shade).save(tmp_path / f"{i:02}.png")
    model = BackboneKMeans(2, backbone="identity", weights=None, random_state=0).fit(tmp_path)
    decoded, real = [], files.decode
    monkeypatch.setattr(files, "decode", lambda path, *a: decoded.append(path) or real(path, *a))
    display = EmbeddingDisplay.from_estimator(model, tmp_path, method="pca", thumbnails=6)
    for row, picture in display.thumbnails.items():
        np.testing.assert_allclose(picture, shades[row] / 255)
    assert len(decoded) == 30 + len(display.thumbnails)  # one pass, and what is shown


def test_both_axes_have_one_scale(groups):
    display = EmbeddingDisplay.from_predictions(*groups, method="pca")
    assert display.ax_.get_aspect() == 1


def test_without_umap_its_package_is_named(groups, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="umap-learn"):
        EmbeddingDisplay.from_predictions(*groups, method="umap")


@pytest.mark.slow  # its compilation takes a quarter of a minute
@pytest.mark.parametrize("n", [60, 3, 2])
def test_umap(groups, n):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    embedding, labels = groups
    maps = [
        EmbeddingDisplay.from_predictions(embedding[:n], labels[:n], method="umap")
        for _ in range(2)
    ]
    assert maps[0].positions.shape == (n, 2)
    np.testing.assert_array_equal(maps[0].positions, maps[1].positions)
    assert maps[0].ax_.get_xlabel().startswith("UMAP")


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
        ({"method": "mds"}, "method must be one of"),
        ({"thumbnails": -1}, "thumbnails must be at least 0"),
        ({"thumbnails": 5}, "thumbnails=5 needs images"),
        ({"thumbnails": 5, "images": np.zeros((9, 4, 4))}, "images holds 9 images"),
        ({"thumbnails": 5, "images": np.zeros((60, 4))}, "holds vectors"),
        ({"max_samples": 1}, "max_samples"),
        ({"labels": [0, 1]}, "labels must have shape"),
        ({"y": [0, 1]}, "y must hold one class for each of"),
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


def test_thumbnails_have_the_layout_of_the_estimator():
    images = np.random.default_rng(0).integers(0, 255, (20, 3, 1, 40), dtype=np.uint8)
    how = {"backbone": "identity", "weights": None, "image_shape": (3, 1, 40)}
    model = BackboneKMeans(2, random_state=0, **how).fit(images)
    display = EmbeddingDisplay.from_estimator(model, images, method="pca", thumbnails=5)
    assert {picture.shape for picture in display.thumbnails.values()} == {(1, 40, 3)}
