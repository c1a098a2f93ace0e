"""Ghost batch norm is separate batch norms over groups of the batch."""

import copy

import pytest
import torch
from torch import nn

from skdeepclust.nn.norm import GhostBatchNorm, ghost_batch_norm


def norm(features=3):
    torch.manual_seed(0)
    layer = nn.BatchNorm1d(features).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


def batch(n, *rest, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *(rest or (3,)), generator=generator, dtype=torch.float64) * 3 + 2


def per_group(layer, groups):
    return torch.cat([copy.deepcopy(layer)(group) for group in groups])


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (12, [4, 4, 4]),
        (10, [4, 4, 2]),
        (9, [4, 5]),  # a lone last sample joins the group before it
        (5, [5]),
        (4, [4]),
        (3, [3]),
    ],
)
def test_training_equals_separate_batch_norms(n, sizes):
    layer, x = norm(), batch(n)
    expected = per_group(layer, x.split(sizes))
    torch.testing.assert_close(GhostBatchNorm(layer, 4)(x), expected)


def test_images_are_grouped_along_the_batch():
    layer = nn.BatchNorm2d(3).double()
    x = batch(8, 3, 5, 5)
    expected = per_group(layer, x.split(4))
    torch.testing.assert_close(GhostBatchNorm(layer, 4)(x), expected)


def test_groups_do_not_see_each_other():
    ghost, x = GhostBatchNorm(norm(), 4), batch(8)
    first = ghost(x)[:4]
    x[4:] += 100
    assert torch.equal(ghost(x)[:4], first)


def test_gradients_equal_those_of_separate_batch_norms():
    layer, x = norm(), batch(8).requires_grad_()
    weight = batch(8, seed=2)
    ghost = torch.autograd.grad((GhostBatchNorm(layer, 4)(x) * weight).sum(), x)[0]
    naive = torch.autograd.grad((per_group(layer, x.split(4)) * weight).sum(), x)[0]
    torch.testing.assert_close(ghost, naive)


@pytest.mark.parametrize("shape", [(12, 3), (12, 3, 5, 4)])
@pytest.mark.parametrize("double", [True, False])
def test_a_compiler_gets_the_same_from_all_groups_at_once(shape, double, monkeypatch):
    def trained(forward):
        layer = copy.deepcopy(ghost)
        x = images.clone().requires_grad_()
        y = forward(layer)(x)
        (y * batch(*shape, seed=2).to(y)).sum().backward()
        own = layer.norm
        kept = own.running_mean, own.running_var, own.weight.grad, own.bias.grad, x.grad
        return (y, *kept), y.stride()

    layer = norm() if len(shape) == 2 else nn.BatchNorm2d(3)
    nn.init.normal_(layer.weight)
    ghost = GhostBatchNorm(layer.double() if double else layer.float(), 4)
    images = batch(*shape).to(layer.weight.dtype)
    if len(shape) == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    calls, at_once = [], GhostBatchNorm._at_once
    monkeypatch.setattr(GhostBatchNorm, "_at_once", lambda *a: calls.append(1) or at_once(*a))
    assert ghost._is_plain(images)
    compiled, strides = trained(lambda m: torch.compile(m, backend="eager"))
    assert calls == [1]
    expected, same = trained(lambda m: m)
    tight = {"rtol": 1e-12, "atol": 1e-12} if double else {"rtol": 1e-4, "atol": 1e-4}
    for ours, theirs in zip(compiled, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **tight)
    assert strides == same
    half = images.bfloat16()
    y = torch.compile(copy.deepcopy(ghost).float(), backend="eager", fullgraph=True)(half)
    assert y.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("n", "other"), [(12, {"affine": False}), (12, {"momentum": None}), (10, {})]
)
def test_a_compiler_gets_what_is_not_plain_group_by_group(n, other):
    x = batch(n)
    layer = nn.BatchNorm1d(3, **other).double()
    ghost = GhostBatchNorm(layer, 4)
    assert not ghost._is_plain(x)
    compiled = torch.compile(copy.deepcopy(ghost), backend="eager")
    torch.testing.assert_close(compiled(x), ghost(x))


def test_a_norm_that_is_frozen_stays_so():
    """As by who overrides `train` and has each BatchNorm1d of his network in eval mode."""
    layer, x = norm(), batch(12)
    layer.running_mean.fill_(1.0)
    ghost = GhostBatchNorm(copy.deepcopy(layer), 4).train()
    ghost.norm.eval()
    assert torch.equal(ghost(x), layer.eval()(x))
    assert torch.equal(ghost.norm.running_mean, layer.running_mean)


def test_eval_is_the_batch_norm_it_was_made_from():
    layer = norm()
    layer(batch(20))
    expected = copy.deepcopy(layer).eval()(batch(12))
    assert torch.equal(GhostBatchNorm(layer, 4).eval()(batch(12)), expected)


def test_running_statistics_move_as_fast_as_those_of_one_batch():
    ghost = GhostBatchNorm(norm(), 4)
    x = batch(4).repeat(3, 1)  # equal groups: the decay alone decides
    ghost(x)
    torch.testing.assert_close(ghost.norm.running_mean, 0.1 * x[:4].mean(0))
    torch.testing.assert_close(ghost.norm.running_var, 0.9 + 0.1 * x[:4].var(0))


def test_every_batch_norm_of_a_module_is_replaced():
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    module = ghost_batch_norm(nn.Sequential(inner, nn.Flatten(), nn.LazyBatchNorm1d()), 4)
    kinds = [type(m) for m in module.modules()]
    assert kinds.count(GhostBatchNorm) == 2
    assert all(m.size == 4 for m in module.modules() if isinstance(m, GhostBatchNorm))


def test_a_batch_norm_itself_is_replaced():
    assert isinstance(ghost_batch_norm(nn.BatchNorm1d(3), 4), GhostBatchNorm)


def test_none_changes_nothing():
    module = nn.Sequential(nn.BatchNorm1d(3))
    assert ghost_batch_norm(module, None) is module
    assert type(module[0]) is nn.BatchNorm1d


def test_parameters_are_taken_over_not_copied():
    layer = norm()
    assert GhostBatchNorm(layer, 4).norm is layer


def test_momentum_none_is_a_cumulative_average():
    """torch's momentum=None averages over all batches; ghost groups must not change that."""
    layer = nn.BatchNorm1d(3, momentum=None).double()
    ghost, x = GhostBatchNorm(layer, 4), batch(8)
    ghost(x)
    torch.testing.assert_close(
        ghost.norm.running_mean, torch.stack([g.mean(0) for g in x.split(4)]).mean(0)
    )


def test_a_second_stage_finds_its_groups_there():
    net = ghost_batch_norm(nn.Sequential(norm()), 4)
    first = net[0]
    assert ghost_batch_norm(net, 4)[0] is first and type(first.norm) is nn.BatchNorm1d
