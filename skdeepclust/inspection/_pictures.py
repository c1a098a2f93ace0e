"""Images as matplotlib shows them."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

from skdeepclust.engine.arrays import as_images
from skdeepclust.engine.files import as_samples
from skdeepclust.engine.lazy import LazyImages


class LazyPictures:
    """Pictures that are decoded when one is shown.

    Parameters
    ----------
    lazy : LazyImages
        Of one or three channels.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, lazy: LazyImages):
        self.lazy = lazy
        n, channels, *size = lazy.shape
        self.shape = (n, *size) if channels == 1 else (n, *size, channels)

    def __len__(self) -> int:
        return len(self.lazy)

    def __getitem__(self, i: int) -> np.ndarray:
        picture = np.moveaxis(self.lazy[int(i)], 0, -1)
        return picture[..., 0] if len(self.shape) == 3 else picture

    def with_side(self, side: int) -> "LazyPictures":
        """The same with so many pixels on the longer side, where the files have them."""
        channels, height, width = self.lazy.image_shape
        own = max(height, width)
        scale = max(1.0, min(side, int(self.lazy.sizes.max(initial=0))) / own)
        shape = (channels, round(height * scale), round(width * scale))
        return LazyPictures(self.lazy.with_shape(shape))


def as_pictures(
    X: Any, image_shape: tuple[int, int, int] | None = None
) -> np.ndarray | LazyPictures:
    """Arrange images with their channels last.

    Parameters
    ----------
    X : array-like, tensor, path, list of paths or Dataset
        Images as the estimators take them.
    image_shape : (C, H, W), default=None
        Unflattens rows and settles the layout of 4-D input.

    Returns
    -------
    ndarray or LazyPictures of shape (n_samples, H, W) or (n_samples, H, W, C)
        A view of `X` wherever that is possible; C is 3 or 4. Images of other channel counts
        are averaged over the channels.

    Raises
    ------
    ValueError
        If `X` holds no images, or their layout is ambiguous.
    """
    # Where an estimator raises at closed folders, nobody has come this far.
    samples = as_samples(X, image_shape, on_error="skip")
    if isinstance(samples, LazyImages):
        return LazyPictures(samples)
    array = check_array(samples, allow_nd=True, input_name="X", dtype=None)
    images = as_images(array, image_shape)
    if images.ndim == 2:
        raise ValueError(
            f"X of shape {images.shape} holds vectors: there are no images to show. "
            "Pass image_shape=(channels, height, width) if its rows are flattened images."
        )
    if images.shape[1] == 1:
        return images[:, 0]
    if images.shape[1] in (3, 4):
        return images.transpose(0, 2, 3, 1)
    return images.mean(axis=1)


def value_range(pictures: Any) -> tuple[float, float]:
    """Return the values of black and white: 0 and 255 of uint8, else those that occur.

    Parameters
    ----------
    pictures : ndarray or LazyPictures of shape (n_samples, ...)
        All images that are shown on one scale.

    Returns
    -------
    low, high : float
    """
    if pictures.dtype == np.uint8:
        return 0.0, 255.0
    return float(pictures.min()), float(pictures.max())


def to_unit(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map values from [low, high] to [0, 1].

    Parameters
    ----------
    picture : ndarray
        One image.
    low, high : float
        Black and white.

    Returns
    -------
    ndarray, float64
    """
    return np.clip((picture.astype(np.float64) - low) / ((high - low) or 1.0), 0, 1)
