"""Deterministic image kernels with one parameter per sample: what the transforms draw for.

Every kernel takes a floating image batch ``x`` of shape ``(B, C, H, W)``, with values in [0, 1],
and per-sample parameters as tensors of length ``B`` on the device of ``x``. It returns a new
batch of the dtype of ``x`` and never waits for the device. Each parameter has an identity value
(factor 1, shift 0, ``False`` ...), so that an operation is switched off for a sample by its
parameter instead of by indexing.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "CHROMA",
    "LUMA",
    "add_noise",
    "affine",
    "background",
    "brightness",
    "central_boxes",
    "contrast",
    "crop_resize",
    "gaussian_blur",
    "grayscale",
    "horizontal_flip",
    "hue",
    "luma",
    "saturation",
    "solarize",
]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))  # I and Q of NTSC's YIQ


def crop_resize(x: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut one box out of each image and resize it bilinearly.

    Equal to torchvision's ``resized_crop`` with ``antialias=True``: where a box is larger than
    the output the kernel widens, as in Pillow; where it is smaller or equal (always so when
    ``size`` is the images' own) this is plain bilinear interpolation.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images.
    boxes : Tensor of shape (B, 4)
        Top, left, height and width in whole pixels, inside the image.
    size : tuple of int
        Height and width of the output.

    Returns
    -------
    Tensor of shape (B, C, *size)
    """
    top, left, height, width = boxes.unbind(1)
    rows = _interpolation(top, height, x.shape[2], size[0])
    columns = _interpolation(left, width, x.shape[3], size[1])
    return _resample(x, rows, columns)


def central_boxes(x: Tensor, stretch: Tensor | None, ratio: tuple[float, float]) -> Tensor:
    """The largest central box of each image whose width over height is in a range.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images.
    stretch : Tensor of shape (B,) or None
        How much wider each image was in proportion before it was squeezed into `x`.
    ratio : (float, float)
        The range, in images as they were.

    Returns
    -------
    Tensor of shape (B, 4)
        Top, left, height and width in whole pixels.
    """
    height, width = x.shape[2:]
    wide = torch.ones_like(x[:, 0, 0, 0]) if stretch is None else stretch.to(x)
    h = (width * wide / ratio[0]).round_().clamp_(1, height)
    w = (height / wide * ratio[1]).round_().clamp_(1, width)
    top, left = ((height - h) / 2).floor_(), ((width - w) / 2).floor_()
    return torch.stack([top, left, h, w], dim=1)


def horizontal_flip(x: Tensor, flip: Tensor) -> Tensor:
    """Mirror some images.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1].
    flip : Tensor of shape (B,), bool
        Which.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        New images.
    """
    return torch.where(flip.view(-1, 1, 1, 1), x.flip(-1), x)


def affine(
    x: Tensor,
    angle: Tensor,
    translate: Tensor,
    scale: Tensor,
    shear: Tensor,
    fill: Tensor | float = 0.0,
) -> Tensor:
    """Shear, scale, rotate and move each image about its centre, bilinearly.

    Parameters and signs are those of torchvision's ``affine``.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images.
    angle : Tensor of shape (B,)
        Clockwise rotation in degrees.
    translate : Tensor of shape (B, 2)
        Shift to the right and down in pixels.
    scale : Tensor of shape (B,)
        Factor on the size of what is seen.
    shear : Tensor of shape (B, 2)
        Shear along x and along y in degrees.
    fill : float or Tensor broadcastable to x
        Value of what comes from outside the image, see `background`.

    Returns
    -------
    Tensor of shape (B, C, H, W)
    """
    theta = _inverse_affine(angle, translate, scale, shear, x.shape[2], x.shape[3]).to(x.dtype)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    # Zero padding of the difference to the fill is padding with the fill.
    return functional.grid_sample(x - fill, grid, align_corners=False).add_(fill)


def background(x: Tensor) -> Tensor:
    """Find the median of each image's border pixels.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1].

    Returns
    -------
    Tensor of shape (B, C, 1, 1)
        Per channel.
    """
    sides = x[:, :, 1:-1, 0], x[:, :, 1:-1, -1]
    border = torch.cat([x[:, :, 0], x[:, :, -1], *sides], dim=2)
    # torch.median is not deterministic on CUDA; sorting is.
    middle = (border.shape[2] - 1) // 2
    return border.sort(dim=2).values[:, :, middle, None, None]


def luma(x: Tensor) -> Tensor:
    """Grey value of each pixel.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1].

    Returns
    -------
    Tensor of shape (B, 1, H, W)
        By the weights of ITU-R 601 for three channels, else their mean.
    """
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by a factor, and clamp.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1].
    factor : Tensor of shape (B,)
        1 is the identity.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        New images.
    """
    return (x * _per_sample(factor, x)).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its mean grey value, and clamp.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1].
    factor : Tensor of shape (B,)
        0 makes it flat, 1 is the identity.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        New images.
    """
    factor = _per_sample(factor, x)
    mean = luma(x.mean((2, 3), keepdim=True))
    return (x * factor).add_((1 - factor) * mean).clamp_(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its grey version, and clamp.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1]; unless C is 3 they are returned as they are.
    factor : Tensor of shape (B,)
        0 makes it grey, 1 is the identity.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        New images.
    """
    if x.shape[1] != 3:
        return x
    return torch.lerp(luma(x), x, _per_sample(factor, x)).clamp_(0, 1)


def hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the colours of each RGB image by ``shift`` turns and clamp.

    The rotation is taken in the chroma plane of YIQ, not in HSV as torchvision does it: one
    3x3 matrix per image instead of a conversion there and back. It keeps luma where HSV keeps
    the largest channel, and changes the hue that HSV measures by ``shift`` on average: give or
    take a quarter of it, depending on the colour.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1]; unless C is 3 they are returned as they are.
    shift : Tensor of shape (B,)
        Fraction of a full turn, in [-0.5, 0.5]; positive turns red towards green; 0 is the
        identity up to rounding.

    Returns
    -------
    Tensor of shape (B, C, H, W)
    """
    if x.shape[1] != 3:
        return x
    angle = shift * (2 * math.pi)
    terms = torch.stack([torch.ones_like(angle), angle.cos(), angle.sin()], dim=1)
    matrices = (terms @ _hue_basis(terms.device, terms.dtype)).view(-1, 3, 3)
    return torch.bmm(matrices.to(x.dtype), x.flatten(2)).clamp_(0, 1).view(x.shape)


def grayscale(x: Tensor, gray: Tensor) -> Tensor:
    """Replace some images by their grey version.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1]; unless C is 3 they are returned as they are.
    gray : Tensor of shape (B,), bool
        Which.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        New images.
    """
    # At the weights 0 and 1 lerp is exact, and faster than where.
    return torch.lerp(x, luma(x), _per_sample(gray, x)) if x.shape[1] == 3 else x


def gaussian_blur(x: Tensor, kernel_size: int, sigma: Tensor) -> Tensor:
    """Convolve each image with its own Gaussian, reflecting at the borders.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images.
    kernel_size : int
        Odd number of taps; clipped to ``2 * side - 1`` on a side shorter than the kernel.
    sigma : Tensor of shape (B,)
        Standard deviation in pixels; 0 is the identity.

    Returns
    -------
    Tensor of shape (B, C, H, W)
    """
    height, width = x.shape[2:]
    rows = _reflected_gaussian(height, kernel_size, sigma)
    columns = rows if width == height else _reflected_gaussian(width, kernel_size, sigma)
    return _resample(x, rows, columns)


def solarize(x: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values of each image from a threshold on.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1].
    threshold : Tensor of shape (B,)
        Infinity is the identity.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        New images.
    """
    return torch.where(x >= _per_sample(threshold, x), 1 - x, x)


def add_noise(x: Tensor, noise: Tensor) -> Tensor:
    """Add noise, and clamp.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
        Images with values in [0, 1].
    noise : Tensor of shape (B, C, H, W)
        What is added.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        New images.
    """
    return (x + noise).clamp_(0, 1)


def _per_sample(parameter: Tensor, x: Tensor) -> Tensor:
    """Shape a tensor of length B to multiply the batch ``x``."""
    return parameter.to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def _resample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mix the rows of each image by a matrix (B, h, H) and its columns by one (B, w, W).

    Two batched products cost half as much again as `grid_sample` on 32-pixel images, and unlike
    it they can antialias and blur.
    """
    batch, channels, height, _ = x.shape
    columns = columns.to(x.dtype).transpose(1, 2)
    y = torch.bmm(x.flatten(1, 2), columns).view(batch, channels, height, -1)
    return rows.to(x.dtype).unsqueeze(1) @ y


def _interpolation(start: Tensor, length: Tensor, n_in: int, n_out: int) -> Tensor:
    """Weights (B, n_out, n_in) of linear interpolation of ``start .. start + length``."""
    pixel = torch.arange(n_in, device=start.device, dtype=start.dtype)
    target = torch.arange(n_out, device=start.device, dtype=start.dtype) + 0.5
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    step = length / n_out
    distance = (target[:, None] * step + (start - 0.5) - pixel).abs_()
    weight = (1 - distance / step.clamp(min=1)).clamp_(min=0)
    weight = weight * ((pixel >= start) & (pixel < start + length))
    return weight / weight.sum(2, keepdim=True)


def _reflected_gaussian(n: int, kernel_size: int, sigma: Tensor) -> Tensor:
    """Weights (B, n, n) of a truncated Gaussian whose tails fold back at both ends."""
    radius = min(kernel_size // 2, n - 1)
    tap = torch.arange(radius + 1, device=sigma.device)
    taps = (tap / sigma.clamp(min=1e-4)[:, None]).square_().mul_(-0.5).exp_()
    # Denormal weights slow the products down five- to ninefold on CPU.
    taps = taps.masked_fill(taps < 1e-12, 0.0)
    taps /= 2 * taps.sum(1, keepdim=True) - taps[:, :1]
    return (taps @ _reflections(n, radius, taps.device, taps.dtype)).view(-1, n, n)


def _inverse_affine(
    angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor, height: int, width: int
) -> Tensor:
    """Matrices (B, 2, 3) from output to input places, in the units of `affine_grid`.

    The forward map is ``scale * R(angle) @ [[1, 0], [-ty, 1]] @ [[1, -tx], [0, 1]]`` followed by
    the translation, with ``tx, ty`` the tangents of the shear; each factor is inverted in turn.
    """
    angle = angle.deg2rad()
    cos, sin = angle.cos() / scale, angle.sin() / scale
    tx, ty = shear.deg2rad().tan().unbind(1)
    diagonal = 1 + tx * ty
    xx, xy = diagonal * cos - tx * sin, diagonal * sin + tx * cos
    yx, yy = ty * cos - sin, ty * sin + cos
    dx, dy = translate.unbind(1)
    x0 = (xx * dx + xy * dy) * (-2 / width)
    y0 = (yx * dx + yy * dy) * (-2 / height)
    entries = [xx, xy * (height / width), x0, yx * (width / height), yy, y0]
    return torch.stack(entries, dim=1).view(-1, 2, 3)


@cache
def _reflections(n: int, radius: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """How often a pixel sees another at each distance, (radius + 1, n * n).

    It sees it directly and as its mirror image in either end; an end pixel is not its own mirror
    image. Cached because it takes longer than the blur.
    """
    i = torch.arange(n)
    direct = (i[:, None] - i).abs()
    first = torch.where(i > 0, i[:, None] + i, -1)
    last = torch.where(i < n - 1, 2 * (n - 1) - i[:, None] - i, -1)
    distances = torch.stack([direct, first, last]).flatten(1)
    seen = (distances == torch.arange(radius + 1)[:, None, None]).sum(1)
    return seen.to(device, dtype)


@cache
def _hue_basis(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Constants (3, 9) with ``rotation = basis[0] + cos * basis[1] + sin * basis[2]``.

    Cached because copying a constant to a GPU at every call would wait for the device.
    """
    to_yiq = torch.tensor([LUMA, *CHROMA], dtype=torch.float64)
    to_rgb = torch.linalg.inv(to_yiq)
    keep_luma = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.float64)
    quarter_turn = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    parts = [keep_luma, torch.eye(3, dtype=torch.float64) - keep_luma, quarter_turn]
    return torch.stack([(to_rgb @ part @ to_yiq).flatten() for part in parts]).to(device, dtype)
