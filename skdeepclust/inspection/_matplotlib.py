"""matplotlib, which only plotting needs."""

from typing import Any


def new_axes(width: float, height: float) -> Any:
    """Return the axes of a new pyplot figure of that size in inches.

    Parameters
    ----------
    width, height : float
        Size in inches.

    Returns
    -------
    matplotlib.axes.Axes

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
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def blank(ax: Any) -> None:
    """Take ticks and frame off the axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where something without units is drawn.
    """
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
