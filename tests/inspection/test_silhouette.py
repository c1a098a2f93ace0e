import itertools
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import silhouette_samples

from skdeepclust import IDFDClustering
from skdeepclust.inspection import SilhouetteDisplay


@pytest.fixture
def groups():
    """Return three groups of 5, 20 and 40 rows that touch, and the group of each row."""
    labels = np.repeat([0, 1, 2], [5, 20, 40])
    return np.random.default_rng(0).normal(size=(65, 6)) + 2 * np.eye(6)[labels], labels


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


def bars(display):
    """Return the lengths of the bars of each cluster, from top to bottom."""
    return [stairs.get_data().values for stairs in display.ax_.patches]


def test_sorted_bars_of_each_cluster(groups):
    embedding, labels = groups
    display = SilhouetteDisplay.from_predictions(embedding, labels)
    expected = silhouette_samples(embedding, labels)
    np.testing.assert_array_equal(display.silhouettes, expected)
    for k, lengths in enumerate(bars(display)):
        np.testing.assert_array_equal(lengths, np.sort(expected[labels == k])[::-1])
    edges = [stairs.get_data().edges for stairs in display.ax_.patches]
    assert all(above[-1] < below[0] for above, below in itertools.pairwise(edges))
    assert [round(e[-1] - e[0]) for e in edges] == [5, 20, 40]
    assert len({to_hex(stairs.get_facecolor()) for stairs in display.ax_.patches}) == 3


def test_means_are_written_and_drawn(groups):
    embedding, labels = groups
    display = SilhouetteDisplay.from_predictions(embedding, labels)
    means = [f"{display.silhouettes[labels == k].mean():.2f}" for k in range(3)]
    assert texts(display) == ["0", means[0], "1", means[1], "2", means[2]]
    mean = display.silhouettes.mean()
    assert display.ax_.lines[0].get_xdata()[0] == mean
    assert f"mean {mean:.3f}, 65 samples" in display.ax_.get_xlabel()


def test_classes_name_and_order_the_clusters(groups):
    embedding, labels = groups
    y = np.array(["wolf", "cat", "owl"])[labels]
    display = SilhouetteDisplay.from_predictions(embedding, labels, y=y)
    assert texts(display)[::2] == ["cat", "owl", "wolf"]
    assert [len(lengths) for lengths in bars(display)] == [20, 40, 5]


def test_names_of_small_clusters_have_room():
    labels = np.repeat(np.arange(30), [400] + [2] * 29)
    embedding = np.random.default_rng(0).normal(size=(len(labels), 3))
    display = SilhouetteDisplay.from_predictions(embedding, labels)
    display.figure_.canvas.draw()
    spans = [text.get_window_extent() for text in display.ax_.texts[::2]]
    tops = [span.y1 for span in spans]
    assert tops == sorted(tops, reverse=True)
    assert all(above.y0 >= below.y1 - 1 for above, below in itertools.pairwise(spans))


def test_silhouettes_are_exact_within_the_sample(groups):
    embedding, labels = groups
    shown = [
        SilhouetteDisplay.from_predictions(embedding, labels, max_samples=50) for _ in range(2)
    ]
    assert shown[0].silhouettes.shape == (50,)
    np.testing.assert_array_equal(shown[0].silhouettes, shown[1].silhouettes)


def test_skipped_rows_are_left_out(groups):
    embedding, labels = groups
    embedding[3], labels[10] = np.nan, -1
    display = SilhouetteDisplay.from_predictions(embedding, labels)
    assert len(display.silhouettes) == 63


def test_from_a_deep_clusterer(digits):
    images, y = digits
    model = IDFDClustering(10, backbone="mlp", max_epochs=2, random_state=0).fit(images)
    display = SilhouetteDisplay.from_estimator(model, images, y=y)
    expected = silhouette_samples(model.transform(images), model.labels_)
    np.testing.assert_array_equal(display.silhouettes, expected)


def test_given_axes_are_used(groups):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    display = SilhouetteDisplay.from_predictions(*groups, ax=ax)
    assert display.ax_ is ax
    assert display.plot().ax_ is not ax


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0, 1]}, "labels must have shape"),
        ({"labels": [3] * 65}, "2 clusters at least"),
        ({"labels": np.arange(65)}, "65 of 65 rows"),
        ({"y": [0, 1]}, "y must hold one class for each of"),
        ({"max_samples": 1}, "max_samples"),
        ({"embedding": np.full((65, 4), np.nan)}, "0 of 0 rows"),
    ],
)
def test_bad_input_is_named(groups, arguments, message):
    embedding, labels = groups
    with pytest.raises(ValueError, match=message):
        SilhouetteDisplay.from_predictions(
            **{"embedding": embedding, "labels": labels, **arguments}
        )


def test_without_matplotlib_the_extra_is_named(groups, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skdeepclust\[plot\]"):
        SilhouetteDisplay.from_predictions(*groups)
