"""Agreement of a clustering with known classes, from one contingency table."""

import itertools
from collections.abc import Callable
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from skdeepclust.ops.contingency import Contingency, contingency

# Up to here numbers differ from the next one as floats too.
_LAST_EXACT = 2**53


def clustering_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, *, mapping: str = "hungarian"
) -> float:
    r"""Share of samples whose cluster stands for their class.

    .. math:: \mathrm{ACC} = \frac{1}{n} \max_m \sum_i [y_i = m(\hat y_i)]

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Class of each sample. Labels may be any hashable values: integers, strings, or a mixture.
    y_pred : array-like of shape (n_samples,)
        Cluster of each sample, of the same kinds. Label -1, which files that were skipped
        get, is a cluster like any other.
    mapping : {"hungarian", "majority"}, default="hungarian"
        Which maps :math:`m` from clusters to classes are allowed. With "hungarian" each class is
        given to at most one cluster: when clusters outnumber classes, the samples of the clusters
        left over count as errors; when classes outnumber clusters, so do those of the classes left
        over. With "majority" each cluster stands for its most frequent class, so that several
        clusters may share one; this is also called purity and grows with the number of clusters.

    Returns
    -------
    float
        The accuracy, in (0, 1].

    Raises
    ------
    ValueError
        If a labelling is empty, not 1-D or holds NaN, if their lengths differ, or if `mapping` is
        unknown.

    Examples
    --------
    >>> from skdeepclust.metrics import clustering_accuracy
    >>> clustering_accuracy(["cat", "cat", "dog", "dog"], [1, 1, 0, 2])
    0.75
    >>> clustering_accuracy(["cat", "cat", "dog", "dog"], [1, 1, 0, 2], mapping="majority")
    1.0
    """
    if mapping not in _HITS:
        raise ValueError(f"mapping must be one of {sorted(_HITS)}, got {mapping!r}.")
    table = contingency(y_true, y_pred)
    return _HITS[mapping](table) / table.n_samples


def clustering_report(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Accuracy, normalised mutual information and adjusted Rand index.

    All three come from one contingency table, which makes the report several times faster than
    three separate calls.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Class of each sample: any hashable labels.
    y_pred : array-like of shape (n_samples,)
        Cluster of each sample: any hashable labels.

    Returns
    -------
    dict
        `acc`, the Hungarian accuracy of :func:`clustering_accuracy`; `nmi`, normalised by the
        arithmetic mean of the entropies; `ari`. The last two equal scikit-learn's
        `normalized_mutual_info_score` and `adjusted_rand_score`.

    Raises
    ------
    ValueError
        If a labelling is empty, not 1-D or holds NaN, or if their lengths differ.

    Examples
    --------
    >>> from skdeepclust.metrics import clustering_report
    >>> clustering_report([0, 0, 1, 1], [1, 1, 0, 0])
    {'acc': 1.0, 'nmi': 1.0, 'ari': 1.0}
    """
    table = contingency(y_true, y_pred)
    return {
        "acc": table.hits() / table.n_samples,
        "nmi": _normalized_mutual_information(table),
        "ari": _adjusted_rand_index(table),
    }


def match_labels(y_true: ArrayLike, y_pred: ArrayLike) -> np.ndarray:
    """Rename clusters to the classes that the Hungarian method matches them with.

    The share of samples where the result equals `y_true` is :func:`clustering_accuracy`, and a
    confusion matrix of the two has the matched samples on its diagonal.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Class of each sample: any hashable labels.
    y_pred : array-like of shape (n_samples,)
        Cluster of each sample: any hashable labels.

    Returns
    -------
    ndarray of shape (n_samples,)
        The class matched with each sample's cluster. Clusters that outnumber the classes keep
        apart from every class and from each other: they follow the largest class when classes are
        numbers (`max + 1`, `max + 2`, ...), and are "cluster 0", "cluster 1", ... otherwise.

    Raises
    ------
    ValueError
        If a labelling is empty, not 1-D or holds NaN, or if their lengths differ.

    Examples
    --------
    >>> from skdeepclust.metrics import match_labels
    >>> match_labels([5, 5, 7, 7, 7], [1, 1, 0, 0, 1])
    array([5, 5, 7, 7, 5])
    >>> match_labels([5, 5, 7, 7, 7], [1, 1, 0, 0, 2])
    array([5, 5, 7, 7, 8])
    """
    table = contingency(y_true, y_pred)
    rows, columns = table.matching()
    class_of_cluster = np.full(table.clusters.size, -1)
    class_of_cluster[columns] = rows
    unmatched = np.flatnonzero(class_of_cluster < 0)
    names = table.classes
    if unmatched.size:
        class_of_cluster[unmatched] = names.size + np.arange(unmatched.size)
        names = _with_new_labels(names, unmatched.size)
    return names[class_of_cluster[table.codes]]


def _with_new_labels(classes: np.ndarray, n: int) -> np.ndarray:
    """The classes, and n labels that none of them has."""
    # numpy counts differences of time among the integers.
    plain = (isinstance(label, Real | np.bool_) for label in classes)
    if classes.dtype.kind not in "mM" and all(plain) and max(classes) < _LAST_EXACT:
        new = int(max(classes)) + 1 + np.arange(n)
        return np.concatenate([classes, new.astype("u8") if classes.dtype == "u8" else new])
    taken = set(classes.tolist())
    names = (f"cluster {i}" for i in itertools.count())
    free = itertools.islice((name for name in names if name not in taken), n)
    return np.fromiter([*classes, *free], dtype=object, count=classes.size + n)


def _majority_hits(table: Contingency) -> int:
    largest = np.zeros(table.clusters.size, dtype=np.int64)
    np.maximum.at(largest, table.columns, table.counts)
    return int(largest.sum())


_HITS: dict[str, Callable[[Contingency], int]] = {
    "hungarian": Contingency.hits,
    "majority": _majority_hits,
}


def _normalized_mutual_information(table: Contingency) -> float:
    n, classes, clusters = table.n_samples, table.class_sizes, table.cluster_sizes
    if classes.size == clusters.size == 1:
        return 1.0
    independent = classes[table.rows] * clusters[table.columns]
    # The logarithm of one quotient of integers is exactly 0 in every cell of independent
    # labellings, which a difference of logarithms or of entropies is not.
    information = np.sum(table.counts / n * np.log(table.counts * n / independent))
    return float(information / ((_entropy(classes, n) + _entropy(clusters, n)) / 2))


def _entropy(sizes: np.ndarray, n: int) -> float:
    return float(np.sum(sizes / n * np.log(n / sizes)))


def _adjusted_rand_index(table: Contingency) -> float:
    # Python integers: the products of pair counts pass 2^63 at some 10^5 samples.
    together = _n_pairs(table.counts)
    same_class, same_cluster = _n_pairs(table.class_sizes), _n_pairs(table.cluster_sizes)
    if together == same_class == same_cluster:
        return 1.0
    pairs = table.n_samples * (table.n_samples - 1) // 2
    chance = same_class * same_cluster
    return 2 * (together * pairs - chance) / ((same_class + same_cluster) * pairs - 2 * chance)


def _n_pairs(sizes: np.ndarray) -> int:
    return int(np.sum(sizes * (sizes - 1))) // 2
