"""ImageNet and its subsets for clustering, from a local folder with a sub-folder for each WNID."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import Bunch

from skdeepclust.datasets._fetch import resolve_home

if TYPE_CHECKING:
    from skdeepclust.engine.files import ImageFiles

# The classes of the literature's subsets (Chang et al., ICCV 2017), by WordNet's identifiers.
IMAGENET10 = (
    "n02056570 n02085936 n02128757 n02690373 n02692877 "
    "n03095699 n04254680 n04285008 n04467665 n07747607"
).split()
DOGS = (
    "n02085936 n02086646 n02088238 n02091467 n02097130 n02099601 n02101388 n02101556 "
    "n02102177 n02105056 n02105412 n02105855 n02107142 n02110958 n02112137"
).split()
_SPLITS = ("train", "val", "train+val")
_Shape = tuple[int, int, int]


def fetch_imagenet(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train",
    image_shape: _Shape | None = None,
    return_X_y: bool = False,
) -> "Bunch | tuple[ImageFiles, np.ndarray]":
    """Find ImageNet-1k in a local folder: 1,281,167 training images in 1,000 classes.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder that holds, or whose sub-folder `imagenet` holds, `train` and `val` with a
        sub-folder of JPEG files for each WNID. None means the environment variable
        `SKDEEPCLUST_DATA` or else `~/skdeepclust_data`. Nothing is downloaded.
    split : {"train", "val", "train+val"}, default="train"
        Part of the images; training images come first.
    image_shape : (C, H, W), default=None
        What methods see of each image, see :class:`~skdeepclust.ImageFiles`.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple
        `images`, an :class:`~skdeepclust.ImageFiles`, which is read lazily; `target`, int64 of
        shape (n_samples,); `target_names`, the WNIDs; `DESCR`.

    Raises
    ------
    ValueError
        If `split` is unknown.
    FileNotFoundError
        If the folder has no such images, or lacks a class.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_imagenet
    >>> images, target = fetch_imagenet(data_home="data", return_X_y=True)  # doctest: +SKIP
    """
    names = ("imagenet", "ILSVRC2012", "")
    return _find("ImageNet-1k", names, None, data_home, split, image_shape, return_X_y)


def fetch_imagenet10(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train",
    image_shape: _Shape | None = None,
    return_X_y: bool = False,
) -> "Bunch | tuple[ImageFiles, np.ndarray]":
    """Find ImageNet-10 in a local folder: 13,000 training images of ten classes of ImageNet-1k.

    Parameters
    ----------
    data_home : path-like, default=None
        As for :func:`fetch_imagenet`; the folder may hold these classes only, or more.
    split : {"train", "val", "train+val"}, default="train"
        Part of the images; training images come first.
    image_shape : (C, H, W), default=None
        What methods see of each image.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple
        As of :func:`fetch_imagenet`.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`fetch_imagenet`.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_imagenet10
    >>> images, target = fetch_imagenet10(data_home="data", return_X_y=True)  # doctest: +SKIP
    """
    names = ("imagenet10", "imagenet", "ILSVRC2012", "")
    return _find("ImageNet-10", names, IMAGENET10, data_home, split, image_shape, return_X_y)


def fetch_imagenet_dogs(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train",
    image_shape: _Shape | None = None,
    return_X_y: bool = False,
) -> "Bunch | tuple[ImageFiles, np.ndarray]":
    """Find ImageNet-Dogs in a local folder: 19,500 training images of 15 breeds of ImageNet-1k.

    Parameters
    ----------
    data_home : path-like, default=None
        As for :func:`fetch_imagenet`; the folder may hold these classes only, or more.
    split : {"train", "val", "train+val"}, default="train"
        Part of the images; training images come first.
    image_shape : (C, H, W), default=None
        What methods see of each image.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple
        As of :func:`fetch_imagenet`.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`fetch_imagenet`.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_imagenet_dogs
    >>> images, target = fetch_imagenet_dogs(data_home="data", return_X_y=True)  # doctest: +SKIP
    """
    names = ("imagenet-dogs", "imagenet", "ILSVRC2012", "")
    return _find("ImageNet-Dogs", names, DOGS, data_home, split, image_shape, return_X_y)


def fetch_tiny_imagenet(
    *,
    data_home: str | os.PathLike | None = None,
    split: str = "train",
    image_shape: _Shape | None = None,
    return_X_y: bool = False,
) -> "Bunch | tuple[ImageFiles, np.ndarray]":
    """Find Tiny-ImageNet in a local folder: 100,000 training images of 64 x 64, 200 classes.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder that holds `tiny-imagenet-200` as it was published: `train/WNID/images`, and
        `val/images` beside `val/val_annotations.txt`.
    split : {"train", "val", "train+val"}, default="train"
        Part of the images; training images come first.
    image_shape : (C, H, W), default=None
        What methods see of each image.
    return_X_y : bool, default=False
        Return `(images, target)` only.

    Returns
    -------
    Bunch or tuple
        As of :func:`fetch_imagenet`.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`fetch_imagenet`.

    Examples
    --------
    >>> from skdeepclust.datasets import fetch_tiny_imagenet
    >>> images, target = fetch_tiny_imagenet(data_home="data", return_X_y=True)  # doctest: +SKIP
    """
    names = ("tiny-imagenet-200", "tiny-imagenet", "")
    return _find("Tiny-ImageNet", names, None, data_home, split, image_shape, return_X_y)


def _find(
    title: str,
    names: Sequence[str],
    wnids: Sequence[str] | None,
    data_home: str | os.PathLike | None,
    split: str,
    image_shape: _Shape | None,
    return_X_y: bool,
) -> Any:
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {list(_SPLITS)}, got {split!r}.")
    root = _root(title, names, data_home, split)
    classes = list(wnids or _classes(root))
    # Only here: the other data sets need no torch.
    from skdeepclust.engine.files import ImageFiles

    found = [pair for part in split.split("+") for pair in _part(title, root / part, classes)]
    images = ImageFiles([path for path, _ in found], image_shape)
    code = {wnid: i for i, wnid in enumerate(classes)}
    target = np.array([code[wnid] for _, wnid in found], dtype=np.int64)
    if return_X_y:
        return images, target
    description = f"{title}, {split}: {len(target):,} images of {len(classes)} classes, by WNID."
    return Bunch(images=images, target=target, target_names=np.array(classes), DESCR=description)


def _root(
    title: str, names: Sequence[str], data_home: str | os.PathLike | None, split: str
) -> Path:
    home = resolve_home(data_home)
    for folder in (home / name for name in names):
        if all((folder / part).is_dir() for part in split.split("+")):
            return folder
    raise FileNotFoundError(
        f"Found no {title} in {home}: it, or its sub-folder {names[0]!r}, must hold the folders "
        f"{split.split('+')} with a sub-folder for each WNID. Nothing is downloaded."
    )


def _classes(root: Path) -> list[str]:
    """WNIDs of a whole set; its validation part may be one folder for all."""
    part = root / "train" if (root / "train").is_dir() else root / "val"
    found = sorted(path.name for path in part.iterdir() if path.is_dir() and path.name[0] == "n")
    if not found:
        raise FileNotFoundError(
            f"{part} holds no sub-folder that is named by a WNID, as n01440764."
        )
    return found


def _part(title: str, folder: Path, classes: list[str]) -> list[tuple[str, str]]:
    """Path and WNID of every image of a part, class by class."""
    annotations = folder / "val_annotations.txt"
    if annotations.exists():
        known = set(classes)
        rows = [line.split("\t")[:2] for line in annotations.read_text().splitlines() if line]
        for row in rows:
            if len(row) < 2 or row[1] not in known:
                raise ValueError(f"{annotations}: {row} is no file and a WNID of the classes.")
        return [(str(folder / "images" / name), wnid) for name, wnid in sorted(rows)]
    found = []
    for wnid in classes:
        files = sorted(path for path in folder.glob(f"{wnid}/**/*") if _is_image(path))
        if not files:
            raise FileNotFoundError(f"{title}: {folder / wnid} holds no image.")
        found += [(str(path), wnid) for path in files]
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in (".jpeg", ".jpg", ".png") and path.is_file()
