"""Modules that draw one set of parameters per sample and call a kernel.

Names and arguments are torchvision's. Unlike its transforms, which draw once for a whole batch,
two images of a batch never share a draw. Random numbers come from torch's global generator of
the batch's device: seed or fork that one to reproduce a batch. In half precision parameters are
drawn in single precision.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from skdeepclust.augment import functional as F
from skdeepclust.ops.collective import draw

__all__ = [
    "ColorJitter",
    "FeatureMasking",
    "GaussianBlur",
    "GaussianNoise",
    "RandomAffine",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomSolarize",
    "VectorNoise",
]

Range = tuple[float, float]


class _Drawn(nn.Module):
    """A transform without weights, shown by its constructor's arguments."""

    def extra_repr(self) -> str:
        """Name the settings."""
        shown = {k: v for k, v in vars(self).items() if k != "training" and k[0] != "_"}
        return ", ".join(f"{name}={value}" for name, value in shown.items())


class RandomResizedCrop(_Drawn):
    """Crop a random box of each image and resize it.

    Boxes are drawn as torchvision draws them: the first of ten candidates that fits into the
    image, else the largest central box of the nearest allowed ratio.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the output.
    scale : (float, float), default=(0.08, 1.0)
        Range of the box's share of the image's area.
    ratio : (float, float), default=(3/4, 4/3)
        Range of the box's width over height.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomResizedCrop
    >>> x = torch.rand(2, 3, 32, 32)
    >>> RandomResizedCrop(20)(x).shape
    torch.Size([2, 3, 20, 20])
    """

    n_candidates = 10

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: Range = (0.08, 1.0),
        ratio: Range = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise ValueError(f"size must be at least 1, got {size!r}.")
        self.size = (height, width)
        self._source: tuple[Tensor | None, tuple[int, int]] | None = None
        self.scale = _check_range("scale", scale, above=0.0, high=1.0)
        self.ratio = _check_range("ratio", ratio, above=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Crop each image of ``x``, shape (B, C, H, W), and resize it."""
        stretch, size = self._source or (None, self.size)
        return F.crop_resize(x, self.draw_boxes(x, stretch), size)

    @contextlib.contextmanager
    def cropping_from(self, stretch: Tensor | None, size: tuple[int, int] | None) -> Iterator[None]:
        """Inside, crop from squeezed images, and resize to ``size`` if it is given.

        ``stretch`` (B,) says how much wider they were in proportion: boxes have their ratio in
        the image as it was.
        """
        self._source = stretch, size or self.size
        try:
            yield
        finally:
            self._source = None

    def draw_boxes(self, x: Tensor, stretch: Tensor | None = None) -> Tensor:
        """Draw a box (top, left, height, width), shape (B, 4), for each image of ``x``."""
        height, width = x.shape[2:]
        n = self.n_candidates
        area = _uniform(x, *self.scale, n) * (height * width)
        aspect = _uniform(x, math.log(self.ratio[0]), math.log(self.ratio[1]), n).exp()
        if stretch is not None:
            aspect = aspect / stretch[:, None]
        w = (area * aspect).sqrt_().round_()
        h = (area / aspect).sqrt_().round_()
        inside = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        fits, first = inside.any(1), inside.to(torch.uint8).argmax(1, keepdim=True)
        h, w = h.gather(1, first).squeeze(1), w.gather(1, first).squeeze(1)
        top = (_uniform(x, 0, 1) * (height - h + 1)).floor_()
        left = (_uniform(x, 0, 1) * (width - w + 1)).floor_()
        central = F.central_boxes(x, stretch, ratio=self.ratio)
        return torch.where(fits[:, None], torch.stack([top, left, h, w], dim=1), central)


class RandomHorizontalFlip(_Drawn):
    """Mirror each image with probability ``p``.

    Parameters
    ----------
    p : float, default=0.5
        Share of the images that are mirrored.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomHorizontalFlip
    >>> x = torch.rand(2, 3, 32, 32)
    >>> RandomHorizontalFlip()(x).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = _check_probability(p)

    def forward(self, x: Tensor) -> Tensor:
        """Mirror some images of ``x``, shape (B, C, H, W)."""
        return F.horizontal_flip(x, _happens(x, self.p))


class ColorJitter(_Drawn):
    """Change brightness, contrast, saturation and hue of each image by random amounts.

    The order is always brightness, contrast, saturation, hue; torchvision shuffles it at every
    call, which for one order per sample would cost every operation four times over. Hue turns in
    YIQ, see :func:`skdeepclust.augment.functional.hue`. Images that have not three channels only
    change in brightness and contrast.

    Parameters
    ----------
    brightness, contrast, saturation : float or (float, float), default=0
        Range of the factor; a number ``v`` means ``(max(0, 1 - v), 1 + v)``.
    hue : float or (float, float), default=0
        Range of the shift in turns, within [-0.5, 0.5]; a number ``v`` means ``(-v, v)``.
    p : float, default=1.0
        Probability of changing an image at all.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import ColorJitter
    >>> x = torch.rand(2, 3, 32, 32)
    >>> ColorJitter(0.4, 0.4, 0.4, 0.1)(x).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        brightness: float | Range = 0.0,
        contrast: float | Range = 0.0,
        saturation: float | Range = 0.0,
        hue: float | Range = 0.0,
        p: float = 1.0,
    ) -> None:
        super().__init__()
        self.brightness = _factor_range("brightness", brightness)
        self.contrast = _factor_range("contrast", contrast)
        self.saturation = _factor_range("saturation", saturation)
        self.hue = _symmetric_range("hue", hue, limit=0.5)
        self.p = _check_probability(p)

    def forward(self, x: Tensor) -> Tensor:
        """Change the colours of each image of ``x``, shape (B, C, H, W)."""
        changed = _happens(x, self.p)
        for kernel, bounds, identity in (
            (F.brightness, self.brightness, 1.0),
            (F.contrast, self.contrast, 1.0),
            (F.saturation, self.saturation, 1.0),
            (F.hue, self.hue, 0.0),
        ):
            if bounds != (identity, identity):
                x = kernel(x, torch.where(changed, _uniform(x, *bounds), identity))
        return x


class RandomGrayscale(_Drawn):
    """Remove the colour of each RGB image with probability ``p``.

    Parameters
    ----------
    p : float, default=0.1
        Share of the images that lose it.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomGrayscale
    >>> x = torch.rand(2, 3, 32, 32)
    >>> RandomGrayscale(p=0.2)(x).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = _check_probability(p)

    def forward(self, x: Tensor) -> Tensor:
        """Remove the colour of some images of ``x``, shape (B, C, H, W)."""
        return F.grayscale(x, _happens(x, self.p))


class GaussianBlur(_Drawn):
    """Blur each image by a Gaussian of random width with probability ``p``.

    Parameters
    ----------
    kernel_size : int
        Odd number of taps; clipped on images smaller than the kernel.
    sigma : (float, float), default=(0.1, 2.0)
        Range of the standard deviation in pixels.
    p : float, default=1.0
        Share of the images that are blurred.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import GaussianBlur
    >>> x = torch.rand(2, 3, 32, 32)
    >>> GaussianBlur(kernel_size=3)(x).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, kernel_size: int, sigma: Range = (0.1, 2.0), p: float = 1.0) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and positive, got {kernel_size!r}.")
        self.kernel_size = kernel_size
        self.sigma = _check_range("sigma", sigma, above=0.0)
        self.p = _check_probability(p)

    def forward(self, x: Tensor) -> Tensor:
        """Blur some images of ``x``, shape (B, C, H, W)."""
        sigma = torch.where(_happens(x, self.p), _uniform(x, *self.sigma), 0.0)
        return F.gaussian_blur(x, self.kernel_size, sigma)


class RandomSolarize(_Drawn):
    """Invert the values from ``threshold`` on of each image with probability ``p``.

    Parameters
    ----------
    threshold : float
        Value from which on they are inverted.
    p : float, default=0.5
        Share of the images that are inverted.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomSolarize
    >>> x = torch.rand(2, 3, 32, 32)
    >>> RandomSolarize(threshold=0.5)(x).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        self.p = _check_probability(p)

    def forward(self, x: Tensor) -> Tensor:
        """Invert the bright values of some images of ``x``, shape (B, C, H, W)."""
        threshold = x.new_full((len(x),), self.threshold)
        return F.solarize(x, threshold.masked_fill(~_happens(x, self.p), math.inf))


class RandomAffine(_Drawn):
    """Rotate, move, scale and shear each image about its centre by random amounts.

    Translations are not rounded to whole pixels as in torchvision: on small images they would
    be few.

    Parameters
    ----------
    degrees : float or (float, float)
        Range of the rotation; a number ``v`` means ``(-v, v)``.
    translate : (float, float), default=(0.0, 0.0)
        Largest shift along x and y, as a share of width and height.
    scale : (float, float), default=(1.0, 1.0)
        Range of the factor on the size.
    shear : float, (float, float) or (float, float, float, float), default=0.0
        Range of the shear in degrees: along x for a number ``v``, which means ``(-v, v)``, and
        for two numbers; along x and y for four.
    fill : float, optional
        Value of what comes from outside the image. By default each image's own background: the
        median of its border pixels per channel.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomAffine
    >>> x = torch.rand(2, 3, 32, 32)
    >>> RandomAffine(degrees=10)(x).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        degrees: float | Range,
        translate: Range = (0.0, 0.0),
        scale: Range = (1.0, 1.0),
        shear: float | Sequence[float] = 0.0,
        fill: float | None = None,
    ) -> None:
        super().__init__()
        self.degrees = _symmetric_range("degrees", degrees)
        if len(translate) != 2 or not all(0 <= share <= 1 for share in translate):
            raise ValueError(f"translate must be two shares in [0, 1], got {translate!r}.")
        self.translate = (translate[0], translate[1])
        self.scale = _check_range("scale", scale, above=0.0)
        self.shear = _shear_ranges(shear)
        self.fill = fill

    def forward(self, x: Tensor) -> Tensor:
        """Map each image of ``x``, shape (B, C, H, W)."""
        height, width = x.shape[2:]
        dx, dy = self.translate[0] * width, self.translate[1] * height
        return F.affine(
            x,
            angle=_uniform(x, *self.degrees),
            translate=torch.stack([_uniform(x, -dx, dx), _uniform(x, -dy, dy)], dim=1),
            scale=_uniform(x, *self.scale),
            shear=torch.stack([_uniform(x, *self.shear[:2]), _uniform(x, *self.shear[2:])], dim=1),
            fill=F.background(x) if self.fill is None else self.fill,
        )


class GaussianNoise(_Drawn):
    """Add Gaussian noise of standard deviation ``std``.

    Parameters
    ----------
    std : float, default=0.1
        Standard deviation of the noise.
    clip : bool, default=True
        Clamp to [0, 1]: for images, not for standardised vectors.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import GaussianNoise
    >>> x = torch.rand(2, 3, 32, 32)
    >>> GaussianNoise(std=0.05)(x).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, std: float = 0.1, clip: bool = True) -> None:
        super().__init__()
        if std < 0:
            raise ValueError(f"std must not be negative, got {std!r}.")
        self.std = std
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        """Add noise to ``x``, of any shape."""
        noise = draw(torch.randn_like, x).mul_(self.std)
        return F.add_noise(x, noise) if self.clip else x + noise


class VectorNoise(GaussianNoise):
    """Gaussian noise for standardised vectors: not clamped.

    Parameters
    ----------
    std : float, default=0.1
        Standard deviation of the noise.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import VectorNoise
    >>> x = torch.rand(2, 7)
    >>> VectorNoise(std=0.1)(x).shape
    torch.Size([2, 7])
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__(std, clip=False)


class FeatureMasking(_Drawn):
    """Replace each feature by 0, the mean of standardised data, with probability ``p``.

    Parameters
    ----------
    p : float, default=0.2
        Share of the features that are replaced.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import FeatureMasking
    >>> x = torch.rand(2, 7)
    >>> FeatureMasking(p=0.3)(x).shape
    torch.Size([2, 7])
    """

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        self.p = _check_probability(p)

    def forward(self, x: Tensor) -> Tensor:
        """Mask features of ``x``, of any shape."""
        return x.masked_fill(draw(torch.rand_like, x) < self.p, 0.0)


def _uniform(x: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """Draw numbers of shape (B, *shape) from [low, high) for the batch ``x``."""
    dtype = torch.promote_types(x.dtype, torch.float32)

    def sample(rows: Tensor) -> Tensor:
        return torch.empty(len(rows), *shape, device=x.device, dtype=dtype).uniform_(low, high)

    return draw(sample, x)


def _happens(x: Tensor, p: float) -> Tensor:
    """Draw for each sample whether an event of probability ``p`` happens: bool (B,)."""
    return draw(lambda rows: torch.rand(len(rows), device=x.device), x) < p


def _check_probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"p must be in [0, 1], got {p!r}.")
    return p


def _check_range(
    name: str, bounds: Sequence[float], above: float = -math.inf, high: float = math.inf
) -> Range:
    if len(bounds) != 2 or not above < bounds[0] <= bounds[1] <= high:
        limits = f"above {above:g}" + (f" and at most {high:g}" if high < math.inf else "")
        raise ValueError(f"{name} must be an increasing pair {limits}, got {bounds!r}.")
    return float(bounds[0]), float(bounds[1])


def _factor_range(name: str, value: float | Range) -> Range:
    pair = (max(0.0, 1 - value), 1 + value) if isinstance(value, int | float) else value
    if len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
        raise ValueError(f"{name} must be at least 0 or an increasing pair, got {value!r}.")
    return float(pair[0]), float(pair[1])


def _symmetric_range(name: str, value: float | Range, limit: float = math.inf) -> Range:
    pair = (0.0 - value, value) if isinstance(value, int | float) else value
    if len(pair) != 2 or not -limit <= pair[0] <= pair[1] <= limit:
        within = f" within [-{limit}, {limit}]" if limit < math.inf else ""
        raise ValueError(f"{name} must be at least 0 or an increasing pair{within}, got {value!r}.")
    return float(pair[0]), float(pair[1])


def _shear_ranges(shear: float | Sequence[float]) -> tuple[float, float, float, float]:
    bounds = (0.0 - shear, shear) if isinstance(shear, int | float) else tuple(shear)
    if len(bounds) not in (2, 4):
        raise ValueError(f"shear must be a number, or two or four of them, got {shear!r}.")
    x_low, x_high, y_low, y_high = (*bounds, 0.0, 0.0)[:4]
    along_x = _symmetric_range("shear", (x_low, x_high), limit=90)
    return (*along_x, *_symmetric_range("shear", (y_low, y_high), limit=90))
