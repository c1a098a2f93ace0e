"""What the transforms draw: per sample, from the right distribution and generator."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp, kstest, norm
from sklearn.datasets import load_sample_images
from torchvision.transforms import v2

from skdeepclust.augment import transforms as T

RANDOM = {
    "crop": T.RandomResizedCrop(12, scale=(0.2, 1.0)),
    "flip": T.RandomHorizontalFlip(p=0.5),
    "brightness": T.ColorJitter(brightness=0.4),
    "contrast": T.ColorJitter(contrast=0.4),
    "saturation": T.ColorJitter(saturation=0.4),
    "hue": T.ColorJitter(hue=0.1),
    "jitter": T.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    "gray": T.RandomGrayscale(p=0.5),
    "blur": T.GaussianBlur(5),
    "solarize": T.RandomSolarize(0.5, p=0.5),
    "rotation": T.RandomAffine(degrees=20),
    "translation": T.RandomAffine(degrees=0, translate=(0.2, 0.2)),
    "scale": T.RandomAffine(degrees=0, scale=(0.7, 1.3)),
    "shear": T.RandomAffine(degrees=0, shear=(-10, 10, -10, 10)),
    "noise": T.GaussianNoise(std=0.1),
    "vector noise": T.VectorNoise(std=0.1),
    "masking": T.FeatureMasking(p=0.3),
}
GATED = {
    "flip": lambda p: T.RandomHorizontalFlip(p=p),
    "jitter": lambda p: T.ColorJitter((0.5, 0.6), (0.5, 0.6), (0.5, 0.6), p=p),
    "gray": lambda p: T.RandomGrayscale(p=p),
    "blur": lambda p: T.GaussianBlur(3, sigma=(1.0, 2.0), p=p),
    "solarize": lambda p: T.RandomSolarize(0.5, p=p),
    "masking": lambda p: T.FeatureMasking(p=p),
}


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(n=16, dtype=torch.float32):
    return torch.rand(n, 3, 12, 12, dtype=dtype)


@pytest.mark.parametrize("name", RANDOM)
def test_equal_images_of_a_batch_get_different_draws(name):
    x = images(1).expand(32, -1, -1, -1)
    y = RANDOM[name](x)
    assert len(y.flatten(1).unique(dim=0)) > 1
    assert not torch.equal(y, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", RANDOM)
def test_shape_dtype_range_and_input_are_kept(name, dtype):
    x = images(dtype=dtype)
    before = x.clone()
    y = RANDOM[name](x)
    assert y.shape == x.shape and y.dtype == dtype
    assert torch.equal(x, before)
    rounding = 10 * torch.finfo(dtype).eps
    assert name == "vector noise" or (y.min() >= -rounding and y.max() <= 1 + rounding)


@pytest.mark.parametrize("name", RANDOM)
def test_the_global_generator_decides(name):
    x = images()
    torch.manual_seed(3)
    first = RANDOM[name](x)
    second = RANDOM[name](x)
    torch.manual_seed(3)
    assert torch.equal(RANDOM[name](x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("shape", [(1, 3, 12, 12), (2, 1, 12, 12), (2, 5, 9, 8)], ids=str)
def test_any_number_of_images_and_channels(name, shape):
    x = torch.rand(shape)
    size = (12, 12) if name == "crop" else shape[2:]
    assert RANDOM[name](x).shape == (*shape[:2], *size)


@pytest.mark.parametrize("name", GATED)
def test_probability_zero_is_the_identity(name):
    x = images()
    assert torch.equal(GATED[name](0.0)(x), x)


@pytest.mark.parametrize("name", GATED)
def test_probability_one_changes_every_image(name):
    x = images()
    y = GATED[name](1.0)(x)
    assert (y != x).flatten(1).any(1).all()


@pytest.mark.parametrize("name", sorted(set(GATED) - {"masking"}))
def test_probability_is_the_share_of_changed_images(name):
    x = images(2000)
    y = GATED[name](0.3)(x)
    share = (y != x).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.04)


def test_masking_takes_its_share_of_features():
    x = torch.randn(200, 50) + 5
    y = T.FeatureMasking(p=0.3)(x)
    masked = y == 0
    assert masked.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(y[~masked], x[~masked])


@pytest.mark.parametrize("shape", [(32, 32), (96, 60), (20, 64)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.3, 1.0)])
def test_boxes_are_distributed_like_torchvisions(shape, scale):
    n, ratio = 4000, (3 / 4, 4 / 3)
    x = torch.empty(n, 1, *shape)
    ours = T.RandomResizedCrop(shape, scale, ratio).draw_boxes(x)
    reference = v2.RandomResizedCrop(shape, scale, ratio)
    theirs = torch.tensor(
        [[*map(reference.make_params([x[0]]).get, ("top", "left", "height", "width"))] for _ in x]
    )
    (top, left, h, w), (their_top, their_left, their_h, their_w) = ours.T, theirs.T
    assert ks_2samp(h * w, their_h * their_w).pvalue > 1e-3
    assert ks_2samp(w / h, their_w / their_h).pvalue > 1e-3
    assert ks_2samp(top, their_top).pvalue > 1e-3
    assert ks_2samp(left, their_left).pvalue > 1e-3


@pytest.mark.parametrize(
    "n", [1000, pytest.param(10_000, marks=pytest.mark.slow)], ids=["sample", "whole"]
)
def test_views_are_distributed_like_torchvisions(n):
    """Mean and spread of each channel of SimCLR's views; without hue, which turns in YIQ here."""
    pixels = patches_of_photographs(n)
    ours = torch.nn.Sequential(
        T.RandomResizedCrop((32, 32), scale=(0.2, 1.0)),
        T.RandomHorizontalFlip(p=0.5),
        T.ColorJitter(0.4, 0.4, 0.4, p=0.8),
        T.RandomGrayscale(p=0.2),
        T.GaussianBlur(23, p=0.5),
    )
    theirs = v2.Compose(
        [
            v2.RandomResizedCrop(32, scale=(0.2, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))]),
        ]
    )
    # To 8 bits as theirs are: patches of one colour have equal values otherwise told apart.
    views = (ours(torch.from_numpy(pixels).movedim(3, 1) / 255) * 255).round()
    references = [np.asarray(theirs(Image.fromarray(image))) for image in pixels]
    references = torch.from_numpy(np.stack(references)).movedim(3, 1).float()
    for statistic in (torch.mean, torch.std):
        for channel in range(3):
            found = [statistic(x[:, channel], (1, 2)) for x in (views, references)]
            assert ks_2samp(*found).pvalue > 1e-3


def patches_of_photographs(n):
    """Every second pixel of patches of 64 x 64, from two photographs."""
    pictures = load_sample_images().images
    random = np.random.default_rng(0)
    height, width = pictures[0].shape[:2]
    corners = random.integers(0, (height - 64, width - 64), (n, 2))
    return np.stack(
        [pictures[i % 2][y : y + 64 : 2, x : x + 64 : 2] for i, (y, x) in enumerate(corners)]
    )


@pytest.mark.parametrize("shape", [(8, 8), (5, 50), (50, 5), (1, 1), (1, 9), (2, 3)])
def test_boxes_are_whole_pixels_inside_the_image(shape):
    boxes = T.RandomResizedCrop(shape).draw_boxes(torch.empty(2000, 1, *shape))
    assert torch.equal(boxes, boxes.round())
    top, left, h, w = boxes.T
    assert min(top.min(), left.min()) >= 0 and min(h.min(), w.min()) >= 1
    assert (top + h).max() <= shape[0] and (left + w).max() <= shape[1]


@pytest.mark.parametrize("shape", [(40, 9), (9, 40)])
def test_where_no_candidate_fits_the_central_box_is_torchvisions(shape):
    x = torch.empty(3, 1, *shape)
    bounds = {"scale": (1.0, 1.0), "ratio": (0.8, 1.2)}
    box = v2.RandomResizedCrop(8, **bounds).make_params([x[0]])
    expected = torch.tensor([[box["top"], box["left"], box["height"], box["width"]]] * 3)
    assert torch.equal(T.RandomResizedCrop(8, **bounds).draw_boxes(x), expected.float())


def test_crop_resizes_to_any_size():
    assert T.RandomResizedCrop((5, 20))(images()).shape == (16, 3, 5, 20)


@pytest.mark.parametrize(("value", "low", "high"), [(0.4, 0.6, 1.4), ((0.2, 0.5), 0.2, 0.5)])
def test_brightness_factors_are_uniform(value, low, high):
    x = torch.full((3000, 1, 1, 1), 0.5)
    factors = T.ColorJitter(brightness=value)(x).flatten() / 0.5
    assert kstest(factors, "uniform", (low, high - low)).pvalue > 1e-3


def test_jitter_draws_each_amount_by_itself():
    """Brightness moves the mean, contrast the spread: their factors are uncorrelated."""
    x = torch.tensor([0.2, 0.3]).view(1, 1, 1, 2).repeat(3000, 1, 1, 1)
    y = T.ColorJitter(brightness=0.4, contrast=0.4)(x)
    brightness = y.flatten(1).mean(1) / 0.25
    contrast = (y[..., 1] - y[..., 0]).flatten() / 0.1 / brightness
    correlation = torch.corrcoef(torch.stack([brightness, contrast]))[0, 1]
    assert abs(correlation) < 0.1
    assert kstest(contrast, "uniform", (0.6, 0.8)).pvalue > 1e-3


def test_a_translation_is_limited_by_its_share_of_the_image():
    x = torch.zeros(2000, 1, 1, 41)
    x[..., 20] = 1
    y = T.RandomAffine(degrees=0, translate=(0.25, 0.0), fill=0.0)(x).flatten(1)
    shift = (y * torch.arange(41)).sum(1) - 20
    assert kstest(shift, "uniform", (-0.25 * 41, 0.5 * 41)).pvalue > 1e-3


def test_affine_fills_with_the_background():
    x = torch.full((8, 3, 12, 12), 0.8)
    x[:, :, 4:8, 4:8] = 0.1
    y = T.RandomAffine(degrees=45, translate=(0.3, 0.3))(x)
    torch.testing.assert_close(y.amax((1, 2, 3)), torch.full((8,), 0.8))
    assert T.RandomAffine(degrees=45, translate=(0.3, 0.3), fill=0.0)(x).min() < 0.05


def test_noise_has_its_standard_deviation_and_may_leave_the_range():
    noise = T.VectorNoise(std=0.5)(torch.zeros(100, 100)).flatten().numpy()
    assert kstest(noise, norm(0, 0.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: T.RandomResizedCrop(0), "size"),
        (lambda: T.RandomResizedCrop(8, scale=(0.5, 0.2)), "scale"),
        (lambda: T.RandomResizedCrop(8, scale=(0.0, 1.0)), "scale"),
        (lambda: T.RandomResizedCrop(8, scale=(0.5, 1.5)), "scale"),
        (lambda: T.RandomResizedCrop(8, ratio=(-1.0, 1.0)), "ratio"),
        (lambda: T.RandomHorizontalFlip(p=1.5), "p"),
        (lambda: T.RandomGrayscale(p=-0.1), "p"),
        (lambda: T.RandomGrayscale(p=math.nan), "p"),
        (lambda: T.ColorJitter(brightness=-1), "brightness"),
        (lambda: T.ColorJitter(contrast=(1.2, 0.8)), "contrast"),
        (lambda: T.ColorJitter(saturation=(-0.1, 1)), "saturation"),
        (lambda: T.ColorJitter(hue=0.6), "hue"),
        (lambda: T.ColorJitter(p=2), "p"),
        (lambda: T.GaussianBlur(4), "kernel_size"),
        (lambda: T.GaussianBlur(-1), "kernel_size"),
        (lambda: T.GaussianBlur(3, sigma=(0.0, 1.0)), "sigma"),
        (lambda: T.RandomSolarize(0.5, p=7), "p"),
        (lambda: T.RandomAffine(degrees=-5), "degrees"),
        (lambda: T.RandomAffine(0, translate=(0.1, 2.0)), "translate"),
        (lambda: T.RandomAffine(0, scale=(0.0, 1.0)), "scale"),
        (lambda: T.RandomAffine(0, shear=-3), "shear"),
        (lambda: T.RandomAffine(0, shear=(1.0, 2.0, 3.0)), "shear"),
        (lambda: T.GaussianNoise(std=-1), "std"),
        (lambda: T.FeatureMasking(p=2), "p"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=rf"^{name} must"):
        make()


def test_repr_shows_the_settings():
    assert repr(T.GaussianBlur(3, p=0.5)) == "GaussianBlur(kernel_size=3, sigma=(0.1, 2.0), p=0.5)"
    assert repr(T.VectorNoise(0.2)) == "VectorNoise(std=0.2, clip=False)"
