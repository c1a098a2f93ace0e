import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.cluster import KMeans

from skdeepclust import BackboneKMeans, IDFDClustering
from skdeepclust.inspection import TrainingCurvesDisplay


@pytest.fixture
def history():
    """Return the rows of two stages, of which the second has another term."""
    rows = [
        {"epoch": 1, "loss": 3.0, "first": 2.0, "label_change": np.nan, "feature_std": 0.12},
        {"epoch": 2, "loss": 2.5, "first": 1.5, "label_change": 0.4, "feature_std": 0.11},
        {"epoch": 3, "loss": 2.0, "second": 2.0, "label_change": 0.1, "feature_std": 0.01},
    ]
    return [row | {"lr": 0.1, "seconds": 2.0, "images_per_second": 9.0} for row in rows]


def titles(display):
    return [panel.get_title(loc="left") for panel in display.axes_]


def drawn(display, name):
    return display.axes_[list(display.curves).index(name)].lines[-1].get_xydata()


def test_a_panel_for_each_quantity(history):
    display = TrainingCurvesDisplay.from_history(history)
    names = ["loss", "first", "second", "label_change", "feature_std", "lr"]
    assert list(display.curves) == titles(display) == names
    assert display.figure_.axes == list(display.axes_)
    np.testing.assert_array_equal(drawn(display, "loss"), [[1, 3.0], [2, 2.5], [3, 2.0]])
    np.testing.assert_array_equal(drawn(display, "second")[:, 1], [np.nan, np.nan, 2.0])
    assert display.axes_[0].get_title(loc="right") == "2"


@pytest.mark.parametrize(
    ("n", "shape"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (7, (2, 4)), (9, (3, 3))]
)
def test_rows_leave_few_places_empty(n, shape):
    display = TrainingCurvesDisplay.from_history([{f"term {i}": 1.0 for i in range(n)}])
    grid = display.axes_[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == shape
    assert len(display.figure_.axes) == n


def test_chosen_quantities_in_the_given_order(history):
    display = TrainingCurvesDisplay.from_history(history, quantities=["seconds", "loss"])
    assert titles(display) == ["seconds", "loss"]


def test_shares_and_health_begin_at_0(history):
    display = TrainingCurvesDisplay.from_history(history)
    for name, panel in zip(display.curves, display.axes_, strict=True):
        assert (panel.get_ylim()[0] == 0) == (name in {"label_change", "feature_std", "lr"})


def test_collapse_is_marked_where_it_is_judged(history):
    display = TrainingCurvesDisplay.from_history(
        history, quantities=["feature_std"], embedding_dim=64
    )
    [panel] = display.axes_
    assert panel.patches[0].get_height() == pytest.approx(0.1 / 8)
    assert panel.lines[0].get_ydata()[0] == pytest.approx(1 / 8)
    plain = TrainingCurvesDisplay.from_history(history, quantities=["feature_std"])
    assert not plain.axes_[0].patches


def test_a_single_epoch_is_a_point():
    display = TrainingCurvesDisplay.from_history([{"loss": 1.0}])
    assert display.axes_[0].lines[0].get_marker() == "o"


def test_given_axes_are_used(history):
    axes = Figure().subplots(1, 2)
    display = TrainingCurvesDisplay.from_history(history, quantities=["loss", "lr"], ax=axes)
    assert list(display.axes_) == list(axes)
    one = TrainingCurvesDisplay.from_history(history, quantities="loss", ax=axes[0])
    assert one.axes_[0] is axes[0] and one.figure_ is axes[0].figure
    assert one.plot().axes_[0] is not axes[0]


def test_a_table_is_told_how_to_be_passed(history):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(history)
    with pytest.raises(TypeError, match=r"pass history\.to_dict\('records'\)"):
        TrainingCurvesDisplay.from_history(table)
    display = TrainingCurvesDisplay.from_history(table.to_dict("records"))
    assert titles(display) == titles(TrainingCurvesDisplay.from_history(history))


def test_from_a_deep_clusterer(digits):
    model = IDFDClustering(10, backbone="mlp", max_epochs=2, random_state=0).fit(digits[0])
    display = TrainingCurvesDisplay.from_estimator(model)
    assert {"loss", "instance", "decorrelation", "size_entropy", "lr"} <= set(titles(display))
    assert display.embedding_dim == model.embedding_dim
    losses = [row["loss"] for row in model.history_]
    np.testing.assert_array_equal(drawn(display, "loss")[:, 1], losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": []}, "no epoch"),
        ({"quantities": ["accuracy"]}, "quantities must name"),
        ({"quantities": []}, "quantities must name"),
        ({"history": [{"loss": "low"}]}, "quantities must name"),
        ({"ax": Figure().subplots(1, 2)}, "ax holds 2 Axes, but there are 6"),
    ],
)
def test_bad_input_is_named(history, arguments, message):
    with pytest.raises(ValueError, match=message):
        TrainingCurvesDisplay.from_history(**{"history": history, **arguments})


def test_what_was_not_trained_has_no_curves(digits):
    pixels = digits[0].reshape(len(digits[0]), -1)
    with pytest.raises(TypeError, match="KMeans has no history_"):
        TrainingCurvesDisplay.from_estimator(KMeans(2, n_init=1).fit(pixels))
    model = BackboneKMeans(2, backbone="identity", weights=None, random_state=0).fit(digits[0])
    with pytest.raises(ValueError, match="nothing was trained"):
        TrainingCurvesDisplay.from_estimator(model)


def test_without_matplotlib_the_extra_is_named(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skdeepclust\[plot\]"):
        TrainingCurvesDisplay.from_history(history)
