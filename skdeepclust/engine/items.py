"""Datasets and lists of pictures as lazy arrays: what X is when its items have to be asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch
from joblib import cpu_count
from PIL.Image import Image, fromarray
from torch import Tensor
from torch.utils.data import Dataset, Subset

from skdeepclust.engine.decode import (
    Header,
    UnreadableImage,
    arrange,
    from_pillow,
    header_of,
    reopened,
)
from skdeepclust.engine.lazy import LazyImages, Shape, settled_shape

__all__ = ["ImageItems", "are_items", "hold_bytes", "hold_pictures"]

_TRIED = 100  # items that may be missing before the Dataset itself counts as broken


class ImageItems(LazyImages):
    """A Dataset of images of Pillow or uint8 arrays, read item by item.

    Parameters
    ----------
    dataset : sized collection
        Items are images, ``(image, ...)``, or dicts with the key ``"image"`` or ``"img"``.
    image_shape : (C, H, W), default=None
        As for `ImageFiles`.

    Notes
    -----
    An image of Pillow that has not been decoded is opened once more where that is possible, so that
    the object of the user, who may hold many, stays without pixels.
    """

    def __init__(self, dataset: Any, image_shape: Shape | None = None):
        self.dataset = dataset
        self.rows = np.arange(len(dataset))
        self._turn = _Turn()
        self._side_by_side = _may_be_read_side_by_side(dataset)
        names = [f"X[{i}]" for i in self.rows]
        if image_shape is None:
            headers = self.headers()
            super().__init__(names, headers[:, :2], settled_shape(None, headers))
        else:
            super().__init__(names, None, settled_shape(image_shape, np.empty((0, 3))))

    def headers(self) -> np.ndarray:
        """Ask for all items, which decodes those that the Dataset itself decodes."""
        numbers = range(len(self.rows))
        if self._side_by_side:
            with ThreadPoolExecutor(cpu_count()) as pool:
                headers = list(pool.map(self._header, numbers))
        else:
            headers = [self._header(i) for i in numbers]
        return np.array(headers, np.int64).reshape(-1, 3)

    def _header(self, i: int) -> Header:
        try:
            image = self._item(i)
            if isinstance(image, Image):
                with self._turn:
                    return header_of(image)
            channels, height, width = _as_tensor(image).shape
        except Exception:  # decoding will tell
            return Header()
        return Header(height, width, channels == 1)

    def _like(self, index: Any = slice(None), shape: Shape | None = None) -> Self:
        other = super()._like(index, shape)
        other.rows = self.rows[index]
        return other

    def full(self, i: int) -> Tensor:
        """Read all of item `i`: (C, H, W), uint8, of its own size."""
        try:
            image = self._item(i)
            return self._decoded(image) if isinstance(image, Image) else _as_tensor(image)
        except Exception as error:
            raise UnreadableImage(f"{self.names[i]}: {error}") from error

    def _item(self, i: int) -> Any:
        row = int(self.rows[i])
        if self._side_by_side:
            return _image_of(self.dataset[row])
        with self._turn:
            return _image_of(self.dataset[row])

    def _decoded(self, image: Image) -> Tensor:
        again = reopened(image)
        if again is not None:
            with again:
                return from_pillow(again)
        with self._turn:  # the same object may be in a list twice
            image.load()
            image.getexif()  # no safer from several threads
        return from_pillow(image)


class _Turn:
    """A lock that does not hinder its owner from being pickled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> Any:
        return type(self), ()


def _may_be_read_side_by_side(dataset: Any) -> bool:
    """Whether several threads may ask for items at once: of code of users nobody knows."""
    if type(dataset) is Subset:
        return _may_be_read_side_by_side(dataset.dataset)
    kind = type(dataset)
    if kind.__module__ == "torchvision.datasets.folder":
        own = dataset.loader.__module__ == kind.__module__
        return own and dataset.transform is None and dataset.target_transform is None
    return kind in (list, tuple)


def are_items(X: Any) -> bool:
    """Whether X is a list of a Dataset's items, as scikit-learn's splits leave them."""
    if not isinstance(X, list | tuple) or not X:
        return False
    first = X[0][0] if isinstance(X[0], tuple) and X[0] else X[0]
    if first is X[0] and isinstance(first, Tensor | np.ndarray):  # which may have no one shape
        return _shape_of_bytes(first) is not None and len({np.shape(image) for image in X}) > 1
    if first is X[0]:
        return isinstance(first, dict)
    return isinstance(first, Image) or (isinstance(first, Tensor | np.ndarray) and first.ndim > 0)


def hold_pictures(X: Any, image_shape: Shape | None) -> bool:
    """Whether X is a Dataset, of torch or alike, of pictures that are to be read one by one.

    These are images of Pillow, dicts, and images of uint8 of another shape than `image_shape`.
    """
    if isinstance(X, list | tuple):
        return len(X) > 0 and isinstance(X[0], Image)
    if not isinstance(X, Dataset) and (not hasattr(X, "features") or hasattr(X, "iloc")):
        return False
    if not hasattr(X, "__getitem__") or not hasattr(X, "__len__") or len(X) == 0:
        return False
    item = _first(X)
    first = item[0] if isinstance(item, tuple | list) else item
    if isinstance(item, dict) or isinstance(first, Image):
        return True
    if image_shape is None or image_shape[0] not in (1, 3):
        return False
    return _shape_of_bytes(first) not in (None, image_shape)


def hold_bytes(X: Any) -> bool:
    """Whether the first item of a Dataset is an image of uint8."""
    return _shape_of_bytes(_image_of(_first(X))) is not None


def _first(X: Any) -> Any:
    """The first item that can be read, which tells of what kind all are."""
    failed: Exception | None = None
    for i in range(min(len(X), _TRIED)):
        try:
            return X[i]
        except Exception as error:
            failed = failed or error
    assert failed is not None  # X is not empty
    raise failed


def _shape_of_bytes(image: Any) -> tuple[int, ...] | None:
    """(C, H, W) of an image of uint8; None of anything else."""
    try:
        return tuple(_as_tensor(image).shape)
    except (TypeError, ValueError):
        return None


def _image_of(item: Any) -> Any:
    if isinstance(item, dict):
        for key in ("image", "img"):
            if key in item:
                return item[key]
        raise ValueError(f"an item has the keys {sorted(item)}, but none is 'image' or 'img'")
    return item[0] if isinstance(item, tuple | list) else item


def _as_tensor(image: Any) -> Tensor:
    if isinstance(image, Image):
        return from_pillow(image)
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    if pixels.dtype != torch.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"an image must be uint8 of 2 or 3 dimensions, got {pixels.dtype}")
    if pixels.ndim == 2 or pixels.shape[0] not in (1, 3, 4):
        pixels = arrange(pixels.numpy())
    if len(pixels) == 4:
        return from_pillow(fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0))))
    if len(pixels) not in (1, 3):
        raise ValueError(f"an image must have 1, 3 or 4 channels, got {len(pixels)}")
    return pixels
