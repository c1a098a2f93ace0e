"""From the samples as they are stored to the augmented, standardised views a network sees."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from skdeepclust.augment import functional as F
from skdeepclust.augment.transforms import RandomResizedCrop

__all__ = ["Views"]


class Views(nn.Module):
    """Scale a batch, augment it once per view, and standardise each view.

    A view is ``(augment((x - low) / (high - low)) - mean) / std``: augmentations see images in
    [0, 1] (`for_images`) or vectors that are standardised already (`for_vectors`).

    Parameters
    ----------
    augmentations : iterable of nn.Module
        One per view, as from :func:`skdeepclust.augment.make_augmentations`.
    low, high : array-like broadcastable to a sample
        What the scaling maps to 0 and 1; where they are equal it only subtracts ``low``.
    mean, std : array-like broadcastable to a sample
        Statistics of the scaled data; where ``std`` is 0 only the mean is subtracted.
    dtype : torch.dtype, default=None
        What views are computed in; None is PyTorch's default.

    Attributes
    ----------
    size : (int, int) or None
        Height and width of views of squeezed images.
    reduced : (int, int) or None
        Height and width of views that are to be smaller than the images.
    """

    low: Tensor
    span: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        augmentations: Iterable[nn.Module],
        low: Any,
        high: Any,
        mean: Any,
        std: Any,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.size: tuple[int, int] | None = None
        self.reduced: tuple[int, int] | None = None
        self.augmentations = nn.ModuleList(augmentations)
        low, dtype = _as_float64(low), dtype or torch.get_default_dtype()
        self.register_buffer("low", low.to(dtype))
        self.register_buffer("span", _nonzero(_as_float64(high) - low).to(dtype))
        self.register_buffer("mean", _as_float64(mean).to(dtype))
        self.register_buffer("std", _nonzero(_as_float64(std)).to(dtype))

    @classmethod
    def for_images(
        cls,
        augmentations: Iterable[nn.Module],
        low: float,
        high: float,
        mean: Sequence[float] | np.ndarray | Tensor,
        std: Sequence[float] | np.ndarray | Tensor,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Prepare for images (B, C, H, W) in [low, high] (uint8: 0 and 255).

        ``mean`` and ``std``, of shape (C,), are those of the images scaled to [0, 1]; ``size``
        is the (height, width) of views of squeezed images.
        """
        mean, std = (_as_float64(values).view(-1, 1, 1) for values in (mean, std))
        views = cls(augmentations, low, high, mean, std, dtype)
        views.size = size
        return views

    @classmethod
    def for_vectors(
        cls,
        augmentations: Iterable[nn.Module],
        mean: Any,
        std: Any,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Prepare for vectors (B, n_features), which are standardised first and augmented after."""
        mean = _as_float64(mean)
        return cls(augmentations, mean, mean + _nonzero(_as_float64(std)), 0, 1, dtype)

    def forward(self, x: Tensor, stretch: Tensor | None = None) -> list[Tensor]:
        """Make one view per augmentation, in the floating dtype of the buffers.

        With ``stretch`` (B,), ``x`` holds whole images squeezed into one shape: an augmentation
        that begins with a crop takes it from them, any other gets their central part.
        """
        scaled = self._scale(x)
        return [self._standardise(self._view(a, scaled, stretch)) for a in self.augmentations]

    def _view(self, augment: nn.Module, x: Tensor, stretch: Tensor | None) -> Tensor:
        size = x.shape[-2:] if stretch is None else self.size or ()
        crop = _first_crop(augment)
        if crop:
            size = self.reduced or size
            with crop.cropping_from(stretch, self.reduced):
                view = augment(x)
        else:
            view = augment(x if stretch is None else self._central(x, stretch))
        _check_view(view, (*x.shape[:-2], *size))
        return self._reduce(view) if self.reduced and not crop else view

    def _reduce(self, view: Tensor) -> Tensor:
        return nn.functional.interpolate(view, self.reduced, mode="bilinear", antialias=True)

    def _central(self, x: Tensor, stretch: Tensor) -> Tensor:
        assert self.size is not None  # whoever squeezes images says into what they become
        ratio = self.size[1] / self.size[0]
        return F.crop_resize(x, F.central_boxes(x, stretch, (ratio, ratio)), self.size)

    def plain(self, x: Tensor) -> Tensor:
        """Scale and standardise without augmentation: what prediction sees."""
        return self._standardise(self._scale(x))

    def _scale(self, x: Tensor) -> Tensor:
        return (x.to(self.low.dtype) - self.low).div_(self.span)

    def _standardise(self, x: Tensor) -> Tensor:
        return (x.to(self.mean.dtype) - self.mean).div_(self.std)


def _as_float64(values: Any) -> Tensor:
    return torch.as_tensor(values).detach().to("cpu", torch.float64)


def _nonzero(values: Tensor) -> Tensor:
    return torch.where(values == 0, 1.0, values)


def _first_crop(augment: nn.Module) -> RandomResizedCrop | None:
    """The crop that an augmentation begins with, if it does."""
    while isinstance(augment, nn.Sequential) and len(augment):
        augment = augment[0]
    return augment if isinstance(augment, RandomResizedCrop) else None


def _check_view(view: object, shape: tuple[int, ...]) -> None:
    """Refuse what a user's augmentation may not change; looks at shapes only."""
    if not isinstance(view, Tensor) or view.shape != shape or not view.is_floating_point():
        made = f"{view.dtype} {tuple(view.shape)}" if isinstance(view, Tensor) else type(view)
        raise ValueError(
            f"augment must return a floating batch of the shape it was given, {tuple(shape)}; "
            f"it returned {made}."
        )
