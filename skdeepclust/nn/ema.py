"""Exponential moving average of a module's parameters."""

import copy

import torch
from torch import nn

__all__ = ["EMA"]


class EMA(nn.Module):
    """A copy of a module whose parameters follow it slowly.

    Only parameters are averaged. Buffers are the copy's own: in train mode its batch
    norms keep running statistics of what they see themselves.

    Parameters
    ----------
    module : nn.Module
        Copied as it is; the copy takes no gradient.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the averaged module."""
        return self.module(x)

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: float) -> None:
        """Set theta' to momentum * theta' + (1 - momentum) * theta.

        Parameters
        ----------
        source : nn.Module
            The module that is followed, of the same structure.
        momentum : float
            Share of the old value, in [0, 1].
        """
        averages: list[torch.Tensor] = list(self.module.parameters())
        values: list[torch.Tensor] = list(source.parameters())
        torch._foreach_lerp_(averages, values, 1 - momentum)
