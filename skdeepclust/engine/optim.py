"""Optimizers by name: torch's SGD and AdamW, and LARS."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import SGD, AdamW, Optimizer

__all__ = ["LARS", "OPTIMIZERS", "make_optimizer"]


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling, for very large batches.

    Weight decay and the trust ratio apply to tensors of two dimensions or more; biases
    and normalisation parameters take plain momentum steps.

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr, momentum, weight_decay : float
        As in SGD.
    trust : float, default=0.001
        Trust coefficient.

    References
    ----------
    Y. You, I. Gitman and B. Ginsburg, "Large Batch Training of Convolutional Networks",
    arXiv:1708.03888, Algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._step_one(p, group)
        return loss

    def _step_one(self, p: torch.Tensor, group: dict[str, Any]) -> None:
        grad = p.grad
        assert grad is not None  # `step` asks only for those
        if p.ndim > 1:
            grad = grad.add(p, alpha=group["weight_decay"])
            size, slope = p.norm(), grad.norm()
            ratio = group["trust"] * size / slope
            grad = grad * torch.where((size > 0) & (slope > 0), ratio, 1.0)
        state = self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer = state["momentum_buffer"]
        buffer.mul_(group["momentum"]).add_(grad)
        p.add_(buffer, alpha=-group["lr"])


OPTIMIZERS = ("sgd", "adamw", "lars")


def make_optimizer(
    name: str, groups: list[dict[str, Any]], lr: float, momentum: float, weight_decay: float
) -> Optimizer:
    """Build an optimizer over parameter groups.

    Parameters
    ----------
    name : {"sgd", "adamw", "lars"}
        With "adamw", `momentum` is beta1 and beta2 is 0.999. SGD decays every parameter,
        batch norm and biases included, as the official code of IDFD and ProPos does.
    groups : list of dict
        Parameter groups.
    lr, momentum, weight_decay : float
        Their hyper-parameters.

    Returns
    -------
    Optimizer
    """
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    if name == "adamw":
        betas = (float(momentum), 0.999)
        return AdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
    return LARS(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
