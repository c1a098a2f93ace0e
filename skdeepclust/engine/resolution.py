"""Smaller views in the first part of a training."""

from typing import Any

from skorch.callbacks import Callback
from torch import nn

from skdeepclust.backbones import check_backbone

__all__ = ["Resolution", "check_resolution"]

# Share of the epochs whose views are small.
_SHARE = 0.5


class Resolution(Callback):
    """Small views in the first half of the epochs, rounded down, of a method's first stage.

    Parameters
    ----------
    side : int
        Pixels of the longer side of the small views.
    """

    def __init__(self, side: int):
        self.side = side

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the size of the epoch's views."""
        run = net.run
        small = net.objective.stage == 1 and run.epoch < int(_SHARE * run.n_epochs)
        net.module_.views.reduced = _size(self.side, run.images.shape) if small else None


def check_resolution(side: int, shape: tuple[int, ...], backbone: nn.Module) -> None:
    """See that views can have that longer side.

    Raises
    ------
    ValueError
        If the samples of that shape are vectors or no larger, or the backbone takes one size only.
    """
    if len(shape) != 3:
        raise ValueError("start_resolution needs images, X holds vectors")
    if side >= max(shape[1:]):
        raise ValueError(
            f"start_resolution={side} must be less than the side of the images, {max(shape[1:])}"
        )
    try:
        check_backbone(backbone, (shape[0], *_size(side, shape)))
    except ValueError as error:
        raise ValueError(
            f"start_resolution={side} needs a backbone for images of any size: {error}"
        ) from error


def _size(side: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width with that longer side, in the proportions of (C, H, W)."""
    _, height, width = shape
    share = side / max(height, width)
    return max(1, round(height * share)), max(1, round(width * share))
