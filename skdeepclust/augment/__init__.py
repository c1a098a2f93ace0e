"""Augmentations: a batch on any device in, a batch out, with one random draw per sample."""

from skdeepclust.augment.presets import OF_VECTORS, PRESETS, drawn_once, make_augmentations
from skdeepclust.augment.transforms import (
    ColorJitter,
    FeatureMasking,
    GaussianBlur,
    GaussianNoise,
    RandomAffine,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomSolarize,
    VectorNoise,
)
from skdeepclust.augment.views import Views

__all__ = [
    "OF_VECTORS",
    "PRESETS",
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
    "Views",
    "drawn_once",
    "make_augmentations",
]
