"""Image files as lazy arrays, and what X is: files, items that are read one by one, an array."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from joblib import cpu_count
from torch import Tensor
from torch.utils.data import Dataset, Subset

from skdeepclust._paths import expanded
from skdeepclust.engine.arrays import MixedShapes, as_array
from skdeepclust.engine.decode import decode, read_header
from skdeepclust.engine.folder import file_names
from skdeepclust.engine.items import ImageItems, are_items, hold_bytes, hold_pictures
from skdeepclust.engine.lazy import DETAIL, LazyImages, Shape, settled_shape

__all__ = ["ImageFiles", "as_samples"]


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
    on_error : {"raise", "skip"}, default="raise"
        What to do about a sub-folder that cannot be read: "skip" leaves it out and warns.
        What becomes of a file that cannot be read is for the estimator to say.

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
        If the folder holds no image, it or a sub-folder cannot be read, or `image_shape` has
        other channels.

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
    >>> files.shape, files[[0, 2]].shape, int(files[2].max())
    ((3, 3, 16, 16), (2, 3, 16, 16), 200)
    >>> folder.cleanup()
    """

    def __init__(self, files: Any, image_shape: Shape | None = None, *, on_error: str = "raise"):
        one = _is_path(files)
        names = file_names(files, on_error) if one else [expanded(path) for path in files]
        with ThreadPoolExecutor(cpu_count()) as pool:
            headers = np.array(list(pool.map(read_header, names, chunksize=64)), dtype=np.int64)
        headers = headers.reshape(-1, 3)
        super().__init__(names, headers[:, :2], settled_shape(image_shape, headers))

    @property
    def paths(self) -> list[str]:
        """The files, in the order of the samples."""
        return list(self.names)

    def full(self, i: int) -> Tensor:
        """Decode all of file `i`: (C, H, W), uint8, of its own size or well above ours."""
        # Of what is needed at most, whatever is needed now: samples must not depend on it.
        _, height, width = self.image_shape
        return decode(self.names[i], (DETAIL * height, DETAIL * width))


def as_samples(X: Any, image_shape: Shape | None, on_error: str = "raise") -> Any:
    """What X is: images that are read one by one, or an array in memory.

    Parameters
    ----------
    X : object
        As users pass it.
    image_shape : (C, H, W) or None
        Shape of the samples, if it is known.
    on_error : {"raise", "skip"}, default="raise"
        As of `ImageFiles`.

    Returns
    -------
    LazyImages, ndarray, DataFrame or sparse matrix
        Lazy for a folder, paths, and a Dataset of images that have to be brought to one shape;
        others for scikit-learn's validation, see `as_array`.

    Raises
    ------
    TypeError
        If some items of X are paths and others are not.
    """
    if isinstance(X, LazyImages):
        return X.with_shape(image_shape)
    if are_items(X):
        X = Subset(X, range(len(X)))
    if _is_path(X) or _are_paths(X):
        return ImageFiles(X, image_shape, on_error=on_error)
    if hold_pictures(X, image_shape):
        return ImageItems(X, image_shape)
    try:
        return as_array(X)
    except MixedShapes:
        if not hold_bytes(X):
            raise
        return ImageItems(X, image_shape)


def _is_path(X: Any) -> bool:
    return isinstance(X, str | os.PathLike)


def _are_paths(X: Any) -> bool:
    if getattr(X, "ndim", 1) != 1 or not hasattr(X, "__len__") or not hasattr(X, "__iter__"):
        return False
    if isinstance(X, Dataset | dict | bytes | Tensor) or len(X) == 0:
        return False
    if not (isinstance(X, list | tuple) or hasattr(X, "ndim") or _is_path(next(iter(X)))):
        return False  # a Dataset of somebody's, whose items cost
    paths = [_is_path(item) for item in X]
    if any(paths) and not all(paths):
        i = paths.index(False)
        odd = repr(list(X)[i])
        raise TypeError(f"X[{i}] is {odd:.80}, where other items are paths: leave it out")
    return all(paths)
