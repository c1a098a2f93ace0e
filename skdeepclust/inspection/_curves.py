"""The history of a training: a small panel for each quantity."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from skdeepclust.engine.health import collapse_std
from skdeepclust.inspection._clusters import FAINT, INK, color, innermost
from skdeepclust.inspection._matplotlib import new_axes, ruled
from skdeepclust.inspection._quantities import LAST
from skdeepclust.inspection._quantities import quantities as names_of

# What tells of the clock, not of the training.
_CLOCK = ("epoch", "seconds", "images_per_second")
_HEALTH = set(LAST).difference(_CLOCK)  # and lr, which begins at 0 as well
_SHARES = ("label_change", "size_entropy", "mixing")
_WIDTH, _HEIGHT = 2.7, 1.75  # inches, of a panel
_ALARM = "#bd1f01"


class TrainingCurvesDisplay:
    """Losses and figures of health by epoch.

    It is recommended to use `from_estimator` or `from_history`.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_epochs,)
        Values of each quantity; NaN where an epoch has none.
    epochs : ndarray of shape (n_epochs,)
        Number of each epoch.
    embedding_dim : int, default=None
        Dimension of the embedding; with it the panel of ``feature_std`` shows where a
        representation counts as collapsed, and what is healthy.

    Attributes
    ----------
    axes_ : ndarray of Axes, of shape (n_quantities,)
        Axes of each quantity, in the order of `curves`.
    figure_ : matplotlib.figure.Figure or SubFigure
        Figure of the panels.

    See Also
    --------
    skdeepclust.CollapseWarning : What a training warns of.

    Notes
    -----
    ``label_change`` should fall towards 0, ``empty_clusters`` be 0 and ``size_entropy`` be
    near 1 if the clusters are of equal size. ``feature_std`` is about 1 / sqrt(embedding_dim),
    the dashed line, when healthy. The loss alone proves nothing: a collapsed representation can
    have a low one.

    Examples
    --------
    >>> from skdeepclust.inspection import TrainingCurvesDisplay
    >>> history = [{"epoch": 1, "loss": 2.0, "lr": 0.1}, {"epoch": 2, "loss": 1.5, "lr": 0.05}]
    >>> display = TrainingCurvesDisplay.from_history(history)
    >>> list(display.curves)
    ['loss', 'lr']
    """

    def __init__(
        self,
        curves: dict[str, np.ndarray],
        *,
        epochs: np.ndarray,
        embedding_dim: int | None = None,
    ):
        self.curves = curves
        self.epochs = epochs
        self.embedding_dim = embedding_dim

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, quantities: Sequence[str] | None = None, ax: Any = None
    ) -> Self:
        """Show the history of a deep clusterer.

        Parameters
        ----------
        estimator : fitted deep clusterer
            With ``history_``; or a Pipeline, search or KSelection of one.
        quantities : str or sequence of str, default=None
            Which to show, see `from_history`.
        ax : Axes or array-like of Axes, default=None
            See `plot`.

        Returns
        -------
        TrainingCurvesDisplay
            The display, plotted.

        Raises
        ------
        TypeError
            If the estimator has no history.
        ValueError
            If its history holds no epoch, or not what `quantities` names.
        """
        estimator = innermost(estimator)
        if not hasattr(estimator, "history_"):
            name = type(estimator).__name__
            raise TypeError(f"estimator must be a fitted deep clusterer: {name} has no history_")
        dim = estimator.cluster_centers_.shape[1]
        return cls.from_history(estimator.history_, quantities=quantities, embedding_dim=dim, ax=ax)

    @classmethod
    def from_history(
        cls,
        history: Sequence[Mapping[str, Any]],
        *,
        quantities: str | Sequence[str] | None = None,
        embedding_dim: int | None = None,
        ax: Any = None,
    ) -> Self:
        """Show a given history.

        Parameters
        ----------
        history : sequence of dict
            A row for each epoch, such as ``history_``. Rows need not all hold the same.
        quantities : str or sequence of str, default=None
            Which to show, in this order. None shows all numbers but those of the clock: the
            loss and its terms, the figures of health, ``lr``.
        embedding_dim : int, default=None
            Dimension of the embedding, by which ``feature_std`` is judged.
        ax : Axes or array-like of Axes, default=None
            See `plot`.

        Returns
        -------
        TrainingCurvesDisplay
            The display, plotted.

        Raises
        ------
        ValueError
            If there is no epoch, or no number of a name in `quantities`.
        TypeError
            If `history` holds anything but dicts.
        """
        if not len(history):
            raise ValueError("history holds no epoch: nothing was trained")
        if not all(isinstance(row, Mapping) for row in history):
            raise TypeError(
                "history must hold a dict for each epoch; of a DataFrame of pandas pass "
                "history.to_dict('records')"
            )
        known = names_of(history)
        shown = [quantities] if isinstance(quantities, str) else quantities
        if shown is None:
            shown = [name for name in known if name not in _CLOCK]
        if not len(shown) or not set(shown) <= set(known):
            raise ValueError(f"quantities must name some of {known}, got {shown!r}")
        curves = {
            name: np.array([row.get(name, np.nan) for row in history], dtype=np.float64)
            for name in shown
        }
        epochs = np.array([row.get("epoch", i + 1) for i, row in enumerate(history)])
        return cls(curves, epochs=epochs, embedding_dim=embedding_dim).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a panel for each quantity.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            As many as there are quantities: one Axes for a single one. None makes a figure.

        Returns
        -------
        TrainingCurvesDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` holds another number of Axes.
        """
        self.axes_ = self._grid() if ax is None else np.asarray(ax, dtype=object).ravel()
        if len(self.axes_) != len(self.curves):
            raise ValueError(
                f"ax holds {len(self.axes_)} Axes, but there are {len(self.curves)} quantities "
                f"to draw: {list(self.curves)}"
            )
        self.figure_ = self.axes_[0].figure
        for name, panel in zip(self.curves, self.axes_, strict=True):
            self._draw(name, panel)
        return self

    def _grid(self) -> np.ndarray:
        """Panels of a new figure, in rows of the length that leaves the fewest empty."""
        n = len(self.curves)
        columns = n if n <= 4 else min((4, 3), key=lambda c: -n % c)
        rows = -(-n // columns)
        axes = new_axes(columns * _WIDTH, rows * _HEIGHT, rows, columns)
        axes = np.asarray(axes, dtype=object).ravel()
        for spare in axes[n:]:
            spare.remove()
        return axes[:n]

    def _draw(self, name: str, panel: Any) -> None:
        values = self.curves[name]
        finite = np.flatnonzero(np.isfinite(values))
        if name == "feature_std" and self.embedding_dim:
            _judge(panel, self.embedding_dim)
        panel.plot(
            self.epochs,
            values,
            color=FAINT if name == "lr" else color(4 if name in _HEALTH else 0),
            linewidth=1.6,
            marker="o" if len(finite) < 2 else None,
        )
        panel.set_title(name, loc="left", size=9, weight="bold", color=INK)
        if len(finite):
            panel.set_title(f"{values[finite[-1]]:.3g}", loc="right", size=8, color=FAINT)
        panel.set_xlabel("epoch", size=8, color=FAINT)
        ruled(panel)
        panel.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        panel.yaxis.get_major_locator().set_params(integer=name == "empty_clusters", nbins=4)
        if name in _HEALTH:
            panel.set_ylim(0, _top(name, values, panel.get_ylim()[1]))


def _top(name: str, values: np.ndarray, drawn: float) -> float:
    """Upper end of a panel that begins at 0."""
    highest = np.nanmax(values, initial=0.0)
    if name == "empty_clusters":
        return max(1.0, highest * 1.05)
    if name in _SHARES and highest > 0.5:
        return max(1.03, highest * 1.03)
    return drawn


def _judge(panel: Any, dim: int) -> None:
    """Show where features count as collapsed, and what they are on a covered sphere."""
    panel.axhspan(0, collapse_std(dim), color=_ALARM, alpha=0.15, linewidth=0)
    panel.axhline(dim**-0.5, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    style = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "size": 7}
    where = {"xy": (0, collapse_std(dim)), "xytext": (3, 2)}
    panel.annotate("collapsed below", **where, color=_ALARM, **style)
