"""The simplified silhouette against a loop, and where it is defined by convention."""

import numpy as np
import pytest
import torch

from skdeepclust.ops.silhouette import simplified_silhouette


def naive(z, centers, labels):
    values = []
    for row, label in zip(z.numpy(), labels.tolist(), strict=True):
        distance = np.linalg.norm(centers.numpy() - row, axis=1)
        a, b = distance[label], np.delete(distance, label).min()
        values.append(0 if max(a, b) == 0 else (b - a) / max(a, b))
    return np.mean(values)


@pytest.mark.parametrize("budget", [1, 45, 1 << 22])
@pytest.mark.parametrize("k", [2, 5])
def test_it_is_the_mean_of_the_formula(k, budget, monkeypatch):
    monkeypatch.setattr("skdeepclust.ops.silhouette._BUDGET", budget)
    generator = torch.Generator().manual_seed(k)
    z = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    centers = torch.randn(k, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(k, (40,), generator=generator)
    found = float(simplified_silhouette(z, centers, labels))
    assert found == pytest.approx(naive(z, centers, labels), abs=1e-7)


def test_samples_on_their_centres_score_one_and_on_others_minus_one():
    centers = torch.eye(3)
    z = centers.repeat(4, 1)
    right = torch.arange(3).repeat(4)
    assert float(simplified_silhouette(z, centers, right)) == pytest.approx(1)
    assert float(simplified_silhouette(z, centers, (right + 1) % 3)) == pytest.approx(-1)


def test_a_single_cluster_scores_zero():
    labels = torch.zeros(5, dtype=torch.int64)
    assert float(simplified_silhouette(torch.randn(5, 2), torch.zeros(1, 2), labels)) == 0


def test_equal_centres_score_zero():
    z, centers = torch.zeros(4, 2), torch.zeros(2, 2)
    assert float(simplified_silhouette(z, centers, torch.tensor([0, 1, 0, 1]))) == 0


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_single_precision_does_far_from_zero(offset):
    rng = np.random.default_rng(0)
    labels = torch.arange(60) % 3
    z = torch.from_numpy(rng.normal(size=(60, 4)) + 9 * labels.numpy()[:, None])
    centers = torch.stack([z[labels == k].mean(0) for k in range(3)])
    there = simplified_silhouette((z + offset).float(), (centers + offset).float(), labels)
    assert float(there) == pytest.approx(float(simplified_silhouette(z, centers, labels)), abs=5e-3)
