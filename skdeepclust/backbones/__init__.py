"""Backbones: (B, *shape) -> (B, num_features), by name, module or callable."""

import copy
from collections.abc import Callable
from numbers import Integral
from typing import Any

import torch
from torch import nn

from skdeepclust.backbones.convnet import ConvNet
from skdeepclust.backbones.mlp import Flatten, MLPBackbone
from skdeepclust.backbones.resnet import make_resnet

__all__ = ["BACKBONES", "auto_backbone", "make_backbone"]

Shape = tuple[int, ...]

# Above this side a ResNet keeps its ImageNet stem under stem="auto".
SMALL_SIDE = 64
# Images below which a CPU trains the small net in minutes, whatever their side.
FEW_IMAGES = 20_000

BACKBONES: dict[str, Callable[[Shape, str], nn.Module]] = {
    "convnet": lambda shape, stem: ConvNet(shape),
    "resnet18": lambda shape, stem: make_resnet("resnet18", shape, stem),
    "resnet34": lambda shape, stem: make_resnet("resnet34", shape, stem),
    "resnet50": lambda shape, stem: make_resnet("resnet50", shape, stem),
    "mlp": lambda shape, stem: MLPBackbone(shape),
    "identity": lambda shape, stem: Flatten(shape),
}
_FOR_IMAGES = ("convnet", "resnet18", "resnet34", "resnet50")


def auto_backbone(shape: Shape, n_samples: int, device: torch.device) -> str:
    """Name of the backbone that ``backbone="auto"`` stands for.

    Parameters
    ----------
    shape : (C, H, W) or (F,)
        Shape of one sample.
    n_samples : int
        Number of training samples.
    device : torch.device
        Where training runs.

    Returns
    -------
    str
        "mlp" for vectors; "convnet" for images up to 16 x 16 and, on a CPU, for images
        up to 64 x 64 or fewer than 20,000 of them; "resnet18" otherwise.
    """
    if len(shape) == 1:
        return "mlp"
    side = max(shape[1:])
    light = device.type == "cpu" and (side <= SMALL_SIDE or n_samples < FEW_IMAGES)
    return "convnet" if light or side <= 16 else "resnet18"


def make_backbone(backbone: Any, shape: Shape, stem: str = "auto") -> nn.Module:
    """Build and check a backbone.

    Parameters
    ----------
    backbone : str, nn.Module or callable
        A name; a module with ``num_features``, which is copied; or a callable
        ``shape -> module``.
    shape : (C, H, W) or (F,)
        Shape of one sample.
    stem : {"auto", "small", "small-pool", "imagenet"}, default="auto"
        First layers of a ResNet: 3x3 without pooling, 3x3 with it, or 7x7 with it. "auto"
        is small up to a side of 64.

    Returns
    -------
    nn.Module
        Maps (B, *shape) to (B, num_features).

    Raises
    ------
    ValueError
        If the name is unknown or does not fit the samples, or the module does not keep
        the contract.
    """
    if isinstance(backbone, str):
        return _by_name(backbone, shape, stem)
    module = copy.deepcopy(backbone) if isinstance(backbone, nn.Module) else backbone(shape)
    _check(module, shape)
    return module


def _by_name(name: str, shape: Shape, stem: str) -> nn.Module:
    if name not in BACKBONES:
        known = ", ".join(repr(n) for n in ("auto", *BACKBONES))
        raise ValueError(f"backbone={name!r} is unknown; known are {known}")
    if name in _FOR_IMAGES and len(shape) == 1:
        raise ValueError(
            f"backbone={name!r} needs images, but X holds vectors of {shape[0]} features: "
            "pass image_shape=(channels, height, width) or backbone='mlp'"
        )
    if stem == "auto":
        stem = "small" if max(shape[1:], default=0) <= SMALL_SIDE else "imagenet"
    return BACKBONES[name](shape, stem)


def _check(module: Any, shape: Shape) -> None:
    if not isinstance(module, nn.Module):
        raise ValueError(f"backbone must return an nn.Module, got {type(module).__name__}")
    width = getattr(module, "num_features", None)
    if not isinstance(width, Integral):
        raise ValueError(
            f"backbone {type(module).__name__} has no integer attribute num_features: "
            "set it to the width of what forward returns"
        )
    parameter = next(module.parameters(), torch.empty(0))
    training = module.training
    try:
        with torch.no_grad():
            out = module.eval()(torch.zeros(2, *shape).to(parameter))
    except Exception as error:
        raise ValueError(f"backbone fails on samples of shape {shape}: {error}") from error
    module.train(training)
    made = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    if made != (2, width):
        raise ValueError(
            f"backbone maps 2 samples to {made}, expected shape (2, {width}) as num_features says"
        )
