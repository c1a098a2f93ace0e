"""Batches that do not fit the memory."""

import os
import re
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn

import skdeepclust
from skdeepclust import CDCClustering
from skdeepclust.datasets import make_image_blobs


class Memory(nn.Module):
    """A backbone on a device that has room for the features of so many samples.

    What does not fit a second time leaves it in parts too small for anything.
    """

    num_features = 4

    def __init__(self, error, limit):
        super().__init__()
        self.error, self.limit, self.layer = error, limit, nn.LazyLinear(4)
        self.held, self.failures = weakref.WeakSet(), 0

    def __deepcopy__(self, memo):
        return Memory(self.error, self.limit)

    def forward(self, x):
        z = self.layer(x.flatten(1))
        if self.training:
            self.held.add(z)
            if sum(len(held) for held in self.held) > self.limit:
                self.failures += 1
                self.limit = self.limit if self.failures == 1 else 0
                raise type(self.error)(*self.error.args)  # one holds on to what it has seen
        return z


def fit(error, limit):
    X, _ = make_image_blobs(200, random_state=0)
    memory = Memory(error, 2 * limit)  # of two views
    return CDCClustering(3, max_epochs=1, backbone=memory, random_state=0).fit(X)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("could not create a primitive"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(("limit", "fits"), [(40, 32), (31, 16), (2, 2)])
def test_the_largest_part_of_a_batch_that_fits_is_named(error, limit, fits):
    with pytest.raises(MemoryError, match=f"batch of 64 .* of cpu; .*batch_size={fits}$"):
        fit(error, limit)


def test_a_network_that_the_processor_cannot_compute_is_not_out_of_memory():
    told = "could not create a primitive descriptor for a convolution"
    with pytest.raises(RuntimeError, match=told):
        fit(RuntimeError(told), 40)


LIMITED = """
import re, resource, sys, warnings
import numpy as np
from skdeepclust import {method}
warnings.simplefilter("ignore")
X = np.random.default_rng(0).integers(0, 256, (12000, 3, 16, 16), dtype=np.uint8)
{method}(10, max_epochs=1).fit(X[:200])  # all modules are there
used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
try:
    {method}(10, max_epochs=1, batch_size={size}, random_state=0).fit(X)
except MemoryError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux")
@pytest.mark.parametrize("method", skdeepclust.METHODS)
def test_a_process_of_little_memory_trains_with_what_is_named(method):
    def fit(size):
        run = [sys.executable, "-c", LIMITED.format(method=method, size=size)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout

    named = re.search(r"take batch_size=(\d+)", fit(12_000))
    assert not fit(named.group(1))


def test_nothing_fits():
    with pytest.raises(MemoryError, match="nor does one of 2: take smaller images"):
        fit(torch.OutOfMemoryError("out of memory"), 1)


class Full(nn.Flatten):
    """A backbone on a device that has become full."""

    num_features, full = 64, False

    def forward(self, x):
        if Full.full and len(x) > 2:  # a trial passes
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(x)


@pytest.mark.parametrize("frozen", [False, True])
def test_inference_says_what_does_not_fit(frozen, monkeypatch):
    X, _ = make_image_blobs(60, random_state=0)
    model = CDCClustering(3, max_epochs=1, backbone=Full(), freeze_backbone=frozen, random_state=0)
    model.fit(X)
    monkeypatch.setattr(Full, "full", True)
    told = "Batches of 128 .* do not fit the memory of cpu: take smaller images"
    for ask in (model.predict, model.transform, model.fit) if frozen else (model.predict,):
        with pytest.raises(MemoryError, match=told):
            ask(X)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="mine"):
        fit(RuntimeError("mine"), 40)
