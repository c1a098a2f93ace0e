"""Backbones for vectors."""

import math

from torch import Tensor, nn

__all__ = ["Flatten", "MLPBackbone"]


class MLPBackbone(nn.Sequential):
    """Two hidden layers with batch norm and ReLU, on flattened samples.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample.
    width : int, default=256
        Width of both layers.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 256):
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs in (math.prod(shape), width):
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        super().__init__(*layers)
        self.num_features = width


class Flatten(nn.Module):
    """No backbone at all: samples as vectors, for precomputed features.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample.
    """

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.num_features = math.prod(shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, num_features)."""
        return x.flatten(1)
