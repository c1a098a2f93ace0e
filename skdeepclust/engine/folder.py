"""Which files of a folder are images."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from skdeepclust._paths import expanded
from skdeepclust.engine.decode import ENDINGS, FOREIGN
from skdeepclust.engine.heif import HEIF_ENDINGS, INSTALL_HEIF, has_heif
from skdeepclust.engine.warn import warn_user

__all__ = ["file_names"]


def file_names(folder: str | os.PathLike[str], on_error: str = "raise") -> list[str]:
    """Find the images in a folder and its sub-folders, in sorted order; warns of those left out.

    Parameters
    ----------
    folder : path-like
        Where to look.
    on_error : {"raise", "skip"}, default="raise"
        With "skip" sub-folders that cannot be read are left out as well.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such folder, it cannot be read, or it holds no image.
    """
    named = os.fspath(folder)
    if not named:
        raise ValueError("X='' is no path: pass '.' for the current folder")
    root = Path(expanded(named))
    if os.path.isfile(root):  # pathlib's own methods raise for some names
        raise ValueError(f"X={named!r} is a file: pass its folder, or a list of files")
    if not os.path.isdir(root):
        raise FileNotFoundError(f"X={named!r}: there is no such folder")
    closed: list[OSError] = []
    paths = list(_walk(root, closed))
    for error in closed:
        message = f"X={named!r}: the folder {error.filename!r} cannot be read: {error.strerror}"
        if on_error == "raise" or error.filename == os.fspath(root):
            raise ValueError(message) from error
        warn_user(f"{message}. Its images are left out.", UserWarning)
    counts = Counter(map(_ending, paths))
    # The plugin is imported only where there is something for it.
    heic = any(counts[ending] for ending in HEIF_ENDINGS) and has_heif()
    known = ENDINGS | HEIF_ENDINGS if heic else ENDINGS
    found = sorted(path for path in paths if _ending(path) in known)
    left_out = _left_out(counts, known)
    if not found:
        but = f", but {left_out}" if left_out else ""
        raise ValueError(f"X={named!r} holds no image file, nor do its sub-folders{but}")
    if left_out:
        warn_user(f"X={named!r}: left out are {left_out}", UserWarning)
    return found


def _walk(root: Path, closed: list[OSError]) -> Iterator[str]:
    """All files of a folder and its sub-folders that are not hidden; notes what is closed."""
    seen = set()
    for place, folders, names in os.walk(root, onerror=closed.append, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above, or to one that was walked
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(place, name) for name in names if not name.startswith("."))


def _left_out(counts: Counter[str], known: frozenset[str]) -> str:
    """What there is to tell of photographs that cannot be read: nothing where there are none."""
    heic = sum(counts[ending] for ending in HEIF_ENDINGS - known)
    foreign = heic + sum(counts[ending] for ending in FOREIGN)
    if heic:
        return (
            f"{foreign:,} in HEIC or a camera's own format: convert them to JPEG, or for HEIC "
            f"{INSTALL_HEIF}"
        )
    if foreign:
        return f"{foreign:,} in JPEG XL or a camera's own format: convert them to JPEG"
    return ""


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
