"""Sinkhorn-Knopp against plain scaling of a matrix, against its optimum, and known figures."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from skdeepclust.ops.sinkhorn import sinkhorn


def scores(n, k, std=0.3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return std * torch.randn(n, k, generator=generator, dtype=dtype)


def naive(s, epsilon, n_iterations):
    """Columns to B / K, then rows to 1, on the exponentials themselves."""
    n, k = s.shape
    q = np.exp(s.numpy() / epsilon)
    for _ in range(n_iterations):
        for j in range(k):
            q[:, j] *= n / k / sum(q[:, j])
        for i in range(n):
            q[i] /= sum(q[i])
    return torch.from_numpy(q)


def imbalance(q):
    n, k = q.shape
    return float((q.sum(0) * k / n - 1).abs().max())


@pytest.mark.parametrize("n_iterations", [1, 3, 10])
@pytest.mark.parametrize("shape", [(12, 3), (7, 5), (3, 8), (4, 1)])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_it_is_the_plain_scaling(shape, epsilon, n_iterations):
    s = scores(*shape)
    expected = naive(s, epsilon, n_iterations)
    torch.testing.assert_close(sinkhorn(s, epsilon, n_iterations), expected, rtol=0, atol=1e-10)


def test_defaults_are_ten_rounds_at_a_twentieth():
    s = scores(12, 3)
    assert torch.equal(sinkhorn(s), sinkhorn(s, 0.05, 10))
    assert not torch.equal(sinkhorn(s), sinkhorn(s, 0.05, 11))


@pytest.mark.parametrize("n_iterations", [1, 3, 10, 100])
def test_rows_sum_to_one_after_any_number_of_rounds(n_iterations):
    sums = sinkhorn(scores(256, 10), n_iterations=n_iterations).sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n_iterations", "low", "high"), [(3, 0.3, 0.9), (10, 0.02, 0.15)])
def test_columns_are_unbalanced_after_few_rounds(n_iterations, low, high):
    """54 and 6 percent in one draw."""
    off = [imbalance(sinkhorn(scores(256, 10, seed=s), 0.05, n_iterations)) for s in range(20)]
    assert low < np.median(off) < high


def test_columns_are_balanced_after_a_hundred_rounds():
    """3e-11 in one draw."""
    off = [imbalance(sinkhorn(scores(256, 10, seed=s), 0.05, 100)) for s in range(5)]
    assert np.median(off) < 1e-9


def test_constants_of_samples_and_clusters_do_not_matter():
    s, rows, columns = scores(60, 6), 3 * scores(60, 1, seed=1), 3 * scores(6, 1, seed=2).T
    converged = sinkhorn(s, 0.1, 2000)
    shifted = sinkhorn(s + rows + columns, 0.1, 2000)
    torch.testing.assert_close(shifted, converged, rtol=0, atol=1e-13)


def test_permuted_clusters_permute_columns():
    s, order = scores(60, 6), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(sinkhorn(s[:, order]), sinkhorn(s)[:, order], rtol=0, atol=1e-14)


def test_a_small_epsilon_gives_the_best_hard_balanced_assignment():
    s = scores(12, 3, std=1.0, seed=4)
    q = sinkhorn(s, 0.01, 3000)
    cost = s.numpy().repeat(4, axis=1)  # every cluster four times
    _, seats = linear_sum_assignment(cost, maximize=True)
    expected = torch.nn.functional.one_hot(torch.from_numpy(seats // 4), 3).double()
    torch.testing.assert_close(q, expected, rtol=0, atol=0.01)
    # The scores alone would not be balanced.
    assert (torch.bincount(s.argmax(1), minlength=3) != 4).any()


def test_it_solves_the_problem_it_states():
    """ln Q - S / epsilon is a sum of a number per sample and one per cluster."""
    s = scores(40, 5)
    q = sinkhorn(s, 0.1, 1000)
    assert imbalance(q) < 1e-12
    multipliers = q.log() - s / 0.1
    rest = multipliers - multipliers.mean(0) - multipliers.mean(1, keepdim=True)
    torch.testing.assert_close(rest, -multipliers.mean().expand_as(rest), rtol=0, atol=1e-10)


def test_identical_samples_are_shared_among_all_clusters():
    q = sinkhorn(scores(1, 5).expand(20, 5), n_iterations=3)
    torch.testing.assert_close(q, torch.full_like(q, 1 / 5))


def test_a_single_cluster_takes_all():
    assert torch.equal(sinkhorn(scores(6, 1)), torch.ones(6, 1, dtype=torch.float64))


@pytest.mark.parametrize("epsilon", [1e-4, 1e-2])
def test_no_epsilon_overflows(epsilon):
    q = sinkhorn(scores(64, 8, std=1, dtype=torch.float32), epsilon)
    assert q.isfinite().all()
    torch.testing.assert_close(q.sum(1), torch.ones(64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_short_types_are_computed_in_float32(dtype):
    s = scores(64, 8).to(dtype)
    q = sinkhorn(s)
    assert q.dtype == torch.float32
    torch.testing.assert_close(q.double(), sinkhorn(s.double()), rtol=0, atol=1e-4)


def test_float64_stays_float64():
    assert sinkhorn(scores(6, 2)).dtype == torch.float64


def test_autocast_does_not_shorten_it():
    s = scores(64, 8, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        q = sinkhorn(s)
    assert torch.equal(q, sinkhorn(s))


def test_codes_take_no_gradient():
    assert not sinkhorn(scores(6, 2).requires_grad_()).requires_grad


def test_scores_are_left_as_they_were():
    s = scores(6, 2)
    before = s.clone()
    sinkhorn(s)
    assert torch.equal(s, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    s = scores(6, 2)
    s[3, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        sinkhorn(s)


@pytest.mark.parametrize(
    "bad", [{"epsilon": 0.0}, {"epsilon": -1.0}, {"epsilon": math.nan}, {"n_iterations": 0}]
)
def test_useless_parameters_are_refused(bad):
    with pytest.raises(ValueError, match="positive"):
        sinkhorn(scores(6, 2), **bad)
