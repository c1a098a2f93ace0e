"""Small images that need no download: scikit-learn's digits and generated blobs."""

import math

import numpy as np
from scipy.fft import idctn
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.utils import Bunch, check_random_state

_DIGITS_DESCR = """Handwritten digits

1797 grey images of 8 x 8 pixels, 10 classes of about 180. They come with scikit-learn, from the
test part of the UCI Machine Learning Repository's "Optical Recognition of Handwritten Digits".
Their 17 grey levels 0, ..., 16 are spread evenly over 0, ..., 255.
"""


def load_digits_images(*, return_X_y: bool = False) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load scikit-learn's handwritten digits as 8-bit images.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple of ndarray
        `images`, uint8 of shape (1797, 8, 8), whose levels 0, ..., 16 are spread over 0, ..., 255;
        `target`, int64 of shape (1797,); `target_names`; `DESCR`.

    Examples
    --------
    >>> from skdeepclust.datasets import load_digits_images
    >>> digits = load_digits_images()
    >>> digits.images.shape, digits.images.dtype, int(digits.images.max())
    ((1797, 8, 8), dtype('uint8'), 255)
    """
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    target = digits.target.astype(np.int64)
    if return_X_y:
        return images, target
    names = digits.target_names.astype(str)
    return Bunch(images=images, target=target, target_names=names, DESCR=_DIGITS_DESCR)


def make_image_blobs(
    n_samples: int = 200,
    n_classes: int = 3,
    image_shape: tuple[int, int, int] = (1, 8, 8),
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Generate noisy, slightly shifted copies of one smooth image per class.

    Parameters
    ----------
    n_samples : int, default=200
        Number of images.
    n_classes : int, default=3
        Number of classes, whose sizes differ by at most one.
    image_shape : tuple of int, default=(1, 8, 8)
        Channels, height and width.
    noise : float, default=0.1
        Standard deviation of the Gaussian noise on each pixel, before clipping to [0, 1].
    random_state : int, RandomState instance or None, default=None
        Makes the images repeatable.

    Returns
    -------
    X : ndarray of shape (n_samples, *image_shape)
        Images, float32 in [0, 1].
    y : ndarray of shape (n_samples,)
        Class of each image, int64.

    Examples
    --------
    >>> from skdeepclust.datasets import make_image_blobs
    >>> X, y = make_image_blobs(n_samples=6, n_classes=2, random_state=0)
    >>> X.shape, sorted(y.tolist())
    ((6, 1, 8, 8), [0, 0, 0, 1, 1, 1])
    """
    rng = check_random_state(random_state)
    channels, height, width = image_shape
    y = rng.permutation(np.arange(n_samples) % n_classes)
    prototypes = _smooth_images(n_classes, image_shape, rng)
    rows, columns = (_shifted_positions(n_samples, side, rng) for side in (height, width))
    X = prototypes[
        y[:, None, None, None],
        np.arange(channels)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    X = X + noise * rng.standard_normal(X.shape)
    return np.clip(X, 0, 1).astype(np.float32), y


def _smooth_images(
    n_images: int, image_shape: tuple[int, int, int], rng: np.random.RandomState
) -> np.ndarray:
    """Draw the few lowest frequencies of each image, and squash it into (0, 1)."""
    channels, height, width = image_shape
    frequencies = (channels, min(height, 3), min(width, 3))
    n_frequencies = math.prod(frequencies)
    spectra = rng.standard_normal((n_images, n_frequencies))
    if n_images <= n_frequencies:  # orthogonal images: no two classes are alike by chance
        spectra = np.linalg.qr(spectra.T)[0].T * np.sqrt(n_frequencies)
    spectra = spectra.reshape(n_images, *frequencies) * np.sqrt(height * width / 2)
    return expit(idctn(spectra, s=(height, width), axes=(2, 3), norm="ortho"))


def _shifted_positions(n_samples: int, side: int, rng: np.random.RandomState) -> np.ndarray:
    """Return the positions 0, ..., side - 1 moved by up to an eighth, stopping at the border."""
    shifts = rng.randint(-(side // 8), side // 8 + 1, size=(n_samples, 1))
    return np.clip(np.arange(side) + shifts, 0, side - 1)
