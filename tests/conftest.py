"""Data that several tests share. No test needs the network."""

import os

# Tests run in as many processes as there are cores at most: each takes one of them. Before torch
# is imported, and for the processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from skdeepclust.datasets import load_digits_images


@pytest.fixture(scope="session")
def digits():
    """Return 300 real 8x8 digits and their classes, read-only since all tests share them."""
    images, target = load_digits_images(return_X_y=True)
    images, target = images[:300], target[:300]
    images.flags.writeable = target.flags.writeable = False
    return images, target
