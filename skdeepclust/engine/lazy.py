"""A lazy array of images: read when somebody looks at them, brought to one shape."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from skdeepclust.engine.decode import resize

__all__ = ["DETAIL", "LazyImages", "Picture", "Shape", "settled_shape"]

Shape = tuple[int, int, int]
# Crops down to a fifth of the area are cut from a copy of twice the network's side: finer ones
# would cost memory, coarser ones would be blurred.
DETAIL = 2
# What the network sees of images that no one size fits, and the largest size that is kept.
_SIDE = 96


class Picture:
    """One image, brought to the shapes of the rest.

    Parameters
    ----------
    image : Tensor of shape (C, H, W), uint8
        All of it.
    shape : (C, H, W)
        What the network sees.
    canvas : (height, width) or None
        What views are cropped from; None where that is the sample.

    Attributes
    ----------
    plain : Tensor of shape (C, H, W), uint8
        The largest central part of the network's proportions, resized.
    canvas : Tensor of shape (C, *canvas), uint8
        All of the image, squeezed into the canvas; `plain` without one.
    stretch : float
        How much wider the image is than the canvas in proportion to its height; 1 without one.
    """

    def __init__(self, image: Tensor, shape: Shape, canvas: tuple[int, int] | None):
        channels, height, width = shape
        self.plain = resize(_central(image, height / width), (height, width), channels)
        self.canvas, self.stretch = self.plain, 1.0
        if canvas is not None:
            h, w = image.shape[1:]
            self.canvas = resize(image, canvas, channels)
            self.stretch = (w / h) / (canvas[1] / canvas[0])


def _central(image: Tensor, ratio: float) -> Tensor:
    """The largest central part whose height is `ratio` times its width."""
    h, w = image.shape[1:]
    height, width = min(h, max(1, round(w * ratio))), min(w, max(1, round(h / ratio)))
    top, left = (h - height) // 2, (w - width) // 2
    return image[:, top : top + height, left : left + width]


class LazyImages:
    """A lazy array (n_samples, C, H, W) of uint8; subclasses say how to read one image.

    Indexing by a number decodes that image; by a slice, a mask or a list it makes a lazy array
    of the chosen ones, so that scikit-learn's cross-validation splits it without reading.

    Parameters
    ----------
    names : sequence of str
        What error messages call the images.
    sizes : ndarray of shape (n_samples, 2) or None
        Height and width of each, 0 where unknown; None to find them when somebody asks.
    image_shape : (C, H, W)
        Shape of every sample.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, names: Sequence[str], sizes: np.ndarray | None, image_shape: Shape):
        self.names = np.asarray(names, dtype=object)
        self.image_shape = image_shape
        if sizes is not None:
            self.sizes = sizes

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """Height and width of each image, (n_samples, 2), 0 where unknown."""
        return self.headers()[:, :2]

    def headers(self) -> np.ndarray:
        """Height, width and whether it is grey, of each image: (n_samples, 3), 0 where unknown."""
        raise NotImplementedError(f"{type(self).__name__} must implement headers")

    def full(self, i: int) -> Tensor:
        """Decode all of image `i`: (C, H, W), uint8, of its own size."""
        raise NotImplementedError(f"{type(self).__name__} must implement full")

    def picture(self, i: int, canvas: tuple[int, int] | None = None) -> Picture:
        """Image `i` in the common shapes."""
        return Picture(self.full(i), self.image_shape, canvas)

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of what views are cropped from, the same for all images."""
        own, largest = self.image_shape[1:], self.sizes.max(axis=0, initial=0)
        height, width = (
            max(side, min(DETAIL * side, int(most)))
            for side, most in zip(own, largest, strict=True)
        )
        return height, width

    @property
    def uniform(self) -> bool:
        """Whether every image has the size that the network sees."""
        return bool((self.sizes == self.image_shape[1:]).all())

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n_samples, C, H, W)."""
        return (len(self), *self.image_shape)

    def with_shape(self, image_shape: Shape | None) -> Self:
        """The same images in another shape, of 1 or 3 channels; None leaves it."""
        if image_shape in (None, self.image_shape):
            return self
        return self._like(shape=settled_shape(image_shape, np.empty((0, 3))))

    def _like(self, index: Any = slice(None), shape: Shape | None = None) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        sizes = self.sizes[index] if "sizes" in vars(self) else None
        LazyImages.__init__(other, self.names[index], sizes, shape or self.image_shape)
        return other

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):  # X[rows, ...], as scikit-learn indexes arrays
            return self._part(*key)
        if isinstance(key, int | np.integer):
            return self.picture(range(len(self))[key]).plain.numpy()
        return self._like(key if isinstance(key, slice) else np.asarray(key, dtype=_kind(key)))

    def _part(self, rows: Any, *rest: Any) -> Any:
        if rows is Ellipsis or rows is None:
            return np.asarray(self)[(rows, *rest)]
        chosen = self[rows]
        if isinstance(rows, int | np.integer):
            return chosen[rest]
        if all(part is Ellipsis for part in rest):
            return chosen
        return np.asarray(chosen)[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("image files cannot be an array without decoding them: pass copy=True")
        made = np.empty(self.shape, np.uint8)
        for i, sample in enumerate(self):
            made[i] = sample
        return made if dtype is None else made.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of shape {self.shape}"


def _kind(key: Any) -> type:
    """An empty list would become an array of floating-point numbers."""
    return np.intp if len(key) == 0 else np.asarray(key).dtype.type


def settled_shape(image_shape: Shape | None, headers: np.ndarray) -> Shape:
    """The shape of all samples, as given or from the headers (n, 3): height, width, grey."""
    if image_shape is not None:
        if image_shape[0] not in (1, 3):
            raise ValueError(f"image_shape={image_shape}: image files have 1 or 3 channels")
        return image_shape
    readable = headers[headers[:, 0] > 0]
    if len(readable) == 0:
        return 3, _SIDE, _SIDE
    channels = 1 if readable[:, 2].all() else 3
    height, width = (int(side) for side in readable[0, :2])
    same = (readable[:, :2] == (height, width)).all()
    side = (height, width) if same and max(height, width) <= _SIDE else (_SIDE, _SIDE)
    return channels, *side
