"""Sums over the processes of one machine, through memory that they share.

Gloo hands each message to the kernel and sleeps until it is answered. That takes longer than the
batch norm of a small net, which sends one each way. Here a process writes its numbers, then how far
it has come, and watches until the others have come as far.
"""

import mmap
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

if sys.platform != "win32":
    import fcntl

__all__ = ["SharedMemory"]

# Memory, and of this machine; a folder for temporary files may be one of many machines.
_PLACE = Path("/dev/shm")
# Processors on which others see what one writes in the order in which it was written.
_ORDERED = ("x86_64", "AMD64")
# Bytes of a process's count: a cache line of its own.
_LINE = 64
# Bytes that a process writes at a time.
_SLOT = 1 << 20
# How often a process looks before it sleeps in between, and how long it sleeps, in seconds.
_LOOKS = 10_000
_NAP = 5e-4


class SharedMemory:
    """What the processes of one machine add up in.

    Each has two slots and fills them in turn: it comes back to the first when all others have
    filled their second, and so have read the first.

    Parameters
    ----------
    path : str
        File that `create` made in one of the processes.
    rank : int
        Of this process.
    n_ranks : int
        How many there are.
    patience : float
        Seconds for one that hangs. One that has ended is noticed at once.

    Raises
    ------
    OSError
        If this process cannot see the file.
    """

    def __init__(self, path: str, rank: int, n_ranks: int, patience: float):
        self.rank, self.n_ranks, self.patience = rank, n_ranks, patience
        self._file = open(path, "r+b")
        # The kernel takes it back when the process ends, however it ends.
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, rank)
        memory = mmap.mmap(self._file.fileno(), _size(n_ranks))
        self._turns = memoryview(memory)[: n_ranks * _LINE].cast("q")[:: _LINE // 8]
        self._bytes = torch.frombuffer(memory, dtype=torch.uint8, offset=n_ranks * _LINE)
        self._turn = 0

    @staticmethod
    def create(n_ranks: int) -> str | None:
        """Make the file that the processes share.

        Parameters
        ----------
        n_ranks : int
            How many processes.

        Returns
        -------
        str or None
            Its path; None where there can be no such file.
        """
        if platform.machine() not in _ORDERED or not _PLACE.is_dir():
            return None
        try:
            descriptor, path = tempfile.mkstemp(prefix="skdeepclust-", dir=_PLACE)
        except OSError:
            return None
        with open(descriptor, "wb") as file:
            try:  # to write to memory that is not there would end the process
                os.posix_fallocate(file.fileno(), 0, _size(n_ranks))
            except OSError:
                os.unlink(path)
                return None
        return path

    def add_up(self, x: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place.

        Parameters
        ----------
        x : Tensor
            On the CPU, contiguous; of one shape and dtype in all processes.

        Returns
        -------
        Tensor
            `x`, bitwise the same in all processes.

        Raises
        ------
        RuntimeError
            If another process has ended, or hangs.
        """
        slots = self._bytes.view(x.dtype).view(2, self.n_ranks, -1)
        for part in x.detach().view(-1).split(slots.shape[2]):
            self._turn += 1
            first, *others = slots[self._turn % 2, :, : len(part)]
            (first, *others)[self.rank].copy_(part)
            self._turns[self.rank] = self._turn
            self._wait()
            part.copy_(first)  # in the order of the ranks: all have the same sum
            for row in others:
                part.add_(row)
        return x

    def close(self) -> None:
        """Leave. Who still waits for this process is told that it has ended."""
        self._file.close()

    def _wait(self) -> None:
        """Until the others have come as far as this process."""
        for other in range(self.n_ranks):
            looks, since = 0, 0.0
            while self._turns[other] < self._turn:
                looks += 1
                if looks < _LOOKS:
                    os.sched_yield()
                    continue
                since = since or time.monotonic()
                time.sleep(_NAP)
                if self._has_ended(other) and self._turns[other] < self._turn:
                    raise RuntimeError(f"rank {other} has ended")
                if time.monotonic() - since > self.patience:
                    raise RuntimeError(f"rank {other} does not answer")

    def _has_ended(self, other: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, other)
        except OSError:  # it holds its lock
            return False
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, other)  # for the others to notice, too
        return True


def _size(n_ranks: int) -> int:
    return n_ranks * (_LINE + 2 * _SLOT)
