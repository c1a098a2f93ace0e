"""Read the benchmark data sets from a local folder, or download them into it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skdeepclust.datasets._facts import (
    CIFAR10,
    CIFAR100,
    FASHION_MNIST,
    MNIST,
    STL10,
    SUPERCLASSES,
    ImageSet,
    superclass_of_class,
)

_Arrays = tuple[np.ndarray, np.ndarray]


def fetch_cifar10(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train+test",
    return_X_y: bool = False,
) -> Bunch | _Arrays:
    """Fetch CIFAR-10: 60,000 colour images of 32 x 32 pixels in 10 classes.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder that holds, or whose sub-folder `cifar10` holds, either `train_x.npy`, `train_y.npy`,
        `test_x.npy` and `test_y.npy`, or torchvision's folder `cifar-10-batches-py`. Missing files
        are downloaded into it. None means the environment variable `SKDEEPCLUST_DATA` or else
        `~/skdeepclust_data`.
    split : {"train", "test", "train+test"}, default="train+test"
        Part of the images; training images come first.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple of ndarray
        `images`, uint8 of shape (n_samples, 32, 32, 3); `target`, int64 of shape (n_samples,);
        `target_names`; `DESCR`.

    Raises
    ------
    ValueError
        If `split` is unknown, or a file is damaged or does not match the other one.
    FileNotFoundError
        If the files are not there and cannot be downloaded.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_cifar10
    >>> images, target = fetch_cifar10(return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(CIFAR10, data_home, split, return_X_y)


def fetch_cifar100(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train+test",
    superclasses: bool = True,
    return_X_y: bool = False,
) -> Bunch | _Arrays:
    """Fetch CIFAR-100: 60,000 colour images of 32 x 32 pixels in 20 super-classes.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder that holds, or whose sub-folder `cifar100` holds, either `train_x.npy`,
        `train_y.npy`, `test_x.npy` and `test_y.npy` (labels 0, ..., 99), or torchvision's folder
        `cifar-100-python`. Missing files are downloaded into it. None means the environment
        variable `SKDEEPCLUST_DATA` or else `~/skdeepclust_data`.
    split : {"train", "test", "train+test"}, default="train+test"
        Part of the images; training images come first.
    superclasses : bool, default=True
        Return the 20 super-classes, on which the literature compares clusterings, instead of the
        100 classes.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple of ndarray
        `images`, uint8 of shape (n_samples, 32, 32, 3); `target`, int64 of shape (n_samples,);
        `target_names`; `DESCR`.

    Raises
    ------
    ValueError
        If `split` is unknown, or a file is damaged or does not match the other one.
    FileNotFoundError
        If the files are not there and cannot be downloaded.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_cifar100
    >>> fetch_cifar100().target_names[:3]  # doctest: +SKIP
    array(['aquatic_mammals', 'fish', 'flowers'], dtype='<U30')
    """
    data = _fetch(CIFAR100, data_home, split, return_X_y=False)
    if superclasses:
        data.target = superclass_of_class()[data.target]
        data.target_names = np.array(list(SUPERCLASSES))
    return (data.images, data.target) if return_X_y else data


def fetch_stl10(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train+test",
    return_X_y: bool = False,
) -> Bunch | _Arrays:
    """Fetch STL-10: 13,000 colour images of 96 x 96 pixels in 10 classes, 100,000 without label.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder that holds, or whose sub-folder `stl10` holds, either `train_x.npy`, `train_y.npy`,
        `test_x.npy`, `test_y.npy` and `unlabeled_x.npy`, or torchvision's folder `stl10_binary`.
        Missing files are downloaded into it. None means the environment variable
        `SKDEEPCLUST_DATA` or else `~/skdeepclust_data`.
    split : {"train", "test", "train+test", "unlabeled", "train+unlabeled", \
            "train+test+unlabeled"}, default="train+test"
        Part of the images, in this order.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple of ndarray
        `images`, uint8 of shape (n_samples, 96, 96, 3); `target`, int64 of shape (n_samples,),
        which is -1 where there is no label; `target_names`; `DESCR`.

    Raises
    ------
    ValueError
        If `split` is unknown, or a file is damaged or does not match the other one.
    FileNotFoundError
        If the files are not there and cannot be downloaded.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_stl10
    >>> images, target = fetch_stl10(return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(STL10, data_home, split, return_X_y)


def fetch_mnist(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train+test",
    return_X_y: bool = False,
) -> Bunch | _Arrays:
    """Fetch MNIST: 70,000 grey images of 28 x 28 pixels, the digits 0 to 9.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder that holds, or whose sub-folder `mnist` holds, either `train_x.npy`, `train_y.npy`,
        `test_x.npy` and `test_y.npy`, or torchvision's folder `MNIST/raw`. Missing files are
        downloaded into it. None means the environment variable `SKDEEPCLUST_DATA` or else
        `~/skdeepclust_data`.
    split : {"train", "test", "train+test"}, default="train+test"
        Part of the images; training images come first.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple of ndarray
        `images`, uint8 of shape (n_samples, 28, 28); `target`, int64 of shape (n_samples,);
        `target_names`; `DESCR`.

    Raises
    ------
    ValueError
        If `split` is unknown, or a file is damaged or does not match the other one.
    FileNotFoundError
        If the files are not there and cannot be downloaded.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_mnist
    >>> images, target = fetch_mnist(split="test", return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(MNIST, data_home, split, return_X_y)


def fetch_fashion_mnist(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train+test",
    return_X_y: bool = False,
) -> Bunch | _Arrays:
    """Fetch Fashion-MNIST: 70,000 grey images of 28 x 28 pixels, 10 kinds of clothing.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder that holds, or whose sub-folder `fashion-mnist` holds, either `train_x.npy`,
        `train_y.npy`, `test_x.npy` and `test_y.npy`, or torchvision's folder `FashionMNIST/raw`.
        Missing files are downloaded into it. None means the environment variable
        `SKDEEPCLUST_DATA` or else `~/skdeepclust_data`.
    split : {"train", "test", "train+test"}, default="train+test"
        Part of the images; training images come first.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple of ndarray
        `images`, uint8 of shape (n_samples, 28, 28); `target`, int64 of shape (n_samples,);
        `target_names`; `DESCR`.

    Raises
    ------
    ValueError
        If `split` is unknown, or a file is damaged or does not match the other one.
    FileNotFoundError
        If the files are not there and cannot be downloaded.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_fashion_mnist
    >>> images, target = fetch_fashion_mnist(split="test", return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(FASHION_MNIST, data_home, split, return_X_y)


def resolve_home(data_home: str | os.PathLike | None) -> Path:
    """Folder of the data sets; None is `SKDEEPCLUST_DATA` or else `~/skdeepclust_data`."""
    if data_home is None:
        data_home = os.environ.get("SKDEEPCLUST_DATA", "~/skdeepclust_data")
    return Path(data_home).expanduser()


def _fetch(
    facts: ImageSet, data_home: str | os.PathLike | None, split: str, return_X_y: bool
) -> Any:
    if split not in facts.splits:
        raise ValueError(f"split must be one of {list(facts.splits)}, got {split!r}.")
    home = resolve_home(data_home)
    parts = [_read_part(facts, home, part) for part in split.split("+")]
    images, target = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if return_X_y:
        return images, target
    names = np.array(facts.target_names)
    return Bunch(images=images, target=target, target_names=names, DESCR=facts.description)


# What torchvision raises where there are no files, not all, or damaged ones.
_UNREADABLE = (RuntimeError, OSError, ValueError, EOFError)


def _read_part(facts: ImageSet, home: Path, part: str) -> _Arrays:
    for folder in (home / facts.name, home):
        if (folder / f"{part}_x.npy").exists():
            return _read_npy(folder, part, len(facts.target_names))
    for folder in (home / facts.name, home):
        try:
            return _read_official(facts, folder, part)
        except _UNREADABLE:
            continue
    try:
        return _read_official(facts, home, part, download=True)
    except _UNREADABLE as error:
        raise FileNotFoundError(
            f"Found no {facts.name} images ({part!r}) and could not download them. {home}, or its "
            f"sub-folder {facts.name!r}, may hold {part}_x.npy and {part}_y.npy, or torchvision's "
            f"folder {facts.official_folder!r} with all of the official files."
        ) from error


def _read_npy(folder: Path, part: str, n_classes: int) -> _Arrays:
    images = _load(folder / f"{part}_x.npy")
    if part == "unlabeled":
        return images, np.full(len(images), -1)
    target = _load(folder / f"{part}_y.npy").ravel()
    if not np.isin(target, np.arange(n_classes)).all():
        raise ValueError(
            f"{folder / f'{part}_y.npy'} must hold integers from 0 to {n_classes - 1}."
        )
    target = target.astype(np.int64)
    if len(images) != len(target):
        raise ValueError(
            f"{folder} holds {len(images)} images in {part}_x.npy "
            f"but {len(target)} labels in {part}_y.npy."
        )
    return images, target


def _load(file: Path) -> np.ndarray:
    try:
        return np.load(file)
    except (ValueError, EOFError) as error:  # numpy's advice is to run what it may hold
        raise ValueError(
            f"{file} is damaged, or holds no array of numbers: save it anew."
        ) from error


def _read_official(facts: ImageSet, folder: Path, part: str, *, download: bool = False) -> _Arrays:
    import torchvision.datasets

    reader = getattr(torchvision.datasets, facts.torchvision_class)
    data = reader(folder, download=download, **facts.part_arguments(part))
    images = np.asarray(data.data)
    if facts.channels_first:
        images = images.transpose(0, 2, 3, 1)
    target = data.labels if hasattr(data, "labels") else data.targets
    return images, np.asarray(target, dtype=np.int64)
