"""HEIC photographs, as of phones, through pillow-heif where it is installed."""

import os

from PIL import Image

__all__ = ["HEIF_ENDINGS", "INSTALL_HEIF", "has_heif", "is_heif", "open_heif"]

HEIF_ENDINGS = frozenset((".heic", ".heif", ".hif"))
INSTALL_HEIF = 'pip install "skdeepclust[heic]"'

# Major brands of the container, after "ftyp": of HEVC, then of any codec.
_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())


def has_heif() -> bool:
    """Whether HEIC can be read here."""
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        return False
    return True


def is_heif(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts as a HEIC photograph does, whatever it is called."""
    with open(path, "rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:] in _BRANDS


def open_heif(path: str | os.PathLike[str]) -> Image.Image:
    """Open a HEIC photograph as ``PIL.Image.open`` would; decodes nothing.

    The plugin is not registered with Pillow: what that opens and saves in the rest of a program
    stays the same.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    PIL.Image.Image
        Upright: the decoder turns the picture as the container says, which for HEIC is what
        counts, and its EXIF data no longer name a rotation.

    Raises
    ------
    ValueError
        If pillow-heif is not installed.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ValueError(
            f"HEIC needs pillow-heif: {INSTALL_HEIF}, or convert it to JPEG"
        ) from error
    image = HeifImageFile(path)
    try:
        # What Image.open does with all that it has opened: its limit, its error and its warning.
        Image._decompression_bomb_check(image.size)
    except Exception:
        image.close()
        raise
    return image
