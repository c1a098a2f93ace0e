"""What is computed in full precision, and where half of it is fast."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["fast_bfloat16", "full_precision"]

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


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32.

    Parameters
    ----------
    device : torch.device
        The hardware.

    Returns
    -------
    bool
        False where nobody knows.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Only newer releases of torch tell; without its word float32 is safe.
        found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return False
