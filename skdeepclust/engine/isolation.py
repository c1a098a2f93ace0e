"""Seeded training that leaves the process as it found it."""

import contextlib
import os
from collections.abc import Iterator

import torch

__all__ = ["isolated"]


@contextlib.contextmanager
def isolated(seed: int, device: torch.device, deterministic: bool) -> Iterator[None]:
    """Seed torch inside, and put its global state back afterwards.

    Parameters
    ----------
    seed : int
        Seed of the CPU's and the device's generators.
    device : torch.device
        Device that training uses.
    deterministic : bool
        Use deterministic kernels only, so that accelerators repeat bitwise as well.
    """
    was = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    # cuBLAS reads it when its workspace is first made, so a later fit may find it set.
    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=_rng_type(device)):
        _seed(seed, device)
        try:
            torch.use_deterministic_algorithms(was or deterministic, warn_only=warn_only)
            yield
        finally:
            torch.use_deterministic_algorithms(was, warn_only=warn_only)


def _seed(seed: int, device: torch.device) -> None:
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
