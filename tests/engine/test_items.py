"""Datasets and lists of pictures: what is asked for when, and what the user's objects keep."""

import io
import pickle
import threading

import numpy as np
import pytest
import torchvision
from PIL import Image, ImageOps
from torch.utils.data import Dataset, Subset

from skdeepclust import IDFDClustering
from skdeepclust.engine.decode import from_pillow, header_of, read_header
from skdeepclust.engine.files import as_samples
from skdeepclust.engine.items import ImageItems, _may_be_read_side_by_side


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def quick(**params):
    return IDFDClustering(
        2, **{"max_epochs": 1, "backbone": "mlp", "random_state": 0, "on_error": "raise"} | params
    )


def decoded(image):
    own = vars(image)
    return own.get("_im", own.get("im")) is not None


def by_path(path):
    return Image.open(path)


def by_bytes(path):
    return Image.open(io.BytesIO(path.read_bytes()))


def by_stream(path):
    return Image.open(io.BufferedReader(io.BytesIO(path.read_bytes())))


@pytest.fixture
def photos(tmp_path):
    """Files of mixed sizes, kinds and rotations."""
    paths = []
    for i in range(12):
        exif = Image.Exif()
        exif[0x0112] = 1 + i % 8
        picture = Image.fromarray(pixels(20 + i, 30, 3, seed=i))
        paths.append(tmp_path / f"{i:02}.{('jpg', 'png', 'webp')[i % 3]}")
        picture.save(paths[-1], exif=exif)
    return paths


# -- images of Pillow ---------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [by_path, by_bytes])
@pytest.mark.parametrize("storage", ["host", "stream"])
def test_images_of_the_user_stay_without_pixels(opened, storage, photos):
    images = [opened(path) for path in photos]
    model = quick(storage=storage, image_shape=(3, 12, 12)).fit(images)
    model.predict(images)
    assert not any(decoded(image) for image in images)
    loaded = [opened(path) for path in photos]
    for image in loaded:
        image.load()
    again = quick(storage=storage, image_shape=(3, 12, 12)).fit(loaded)
    np.testing.assert_array_equal(again.labels_, model.labels_)
    np.testing.assert_array_equal(again.transform(loaded), model.transform(images))


def kinds():
    """Images of every kind, by the file's name."""
    grey, colour = Image.fromarray(pixels(5, 8)), Image.fromarray(pixels(5, 8, 3))
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "turned.tif": (colour, {"exif": turned}),
        "turned.jpg": (colour, {"exif": turned}),
        "turned.png": (grey, {"exif": turned}),
        "grey.jpg": (grey, {}),
        "grey.gif": (grey, {}),
        "seen-through.png": (grey, {"transparency": 7}),
        "palette.png": (colour.quantize(16), {}),
        "palette-seen-through.png": (colour.quantize(16), {"transparency": 3}),
        "alpha.png": (colour.convert("RGBA"), {}),
        "grey-alpha.png": (grey.convert("LA"), {}),
        "deep.png": (Image.fromarray(pixels(5, 8).astype(np.uint16) * 257), {}),
        "deep.tif": (Image.fromarray(pixels(5, 8).astype(np.int32) * 257), {}),
        "bits.png": (grey.convert("1"), {}),
        "ink.tif": (colour.convert("CMYK"), {}),
        "web.webp": (colour, {}),
    }


@pytest.mark.parametrize("opened", [by_path, by_bytes, by_stream])
@pytest.mark.parametrize("name", kinds())
def test_headers_and_pixels_are_those_of_the_decoded_image(name, opened, tmp_path):
    image, how = kinds()[name]
    image.save(tmp_path / name, **how)
    items = ImageItems([opened(tmp_path / name)])
    with opened(tmp_path / name) as another:
        whole = from_pillow(another)
    channels, height, width = whole.shape
    assert items.headers().tolist() == [[height, width, channels == 1]]
    assert read_header(str(tmp_path / name)) == (height, width, channels == 1)
    np.testing.assert_array_equal(items.full(0), whole)
    kept = items.dataset[0]
    kept.load()
    assert header_of(kept) == (height, width, channels == 1)


def test_floating_point_pixels_have_no_header(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    assert ImageItems([Image.open(tmp_path / "a.tif")]).headers().tolist() == [[0, 0, 0]]


def drawn_on(image):
    image.paste("white", (0, 0, 4, 4))


def drafted(image):
    image.draft("L", (32, 32))


def inside_out(image):
    Image.fromarray(pixels(64, 64, 3, seed=2)).save(image.filename, comment="another")


@pytest.mark.parametrize("change", [drawn_on, drafted, inside_out])
def test_what_was_done_to_an_image_counts(change, tmp_path):
    Image.fromarray(pixels(64, 64, 3)).save(tmp_path / "a.jpg")
    first, second = Image.open(tmp_path / "a.jpg"), Image.open(tmp_path / "a.jpg")
    change(first)
    if change is not inside_out:
        change(second)
    items = ImageItems([first])
    whole = from_pillow(second)
    assert items.headers()[0, :2].tolist() == list(whole.shape[1:])
    np.testing.assert_array_equal(items.full(0), whole)


def test_of_an_animation_the_present_picture_counts(tmp_path):
    first, second = (Image.fromarray(np.full((4, 6), v, np.uint8)) for v in (30, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    image = Image.open(tmp_path / "a.gif")
    image.seek(1)
    assert np.unique(ImageItems([image]).full(0)).tolist() == [200]


def test_a_file_that_is_gone_is_read_through_its_image(photos):
    image = Image.open(photos[0])
    upright = np.asarray(ImageOps.exif_transpose(Image.open(photos[0])))
    photos[0].unlink()
    np.testing.assert_array_equal(ImageItems([image]).full(0).permute(1, 2, 0), upright)


def test_one_image_many_times(photos):
    for opened in (by_path, by_stream):
        images = [opened(photos[1])] * 30
        labels = quick(image_shape=(3, 8, 8)).fit_predict([*images, by_path(photos[2])])
        assert len(set(labels[:30])) == 1


def test_broken_images_are_skipped_and_listed(photos):
    photos[3].write_bytes(photos[3].read_bytes()[:-400])
    images = [Image.open(path) for path in photos]
    model = quick(on_error="skip").fit(images)
    assert model.skipped_ == ["X[3]"] and model.labels_[3] == -1
    with pytest.raises(ValueError, match=r"X\[3\]: .*truncated.*on_error='skip'"):
        quick().fit(images)


# -- Datasets -----------------------------------------------------------------------------------


class Watched(Dataset):
    """Pictures that count how often they are asked for, and by how many at once."""

    def __init__(self, pictures):
        self.pictures = pictures
        self.asked, self.inside, self.most = [], 0, 0

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        self.asked.append(i)
        self.inside += 1
        self.most = max(self.most, self.inside)
        threading.Event().wait(0.002)  # others would come in
        self.inside -= 1
        return self.pictures[i], "a label"


@pytest.fixture
def watched():
    return Watched([Image.fromarray(pixels(9 + i % 3, 9, 3, seed=i)) for i in range(20)])


def test_a_dataset_is_asked_by_one_thread_at_a_time(watched):
    quick(storage="stream").fit(watched).predict(watched)
    assert watched.most == 1


def test_how_often_a_dataset_is_asked(watched):
    model = quick(storage="host").fit(watched)
    # The first to see what it is, all for their sizes, all to be decoded.
    assert sorted(watched.asked) == sorted([0, *range(20), *range(20)])
    watched.asked.clear()
    model.predict(watched)
    assert sorted(watched.asked) == sorted([0, *range(20)])


def test_sizes_that_nobody_needs_are_not_asked_for(watched):
    lazy = as_samples(watched, (3, 8, 8))
    some = lazy[[3, 4, 5]].with_shape((3, 9, 9))
    assert watched.asked == [0]
    assert some.sizes.tolist() == [[9, 9], [10, 9], [11, 9]] and watched.asked == [0, 3, 4, 5]


def test_items_are_pickled(watched):
    lazy = as_samples(watched, (3, 8, 8))[[2, 7]]
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(lazy))), np.asarray(lazy))


def test_what_is_known_is_read_side_by_side(watched, photos):
    folder = photos[0].parent
    (folder / "a").mkdir()
    photos[0].rename(folder / "a" / "0.jpg")
    plain = torchvision.datasets.ImageFolder(str(folder))
    for known in ([], (), plain, Subset(plain, [0]), Subset(Subset([], []), [])):
        assert _may_be_read_side_by_side(known)
    own = torchvision.datasets.ImageFolder(str(folder), transform=lambda image: image)
    loader = torchvision.datasets.ImageFolder(str(folder), loader=by_path)
    for unknown in (watched, own, loader, Subset(own, [0])):
        assert not _may_be_read_side_by_side(unknown)


# -- what items may be ------------------------------------------------------------------------


class Items(Dataset):
    """Items as they are; one that is an error is raised."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if isinstance(self.items[i], Exception):
            raise self.items[i]
        return self.items[i]


def mixed(n=12):
    return [pixels(10 + i % 3, 12, 3, seed=i) for i in range(n)]


def test_transparent_arrays_lie_on_white():
    transparent = pixels(9, 9, 4)
    for first in (transparent, transparent.transpose(2, 0, 1)):
        found = as_samples(Items([first, *mixed()]), (3, 9, 9))
        expected = from_pillow(Image.fromarray(transparent, "RGBA"))
        np.testing.assert_array_equal(found[0], expected)


def test_arrays_of_other_channels_are_named():
    X = Items([*mixed(), pixels(9, 9, 5)])
    with pytest.raises(ValueError, match=r"X\[12\]: an image must have 1, 3 or 4 channels, got 5"):
        quick(image_shape=(3, 8, 8)).fit(X)
    assert quick(image_shape=(3, 8, 8), on_error="skip").fit(X).skipped_ == ["X[12]"]


def test_a_tuple_of_arrays_is_as_good_as_a_list():
    found = as_samples(tuple(mixed()), (3, 8, 8))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(as_samples(mixed(), (3, 8, 8))))


@pytest.mark.parametrize("dress", [Image.fromarray, lambda x: x])
@pytest.mark.parametrize("i", [0, 3])
def test_an_item_that_cannot_be_had_is_skipped_wherever_it_is(i, dress):
    items = [dress(x) for x in mixed()]
    items.insert(i, OSError("disk"))
    model = quick(image_shape=(3, 8, 8), on_error="skip").fit(Items(items))
    assert model.skipped_ == [f"X[{i}]"] and len(model.labels_) == 13
    with pytest.raises(ValueError, match=rf"X\[{i}\]: disk.*on_error='skip'"):
        quick(image_shape=(3, 8, 8)).fit(Items(items))


@pytest.mark.parametrize(("n", "asked"), [(3, 3), (5_000, 100)])
def test_a_dataset_without_any_item_to_be_had_tells_why_and_soon(n, asked):
    class Broken(Items):
        seen = 0

        def __getitem__(self, i):
            self.seen += 1
            raise OSError("disk")

    X = Broken(range(n))
    with pytest.raises(OSError, match="disk"):
        quick(image_shape=(3, 8, 8)).fit(X)
    assert X.seen == asked
