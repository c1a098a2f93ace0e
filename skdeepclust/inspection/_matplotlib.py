"""matplotlib, which only plotting needs."""

from typing import Any

from skdeepclust.inspection._clusters import FAINT


def new_axes(width: float, height: float, rows: int = 1, columns: int = 1) -> Any:
    """Return the axes of a new pyplot figure of that size in inches.

    Parameters
    ----------
    width, height : float
        Size in inches.
    rows, columns : int, default=1
        How many axes there are.

    Returns
    -------
    matplotlib.axes.Axes, or ndarray of them if there are several

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib, which the extra skdeepclust[plot] installs: "
            'pip install "skdeepclust[plot]"'
        ) from error
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained")[1]


def blank(ax: Any) -> None:
    """Take ticks and frame off the axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where something without units is drawn.
    """
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def ruled(ax: Any) -> None:
    """Leave the axes the ticks and lines that are needed to read values.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where something with units is drawn.
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(labelsize=8, colors=FAINT, length=3)
