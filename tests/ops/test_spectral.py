"""Spectral clustering of embeddings."""

import warnings

import pytest
import torch

from skdeepclust.ops.kmeans import kmeans
from skdeepclust.ops.spectral import spectral


def rings(n=200, dtype=torch.float32):
    """Two circles around one centre, and which one."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.rand(2 * n, generator=generator)
    radius = torch.tensor([1.0, 3.0]).repeat_interleave(n)
    return (torch.stack([angle.cos(), angle.sin()], 1) * radius[:, None]).to(dtype), radius > 2


def agree(labels, truth):
    labels = labels.bool()
    return torch.equal(labels, truth) or torch.equal(~labels, truth)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rings_are_told_apart(dtype):
    x, truth = rings(dtype=dtype)
    labels = spectral(x, 2, n_neighbors=10)
    assert labels.dtype == torch.int64 and agree(labels, truth)
    _, by_kmeans, _ = kmeans(x, 2, n_init=10)
    assert not agree(by_kmeans, truth)


def test_groups_without_a_link_are_clusters_and_no_warning():
    x = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(90) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = spectral(x + 100 * truth[:, None], 3)
    assert [len(labels[truth == j].unique()) for j in range(3)] == [1, 1, 1]
    assert len(labels.unique()) == 3


def test_equal_seeds_give_equal_labels():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(spectral(x, 5, seed=3), spectral(x, 5, seed=3))


def test_fewer_rows_than_neighbours():
    x = torch.tensor([[0.0], [0.1], [9.0]])
    assert spectral(x, 2, n_neighbors=5).unique().tolist() == [0, 1]
