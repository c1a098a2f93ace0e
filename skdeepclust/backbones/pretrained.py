"""Weights that were learned elsewhere: from a file, from torchvision, from timm."""

import os
from typing import Any

import torch
from torch import Tensor, nn

from skdeepclust._errors import first_line
from skdeepclust._paths import expanded

__all__ = [
    "check_file",
    "fixed_size",
    "load_state",
    "make_timm",
    "read_state",
    "standardise_as_trained",
    "torchvision_state",
]

# Of ImageNet's training images, per channel: what published weights expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.")


def read_state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a state dict without running anything that a file may hold.

    Parameters
    ----------
    path : path-like
        A safetensors file, or one of ``torch.save`` that holds nothing but tensors, perhaps
        under the key ``"state_dict"``.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.
    """
    check_file(path)
    path = expanded(path)
    try:
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
    except Exception as error:  # anything may be in a file
        reason = f"{type(error).__name__}: {error}".splitlines()[0]  # a KeyError's is but a key
        raise ValueError(f"weights={os.fspath(path)!r} is no state dict: {reason}") from error
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"weights={os.fspath(path)!r} holds more than tensors: save net.state_dict()"
        )
    return state


def check_file(weights: Any) -> None:
    """Refuse weights of a file that is not there, before anything is built.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    by_name = weights is None or weights == "DEFAULT"
    if not by_name and not os.path.isfile(expanded(weights)):  # pathlib's raises for some names
        raise FileNotFoundError(f"weights={os.fspath(weights)!r}: there is no such file")


def torchvision_state(name: str) -> dict[str, Tensor]:
    """Download the best weights that torchvision has for a network, once.

    Raises
    ------
    ValueError
        If they cannot be had.
    """
    from torchvision import models

    try:
        return models.get_model_weights(name).DEFAULT.get_state_dict(progress=False)
    except Exception as error:  # the network fails in many ways
        raise ValueError(
            f"weights='DEFAULT' of backbone={name!r} could not be downloaded: {error}. Pass the "
            "path of a file with weights instead."
        ) from error


def load_state(net: nn.Module, state: dict[str, Tensor], source: Any) -> None:
    """Put a state dict into a network that has no classifier.

    Parameters
    ----------
    net : nn.Module
        Its weights are replaced, in place.
    state : dict of str to Tensor
        May have a classifier, which is left out, and the prefix ``module.``. For a net of
        one channel the filters of three are summed: it sees what a grey image would be in colour.
    source : object
        What error messages call the weights.

    Raises
    ------
    ValueError
        If names or shapes do not match; the message has the first that do not.
    """
    own = net.state_dict()
    named = {name.removeprefix("module."): value for name, value in state.items()}
    given = {
        name: value for name, value in named.items() if name in own or not _of_classifier(name)
    }
    given = {name: _fitted(value, own.get(name)) for name, value in given.items()}
    wrong = [n for n in given if n not in own or given[n].shape != own[n].shape]
    wrong += [n for n in own if n not in given and not n.endswith("num_batches_tracked")]
    if wrong:
        raise ValueError(
            f"weights={source!r} are not of this backbone: {len(wrong)} of {len(own)} names or "
            f"shapes differ, first {wrong[0]!r}. A ResNet of ImageNet needs stem='imagenet'."
        )
    net.load_state_dict(given, strict=False)


def _of_classifier(name: str) -> bool:
    return name.startswith(_CLASSIFIERS)


def _fitted(value: Tensor, own: Tensor | None) -> Tensor:
    if own is not None and value.ndim == 4 and (value.shape[1], own.shape[1]) == (3, 1):
        return value.sum(1, keepdim=True)
    return value


def standardise_as_trained(
    net: nn.Module,
    channels: int,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> None:
    """Have images standardised as the weights of a network expect, by attributes of it."""
    if channels == 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    if len(mean) == channels:
        net.image_mean, net.image_std = tuple(mean), tuple(std)  # type: ignore[assignment]


def make_timm(name: str, channels: int, weights: Any) -> nn.Module:
    """Build a network of timm without its classifier.

    Parameters
    ----------
    name : str
        timm's name.
    channels : int
        Channels of the images.
    weights : None, "DEFAULT" or path
        Random, timm's, or those of a file.

    Raises
    ------
    ValueError
        If timm is not installed, has no such network, or cannot get its weights.
    """
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"backbone='timm:{name}' needs timm: pip install 'skdeepclust[timm]'"
        ) from error
    try:
        made = timm.create_model(
            name, pretrained=weights == "DEFAULT", num_classes=0, in_chans=channels
        )
    except Exception as error:  # unknown, or not to be downloaded
        reason = first_line(error)
        raise ValueError(f"backbone='timm:{name}', weights={weights!r}: {reason}") from error
    made.num_features = getattr(made, "head_hidden_size", made.num_features)
    if weights not in (None, "DEFAULT"):
        load_state(made, read_state(weights), weights)
    if weights is not None:
        cfg: Any = made.pretrained_cfg
        standardise_as_trained(made, channels, cfg["mean"], cfg["std"])
    return made


def fixed_size(made: nn.Module) -> tuple[int, int] | None:
    """(height, width) of the only images that a network of timm takes; None if it is not bound."""
    cfg: Any = made.pretrained_cfg
    return tuple(cfg["input_size"][1:]) if cfg.get("fixed_input_size") else None
