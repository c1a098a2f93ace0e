"""Views scale, augment and standardise, in this order, and refuse what breaks a batch."""

import numpy as np
import pytest
import torch
from torch import nn

from skdeepclust.augment import Views, make_augmentations

MEAN, STD = [0.2, 0.4, 0.6], [0.1, 0.2, 0.5]


class Recorder(nn.Module):
    """Keeps what it is given."""

    def forward(self, x):
        self.seen = x.clone()
        return x * 0.5


@pytest.fixture
def uint8():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, 3, 6, 7), dtype=torch.uint8, generator=generator)


def test_images_are_scaled_augmented_standardised(uint8):
    recorder = Recorder()
    views = Views.for_images([recorder, nn.Identity()], 0, 255, MEAN, STD)
    first, second = views(uint8)
    scaled = uint8.float() / 255
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(recorder.seen, scaled)
    torch.testing.assert_close(first, (scaled * 0.5 - mean) / std)
    torch.testing.assert_close(second, (scaled - mean) / std)
    assert torch.equal(views.plain(uint8), second)
    assert first.dtype == torch.float32


def test_float_images_are_scaled_from_their_range():
    x = torch.linspace(-3, 5, 5 * 3 * 4 * 4).view(5, 3, 4, 4)
    recorder = Recorder()
    Views.for_images([recorder], -3, 5, MEAN, STD)(x)
    torch.testing.assert_close(recorder.seen, (x + 3) / 8)


def test_vectors_are_standardised_before_the_augmentation():
    x = torch.randn(50, 4) * torch.tensor([1.0, 10, 1e-3, 1e4]) + 7
    recorder = Recorder()
    views = Views.for_vectors([recorder], x.mean(0), x.std(0))
    (view,) = views(x)
    torch.testing.assert_close(recorder.seen, (x - x.mean(0)) / x.std(0), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(view, recorder.seen * 0.5)
    assert torch.equal(views.plain(x), recorder.seen)


def test_double_precision_has_statistics_of_its_own():
    """Rounded to single precision the mean would be 31 standard deviations away."""
    x = 1e9 + 33 + torch.randn(100, 1, dtype=torch.float64)
    views = Views.for_vectors([], x.mean(0), x.std(0), torch.float64)
    assert abs(views.plain(x).mean()) < 1e-6


def test_small_spread_far_from_zero_survives():
    views = Views.for_vectors([], mean=np.array([4096.0]), std=np.array([1e-2]))
    expected = torch.tensor([[0.0], [100.0]])
    torch.testing.assert_close(views.plain(torch.tensor([[4096.0], [4097.0]])), expected)


def test_constant_data_become_zeros():
    images = torch.full((2, 3, 4, 4), 9.0)
    views = Views.for_images([nn.Identity()], 9, 9, [0.0] * 3, [0.0] * 3)
    assert torch.equal(views.plain(images), torch.zeros_like(images))
    vectors = torch.full((2, 3), 9.0)
    views = Views.for_vectors([nn.Identity()], [9.0] * 3, [0.0] * 3)
    assert torch.equal(views.plain(vectors), torch.zeros_like(vectors))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_as_many_views_as_augmentations(uint8, n):
    views = Views.for_images(make_augmentations("color", (3, 6, 7), n), 0, 255, MEAN, STD)
    made = views(uint8)
    assert [view.shape for view in made] == [uint8.shape] * n
    assert n == 1 or not torch.equal(made[0], made[1])


def test_views_take_the_dtype_of_the_buffers(uint8):
    views = Views.for_images([nn.Identity()], 0, 255, MEAN, STD)
    assert views(uint8.double())[0].dtype == torch.float32
    views.double()
    assert views(uint8)[0].dtype == views.plain(uint8).dtype == torch.float64


def test_the_batch_is_left_alone():
    x = torch.rand(2, 3, 4, 4)
    before = x.clone()
    views = Views.for_images([nn.Identity(), nn.Identity()], 0, 1, MEAN, STD)
    first, second = views(x)
    views.plain(x)
    assert torch.equal(x, before)
    assert torch.equal(first, second)


def test_state_is_buffers_and_survives_a_state_dict(uint8):
    views = Views.for_images([nn.Identity()], 0, 255, MEAN, STD)
    other = Views.for_images([nn.Identity()], 0, 1, [0.0] * 3, [1.0] * 3)
    assert not list(views.parameters())
    other.load_state_dict(views.state_dict())
    assert torch.equal(other.plain(uint8), views.plain(uint8))


@pytest.mark.parametrize(
    "augment",
    [
        lambda x: x[:, :, :-1],
        lambda x: x[:, :1],
        lambda x: x[:-1],
        lambda x: x.mean((2, 3)),
        lambda x: x > 0.5,
        lambda x: (x * 255).to(torch.uint8),
        lambda x: [x],
        lambda x: None,
    ],
    ids=["size", "channels", "batch", "dimensions", "bool", "uint8", "list", "none"],
)
def test_an_augmentation_that_breaks_the_batch_is_refused(uint8, augment):
    views = Views.for_images(make_augmentations(augment, (3, 6, 7), 1), 0, 255, MEAN, STD)
    with pytest.raises(ValueError, match="augment must return a floating batch"):
        views(uint8)
