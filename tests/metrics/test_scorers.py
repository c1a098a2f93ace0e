import numpy as np
import pytest
from sklearn import config_context
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepclust.datasets import make_image_blobs
from skdeepclust.metrics import clustering_accuracy, hungarian_accuracy_scorer, silhouette_scorer
from skdeepclust.model_selection import TransductiveSplit


class Fixed:
    """A fitted clusterer that predicts given labels; samples are their own embedding."""

    def __init__(self, labels):
        self.labels = labels

    def predict(self, X):
        return self.labels


@pytest.fixture(scope="module")
def blobs():
    X, y = make_image_blobs(n_samples=60, random_state=0)
    return X.reshape(len(X), -1), y


def kmeans(n_clusters=3):
    return KMeans(n_clusters, n_init=3, random_state=0)


def test_accuracy_scorer_predicts(blobs):
    X, y = blobs
    pipeline = make_pipeline(StandardScaler(), kmeans(2)).fit(X)
    expected = clustering_accuracy(y, pipeline.predict(X))
    assert hungarian_accuracy_scorer(pipeline, X, y) == expected


def test_accuracy_scorer_needs_y(blobs):
    X, _ = blobs
    with pytest.raises(ValueError, match="y is required"):
        hungarian_accuracy_scorer(kmeans().fit(X), X)


def test_silhouette_scorer_uses_the_embedding(blobs):
    X, _ = blobs
    pipeline = make_pipeline(StandardScaler(), kmeans()).fit(X)
    expected = silhouette_score(pipeline.transform(X), pipeline.predict(X))
    assert silhouette_scorer(pipeline, X) == pytest.approx(expected)


def test_silhouette_scorer_uses_x_without_transform(blobs):
    X, _ = blobs
    mixture = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
    expected = silhouette_score(X, mixture.predict(X))
    assert silhouette_scorer(mixture, X) == pytest.approx(expected)


def test_silhouette_scorer_flattens_images():
    X, y = make_image_blobs(n_samples=20, random_state=0)
    assert silhouette_scorer(Fixed(y), X) == pytest.approx(silhouette_score(X.reshape(20, -1), y))


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["one", "singletons"])
def test_silhouette_is_lowest_where_undefined(labels):
    assert silhouette_scorer(Fixed(labels), [[0.0], [1.0], [2.0]]) == -1.0


def test_silhouette_leaves_out_skipped_files(blobs):
    X, y = blobs
    with_skipped = np.vstack([X, np.full_like(X[:1], np.nan)])
    score = silhouette_scorer(Fixed(np.append(y, -1)), with_skipped)
    assert score == silhouette_scorer(Fixed(y), X)
    assert silhouette_scorer(Fixed([-1, -1]), [[np.nan], [np.nan]]) == -1.0


def test_silhouette_samples_many_rows(monkeypatch):
    monkeypatch.setattr("skdeepclust.metrics._scorers._MAX_ROWS", 100)
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=1000)
    X = y[:, None] + rng.normal(scale=0.1, size=(1000, 1))
    score = silhouette_scorer(Fixed(y), X)
    assert score == silhouette_scorer(Fixed(y), X)
    assert score != pytest.approx(silhouette_score(X, y), abs=1e-9)
    assert score == pytest.approx(silhouette_score(X, y), abs=0.05)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize(
    ("scoring", "with_y"), [(hungarian_accuracy_scorer, True), (silhouette_scorer, False)]
)
def test_grid_search_finds_the_number_of_clusters(blobs, scoring, with_y, in_pipeline, routing):
    X, y = blobs
    estimator, name = kmeans(), "n_clusters"
    if in_pipeline:
        estimator, name = make_pipeline(StandardScaler(), estimator), "kmeans__n_clusters"
    grid = {name: [1, 3, 6]}
    with config_context(enable_metadata_routing=routing):
        search = GridSearchCV(estimator, grid, scoring=scoring, cv=TransductiveSplit())
        search.fit(X, y if with_y else None)
    assert search.best_params_ == {name: 3}
    assert search.best_score_ == scoring(search.best_estimator_, X, y)
