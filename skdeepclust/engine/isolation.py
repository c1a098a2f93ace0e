"""Seeded training that leaves the process as it found it."""

import contextlib
import os
import random
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = ["draw_seed", "isolated"]

_SEEDS = np.iinfo(np.int32).max


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Draw a seed from `random_state`; for None from the system, not from a global generator."""
    if random_state is None:
        return int(np.random.default_rng().integers(_SEEDS))
    return int(check_random_state(random_state).randint(_SEEDS))


@contextlib.contextmanager
def isolated(seed: int, device: torch.device, deterministic: bool) -> Iterator[None]:
    """Seed the global generators inside, and put the global state back afterwards.

    Parameters
    ----------
    seed : int
        Of torch's generators of the CPU and the device, of numpy and of `random`.
    device : torch.device
        Device that training uses.
    deterministic : bool
        Use deterministic kernels only, so that accelerators repeat bitwise as well.
    """
    changes = deterministic and not torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    # cuBLAS reads it when its workspace is first made, so a later fit may find it set.
    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    devices = [] if device.type == "cpu" else [device]
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=devices, device_type=_rng_type(device)):
        _seed(seed, device)
        try:
            # Only if need be: the first call imports torch's compiler, which takes seconds.
            if changes:
                torch.use_deterministic_algorithms(True, warn_only=warn_only)
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
            if changes:
                torch.use_deterministic_algorithms(False, warn_only=warn_only)


def _seed(seed: int, device: torch.device) -> None:
    # For augmentations of users: ours draw from torch's generators.
    np.random.seed(seed % 2**32)
    random.seed(seed)
    # torch.manual_seed would reach accelerators that nobody uses here, and so nobody restores.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type != "cpu":
        torch.get_device_module(device.type).manual_seed(seed)


def _rng_type(device: torch.device) -> str:
    # fork_rng saves the CPU's state always; it wants some accelerator's name besides.
    return "cuda" if device.type == "cpu" else device.type
