import sys

import numpy as np
import pytest
from sklearn.cluster import KMeans

from skdeepclust.inspection import ClusterConfusionDisplay
from skdeepclust.metrics import clustering_accuracy


def numbers(display):
    """Return what is written into the cells, as a matrix."""
    table = np.zeros(display.counts.shape, int)
    for text in display.ax_.texts:
        column, row = (round(x) for x in text.get_position())
        table[row, column] = int(text.get_text())
    return table


def names(labels):
    return [label.get_text() for label in labels]


def test_columns_are_in_the_order_of_the_classes():
    y = np.repeat(["ant", "bee", "cat"], [4, 3, 5])
    labels = np.array([7, 7, 7, 2] + [0] * 3 + [2] * 5)
    display = ClusterConfusionDisplay.from_predictions(y, labels)
    assert display.classes == names(display.ax_.get_yticklabels()) == ["ant", "bee", "cat"]
    assert display.clusters == [7, 0, 2]
    assert names(display.ax_.get_xticklabels()) == ["7", "0", "2"]
    expected = [[3, 0, 1], [0, 3, 0], [0, 0, 5]]
    np.testing.assert_array_equal(display.counts, expected)
    np.testing.assert_array_equal(numbers(display), expected)
    assert len(display.ax_.texts) == 4  # nothing is written where there is nobody
    assert display.accuracy == clustering_accuracy(y, labels) == 11 / 12
    assert "accuracy 0.917, 12 samples" in display.ax_.get_xlabel()


def test_colour_is_the_share_of_the_class():
    display = ClusterConfusionDisplay.from_predictions([0] * 4 + [1] * 40, [0] * 3 + [1] * 41)
    shares = display.ax_.images[0].get_array()
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0, 1]])


def test_more_clusters_than_classes():
    y, labels = [0, 0, 0, 1, 1], [4, 4, 9, 1, 1]
    display = ClusterConfusionDisplay.from_predictions(y, labels)
    assert display.clusters == [4, 1, 9]
    np.testing.assert_array_equal(display.counts, [[2, 0, 1], [0, 2, 0]])
    assert display.accuracy == clustering_accuracy(y, labels)


def test_classes_without_a_cluster_come_last():
    y, labels = [0, 1, 1, 2, 2, 2], [0, 0, 0, 1, 1, 1]
    display = ClusterConfusionDisplay.from_predictions(y, labels)
    assert display.classes == ["1", "2", "0"]
    np.testing.assert_array_equal(display.counts, [[2, 0], [0, 3], [1, 0]])
    assert display.accuracy == clustering_accuracy(y, labels)


def test_samples_without_a_cluster_are_errors():
    display = ClusterConfusionDisplay.from_predictions([0, 0, 1, 1], [0, -1, 1, 1])
    assert display.counts.sum() == 3
    assert display.accuracy == 0.75
    assert "1 of them in no cluster" in display.ax_.get_xlabel()


def test_a_hundred_classes_have_no_numbers_and_names_that_do_not_overlap():
    y = np.random.default_rng(0).permutation(3000) % 100
    display = ClusterConfusionDisplay.from_predictions(y, y)
    assert not display.ax_.texts
    display.figure_.canvas.draw()
    for axis, ends in ((display.ax_.xaxis, ("x0", "x1")), (display.ax_.yaxis, ("y0", "y1"))):
        spans = [[getattr(t.get_window_extent(), e) for e in ends] for t in axis.get_ticklabels()]
        assert len(spans) > 20
        low, high = np.sort(spans, axis=0).T
        assert (high[:-1] <= low[1:] + 1).all()


@pytest.mark.parametrize("size", [2, 6])
def test_little_room_means_small_numbers_or_none(size):
    from matplotlib.figure import Figure

    y = np.arange(4000) % 20
    ax = Figure(figsize=(size, size)).subplots()
    display = ClusterConfusionDisplay.from_predictions(y, y, ax=ax)
    assert display.ax_ is ax
    sizes = {text.get_size() for text in ax.texts}
    assert bool(sizes) == (size == 6)
    assert all(4.5 <= s < 7 for s in sizes)


def test_from_an_estimator(digits):
    images, y = digits
    X = images.reshape(len(images), -1)
    kmeans = KMeans(10, n_init=1, random_state=0).fit(X)
    display = ClusterConfusionDisplay.from_estimator(kmeans, X, y)
    assert display.accuracy == clustering_accuracy(y, kmeans.labels_)
    assert display.plot().figure_ is display.ax_.figure


@pytest.mark.parametrize(
    ("y", "labels", "message"),
    [
        ([0, 1], [0, 1, 1], "y must hold one class for each of 3 samples"),
        ([0, 1], [[0, 1]], "labels must have shape"),
        ([0, 1], [0.0, 1.0], "labels must be integers"),
        ([0, 1], [-1, -1], "no sample"),
        ([[0, 1], [1, 0]], [0, 1], "y must hold one class for each"),
    ],
)
def test_bad_input_is_named(y, labels, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ClusterConfusionDisplay.from_predictions(y, labels)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skdeepclust\[plot\]"):
        ClusterConfusionDisplay.from_predictions([0, 1], [0, 1])
