"""The score of each number of clusters."""

from typing import Any, Self

import numpy as np

from skdeepclust.inspection._clusters import FAINT, INK, color
from skdeepclust.inspection._matplotlib import new_axes, ruled

_WIDTH, _HEIGHT = 5.2, 3.2  # inches
_NONE = float(np.finfo(np.float32).min)  # the score of Davies and Bouldin where there is none
_TITLES = {
    "merge": "gap between merges",
    "silhouette": "mean silhouette",
    "simplified_silhouette": "mean simplified silhouette",
    "davies_bouldin": "minus index of Davies and Bouldin",
    "stability": "agreement of random halves (ARI)",
}


class KSelectionDisplay:
    """Score of each number of clusters, with the one chosen.

    It is recommended to use `from_estimator`.

    Parameters
    ----------
    scores : dict of int to float
        Score of each number of clusters; greater is better.
    best_n_clusters : int
        The number chosen.
    criterion : str
        What the scores are, as of :class:`~skdeepclust.model_selection.KSelection`.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the curve.
    figure_ : matplotlib.figure.Figure or SubFigure
        Figure of the curve.

    See Also
    --------
    skdeepclust.model_selection.KSelection : Chooses the number.
    SilhouetteDisplay : The clusters one by one.

    Notes
    -----
    Look at the whole curve: a second peak that is nearly as high is a second answer.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.decomposition import PCA
    >>> from skdeepclust.inspection import KSelectionDisplay
    >>> from skdeepclust.model_selection import KSelection
    >>> X, y = make_blobs(500, n_features=20, centers=6, random_state=0)
    >>> selection = KSelection(PCA(8, random_state=0), range(2, 12), random_state=0).fit(X)
    >>> KSelectionDisplay.from_estimator(selection).best_n_clusters
    6
    """

    def __init__(self, scores: dict[int, float], *, best_n_clusters: int, criterion: str):
        self.scores = scores
        self.best_n_clusters = best_n_clusters
        self.criterion = criterion

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Show what a selection found.

        Parameters
        ----------
        estimator : fitted KSelection
            With ``scores_`` and ``best_n_clusters_``.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        KSelectionDisplay
            The display, plotted.

        Raises
        ------
        TypeError
            If the estimator is no fitted selection.
        """
        if not hasattr(estimator, "best_n_clusters_"):
            name = type(estimator).__name__
            raise TypeError(f"estimator must be a fitted KSelection: {name} has chosen no number")
        return cls(
            estimator.scores_,
            best_n_clusters=estimator.best_n_clusters_,
            criterion=estimator.criterion,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        KSelectionDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            ax = new_axes(_WIDTH, _HEIGHT)
        self.ax_, self.figure_ = ax, ax.figure
        scores = [score if score > _NONE else np.nan for score in self.scores.values()]
        ax.plot(list(self.scores), scores, color=color(0), linewidth=1.6, marker="o", markersize=4)
        self._mark_chosen()
        ax.set_xlabel("number of clusters", size=9, color=INK)
        ax.set_ylabel(_TITLES.get(self.criterion, self.criterion), size=9, color=INK)
        ruled(ax)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.margins(y=0.15)
        return self

    def _mark_chosen(self) -> None:
        k, score = self.best_n_clusters, self.scores[self.best_n_clusters]
        if score <= _NONE:
            return
        self.ax_.axvline(k, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        self.ax_.plot([k], [score], "o", color=color(2), markersize=8)
        self.ax_.annotate(
            str(k),
            (k, score),
            xytext=(8, 2),
            textcoords="offset points",
            size=11,
            weight="bold",
            color=INK,
        )
