import itertools
import warnings
from functools import partial

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepclust.datasets import make_image_blobs
from skdeepclust.metrics import (
    clustering_accuracy,
    davies_bouldin_scorer,
    hungarian_accuracy_scorer,
    silhouette_scorer,
    simplified_silhouette_scorer,
    stability_scorer,
)
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
    ("scoring", "with_y"),
    [
        (hungarian_accuracy_scorer, True),
        (silhouette_scorer, False),
        (simplified_silhouette_scorer, False),
        (davies_bouldin_scorer, False),
        (partial(stability_scorer, n_refits=3), False),
    ],
    ids=["accuracy", "silhouette", "simplified", "davies-bouldin", "stability"],
)
def test_grid_search_finds_the_number_of_clusters(blobs, scoring, with_y, in_pipeline, routing):
    X, y = blobs
    estimator, name = kmeans(), "n_clusters"
    if in_pipeline:
        estimator, name = make_pipeline(StandardScaler(), estimator), "kmeans__n_clusters"
    grid = {name: [1, 3, 6]}
    with config_context(enable_metadata_routing=routing):
        search = GridSearchCV(estimator, grid, scoring=scoring, cv=TransductiveSplit())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            search.fit(X, y if with_y else None)
    assert search.best_params_ == {name: 3}
    assert search.best_score_ == scoring(search.best_estimator_, X, y)


# -- simplified silhouette and Davies-Bouldin ---------------------------------------------------


def simplified_silhouette_by_definition(rows, labels):
    means = {k: rows[labels == k].mean(axis=0) for k in set(labels)}
    values = []
    for row, label in zip(rows, labels, strict=True):
        own = np.linalg.norm(row - means[label])
        other = min(np.linalg.norm(row - mean) for k, mean in means.items() if k != label)
        values.append((other - own) / max(own, other))
    return np.mean(values)


@pytest.mark.parametrize("labels", [[0, 1, 2], [7, -3, 7]], ids=["consecutive", "any"])
def test_simplified_silhouette_is_its_definition(labels):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.array(labels)[np.arange(60) % 3]
    expected = simplified_silhouette_by_definition(X, y)
    assert simplified_silhouette_scorer(Fixed(y), X) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [">f8", "f2"])
def test_simplified_silhouette_takes_types_that_torch_has_not(dtype):
    X, y = np.random.default_rng(0).normal(size=(60, 4)).astype(dtype), np.arange(60) % 3
    expected = simplified_silhouette_by_definition(X.astype(np.float64), y)
    assert simplified_silhouette_scorer(Fixed(y), X) == pytest.approx(expected, abs=1e-6)


def test_simplified_silhouette_is_the_score_of_an_estimator_whose_centers_are_means(blobs):
    X, _ = blobs
    pipeline = make_pipeline(StandardScaler(), kmeans()).fit(X)
    rows = pipeline.transform(X)
    expected = simplified_silhouette_by_definition(rows, pipeline.predict(X))
    assert simplified_silhouette_scorer(pipeline, X) == pytest.approx(expected)


def test_equal_samples_in_two_clusters_score_zero():
    assert simplified_silhouette_scorer(Fixed([0, 1, 0, 1]), np.zeros((4, 2))) == 0.0


GEOMETRIC = [silhouette_scorer, simplified_silhouette_scorer, davies_bouldin_scorer]


@pytest.mark.parametrize("scorer", GEOMETRIC)
@pytest.mark.parametrize(("scale", "place"), [(1, 1e9), (1e-9, 0), (1e9, 0)])
def test_neither_scale_nor_place_of_the_rows_matter(scorer, scale, place, blobs):
    X, y = blobs
    X = X.astype(np.float64)
    expected = scorer(Fixed(y), X)
    assert scorer(Fixed(y), X * scale + place) == pytest.approx(expected, rel=1e-5)


def test_equal_rows_are_not_the_best_there_is():
    assert davies_bouldin_scorer(Fixed(np.arange(10) % 2), np.ones((10, 3))) < -1e30


def test_davies_bouldin_is_negated(blobs):
    X, y = blobs
    assert davies_bouldin_scorer(Fixed(y), X) == pytest.approx(
        -davies_bouldin_score(X, y), rel=1e-6
    )
    pipeline = make_pipeline(StandardScaler(), kmeans()).fit(X)
    expected = -davies_bouldin_score(pipeline.transform(X), pipeline.predict(X))
    assert davies_bouldin_scorer(pipeline, X) == pytest.approx(expected, rel=1e-6)
    assert davies_bouldin_scorer(Fixed(np.roll(y, 1)), X) < davies_bouldin_scorer(Fixed(y), X)


GEOMETRIC = [silhouette_scorer, simplified_silhouette_scorer, davies_bouldin_scorer]


@pytest.mark.parametrize("scorer", GEOMETRIC)
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-1, -1, -1]])
def test_what_has_no_score_scores_below_the_worst(scorer, labels):
    X = [[0.0], [5.0], [0.1]]
    lowest = scorer(Fixed(labels), X)
    assert np.isfinite(lowest)
    assert lowest < scorer(Fixed([0, 0, 1]), X)


@pytest.mark.parametrize("scorer", GEOMETRIC)
def test_rows_that_are_not_finite_are_left_out(scorer, blobs):
    X, y = blobs
    for value in (np.nan, np.inf):
        skipped = np.full_like(X[:2], value)
        assert scorer(Fixed(np.append(y, [-1, -1])), np.vstack([X, skipped])) == scorer(Fixed(y), X)
    assert np.isfinite(scorer(Fixed([-1, -1]), [[np.nan], [np.nan]]))


@pytest.mark.parametrize("scorer", GEOMETRIC)
def test_embeddings_may_be_integers_or_lists(scorer):
    X, y = [[0], [1], [9], [10]], [0, 0, 1, 1]
    assert scorer(Fixed(y), X) == pytest.approx(scorer(Fixed(y), np.array(X, dtype=float)))


# -- stability ----------------------------------------------------------------------------------


class Seeded(ClusterMixin, BaseEstimator):
    """Predicts a permutation of given labels that its seed draws, and counts its fits."""

    fits = 0

    def __init__(self, labels=(0, 0, 1, 1), shuffled=True, random_state=None):
        self.labels = labels
        self.shuffled = shuffled
        self.random_state = random_state

    def fit(self, X, y=None):
        assert y is None
        type(self).fits += 1
        order = np.random.RandomState(self.random_state).permutation(len(self.labels))
        self.labels_ = np.array(self.labels)[order if self.shuffled else slice(None)]
        return self

    def predict(self, X):
        return self.labels_


def test_stability_is_the_mean_over_all_pairs_of_runs():
    model = Seeded(labels=tuple(np.arange(30) % 3), random_state=0).fit(None)
    seeds = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=4)
    runs = [model.labels_] + [
        Seeded(model.labels, random_state=seed).fit(None).labels_ for seed in seeds
    ]
    expected = np.mean([adjusted_rand_score(a, b) for a, b in itertools.combinations(runs, 2)])
    before, Seeded.fits = model.labels_.copy(), 0
    assert stability_scorer(model, None, n_refits=4) == pytest.approx(expected)
    assert Seeded.fits == 4
    assert model.random_state == 0
    np.testing.assert_array_equal(model.labels_, before)


def test_stability_of_what_is_always_found_is_one(blobs):
    X, y = blobs
    assert stability_scorer(Seeded(shuffled=False).fit(X), X) == 1.0
    assert stability_scorer(make_pipeline(StandardScaler(), kmeans()).fit(X), X, y) == 1.0


@pytest.mark.parametrize("labels", [(0, 0, 0), (0, 1, 2), (-1, -1, -1)])
def test_trivial_clusters_are_no_stable_finding(labels):
    assert stability_scorer(Seeded(labels, shuffled=False).fit(None), None) == 0.0


def test_stability_leaves_out_what_no_run_could_read():
    model = Seeded((0, 0, 1, 1, -1, -1), shuffled=False).fit(None)
    others = iter([[1, 1, 1, 0, -1, -1], [0, 1, 0, 1, -1, -1]])
    runs = [list(model.labels_)]

    class Drawn(Seeded):
        def fit(self, X, y=None):
            self.labels_ = np.array(next(others))
            runs.append(list(self.labels_))
            return self

    drawn = Drawn(shuffled=False)
    drawn.labels_ = model.labels_
    score = stability_scorer(drawn, None)
    pairs = itertools.combinations([run[:4] for run in runs], 2)
    assert score == pytest.approx(np.mean([adjusted_rand_score(a, b) for a, b in pairs]))


def test_stability_fits_without_the_checkpoint_of_the_estimator(blobs):
    seen = []

    class Kept(Seeded):
        def __init__(self, shuffled=True, random_state=None, checkpoint=None):
            super().__init__(shuffled=shuffled, random_state=random_state)
            self.checkpoint = checkpoint

        def fit(self, X, y=None):
            seen.append(self.checkpoint)
            return super().fit(X)

    model = make_pipeline(Kept(checkpoint="here")).fit(blobs[0])
    stability_scorer(model, blobs[0])
    assert seen == ["here", None, None] and model[-1].checkpoint == "here"


def test_stability_needs_something_random(blobs):
    X, _ = blobs
    with pytest.raises(ValueError, match="AgglomerativeClustering has none"):
        stability_scorer(AgglomerativeClustering().fit(X), X)
    with pytest.raises(ValueError, match="n_refits"):
        stability_scorer(kmeans().fit(X), X, n_refits=0)
