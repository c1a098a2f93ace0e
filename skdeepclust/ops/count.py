"""Sizes of clusters, counted without waiting for the device."""

import torch
from torch import Tensor

__all__ = ["count_labels"]


def count_labels(labels: Tensor, n_clusters: int) -> Tensor:
    """How many samples have each label.

    Parameters
    ----------
    labels : Tensor of shape (B,), int64
        From 0 to ``n_clusters - 1``.
    n_clusters : int
        Number of clusters K.

    Returns
    -------
    Tensor of shape (K,), int64

    Notes
    -----
    ``torch.bincount`` looks for the largest label first: on an accelerator the host waits for
    it, and no compiled step can hold it.

    Examples
    --------
    >>> import torch
    >>> count_labels(torch.tensor([2, 0, 2]), 4)
    tensor([1, 0, 2, 0])
    """
    counts = labels.new_zeros(n_clusters)
    return counts.scatter_add_(0, labels, torch.ones_like(labels))
