import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdeepclust import IDFDClustering
from skdeepclust.datasets import load_digits_images, make_image_blobs
from skdeepclust.metrics import clustering_accuracy, silhouette_scorer, stability_scorer
from skdeepclust.model_selection import KSelection, TransductiveSplit
from skdeepclust.ops.ward import merge_gaps, ward_heights

CRITERIA = ["merge", "silhouette", "simplified_silhouette", "davies_bouldin", "stability"]
SEEDED = {"random_state": 0}


def pca(dim=2):
    return PCA(dim, random_state=0)


def as_it_is():
    return FunctionTransformer()


@parametrize_with_checks(
    [
        KSelection(pca(1), (2, 3), **SEEDED),
        KSelection(KMeans(2, n_init=1, random_state=0), (2, 3), criterion="silhouette", **SEEDED),
        KSelection(make_pipeline(StandardScaler(), pca(1)), 3, criterion="stability", **SEEDED),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def blobs():
    return make_blobs(400, n_features=10, centers=5, random_state=3)


# -- what is found ------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("k", [5, 8])
def test_the_number_of_groups_is_found(criterion, k):
    X, y = make_blobs(60 * k, n_features=20, centers=k, random_state=1)
    selection = KSelection(pca(10), range(2, 13), criterion=criterion, **SEEDED).fit(X)
    assert selection.best_n_clusters_ == k
    assert adjusted_rand_score(y, selection.labels_) > 0.99


@pytest.mark.parametrize("criterion", CRITERIA)
def test_no_criterion_stops_at_either_end(criterion):
    X, _ = make_blobs(300, n_features=20, centers=6, random_state=1)
    for ks, expected in [(range(6, 12), 6), (range(2, 7), 6), ([4, 6, 9], 6)]:
        selection = KSelection(as_it_is(), ks, criterion=criterion, **SEEDED).fit(X)
        assert selection.best_n_clusters_ == expected


def test_few_odd_samples_are_no_cluster_to_merging():
    X, _ = make_blobs(600, n_features=20, centers=6, random_state=1)
    X = np.vstack([X, np.random.RandomState(0).normal(scale=0.1, size=(1, 20)) + 12])
    assert KSelection(as_it_is(), **SEEDED).fit(X).best_n_clusters_ == 6
    silhouette = KSelection(as_it_is(), criterion="silhouette", **SEEDED).fit(X)
    assert silhouette.best_n_clusters_ == 7


# -- the curves are what they say ---------------------------------------------------------------


def clusters_of(selection, X, k):
    same = clone(selection).set_params(n_clusters=k).fit(X)
    return same.transform(X), same.labels_, same.cluster_centers_


@pytest.mark.parametrize(
    ("criterion", "score"),
    [
        ("silhouette", silhouette_score),
        ("davies_bouldin", lambda rows, labels: -davies_bouldin_score(rows, labels)),
    ],
)
def test_scores_are_of_the_clusters_of_each_k(blobs, criterion, score):
    X, _ = blobs
    selection = KSelection(pca(), range(2, 6), criterion=criterion, **SEEDED).fit(X)
    for k, value in selection.scores_.items():
        rows, labels, _ = clusters_of(selection, X, k)
        assert value == pytest.approx(score(rows, labels), rel=1e-5)


def test_simplified_silhouette_is_that_of_score(blobs):
    X, _ = blobs
    selection = KSelection(pca(), range(2, 6), criterion="simplified_silhouette", **SEEDED).fit(X)
    rows, labels, centers = clusters_of(selection, X, selection.best_n_clusters_)
    distance = np.sort(np.linalg.norm(rows[:, None] - centers, axis=2), axis=1)
    assert (np.linalg.norm(rows[:, None] - centers, axis=2).argmin(axis=1) == labels).all()
    expected = np.mean(1 - distance[:, 0] / distance[:, 1])
    assert selection.best_score_ == pytest.approx(expected)
    assert selection.score(X) == pytest.approx(expected)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_default_device_has_no_say(blobs, criterion):
    X, _ = blobs
    selection = KSelection(pca(), range(2, 6), criterion=criterion, **SEEDED)
    expected = clone(selection).fit(X)
    with torch.device("meta"):
        selection.fit(X)
        assert selection.score(X) == expected.score(X)
        np.testing.assert_array_equal(selection.predict(X), expected.predict(X))
    assert selection.scores_ == expected.scores_


def test_samples_of_another_type_have_the_same_score(blobs):
    X, _ = blobs
    selection = KSelection(PCA(3), range(2, 6), **SEEDED).fit(X.astype(np.float32))
    assert selection.score(X.astype(np.float64)) == pytest.approx(selection.score(X), rel=1e-4)
    selection = KSelection(PCA(3), range(2, 6), **SEEDED).fit(X.astype(np.float64))
    assert selection.score(X.astype(np.float32)) == pytest.approx(selection.score(X), rel=1e-4)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("scale", "place"), [(1, 1e9), (1e-9, 0), (1e9, 0)])
def test_neither_scale_nor_place_matter(criterion, scale, place, blobs):
    X, _ = blobs
    choice = KSelection(as_it_is(), range(2, 6), criterion=criterion, **SEEDED)
    here, there = choice.fit(X), clone(choice).fit(X * scale + place)
    assert there.best_n_clusters_ == here.best_n_clusters_
    np.testing.assert_array_equal(there.labels_, here.labels_)
    assert there.score(X * scale + place) == pytest.approx(here.score(X), rel=1e-4)
    for k in () if criterion == "merge" else range(2, 6):  # whose gaps are of that scale
        assert there.scores_[k] == pytest.approx(here.scores_[k], rel=1e-4)


def test_large_integers_are_no_single_precision():
    groups = 1_700_000_000 + np.repeat([0, 30, 60], 20) + np.tile(np.arange(20) % 3, 3)
    X = groups[:, None]
    selection = KSelection(as_it_is(), [2, 3, 4], criterion="simplified_silhouette", **SEEDED)
    assert selection.fit(X).best_n_clusters_ == 3
    assert selection.transform(X).dtype == np.float64


def test_merging_finds_gaps_between_heights_of_small_clusters(blobs):
    X, _ = blobs
    selection = KSelection(as_it_is(), [2, 5, 9], **SEEDED).fit(X)
    # 400 rows are ten for each of 40 centres.
    _, labels, centers = clusters_of(selection, X, 40)
    heights = ward_heights(torch.from_numpy(centers), torch.from_numpy(np.bincount(labels)))
    expected = merge_gaps(heights)[[1, 4, 8]].tolist()
    assert list(selection.scores_.values()) == pytest.approx(expected)


def test_stable_clusters_score_one(blobs):
    X, _ = blobs
    scores = KSelection(as_it_is(), [3, 5, 9], criterion="stability", **SEEDED).fit(X).scores_
    assert scores[5] == pytest.approx(1)
    assert scores[9] < 0.9
    assert all(-1 <= score <= 1 for score in scores.values())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_sample_of_rows_is_scored(criterion, blobs):
    X, _ = blobs
    few, again, everything = (
        KSelection(pca(), [3, 5], criterion=criterion, max_samples=n, **SEEDED).fit(X).scores_
        for n in (150, 150, 400)
    )
    assert few == again
    assert list(few.values()) == pytest.approx(list(everything.values()), abs=0.15)
    assert (few == everything) == (criterion == "merge")


# -- attributes and methods ---------------------------------------------------------------------


@pytest.mark.parametrize("criterion", CRITERIA)
def test_attributes_fit_together(blobs, criterion):
    X, _ = blobs
    selection = KSelection(pca(3), [7, 3, 5, 5], criterion=criterion, **SEEDED)
    assert selection.fit(X) is selection
    assert list(selection.scores_) == selection.n_clusters_range_.tolist() == [3, 5, 7]
    assert selection.best_score_ == max(selection.scores_.values())
    assert selection.scores_[selection.best_n_clusters_] == selection.best_score_
    assert selection.cluster_centers_.shape == (selection.best_n_clusters_, 3)
    np.testing.assert_array_equal(selection.labels_, selection.predict(X))
    np.testing.assert_array_equal(selection.labels_, clone(selection).fit_predict(X))
    np.testing.assert_array_equal(selection.transform(X), clone(selection).fit_transform(X))
    np.testing.assert_array_equal(selection.transform(X), selection.estimator_.transform(X))
    assert set(selection.labels_) == set(range(selection.best_n_clusters_))
    assert selection.n_features_in_ == 10


def test_labels_given_are_not_read(blobs):
    X, y = blobs
    with_y = KSelection(pca(), **SEEDED).fit(X, y)
    assert with_y.scores_ == KSelection(pca(), **SEEDED).fit(X).scores_
    with pytest.raises((TypeError, ValueError), match="y"):
        KSelection(LinearDiscriminantAnalysis(), **SEEDED).fit(X, y)


def test_the_estimator_is_fitted_once_and_left_alone(blobs):
    calls = []

    class Counted(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            calls.append("fit")
            self.fitted_ = True
            return self

        def transform(self, X):
            calls.append("transform")
            return X

    given = Counted()
    KSelection(given, **SEEDED).fit(blobs[0])
    assert calls == ["fit", "transform"]
    assert not hasattr(given, "fitted_")


def test_a_frozen_estimator_is_not_trained_again(blobs):
    X, _ = blobs
    fitted = pca(3).fit(X)
    selection = KSelection(FrozenEstimator(fitted), **SEEDED).fit(X)
    assert selection.estimator_.estimator is fitted
    assert selection.scores_ == KSelection(pca(3), **SEEDED).fit(X).scores_


def test_seeds_repeat_and_leave_the_global_generators_alone(blobs):
    X, _ = blobs
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = KSelection(pca(), criterion="stability", random_state=1).fit(X)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])
    drawn = KSelection(pca(), criterion="stability", random_state=np.random.RandomState(1)).fit(X)
    assert first.scores_ == drawn.scores_


def test_parameters_clone_and_pickle(blobs):
    X, _ = blobs
    selection = KSelection(pca(3), range(2, 8), criterion="silhouette", n_init=2, **SEEDED)
    twin = clone(selection)
    assert twin.get_params(deep=False).keys() == selection.get_params(deep=False).keys()
    assert twin.n_clusters == range(2, 8) and twin.estimator is not selection.estimator
    selection.set_params(estimator__n_components=2, criterion="merge").fit(X)
    loaded = pickle.loads(pickle.dumps(selection))
    np.testing.assert_array_equal(loaded.predict(X), selection.predict(X))
    assert loaded.scores_ == selection.scores_ and loaded.cluster_centers_.shape[1] == 2


def test_data_frames_go_in_and_out(blobs):
    frame = pd.DataFrame(blobs[0], columns=[f"f{i}" for i in range(10)], index=range(7, 407))
    selection = KSelection(pca().set_output(transform="pandas"), **SEEDED).fit(frame)
    assert isinstance(selection.transform(frame), np.ndarray)
    out = selection.set_output(transform="pandas").transform(frame)
    assert out.columns.tolist() == ["kselection0", "kselection1"]
    assert out.index.tolist() == frame.index.tolist()
    assert selection.feature_names_in_.tolist() == frame.columns.tolist()
    assert not hasattr(selection.fit(blobs[0]), "feature_names_in_")


def test_searches_take_it(blobs):
    X, _ = blobs
    grid = {"criterion": CRITERIA[:3], "estimator__n_components": [3, 4]}
    search = GridSearchCV(
        KSelection(pca(), **SEEDED), grid, scoring=silhouette_scorer, cv=TransductiveSplit()
    )
    assert search.fit(X).best_estimator_.best_n_clusters_ == 5
    assert stability_scorer(search.best_estimator_, X) == pytest.approx(1)


@pytest.mark.usefixtures("wide")
def test_a_deep_clusterer_of_images():
    X, y = make_image_blobs(200, n_classes=4, random_state=0)
    X = (255 * X).astype(np.uint8)
    model = IDFDClustering(9, max_epochs=10, random_state=0)
    selection = KSelection(model, range(2, 9), **SEEDED).fit(X)
    assert selection.best_n_clusters_ == 4
    assert adjusted_rand_score(y, selection.labels_) > 0.9
    assert selection.cluster_centers_.dtype == selection.transform(X).dtype == np.float32
    assert selection.estimator_.n_clusters == 9 and selection.n_features_in_ == 64
    np.testing.assert_array_equal(selection.labels_, selection.predict(X))


# -- edges --------------------------------------------------------------------------------------


class Skipping(TransformerMixin, BaseEstimator):
    """Gives rows of NaN to samples that begin with one, as to files that could not be read."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.where(np.isnan(X[:, :1]), np.nan, X)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_rows_that_are_not_finite_are_left_out(blobs, criterion):
    X, _ = blobs
    holes = np.insert(X, [0, 50, 400], np.nan, axis=0)
    kept = np.isfinite(holes[:, 0])
    selection = KSelection(Skipping(), range(2, 8), criterion=criterion, **SEEDED)
    without = clone(selection).fit(X)
    selection.fit(holes)
    assert selection.scores_ == without.scores_
    np.testing.assert_array_equal(selection.labels_[kept], without.labels_)
    assert (selection.labels_[~kept] == -1).all()
    np.testing.assert_array_equal(selection.predict(holes), selection.labels_)
    with pytest.raises(ValueError, match="no sample whose embedding is finite"):
        selection.score(holes[~kept])
    assert (selection.predict(holes[:1]) == -1).all()
    assert selection.score(holes) == pytest.approx(without.score(X))
    with pytest.raises(ValueError, match="n_samples=5"):
        clone(selection).fit(np.vstack([X[:5], holes[:1].repeat(20, axis=0)]))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_collapsed_embeddings_are_no_error(criterion):
    X = np.ones((30, 3))
    selection = KSelection(as_it_is(), range(2, 5), criterion=criterion, **SEEDED)
    with pytest.warns(ConvergenceWarning, match="1 of 2 clusters hold no sample"):
        selection.fit(X)
    assert selection.best_n_clusters_ == 2
    assert np.isfinite(list(selection.scores_.values())).all()
    assert set(selection.labels_) == {0}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_fewer_distinct_rows_than_clusters(criterion):
    X = np.repeat([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], 8, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        selection = KSelection(as_it_is(), range(2, 9), criterion=criterion, **SEEDED).fit(X)
    assert selection.best_n_clusters_ == 3
    assert set(selection.labels_) == {0, 1, 2}
    with pytest.warns(ConvergenceWarning, match="2 of 5"):
        selection.set_params(n_clusters=5).fit(X)
    assert set(selection.labels_) == {0, 1, 2}
    assert selection.score(X) == pytest.approx(1)


def test_three_distinct_rows_are_three_clusters():
    """Whatever their centres come to: more clusters have no rows, and are no clustering."""
    X = np.repeat(np.random.RandomState(0).randn(3, 4), 20, axis=0)
    for criterion in ("simplified_silhouette", "silhouette", "davies_bouldin"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            selection = KSelection(as_it_is(), range(2, 6), criterion=criterion, **SEEDED).fit(X)
        assert selection.best_n_clusters_ == 3


@pytest.mark.parametrize("n_clusters", [np.arange(3, 8), (7, 3, 5, 4, 6), {3, 4, 5, 6, 7}])
def test_numbers_come_in_any_iterable(blobs, n_clusters):
    selection = KSelection(pca(), n_clusters, **SEEDED).fit(blobs[0])
    assert selection.n_clusters_range_.tolist() == [3, 4, 5, 6, 7]
    once = KSelection(pca(), (k for k in range(3, 8)), **SEEDED).fit(blobs[0])
    assert once.scores_ == selection.scores_


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_single_number_leaves_no_choice(blobs, criterion):
    X, _ = blobs
    for k in (1, np.int64(4)):
        selection = KSelection(pca(), k, criterion=criterion, **SEEDED).fit(X)
        assert selection.best_n_clusters_ == k == len(set(selection.labels_))
        assert np.isfinite(selection.best_score_)
        assert (selection.best_score_ <= 0) == (k == 1 or criterion == "davies_bouldin")


@pytest.mark.parametrize("n", [3, 4, 7, 25])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_default_range_suits_few_samples(n, criterion):
    X = np.random.default_rng(0).normal(size=(n, 2))
    selection = KSelection(as_it_is(), criterion=criterion, **SEEDED).fit(X)
    assert selection.n_clusters_range_.tolist() == list(range(2, min(20, n - 1) + 1))


@pytest.mark.parametrize(
    ("n_clusters", "message"),
    [
        ([], "n_clusters is empty"),
        (range(5, 5), "n_clusters is empty"),
        ([1, 2], "n_clusters must be integers of at least 2"),
        (0, "n_clusters must be integers of at least 1"),
        ([2, -3], "n_clusters must be integers of at least 2"),
        ([2, 2.5], "n_clusters must be integers"),
        ([True, 3], "n_clusters must be integers"),
        ("23", "n_clusters must be integers"),
        (np.array(3), "n_clusters must be integers"),
        (2.0, "n_clusters must be integers"),
        ([[2, 3]], "n_clusters must be integers"),
        ([2, 400], "n_clusters=400 must be less than n_samples=400"),
        (401, "n_clusters=401 must be less than n_samples=400"),
    ],
)
def test_bad_numbers_are_told_before_training(blobs, n_clusters, message):
    class Untouched(Skipping):
        def fit(self, X, y=None):
            raise AssertionError("trained")

    for X in (blobs[0], list(blobs[0])):
        with pytest.raises(ValueError, match=message):
            KSelection(Untouched(), n_clusters).fit(X)


@pytest.mark.parametrize(
    ("name", "value"),
    [("criterion", "elbow"), ("n_init", 0), ("max_samples", 1), ("random_state", "seed")],
)
def test_bad_parameters_are_named(blobs, name, value):
    with pytest.raises(ValueError, match=name):
        KSelection(pca(), **{name: value}).fit(blobs[0])


def test_a_representation_is_needed(blobs):
    with pytest.raises(TypeError, match="GaussianMixture has not"):
        KSelection(GaussianMixture()).fit(blobs[0])
    with pytest.raises(ValueError, match="n_samples=2 leaves n_clusters nothing"):
        KSelection(pca()).fit(blobs[0][:2])
    for method in ("predict", "transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(KSelection(pca()), method)(blobs[0])


# -- real images --------------------------------------------------------------------------------


@pytest.mark.usefixtures("wide")
def test_ten_digits_in_few_epochs():
    X, y = load_digits_images(return_X_y=True)
    selection = KSelection(IDFDClustering(20, max_epochs=15, random_state=0), **SEEDED).fit(X)
    assert 9 <= selection.best_n_clusters_ <= 11
    assert clustering_accuracy(y, selection.labels_) > 0.85


@pytest.mark.slow
@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_digits_by_default(seed):
    X, y = load_digits_images(return_X_y=True)
    selection = KSelection(IDFDClustering(20, random_state=seed), random_state=seed).fit(X)
    assert 9 <= selection.best_n_clusters_ <= 11
    assert clustering_accuracy(y, selection.labels_) > 0.9
