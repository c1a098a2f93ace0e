"""Each kernel, image by image, against torchvision or a naive transcription."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.nn import functional
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from skdeepclust.augment import functional as F
from skdeepclust.augment.presets import SOLARIZE_FROM

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
BILINEAR = v2.InterpolationMode.BILINEAR
N = 6


@pytest.fixture(params=[(3, 16, 16), (1, 9, 13), (4, 12, 7)], ids=str)
def x(request):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(N, *request.param, dtype=torch.float64, generator=generator)


@pytest.fixture
def rgb():
    return torch.rand(N, 3, 11, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def one_by_one(kernel, x, *parameters):
    """Apply a single-image function to every image of x with its own parameters."""
    return torch.stack([kernel(image, *own) for image, *own in zip(x, *parameters, strict=True)])


def random_boxes(x):
    _, _, height, width = x.shape
    h = torch.randint(1, height + 1, (len(x),))
    w = torch.randint(1, width + 1, (len(x),))
    top = (torch.rand(len(x)) * (height - h + 1)).floor()
    left = (torch.rand(len(x)) * (width - w + 1)).floor()
    return torch.stack([top, left, h, w], dim=1).double()


@pytest.mark.parametrize("size", [(16, 16), (20, 31), (5, 3), (1, 1)])
def test_crop_resize_is_torchvisions_with_antialias(x, size):
    torch.manual_seed(0)
    boxes = random_boxes(x)
    expected = one_by_one(
        lambda image, box: tv.resized_crop(image, *box.int().tolist(), size, antialias=True),
        x,
        boxes,
    )
    torch.testing.assert_close(F.crop_resize(x, boxes, size), expected)


def test_crop_resize_to_the_images_own_size_needs_no_antialias(x):
    torch.manual_seed(0)
    boxes, size = random_boxes(x), list(x.shape[2:])
    expected = one_by_one(
        lambda image, box: tv.resized_crop(image, *box.int().tolist(), size, antialias=False),
        x,
        boxes,
    )
    torch.testing.assert_close(F.crop_resize(x, boxes, size), expected)


def test_crop_resize_of_the_whole_image_copies_it(x):
    box = torch.tensor([0.0, 0.0, *x.shape[2:]]).expand(N, 4)
    torch.testing.assert_close(F.crop_resize(x, box, x.shape[2:]), x, rtol=0, atol=0)


def test_horizontal_flip(x):
    flip = torch.tensor([True, False] * (N // 2))
    y = F.horizontal_flip(x, flip)
    assert torch.equal(y[flip], x[flip].flip(-1))
    assert torch.equal(y[~flip], x[~flip])


AFFINE = (
    torch.tensor([0.0, 10, -30, 90, 5, 0]),
    torch.tensor([[0.0, 0], [1.5, -2], [0, 1], [0, 0], [-0.3, 0.7], [2, -1]]),
    torch.tensor([1.0, 0.8, 1.2, 1, 1.1, 1]),
    torch.tensor([[0.0, 0], [10, 0], [0, 10], [0, 0], [-10, 5], [0, 0]]),
)


def torchvision_affine(image, angle, translate, scale, shear):
    return tv.affine(
        image, angle.item(), translate.tolist(), scale.item(), shear.tolist(), BILINEAR
    )


def test_affine_is_torchvisions(x):
    parameters = [p.double() for p in AFFINE]
    expected = one_by_one(torchvision_affine, x, *parameters)
    torch.testing.assert_close(F.affine(x, *parameters), expected)


def test_affine_fills_as_if_the_image_went_on(x):
    parameters = [p.double() for p in AFFINE]
    fill, margin = 0.7, 24
    wide = functional.pad(x, [margin] * 4, value=fill)
    expected = one_by_one(torchvision_affine, wide, *parameters)[
        :, :, margin:-margin, margin:-margin
    ]
    torch.testing.assert_close(F.affine(x, *parameters, fill=fill), expected)


def test_affine_identity_and_per_image_fill(x):
    zero, one = torch.zeros(N, dtype=x.dtype), torch.ones(N, dtype=x.dtype)
    pair = torch.zeros(N, 2, dtype=x.dtype)
    torch.testing.assert_close(F.affine(x, zero, pair, one, pair, F.background(x)), x)
    away = pair + 1000
    y = F.affine(x, zero, away, one, pair, F.background(x))
    torch.testing.assert_close(y, F.background(x).expand_as(x))


def test_background_is_the_median_of_the_border(x):
    inner = torch.zeros(x.shape[2:], dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    expected = x[:, :, ~inner].median(dim=2).values
    assert torch.equal(F.background(x)[:, :, 0, 0], expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 2)])
def test_background_of_images_that_are_all_border(shape):
    x = torch.full((2, 3, *shape), 0.25)
    assert torch.equal(F.background(x), torch.full((2, 3, 1, 1), 0.25))


FACTORS = torch.tensor([0.0, 0.5, 0.9, 1.0, 1.4, 3.0], dtype=torch.float64)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("channels", [1, 3])
def test_factors_are_torchvisions(rgb, name, channels):
    x = rgb[:, :channels]
    reference = getattr(tv, f"adjust_{name}")
    expected = one_by_one(lambda image, factor: reference(image, factor.item()), x, FACTORS)
    # torchvision rounds the weight of red to 0.2989.
    torch.testing.assert_close(getattr(F, name)(x, FACTORS), expected, rtol=0, atol=3e-4)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factor_one_is_exactly_the_identity(x, name):
    assert torch.equal(getattr(F, name)(x, torch.ones(N)), x)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_colour_needs_three_channels(rgb, channels):
    x = rgb[:, [0, 1, 2, 0]][:, :channels]
    half = torch.full((N,), 0.5)
    assert torch.equal(F.saturation(x, half), x)
    assert torch.equal(F.hue(x, half), x)
    assert torch.equal(F.grayscale(x, half > 0), x)
    assert not torch.equal(F.brightness(x, half), x)
    assert not torch.equal(F.contrast(x, half), x)


def naive_hue(image, shift):
    """Turn one pixel's chroma as a complex number at a time."""
    to_yiq = torch.tensor([F.LUMA, *F.CHROMA], dtype=image.dtype)
    y, i, q = (to_yiq @ image.flatten(1)).unbind()
    turned = torch.complex(i, q) * torch.exp(-2j * torch.pi * shift)
    rgb = torch.linalg.solve(to_yiq, torch.stack([y, turned.real, turned.imag]))
    return rgb.clamp(0, 1).view(image.shape)


def test_hue_turns_the_chroma(rgb):
    shifts = torch.tensor([0.0, 0.1, -0.1, 0.25, 0.5, -0.5], dtype=rgb.dtype)
    torch.testing.assert_close(F.hue(rgb, shifts), one_by_one(naive_hue, rgb, shifts))
    torch.testing.assert_close(F.hue(rgb, shifts)[0], rgb[0])


def test_hue_keeps_greys_and_luma(rgb):
    shifts = torch.linspace(-0.5, 0.5, N, dtype=rgb.dtype)
    grey = F.luma(rgb).expand_as(rgb)
    torch.testing.assert_close(F.hue(grey, shifts), grey)
    pale = 0.45 + 0.1 * rgb  # far from where clamping would change it
    torch.testing.assert_close(F.luma(F.hue(pale, shifts)), F.luma(pale))


def test_hue_turns_as_torchvision_does():
    """Pure colours turn into the colours that a third of a turn in HSV makes of them."""
    pure = torch.eye(3).view(3, 3, 1, 1)
    ours = F.hue(pure, torch.full((3,), 1 / 3)).argmax(1)
    assert torch.equal(ours, tv.adjust_hue(pure, 1 / 3).argmax(1))


def hsv_hue(x):
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    return torch.tensor([colorsys.rgb_to_hsv(*pixel)[0] for pixel in pixels])


@pytest.mark.parametrize("shift", [-0.1, 0.05, 0.3])
def test_hue_turns_about_as_far_as_in_hsv(rgb, shift):
    pale = 0.4 + 0.2 * rgb
    turned = F.hue(pale, torch.full((N,), shift, dtype=rgb.dtype))
    change = (hsv_hue(turned) - hsv_hue(pale) + 0.5) % 1 - 0.5
    assert change.mean() == pytest.approx(shift, rel=0.15)
    assert change.std() < 0.35 * abs(shift)


def test_grayscale_is_torchvisions(rgb):
    gray = torch.tensor([True, False] * (N // 2))
    y = F.grayscale(rgb, gray)
    expected = tv.rgb_to_grayscale(rgb[gray], num_output_channels=3)
    torch.testing.assert_close(y[gray], expected, rtol=0, atol=2e-4)
    assert torch.equal(y[~gray], rgb[~gray])


SIGMAS = torch.tensor([0.1, 0.3, 0.7, 1.0, 2.0, 5.0], dtype=torch.float64)


@pytest.mark.parametrize("kernel_size", [1, 3, 7, 13])
def test_gaussian_blur_is_torchvisions(x, kernel_size):
    expected = one_by_one(
        lambda image, sigma: tv.gaussian_blur(image, [kernel_size] * 2, [sigma.item()] * 2),
        x,
        SIGMAS,
    )
    torch.testing.assert_close(F.gaussian_blur(x, kernel_size, SIGMAS), expected)


def test_gaussian_blur_clips_its_kernel_to_small_images(x):
    taps = [2 * x.shape[3] - 1, 2 * x.shape[2] - 1]
    expected = one_by_one(
        lambda image, sigma: tv.gaussian_blur(image, taps, [sigma.item()] * 2), x, SIGMAS
    )
    torch.testing.assert_close(F.gaussian_blur(x, 101, SIGMAS), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 1)])
def test_gaussian_blur_of_tiny_images(shape):
    x = torch.full((2, 3, *shape), 0.3)
    torch.testing.assert_close(F.gaussian_blur(x, 23, torch.tensor([0.5, 2.0])), x)


def test_gaussian_blur_of_width_zero_is_exactly_the_identity(x):
    assert torch.equal(F.gaussian_blur(x, 7, torch.zeros(N)), x)


def test_solarize_is_torchvisions(x):
    thresholds = torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0, torch.inf], dtype=x.dtype)
    expected = one_by_one(lambda image, t: tv.solarize(image, t.item()), x[:-1], thresholds[:-1])
    y = F.solarize(x, thresholds)
    assert torch.equal(y[:-1], expected)
    assert torch.equal(y[-1], x[-1])


def test_solarize_from_128_on_is_pillows():
    levels = torch.arange(256, dtype=torch.uint8).view(16, 16)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(levels.numpy()), 128))
    found = F.solarize(levels[None, None] / 255, torch.tensor([SOLARIZE_FROM]))
    np.testing.assert_array_equal((found * 255).round().numpy()[0, 0], expected)


def test_add_noise_clamps():
    x = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1, 1)
    noise = torch.tensor([-0.2, 0.2, 0.2]).view(3, 1, 1, 1)
    torch.testing.assert_close(F.add_noise(x, noise).flatten(), torch.tensor([0.0, 0.7, 1.0]))


def kernels(n):
    """Return every kernel with parameters for n images of 10 x 12 pixels."""
    t = torch.linspace(0, 1, N)[:n]
    pair = torch.stack([t, -t], dim=1)
    boxes = torch.tensor([1.0, 2, 7, 9]).expand(n, 4)
    return {
        "crop_resize": lambda x: F.crop_resize(x, boxes, (10, 12)),
        "horizontal_flip": lambda x: F.horizontal_flip(x, t > 0.5),
        "affine": lambda x: F.affine(x, 30 * t, pair, 1 + t, 10 * pair, F.background(x)),
        "brightness": lambda x: F.brightness(x, 2 * t),
        "contrast": lambda x: F.contrast(x, 2 * t),
        "saturation": lambda x: F.saturation(x, 2 * t),
        "hue": lambda x: F.hue(x, t - 0.5),
        "grayscale": lambda x: F.grayscale(x, t > 0.5),
        "gaussian_blur": lambda x: F.gaussian_blur(x, 5, t),
        "solarize": lambda x: F.solarize(x, t),
        "add_noise": lambda x: F.add_noise(x, t.to(x.dtype).view(-1, 1, 1, 1)),
    }


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", kernels(N))
def test_kernels_keep_dtype_shape_range_and_input(name, dtype):
    x = torch.rand(N, 3, 10, 12).to(dtype)
    before = x.clone()
    y = kernels(N)[name](x)
    assert y.dtype == dtype and y.shape == x.shape
    rounding = 10 * torch.finfo(dtype).eps
    assert y.min() >= -rounding and y.max() <= 1 + rounding
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", kernels(N))
def test_an_image_does_not_depend_on_its_batch(name):
    x = torch.rand(N, 3, 10, 12)
    torch.testing.assert_close(kernels(1)[name](x[:1]), kernels(N)[name](x)[:1])
