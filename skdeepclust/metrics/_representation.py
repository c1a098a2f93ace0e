"""How much of known classes a representation holds."""

import math
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize


def representation_report(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    *,
    n_neighbors: int = 20,
    test_size: float = 0.25,
    random_state: int | RandomState | None = 0,
) -> dict[str, float]:
    """Accuracy of nearest neighbours and of a linear classifier on an embedding.

    For evaluation only: it reads the classes. A parameter, an epoch or a number of clusters
    that was chosen by it was chosen by labels, and the clustering is no longer unsupervised.
    It tells what is in a representation, which clusters need not bring out: a low accuracy of
    clustering beside a high one here means that the clusters are at fault, not the features.

    Parameters
    ----------
    estimator : object or array-like of shape (n_samples, dim)
        A fitted estimator with `transform`, or the embedding itself.
    X : array-like
        Samples, as the estimator takes them; not read, and may be None, when the embedding is
        given.
    y : array-like of shape (n_samples,)
        Class of each sample.
    n_neighbors : int, default=20
        Neighbours that vote; all of the training part where it has fewer.
    test_size : float, default=0.25
        Share of the samples that both classifiers are scored on and do not learn from.
    random_state : int, RandomState or None, default=0
        Seed of the split, which keeps the shares of the classes where each has two samples.

    Returns
    -------
    dict
        `knn`, the accuracy of `n_neighbors` nearest by cosine, which vote; `linear_probe`, that of
        logistic regression on standardised features.

    Raises
    ------
    ValueError
        If X and y differ in length, `test_size` or `n_neighbors` is out of range, or fewer than
        two classes are left to learn.

    Notes
    -----
    Rows that are not finite, as those of skipped files, are left out, with their classes. The
    split is of the labels alone: the estimator may have seen all samples, as clustering does.

    References
    ----------
    Z. Wu, Y. Xiong, S. Yu and D. Lin, "Unsupervised Feature Learning via Non-Parametric
    Instance Discrimination", CVPR 2018, who judge features in both ways.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skdeepclust.metrics import representation_report
    >>> X, y = load_digits(return_X_y=True)
    >>> report = representation_report(PCA(16, random_state=0).fit(X), X, y)
    >>> {name: round(accuracy, 2) for name, accuracy in report.items()}
    {'knn': 0.96, 'linear_probe': 0.96}
    """
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors must be at least 1, got {n_neighbors}.")
    if not 0 < test_size < 1:
        raise ValueError(f"test_size must be a share between 0 and 1, got {test_size}.")
    given = hasattr(estimator, "shape") or not hasattr(estimator, "transform")  # frames have both
    rows, classes = _finite(estimator if given else estimator.transform(X), y)
    known, sizes = np.unique(classes, return_counts=True)
    if known.size < 2:
        raise ValueError(f"y must hold two classes at least among finite rows, got {known.size}.")
    # A class of one sample has none to spare, and as many classes as samples no room to stratify.
    held_out = math.ceil(test_size * len(rows))
    room = min(held_out, len(rows) - held_out)
    stratify = classes if sizes.min() > 1 and room >= known.size else None
    parts = train_test_split(
        rows, classes, test_size=test_size, random_state=random_state, stratify=stratify
    )
    # On unit rows Euclidean neighbours are those by cosine, and found by one product.
    near = KNeighborsClassifier(min(n_neighbors, len(parts[0])), algorithm="brute")
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    return {
        "knn": _accuracy(near, *map(normalize, parts[:2]), *parts[2:]),
        "linear_probe": _accuracy(linear, *parts),
    }


def _finite(embedding: Any, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are finite, with their classes."""
    rows, classes = np.asarray(embedding), np.asarray(y)
    if classes.shape != (len(rows),):
        raise ValueError(
            f"y must hold one class for each of {len(rows)} samples, got shape {classes.shape}."
        )
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    kept = np.isfinite(rows).all(axis=1)
    return rows[kept], classes[kept]


def _accuracy(
    classifier: Any, train: np.ndarray, test: np.ndarray, y_train: np.ndarray, y_test: np.ndarray
) -> float:
    return float(classifier.fit(train, y_train).score(test, y_test))
