"""Rounds by kernels of our own; for a process of its own, see test_lloyd.py."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skdeepclust.ops import _lloyd
from skdeepclust.ops import kmeans as module
from skdeepclust.ops._lloyd import Rounds
from skdeepclust.ops.kmeans import kmeans

# The interpreter does not know the products of bfloat16, a GPU those of any other half alike.
HALF = torch.float16


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Programs, of which the interpreter runs one after the other."""
    monkeypatch.setattr(_lloyd, "_BUSY", 4)
    monkeypatch.setattr(_lloyd, "_AT_ONCE", 16)  # so that each kernel goes round its loop


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive(rows, mean, centers, spherical, factors):
    """One round, centre by centre; the inertia lacks the squared norms of the rows."""
    rows, reduced = rows.float(), (centers - mean).to(HALF).float()
    moved, inertia = centers.clone(), []
    for run in range(len(centers)):
        distance, labels = torch.cdist(rows, reduced[run]).min(1)
        inertia.append((distance.double() ** 2).sum() - (rows.double() ** 2).sum())
        for cluster in labels.unique():
            center = rows[labels == cluster].mean(0) + mean
            moved[run, cluster] = F.normalize(center, dim=0) if spherical else center
    way = moved - centers
    past = centers + torch.tensor(factors)[:, None, None] * way
    past = F.normalize(past, dim=2) if spherical else past
    return past, way.double().square().sum((1, 2)), torch.stack(inertia)


@pytest.mark.parametrize(
    ("n", "dim", "k", "runs", "spherical", "factors"),
    [
        (600, 20, 7, 2, False, [1.0, 1.0]),
        (60, 20, 7, 2, True, [1.0, 1.0]),
        (60, 20, 7, 2, True, [1.7, 1.0]),
        (130, 16, 1, 1, True, [1.0]),
        (140, 130, 130, 1, False, [1.7]),  # more than a tile of each
    ],
)
def test_rounds_are_lloyds(n, dim, k, runs, spherical, factors):
    x = normal(n, dim) + 0.5
    x = F.normalize(x, dim=1) if spherical else x
    mean = x.mean(0)
    rows = (x - mean).to(HALF)
    centers = torch.stack([x[normal(n, seed=run).argsort()[:k]] for run in range(runs)])
    advance = Rounds(rows, mean, (runs, k), spherical)
    for _ in range(2):  # the second one goes on from what the first has left
        expected, *told = naive(rows, mean, centers, spherical, factors)
        centers, found = advance(centers, np.array(factors))
        torch.testing.assert_close(centers, expected)
        torch.testing.assert_close(found.double(), torch.stack(told), atol=1e-3, rtol=1e-4)


def test_other_centres_than_the_last_count():
    x = normal(90, 4)
    advance = Rounds(x.to(HALF), torch.zeros(4), (1, 3), False)
    first = advance(x[None, :3], np.ones(1))[0].clone()  # the next call overwrites them
    advance(x[None, 3:6], np.full(1, 1.7))
    assert torch.equal(advance(x[None, :3], np.ones(1))[0], first)


def test_a_centre_without_members_stays():
    x = normal(90, 4)
    centers = torch.cat([x[:2], torch.full((1, 4), 50.0)])[None]
    moved, _ = Rounds(x.to(HALF), torch.zeros(4), (1, 3), False)(centers, np.ones(1))
    assert torch.equal(moved[0, 2], centers[0, 2]) and not torch.equal(moved[0, 0], centers[0, 0])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_kmeans_by_them_ends_where_it_does_without(monkeypatch, metric):
    x = F.one_hot(torch.arange(5).repeat(40), 8) + 0.05 * normal(200, 8) + 3
    expected = kmeans(x, 5, metric=metric, n_init=3, generator=torch.Generator().manual_seed(0))
    made = []

    def fused(rows, *args):
        made.append(Rounds(rows.to(HALF), *args))
        return made[-1]

    monkeypatch.setattr(module, "_LARGE_FUSED", 0)
    monkeypatch.setattr(module, "fast_bfloat16", lambda device: True)
    monkeypatch.setattr(module, "_fused", lambda *args: fused)
    found = kmeans(x, 5, metric=metric, n_init=3, generator=torch.Generator().manual_seed(0))
    assert made
    torch.testing.assert_close(found, expected)
