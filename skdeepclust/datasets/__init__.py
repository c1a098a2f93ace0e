"""Images with known classes: embedded, generated, or read from a local folder."""

from skdeepclust.datasets._fetch import (
    fetch_cifar10,
    fetch_cifar100,
    fetch_fashion_mnist,
    fetch_mnist,
    fetch_stl10,
)
from skdeepclust.datasets._imagenet import (
    fetch_imagenet,
    fetch_imagenet10,
    fetch_imagenet_dogs,
    fetch_tiny_imagenet,
)
from skdeepclust.datasets._samples import load_digits_images, make_image_blobs

__all__ = [
    "fetch_cifar10",
    "fetch_cifar100",
    "fetch_fashion_mnist",
    "fetch_imagenet",
    "fetch_imagenet10",
    "fetch_imagenet_dogs",
    "fetch_mnist",
    "fetch_stl10",
    "fetch_tiny_imagenet",
    "load_digits_images",
    "make_image_blobs",
]
