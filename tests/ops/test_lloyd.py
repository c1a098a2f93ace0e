"""Kernels of our own, run on a CPU by Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from skdeepclust.ops import kmeans as module


def test_rounds_of_kernels_are_lloyds():
    """In a process of its own: what Triton is to do with kernels it asks when it is imported."""
    reason = "no Triton for this system, or one whose interpreter does not know this NumPy"
    pytest.importorskip("triton", minversion="3.7", reason=reason)
    checks = Path(__file__).with_name("interpreted.py")
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", checks],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0 and "passed" in found.stdout, found.stdout[-3000:] + found.stderr


@pytest.mark.parametrize("device", ["cpu", "cuda:99"])
def test_without_a_gpu_there_are_none(device):
    assert module._fused(torch.device(device), 10, 64) is None
