"""Heads on a backbone."""

import itertools

from torch import Tensor, nn

__all__ = ["Encoder", "mlp"]


def mlp(*dims: int, std: float | None = None) -> nn.Sequential:
    """Linear layers with batch norm and ReLU between them.

    Parameters
    ----------
    *dims : int
        Widths, from input to output; two of them make a single linear layer.
    std : float, default=None
        Standard deviation of normally drawn weights, with biases zero; None keeps
        PyTorch's initialisation.

    Returns
    -------
    nn.Sequential
        (B, dims[0]) -> (B, dims[-1]), the last layer linear with bias.
    """
    layers: list[nn.Module] = []
    for i, (width_in, width_out) in enumerate(itertools.pairwise(dims)):
        if i:
            layers += [nn.BatchNorm1d(width_in), nn.ReLU(inplace=True)]
        layers.append(_linear(width_in, width_out, std))
    return nn.Sequential(*layers)


def _linear(width_in: int, width_out: int, std: float | None) -> nn.Linear:
    layer = nn.Linear(width_in, width_out)
    if std is not None:
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    return layer


class Encoder(nn.Module):
    """A backbone and a head: what maps a standardised batch to its embedding.

    Parameters
    ----------
    backbone : nn.Module
        (B, *shape) -> (B, num_features), with the attribute ``num_features``.
    hidden_dim : int or None
        Width of the head's hidden layer; None for a linear head.
    embedding_dim : int
        Width of the head's output.
    """

    def __init__(self, backbone: nn.Module, hidden_dim: int | None, embedding_dim: int):
        super().__init__()
        self.backbone = backbone
        hidden = () if hidden_dim is None else (hidden_dim,)
        self.head = mlp(int(backbone.num_features), *hidden, embedding_dim)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embedding_dim), not normalised."""
        features = self.backbone(x)
        return self.head(features.to(self.head[-1].weight.dtype))  # whatever a backbone casts to
