"""Images with known classes: embedded, generated, or read from a local folder."""

from skdeepclust.datasets._fetch import (
    fetch_cifar10,
    fetch_cifar100,
    fetch_fashion_mnist,
    fetch_mnist,
    fetch_stl10,
)
from skdeepclust.datasets._samples import load_digits_images, make_image_blobs

__all__ = [
    "fetch_cifar10",
    "fetch_cifar100",
    "fetch_fashion_mnist",
    "fetch_mnist",
    "fetch_stl10",
    "load_digits_images",
    "make_image_blobs",
]
