"""Least scores of rows, in parts of a good size."""

import torch
from torch import Tensor

__all__ = ["least", "on_cpu", "rows_at_once"]

# Elements of the largest temporary of an assignment (rows x runs x clusters): on a CPU it should
# stay in the cache, while an accelerator does little for small ones but wait for the next.
_IN_CACHE, _ON_DEVICE = 1 << 19, 1 << 25
# Fewer rows at once would slow down the product.
_LEAST_ROWS = 256
# On a CPU a minimum with its place is slow; without it, in single precision, it is not.
_WIDE, _BLOCK = 512, 32


def on_cpu(x: Tensor) -> bool:
    """Whether a tensor is the host's.

    Parameters
    ----------
    x : Tensor
        Any.

    Returns
    -------
    bool
    """
    return x.device.type == "cpu"


def rows_at_once(x: Tensor, width: int) -> int:
    """Rows whose temporary of so many columns is of a good size.

    Parameters
    ----------
    x : Tensor
        Where the temporary is to be.
    width : int
        Its columns.

    Returns
    -------
    int
    """
    if on_cpu(x):
        return max(_LEAST_ROWS, _IN_CACHE // width)
    return max(1, _ON_DEVICE // width)


def least(score: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum over the last dimension and its first place.

    Parameters
    ----------
    score : Tensor of shape (..., K)
        Anything ordered.

    Returns
    -------
    values : Tensor of shape (...)
        The least ones.
    places : Tensor of shape (...), int64
        Where they are.
    """
    k = score.shape[-1]
    if k < _WIDE or not on_cpu(score) or score.dtype == torch.bfloat16:
        nearest = score.min(-1)
        return nearest.values, nearest.indices
    whole = k - k % _BLOCK
    blocks = score[..., :whole].unflatten(-1, (-1, _BLOCK))
    value, block = blocks.amin(-1).min(-1)
    members = blocks.gather(-2, block[..., None, None].expand(*block.shape, 1, _BLOCK))
    place = block * _BLOCK + members.squeeze(-2).argmin(-1)
    if whole == k:
        return value, place
    last, where = score[..., whole:].min(-1)
    return torch.minimum(value, last), torch.where(last < value, whole + where, place)
