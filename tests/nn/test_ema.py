"""A moving average of parameters only."""

import copy

import pytest
import torch
from torch import nn

from skdeepclust.nn.ema import EMA


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()


def shaken(module):
    """A copy with other parameters."""
    other = copy.deepcopy(module)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(torch.randn(p.shape, dtype=p.dtype))
    return other


def test_distance_shrinks_by_m_to_the_s():
    source = net()
    ema = EMA(shaken(source))
    start = [p.clone() for p in ema.parameters()]
    for _ in range(25):
        ema.update(source, 0.9)
    for average, first, value in zip(ema.parameters(), start, source.parameters(), strict=True):
        torch.testing.assert_close(average - value, 0.9**25 * (first - value), rtol=0, atol=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_ends_are_a_copy_and_a_stop(momentum):
    source = net()
    ema = EMA(shaken(source))
    expected = [p.clone() for p in (ema.parameters() if momentum else source.parameters())]
    ema.update(source, momentum)
    assert all(torch.equal(a, b) for a, b in zip(ema.parameters(), expected, strict=True))


def test_it_starts_as_an_independent_copy():
    source = net()
    ema = EMA(source)
    with torch.no_grad():
        source[0].weight.zero_()
    assert ema.module[0].weight.abs().min() > 0


def test_parameters_take_no_gradient_and_the_source_still_does():
    source = net()
    ema = EMA(source)
    assert not any(p.requires_grad for p in ema.parameters())
    assert all(p.requires_grad for p in source.parameters())


def test_an_update_leaves_no_graph_and_the_source_alone():
    source = net()
    before = copy.deepcopy(source.state_dict())
    ema = EMA(shaken(source))
    ema.update(source, 0.5)
    assert all(p.grad_fn is None for p in ema.parameters())
    assert all(torch.equal(before[k], v) for k, v in source.state_dict().items())


def test_buffers_are_its_own():
    source = net()
    ema = EMA(source)
    source(torch.randn(8, 3, dtype=torch.float64) + 5)
    ema.update(source, 0.5)
    assert not ema.module[1].running_mean.any()
    assert ema.module[1].num_batches_tracked == 0
    x = torch.randn(8, 3, dtype=torch.float64)
    seen = ema.module[0](x).mean(0)
    ema(x)
    torch.testing.assert_close(ema.module[1].running_mean, 0.1 * seen)


def test_forward_is_the_averaged_module():
    source = net().eval()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(EMA(source)(x), source(x))
