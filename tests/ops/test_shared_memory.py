"""Memory that processes share is there in full, or is not there at all.

What it adds up is in tests/test_distributed.py.
"""

import os
import subprocess
import sys

import pytest
import torch

from skdeepclust.ops import shared_memory
from skdeepclust.ops.shared_memory import SharedMemory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is shared on Linux only")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, "_PLACE", tmp_path)
    monkeypatch.setattr(shared_memory, "_ORDERED", (shared_memory.platform.machine(),))
    return tmp_path


def test_the_memory_is_there_before_it_is_written_to(place):
    path = SharedMemory.create(3)
    assert os.stat(path).st_blocks * 512 >= os.path.getsize(path) > 3 * 2 * 2**20


def test_no_room(place, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert SharedMemory.create(2) is None
    assert not list(place.iterdir())


def test_nowhere_to_share(place, monkeypatch):
    monkeypatch.setattr(shared_memory, "_PLACE", place / "none")
    assert SharedMemory.create(2) is None
    monkeypatch.setattr(shared_memory, "_PLACE", place)
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "aarch64")
    assert SharedMemory.create(2) is None


OTHER = """
import sys, time
from skdeepclust.ops.shared_memory import SharedMemory
memory = SharedMemory(sys.argv[1], 1, 2, 600)
print("here", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(place):
    """A process that takes part, and never comes to add up."""
    path = SharedMemory.create(2)
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"here\n"
        yield SharedMemory(path, 0, 2, 600), process
        process.kill()


def test_a_process_that_is_killed_is_missed(other):
    memory, process = other
    process.kill()
    with pytest.raises(RuntimeError, match="rank 1 has ended"):
        memory.add_up(torch.ones(3))


def test_a_process_that_hangs_is_given_up(other):
    memory, _ = other
    memory.patience = 0.05
    with pytest.raises(RuntimeError, match="rank 1 does not answer"):
        memory.add_up(torch.ones(3))


def test_a_process_takes_part_once(other):
    memory, _ = other
    with pytest.raises(OSError):
        SharedMemory(memory._file.name, 1, 2, 600)
