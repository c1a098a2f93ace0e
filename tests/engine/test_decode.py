"""Every kind of image file is read as one sees it, and what is none is named."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, ImageOps

from skdeepclust.engine.decode import (
    UnreadableImage,
    decode,
    from_pillow,
    read_header,
    reopened,
    resize,
)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def smooth(height=24, width=40):
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * y, 5 * x, 2 * (x + y)], axis=2).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(image, name, **params):
        path = tmp_path / name
        image.save(path, **params)
        return path

    return write


def seen(path):
    """What `decode` gives, channels last."""
    return decode(path).permute(1, 2, 0).squeeze(2).numpy()


# -- kinds of files -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.tga"])
@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_lossless_files_come_back(name, shape, save):
    np.testing.assert_array_equal(seen(save(Image.fromarray(pixels(*shape)), name)), pixels(*shape))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_lossy_files_come_back_nearly(name, save):
    found = seen(save(Image.fromarray(smooth()), name, quality=95))
    assert np.abs(found.astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_what_pillow_decodes(mode, save):
    path = save(Image.fromarray(smooth()).convert(mode), "a.jpg")
    np.testing.assert_array_equal(seen(path), np.asarray(Image.open(path)))


def test_large_jpegs_are_decoded_no_smaller_than_asked(save):
    gradient = np.add.outer(np.arange(400), np.arange(640)) * 255 / 1038
    path = save(Image.fromarray(np.stack(3 * [gradient], axis=2).astype("u1")), "a.jpg")
    assert decode(path).shape == (3, 400, 640)
    assert decode(path, (60, 90)).shape == (3, 100, 160)
    assert decode(path, (120, 120)).shape == (3, 200, 320)
    assert decode(path, (500, 500)).shape == (3, 400, 640)
    half = resize(decode(path), (200, 320), 3).int() - decode(path, (120, 120)).int()
    assert half.abs().float().mean() < 2


def test_an_ending_may_lie(save):
    path = save(Image.fromarray(pixels(4, 4, 3)), "a.jpg", format="PNG")
    np.testing.assert_array_equal(seen(path), pixels(4, 4, 3))


def test_cmyk_becomes_colour(save):
    path = save(Image.fromarray(smooth()).convert("CMYK"), "a.jpg", quality=95)
    assert np.abs(seen(path).astype(int) - smooth()).mean() < 4


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_become_eight(name, save):
    deep = np.linspace(0, 65535, 35).astype(np.uint16).reshape(5, 7)
    np.testing.assert_array_equal(seen(save(Image.fromarray(deep), name)), deep >> 8)


def test_one_bit_becomes_black_and_white(save):
    bits = pixels(6, 9) > 127
    np.testing.assert_array_equal(seen(save(Image.fromarray(bits), "a.png")), 255 * bits)


def test_a_palette_becomes_its_colours(save):
    image = Image.fromarray(smooth()).quantize(16)
    np.testing.assert_array_equal(seen(save(image, "a.png")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_become_white(mode, save):
    image = Image.fromarray(smooth()).convert(mode)
    alpha = np.zeros(smooth().shape[:2], np.uint8)
    alpha[:, 20:] = 255
    image.putalpha(Image.fromarray(alpha))
    found = seen(save(image, "a.png"))
    assert (found[:, :20] == 255).all()
    np.testing.assert_array_equal(found[:, 20:], np.asarray(image.convert("RGB"))[:, 20:])


def test_a_transparent_colour_of_a_palette_becomes_white(save):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    found = seen(save(image, "a.png", transparency=0))
    np.testing.assert_array_equal(found, [[[255, 255, 255], [40, 50, 60]]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_images_are_turned_as_their_exif_says(orientation, name, save):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(smooth()), name, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(seen(path), upright)
    assert read_header(str(path))[:2] == upright.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_raw_pixels_are_turned_too(depth, orientation, save):
    pixels = (smooth()[..., 0].astype(depth) << (8 if depth is np.uint16 else 0)).astype(depth)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(pixels), "a.tif", exif=exif)
    plain = save(Image.fromarray(smooth()[..., 0]), "plain.png", exif=exif)
    np.testing.assert_array_equal(decode(path), decode(plain))
    assert read_header(str(path)) == read_header(str(plain))
    image = Image.open(path)  # as users have it
    np.testing.assert_array_equal(from_pillow(reopened(image)), decode(plain))


def test_an_odd_tag_does_not_keep_a_photograph_from_being_turned(save):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02"
    exif += b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"  # orientation 6
    exif += b"\x01\x28\0\x02\0\0\0\x02a\0\0\0" + bytes(4)  # a unit that is a text
    path = save(Image.fromarray(smooth()), "a.jpg", exif=exif)
    turned = np.rot90(np.asarray(Image.open(path)), -1)
    np.testing.assert_array_equal(seen(path), turned)


@pytest.mark.parametrize("values", [(0, 255), (-1000, 1000), (0, 1_000_000)])
def test_integers_of_no_known_range_are_refused(values, save):
    pixels = np.linspace(*values, 48).astype(np.int32).reshape(6, 8)
    with pytest.raises(UnreadableImage, match="integers of no known range; pass an array"):
        decode(save(Image.fromarray(pixels), "a.tif"))


def test_the_first_picture_of_an_animation_is_taken(save):
    first, second = (Image.fromarray(np.full((4, 6), v, np.uint8)) for v in (30, 200))
    path = save(first, "a.gif", save_all=True, append_images=[second])
    assert decode(path).unique().tolist() == [30]


@pytest.mark.parametrize(("shape", "grey"), [((4, 6), True), ((4, 6, 3), False)])
def test_headers_tell_size_and_kind(shape, grey, save):
    assert read_header(str(save(Image.fromarray(pixels(*shape)), "a.png"))) == (4, 6, grey)


# -- what is no image ---------------------------------------------------------------------------


def bomb(side):
    """A PNG file of a hundred bytes that says it has side x side pixels."""

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def truncated(path):
    Image.fromarray(smooth()).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "empty.jpg": (lambda path: path.write_bytes(b""), "no image of a known format"),
    "text.jpg": (lambda path: path.write_text("hello"), "no image of a known format"),
    "cut.jpg": (truncated, "truncated"),
    "cut.png": (truncated, "truncated"),
    "bomb.png": (lambda path: path.write_bytes(bomb(30_000)), "decompression bomb"),
    "missing.png": (lambda path: None, "there is no such file"),
    "folder.png": (lambda path: path.mkdir(), "directory"),
    "script.jpg": (
        lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "no image of a known format",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(name, tmp_path):
    write, why = BROKEN[name]
    write(tmp_path / name)
    with pytest.raises(UnreadableImage, match=rf"{name}: .*(?i:{why})"):
        decode(tmp_path / name)


@pytest.mark.parametrize("name", sorted(set(BROKEN) - {"cut.jpg", "cut.png"}))
def test_the_header_of_a_broken_file_is_empty(name, tmp_path):
    BROKEN[name][0](tmp_path / name)
    assert read_header(str(tmp_path / name)) == (0, 0, False)


def test_floating_point_pixels_are_refused(save):
    path = save(Image.fromarray(np.zeros((3, 3), np.float32)), "a.tif")
    with pytest.raises(UnreadableImage, match=r"a\.tif: .*pass an array"):
        decode(path)


def test_flags_of_pillow_stay_as_they_were(tmp_path):
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    for name, (write, _) in BROKEN.items():
        write(tmp_path / name)
        with pytest.raises(UnreadableImage):
            decode(tmp_path / name)
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == before


# -- sizes and channels -------------------------------------------------------------------------


def test_grey_becomes_colour_and_back():
    grey = torch.from_numpy(pixels(1, 5, 6))
    colour = resize(grey, (5, 6), 3)
    assert torch.equal(colour, grey.expand(3, -1, -1))
    assert torch.equal(resize(colour, (5, 6), 1), grey)


def test_colour_becomes_grey_as_in_pillow():
    image = Image.fromarray(smooth())
    found = resize(torch.from_numpy(smooth()).permute(2, 0, 1), smooth().shape[:2], 1)
    assert np.abs(found[0].numpy().astype(int) - np.asarray(image.convert("L"))).max() <= 1


@pytest.mark.parametrize("size", [(9, 13), (24, 40), (50, 60)])
def test_resizing_is_pillows(size):
    image = Image.fromarray(smooth()).resize(size[::-1], Image.Resampling.BILINEAR)
    found = resize(torch.from_numpy(smooth()).permute(2, 0, 1), size, 3).permute(1, 2, 0)
    assert np.abs(found.numpy().astype(int) - np.asarray(image)).max() <= 1
