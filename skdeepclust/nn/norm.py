"""Batch norm over less than the batch (ghost), and over the batch of all ranks."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from skdeepclust.ops.collective import add_up, rank, world_size

__all__ = ["GhostBatchNorm", "RankBatchNorm", "ghost_batch_norm", "rank_batch_norm"]


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
        self.size = int(size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if not self.norm.training or len(x) <= self.size + 1:  # some freeze the norm alone
            return self.norm(x)
        if torch.compiler.is_compiling() and self._is_plain(x):
            return self._at_once(x)
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

    def _is_plain(self, x: Tensor) -> bool:
        """Whether all groups are of one size, and `norm` keeps a moving average."""
        moving = self.norm.momentum is not None and self.norm.track_running_stats
        return moving and self.norm.affine and len(x) % self.size == 0

    def _at_once(self, x: Tensor) -> Tensor:
        """All groups in one: for a compiler, which would make code for each group."""
        norm, n_groups = self.norm, len(x) // self.size
        mean_so_far, var_so_far = norm.running_mean, norm.running_var
        assert norm.momentum is not None  # by `_is_plain`, and so are the other two
        assert mean_so_far is not None and var_so_far is not None
        groups = x.unflatten(0, (n_groups, self.size))
        y, mean, var = _GroupNorm.apply(groups, norm.weight, norm.bias, norm.eps)
        # The oldest group counts least, as if the groups had come one after the other.
        keep = 1 - norm.momentum
        shares = [
            keep ** (i / n_groups) - keep ** ((i + 1) / n_groups) for i in reversed(range(n_groups))
        ]
        with torch.no_grad():
            values = groups[0].numel() / x.shape[1]
            unbiased = var * (values / (values - 1))
            for moments, running in ((mean, mean_so_far), (unbiased, var_so_far)):
                new = sum(share * m for share, m in zip(shares, moments, strict=True))
                running.mul_(keep).add_(new)
        return y.flatten(0, 1)

    def extra_repr(self) -> str:
        """Show the group size."""
        return f"size={self.size}"


class _GroupNorm(torch.autograd.Function):
    """Batch norm of each group (G, size, C, ...) by itself, and its moments (G, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        wide = x.to(weight.dtype)
        inner = (1, *range(3, x.ndim))
        var, mean = torch.var_mean(wide, inner, correction=0, keepdim=True)
        scale = (var + eps).rsqrt()
        y = (wide - mean) * scale * _of_channels(weight, x) + _of_channels(bias, x)
        ctx.save_for_backward(x, weight, mean, scale)
        mean, var = mean.view(len(x), -1), var.view(len(x), -1)
        ctx.mark_non_differentiable(mean, var)
        return y.to(x.dtype), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale = ctx.saved_tensors
        inner = (1, *range(3, x.ndim))
        normed = (x.to(weight.dtype) - mean) * scale
        grad = grads[0].to(weight.dtype)
        offset = grad.sum(inner, keepdim=True)
        slope = (grad * normed).sum(inner, keepdim=True)
        values = x[0].numel() / x.shape[2]
        by_x = (grad - (offset + normed * slope) / values) * scale * _of_channels(weight, x)
        channels = len(x), -1
        return by_x.to(x.dtype), slope.view(channels).sum(0), offset.view(channels).sum(0), None


def _of_channels(parameter: Tensor, x: Tensor) -> Tensor:
    """Shape (C,) to go with (G, size, C, ...)."""
    return parameter.view(-1, *[1] * (x.ndim - 3))


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

    Raises
    ------
    ValueError
        If a batch norm does something of its own besides.
    """
    if size is None:
        return module
    norms = GhostBatchNorm, nn.modules.batchnorm._BatchNorm
    return _exchange(module, norms, lambda norm: _in_groups(norm, size))


def _in_groups(norm: Any, size: int) -> nn.Module:
    if isinstance(norm, GhostBatchNorm):  # of an earlier stage
        return norm
    _check_plain(norm)
    return GhostBatchNorm(norm, size)


def _exchange(module: nn.Module, kinds: Any, made: Callable[[Any], nn.Module]) -> nn.Module:
    """Put `made(part)` in the place of every part of these kinds, `module` itself included."""
    if isinstance(module, kinds):
        return made(module)
    for name, child in module.named_children():
        setattr(module, name, _exchange(child, kinds, made))
    return module


class RankBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose training statistics are those of the batch of all ranks.

    What torch's ``SyncBatchNorm`` is on GPUs only. Alone, and in eval mode, it is the batch norm
    it was made from.

    Parameters
    ----------
    norm : nn.BatchNorm1d, nn.BatchNorm2d or nn.BatchNorm3d
        Its parameters and buffers are taken over, not copied.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm):
        nn.Module.__init__(self)
        self.__dict__.update({k: v for k, v in vars(norm).items() if k[0] != "_"})
        for name in ("_parameters", "_buffers"):
            getattr(self, name).update(getattr(norm, name))

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of dimensions: the norm it was made from knew its own."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if world_size() == 1 or not self.training:
            return super().forward(input)
        weight, bias = self.weight, self.bias
        if weight is None:
            kind = torch.promote_types(input.dtype, torch.float32)
            weight = torch.ones(input.shape[1], dtype=kind, device=input.device)
            bias = torch.zeros_like(weight)
        y, mean, var, count = _RankNorm.apply(input, weight, bias, self.eps)
        self._follow(mean, var * count / (count - 1).clamp_min(1))
        return y

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None  # it comes with the other two
        self.num_batches_tracked += 1
        share = self.momentum
        if share is None:  # a cumulative average
            share = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(var.to(self.running_var), share)


class _RankNorm(torch.autograd.Function):
    """Normalise by the moments of all ranks; these are exchanged once each way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        mean, var, count = _moments(x, weight)
        y = F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var, count)
        return y, mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, var, count = ctx.saved_tensors
        # As if the moments were constants; these sums over the samples are needed anyway.
        given = grads[0].contiguous(memory_format=_layout(x)), x, weight, mean, var
        grad, slope, offset = torch.ops.aten.native_batch_norm_backward(
            *given, None, None, False, ctx.eps, [True, True, True]
        )
        sums = add_up(torch.stack([slope, offset])) / count
        inverse = (var + ctx.eps).rsqrt()
        by_x = weight * inverse * inverse * sums[0]
        rest = weight * inverse * sums[1] - by_x * mean
        # by_x x + rest in each channel, by a kernel that is fast at half precision, too.
        zeros, ones = torch.zeros_like(mean), torch.ones_like(mean)
        grad -= torch.native_batch_norm(x, by_x, rest, zeros, ones, False, 0.0, 0.0)[0]
        return grad, slope, offset, None


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of values per channel, over all ranks."""
    unused = torch.zeros_like(weight)  # running statistics, which make x's moments full precision
    mean, var = torch.batch_norm_update_stats(x, unused, unused.clone(), 0.0)
    count = torch.full_like(mean, x.numel() / x.shape[1])
    ranks = mean.new_zeros(world_size(), 3, len(mean))
    ranks[rank()] = torch.stack([count, mean, var])
    counts, means, variances = add_up(ranks).unbind(1)
    total = counts.sum(0)
    shares = counts / total
    mean = (shares * means).sum(0)
    # Not the mean square less the squared mean, whose difference loses all digits.
    return mean, (shares * (variances + (means - mean).square())).sum(0), total


def _layout(x: Tensor) -> torch.memory_format:
    dense = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if dense else torch.contiguous_format


def rank_batch_norm(module: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch norm inside `module` span the batch of all ranks.

    Parameters
    ----------
    module : nn.Module
        Changed in place; in a process that works alone it is left as it is.
    device : torch.device
        Where it will run: on GPUs torch's ``SyncBatchNorm`` does it.

    Returns
    -------
    nn.Module
        `module` itself, or its replacement if it is a batch norm.

    Raises
    ------
    ValueError
        If a batch norm does something of its own besides.
    """
    if world_size() == 1:
        return module
    norms = nn.modules.batchnorm._BatchNorm
    return _exchange(module, norms, lambda norm: _spanning(norm, device))


def _spanning(norm: nn.modules.batchnorm._BatchNorm, device: torch.device) -> nn.Module:
    cuda = device.type == "cuda"
    if isinstance(norm, nn.SyncBatchNorm if cuda else RankBatchNorm):  # of an earlier stage
        return norm
    _check_plain(norm)
    return nn.SyncBatchNorm.convert_sync_batchnorm(norm) if cuda else RankBatchNorm(norm)


def _check_plain(norm: nn.modules.batchnorm._BatchNorm) -> None:
    plain = nn.modules.batchnorm._BatchNorm.forward, nn.SyncBatchNorm.forward
    if type(norm).forward not in plain:
        raise ValueError(
            f"{type(norm).__name__} is more than a batch norm: its statistics cannot be taken over "
            "several processes or over norm_batch_size samples; take another backbone"
        )
