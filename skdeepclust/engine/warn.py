"""Warnings that point at the user's line rather than at ours."""

import sys
import warnings

from skdeepclust.ops.collective import rank

__all__ = ["warn_user"]

_INSIDE = ("skdeepclust", "sklearn", "skorch", "contextlib")


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the nearest caller outside the libraries; of several processes, only the first.

    Python shows a warning once per line of code: at a line of ours, only the first fit of
    a process would be told.

    Parameters
    ----------
    message : str
        What happened and what to do.
    category : type
        Class of the warning.
    """
    if rank():
        return
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
