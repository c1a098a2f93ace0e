"""Heads have the sizes and the initialisation of the papers."""

import pytest
import torch
from torch import nn

from skdeepclust.backbones.mlp import Flatten
from skdeepclust.nn.heads import Encoder, mlp


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("dims", "parameters"), [((512, 4096, 256), 3_158_272), ((256, 4096, 256), 2_109_696)]
)
def test_projector_and_predictor_sizes(dims, parameters):
    assert count(mlp(*dims)) == parameters


def test_layers_of_an_mlp():
    kinds = [type(layer) for layer in mlp(4, 5, 6, 7)]
    block = [nn.BatchNorm1d, nn.ReLU]
    assert kinds == [nn.Linear, *block, nn.Linear, *block, nn.Linear]


def test_two_widths_are_one_linear_layer_with_bias():
    head = mlp(4, 3)
    assert [type(layer) for layer in head] == [nn.Linear]
    assert head[0].bias is not None


def test_predictor_weights_are_normal_and_biases_zero():
    torch.manual_seed(0)
    linear = [layer for layer in mlp(256, 4096, 256, std=0.01) if isinstance(layer, nn.Linear)]
    for layer in linear:
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.01)
        assert layer.weight.mean().abs() < 1e-4
        assert layer.weight.abs().max() > 0.03  # a uniform distribution ends at 0.017
        assert not layer.bias.any()


def test_without_std_pytorchs_initialisation_stays():
    torch.manual_seed(0)
    reference = nn.Linear(7, 5)
    torch.manual_seed(0)
    assert torch.equal(mlp(7, 5)[0].weight, reference.weight)


def test_an_encoder_is_the_head_on_the_backbone():
    encoder = Encoder(Flatten((2, 3)), 4, 5).eval()
    x = torch.randn(6, 2, 3)
    assert torch.equal(encoder(x), encoder.head(x.flatten(1)))
    assert encoder(x).shape == (6, 5)


class Cast(nn.Module):
    num_features = 6

    def __init__(self, dtype):
        super().__init__()
        self.linear, self.dtype = nn.Linear(6, 6), dtype

    def forward(self, x):
        return self.linear(x.flatten(1)).to(self.dtype)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float32])
def test_a_backbone_may_return_features_of_another_dtype(dtype, autocast):
    encoder = Encoder(Cast(dtype), None, 5)
    x = torch.randn(8, 2, 3, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        z = encoder(x)
    z.float().square().sum().backward()
    assert encoder.backbone.linear.weight.grad.any()
    expected = encoder.head(encoder.backbone.linear(x.flatten(1)))
    half = autocast or dtype in (torch.float16, torch.bfloat16)
    torch.testing.assert_close(z.float(), expected, atol=0.02 if half else 1e-6, rtol=0.02)
    assert z.dtype == (torch.bfloat16 if autocast else torch.float32)
