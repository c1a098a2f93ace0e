"""Scorers for scikit-learn's model selection: functions of (estimator, X, y)."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.metrics import davies_bouldin_score, silhouette_score

from skdeepclust.metrics._scores import clustering_accuracy, clustering_report
from skdeepclust.ops.scale import unscaled

# The silhouette takes all pairwise distances; this many rows take about a second.
_MAX_ROWS = 10_000
# Below every Davies-Bouldin index, and finite, so that searches can average it.
_LOWEST = float(np.finfo(np.float32).min)


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
        A fitted clusterer with `predict`, whose label -1 is a cluster like any other. Distances
        are between rows of `estimator.transform(X)`, or of `X` itself (flattened) when the
        estimator has no `transform`. That of scikit-learn's `KMeans` gives distances to its
        centres, another representation for each number of them.
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
    >>> from sklearn.mixture import GaussianMixture
    >>> from skdeepclust.metrics import silhouette_scorer
    >>> X = [[0.0], [0.1], [1.0], [1.1]]
    >>> mixture = GaussianMixture(2, random_state=0).fit(X)
    >>> round(silhouette_scorer(mixture, X), 2)
    0.9
    """
    rows, labels = _embedded(estimator, X)
    if len(rows) > _MAX_ROWS:
        some = np.random.RandomState(0).choice(len(rows), _MAX_ROWS, replace=False)
        rows, labels = rows[some], labels[some]
    if not _comparable(labels):
        return -1.0
    return float(silhouette_score(unscaled(rows), labels))


def simplified_silhouette_scorer(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    r"""Mean simplified silhouette of the predicted clusters, for use as `scoring=`.

    .. math:: \frac{1}{n} \sum_i \frac{b_i - a_i}{\max(a_i, b_i)}

    where a is the distance of a sample to the mean of its own cluster and b that to the
    nearest other mean: n K distances, where the silhouette takes n². Like it, it compares
    clusterings of one representation, and cannot compare representations.

    Parameters
    ----------
    estimator : object
        A fitted clusterer with `predict`, whose label -1 is a cluster like any other. Distances
        are between rows of `estimator.transform(X)`, or of `X` itself (flattened) when the
        estimator has no `transform`, and means of them. That of scikit-learn's `KMeans` gives
        distances to its centres, another representation for each number of them.
    X : array-like
        Samples, as the estimator takes them.
    y : array-like, default=None
        Ignored.

    Returns
    -------
    float
        A value in [-1, 1]; -1.0 when there is only one cluster or every sample is one of its
        own. Rows that are not finite, as those of skipped files, are left out.

    Examples
    --------
    >>> from sklearn.mixture import GaussianMixture
    >>> from skdeepclust.metrics import simplified_silhouette_scorer
    >>> X = [[0.0], [0.1], [1.0], [1.1]]
    >>> mixture = GaussianMixture(2, random_state=0).fit(X)
    >>> round(simplified_silhouette_scorer(mixture, X), 2)
    0.95
    """
    rows, labels = _embedded(estimator, X)
    if not _comparable(labels):
        return -1.0
    clusters, codes = np.unique(labels, return_inverse=True)
    means = np.stack([rows[codes == k].mean(axis=0) for k in range(len(clusters))])
    # Only here: whoever wants other scores need not wait for torch.
    import torch

    from skdeepclust.ops.silhouette import simplified_silhouette

    return float(simplified_silhouette(*map(torch.from_numpy, (rows, means, codes))))


def davies_bouldin_scorer(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    r"""Minus the Davies-Bouldin index of the predicted clusters, for use as `scoring=`.

    .. math:: -\frac{1}{K} \sum_k \max_{l \ne k} \frac{s_k + s_l}{\lVert \mu_k - \mu_l \rVert}

    where s is the mean distance of the members to the mean :math:`\mu` of their cluster. Every
    cluster weighs the same, however small. It compares clusterings of one representation, and
    cannot compare representations.

    Parameters
    ----------
    estimator : object
        A fitted clusterer with `predict`, whose label -1 is a cluster like any other. Distances
        are between rows of `estimator.transform(X)`, or of `X` itself (flattened) when the
        estimator has no `transform`, and means of them. That of scikit-learn's `KMeans` gives
        distances to its centres, another representation for each number of them.
    X : array-like
        Samples, as the estimator takes them.
    y : array-like, default=None
        Ignored.

    Returns
    -------
    float
        Minus scikit-learn's `davies_bouldin_score`, at most 0, so that greater is better; the
        lowest float32 when there is only one cluster, every sample is one of its own, or all
        are equal. Rows that are not finite, as those of skipped files, are left out.

    References
    ----------
    D. Davies and D. Bouldin, "A Cluster Separation Measure", IEEE Transactions on Pattern
    Analysis and Machine Intelligence 1 (2), 1979.

    Examples
    --------
    >>> from sklearn.mixture import GaussianMixture
    >>> from skdeepclust.metrics import davies_bouldin_scorer
    >>> X = [[0.0], [0.1], [1.0], [1.1]]
    >>> mixture = GaussianMixture(2, random_state=0).fit(X)
    >>> round(davies_bouldin_scorer(mixture, X), 2)
    -0.1
    """
    rows, labels = _embedded(estimator, X)
    if not _comparable(labels):
        return _LOWEST
    rows = unscaled(rows)
    return -float(davies_bouldin_score(rows, labels)) if rows.any() else _LOWEST


def stability_scorer(
    estimator: Any, X: Any, y: ArrayLike | None = None, *, n_refits: int = 2
) -> float:
    """How consistently runs with other seeds find the same clusters, for use as `scoring=`.

    It fits `n_refits` clones of the estimator anew, each with a seed of its own, so a search
    takes 1 + `n_refits` times as long. Unlike the other scores without labels it does not
    depend on the scale of a representation, so that it may compare representations. What is
    found again and again need not be what is looked for: few clusters and trivial ones, such as
    light and dark, are stable too.

    Parameters
    ----------
    estimator : estimator
        A fitted clusterer with `predict` and a parameter `random_state`, its own or that of a
        step. Neither it nor its parameters change.
    X : array-like
        Samples, as the estimator takes them; the clones are fitted to them.
    y : array-like, default=None
        Ignored.
    n_refits : int, default=2
        Number of clones. To change it, give ``partial(stability_scorer, n_refits=4)`` as
        `scoring`.

    Returns
    -------
    float
        Mean adjusted Rand index of all pairs of predictions on X, that of the estimator among
        them: 1 when all agree, about 0 when they agree no more than by chance. 0.0 when no
        run has more than one cluster, or every sample is one of its own, which is no finding.
        Samples that are -1 in every run, as skipped files, are left out.

    Raises
    ------
    ValueError
        If nothing in the estimator is random, or `n_refits` is less than 1.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skdeepclust.metrics import stability_scorer
    >>> X = [[0.0], [0.1], [1.0], [1.1]]
    >>> kmeans = KMeans(n_clusters=2, n_init=10, random_state=0).fit(X)
    >>> stability_scorer(kmeans, X)
    1.0
    """
    if n_refits < 1:
        raise ValueError(f"n_refits must be at least 1, got {n_refits}.")
    seeds = _named(estimator, "random_state")
    if not seeds:
        name = type(estimator).__name__
        raise ValueError(f"stability_scorer needs a random_state to change; {name} has none.")
    # A checkpoint is of one training.
    alone: dict[str, Any] = dict.fromkeys(_named(estimator, "checkpoint"))
    runs = [np.asarray(estimator.predict(X))]
    # Far from the seeds that people choose, one of which the estimator itself may have.
    for seed in np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=n_refits):
        other = clone(estimator).set_params(**alone | dict.fromkeys(seeds, int(seed)))
        runs.append(np.asarray(other.fit(X).predict(X)))
    labels = np.stack(runs)
    labels = labels[:, (labels != -1).any(axis=0)]
    if not any(map(_comparable, labels)):
        return 0.0
    pairs = itertools.combinations(labels, 2)
    return float(np.mean([clustering_report(*pair)["ari"] for pair in pairs]))


def _named(estimator: Any, parameter: str) -> list[str]:
    """Parameters of that name, of an estimator and of its steps."""
    return [name for name in estimator.get_params() if name.split("__")[-1] == parameter]


def _embedded(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Embedding (n, dim) and label (n,) of the samples whose embedding is finite."""
    found = getattr(estimator, "_in_one_pass", lambda X: None)(X)
    if found:
        rows, labels, _ = found
    else:
        labels = np.asarray(estimator.predict(X))
        rows = np.asarray(estimator.transform(X) if hasattr(estimator, "transform") else X)
    rows = rows.reshape(len(rows), -1)
    # Types that torch has, in the machine's order of bytes.
    rows = rows.astype(np.float32 if rows.dtype in ("f2", "f4") else np.float64, copy=False)
    finite = np.isfinite(rows).all(axis=1)
    return rows[finite], labels[finite]


def _comparable(labels: np.ndarray) -> bool:
    """Whether there are clusters to tell apart: neither one in all nor one for each sample."""
    return 1 < np.unique(labels).size < labels.size
