"""Backbones: (B, *shape) -> (B, num_features), by name, module or callable."""

import copy
import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import torch
from torch import nn

from skdeepclust._errors import first_line
from skdeepclust.backbones.convnet import ConvNet
from skdeepclust.backbones.mlp import Flatten, MLPBackbone
from skdeepclust.backbones.pretrained import (
    check_file,
    fixed_size,
    load_state,
    make_timm,
    read_state,
    standardise_as_trained,
    torchvision_state,
)
from skdeepclust.backbones.resnet import make_resnet

__all__ = ["BACKBONES", "auto_backbone", "check_backbone", "make_backbone", "resolve_stem"]

Shape = tuple[int, ...]

# Share of features by which rounding, of quantised networks too, may change them.
_VARIES = 0.1
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


def auto_backbone(
    shape: Shape, n_samples: int, device: torch.device, pretrained: bool = False
) -> str:
    """Name of the backbone that ``backbone="auto"`` stands for.

    Parameters
    ----------
    shape : (C, H, W) or (F,)
        Shape of one sample.
    n_samples : int
        Number of training samples.
    device : torch.device
        Where training runs.
    pretrained : bool, default=False
        Whether it gets weights.

    Returns
    -------
    str
        "mlp" for vectors; "resnet18" for images with weights; "convnet" for images up to
        16 x 16 and, on a CPU, for images up to 64 x 64 or fewer than 20,000 of them; "resnet18"
        otherwise.
    """
    if len(shape) == 1:
        return "mlp"
    if pretrained:
        return "resnet18"
    side = max(shape[1:])
    light = device.type == "cpu" and (side <= SMALL_SIDE or n_samples < FEW_IMAGES)
    return "convnet" if light or side <= 16 else "resnet18"


def resolve_stem(stem: str, shape: Shape, pretrained: bool) -> str:
    """Name of the stem that ``stem="auto"`` stands for.

    Parameters
    ----------
    stem : str
        As of `make_backbone`.
    shape : (C, H, W) or (F,)
        Shape of one sample.
    pretrained : bool
        Whether the backbone gets weights.

    Returns
    -------
    str
    """
    if stem != "auto":
        return stem
    small = max(shape[1:], default=0) <= SMALL_SIDE and not pretrained
    return "small" if small else "imagenet"


def make_backbone(
    backbone: Any, shape: Shape, stem: str = "auto", weights: Any = None
) -> nn.Module:
    """Build and check a backbone.

    Parameters
    ----------
    backbone : str, nn.Module or callable
        A name, also ``"timm:NAME"``; a module with ``num_features``, which is copied; or a
        callable ``shape -> module``. A module may carry ``image_mean`` and ``image_std``, by
        which images in [0, 1] are standardised for it.
    shape : (C, H, W) or (F,)
        Shape of one sample.
    stem : {"auto", "small", "small-pool", "imagenet"}, default="auto"
        First layers of a ResNet: 3x3 without pooling, 3x3 with it, or 7x7 with it. "auto"
        is small up to a side of 64, unless there are weights.
    weights : None, "DEFAULT" or path, default=None
        Random weights, torchvision's or timm's for ImageNet, or those of a file: safetensors,
        or a state dict of ``torch.save``.

    Returns
    -------
    nn.Module
        Maps (B, *shape) to (B, num_features).

    Raises
    ------
    ValueError
        If the name is unknown or does not fit the samples, the weights do not fit the
        backbone, or the module does not keep the contract.
    FileNotFoundError
        If there is no file `weights`.
    """
    check_file(weights)
    if isinstance(backbone, str):
        return _channels_last(_by_name(backbone, shape, stem, weights))
    if weights == "DEFAULT":
        raise ValueError("weights='DEFAULT' needs the name of a backbone; a module has its own")
    module = _made(backbone, shape)
    check_backbone(module, shape)
    if weights is not None:
        load_state(module, read_state(weights), weights)
    return module


def _channels_last(net: nn.Module) -> nn.Module:
    """Have a network compute in the memory format in which convolutions are fastest.

    One with a strided 1 x 1 convolution of an image, as RepVGG has, stays as it is: on a CPU its
    gradient writes past its memory in that format (seen in PyTorch 2.10 and 2.14).
    """
    if any(map(_is_fatal, net.modules())):
        return net
    return net.to(memory_format=torch.channels_last)


def _is_fatal(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d):
        return False
    return module.kernel_size == (1, 1) and max(module.stride) > 1 and module.in_channels < 8


def _made(backbone: Any, shape: Shape) -> Any:
    """A backbone of this training alone: a function, too, may hand out the same one again."""
    if not isinstance(backbone, nn.Module):
        try:
            backbone = backbone(shape)
        except Exception as error:
            raise ValueError(f"backbone={backbone!r} fails for shape {shape}: {error}") from error
    kind = type(backbone).__name__
    if isinstance(backbone, torch.jit.ScriptModule):
        raise ValueError(f"backbone {kind} is TorchScript: pass the module that it was made of")
    try:
        return copy.deepcopy(backbone)
    except Exception as error:
        raise ValueError(f"backbone {kind} cannot be copied: {first_line(error)}") from error


def _by_name(name: str, shape: Shape, stem: str, weights: Any) -> nn.Module:
    if name.startswith("timm:") and len(shape) == 3:
        return _fitting_timm(name, shape, weights)
    _check_name(name, shape)
    stem = resolve_stem(stem, shape, weights is not None)
    net = BACKBONES[name](shape, stem)
    if weights is not None:
        _load(net, name, weights)
        if name.startswith("resnet") and stem == "imagenet":
            standardise_as_trained(net, shape[0])
    return net


def _fitting_timm(name: str, shape: Shape, weights: Any) -> nn.Module:
    made = make_timm(name.removeprefix("timm:"), shape[0], weights)
    try:
        check_backbone(made, shape)
    except ValueError as error:
        only = fixed_size(made)
        if only is None or only == shape[1:]:
            raise
        raise ValueError(
            f"{str(error).rstrip('.')}. backbone={name!r} takes {only[0]} x {only[1]} pixels: pass "
            f"image_shape={(shape[0], *only)} for image files, or arrays of that size."
        ) from error.__cause__
    return made


def _load(net: nn.Module, name: str, weights: Any) -> None:
    if weights == "DEFAULT" and not name.startswith("resnet"):
        raise ValueError(
            f"backbone={name!r} has no weights of its own: pass weights=None or a path"
        )
    state = torchvision_state(name) if weights == "DEFAULT" else read_state(weights)
    load_state(net, state, weights)


def _check_name(name: str, shape: Shape) -> None:
    if name not in BACKBONES and not name.startswith("timm:"):
        known = ", ".join(repr(n) for n in ("auto", *BACKBONES, "timm:NAME"))
        raise ValueError(f"backbone={name!r} is unknown; known are {known}")
    if (name in _FOR_IMAGES or name.startswith("timm:")) and len(shape) == 1:
        raise ValueError(
            f"backbone={name!r} needs images, but X holds vectors of {shape[0]} features: "
            "pass image_shape=(channels, height, width) or backbone='mlp'"
        )


def check_backbone(module: Any, shape: Shape) -> None:
    """Have a backbone map two samples.

    Parameters
    ----------
    module : nn.Module
        The backbone.
    shape : (C, H, W) or (F,)
        Shape of one sample.

    Raises
    ------
    ValueError
        If it is no module with ``num_features`` that maps (2, *shape) to (2, num_features), or
        in eval mode a sample to something else beside another.
    """
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
            # Where the module is, wherever that is.
            ramp = torch.linspace(0, 1, 2 * math.prod(shape)).reshape(2, *shape)
            samples = ramp.to(parameter.device, parameter.dtype)
            out = module.eval()(samples)
            again = module(samples[[0, 0]])
    except Exception as error:
        raise ValueError(f"backbone fails on samples of shape {shape}: {error}") from error
    module.train(training)
    made = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    if made != (2, width):
        raise ValueError(
            f"backbone maps 2 samples to {made}, expected shape (2, {width}) as num_features says"
        )
    one, other = out[0].double().nan_to_num(), again[0].double().nan_to_num()
    if bool((one - other).abs().max() > _VARIES * one.abs().max()):
        raise ValueError(
            "backbone gives a sample other features in eval mode when it is asked again, beside "
            "another sample: have it draw nothing and take no statistics of batches then, by "
            "self.training"
        )
