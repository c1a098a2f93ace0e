"""Optimizers by name; LARS against a transcription of its paper."""

import numpy as np
import pytest
import torch

from skdeepclust.engine.optim import LARS, OPTIMIZERS, make_optimizer


def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (4,), (2, 3, 3, 3), ()]
    return [
        torch.nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes
    ]


def gradients(step, ps):
    rng = np.random.default_rng(step)
    return [rng.normal(size=p.shape) for p in ps]


def naive_lars(ps, lr, momentum, decay, trust, steps):
    """You et al., algorithm 1; biases and norms take plain momentum steps."""
    values = [p.detach().numpy().copy() for p in ps]
    speeds = [np.zeros_like(v) for v in values]
    for step in range(steps):
        for i, gradient in enumerate(gradients(step, ps)):
            w = values[i]
            if w.ndim > 1:
                gradient = gradient + decay * w
                gradient = gradient * trust * np.linalg.norm(w) / np.linalg.norm(gradient)
            speeds[i] = momentum * speeds[i] + gradient
            values[i] = w - lr * speeds[i]
    return values


def descend(optimizer, ps, steps):
    for step in range(steps):
        for p, gradient in zip(ps, gradients(step, ps), strict=True):
            p.grad = torch.as_tensor(gradient)
        optimizer.step()


@pytest.mark.parametrize("decay", [0, 0.1])
def test_lars_is_its_algorithm(decay):
    ps = parameters()
    expected = naive_lars(ps, 2.0, 0.9, decay, 0.001, steps=5)
    descend(LARS(ps, lr=2.0, momentum=0.9, weight_decay=decay), ps, 5)
    for p, value in zip(ps, expected, strict=True):
        np.testing.assert_allclose(p.detach(), value, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 1.0), (1.0, 0.0)])
def test_lars_at_zero_weights_or_gradients_is_finite(weight, gradient):
    p = torch.nn.Parameter(torch.full((2, 2), weight))
    p.grad = torch.full((2, 2), gradient)
    LARS([p], lr=0.1, momentum=0).step()
    torch.testing.assert_close(p.detach(), torch.full((2, 2), weight - 0.1 * gradient))


def test_lars_skips_parameters_without_gradient():
    p = torch.nn.Parameter(torch.ones(2, 2))
    LARS([p], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(p.detach(), torch.ones(2, 2))


def test_lars_takes_the_gradient_as_it_is():
    p = torch.nn.Parameter(torch.ones(2, 2))
    p.grad = torch.full((2, 2), 3.0)
    LARS([p], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(p.grad, torch.full((2, 2), 3.0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_keep_their_own_rate_and_scale(name):
    first, second = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    groups = [{"params": [first]}, {"params": [second], "lr": 0.5, "lr_scale": 10}]
    optimizer = make_optimizer(name, groups, lr=0.1, momentum=0.8, weight_decay=0.01)
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5]
    assert optimizer.param_groups[1]["lr_scale"] == 10
    for group in optimizer.param_groups:
        assert group["weight_decay"] == 0.01
        assert group["betas"][0] == 0.8 if name == "adamw" else group["momentum"] == 0.8


def test_sgd_has_no_nesterov_and_decays_biases():
    bias = torch.nn.Parameter(torch.ones(3))
    bias.grad = torch.zeros(3)
    optimizer = make_optimizer("sgd", [{"params": [bias]}], 0.1, 0.9, 0.5)
    optimizer.step()
    torch.testing.assert_close(bias.detach(), torch.full((3,), 1 - 0.1 * 0.5))
    assert not optimizer.param_groups[0]["nesterov"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_descends(name):
    p = torch.nn.Parameter(torch.full((3, 3), 2.0))
    optimizer = make_optimizer(name, [{"params": [p]}], 0.05, 0.5, 0.0)
    for _ in range(20):
        optimizer.zero_grad()
        p.square().sum().backward()
        optimizer.step()
    assert p.square().sum() < 36


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_momentum_is_an_integer_as_well(name):
    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    make_optimizer(name, [{"params": [weight]}], lr=1, momentum=0, weight_decay=0).step()
    assert (weight < 1).all()
