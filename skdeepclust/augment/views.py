"""From the samples as they are stored to the augmented, standardised views a network sees."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

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
    """

    low: Tensor
    span: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, augmentations: Iterable[nn.Module], low: Any, high: Any, mean: Any, std: Any
    ) -> None:
        super().__init__()
        self.augmentations = nn.ModuleList(augmentations)
        low = _as_float64(low)
        self.register_buffer("low", _as_buffer(low))
        self.register_buffer("span", _as_buffer(_nonzero(_as_float64(high) - low)))
        self.register_buffer("mean", _as_buffer(_as_float64(mean)))
        self.register_buffer("std", _as_buffer(_nonzero(_as_float64(std))))

    @classmethod
    def for_images(
        cls,
        augmentations: Iterable[nn.Module],
        low: float,
        high: float,
        mean: Sequence[float] | np.ndarray | Tensor,
        std: Sequence[float] | np.ndarray | Tensor,
    ) -> Self:
        """Prepare for images (B, C, H, W) in [low, high] (uint8: 0 and 255).

        ``mean`` and ``std``, of shape (C,), are those of the images scaled to [0, 1].
        """
        shape = (-1, 1, 1)
        return cls(
            augmentations, low, high, _as_float64(mean).view(shape), _as_float64(std).view(shape)
        )

    @classmethod
    def for_vectors(cls, augmentations: Iterable[nn.Module], mean: Any, std: Any) -> Self:
        """Prepare for vectors (B, n_features), which are standardised first and augmented after."""
        mean = _as_float64(mean)
        return cls(augmentations, low=mean, high=mean + _nonzero(_as_float64(std)), mean=0, std=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Make one view per augmentation, in the floating dtype of the buffers."""
        scaled = self._scale(x)
        views = []
        for augment in self.augmentations:
            view = augment(scaled)
            _check_view(view, scaled)
            views.append(self._standardise(view))
        return views

    def plain(self, x: Tensor) -> Tensor:
        """Scale and standardise without augmentation: what prediction sees."""
        return self._standardise(self._scale(x))

    def _scale(self, x: Tensor) -> Tensor:
        return (x.to(self.low.dtype) - self.low).div_(self.span)

    def _standardise(self, x: Tensor) -> Tensor:
        return (x.to(self.mean.dtype) - self.mean).div_(self.std)


def _as_float64(values: Any) -> Tensor:
    return torch.as_tensor(values).detach().to("cpu", torch.float64)


def _as_buffer(values: Tensor) -> Tensor:
    return values.to(torch.get_default_dtype())


def _nonzero(values: Tensor) -> Tensor:
    return torch.where(values == 0, 1.0, values)


def _check_view(view: object, x: Tensor) -> None:
    """Refuse what a user's augmentation may not change; looks at shapes only."""
    if not isinstance(view, Tensor) or view.shape != x.shape or not view.is_floating_point():
        made = f"{view.dtype} {tuple(view.shape)}" if isinstance(view, Tensor) else type(view)
        raise ValueError(
            f"augment must return a floating batch of the shape it was given, {tuple(x.shape)}; "
            f"it returned {made}."
        )
