"""A frozen backbone: heads are trained on its features, computed once where that can be."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from skdeepclust.augment.views import Views
from skdeepclust.engine.device import laid_out, memory_format
from skdeepclust.engine.images import Images
from skdeepclust.engine.inference import collecting_device, infer_all
from skdeepclust.engine.stream import fits
from skdeepclust.engine.warn import warn_user

__all__ = ["Features", "FrozenViews", "standardised"]

# Standard deviation over mean below which fewer than 16 values of float32 are left to tell apart.
_FAR = 1e-6


class Features(Images):
    """Training images as features of a frozen backbone.

    Parameters
    ----------
    source : Images
        The images; standardised as the backbone's ``image_mean`` and ``image_std`` say.
    backbone : nn.Module
        (B, C, H, W) -> (B, num_features); is frozen here.
    augmented : bool
        Training batches hold the images, to be augmented and seen by the backbone every time;
        otherwise they hold features.
    show : bool, default=False
        Whether to show a bar while the backbone sees the images.
    """

    def __init__(self, source: Images, backbone: nn.Module, augmented: bool, show: bool = False):
        source.expect(backbone)
        backbone.to(source.device, source.dtype)
        layout = memory_format(backbone)
        backbone.requires_grad_(False).eval()
        views = standardised(source, []).to(source.device, source.dtype)
        where = collecting_device(source.device)
        like = torch.empty(0, int(backbone.num_features), dtype=source.dtype, device=where)  # type: ignore[arg-type]
        title = "Features" if show else None
        seen = infer_all(source, lambda x: backbone(laid_out(views.plain(x), layout)), like, title)
        features = seen.cpu().numpy()
        storage = "device" if fits(features.nbytes, source.device) else "host"
        super().__init__(features, source.device, source.dtype, storage)
        self.source = source
        self.backbone = backbone
        self.augmented = augmented

    @property
    def view_shape(self) -> tuple[int, ...]:
        """Shape of what is augmented: of an image or of its features."""
        return self.source.shape if self.augmented else self.shape

    @property
    def digest(self) -> str:
        """SHA-256 of the images."""
        return self.source.digest

    def batches(self, indices: Iterable[Tensor]) -> Iterator[dict[str, Tensor]]:
        """Training batches at indices (B,), of images or features."""
        return self.source.batches(indices) if self.augmented else super().batches(indices)


class FrozenViews(nn.Module):
    """Views of images as features of a frozen backbone, with the interface of `Views`.

    Parameters
    ----------
    images : Views
        Of the images; augmented where the images are.
    backbone : nn.Module
        (B, C, H, W) -> (B, num_features).
    features : Views
        Of the features: standardised and, where the images are not, augmented.
    precision : torch.dtype or None
        What autocast computes views in for training; None for no autocast.
    """

    def __init__(
        self,
        images: Views,
        backbone: nn.Module,
        features: Views,
        precision: torch.dtype | None,
    ):
        super().__init__()
        self.images = images
        self.backbone = backbone
        self.features = features
        self.precision = precision
        self.memory_format = memory_format(backbone)

    @property
    def low(self) -> Tensor:
        """Of the images: what scaling maps to 0."""
        return self.images.low

    @property
    def span(self) -> Tensor:
        """Of the images: what scaling divides by."""
        return self.images.span

    @property
    def mean(self) -> Tensor:
        """Of the features; its dtype is what is computed in."""
        return self.features.mean

    def train(self, mode: bool = True) -> "FrozenViews":
        """Switch everything but the backbone, whose statistics are as frozen as its weights."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def forward(self, x: Tensor, stretch: Tensor | None = None) -> list[Tensor]:
        """Views of features (B, F) as they are, or of images through the backbone."""
        if x.ndim == 2:
            return self.features(x)
        with torch.autocast(x.device.type, self.precision, enabled=self.precision is not None):
            seen = [self._see(view) for view in self.images(x, stretch)]
        return [self.features.plain(view) for view in seen]

    @torch.no_grad()
    def plain(self, x: Tensor) -> Tensor:
        """Standardised features, without augmentation, of features or of images."""
        if x.ndim == 4:
            x = self._see(self.images.plain(x))
        return self.features.plain(x)

    def _see(self, x: Tensor) -> Tensor:
        return self.backbone(laid_out(x, self.memory_format))


def standardised(images: Images, augmentations: list[nn.Module]) -> Views:
    """Views of samples, standardised by their statistics and augmented.

    Parameters
    ----------
    images : Images
        Training samples.
    augmentations : list of nn.Module
        One per view.
    """
    seen = images.statistics
    if len(images.shape) == 1:
        if not isinstance(images, Features):
            _tell_of_rounding(images)
        return Views.for_vectors(augmentations, seen.mean, seen.std, images.dtype)
    _, height, width = images.shape
    bounds = seen.low, seen.high, seen.mean, seen.std
    return Views.for_images(augmentations, *bounds, size=(height, width), dtype=images.dtype)


def _tell_of_rounding(images: Images) -> None:
    """Warn of features that are so far from zero that single precision leaves little of them."""
    mean, std = np.abs(images.statistics.mean), images.statistics.std
    lost = np.flatnonzero((std > 0) & (std < _FAR * mean))
    if len(lost) and images.dtype == torch.float32:
        warn_user(
            f"X[:, {lost[0]}] varies by {std[lost[0]]:.2g} around {mean[lost[0]]:.2g}, which "
            "float32 rounds away: subtract its mean, as StandardScaler does, or pass "
            "precision='float64'",
            UserWarning,
        )
