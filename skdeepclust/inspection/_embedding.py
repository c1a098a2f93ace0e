"""A map of the embedding in two dimensions."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_random_state

from skdeepclust.inspection._clusters import (
    FAINT,
    INK,
    UNASSIGNED,
    check_labels,
    color,
    order_clusters,
)
from skdeepclust.inspection._matplotlib import blank, new_axes

TITLES = {"tsne": "t-SNE", "pca": "PCA"}
_SIDE = 5.0  # inches


class EmbeddingDisplay:
    """Samples as points in the plane, coloured by cluster.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    positions : ndarray of shape (n_samples, 2)
        Where each sample lies on the map.
    labels : ndarray of shape (n_samples,)
        Cluster of each sample; negative is none, drawn in grey.
    clusters : list of int
        Clusters in order of their colours.
    method : {"tsne", "pca"}
        How the map was made.
    names : dict of int to str, default=None
        Class that a cluster stands for, where there is one; it is written at the median of
        the cluster's samples in place of the number.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the map.
    figure_ : matplotlib.figure.Figure or SubFigure
        Figure of the map.

    See Also
    --------
    ClusterGalleryDisplay : Members of each cluster.

    Notes
    -----
    A t-SNE map shows which samples are neighbours. Distances between far groups, and the
    sizes of groups, mean nothing in it. PCA keeps distances as well as two axes can.

    Colours are ten that suit people with a colour vision deficiency, and repeat beyond.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepclust.inspection import EmbeddingDisplay
    >>> embedding = np.random.default_rng(0).normal(size=(60, 8))
    >>> embedding[:30] += 3
    >>> labels = np.repeat([0, 1], 30)
    >>> display = EmbeddingDisplay.from_predictions(embedding, labels, method="pca")
    >>> display.positions.shape
    (60, 2)
    """

    def __init__(
        self,
        positions: np.ndarray,
        labels: np.ndarray,
        *,
        clusters: list[int],
        method: str,
        names: dict[int, str] | None = None,
    ):
        self.positions = positions
        self.labels = labels
        self.clusters = clusters
        self.method = method
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: ArrayLike | None = None,
        method: str = "tsne",
        max_samples: int | None = 2000,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Map the embedding of an estimator.

        Parameters
        ----------
        estimator : fitted clusterer
            With ``transform`` and ``predict``.
        X : array-like, tensor, path, list of paths or Dataset
            Samples as the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            Class of each sample; clusters then bear the names of the matched classes.
        method : {"tsne", "pca"}, default="tsne"
            How to get to two dimensions.
        max_samples : int, default=2000
            Show a random sample of so many; None shows all.
        random_state : int, RandomState or None, default=0
            Seed of the sample and of t-SNE.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        EmbeddingDisplay
            The display, plotted.
        """
        return cls.from_predictions(
            estimator.transform(X),
            estimator.predict(X),
            y=y,
            method=method,
            max_samples=max_samples,
            random_state=random_state,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        embedding: ArrayLike,
        labels: ArrayLike,
        *,
        y: ArrayLike | None = None,
        method: str = "tsne",
        max_samples: int | None = 2000,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Map a given embedding.

        Parameters
        ----------
        embedding : array-like of shape (n_samples, dim)
            Rows to map. Those that are not finite, as of skipped files, are left out.
        labels : array-like of int, of shape (n_samples,)
            Cluster of each row; negative is none.
        y : array-like of shape (n_samples,), default=None
            Class of each row; clusters then bear the names of the matched classes.
        method : {"tsne", "pca"}, default="tsne"
            How to get to two dimensions.
        max_samples : int, default=2000
            Show a random sample of so many; None shows all.
        random_state : int, RandomState or None, default=0
            Seed of the sample and of t-SNE.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        EmbeddingDisplay
            The display, plotted.
        """
        if method not in TITLES:
            raise ValueError(f"method must be one of {sorted(TITLES)}, got {method!r}")
        if max_samples is not None and max_samples < 2:
            raise ValueError(f"max_samples must be at least 2 or None, got {max_samples}")
        rows = check_array(embedding, ensure_all_finite=False, input_name="embedding")
        labels = check_labels(labels, len(rows))
        clusters, names = order_clusters(labels, y)
        rng = check_random_state(random_state)
        shown = _sample(np.flatnonzero(np.isfinite(rows).all(axis=1)), max_samples, rng)
        positions = project(rows[shown], method, rng)
        display = cls(positions, labels[shown], clusters=clusters, method=method, names=names)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        EmbeddingDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            ax = new_axes(_SIDE, _SIDE)
        self.ax_, self.figure_ = ax, ax.figure
        self._draw_points()
        for k in self.clusters:
            self._write_name(k)
        blank(ax)
        ax.margins(0.03)
        caption = f"{TITLES[self.method]} of the embedding, {len(self.positions):,} samples"
        ax.set_xlabel(caption, size=8, color=FAINT)
        return self

    def _draw_points(self) -> None:
        colors = {k: color(position) for position, k in enumerate(self.clusters)}
        self.ax_.scatter(
            *self.positions.T,
            c=[colors.get(int(k), UNASSIGNED) for k in self.labels],
            s=float(np.clip(8000 / len(self.positions), 3, 20)),
            alpha=0.75,
            linewidths=0,
            rasterized=True,  # a vector file of thousands of points is slow to open
        )

    def _write_name(self, k: int) -> None:
        from matplotlib.patheffects import withStroke

        members = self.positions[self.labels == k]
        if not len(members):  # none of them was sampled
            return
        self.ax_.text(
            *np.median(members, axis=0),
            self.names.get(k, f"cluster {k}") if self.names else str(k),
            size=11,
            weight="bold",
            color=INK,
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _sample(index: np.ndarray, max_samples: int | None, rng: np.random.RandomState) -> np.ndarray:
    if max_samples is None or len(index) <= max_samples:
        return index
    return np.sort(rng.choice(index, max_samples, replace=False))


def project(rows: np.ndarray, method: str, rng: np.random.RandomState) -> np.ndarray:
    if len(rows) < 2:
        raise ValueError(f"a map needs at least 2 finite rows of the embedding, got {len(rows)}")
    if rows.shape[1] < 2:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    if method == "pca":
        from sklearn.decomposition import PCA

        return PCA(n_components=2, random_state=rng).fit_transform(rows)
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)
    return TSNE(perplexity=perplexity, random_state=rng).fit_transform(rows)
