"""What scikit-learn's users expect beside its checks: names, pictures, routing, callbacks."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import skdeepclust
from skdeepclust import BackboneKMeans, IDFDClustering, ProPosClustering, SeCuClustering
from skdeepclust.datasets import make_image_blobs
from skdeepclust.metrics import hungarian_accuracy_scorer
from skdeepclust.model_selection import KSelection, TransductiveSplit

ESTIMATORS = [getattr(skdeepclust, name) for name in (*skdeepclust.METHODS, "BackboneKMeans")]
pytestmark = pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained

X, y = make_image_blobs(60, n_classes=3, random_state=0)
ROWS = X.reshape(len(X), -1)


def fast(method=IDFDClustering, **params):
    light = {"max_epochs": 5, "embedding_dim": 8, "batch_size": 16, "random_state": 0}
    return method(**{"n_clusters": 3} | light | params)


# -- signatures -------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_signature_shows_every_parameter(estimator):
    parameters = inspect.signature(estimator).parameters
    assert sorted(parameters) == sorted(estimator().get_params())
    first, *others = parameters.values()
    assert first.name == "n_clusters" and first.kind is first.POSITIONAL_OR_KEYWORD
    assert {p.kind for p in others} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError, match="tempereture"):
        estimator(tempereture=1)


# -- names and frames ---------------------------------------------------------------------------


def test_set_output_and_names_of_the_embedding():
    model = fast().set_output(transform="pandas")
    frame = model.fit_transform(X)
    assert isinstance(frame, pd.DataFrame) and frame.shape == (60, 8)
    assert list(frame) == list(model.get_feature_names_out())
    assert frame.columns[0] == "idfdclustering0"
    piped = make_pipeline(StandardScaler(), fast()).set_output(transform="pandas")
    frame = piped.fit_transform(pd.DataFrame(ROWS, index=range(100, 160)))
    assert list(frame.columns) == list(piped.get_feature_names_out())
    assert frame.index[0] == 100


# -- HTML -------------------------------------------------------------------------------------


def test_the_html_picture_links_to_the_reference(monkeypatch):
    assert not ProPosClustering()._get_doc_link()  # no package that is installed names an address
    home = "https://example.org/stable"
    monkeypatch.setattr("skdeepclust._sklearn._documentation", lambda: home)
    page = f"{home}/api/generated/skdeepclust.ProPosClustering.html"
    assert ProPosClustering()._get_doc_link() == page
    selection = KSelection(ProPosClustering())
    assert selection._get_doc_link().endswith("/skdeepclust.model_selection.KSelection.html")
    assert page in ProPosClustering(temperature=0.3)._repr_html_()
    assert page in make_pipeline(StandardScaler(), ProPosClustering())._repr_html_()


def test_the_address_is_that_of_the_installed_package(monkeypatch):
    from email.message import Message

    from skdeepclust import _sklearn

    told = Message()
    told["Project-URL"] = "Source, https://example.org/source"
    told["Project-URL"] = "Documentation, https://example.org/docs/"
    monkeypatch.setattr(_sklearn, "metadata", lambda _: told)
    assert _sklearn._documentation() == "https://example.org/docs"


# -- metadata routing -----------------------------------------------------------------------------


def test_searches_and_pipelines_with_metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_pipeline(MinMaxScaler(), fast()),
            {"idfdclustering__n_clusters": [2, 3]},
            scoring=hungarian_accuracy_scorer,
            cv=TransductiveSplit(),
            error_score="raise",
        ).fit(ROWS, y)
        assert search.best_params_["idfdclustering__n_clusters"] in (2, 3)
        with pytest.raises(TypeError, match="sample_weight"):
            search.fit(ROWS, y, sample_weight=np.ones(60))
    with pytest.raises(TypeError, match="sample_weight"):
        fast().fit(X, sample_weight=np.ones(60))


# -- callbacks of scikit-learn --------------------------------------------------------------------


class StopAt:
    """Ends each training after some epochs, from wherever it is set."""

    max_propagation_depth = None

    def __init__(self, epochs):
        self.epochs = epochs
        self.seen = []

    def setup(self, estimator, context):
        self.seen.append("setup")

    def teardown(self, estimator, context):
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name != "epoch":
            return False
        self.seen.append(estimator.history_[-1]["epoch"])
        return len(estimator.history_) >= self.epochs


@pytest.fixture
def stop():
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    return StopAt(2)


def test_a_callback_sees_the_epochs_and_ends_training(stop, recwarn):
    model = fast().set_callbacks(stop).fit(X)
    assert stop.seen == ["setup", 1, 2, "teardown"]
    assert model.n_iter_ == 2 and not model.net_.interrupted
    assert not [w for w in recwarn if "interrupted" in str(w.message)]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.labels_)
    model.set_callbacks().fit(X)
    assert model.n_iter_ == 5


def test_a_callback_that_only_looks_changes_nothing(stop):
    stop.epochs = 99
    watched = fast().set_callbacks(stop).fit(X)
    plain = fast().fit(X)
    np.testing.assert_array_equal(watched.transform(X), plain.transform(X))
    assert [name for name, _ in plain.net_.callbacks_] == ["Schedule"]


def test_callbacks_reach_the_training_through_a_search(stop):
    search = GridSearchCV(fast(), {"n_clusters": [2, 3]}, cv=TransductiveSplit())
    search.set_callbacks(stop).fit(X)
    assert stop.seen == ["setup", 1, 2, 1, 2, 1, 2, "teardown"]  # two candidates, and the best
    assert search.best_estimator_.n_iter_ == 2


def test_callbacks_reach_the_training_through_a_choice_of_k(stop):
    selection = KSelection(fast(), [2, 3, 4], random_state=0).set_callbacks(stop).fit(X)
    assert selection.estimator_.n_iter_ == 2 and stop.seen[-1] == "teardown"


def test_a_callback_sees_the_stages_of_a_training_as_one(stop):
    stop.epochs, told = 99, []
    stop.on_fit_task_begin = lambda estimator, context: told.append(estimator)
    model = fast(SeCuClustering, max_epochs=2, self_label_epochs=2)
    model.set_callbacks(stop).fit(X)
    assert stop.seen == ["setup", 1, 2, 3, 4, "teardown"]
    assert len(told) == 5 and all(estimator is model for estimator in told)
    assert [row["epoch"] for row in model.history_] == [1, 2, 3, 4]


def test_progress_bars_of_a_search(stop, capsys):
    from sklearn.callback import ProgressBar

    model = fast(SeCuClustering, max_epochs=2, self_label_epochs=1)
    search = GridSearchCV(model, {"n_clusters": [2, 3]}, cv=TransductiveSplit())
    search.set_callbacks(ProgressBar()).fit(X)
    assert "SeCuClustering" in capsys.readouterr().out


def test_a_callback_that_ends_training_and_a_checkpoint(stop, tmp_path):
    model = fast(checkpoint=tmp_path / "run").set_callbacks(stop).fit(X)
    again = fast(checkpoint=tmp_path / "run").fit(X)  # it was complete
    assert again.n_iter_ == 2
    np.testing.assert_array_equal(again.labels_, model.labels_)


def test_a_training_without_epochs_takes_callbacks_as_well(stop):
    model = BackboneKMeans(3, backbone="identity", weights=None, random_state=0)
    model.set_callbacks(stop).fit(X)
    assert stop.seen == ["setup", "teardown"]
