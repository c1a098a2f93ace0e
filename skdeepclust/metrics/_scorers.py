"""Scorers for scikit-learn's model selection: functions of (estimator, X, y)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import silhouette_score

from skdeepclust.metrics._scores import clustering_accuracy

# The silhouette takes all pairwise distances; this many rows take about a second.
_MAX_ROWS = 10_000


def hungarian_accuracy_scorer(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    """Hungarian accuracy of `estimator.predict(X)`, for use as `scoring=`.

    Parameters
    ----------
    estimator : object
        A fitted clusterer with `predict`.
    X : array-like
        Samples, as the estimator takes them.
    y : array-like of shape (n_samples,)
        Class of each sample.

    Returns
    -------
    float
        :func:`~skdeepclust.metrics.clustering_accuracy` of the prediction.

    Raises
    ------
    ValueError
        If `y` is None.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skdeepclust.metrics import hungarian_accuracy_scorer
    >>> X = [[0.0], [0.1], [1.0], [1.1]]
    >>> kmeans = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> hungarian_accuracy_scorer(kmeans, X, ["low", "low", "high", "high"])
    1.0
    """
    if y is None:
        raise ValueError("hungarian_accuracy_scorer compares clusters with classes: y is required.")
    return clustering_accuracy(y, estimator.predict(X))


def silhouette_scorer(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    """Mean silhouette coefficient of the predicted clusters, for use as `scoring=`.

    It compares clusterings of one representation. It cannot compare representations: one that
    puts all samples on a few points scores well.

    Parameters
    ----------
    estimator : object
        A fitted clusterer with `predict`. Distances are between rows of `estimator.transform(X)`,
        or of `X` itself (flattened) when the estimator has no `transform`.
    X : array-like
        Samples, as the estimator takes them.
    y : array-like, default=None
        Ignored.

    Returns
    -------
    float
        scikit-learn's `silhouette_score`, in [-1, 1]; -1.0 when there is only one cluster or every
        sample is one of its own. Rows that are not finite, as those of skipped files, are left
        out, and above 10,000 rows a sample of so many, always the same, is scored.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skdeepclust.metrics import silhouette_scorer
    >>> X = [[0.0], [0.1], [1.0], [1.1]]
    >>> kmeans = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> round(silhouette_scorer(kmeans, X), 2)
    0.93
    """
    labels = np.asarray(estimator.predict(X))
    rows = np.asarray(estimator.transform(X) if hasattr(estimator, "transform") else X)
    rows = rows.reshape(len(rows), -1)
    scored = np.flatnonzero(np.isfinite(rows).all(axis=1))
    if scored.size > _MAX_ROWS:
        scored = np.random.RandomState(0).choice(scored, _MAX_ROWS, replace=False)
    rows, labels = rows[scored], labels[scored]
    if not 1 < np.unique(labels).size < labels.size:
        return -1.0
    return float(silhouette_score(rows, labels))
