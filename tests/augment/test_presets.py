"""The presets carry the papers' numbers; `augment` is understood or refused by name."""

import pytest
import torch
import torchvision.transforms.v2
from torch import nn

from skdeepclust.augment import OF_VECTORS, PRESETS, drawn_once, make_augmentations
from skdeepclust.augment import transforms as T

RGB, LARGE, GRAY, VECTOR = (3, 32, 32), (3, 224, 224), (1, 28, 28), (10,)
PAIRS = {"byol", "secu", "secu-20", "secu-8"}


def n_views(name):
    return 2 if name in PAIRS else 1


def steps(name, shape, view=0):
    return [repr(step) for step in make_augmentations(name, shape, n_views(name))[view]]


def crop(smallest, side=32):
    return repr(T.RandomResizedCrop(side, scale=(smallest, 1.0), ratio=(3 / 4, 4 / 3)))


def jitter(brightness, contrast, saturation, hue, p):
    return repr(T.ColorJitter(brightness, contrast, saturation, hue, p=p))


def blur(p):
    return repr(T.GaussianBlur(23, sigma=(0.1, 2.0), p=p))


FLIP = "RandomHorizontalFlip(p=0.5)"
GRAYSCALE = "RandomGrayscale(p=0.2)"
SOLARIZE = repr(T.RandomSolarize(128 / 255, p=0.2))


def test_idfd_neither_flips_nor_blurs_nor_turns_hues():
    assert steps("idfd", RGB) == [crop(0.2), jitter(0.4, 0.4, 0.4, 0, 1.0), GRAYSCALE]


def test_propos():
    base = [crop(0.08), FLIP, jitter(0.4, 0.4, 0.4, 0.1, 0.8), GRAYSCALE]
    assert steps("propos", RGB) == base
    large = [crop(0.08, 224), *base[1:]]
    assert steps("propos", LARGE) == large
    assert steps("propos-blur", LARGE) == [*large, blur(0.5)]


def test_byol_views_differ():
    base = [crop(0.08, 224), FLIP, jitter(0.4, 0.4, 0.2, 0.1, 0.8), GRAYSCALE]
    assert steps("byol", LARGE, view=0) == [*base, blur(1.0)]
    assert steps("byol", LARGE, view=1) == [*base, blur(0.1), SOLARIZE]


@pytest.mark.parametrize(("name", "smallest"), [("secu", 0.3), ("secu-20", 0.2), ("secu-8", 0.08)])
def test_secu_views_differ(name, smallest):
    base = [crop(smallest), jitter(0.4, 0.4, 0.2, 0.1, 0.8), GRAYSCALE]
    assert steps(name, RGB, view=0) == [*base, blur(1.0), FLIP]
    assert steps(name, RGB, view=1) == [*base, blur(0.1), SOLARIZE, FLIP]


@pytest.mark.parametrize("name", ["simclr", "color"])
def test_simclr_blurs_above_64_pixels_only(name):
    base = [FLIP, jitter(0.4, 0.4, 0.4, 0.1, 0.8), GRAYSCALE]
    assert steps(name, RGB) == [crop(0.2), *base]
    assert steps(name, (3, 64, 64)) == [crop(0.2, 64), *base]
    assert steps(name, (3, 96, 96)) == [crop(0.2, 96), *base, blur(0.5)]


def test_grayscale_maps_affinely_without_flip():
    affine = T.RandomAffine(10, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10)
    expected = [repr(affine), jitter((0.7, 1.3), (0.7, 1.3), 0, 0, 1.0)]
    assert steps("grayscale", GRAY) == [*expected, "GaussianNoise(std=0.05, clip=True)"]


def test_vectors():
    expected = ["VectorNoise(std=0.1, clip=False)", "FeatureMasking(p=0.2)"]
    assert steps("vectors", VECTOR) == expected
    expected = ["VectorNoise(std=0.1, clip=False)", "FeatureMasking(p=0.8)"]
    assert steps("features", VECTOR) == expected


@pytest.mark.parametrize(
    ("shape", "name"),
    [(RGB, "color"), ((4, 9, 7), "color"), (GRAY, "grayscale"), (VECTOR, "vectors")],
)
def test_auto_goes_by_the_shape(shape, name):
    assert steps("auto", shape) == steps(name, shape)


@pytest.mark.parametrize("shape", [RGB, (1, 8, 8), (3, 8, 8), (5, 9, 20)], ids=str)
@pytest.mark.parametrize("name", sorted(set(PRESETS) - set(OF_VECTORS)))
def test_image_presets_work_on_any_image(name, shape):
    x = torch.rand(4, *shape)
    for augment in make_augmentations(name, shape, n_views(name)):
        y = augment(x)
        assert y.shape == x.shape and y.dtype == x.dtype
        assert y.min() >= -1e-6 and y.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", sorted(set(PRESETS) - PAIRS - set(OF_VECTORS)))
@pytest.mark.parametrize("n", [1, 2, 4])
def test_one_module_makes_every_view(name, n):
    assert len(make_augmentations(name, RGB, n)) == n


def test_none_is_the_identity():
    x = torch.rand(2, *RGB)
    assert [augment(x) is x for augment in make_augmentations(None, RGB, 2)] == [True, True]


def test_a_module_is_used_as_given():
    module = T.RandomHorizontalFlip()
    assert all(view is module for view in make_augmentations(module, RGB, 2))


def test_a_callable_becomes_a_module():
    (augment,) = make_augmentations(torch.neg, RGB, 1)
    assert isinstance(augment, nn.Module) and "neg" in repr(augment)
    assert torch.equal(augment(torch.ones(1)), -torch.ones(1))


def test_an_error_inside_a_callable_names_the_parameter():
    (augment,) = make_augmentations(torch.chunk, RGB, 1)
    with pytest.raises(TypeError, match="chunk") as raised:
        augment(torch.ones(2))
    assert raised.value.__notes__ == [f"It was raised by augment={torch.chunk}."]


def test_a_class_is_no_augmentation():
    with pytest.raises(
        ValueError, match=r"augment must be .* got <class '.*HorizontalFlip'>, a class"
    ):
        make_augmentations(torchvision.transforms.v2.RandomHorizontalFlip, RGB, 1)


@pytest.mark.parametrize("of", [torchvision.transforms, torchvision.transforms.v2])
def test_transforms_that_draw_once_for_a_batch_are_found(of):
    flip, plain = of.RandomHorizontalFlip(), of.Normalize([0.5], [0.5])
    for augment in (flip, nn.Sequential(plain, flip), of.Compose([plain, flip])):
        made = make_augmentations((None, augment), RGB, 2)
        assert drawn_once(made) == "RandomHorizontalFlip"
    assert drawn_once(make_augmentations(of.ElasticTransform(), RGB, 1)) == "ElasticTransform"
    for augment in ("auto", None, torch.neg, of.Compose([plain])):
        assert drawn_once(make_augmentations(augment, RGB, 2)) is None


@pytest.mark.parametrize("kind", [tuple, list])
def test_one_module_per_view(kind):
    first = nn.Identity()
    views = make_augmentations(kind([first, torch.neg]), RGB, 2)
    assert views[0] is first and isinstance(views[1], nn.Module)


@pytest.mark.parametrize(
    ("augment", "shape", "n", "message"),
    [
        ("strong", RGB, 2, r"augment='strong' is unknown.*'auto', 'color'.*'simclr'"),
        ("color", VECTOR, 2, r"augment='color' does not apply to vectors"),
        ("vectors", GRAY, 2, r"augment='vectors' does not apply to images"),
        ("byol", RGB, 1, r"augment holds 2 views, but 1"),
        ([nn.Identity()], RGB, 2, r"augment holds 1 views, but 2"),
        (3, RGB, 2, r"augment must be"),
        ([nn.Identity(), 3], RGB, 2, r"augment must be"),
    ],
)
def test_bad_values_are_refused_by_name(augment, shape, n, message):
    with pytest.raises(ValueError, match=message):
        make_augmentations(augment, shape, n)
