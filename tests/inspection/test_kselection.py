import sys

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA

from skdeepclust.inspection import KSelectionDisplay
from skdeepclust.model_selection import KSelection


@pytest.fixture(params=["merge", "silhouette"])
def selection(request):
    X, _ = make_blobs(200, n_features=8, centers=4, random_state=0)
    pca = PCA(4, random_state=0)
    return KSelection(pca, range(2, 9), criterion=request.param, random_state=0).fit(X)


def test_the_curve_and_its_choice(selection):
    display = KSelectionDisplay.from_estimator(selection)
    curve, line, mark = display.ax_.lines
    assert dict(curve.get_xydata()) == selection.scores_
    assert line.get_xdata()[0] == 4
    assert mark.get_xydata().tolist() == [[4, selection.best_score_]]
    assert [text.get_text() for text in display.ax_.texts] == ["4"]
    words = {"merge": "gap between merges", "silhouette": "mean silhouette"}
    assert display.ax_.get_ylabel() == words[selection.criterion]
    assert display.figure_ is display.ax_.figure


def test_scores_that_are_not_defined_are_not_drawn():
    none = float(np.finfo(np.float32).min)
    display = KSelectionDisplay(
        {2: -1.5, 3: none}, best_n_clusters=2, criterion="davies_bouldin"
    ).plot()
    np.testing.assert_array_equal(display.ax_.lines[0].get_ydata(), [-1.5, np.nan])
    display = KSelectionDisplay({3: none}, best_n_clusters=3, criterion="davies_bouldin").plot()
    assert not display.ax_.texts


def test_given_axes_are_used(selection):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert KSelectionDisplay.from_estimator(selection, ax=ax).ax_ is ax


@pytest.mark.parametrize("estimator", [KMeans(2), KSelection(PCA())])
def test_what_has_not_chosen_is_named(estimator):
    with pytest.raises(TypeError, match=f"{type(estimator).__name__} has chosen no number"):
        KSelectionDisplay.from_estimator(estimator)


def test_without_matplotlib_the_extra_is_named(selection, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skdeepclust\[plot\]"):
        KSelectionDisplay.from_estimator(selection)
