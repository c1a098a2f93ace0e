"""Classes against clusters."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skdeepclust.inspection._clusters import (
    FAINT,
    INK,
    check_labels,
    confusion,
    encode_classes,
    order_clusters,
)
from skdeepclust.inspection._matplotlib import new_axes

_CELL, _LARGEST = 0.42, 11.0  # inches: of a cell, and of the longer side
_LEAST_SIZE = 4.5  # points: no number is written smaller


class ClusterConfusionDisplay:
    """How many samples of each class are in each cluster.

    Cells are coloured by the share of their class. Columns are in the order of the classes that
    the Hungarian method matches them with, so that what is right lies on the diagonal.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    counts : ndarray of shape (n_classes, n_clusters)
        Samples of each class in each cluster, rows and columns in the order of `classes` and
        `clusters`.
    classes : list of str
        Classes, those matched with a cluster first.
    clusters : list of int
        Clusters, those matched with a class first.
    n_unassigned : int, default=0
        Samples without a cluster. They are errors.

    Attributes
    ----------
    accuracy : float
        Share of the samples that are on the diagonal.
    ax_ : matplotlib.axes.Axes
        Axes of the matrix.
    figure_ : matplotlib.figure.Figure or SubFigure
        Figure of the matrix.

    See Also
    --------
    skdeepclust.metrics.clustering_accuracy : The accuracy; label -1 is a cluster
        there.
    skdeepclust.metrics.match_labels : Clusters under the names of their classes.

    Notes
    -----
    Where clusters and classes are not of the same number, those left over come last, and none of
    their samples counts as right. Beyond some thirty classes there is no room for numbers.

    Examples
    --------
    >>> from skdeepclust.inspection import ClusterConfusionDisplay
    >>> y = ["cat", "cat", "dog", "dog", "dog"]
    >>> display = ClusterConfusionDisplay.from_predictions(y, [1, 1, 0, 0, 1])
    >>> display.clusters, display.accuracy
    ([1, 0], 0.8)
    >>> display.counts
    array([[2, 0],
           [1, 2]])
    """

    def __init__(
        self, counts: np.ndarray, *, classes: list[str], clusters: list[int], n_unassigned: int = 0
    ):
        self.counts = counts
        self.classes = classes
        self.clusters = clusters
        self.n_unassigned = n_unassigned

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, *, ax: Any = None) -> Self:
        """Compare the clusters that an estimator predicts with classes.

        Parameters
        ----------
        estimator : fitted clusterer
            With ``predict``.
        X : array-like, tensor, path, list of paths or Dataset
            Samples as the estimator takes them.
        y : array-like of shape (n_samples,)
            Class of each sample.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ClusterConfusionDisplay
            The display, plotted.

        Raises
        ------
        ValueError, ImportError
            As of `from_predictions`.
        """
        return cls.from_predictions(y, estimator.predict(X), ax=ax)

    @classmethod
    def from_predictions(cls, y: ArrayLike, labels: ArrayLike, *, ax: Any = None) -> Self:
        """Compare given clusters with classes.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Class of each sample.
        labels : array-like of int, of shape (n_samples,)
            Cluster of each sample; negative is none.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ClusterConfusionDisplay
            The display, plotted.

        Raises
        ------
        ValueError
            If `y` and `labels` differ in length, or `labels` is not of integers.
        ImportError
            If matplotlib is not installed.
        """
        labels = check_labels(labels, np.asarray(labels).size)
        clusters, names = order_clusters(labels, y)
        titles, rows = encode_classes(y)
        order, counts = confusion(rows, titles, labels, clusters, names)
        return cls(
            counts,
            classes=[titles[i] for i in order],
            clusters=clusters,
            n_unassigned=int((labels < 0).sum()),
        ).plot(ax=ax)

    @property
    def accuracy(self) -> float:
        """Share of the samples that are on the diagonal."""
        return float(np.trace(self.counts) / (self.counts.sum() + self.n_unassigned))

    def plot(self, ax: Any = None) -> Self:
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ClusterConfusionDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_rows, n_columns = self.counts.shape
        if ax is None:
            cell = min(_CELL, _LARGEST / max(n_rows, n_columns))
            ax = new_axes(max(3.2, n_columns * cell + 1.6), max(2.6, n_rows * cell + 0.9))
        self.ax_, self.figure_ = ax, ax.figure
        box = ax.get_window_extent()
        points = min(box.width / n_columns, box.height / n_rows) * 72 / ax.figure.dpi
        shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        self._write_counts(shares, points)
        self._write_names(points)
        self._draw_scale(image)
        return self

    def _write_counts(self, shares: np.ndarray, points: float) -> None:
        """Numbers other than 0, if the cells of so many points have room for them."""
        size = min(0.33, 1.35 / len(str(self.counts.max()))) * points
        if size < _LEAST_SIZE:
            return
        for row, column in np.argwhere(self.counts):
            self.ax_.text(
                column,
                row,
                str(self.counts[row, column]),
                size=min(size, 10),
                color="white" if shares[row, column] > 0.5 else INK,
                ha="center",
                va="center",
            )

    def _write_names(self, points: float) -> None:
        """As many names as cells of so many points have room for, and the caption."""
        ax, size = self.ax_, float(np.clip(0.75 * points, 5, 9))
        every = -(-0.65 * size * len(str(max(self.clusters))) // points), -(-1.1 * size // points)
        columns, rows = (max(1, int(step)) for step in every)
        ax.set_xticks(range(0, len(self.clusters), columns), self.clusters[::columns], size=size)
        ax.set_yticks(
            range(0, len(self.classes), rows), self.classes[::rows], size=size, parse_math=False
        )
        ax.tick_params(length=0, colors=INK)
        ax.spines[:].set_color(FAINT)
        caption = f"accuracy {self.accuracy:.3f}, {self.counts.sum() + self.n_unassigned:,} samples"
        if self.n_unassigned:
            caption += f", {self.n_unassigned:,} of them in no cluster"
        ax.set_xlabel(f"cluster\n{caption}", size=8, color=FAINT)
        ax.set_ylabel("class", size=8, color=FAINT)

    def _draw_scale(self, image: Any) -> None:
        bar = self.figure_.colorbar(image, ax=self.ax_, shrink=0.6, aspect=18, pad=0.02)
        bar.set_label("share of the class", size=8, color=FAINT)
        bar.ax.tick_params(labelsize=7, colors=FAINT, length=2)
        bar.outline.set_visible(False)
