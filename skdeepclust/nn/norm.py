"""Ghost batch norm: the statistics of a small batch inside a large one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GhostBatchNorm", "ghost_batch_norm"]


class GhostBatchNorm(nn.Module):
    """Batch norm whose training statistics are taken over `size` samples at a time.

    On one device it imitates a run on several, each of which normalised its own share
    of the batch. A last group of one sample joins the group before it. In eval mode it
    is the batch norm it was made from.

    Parameters
    ----------
    norm : nn.BatchNorm1d or nn.BatchNorm2d
        Affine batch norm with running statistics; taken over, not copied.
    size : int
        Samples per group, at least 2.

    References
    ----------
    E. Hoffer, I. Hubara and D. Soudry, "Train longer, generalize better", NeurIPS 2017.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, size: int):
        super().__init__()
        self.norm = norm
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if not self.training or len(x) <= self.size + 1:
            return self.norm(x)
        groups = list(x.split(self.size))
        if len(groups[-1]) == 1:
            groups[-2:] = [torch.cat(groups[-2:])]
        if self.norm.momentum is None:  # a cumulative average counts groups by itself
            return torch.cat([self.norm(group) for group in groups])
        # Groups update the running statistics in turn: together as fast as one batch.
        momentum = 1 - (1 - self.norm.momentum) ** (1 / len(groups))
        return torch.cat([self._normalise(group, momentum) for group in groups])

    def _normalise(self, x: Tensor, momentum: float) -> Tensor:
        norm = self.norm
        mean, var = norm.running_mean, norm.running_var
        return F.batch_norm(x, mean, var, norm.weight, norm.bias, True, momentum, norm.eps)

    def extra_repr(self) -> str:
        """Show the group size."""
        return f"size={self.size}"


def ghost_batch_norm(module: nn.Module, size: int | None) -> nn.Module:
    """Put every batch norm inside `module` into ghost groups of `size` samples.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    size : int or None
        Samples per group; None leaves the module as it is.

    Returns
    -------
    nn.Module
        `module` itself, or its replacement if it is a batch norm.
    """
    if size is None:
        return module
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return GhostBatchNorm(module, size)
    for name, child in module.named_children():
        setattr(module, name, ghost_batch_norm(child, size))
    return module
