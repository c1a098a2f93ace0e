"""Count how often each class meets each cluster."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# Counting beats sorting as long as the counters are few beside the samples.
_COUNTERS_PER_SAMPLE = 4


@dataclass(frozen=True)
class Contingency:
    """The non-zero cells of the table of classes (rows) by clusters (columns).

    Attributes
    ----------
    classes, clusters : ndarray
        The distinct labels of the rows and of the columns.
    codes : ndarray of shape (n_samples,)
        The column of each sample.
    rows, columns, counts : ndarray of shape (n_cells,)
        Position and content of each cell that is not zero.
    """

    classes: np.ndarray
    clusters: np.ndarray
    codes: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray

    @property
    def n_samples(self) -> int:
        """Number of samples counted."""
        return self.codes.size

    @property
    def class_sizes(self) -> np.ndarray:
        """Number of samples of each class."""
        return _sums(self.rows, self.counts, self.classes.size)

    @property
    def cluster_sizes(self) -> np.ndarray:
        """Number of samples of each cluster."""
        return _sums(self.columns, self.counts, self.clusters.size)

    def dense(self) -> np.ndarray:
        """Return the whole table, of shape (n_classes, n_clusters)."""
        table = np.zeros((self.classes.size, self.clusters.size), dtype=np.int64)
        table[self.rows, self.columns] = self.counts
        return table


def contingency(y_true: ArrayLike, y_pred: ArrayLike) -> Contingency:
    """Validate two labellings of the same samples and tabulate them.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Hashable labels of any type.

    Returns
    -------
    Contingency
        The table's non-zero cells.

    Raises
    ------
    ValueError
        If a labelling is empty, not 1-D or holds NaN, or if their lengths differ.
    """
    classes, class_codes = _encode(y_true, "y_true")
    clusters, codes = _encode(y_pred, "y_pred")
    if class_codes.size != codes.size:
        raise ValueError(
            "y_true and y_pred must have the same length, "
            f"got {class_codes.size} and {codes.size} labels."
        )
    cell_codes = class_codes * clusters.size
    cell_codes += codes
    cells, counts = _count(cell_codes, classes.size * clusters.size)
    rows, columns = np.divmod(cells, clusters.size)
    return Contingency(classes, clusters, codes, rows, columns, counts)


def _encode(labels: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct labels and the position of each sample's label among them."""
    array = np.asarray(labels)
    if array.dtype.kind in "US":  # numpy turns [1, "1"] into two equal strings
        array = np.asarray(labels, dtype=object)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got an array of shape {array.shape}.")
    if not array.size:
        raise ValueError(f"{name} is empty.")
    if np.can_cast(array.dtype, np.int64):
        distinct, codes = _encode_integers(array)
    elif array.dtype == object:
        distinct, codes = _encode_objects(array.tolist())
    else:
        distinct, codes = np.unique(array, return_inverse=True)
    if np.any(distinct != distinct):  # only NaN and NaT differ from themselves
        raise ValueError(f"{name} contains NaN.")
    return distinct, codes


def _encode_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = int(values.min())
    span = int(values.max()) - low + 1
    if span > _COUNTERS_PER_SAMPLE * values.size:
        return np.unique(values, return_inverse=True)
    offsets = np.subtract(values, low, dtype=np.int64)
    present, _ = _count(offsets, span)
    distinct = (present + low).astype(values.dtype)
    if present.size == span:
        return distinct, offsets
    codes = np.zeros(span, dtype=np.int64)
    codes[present] = np.arange(present.size)
    return distinct, codes[offsets]


def _encode_objects(values: Iterable) -> tuple[np.ndarray, np.ndarray]:
    positions: dict[object, int] = {}
    codes = [positions.setdefault(value, len(positions)) for value in values]
    return np.fromiter(positions, dtype=object, count=len(positions)), np.array(codes)


def _count(values: np.ndarray, span: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct ones among integers in [0, span) and their frequencies."""
    if span > _COUNTERS_PER_SAMPLE * values.size:
        return np.unique(values, return_counts=True)
    counts = np.bincount(values, minlength=span)
    distinct = np.flatnonzero(counts)
    return distinct, counts[distinct]


def _sums(groups: np.ndarray, counts: np.ndarray, n_groups: int) -> np.ndarray:
    # Not bincount(weights=...), which sums in floating point.
    sums = np.zeros(n_groups, dtype=np.int64)
    np.add.at(sums, groups, counts)
    return sums
