"""Image files, and Datasets of pictures, as lazy arrays: what X is when it is not in memory."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch
from joblib import cpu_count
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset

from skdeepclust.engine.decode import (
    UnreadableImage,
    arrange,
    decode,
    from_pillow,
    read_header,
)
from skdeepclust.engine.folder import file_names
from skdeepclust.engine.images import MixedShapes, as_array
from skdeepclust.engine.lazy import DETAIL, LazyImages, Shape

__all__ = ["ImageFiles", "ImageItems", "as_samples"]

# What the network sees of files that no one size fits, and the largest size that is taken as it is.
_SIDE = 96


class ImageFiles(LazyImages):
    """Image files as a lazy array of uint8 images.

    Estimators make one of a folder or of a list of paths. Make it yourself to hand a folder to
    scikit-learn's cross-validation and searches: it is indexed without decoding.

    Parameters
    ----------
    files : path or sequence of paths
        A folder, which is walked with its sub-folders, links to folders too, in sorted order,
        or the files.
    image_shape : (C, H, W), default=None
        Shape of every sample, with 1 or 3 channels. None takes the size of the files if all
        have the same and it is at most 96 x 96, else 96 x 96; and one channel if all files are
        grey, else three.

    Attributes
    ----------
    paths : list of str
        The files, in the order of the samples.
    shape : (n_files, C, H, W)
        Of the array that it stands for.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the folder holds no image, or `image_shape` has other channels.

    Notes
    -----
    A sample is the largest central part of its file that has the proportions of
    `image_shape`, resized. In training views are cropped from all of the file. Files are only
    looked at here; one that cannot be read is an error when it is decoded.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from PIL import Image
    >>> from skdeepclust import ImageFiles
    >>> folder = tempfile.TemporaryDirectory()
    >>> for i in range(3):
    ...     pixels = np.full((20, 30), 100 * i, dtype=np.uint8)
    ...     Image.fromarray(pixels).save(os.path.join(folder.name, f"{i}.png"))
    >>> files = ImageFiles(folder.name, image_shape=(3, 16, 16))
    >>> files.shape, files[[0, 2]].shape, files[2].max()
    ((3, 3, 16, 16), (2, 3, 16, 16), np.uint8(200))
    >>> folder.cleanup()
    """

    def __init__(self, files: Any, image_shape: Shape | None = None):
        names = file_names(files) if _is_path(files) else [os.fspath(path) for path in files]
        with ThreadPoolExecutor(cpu_count()) as pool:
            headers = np.array(list(pool.map(read_header, names, chunksize=64)), dtype=np.int64)
        headers = headers.reshape(-1, 3)
        super().__init__(names, headers[:, :2], _settled(image_shape, headers))

    @property
    def paths(self) -> list[str]:
        """The files, in the order of the samples."""
        return list(self.names)

    def full(self, i: int) -> Tensor:
        """Decode all of file `i`: (C, H, W), uint8, of its own size or well above ours."""
        # Of what is needed at most, whatever is needed now: samples must not depend on it.
        _, height, width = self.image_shape
        return decode(self.names[i], (DETAIL * height, DETAIL * width))


class ImageItems(LazyImages):
    """A Dataset of images of Pillow or uint8 arrays, read item by item.

    Parameters
    ----------
    dataset : sized collection
        Items are images, ``(image, ...)``, or dicts with the key ``"image"`` or ``"img"``.
    image_shape : (C, H, W), default=None
        As for `ImageFiles`.
    """

    def __init__(self, dataset: Any, image_shape: Shape | None = None):
        self.dataset = dataset
        self.rows = np.arange(len(dataset))
        names = [f"X[{i}]" for i in self.rows]
        headers = np.array([self._header(i) for i in range(len(self.rows))], np.int64).reshape(
            -1, 3
        )
        super().__init__(names, headers[:, :2], _settled(image_shape, headers))

    def _header(self, i: int) -> tuple[int, int, bool]:
        try:
            channels, height, width = _as_tensor(_image_of(self.dataset[i])).shape
        except Exception:  # decoding will tell
            return 0, 0, False
        return height, width, channels == 1

    def _like(self, index: Any = slice(None), shape: Shape | None = None) -> Self:
        other = super()._like(index, shape)
        other.rows = self.rows[index]
        return other

    def full(self, i: int) -> Tensor:
        """Read all of item `i`: (C, H, W), uint8, of its own size."""
        try:
            return _as_tensor(_image_of(self.dataset[int(self.rows[i])]))
        except Exception as error:
            raise UnreadableImage(f"{self.names[i]}: {error}") from error


def as_samples(X: Any, image_shape: Shape | None) -> Any:
    """What X is: images that are read one by one, or an array in memory.

    Parameters
    ----------
    X : object
        As users pass it.
    image_shape : (C, H, W) or None
        Shape of the samples, if it is known.

    Returns
    -------
    LazyImages, ndarray, DataFrame or sparse matrix
        Lazy for a folder, paths, and a Dataset of images that have to be brought to one shape;
        others for scikit-learn's validation, see `as_array`.
    """
    if isinstance(X, LazyImages):
        return X.with_shape(image_shape)
    if _are_items(X):
        X = Subset(X, range(len(X)))
    if _is_path(X) or _are_paths(X):
        return ImageFiles(X, image_shape)
    if _holds_pictures(X, image_shape):
        return ImageItems(X, image_shape)
    try:
        return as_array(X)
    except MixedShapes:
        if _shape_of_bytes(_image_of(X[0])) is None:
            raise
        return ImageItems(X, image_shape)


def _are_items(X: Any) -> bool:
    """Whether X is a list of a Dataset's items, as scikit-learn's splits leave them."""
    if not isinstance(X, list) or not X:
        return False
    first = X[0][0] if isinstance(X[0], tuple) and X[0] else X[0]
    if first is X[0]:
        return isinstance(first, dict)
    return isinstance(first, Image) or (isinstance(first, Tensor | np.ndarray) and first.ndim > 0)


def _is_path(X: Any) -> bool:
    return isinstance(X, str | os.PathLike)


def _are_paths(X: Any) -> bool:
    if getattr(X, "ndim", 1) != 1 or not hasattr(X, "__len__") or not hasattr(X, "__iter__"):
        return False
    if isinstance(X, Dataset | dict | bytes | Tensor) or len(X) == 0:
        return False
    return _is_path(next(iter(X))) and all(_is_path(path) for path in X)


def _holds_pictures(X: Any, image_shape: Shape | None) -> bool:
    """Whether X is a Dataset, of torch or alike, of pictures that are to be read one by one.

    These are images of Pillow, dicts, and images of uint8 of another shape than `image_shape`.
    """
    if isinstance(X, list | tuple):
        return len(X) > 0 and isinstance(X[0], Image)
    if not isinstance(X, Dataset) and (not hasattr(X, "features") or hasattr(X, "iloc")):
        return False
    if not hasattr(X, "__getitem__") or not hasattr(X, "__len__") or len(X) == 0:
        return False
    item = X[0]
    first = item[0] if isinstance(item, tuple | list) else item
    if isinstance(item, dict) or isinstance(first, Image):
        return True
    if image_shape is None or image_shape[0] not in (1, 3):
        return False
    return _shape_of_bytes(first) not in (None, image_shape)


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
        return arrange(pixels.numpy())
    return pixels


def _settled(image_shape: Shape | None, headers: np.ndarray) -> Shape:
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
