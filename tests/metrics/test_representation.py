import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skdeepclust import IDFDClustering
from skdeepclust.datasets import make_image_blobs
from skdeepclust.metrics import representation_report


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def knn_by_definition(train, test, y_train, y_test, n_neighbors):
    right = []
    for row, truth in zip(test, y_test, strict=True):
        cosines = train @ row / np.linalg.norm(train, axis=1) / np.linalg.norm(row)
        votes = np.bincount(y_train[np.argsort(-cosines)[:n_neighbors]])
        right.append(votes.argmax() == truth)
    return np.mean(right)


def test_both_figures_are_their_definition(digits):
    X, y = digits
    parts = train_test_split(X, y, test_size=0.3, random_state=3, stratify=y)
    report = representation_report(X, None, y, n_neighbors=7, test_size=0.3, random_state=3)
    assert report["knn"] == pytest.approx(knn_by_definition(*parts, 7))
    scaler = StandardScaler().fit(parts[0])
    probe = LogisticRegression(max_iter=1000).fit(scaler.transform(parts[0]), parts[2])
    assert report["linear_probe"] == probe.score(scaler.transform(parts[1]), parts[3])
    assert report.keys() == {"knn", "linear_probe"}


def test_an_estimator_is_judged_by_its_transform(digits):
    X, y = digits
    pca = PCA(8, random_state=0).fit(X)
    report = representation_report(pca, X, y)
    assert report == representation_report(pca.transform(X), None, y)
    assert report == representation_report(pca.transform(X).tolist(), None, y.tolist())
    assert report["knn"] > 0.85 and report["linear_probe"] > 0.85


@pytest.mark.usefixtures("wide")
def test_a_deep_clusterer_and_names_as_classes():
    X, y = make_image_blobs(60, random_state=0)
    model = IDFDClustering(3, max_epochs=5, random_state=0).fit(X)
    report = representation_report(model, X, np.array(["a", "b", "c"])[y])
    assert report["knn"] == 1.0 and report["linear_probe"] == 1.0


def test_an_embedding_may_be_a_frame(digits):
    X, y = digits
    assert representation_report(pd.DataFrame(X), None, y) == representation_report(X, None, y)


def test_classes_that_leave_the_training_part_no_room_are_drawn_at_random():
    X = np.random.default_rng(0).normal(size=(20, 3))
    report = representation_report(X, None, np.arange(20) % 10, n_neighbors=1, test_size=0.6)
    assert report.keys() == {"knn", "linear_probe"}


def test_noise_holds_no_class():
    rng = np.random.default_rng(0)
    report = representation_report(rng.normal(size=(800, 4)), None, np.arange(800) % 4)
    assert max(report.values()) < 0.4


def test_rows_that_are_not_finite_are_left_out(digits):
    X, y = digits
    with_skipped = np.vstack([X[:5], np.full((2, 64), np.nan), X[5:]])
    classes = np.concatenate([y[:5], [11, 12], y[5:]])
    assert representation_report(with_skipped, None, classes) == representation_report(X, None, y)


def test_rare_classes_and_few_samples_are_no_error():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3))
    for y in ([0] * 11 + [1], [0, 1] * 6, list(range(6)) * 2):
        report = representation_report(X, None, y, random_state=1)
        assert all(0 <= accuracy <= 1 for accuracy in report.values())


def test_images_are_flattened(digits):
    X, y = digits
    assert representation_report(X.reshape(-1, 8, 8), None, y) == representation_report(X, None, y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors"),
        ({"test_size": 1.5}, "test_size"),
        ({"test_size": 10}, "test_size must be a share"),
        ({"y": [0, 1]}, "one class for each"),
        ({"y": [0] * 600}, "two classes"),
    ],
)
def test_bad_input(digits, params, message):
    X, y = digits
    with pytest.raises(ValueError, match=message):
        representation_report(X, None, **{"y": y} | params)
