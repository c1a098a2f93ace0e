"""Several processes become one training: the process group, and who ended it when one fails."""

import contextlib
import datetime
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous

from skdeepclust._errors import first_line
from skdeepclust.augment.views import Views
from skdeepclust.ops.collective import (
    LostRankError,
    agree,
    average,
    hide_from_compiler,
    joined,
    rank,
    spread_from_first,
    world_size,
)

__all__ = [
    "OwnRandomNumbers",
    "draws_itself",
    "local_device",
    "same_samples",
    "synchronise",
    "together",
]

_ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# A dead process is noticed at once, by its closed connections or by torchrun. This is for
# those that hang, and must be longer than what one rank may do while the others wait.
_PATIENCE = datetime.timedelta(minutes=10)
# For the others to say that they are there, or why they are not.
_LAST_WORDS = datetime.timedelta(seconds=3)
# Between the seeds of two ranks.
_STRIDE = 1_000_003
_LOST: tuple[type[Exception], ...] = (LostRankError,)
if dist.is_available():
    _LOST += (dist.DistError,)


class _Launch:
    """The launcher's key-value store, which outlives the process group of each fit."""

    store: Any = None
    fits = 0


def local_device(device: Any) -> Any:
    """The GPU of this process, where "auto" or "cuda" is asked for in one of several.

    Parameters
    ----------
    device : str or torch.device
        What the user asked for.

    Returns
    -------
    str or torch.device
    """
    several = _launched() or (dist.is_available() and dist.is_initialized())
    if not several or str(device) not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))


@contextlib.contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Train inside as one of several processes, if a launcher such as torchrun started them.

    A process group that exists is used, and stays; else one is made of what the launcher set in
    the environment, and closed afterwards. Started by no launcher, nothing happens.

    Parameters
    ----------
    device : torch.device
        Device of this process: NCCL connects GPUs, Gloo CPUs.

    Raises
    ------
    RuntimeError
        If another process has failed. Its own error is named where it had one to tell.
    ValueError
        If the device can do no such thing.
    """
    made = _launched() and not dist.is_initialized()
    hook = sys.excepthook
    if made:
        _connect(device)
    several = dist.is_available() and dist.is_initialized()
    me, n_ranks = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    try:
        with joined(), _on(device):
            yield
    except _LOST as error:
        # At once, so that those who wait for this one notice.
        _let_go(error)
        _close(made, failed=True)
        why = _inquest(me, n_ranks, error)
        raise RuntimeError(f"Training stopped on rank {me}: {why}") from error
    except BaseException as error:
        _leave_word(me, f"rank {me} failed with {type(error).__name__}: {error}")
        _close(made, failed=True)
        raise
    else:
        _close(made)
    finally:
        sys.excepthook = hook  # each group wraps it once more, to name the rank


def _close(made: bool, failed: bool = False) -> None:
    # NCCL would wait for collectives that others have begun; the end of the process ends them.
    if made and not (failed and dist.get_backend() == "nccl"):
        dist.destroy_process_group()


def _let_go(error: BaseException | None) -> None:
    # Frames of the error hold the group, whose connections would stay open.
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__


def _launched() -> bool:
    there = dist.is_available() and all(name in os.environ for name in _ENVIRONMENT)
    return there and int(os.environ["WORLD_SIZE"]) > 1


def _connect(device: torch.device) -> None:
    backend = {"cpu": "gloo", "cuda": "nccl"}.get(device.type)
    if backend is None:
        raise ValueError(f"several processes train on CPUs or on CUDA devices, not on {device}")
    hide_from_compiler()
    if _Launch.store is None:
        _Launch.store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
    _Launch.fits += 1  # the store still holds the addresses of the last group
    dist.init_process_group(
        backend,
        store=dist.PrefixStore(f"skdeepclust/{_Launch.fits}", _Launch.store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=_PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )


def _on(device: torch.device) -> Any:
    several_gpus = device.type == "cuda" and world_size() > 1
    return torch.cuda.device(device) if several_gpus else contextlib.nullcontext()


def _key(name: object) -> str:
    return f"skdeepclust/{_Launch.fits}/{name}"


def _leave_word(me: int, text: str) -> None:
    if _Launch.store is not None:
        with contextlib.suppress(Exception):  # the store may be gone with its process
            _Launch.store.set(_key("failed"), text)
            _Launch.store.set(_key(me), "here")


def _inquest(me: int, n_ranks: int, error: Exception) -> str:
    """What the others say of the end, or who of them does not answer."""
    who = "another process"
    with contextlib.suppress(Exception):
        store, all_ranks = _Launch.store, range(n_ranks)
        store.set(_key(me), "here")
        with contextlib.suppress(Exception):
            store.wait([_key(i) for i in all_ranks], _LAST_WORDS)
        if store.check([_key("failed")]):
            return store.get(_key("failed")).decode()
        silent = [str(i) for i in all_ranks if not store.check([_key(i)])]
        who = f"rank {', '.join(silent)}" if silent else who
    return (
        f"{who} ended without an error of its own (was it killed, or out of memory?), or cannot "
        f"be reached: {first_line(error)}"
    )


def same_samples(shape: tuple[int, ...]) -> None:
    """Refuse data sets that differ from rank to rank, as far as their shapes tell.

    Parameters
    ----------
    shape : tuple of int
        Of this rank's array of samples.

    Raises
    ------
    ValueError
        If it is not that of rank 0, or has fewer samples than there are processes.
    """
    first = agree(tuple(shape))
    if tuple(shape) != first:
        raise ValueError(
            f"X has shape {tuple(shape)} on rank {rank()} and {first} on rank 0: give every "
            "process the same samples, they share them out themselves"
        )
    if shape[0] < world_size():
        raise ValueError(f"n_samples={shape[0]} must be >= the number of processes, {world_size()}")


def synchronise(module: nn.Module) -> None:
    """Go on from one state on all ranks, which unlike hardware would let drift apart.

    Parameters
    ----------
    module : nn.Module
        Its parameters and buffers become those of rank 0, and running statistics the means over
        the ranks: ghost batch norms have seen the samples of their own rank only.
    """
    average(buffer for name, buffer in module.named_buffers() if "running_" in name)
    spread_from_first([*module.parameters(), *module.buffers()])


class OwnRandomNumbers:
    """A stream of random numbers for each rank, for modules that draw some of their own.

    All ranks have equal generators: our augmentations draw from them for the whole batch, so
    that a sample's view does not depend on the number of processes. A user's augmentation, or
    dropout, draws for the rows that it gets, and would give equal numbers on all ranks.

    Parameters
    ----------
    views : nn.Module
        Holds augmentations.
    objective : nn.Module
        Networks.
    device : torch.device
        Whose generator it is about, beside the CPU's.

    Attributes
    ----------
    states : list of Tensor
        Of this rank's stream, one for each generator; empty in a process that works alone.
    """

    def __init__(self, views: nn.Module, objective: nn.Module, device: torch.device):
        self._generators: list[torch.Generator] = []
        self.states: list[torch.Tensor] = []
        self._hooks: list[Any] = []
        if world_size() == 1:
            return
        self._generators.append(torch.default_generator)
        if device.type == "cuda":
            self._generators.append(torch.cuda.default_generators[device.index or 0])
        seed = (torch.initial_seed() + _STRIDE * (rank() + 1)) % 2**63
        fresh = [torch.Generator(g.device).manual_seed(seed) for g in self._generators]
        self.states = [generator.get_state() for generator in fresh]
        parts = [part for part in views.modules() if isinstance(part, Views)]
        drawing = filter(draws_itself, {a for part in parts for a in part.augmentations})
        swap = torch.compiler.disable(self._swap)
        for module in (*drawing, *filter(_drops, objective.modules())):
            self._hooks.append(module.register_forward_pre_hook(swap))
            self._hooks.append(module.register_forward_hook(swap))

    def close(self) -> None:
        """Give the modules back to the common stream."""
        for hook in self._hooks:
            hook.remove()

    def _swap(self, *hooked: Any) -> None:
        for i, generator in enumerate(self._generators):
            state = generator.get_state()
            generator.set_state(self.states[i])
            self.states[i] = state


def draws_itself(augmentation: nn.Module) -> bool:
    """Whether an augmentation may take random numbers, or anything else, from where ours do not.

    Parameters
    ----------
    augmentation : nn.Module
        Of a view.

    Returns
    -------
    bool
    """
    ours = ("skdeepclust.augment.transforms", "torch.nn.modules")
    parts = list(augmentation.modules())
    return any(_drops(m) or not type(m).__module__.startswith(ours) for m in parts)


def _drops(module: nn.Module) -> bool:
    # Dropout of torch, stochastic depth of torchvision, DropPath of timm.
    name = type(module).__name__
    return "Drop" in name or "Stochastic" in name
