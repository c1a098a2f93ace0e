"""Image files into uint8 tensors, whatever their format, mode and rotation."""

import contextlib
import functools
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from skdeepclust._errors import first_line
from skdeepclust.augment.functional import LUMA
from skdeepclust.engine.heif import is_heif, open_heif

__all__ = [
    "ENDINGS",
    "FOREIGN",
    "Header",
    "MissingImage",
    "UnreadableImage",
    "arrange",
    "decode",
    "from_pillow",
    "header_of",
    "read_header",
    "reopened",
    "resize",
]

# Not all that Pillow knows: for some formats it starts other programs.
_FORMATS = {
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k"),
    "PNG": (".png", ".apng"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
ENDINGS = frozenset(ending for endings in _FORMATS.values() for ending in endings)
# Of phones and cameras: who has such photographs must not think that they are among the rest.
FOREIGN = frozenset(".jxl .dng .arw .cr2 .cr3 .nef .orf .raf .rw2".split())

_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101
_TURNED = range(5, 9)  # EXIF orientations that swap height and width
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY = ("1", "L")
_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose integers, of Pillow's mode "I", have 16 bits


class UnreadableImage(ValueError):
    """A file that holds no image; the message names it and says why."""


class MissingImage(UnreadableImage, FileNotFoundError):
    """There is no such file."""


class Header(NamedTuple):
    """What a file says of its image before it is decoded: (0, 0) where it cannot be used."""

    height: int = 0
    width: int = 0
    grey: bool = False


def read_header(path: str) -> Header:
    """Read the size and kind of an image file, upright; decodes nothing."""
    try:
        with _open(path) as image:
            return _header(image)
    except Exception:  # Pillow raises anything on files that are none; decoding will tell
        return Header()


def header_of(image: Image.Image) -> Header:
    """What `from_pillow` makes of an image, which is decoded only if its file cannot be opened."""
    again = reopened(image)
    if again is None:
        # The image's own method, which may decode: what it has seen is kept for `from_pillow`.
        image.getexif()
        return _header(image)
    with again:
        return _header(again)


def _header(image: Image.Image) -> Header:
    if image.mode == "F":
        return Header()
    # The class's own method: that of PNG files decodes the image to look for more.
    turned = Image.Image.getexif(image).get(_ORIENTATION, 1) in _TURNED
    tags = getattr(image, "tag_v2", None)  # of a TIFF, which newer versions of Pillow turn
    if tags is not None and image.size != (tags.get(_WIDTH), tags.get(_HEIGHT)):
        turned = False
    grey = image.mode.startswith("I") or (image.mode in _GREY and not image.has_transparency_data)
    width, height = image.size
    return Header(width, height, grey) if turned else Header(height, width, grey)


def reopened(image: Image.Image) -> ImageFile.ImageFile | None:
    """Open the file of an image of Pillow once more, to decode that: the image stays small.

    Parameters
    ----------
    image : Image
        As users have it.

    Returns
    -------
    ImageFile or None
        None if the image has been decoded, has no file by name or in bytes, or if they no longer
        say the same: somebody has changed one of them.
    """
    if not isinstance(image, ImageFile.ImageFile) or _decoded(image) or image.tell() != 0:
        return None
    source: Any = image.filename
    if not source and isinstance(image.fp, io.BytesIO):
        source = io.BytesIO(image.fp.getvalue())
    try:
        if source and image.format == "TIFF" and not isinstance(source, io.BytesIO):
            source = io.BytesIO(Path(source).read_bytes())  # not by its name, see `_open`
        again = Image.open(source)
    except Exception:  # Pillow raises anything on a file that is gone, or that has no name
        return None
    if _identity(again) == _identity(image):
        return again
    again.close()
    return None


def _decoded(image: Image.Image) -> bool:
    own = vars(image)
    return own.get("_im", own.get("im")) is not None  # the second one before Pillow 11


def _identity(image: Image.Image) -> tuple[Any, ...]:
    return type(image), image.size, image.mode, image.info


@contextlib.contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    if stat.S_ISFIFO(os.stat(path).st_mode):  # to open it is to wait for its other end
        raise ValueError("it is a pipe, not a file")
    # By its name Pillow would map raw pixels into memory, and confuse those of turned TIFF files.
    with open(path, "rb") as file:
        image: Image.Image
        try:
            image = Image.open(file, formats=_known_formats())
        except UnidentifiedImageError:
            if not is_heif(path):
                raise
            image = open_heif(path)
        with image:
            yield image


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Those that this build of Pillow has."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def decode(path: str | os.PathLike[str], least: tuple[int, int] | None = None) -> Tensor:
    """Decode an image file.

    Parameters
    ----------
    path : path-like
        A JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PPM or TGA file, or, with pillow-heif,
        a HEIC file. It is turned as its EXIF data say, transparent pixels become white, 16 bits
        become 8, and of an animation the first picture is taken.
    least : (height, width), default=None
        A JPEG may come at a half, a quarter or an eighth of its size, and of HEIC the thumbnail
        inside, which is far quicker, as long as it is no smaller than that.

    Returns
    -------
    Tensor of shape (C, H, W), uint8
        One channel for grey images, three for others.

    Raises
    ------
    UnreadableImage
        If the file is truncated, too large by Pillow's limit, or no image.
    MissingImage
        If it is not there.
    """
    try:
        with _open(path) as image:
            if least is not None:
                side = max(least)  # of both sides: the image may yet be turned
                image.draft(None, (side, side))
            return from_pillow(image)
    except Exception as error:  # Pillow raises anything on broken files
        kind = MissingImage if isinstance(error, FileNotFoundError) else UnreadableImage
        raise kind(f"{os.fspath(path)}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    first = first_line(error)
    return "no image of a known format" if "cannot identify" in first else first


def from_pillow(image: Image.Image) -> Tensor:
    """An image of Pillow, of any mode, as `decode` returns it."""
    source, image = image.format, _upright(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of no known range; pass an array")
    if image.mode.startswith("I"):
        # 16 bits, which Pillow's own conversion would cut off at 255.
        deep = np.asarray(image)
        sixteen = image.mode != "I" or source in _SIXTEEN_BITS
        if not sixteen and (deep.min() < 0 or not 255 < deep.max() <= 65535):
            raise ValueError("its pixels are integers of no known range; pass an array")
        return torch.from_numpy((deep >> 8).astype(np.uint8))[None]
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    return arrange(np.array(image))


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says. Pillow would write EXIF anew, which odd tags make fail."""
    image.load()  # turns a TIFF
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def arrange(pixels: np.ndarray) -> Tensor:
    """Pixels (H, W) or (H, W, C) as a tensor (C, H, W)."""
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0))


def resize(image: Tensor, size: tuple[int, int], channels: int) -> Tensor:
    """Bring an image to a size and a number of channels.

    Parameters
    ----------
    image : Tensor of shape (C, H, W), uint8
        Of one or three channels.
    size : (height, width)
        Resized to, with antialiasing.
    channels : {1, 3}
        Grey becomes colour by repeating it, colour becomes grey by its luma.

    Returns
    -------
    Tensor of shape (channels, *size), uint8
    """
    if tuple(image.shape[1:]) != size:
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    if len(image) == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    luma = torch.tensor(LUMA).view(3, 1, 1)
    return (image * luma).sum(0, keepdim=True).round_().to(torch.uint8)
