"""Keep a loss in full precision, whatever autocast does around it."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["full_precision"]

_HALF = (torch.bfloat16, torch.float16)


def full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run `function` outside autocast, half-precision tensors turned to float32.

    Softmaxes over thousands of entries and Gram matrices lose their meaning at
    eight bits of mantissa; float32 and float64 arguments pass through untouched.

    Parameters
    ----------
    function : callable
        A function or method, one argument of which is a tensor.

    Returns
    -------
    callable
        The same function, in full precision.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Tensor:
        args = tuple(_upcast(a) for a in args)
        kwargs = {name: _upcast(a) for name, a in kwargs.items()}
        first = next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with torch.autocast(first.device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def _upcast(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value
