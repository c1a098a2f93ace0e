"""Rows without their place and scale, for scores that depend on neither but in rounding."""

import numpy as np

__all__ = ["unscaled"]


def unscaled(rows: np.ndarray) -> np.ndarray:
    """Move and stretch rows so that their mean is 0 and their largest value 1.

    Silhouettes and the index of Davies and Bouldin stay as they are. But of rows far from 0,
    products of matrices, by which distances are computed, keep no digits; and scikit-learn
    takes distances below 1e-8 for 0.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, dim), floating
        Finite.

    Returns
    -------
    ndarray of shape (n_samples, dim)
        Of the same type; zeros if all rows are equal.

    Examples
    --------
    >>> import numpy as np
    >>> unscaled(np.array([[1e9], [1e9 + 2]])).tolist()
    [[-1.0], [1.0]]
    """
    rows = rows - rows.mean(0, dtype=np.float64).astype(rows.dtype)
    largest = np.abs(rows).max(initial=0)
    return rows / largest if largest > 0 else rows
