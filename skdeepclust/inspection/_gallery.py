"""A row of images for each cluster: typical members, then borderline ones."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skdeepclust.inspection._clusters import (
    FAINT,
    INK,
    check_labels,
    image_shape_of,
    order_clusters,
    predicted,
)
from skdeepclust.inspection._matplotlib import blank, new_axes
from skdeepclust.inspection._pictures import as_pictures, to_unit, value_range

# Lengths below are in widths of an image.
_STEP = 1.12  # from one image to the next
_GAP = 0.55  # between typical and borderline members
_LABEL = 3.0  # room for the names of the rows
_INCHES = 0.5


class ClusterGalleryDisplay:
    """Typical and borderline members of each cluster.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    images : ndarray of shape (n_samples, H, W) or (n_samples, H, W, C)
        The images that the indices below refer to; C is 3 or 4.
    clusters : list of int
        Clusters in order of the rows.
    sizes : dict of int to int
        Number of members of each cluster.
    members : dict of int to ndarray
        Indices of the typical members of each cluster, most typical first.
    borderline : dict of int to ndarray
        Indices of the members of each cluster that nearly belong to another one.
    names : dict of int to str, default=None
        Class that a cluster stands for, where there is one.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the gallery.
    figure_ : matplotlib.figure.Figure or SubFigure
        Figure of the gallery.

    See Also
    --------
    EmbeddingDisplay : A map of all samples.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skdeepclust.datasets import load_digits_images
    >>> from skdeepclust.inspection import ClusterGalleryDisplay
    >>> images, target = load_digits_images(return_X_y=True)
    >>> kmeans = KMeans(n_clusters=10, random_state=0).fit(images.reshape(len(images), -1))
    >>> display = ClusterGalleryDisplay.from_predictions(images, kmeans.labels_)
    >>> display.figure_.savefig("gallery.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        images: Any,
        *,
        clusters: list[int],
        sizes: dict[int, int],
        members: dict[int, np.ndarray],
        borderline: dict[int, np.ndarray],
        names: dict[int, str] | None = None,
    ):
        self.images = images
        self.clusters = clusters
        self.sizes = sizes
        self.members = members
        self.borderline = borderline
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: ArrayLike | None = None,
        n_members: int = 10,
        n_borderline: int = 3,
        clusters: Sequence[int] | None = None,
        ax: Any = None,
    ) -> Self:
        """Show the members of the clusters that an estimator predicts.

        Parameters
        ----------
        estimator : fitted clusterer
            With ``predict_proba``, or with ``predict`` alone; see `from_predictions`.
        X : array-like, tensor, path, list of paths or Dataset
            Images as the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            Class of each image; rows then bear the names of the matched classes.
        n_members : int, default=10
            Typical members per row.
        n_borderline : int, default=3
            Borderline members per row.
        clusters : sequence of int, default=None
            Which clusters to show; None shows all that have members.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ClusterGalleryDisplay
            The display, plotted.

        Raises
        ------
        ValueError, ImportError
            As of `from_predictions`.
        """
        labels, proba = predicted(estimator, X)
        return cls.from_predictions(
            X,
            labels,
            scores=proba,
            y=y,
            n_members=n_members,
            n_borderline=n_borderline,
            clusters=clusters,
            image_shape=image_shape_of(estimator, X),
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        labels: ArrayLike,
        *,
        scores: ArrayLike | None = None,
        y: ArrayLike | None = None,
        n_members: int = 10,
        n_borderline: int = 3,
        clusters: Sequence[int] | None = None,
        image_shape: tuple[int, int, int] | None = None,
        ax: Any = None,
    ) -> Self:
        """Show the members of given clusters.

        Parameters
        ----------
        X : array-like, tensor, path, list of paths or Dataset
            Images (n, H, W), (n, C, H, W) or (n, H, W, C), or rows with `image_shape`.
        labels : array-like of int, of shape (n_samples,)
            Cluster of each image; those with a negative label are left out.
        scores : array-like of shape (n_samples, n_clusters), default=None
            How well each image suits each cluster, such as ``predict_proba``. The typical
            members have the highest scores, borderline ones the smallest lead over another
            cluster. None takes minus the distance to the mean image of each cluster.
        y : array-like of shape (n_samples,), default=None
            Class of each image; rows then bear the names of the matched classes.
        n_members : int, default=10
            Typical members per row.
        n_borderline : int, default=3
            Borderline members per row.
        clusters : sequence of int, default=None
            Which clusters to show; None shows all that have members.
        image_shape : (C, H, W), default=None
            Unflattens rows and settles the layout of 4-D input.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ClusterGalleryDisplay
            The display, plotted.

        Raises
        ------
        ValueError
            If the arguments do not fit together, `clusters` names one without members, or a
            number of members is negative.
        ImportError
            If matplotlib is not installed.
        """
        if n_members < 1 or n_borderline < 0:
            raise ValueError("n_members must be >= 1 and n_borderline >= 0")
        images = as_pictures(X, image_shape)
        labels = check_labels(labels, len(images))
        order, names = order_clusters(labels, y)
        shown = order if clusters is None else _chosen(clusters, order)
        if scores is None:
            kept = np.flatnonzero(labels >= 0)  # others may be files that cannot be read
            rows = np.stack([images[int(i)] for i in kept]).reshape(len(kept), -1)
            scores = np.full((len(labels), int(labels.max()) + 1), -np.inf)
            scores[kept] = scores_of(rows, labels[kept])
        else:
            scores = check_scores(scores, labels)
        members, borderline = {}, {}
        for k in shown:
            members[k], borderline[k] = exemplars(scores, labels, k, n_members, n_borderline)
        return cls(
            images,
            clusters=shown,
            sizes={k: int((labels == k).sum()) for k in shown},
            members=members,
            borderline=borderline,
            names=names,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the gallery.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ClusterGalleryDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_members = _longest(self.members)
        right = n_members * _STEP + _GAP
        width = right + _longest(self.borderline) * _STEP
        height, row = self.images.shape[1] / self.images.shape[2], 0.0
        step = height + _STEP - 1
        bottom = len(self.clusters) * step
        if ax is None:
            ax = new_axes((width + _LABEL) * _INCHES, (bottom + 0.6) * _INCHES)
        self.ax_, self.figure_ = ax, ax.figure
        scale = value_range(self.images)
        for k in self.clusters:
            self._write_label(k, row + height / 2)
            self._draw_row(self.members[k], 0.0, row, scale)
            self._draw_row(self.borderline[k], right, row, scale)
            row += step
        self._write_head(right)
        blank(ax)
        ax.set(xlim=(-_LABEL, width), ylim=(bottom, -0.6), aspect="equal")
        return self

    def _draw_row(self, index: np.ndarray, x: float, y: float, scale: tuple[float, float]) -> None:
        height = self.images.shape[1] / self.images.shape[2]
        for i in index:
            self.ax_.imshow(
                to_unit(self.images[i], *scale),
                extent=(x, x + 1, y + height, y),
                cmap="gray",
                vmin=0,
                vmax=1,
                interpolation="nearest",
            )
            x += _STEP

    def _write_label(self, k: int, y: float) -> None:
        name, count = f"cluster {k}", f"{self.sizes[k]:,} images"
        if self.names and k in self.names:
            name, count = self.names[k], f"{name}, {count}"
        style = {"xy": (-0.3, y), "textcoords": "offset points", "ha": "right"}
        self.ax_.annotate(
            name,
            xytext=(0, 1),
            va="bottom",
            size=10,
            weight="bold",
            color=INK,
            parse_math=False,
            **style,
        )
        self.ax_.annotate(count, xytext=(0, -1), va="top", size=7.5, color=FAINT, **style)

    def _write_head(self, right: float) -> None:
        style = {"y": -0.2, "size": 9, "color": FAINT, "va": "bottom"}
        self.ax_.text(0.0, s="most typical", **style)
        if _longest(self.borderline):
            self.ax_.text(right, s="borderline", **style)


def _longest(index: dict[int, np.ndarray]) -> int:
    return max(len(i) for i in index.values())


def _chosen(clusters: Sequence[int], known: list[int]) -> list[int]:
    chosen = [int(k) for k in clusters]
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(f"clusters must name clusters that have members, got {chosen}")
    return chosen


def check_scores(scores: ArrayLike, labels: np.ndarray) -> np.ndarray:
    """Refuse scores that do not have a row for each label and a column for each cluster.

    Parameters
    ----------
    scores : array-like of shape (n_samples, n_clusters)
        As users pass them.
    labels : ndarray of shape (n_samples,), int64
        Cluster of each sample; negative is none.

    Returns
    -------
    ndarray of shape (n_samples, n_clusters)

    Raises
    ------
    ValueError
        If their shape is another.
    """
    array = np.asarray(scores)
    if array.ndim != 2 or len(array) != len(labels) or array.shape[1] <= labels.max():
        raise ValueError(
            f"scores must have shape ({len(labels)}, n_clusters) with n_clusters > "
            f"{labels.max()}, the largest label; got {array.shape}"
        )
    return array


def scores_of(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the squared distance to the mean row of each cluster.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, dim)
        Embedding, or pixels. Rows of samples without a cluster may be NaN.
    labels : ndarray of shape (n_samples,), int64
        Cluster of each sample; negative is none.

    Returns
    -------
    ndarray of shape (n_samples, n_clusters)
        Minus infinity for clusters without members.
    """
    rows = np.nan_to_num(np.asarray(rows, dtype=np.float64))
    scores = np.full((len(rows), int(labels.max()) + 1), -np.inf)
    for k in np.unique(labels[labels >= 0]):
        scores[:, k] = -np.square(rows - rows[labels == k].mean(axis=0)).sum(axis=1)
    return scores


def exemplars(
    scores: np.ndarray, labels: np.ndarray, k: int, n_members: int, n_borderline: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the typical and of the borderline members of cluster k."""
    index = np.flatnonzero(labels == k)
    own = scores[index, k]
    order = np.argsort(-own, kind="stable")
    members, rest = index[order[:n_members]], order[n_members:]
    others = np.delete(scores[index], k, axis=1)
    if not others.shape[1]:
        return members, index[:0]
    lead = (own - others.max(axis=1))[rest]
    return members, index[rest[np.argsort(lead, kind="stable")[:n_borderline]]]
