"""Thumbnails of many images in few files: sheets that a browser shows piecewise."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdeepclust.inspection._pictures import to_unit, value_range

# Tiles on a side of a sheet. Small sheets: a browser decodes all of one to show a tile of it.
_TILES = 10
# Pixels of a side, and the share of the budget that it may take: the first that fits is taken.
_SIDES = ((192, 1 / 3), (96, 1), (72, 1), (48, 1), (32, 1))
_ENLARGED = 96  # pixels of small images, of which nothing is to be seen in larger ones
_TRIAL = 3  # sheets' worth of images that tell how many bytes a side takes
_QUALITY = 82


@dataclass
class Sheets:
    """Images in the tiles of square sheets, row by row.

    Attributes
    ----------
    width, height : int
        Size of a tile in pixels.
    columns : int
        Tiles on each side of a sheet.
    files : list of str
        The sheets as WebP in base64.
    """

    width: int
    height: int
    columns: int
    files: list[str]


def make_sheets(pictures: Any, index: Sequence[int], n_bytes: int) -> Sheets:
    """Draw images into sheets, as large as a budget allows.

    Parameters
    ----------
    pictures : ndarray or LazyPictures of shape (n_samples, H, W) or (n_samples, H, W, C)
        All images.
    index : sequence of int
        Which to draw, in this order.
    n_bytes : int
        Most bytes that the sheets may take in base64, about.

    Returns
    -------
    Sheets
    """
    scale = value_range(pictures)
    height, width = pictures.shape[1:3]
    trial = np.linspace(0, len(index) - 1, min(len(index), _TRIAL * _TILES**2)).astype(int)
    tiles = [_as_image(pictures[index[i]], scale) for i in trial]
    for side, share in _SIDES:
        size = _tile_size(height, width, side)
        needed = sum(len(file) for file in _draw(tiles, size)) / len(tiles) * len(index)
        if needed <= n_bytes * share:
            break
    # A generator: decoded images of all samples need not fit the memory.
    files = _draw((_as_image(pictures[i], scale) for i in index), size)
    return Sheets(size[0], size[1], _TILES, list(files))


def _tile_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Width and height of a tile; small images are enlarged by a whole factor."""
    longest = max(height, width)
    if longest <= min(side, _ENLARGED):
        factor = min(side, _ENLARGED) // longest
        return width * factor, height * factor
    side = min(side, longest)
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


def _as_image(picture: np.ndarray, scale: tuple[float, float]) -> Any:
    from PIL import Image

    pixels = picture if picture.dtype == np.uint8 else to_unit(picture, *scale) * 255
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _draw(images: Any, size: tuple[int, int]) -> Any:
    """Yield the sheets of images as WebP in base64."""
    from PIL import Image

    sheet, count = None, 0
    for image in images:
        if sheet is None:
            sheet = Image.new("RGB", (size[0] * _TILES, size[1] * _TILES))
        enlarged = size[0] > image.width
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        row, column = divmod(count, _TILES)
        sheet.paste(image.resize(size, how), (column * size[0], row * size[1]))
        count += 1
        if count == _TILES**2:
            yield _encode(sheet)
            sheet, count = None, 0
    if sheet is not None:
        used = -(-count // _TILES) * size[1]
        yield _encode(sheet.crop((0, 0, sheet.width, used)))


def _encode(sheet: Any) -> str:
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=_QUALITY, method=4)
    return base64.b64encode(file.getvalue()).decode("ascii")
