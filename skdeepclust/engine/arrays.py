"""What X is when it is no file: one array, with the channels of images in their place."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

__all__ = ["MixedShapes", "as_array", "as_images"]

_CHANNELS = (1, 3, 4)


class MixedShapes(ValueError):
    """Items of a Dataset have no one shape; the message names the first that differs."""


def as_array(X: Any) -> Any:
    """Turn tensors, Datasets and lists into an array; what has dimensions stays as it is.

    Parameters
    ----------
    X : array-like, Tensor or torch Dataset
        Items of a Dataset are ``x`` or ``(x, ...)``.

    Returns
    -------
    ndarray, DataFrame or sparse matrix
        For scikit-learn's validation.

    Raises
    ------
    TypeError, ValueError
        If X is bytes, a sparse tensor, ragged, a Dataset without size or items, a DataLoader,
        an iterator or a single picture.
    MixedShapes
        If X is a Dataset without one shape.
    """
    if isinstance(X, bytes):
        raise TypeError(
            f"X must hold images or vectors, got {X!r}: pass the path of a folder as str"
        )
    if isinstance(X, DataLoader):
        raise TypeError("X is a DataLoader: pass its dataset, X.dataset, and batch_size")
    if isinstance(X, Iterator):
        raise TypeError(f"X is a {type(X).__name__}, which can be read once only: pass list(X)")
    if type(X).__name__ == "LazyFrame":
        raise TypeError("X is a LazyFrame: pass X.collect()")
    if isinstance(X, Image.Image):
        raise TypeError("X is one image: pass a list of them, [X]")
    if isinstance(X, Tensor):
        if X.layout != torch.strided:
            raise TypeError("X is a sparse tensor; pass X.to_dense()")
        if X.is_meta:
            raise TypeError("X is a tensor on the device 'meta', which holds no values")
        X = X.detach().cpu().resolve_conj().resolve_neg()
        return X.float().numpy() if X.dtype == torch.bfloat16 else X.numpy()
    if isinstance(X, Dataset):
        return _stack(X)
    framed = hasattr(X, "columns") and hasattr(X, "shape")  # frames of polars have no ndim
    if framed or hasattr(X, "ndim"):
        return X
    if isinstance(X, list | tuple) and all(isinstance(item, Tensor) for item in X):
        X = [as_array(item) for item in X]
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(f"X must have rows of one length: {error}") from error


def _stack(dataset: Dataset) -> np.ndarray:
    if not hasattr(dataset, "__len__"):
        raise TypeError("X is a Dataset without __len__; clustering needs to know its size")
    if len(dataset) == 0:
        raise ValueError("X is a Dataset without items: at least one sample is required")
    first = _sample(dataset, 0)
    rest = (_sample(dataset, i, first.shape) for i in range(1, len(dataset)))
    try:
        made = np.empty((len(dataset), *first.shape), first.dtype)
    except MemoryError:
        for _ in rest:  # mixed shapes need no such array
            pass
        raise
    made[0] = first
    for i, sample in enumerate(rest, 1):
        if sample.dtype != made.dtype:
            made = made.astype(np.result_type(made.dtype, sample.dtype), copy=False)
        made[i] = sample
    return made


def _sample(dataset: Dataset, i: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
    try:
        item = dataset[i]
    except Exception as error:
        raise ValueError(
            f"X[{i}] cannot be read: {type(error).__name__}: {error}. Remove it, or have the "
            "Dataset return pictures, without ToTensor: on_error='skip' leaves out those"
        ) from error
    sample = np.asarray(as_array(item[0] if isinstance(item, tuple | list) else item))
    if shape not in (None, sample.shape):
        raise MixedShapes(
            f"X[{i}] has shape {sample.shape}, X[0] has {shape}: resize the images to one shape"
        )
    return sample


def as_images(
    array: np.ndarray, image_shape: tuple[int, int, int] | None, name: str = "image_shape"
) -> np.ndarray:
    """Arrange a validated array as (n, C, H, W) images or (n, F) vectors.

    Parameters
    ----------
    array : ndarray of 2 to 4 dimensions
        Vectors or flattened images (2-D), grey images (n, H, W), images with the
        channels first or last.
    image_shape : (C, H, W), default=None
        Unflattens rows and settles the layout of 4-D arrays.
    name : str, default="image_shape"
        What error messages call it.

    Returns
    -------
    ndarray
        A view of `array` wherever that is possible.

    Raises
    ------
    ValueError
        If `array` cannot have that shape, or its layout is ambiguous.
    """
    if array.ndim == 2:
        return array if image_shape is None else _unflatten(array, image_shape, name)
    if array.ndim not in (3, 4):
        raise ValueError(f"X must have 2 to 4 dimensions, got shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"X has an empty dimension: shape {array.shape}")
    grey = array.ndim == 3
    array = array[:, None] if grey else array
    if image_shape is not None:
        return _settle(array, image_shape, name)
    if grey:
        return array
    first, last = array.shape[1] in _CHANNELS, array.shape[3] in _CHANNELS
    if first == last:
        why = "both first and last" if first else "neither first nor last"
        raise ValueError(
            f"X of shape {array.shape} is ambiguous: its channel axis (of size 1, 3 or 4) "
            f"could be {why}. Pass image_shape=(channels, height, width)."
        )
    return array if first else array.transpose(0, 3, 1, 2)


def _unflatten(array: np.ndarray, image_shape: tuple[int, int, int], name: str) -> np.ndarray:
    if array.shape[1] != np.prod(image_shape):
        raise ValueError(
            f"X has {array.shape[1]} features, but {name}={image_shape} has "
            f"{np.prod(image_shape)} values"
        )
    return array.reshape(-1, *image_shape)


def _settle(array: np.ndarray, image_shape: tuple[int, int, int], name: str) -> np.ndarray:
    channels, height, width = image_shape
    if array.shape[1:] == (channels, height, width):
        return array
    if array.shape[1:] == (height, width, channels):
        return array.transpose(0, 3, 1, 2)
    raise ValueError(f"X holds samples of shape {array.shape[1:]}, expected {name}={image_shape}")
