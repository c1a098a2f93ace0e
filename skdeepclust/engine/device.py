"""Where to compute, and in what floating type."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from skdeepclust._errors import first_line
from skdeepclust.ops.precision import fast_bfloat16

__all__ = [
    "PRECISIONS",
    "cpu_by_default",
    "deliver",
    "inference_batch",
    "is_out_of_memory",
    "laid_out",
    "memory_error",
    "memory_format",
    "resolve_device",
    "resolve_precision",
    "without_autocast",
]

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_P = ParamSpec("_P")
_R = TypeVar("_R")
PRECISIONS = ("auto", "float32", "float64", *_AUTOCAST)
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "could not create a primitive\n",  # oneDNN; without a descriptor it lacks something else
)


def resolve_device(device: str | torch.device) -> torch.device:
    """Find the device that a parameter names.

    Parameters
    ----------
    device : str or torch.device
        "auto" takes the accelerator that torch finds, such as CUDA or MPS, or else the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If there is no such device.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        known = "'auto', 'cpu', 'cuda', 'cuda:1' for the second of several, and 'mps'"
        raise ValueError(f"device={device!r} is unknown; there are {known}") from error
    try:
        torch.empty(1, device=found)
    except Exception as error:
        reason = first_line(error)
        raise ValueError(
            f"device={str(device)!r} is not available here, device='auto' takes what is: {reason}"
        ) from error
    if found.type == "meta":
        raise ValueError("device='meta' computes nothing; device='auto' takes what does")
    return found


def resolve_precision(
    precision: str, device: torch.device, images: bool
) -> tuple[torch.dtype, torch.dtype | None]:
    """Types of the parameters and of autocast that a parameter names.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`; "auto" is bfloat16 autocast for images where the hardware
        multiplies it fast, float32 otherwise.
    device : torch.device
        Where training runs.
    images : bool
        Whether the samples are images; small nets on vectors gain nothing by autocast.

    Returns
    -------
    dtype : torch.dtype
        Type of parameters, embeddings and losses: float32 or float64.
    autocast : torch.dtype or None
        What autocast computes in while training.
    """
    if precision == "auto":
        precision = "bfloat16" if images and fast_bfloat16(device) else "float32"
    if precision == "float64" and device.type == "mps":
        raise ValueError("precision='float64' is not supported on mps; use 'float32'")
    return (torch.float64 if precision == "float64" else torch.float32), _AUTOCAST.get(precision)


def inference_batch(device: torch.device, shape: tuple[int, ...]) -> int:
    """Samples of a shape per inference batch, the same whatever their number is.

    As many as make full use of the device: one sample takes the time of a batch, and a batch of
    photographs the memory.
    """
    most, pixels = (128, 1 << 19) if device.type == "cpu" else (512, 1 << 23)
    fit = pixels // math.prod(shape[1:])
    return min(most, 1 << max(2, fit.bit_length() - 1))


def memory_format(network: nn.Module) -> torch.memory_format:
    """The memory layout of a network's weights, which its images are to have as well.

    Ours are channels last, which is fastest; a user's may not run in that (``x.view`` after a
    convolution fails) and is left as it is.
    """
    for weight in network.parameters():
        channels_last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
        if channels_last and not weight.is_contiguous():
            return torch.channels_last
    return torch.contiguous_format


def laid_out(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Images in a memory layout; vectors stay as they are."""
    return x.contiguous(memory_format=memory_format) if x.ndim == 4 else x


def deliver(x: Tensor, device: torch.device) -> Tensor:
    """Copy from the host to a device, on CUDA while that still computes."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def cpu_by_default(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Have no say of ``torch.set_default_device``: what names no device is made on the CPU.

    Parameters
    ----------
    function : callable
        To decorate. It puts on a device itself what belongs there.
    """

    @functools.wraps(function)
    def undisturbed(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        # In the usual case nothing: a default, even this one, costs each call of torch a detour.
        usual = torch.get_default_device().type == "cpu"
        with contextlib.nullcontext() if usual else torch.device("cpu"):
            return function(*args, **kwargs)

    return undisturbed


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Have no say of the autocast that a caller may be in.

    Parameters
    ----------
    device : torch.device
        Where is computed.

    Returns
    -------
    context manager
        One that does nothing where the caller is in none.
    """
    inside = torch.autocast_increment_nesting() > 1
    torch.autocast_decrement_nesting()
    if not inside:
        return contextlib.nullcontext()
    # What autocast has cast it keeps until the outermost one ends: weights of the first step.
    return torch.autocast(device.type, enabled=False, cache_enabled=False)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory, on whatever device."""
    # Only CUDA has a type of its own for it.
    says_so = isinstance(error, RuntimeError) and any(t in f"{error}\n" for t in _OUT_OF_MEMORY)
    return says_so or isinstance(error, torch.OutOfMemoryError | MemoryError)


@contextlib.contextmanager
def memory_error(message: str) -> Iterator[None]:
    """Say in a MemoryError what did not fit, whatever the device calls that."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError(message) from error
        raise
