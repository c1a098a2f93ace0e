"""Cross-validation splitters."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator


class TransductiveSplit(BaseCrossValidator):
    """One split whose training and test parts are both all samples.

    Deep clustering is scored on the samples it was trained on; this splitter lets
    `GridSearchCV` and `cross_validate` do so.

    Examples
    --------
    >>> from skdeepclust.model_selection import TransductiveSplit
    >>> TransductiveSplit()
    TransductiveSplit()
    >>> [(train, test)] = TransductiveSplit().split(["a", "b", "c"])
    >>> train, test
    (array([0, 1, 2]), array([0, 1, 2]))
    """

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices of all samples, twice.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...) or any sized collection
            Samples; only their number is read.
        y : object, default=None
            Ignored.
        groups : object, default=None
            Ignored.

        Yields
        ------
        train, test : ndarray of shape (n_samples,)
            The indices 0, ..., n_samples - 1.

        Raises
        ------
        TypeError
            If X is a path.
        """
        if isinstance(X, str | os.PathLike):
            raise TypeError(
                f"X={os.fspath(X)!r} is a path, which cannot be split: pass skdeepclust.ImageFiles"
                f"({os.fspath(X)!r}), or the list of its files"
            )
        n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
        yield np.arange(n_samples), np.arange(n_samples)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return 1.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored.

        Returns
        -------
        int
            The number of splits.
        """
        return 1
