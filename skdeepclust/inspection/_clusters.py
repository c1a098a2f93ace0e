"""What all pictures know of clusters: their numbers, their names and their colours."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skdeepclust.ops.contingency import contingency

# Petroff, "Accessible Color Sequences for Data Visualization", 2021: ten colours that people
# with a colour vision deficiency tell apart.
_COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
INK = "#222222"
FAINT = "#6b6b6b"
UNASSIGNED = "#d0d0d0"


def color(position: int) -> str:
    """Return the colour of the cluster that is shown at a position; ten of them repeat."""
    return _COLORS[position % len(_COLORS)]


def check_labels(labels: ArrayLike, n_samples: int) -> np.ndarray:
    """Validate the cluster of each of `n_samples` samples.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        Integers; negative ones stand for samples without a cluster.
    n_samples : int
        How many there must be.

    Returns
    -------
    ndarray of shape (n_samples,), int64
    """
    array = np.asarray(labels)
    if array.shape != (n_samples,):
        raise ValueError(f"labels must have shape ({n_samples},), got {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got dtype {array.dtype}")
    array = array.astype(np.int64)
    if not (array >= 0).any():
        raise ValueError("labels puts no sample into a cluster")
    return array


def order_clusters(
    labels: np.ndarray, y: ArrayLike | None = None
) -> tuple[list[int], dict[int, str]]:
    """Put the clusters that have members into the order in which to show them.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), int64
        Cluster of each sample; negative is none.
    y : array-like of shape (n_samples,), default=None
        Class of each sample.

    Returns
    -------
    clusters : list of int
        By number; or with `y` by matched class, those that outnumber the classes last.
    names : dict of int to str
        The class that the Hungarian method matches each cluster with; empty without `y`.
    """
    clusters = [int(k) for k in np.unique(labels[labels >= 0])]
    if y is None or not clusters:
        return clusters, {}
    y = np.asarray(y)
    if y.shape != labels.shape:
        raise ValueError(
            f"y must hold one class for each of {len(labels)} samples, got shape {y.shape}"
        )
    titles, codes = encode_classes(y)
    table = contingency(codes[labels >= 0], labels[labels >= 0])
    rows, columns = table.matching()
    pairs = sorted(zip(table.classes[rows].tolist(), table.clusters[columns].tolist(), strict=True))
    names = {k: titles[code] for code, k in pairs}
    return [*names, *(k for k in clusters if k not in names)], names


def encode_classes(y: ArrayLike) -> tuple[list[str], np.ndarray]:
    """Titles of the classes, sorted, and the position of each sample's among them."""
    y = np.asarray(y)
    try:
        found, codes = np.unique(y, return_inverse=True)
    except TypeError:  # None among texts, or numbers, has no place in their order
        found, codes = np.unique(y.astype(str), return_inverse=True)
    return [str(name) for name in found], codes


def sample(index: np.ndarray, max_samples: int | None, rng: np.random.RandomState) -> np.ndarray:
    """Draw some of the samples that are to be shown.

    Parameters
    ----------
    index : ndarray of int
        Which there are.
    max_samples : int or None
        How many to draw at most; None is all.
    rng : RandomState

    Returns
    -------
    ndarray of int
        Ascending.
    """
    if max_samples is not None and max_samples < 2:
        raise ValueError(f"max_samples must be at least 2 or None, got {max_samples}")
    if max_samples is None or len(index) <= max_samples:
        return index
    return np.sort(rng.choice(index, max_samples, replace=False))


def confusion(
    codes: np.ndarray,
    titles: list[str],
    labels: np.ndarray,
    clusters: list[int],
    names: dict[int, str],
) -> tuple[list[int], np.ndarray]:
    """Count the samples of each class in each cluster, what is matched on the diagonal.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,), int
        Class of each sample, as a position in `titles`.
    titles : list of str
        Classes.
    labels : ndarray of shape (n_samples,), int64
        Cluster of each sample; negative is none.
    clusters, names : list of int, dict of int to str
        As of `order_clusters`.

    Returns
    -------
    order : list of int
        Classes by code, those matched with a cluster first.
    counts : ndarray of shape (n_classes, n_clusters), int
        Rows in that order, columns in the order of `clusters`.
    """
    matched = [titles.index(name) for name in names.values()]
    order = [*matched, *sorted(set(range(len(titles))) - set(matched))]
    counts = np.array([np.bincount(codes[labels == k], minlength=len(titles)) for k in clusters])
    return order, counts.T[order]


def innermost(estimator: Any) -> Any:
    """The estimator within a Pipeline, a search or KSelection that has seen images, or its last."""
    if hasattr(estimator, "image_shape_in_"):
        return estimator
    steps = [step for _, step in getattr(estimator, "steps", ())]
    names = ("estimator_", "best_estimator_")
    parts = [*steps, *(getattr(estimator, name) for name in names if hasattr(estimator, name))]
    found = [*map(innermost, reversed(parts)), estimator]
    return next((part for part in found if hasattr(part, "image_shape_in_")), found[0])


def image_shape_of(estimator: Any, X: Any) -> tuple[int, int, int] | None:
    """Shape of the images of X, if the estimator tells it; a step before may have changed it."""
    shape = getattr(innermost(estimator), "image_shape_in_", None)
    given = getattr(X, "shape", ())[1:]
    return None if shape and len(given) > 1 and math.prod(given) != math.prod(shape) else shape


def predicted(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Cluster of each sample, and its probabilities if the estimator has them."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(X), None
    proba = estimator.predict_proba(X)
    # Rows of files that could not be read are not numbers.
    labels = np.where(np.isnan(proba).any(axis=1), -1, np.argmax(proba, axis=1))
    return labels, np.nan_to_num(proba)


def embedded(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and cluster of each sample."""
    found = in_one_pass(estimator, X)
    return found[:2] if found else (estimator.transform(X), estimator.predict(X))


def in_one_pass(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Embedding, cluster and probabilities, if it is one of ours that gives them together."""
    return getattr(estimator, "_in_one_pass", lambda X: None)(X)
