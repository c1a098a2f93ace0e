"""Named augmentations: the papers' exact settings and our defaults for each kind of data."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from skdeepclust.augment import transforms as T

__all__ = ["OF_VECTORS", "PRESETS", "drawn_once", "make_augmentations"]

Shape = tuple[int, ...]
Preset = Callable[[Shape], nn.Module | tuple[nn.Module, ...]]

OF_VECTORS = ("vectors", "features")  # the presets for rows; all others are for images
BLUR_TAPS = 23  # BYOL's at 224 px; with sigma <= 2 it cuts nothing off at any size
SOLARIZE_FROM = 128 / 255  # Pillow's default threshold


def color(shape: Shape) -> nn.Module:
    """Our default for images of several channels: what `simclr` does.

    Colour operations are identities where there are not three channels.
    """
    return simclr(shape)


def grayscale(shape: Shape) -> nn.Module:
    """Our default for images of one channel: small affine maps, no flip (digits have a side).

    Areas from outside the image take its own background value. In the trials on MNIST that
    this preset stems from, brightness and noise were needed to avoid collapse.
    """
    return nn.Sequential(
        T.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10),
        T.ColorJitter(brightness=0.3, contrast=0.3),
        T.GaussianNoise(std=0.05),
    )


def vectors(shape: Shape) -> nn.Module:
    """Our default for standardised vectors: noise, and features replaced by their mean."""
    return nn.Sequential(T.VectorNoise(std=0.1), T.FeatureMasking(p=0.2))


def features(shape: Shape) -> nn.Module:
    """For features of a pretrained network, standardised: four of five replaced by their mean.

    Wide features say a thing many times over; when more is left, heads learn single images.
    """
    return nn.Sequential(T.VectorNoise(std=0.1), T.FeatureMasking(p=0.8))


def idfd(shape: Shape) -> nn.Module:
    """IDFD on CIFAR-10: jitter on every image, without hue; neither flip nor blur.

    Source: training transform of the official code, TTN-YKK/Clustering_friendly_representation_
    learning @9ea5ce7 (Tao et al., ICLR 2021). It clusters the memory bank: no test transform.
    """
    return nn.Sequential(
        _crop(shape, 0.2),
        T.ColorJitter(0.4, 0.4, 0.4),
        T.RandomGrayscale(p=0.2),
    )


def propos(shape: Shape) -> nn.Module:
    """ProPos on CIFAR and at 96 px: both views alike, crops from 8 % of the area on, no blur.

    Source: the official code, Hzzone/ProPos @cc35d8c (Huang et al., TPAMI 2022).
    """
    return nn.Sequential(*_simclr(shape, 0.08))


def propos_blur(shape: Shape) -> nn.Module:
    """ProPos on ImageNet-Dogs at 224 px: `propos` with half of the images blurred.

    Source: as `propos`, its ``use_gaussian_blur``.
    """
    return nn.Sequential(*_simclr(shape, 0.08), _blur(p=0.5))


def byol(shape: Shape) -> tuple[nn.Module, nn.Module]:
    """BYOL's two unlike views, which ProPos takes on ImageNet-1k.

    The first is always blurred, the second seldom blurred and sometimes solarized.
    Source: the official code of ProPos, as `propos` (Grill et al., NeurIPS 2020, Table 6).
    """
    crop = _crop(shape, 0.08), T.RandomHorizontalFlip(p=0.5)
    color = T.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8), T.RandomGrayscale(p=0.2)
    first = nn.Sequential(*crop, *color, _blur(p=1.0))
    second = nn.Sequential(*crop, *color, _blur(p=0.1), T.RandomSolarize(SOLARIZE_FROM, p=0.2))
    return first, second


def secu(shape: Shape) -> tuple[nn.Module, nn.Module]:
    """SeCu on CIFAR-10: BYOL's unlike views with crops from 30 % of the area on, flipped last.

    The blur is applied at 32 px too.
    Source: the official code, idstcv/SeCu @af6a992 (Qian, ICCV 2023).
    """
    return _secu(shape, 0.3)


def secu_20(shape: Shape) -> tuple[nn.Module, nn.Module]:
    """SeCu on CIFAR-100 and STL-10: `secu` with crops from 20 % of the area on.

    Source: as `secu`, its scripts.
    """
    return _secu(shape, 0.2)


def secu_8(shape: Shape) -> tuple[nn.Module, nn.Module]:
    """SeCu on ImageNet: `secu` with crops from 8 % of the area on.

    Source: as `secu`, its training on ImageNet.
    """
    return _secu(shape, 0.08)


def simclr(shape: Shape) -> nn.Module:
    """SimCLR's views with crops from 20 % of the area on, blurred above 64 px only.

    Source: T. Chen et al., ICML 2020; the crops and the size limit of the blur are ours.
    """
    blur = [_blur(p=0.5)] if max(shape[1:]) > 64 else []
    return nn.Sequential(*_simclr(shape, 0.2), *blur)


PRESETS: dict[str, Preset] = {
    "color": color,
    "grayscale": grayscale,
    "vectors": vectors,
    "features": features,
    "idfd": idfd,
    "propos": propos,
    "propos-blur": propos_blur,
    "byol": byol,
    "secu": secu,
    "secu-20": secu_20,
    "secu-8": secu_8,
    "simclr": simclr,
}


def make_augmentations(augment: Any, shape: Shape, n_views: int) -> list[nn.Module]:
    """Turn an estimator's parameter ``augment`` into one module per view.

    Parameters
    ----------
    augment : "auto", str, None, callable, or tuple or list of callables
        ``"auto"`` takes ``"vectors"``, ``"grayscale"`` (one channel) or ``"color"`` by the
        shape; another string is a key of `PRESETS`; ``None`` leaves the views as they are. A
        callable maps a batch to a new batch of the same shape, without writing into the one it
        gets, and makes every view; of several, each makes one. Modules are used as given,
        without a copy.
    shape : tuple of int
        ``(C, H, W)`` of an image or ``(n_features,)`` of a vector.
    n_views : int
        How many views the method wants.

    Returns
    -------
    list of nn.Module
        Of length ``n_views``.

    Raises
    ------
    ValueError
        If ``augment`` is none of the above, a preset for the other kind of data, or does not
        hold ``n_views`` views.
    """
    if isinstance(augment, str):
        augment = _preset(augment, shape)
    if not isinstance(augment, tuple | list):
        return [_as_module(augment)] * n_views
    if len(augment) != n_views:
        raise ValueError(
            f"augment holds {len(augment)} views, but {n_views} are needed: pass an augmentation "
            "for each, or one for all"
        )
    return [_as_module(view) for view in augment]


def _preset(name: str, shape: Shape) -> nn.Module | tuple[nn.Module, ...]:
    of_vectors = len(shape) == 1
    if name == "auto":
        name = "vectors" if of_vectors else "grayscale" if shape[0] == 1 else "color"
    if name not in PRESETS:
        raise ValueError(f"augment={name!r} is unknown; choose from {['auto', *PRESETS]}.")
    if (name in OF_VECTORS) != of_vectors:
        data = "vectors" if of_vectors else "images"
        raise ValueError(f"augment={name!r} does not apply to {data} (samples of shape {shape}).")
    return PRESETS[name](shape)


def _as_module(augment: object) -> nn.Module:
    if augment is None:
        return nn.Identity()
    if isinstance(augment, nn.Module):
        return augment
    if callable(augment) and not isinstance(augment, type):
        return _Call(augment)
    raise ValueError(
        "augment must be 'auto', a preset's name, None, a callable on a batch, or one callable "
        f"per view; got {augment!r}{', a class' if isinstance(augment, type) else ''}."
    )


class _Call(nn.Module):
    """A user's function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        try:
            return self.function(x)
        except Exception as error:
            error.add_note(f"It was raised by augment={self.function!r}.")
            raise

    def extra_repr(self) -> str:
        return repr(self.function)


def drawn_once(augmentations: Iterable[nn.Module]) -> str | None:
    """Name of a random transform of torchvision, which draws once for a whole batch, if any.

    Parameters
    ----------
    augmentations : iterable of nn.Module
        Of `make_augmentations`.

    Returns
    -------
    str or None
        The first that is found.
    """
    for part in (part for view in augmentations for part in view.modules()):
        given = part.function if isinstance(part, _Call) else part
        for step in (given, *getattr(given, "transforms", ())):  # torchvision's Compose is a list
            kind = type(step)
            is_foreign = kind.__module__.startswith("torchvision.transforms")
            if is_foreign and re.search("Rand|Jitter|Blur|Aug|Elastic|JPEG", kind.__name__):
                return kind.__name__
    return None


def _simclr(shape: Shape, smallest: float) -> Sequence[nn.Module]:
    return (
        _crop(shape, smallest),
        T.RandomHorizontalFlip(p=0.5),
        T.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        T.RandomGrayscale(p=0.2),
    )


def _secu(shape: Shape, smallest: float) -> tuple[nn.Module, nn.Module]:
    color = T.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8), T.RandomGrayscale(p=0.2)
    start, flip = (_crop(shape, smallest), *color), T.RandomHorizontalFlip(p=0.5)
    first = nn.Sequential(*start, _blur(p=1.0), flip)
    second = nn.Sequential(*start, _blur(p=0.1), T.RandomSolarize(SOLARIZE_FROM, p=0.2), flip)
    return first, second


def _crop(shape: Shape, smallest: float) -> nn.Module:
    return T.RandomResizedCrop((shape[1], shape[2]), scale=(smallest, 1.0), ratio=(3 / 4, 4 / 3))


def _blur(p: float) -> nn.Module:
    return T.GaussianBlur(BLUR_TAPS, sigma=(0.1, 2.0), p=p)
