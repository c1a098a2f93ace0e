"""Count how often each class meets each cluster."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

__all__ = ["Contingency", "contingency"]

# Counting beats sorting as long as the counters are few beside the samples.
_COUNTERS_PER_SAMPLE = 4
# Tables up to this size are matched as they are, empty cells and all.
_DENSE_CELLS = 1 << 16


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
        """Fill in the cells that are zero.

        Returns
        -------
        ndarray of shape (n_classes, n_clusters), int64
        """
        table = np.zeros((self.classes.size, self.clusters.size), dtype=np.int64)
        table[self.rows, self.columns] = self.counts
        return table

    def matching(self) -> tuple[np.ndarray, np.ndarray]:
        """Pair classes with clusters so that the cells of the pairs sum to the most.

        Returns
        -------
        rows, columns : ndarray of shape (min(n_classes, n_clusters),)
            The class and the cluster of each pair.

        Notes
        -----
        Exact. Large tables are matched without their empty cells: first the pairs that no
        other can beat, whose cell holds as much as the next of its row and of its column
        together; then the rest, where a row may also stay alone.
        """
        shape = self.classes.size, self.clusters.size
        if shape[0] * shape[1] <= _DENSE_CELLS:
            return linear_sum_assignment(self.dense(), maximize=True)
        rows, columns = _sure_pairs(self.rows, self.columns, self.counts, shape)
        free = _others(rows, shape[0])[self.rows] & _others(columns, shape[1])[self.columns]
        more = _sparse_pairs(self.rows[free], self.columns[free], self.counts[free])
        rows, columns = np.append(rows, more[0]), np.append(columns, more[1])
        # What is left meets in empty cells only: pair it in order.
        left = [np.flatnonzero(_others(*part)) for part in zip((rows, columns), shape, strict=True)]
        n_left = min(map(len, left))
        return np.append(rows, left[0][:n_left]), np.append(columns, left[1][:n_left])

    def hits(self) -> int:
        """Count the samples in the cells of the best `matching`.

        Returns
        -------
        int
        """
        rows, columns = self.matching()
        cluster_of_class = np.full(self.classes.size, -1)
        cluster_of_class[rows] = columns
        return int(self.counts[cluster_of_class[self.rows] == self.columns].sum())


def _others(indices: np.ndarray, n: int) -> np.ndarray:
    """Mask of the n positions that are not among the indices."""
    mask = np.ones(n, dtype=bool)
    mask[indices] = False
    return mask


def _sure_pairs(
    rows: np.ndarray, columns: np.ndarray, counts: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that are in a best matching, by the largest cell of each row."""
    largest = np.zeros(shape[0], dtype=counts.dtype)
    np.maximum.at(largest, rows, counts)
    (top,) = np.nonzero(counts == largest[rows])
    top = top[np.unique(rows[top], return_index=True)[1]]
    rest = _others(top, len(rows))
    next_of_row, next_of_column = np.zeros_like(largest), np.zeros(shape[1], dtype=counts.dtype)
    np.maximum.at(next_of_row, rows[rest], counts[rest])
    np.maximum.at(next_of_column, columns[rest], counts[rest])
    alone = np.bincount(columns[top], minlength=shape[1])[columns[top]] == 1
    rivals = next_of_row[rows[top]] + next_of_column[columns[top]]
    sure = top[alone & (counts[top] >= rivals)]
    return rows[sure], columns[sure]


def _sparse_pairs(
    rows: np.ndarray, columns: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Best matching of the cells given, in which rows and columns may stay alone."""
    kept_rows, rows = np.unique(rows, return_inverse=True)
    kept_columns, columns = np.unique(columns, return_inverse=True)
    n, m = len(kept_rows), len(kept_columns)
    if not n:
        return kept_rows, kept_columns
    # A column of its own for each row to stay alone in. Of equal gain for all n rows, one
    # more in every cell decides nothing, and keeps those columns from being empty.
    alone = np.arange(n)
    gains = np.append(counts + 1.0, np.ones(n))
    cells = np.append(rows, alone), np.append(columns, m + alone)
    graph = csr_matrix((gains, cells), shape=(n, m + n))
    rows, columns = min_weight_full_bipartite_matching(graph, maximize=True)
    paired = columns < m
    return kept_rows[rows[paired]], kept_columns[columns[paired]]


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
    rows = cells // clusters.size
    return Contingency(classes, clusters, codes, rows, cells - rows * clusters.size, counts)


def _encode(labels: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct labels and the position of each sample's label among them."""
    if isinstance(labels, list | tuple) and any(isinstance(label, tuple) for label in labels):
        # numpy would take the parts of such labels for a dimension.
        labels = np.fromiter(labels, dtype=object, count=len(labels))
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
    if _holds_missing(distinct):
        raise ValueError(f"{name} contains NaN.")
    return distinct, codes


def _holds_missing(distinct: np.ndarray) -> bool:
    try:
        return bool(np.any(distinct != distinct))  # only NaN and NaT differ from themselves
    except TypeError:  # and of pandas' NA nobody knows
        return True


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
