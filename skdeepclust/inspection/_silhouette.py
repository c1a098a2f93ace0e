"""Silhouettes of the samples, cluster by cluster."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import silhouette_samples
from sklearn.utils import check_array, check_random_state

from skdeepclust.inspection._clusters import (
    FAINT,
    INK,
    check_labels,
    color,
    embedded,
    order_clusters,
    sample,
)
from skdeepclust.inspection._matplotlib import new_axes, ruled

_WIDTH, _LINE = 5.6, 0.17  # inches: of the figure, and what a line of text needs
_LEAST, _MOST = 3.6, 18.0


class SilhouetteDisplay:
    """Silhouette of each sample as a bar, sorted within its cluster.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    silhouettes : ndarray of shape (n_samples,)
        Silhouette of each sample, in [-1, 1].
    labels : ndarray of shape (n_samples,)
        Cluster of each sample.
    clusters : list of int
        Clusters from top to bottom, in order of their colours.
    names : dict of int to str, default=None
        Class that a cluster stands for, where there is one.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the bars.
    figure_ : matplotlib.figure.Figure or SubFigure
        Figure of the bars.

    See Also
    --------
    skdeepclust.metrics.silhouette_scorer : The mean, as a score; label -1 is
        a cluster there.
    KSelectionDisplay : A score for each number of clusters.

    Notes
    -----
    A sample's silhouette is (b - a) / max(a, b), of its mean distances a to its own cluster and b
    to the nearest other one (Rousseeuw, "Silhouettes", 1987). Near 1 it lies well, at 0 between
    two clusters, below 0 nearer to another one. The figures at the right are the means of the
    clusters, the dashed line is the mean of all samples.

    The embedding judges itself: a bad representation may show good silhouettes.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepclust.inspection import SilhouetteDisplay
    >>> embedding = np.random.default_rng(0).normal(size=(60, 8))
    >>> embedding[:30] += 3
    >>> display = SilhouetteDisplay.from_predictions(embedding, np.repeat([0, 1], 30))
    >>> display.silhouettes.shape
    (60,)
    """

    def __init__(
        self,
        silhouettes: np.ndarray,
        labels: np.ndarray,
        *,
        clusters: list[int],
        names: dict[int, str] | None = None,
    ):
        self.silhouettes = silhouettes
        self.labels = labels
        self.clusters = clusters
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: ArrayLike | None = None,
        max_samples: int | None = 5000,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Show the silhouettes of an estimator's embedding under its clusters.

        Parameters
        ----------
        estimator : fitted clusterer
            With ``transform`` and ``predict``.
        X : array-like, tensor, path, list of paths or Dataset
            Samples as the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            Class of each sample; clusters then bear the names of the matched classes.
        max_samples : int, default=5000
            Take a random sample of so many, within which the silhouettes are exact; None takes
            all. Time grows with the square.
        random_state : int, RandomState or None, default=0
            Seed of the sample.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        SilhouetteDisplay
            The display, plotted.

        Raises
        ------
        ValueError, ImportError
            As of `from_predictions`.
        """
        rows, labels = embedded(estimator, X)
        return cls.from_predictions(
            rows,
            labels,
            y=y,
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
        max_samples: int | None = 5000,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Show the silhouettes of a given embedding under given clusters.

        Parameters
        ----------
        embedding : array-like of shape (n_samples, dim)
            Rows, compared by Euclidean distance. Those that are not finite, as of skipped
            files, are left out.
        labels : array-like of int, of shape (n_samples,)
            Cluster of each row; those with a negative label are left out.
        y : array-like of shape (n_samples,), default=None
            Class of each row; clusters then bear the names of the matched classes.
        max_samples : int, default=5000
            Take a random sample of so many, within which the silhouettes are exact; None takes
            all. Time grows with the square.
        random_state : int, RandomState or None, default=0
            Seed of the sample.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        SilhouetteDisplay
            The display, plotted.

        Raises
        ------
        ValueError
            If the rows are not in two clusters at least, or each in one of its own.
        ImportError
            If matplotlib is not installed.
        """
        rows = check_array(embedding, ensure_all_finite=False, input_name="embedding")
        labels = check_labels(labels, len(rows))
        clusters, names = order_clusters(labels, y)
        usable = np.isfinite(rows).all(axis=1) & (labels >= 0)
        shown = sample(np.flatnonzero(usable), max_samples, check_random_state(random_state))
        found = np.unique(labels[shown])
        if not 1 < len(found) < len(shown):
            raise ValueError(
                f"labels must put the rows into 2 clusters at least, and fewer than there are "
                f"rows: got {len(found)} of {len(shown)} rows"
            )
        silhouettes = silhouette_samples(rows[shown], labels[shown])
        return cls(silhouettes, labels[shown], clusters=clusters, names=names).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        SilhouetteDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            height = np.clip(1 + 1.4 * _LINE * len(self.clusters), _LEAST, _MOST)
            ax = new_axes(_WIDTH, float(height))
        self.ax_, self.figure_ = ax, ax.figure
        bottom = self._draw_clusters()
        mean = float(self.silhouettes.mean())
        ax.axvline(mean, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        ax.axvline(0, color=FAINT, linewidth=0.6)
        caption = f"mean {mean:.3f}, {len(self.silhouettes):,} samples"
        ax.set_xlabel(f"silhouette\n{caption}", size=8, color=FAINT)
        ruled(ax)
        ax.set(yticks=[], ylim=(bottom, 0), xlim=(min(0.0, float(self.silhouettes.min())), 1))
        ax.spines["left"].set_visible(False)
        return self

    def _draw_clusters(self) -> float:
        """Draw one below the other; returns where they end."""
        lines = self.ax_.get_window_extent().height / self.figure_.dpi / _LINE
        # What a line of text needs is left to the smallest clusters, too.
        least, top = len(self.silhouettes) / max(lines - len(self.clusters), 1), 0.0
        least = min(least, len(self.silhouettes) / len(self.clusters))
        for position, k in enumerate(self.clusters):
            bars = np.sort(self.silhouettes[self.labels == k])[::-1]
            if not len(bars):  # none of them was sampled
                continue
            height = max(len(bars), least)
            start = top + (height - len(bars)) / 2
            edges = start + np.arange(len(bars) + 1)
            self.ax_.stairs(bars, edges, orientation="horizontal", fill=True, color=color(position))
            self._write(k, bars, top + height / 2)
            top += height + 0.15 * least
        return top

    def _write(self, k: int, bars: np.ndarray, y: float) -> None:
        """The name at the left, the mean at the right."""
        name = self.names.get(k, f"cluster {k}") if self.names else str(k)
        style: Any = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
        style["parse_math"] = False  # a class may be named anything
        where = self.ax_.get_yaxis_transform()
        for x, shift, side, text, look in (
            (0, -6, "right", name, {"size": 9, "weight": "bold", "color": INK}),
            (1, 6, "left", f"{bars.mean():.2f}", {"size": 8, "color": FAINT}),
        ):
            self.ax_.annotate(
                text, (x, y), xytext=(shift, 0), xycoords=where, ha=side, **style, **look
            )
