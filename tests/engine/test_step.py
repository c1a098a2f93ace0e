"""Batches that do not fit the memory."""

import pytest
import torch

from skdeepclust import CDCClustering
from skdeepclust.datasets import make_image_blobs


def fit(error, limit):
    """Train with an augmentation that has room for so many samples."""

    def augment(x):
        if len(x) > limit:
            raise error
        return x

    X, _ = make_image_blobs(200, random_state=0)
    return CDCClustering(3, max_epochs=1, augment=augment, random_state=0).fit(X)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(("limit", "fits"), [(40, 32), (31, 16), (2, 2)])
def test_the_largest_part_of_a_batch_that_fits_is_named(error, limit, fits):
    with pytest.raises(MemoryError, match=f"batch of 64 .* of cpu; .*batch_size={fits}$"):
        fit(error, limit)


def test_nothing_fits():
    with pytest.raises(MemoryError, match="nor does one of 2: take smaller images"):
        fit(torch.OutOfMemoryError("out of memory"), 1)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="mine"):
        fit(RuntimeError("mine"), 40)
