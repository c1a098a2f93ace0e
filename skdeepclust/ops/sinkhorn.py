"""Sinkhorn-Knopp: balanced soft assignment."""

import math

import torch
from torch import Tensor

from skdeepclust.ops.precision import full_precision

__all__ = ["balance", "sinkhorn"]


def sinkhorn(scores: Tensor, epsilon: float = 0.05, n_iterations: int = 10) -> Tensor:
    r"""Soft assignment of samples to clusters of equal mass.

    .. math::
        \arg\max_{Q \ge 0} \; \langle Q, S \rangle + \epsilon H(Q)
        \quad \text{where} \quad Q 1 = 1, \quad Q^T 1 = \tfrac{B}{K} 1

    Parameters
    ----------
    scores : Tensor of shape (B, K)
        Affinity S of each sample to each cluster; takes no gradient.
    epsilon : float, default=0.05
        Weight of the entropy; towards 0 the assignment becomes hard.
    n_iterations : int, default=10
        Rounds of scaling columns, then rows.

    Returns
    -------
    Tensor of shape (B, K)
        Rows sum to 1. Columns approach B / K: after 3 rounds they may be off by half, after
        10 by some percent.

    Raises
    ------
    ValueError
        If a score is not finite, or `epsilon` or `n_iterations` is not positive.

    Notes
    -----
    Works on logarithms, so that no `epsilon` overflows.

    References
    ----------
    M. Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", NeurIPS 2013.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.ops.sinkhorn import sinkhorn
    >>> sinkhorn(torch.tensor([[0.9, 0.1], [0.8, 0.3]]), n_iterations=100).argmax(1)
    tensor([0, 1])
    """
    if not epsilon > 0 or n_iterations < 1:
        raise ValueError(
            f"epsilon and n_iterations must be positive, got {epsilon} and {n_iterations}"
        )
    if not bool(scores.isfinite().all()):
        raise ValueError("scores must be finite: the network has diverged, try a lower lr")
    return balance(scores, epsilon, n_iterations)


@torch.no_grad()
@full_precision
def balance(scores: Tensor, epsilon: float, n_iterations: int) -> Tensor:
    """`sinkhorn` without a look at its arguments, so that it never waits for the device.

    Parameters
    ----------
    scores : Tensor of shape (B, K)
        As for `sinkhorn`.
    epsilon : float
        As for `sinkhorn`.
    n_iterations : int
        As for `sinkhorn`.

    Returns
    -------
    Tensor of shape (B, K)
    """
    log_q = scores / epsilon
    log_mass = math.log(len(scores) / scores.shape[1])
    for _ in range(n_iterations):
        log_q = log_q - log_q.logsumexp(0, keepdim=True) + log_mass
        log_q = log_q.log_softmax(1)
    return log_q.exp()
