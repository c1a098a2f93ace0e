"""HEIC photographs are read like others, upright once, and without a trace in Pillow."""

import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from skdeepclust.engine.decode import UnreadableImage, decode, read_header
from skdeepclust.engine.files import ImageFiles

pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")

# RGB is stored as it is, not as YCbCr, which would round.
EXACT = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}


def smooth(height=24, width=40):
    y, x = np.mgrid[:height, :width]
    return np.stack([200 * y // height, 250 * x // width, x + y & 255], axis=2).astype(np.uint8)


def save(path, pixels, orientation=None, **params):
    """Write pixels as a camera does that was held so: turned by the container, and in EXIF data."""
    image = Image.fromarray(pixels)
    if orientation:
        params["exif"] = b"Exif\0\0" + exif_of(orientation)
    pillow_heif.encode(image.mode, image.size, pixels.tobytes(), path, **EXACT | params)
    return path


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()[len(b"Exif\0\0") :]


def seen(path):
    return decode(path).permute(1, 2, 0).squeeze(2).numpy()


def swap(path, old, new):
    """Write other bytes where a file has `old`."""
    data = path.read_bytes()
    assert old in data and len(old) == len(new)
    path.write_bytes(data.replace(old, new))
    return path


def size_box(width, height):
    return b"ispe" + struct.pack(">III", 0, width, height)


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.hif", "a.jpg"])
@pytest.mark.parametrize("brand", [None, b"mif1"])
def test_pixels_come_back_whatever_the_ending(name, brand, tmp_path):
    path = save(tmp_path / name, smooth())
    if brand:
        path.write_bytes(path.read_bytes()[:8] + brand + path.read_bytes()[12:])
    np.testing.assert_array_equal(seen(path), smooth())
    assert read_header(str(path)) == (24, 40, False)
    assert ImageFiles(tmp_path).shape == (1, 3, 24, 40)


def test_lossy_files_come_back_nearly(tmp_path):
    path = save(tmp_path / "a.heic", smooth(), quality=90, chroma=420, matrix_coefficients=6)
    assert np.abs(seen(path).astype(int) - smooth()).mean() < 4


def test_grey_stays_grey_and_transparent_pixels_become_white(tmp_path):
    grey = save(tmp_path / "grey.heic", smooth()[:, :, 1], matrix_coefficients=6)
    np.testing.assert_array_equal(seen(grey), smooth()[:, :, 1])
    assert read_header(str(grey)) == (24, 40, True)
    alpha = np.full((24, 40, 1), 255, np.uint8)
    alpha[:, :20] = 0
    found = seen(save(tmp_path / "alpha.heic", np.concatenate([smooth(), alpha], axis=2)))
    assert (found[:, :20] == 255).all()
    np.testing.assert_array_equal(found[:, 20:], smooth()[:, 20:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("exif", [False, True])
def test_images_are_turned_once(orientation, exif, tmp_path):
    """The container says how; the EXIF data of an iPhone say it again."""
    path = save(tmp_path / "a.heic", smooth(), orientation)
    if not exif:
        swap(path, exif_of(orientation), exif_of(1))
    turned = Image.fromarray(smooth())
    turned.info["exif"] = b"Exif\0\0" + exif_of(orientation)
    upright = np.asarray(ImageOps.exif_transpose(turned))
    np.testing.assert_array_equal(seen(path), upright)
    assert read_header(str(path))[:2] == upright.shape[:2]


def test_a_rotation_in_exif_data_alone_does_not_count(tmp_path):
    path = swap(save(tmp_path / "a.heic", smooth(), 1), exif_of(1), exif_of(6))
    np.testing.assert_array_equal(seen(path), smooth())
    assert read_header(str(path)) == (24, 40, False)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_thumbnail_is_no_smaller_than_asked(orientation, tmp_path):
    path = save(tmp_path / "a.heic", smooth(480, 640), orientation, thumbnails=[160])
    whole, small = decode(path), decode(path, (60, 90))
    assert small.shape[1] >= 90 and small.shape[2] >= 90
    assert decode(path, (130, 90)).shape == whole.shape
    step = whole.shape[1] // small.shape[1]
    difference = whole[:, ::step, ::step].int() - small.int()
    assert difference[:2].abs().float().mean() < 8


# -- what is no image ---------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "cut": (cut, "."),
    "header": (lambda path: path.write_bytes(path.read_bytes()[:40]), "."),
    "bomb": (lambda path: swap(path, size_box(320, 240), size_box(30_000, 30_000)), "bomb"),
    "larger than it says": (lambda path: swap(path, size_box(320, 240), size_box(16, 16)), "limit"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named(kind, tmp_path):
    spoil, why = BROKEN[kind]
    path = save(tmp_path / "a.heic", smooth(240, 320))
    spoil(path)
    with pytest.raises(UnreadableImage, match=rf"a\.heic: .*{why}"):
        decode(path)
    if kind in ("header", "bomb"):
        assert read_header(str(path)) == (0, 0, False)


def test_the_limit_of_pillow_is_the_users(tmp_path, monkeypatch):
    path = save(tmp_path / "a.heic", smooth())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 40 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        decode(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 40 // 2 - 1)
    with pytest.raises(UnreadableImage, match="decompression bomb"):
        decode(path)


# -- with Pillow, and without the plugin --------------------------------------------------------


def test_pillow_itself_stays_as_it_was(tmp_path):
    Image.init()
    tables = Image.ID, Image.OPEN, Image.SAVE, Image.MIME, Image.EXTENSION
    before = [table.copy() for table in tables]
    decode(save(tmp_path / "a.heic", smooth()))
    assert list(tables) == before


def test_the_plugin_is_imported_for_its_files_only(tmp_path):
    script = (
        "import sys\n"
        "from skdeepclust import ImageFiles\n"
        "for path in sys.argv[1:]:\n"
        "    print(ImageFiles([path]).shape[0], 'pillow_heif' in sys.modules)"
    )
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    paths = [tmp_path / "a.png", save(tmp_path / "b.heic", smooth())]
    run = [sys.executable, "-c", script, *map(str, paths)]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["1", "False", "1", "True"]


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_without_the_plugin_the_message_says_what_to_install(name, tmp_path, monkeypatch):
    path = save(tmp_path / name, smooth())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImage, match=r'pip install "skdeepclust\[heic\]".*JPEG'):
        decode(path)
    assert read_header(str(path)) == (0, 0, False)
