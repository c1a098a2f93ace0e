"""Ward's heights against scipy and against the sums of squares they stand for."""

import itertools

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import ward

from skdeepclust.ops.ward import merge_gaps, ward_heights


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(centers, sizes):
    """Ward's rule with means and sizes, pair by pair."""
    groups, heights = list(zip(centers.numpy(), sizes.tolist(), strict=True)), []
    while len(groups) > 1:
        height, a, b = min(
            (np.sqrt(2 * n * m / (n + m)) * np.linalg.norm(mu - nu), i, j)
            for (i, (mu, n)), (j, (nu, m)) in itertools.combinations(enumerate(groups), 2)
        )
        heights.append(height)
        (mu, n), (nu, m) = groups[a], groups[b]
        union = ((n * mu + m * nu) / (n + m), n + m)
        groups = [group for i, group in enumerate(groups) if i not in (a, b)] + [union]
    return np.array(heights[::-1])


@pytest.mark.parametrize("n", [2, 3, 40])
def test_single_samples_are_merged_as_by_scipy(n):
    x = normal(n, 3)
    heights = ward_heights(x, torch.ones(n))
    np.testing.assert_allclose(heights, ward(x.numpy())[::-1, 2], atol=1e-12)


def test_sizes_are_weights():
    centers, sizes = normal(15, 4), torch.arange(1, 16)
    heights = ward_heights(centers, sizes)
    np.testing.assert_allclose(heights, naive(centers, sizes), rtol=1e-9)
    assert (heights.diff() <= 1e-12).all()


def test_half_the_squares_add_up_to_the_sum_of_squares():
    centers, sizes = normal(12, 2), torch.arange(1, 13).double()
    mean = (sizes[:, None] * centers).sum(0) / sizes.sum()
    total = (sizes * (centers - mean).square().sum(1)).sum()
    heights = ward_heights(centers, sizes)
    assert float(heights.square().sum() / 2) == pytest.approx(float(total))


def test_arguments_stay_as_they_are():
    centers, sizes = normal(6, 2), torch.ones(6, dtype=torch.float64)
    before = centers.clone()
    ward_heights(centers, sizes)
    assert torch.equal(centers, before) and (sizes == 1).all()


def test_one_cluster_has_no_merge():
    assert len(ward_heights(torch.zeros(1, 2), torch.ones(1))) == 0
    assert len(merge_gaps(torch.zeros(0))) == 0


def test_gaps_are_differences_of_roots():
    heights = normal(9).abs().sort(descending=True).values
    gaps = merge_gaps(heights)
    roots = np.sqrt(heights.numpy())
    for k in range(2, 10):
        expected = (roots[k - 2] - roots[k - 1]) / roots[0]
        assert float(gaps[k - 1]) == pytest.approx(expected, abs=1e-12)
    assert gaps[0] == 0
    assert float(gaps.sum()) == pytest.approx(1 - roots[-1] / roots[0])


def test_gaps_do_not_depend_on_the_scale():
    heights = torch.tensor([4.0, 3.0, 1.0])
    torch.testing.assert_close(merge_gaps(heights), merge_gaps(100 * heights))


@pytest.mark.parametrize("height", [0.0, 0.3])
def test_equal_heights_have_no_gap(height):
    assert merge_gaps(torch.full((5,), height)).tolist() == [0] * 5


@pytest.mark.parametrize("k", [2, 5, 9])
def test_the_gap_is_widest_at_the_number_of_groups(k):
    generator = torch.Generator().manual_seed(k)
    groups = 5 * torch.randn(k, 16, generator=generator)
    centers = (groups[:, None] + torch.randn(k, 10, 16, generator=generator) / 5).flatten(0, 1)
    sizes = torch.randint(1, 40, (len(centers),), generator=generator)
    assert int(merge_gaps(ward_heights(centers, sizes)).argmax()) + 1 == k
