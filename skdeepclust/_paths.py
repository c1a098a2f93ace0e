"""Paths as people write them."""

import os
from typing import Any

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Any:
    """The path with a leading ``~`` as the home folder, unless there is something of that name."""
    named = os.fspath(path)
    at_home = os.path.expanduser(named)
    return named if at_home == named or os.path.lexists(named) else at_home
