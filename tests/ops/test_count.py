"""Counts of labels."""

import pytest
import torch

from skdeepclust.ops.count import count_labels


@pytest.mark.parametrize(("size", "k"), [(0, 3), (1, 1), (50, 7), (1000, 300)])
def test_counts_are_those_of_bincount(size, k):
    labels = torch.randint(k, (size,), generator=torch.Generator().manual_seed(0))
    counts = count_labels(labels, k)
    assert counts.dtype == torch.int64
    assert torch.equal(counts, torch.bincount(labels, minlength=k))
