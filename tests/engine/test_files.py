"""Lazy images: indexed without decoding, brought to one shape, delivered held or streamed alike."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils import _safe_indexing
from torch.utils.data import Subset

from skdeepclust import IDFDClustering
from skdeepclust.augment import functional as F
from skdeepclust.augment.transforms import RandomResizedCrop
from skdeepclust.augment.views import Views
from skdeepclust.engine import files as module
from skdeepclust.engine import stream
from skdeepclust.engine.decode import UnreadableImage
from skdeepclust.engine.files import ImageFiles, as_samples
from skdeepclust.engine.items import ImageItems
from skdeepclust.engine.lazy import LazyImages, Picture
from skdeepclust.engine.stream import Streamed, for_training
from skdeepclust.metrics import silhouette_scorer
from skdeepclust.model_selection import TransductiveSplit

CPU = torch.device("cpu")


def write(folder, sizes, color=True, ending="png"):
    """Random images of the given (height, width), in files 000, 001 ..."""
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (h, w, 3)[: 3 if color else 2], np.uint8) for h, w in sizes]
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i:03}.{ending}")
    return arrays


@pytest.fixture
def decoded(monkeypatch):
    """Paths that are decoded, as they are."""
    paths, real = [], module.decode
    monkeypatch.setattr(module, "decode", lambda path, *a: paths.append(path) or real(path, *a))
    return paths


# -- which files --------------------------------------------------------------------------------


def test_a_folder_is_walked_in_sorted_order(tmp_path):
    for name in ("b/2.png", "b/10.png", "a/z.JPG", "c.png", "b/deep/1.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    for name in (".hidden.png", "readme.txt", ".cache/x.png", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [os.path.relpath(path, tmp_path) for path in ImageFiles(tmp_path).paths]
    assert names == ["a/z.JPG", "b/10.png", "b/2.png", "b/deep/1.webp", "c.png"]


def test_photographs_that_cannot_be_read_are_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a").mkdir()
    for name in ("a/1.HEIC", "2.heic", "3.cr2", ".4.heic", "5.txt"):
        (tmp_path / name).touch()
    told = r'3 in HEIC .* convert them to JPEG, or for HEIC pip install "skdeepclust\[heic\]"$'
    with pytest.raises(ValueError, match=rf"holds no image file.*but {told}"):
        ImageFiles(tmp_path)
    write(tmp_path, [(8, 8)])
    with pytest.warns(UserWarning, match=f"left out are {told}"):
        assert len(ImageFiles(tmp_path)) == 1


@pytest.mark.parametrize("plugin", [False, True])
def test_what_is_told_fits_what_is_there(plugin, tmp_path, monkeypatch):
    if plugin:
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
        (tmp_path / "1.heif").touch()
    else:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
    write(tmp_path, [(8, 8)])
    (tmp_path / "3.CR2").touch()
    with pytest.warns(UserWarning, match="left out are 1 in JPEG XL .*: convert them to JPEG$"):
        assert len(ImageFiles(tmp_path)) == 1 + plugin


def test_a_list_keeps_its_order(tmp_path):
    write(tmp_path, [(4, 4)] * 3)
    paths = [tmp_path / name for name in ("002.png", "000.png", "001.png")]
    assert ImageFiles(paths).paths == [str(path) for path in paths]


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("nowhere", FileNotFoundError, "nowhere.*no such folder"),
        ("empty", ValueError, "empty.*holds no image"),
        ("000.png", ValueError, r"000\.png.*is a file"),
    ],
)
def test_what_is_no_folder_of_images_is_named(name, error, match, tmp_path):
    write(tmp_path, [(4, 4)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=match):
        ImageFiles(tmp_path / name)


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    write(tmp_path, [(4, 4)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"X='' is no path: pass '\.'"):
        ImageFiles("")
    assert len(ImageFiles(".")) == 1


@pytest.mark.parametrize("name", ["~", "~nobody-of-that-name", "~root"])
def test_a_folder_may_be_called_like_a_home(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()
    write(tmp_path / name, [(4, 4)] * 3)
    monkeypatch.chdir(tmp_path)
    for folder in (name, f"./{name}", Path(name)):
        assert len(ImageFiles(folder)) == 3


def test_a_home_is_found(tmp_path, monkeypatch):
    write(tmp_path, [(4, 4)] * 3)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert len(ImageFiles(f"~/{tmp_path.name}")) == 3
    names = [f"~/{tmp_path.name}/{path.name}" for path in sorted(tmp_path.iterdir())]
    assert ImageFiles(names).paths == [str(path) for path in sorted(tmp_path.iterdir())]


def test_links_to_folders_are_walked_once(tmp_path):
    for folder in ("photos/own", "elsewhere/more"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder, [(4, 4)])
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "own" / "loop").symlink_to(tmp_path / "photos")
    found = [os.path.relpath(path, tmp_path) for path in ImageFiles(tmp_path / "photos").paths]
    assert found == ["photos/link/more/000.png", "photos/own/000.png"]


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder with an image, and one in a sub-folder that others may not read."""
    (tmp_path / "private").mkdir()
    for folder in (tmp_path, tmp_path / "private"):
        write(folder, [(4, 4)])
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "private":  # rights do not keep out who is root
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return tmp_path


def test_a_folder_that_cannot_be_read_is_named(locked):
    with pytest.raises(ValueError, match=r"private' cannot be read: Permission denied"):
        ImageFiles(locked)


def test_a_folder_that_cannot_be_read_may_be_left_out(locked):
    with pytest.warns(UserWarning, match=r"private' cannot be read.*left out"):
        assert len(ImageFiles(locked, on_error="skip")) == 1
    with pytest.warns(UserWarning, match="private"):
        assert len(as_samples(locked, None, on_error="skip")) == 1
    with pytest.raises(ValueError, match="private' cannot be read"):
        ImageFiles(locked / "private", on_error="skip")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_pipe_called_like_an_image_keeps_nobody_waiting(tmp_path):
    write(tmp_path, [(4, 4)])
    os.mkfifo(tmp_path / "pipe.png")
    files = ImageFiles(tmp_path)
    assert len(files) == 2
    with pytest.raises(UnreadableImage, match=r"pipe\.png: it is a pipe"):
        np.asarray(files)


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA])
@pytest.mark.parametrize("form", [list, tuple, pd.Series])
def test_a_gap_among_paths_is_named(form, gap):
    with pytest.raises(TypeError, match=r"X\[1\] is .*(None|nan|NA).* other items are paths"):
        as_samples(form(["a.png", gap, "b.png"]), None)
    with pytest.raises(TypeError, match=r"X\[0\] is "):
        as_samples(form([gap, "b.png"]), None)


@pytest.mark.parametrize("channels", [2, 4])
def test_files_have_no_other_channels_in_another_shape(channels, tmp_path):
    write(tmp_path, [(8, 8)])
    files = ImageFiles(tmp_path)
    with pytest.raises(ValueError, match=rf"image_shape=\({channels}, 8, 8\).*1 or 3 channels"):
        files.with_shape((channels, 8, 8))


def test_channels_are_one_or_three(tmp_path):
    write(tmp_path, [(4, 4)])
    with pytest.raises(ValueError, match=r"image_shape=\(4, 8, 8\)"):
        ImageFiles(tmp_path, image_shape=(4, 8, 8))


# -- what shape ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "color", "shape"),
    [
        ([(20, 30)] * 2, True, (3, 20, 30)),
        ([(28, 28)] * 2, False, (1, 28, 28)),
        ([(20, 30), (30, 20)], True, (3, 96, 96)),
        ([(97, 97)] * 2, False, (1, 96, 96)),
    ],
)
def test_the_shape_of_samples_follows_from_the_files(sizes, color, shape, tmp_path):
    write(tmp_path, sizes, color)
    assert ImageFiles(tmp_path).shape == (2, *shape)


@pytest.mark.parametrize(
    ("sizes", "canvas"),
    [
        ([(10, 10)], (10, 10)),
        ([(8, 8), (9, 7)], (10, 10)),
        ([(15, 40), (12, 12)], (15, 20)),
        ([(500, 500)], (20, 20)),
    ],
)
def test_canvases_have_detail_to_crop_but_not_more(sizes, canvas, tmp_path):
    write(tmp_path, sizes)
    assert ImageFiles(tmp_path, image_shape=(3, 10, 10)).canvas == canvas


def test_a_sample_is_the_central_part_resized():
    image = torch.zeros(3, 40, 100, dtype=torch.uint8)
    image[:, :, 30:70] = 200
    picture = Picture(image, (3, 10, 10), (20, 20))
    assert picture.plain.unique().tolist() == [200]
    assert picture.stretch == 2.5
    assert picture.canvas[:, :, 7:13].unique().tolist() == [200]
    assert picture.canvas[:, :, [0, -1]].unique().tolist() == [0]


def test_an_image_of_the_right_size_stays_as_it_is(tmp_path):
    (array, *_) = write(tmp_path, [(10, 12)])
    picture = ImageFiles(tmp_path).picture(0)
    np.testing.assert_array_equal(picture.plain.permute(1, 2, 0), array)
    assert picture.canvas is picture.plain


# -- the face of an array -----------------------------------------------------------------------


def test_it_is_indexed_like_an_array(tmp_path):
    write(tmp_path, [(6, 5)] * 7)
    files = ImageFiles(tmp_path)
    whole = np.asarray(files)
    assert (files.ndim, files.dtype, files.shape) == (4, np.uint8, whole.shape)
    mask = np.arange(7) % 2 == 0
    for key in (slice(1, 6, 2), [4, 1, 1], mask, np.array([0, -1]), [], (slice(2), ...)):
        np.testing.assert_array_equal(np.asarray(files[key]), whole[key])
    np.testing.assert_array_equal(files[-1], whole[-1])
    for key in (([1, 2], 0), (2, 0), (2, ..., 3), (2, 0, 1), (3, ...), (..., 0), (slice(3), 0, 1)):
        np.testing.assert_array_equal(files[key], whole[key])
    np.testing.assert_array_equal(list(files), whole)
    with pytest.raises(IndexError):
        files[7]


def test_cross_validation_splits_without_decoding(tmp_path, decoded):
    write(tmp_path, [(6, 5)] * 6)
    files = ImageFiles(tmp_path)
    for train, test in KFold(3).split(files):
        assert _safe_indexing(files, train).shape == (4, 3, 6, 5)
        assert _safe_indexing(files, test).paths == [files.paths[i] for i in test]
    assert not decoded


def test_it_is_pickled_without_pixels(tmp_path, decoded):
    write(tmp_path, [(60, 50)] * 5)
    files = ImageFiles(tmp_path)[[3, 1]]
    data = pickle.dumps(files)
    assert not decoded and len(data) < 2000 + 200 * len(str(tmp_path))
    np.testing.assert_array_equal(np.asarray(pickle.loads(data)), np.asarray(files))


def test_other_collections_of_pictures(tmp_path):
    arrays = write(tmp_path, [(6, 5), (7, 9)])
    pictures = [Image.fromarray(array) for array in arrays]

    class Rows:  # as Hugging Face's datasets are
        features = ("image", "label")

        def __len__(self):
            return len(pictures)

        def __getitem__(self, i):
            return {"image": pictures[i], "label": 0}

        def __iter__(self):  # which Python makes of the two above as well
            yield self[0]
            raise AssertionError("all items are read to see what the first one shows")

    for X in (pictures, Rows()):
        lazy = as_samples(X, (3, 6, 6))
        assert isinstance(lazy, ImageItems)
        expected = np.asarray(ImageFiles(tmp_path, (3, 6, 6)))
        np.testing.assert_array_equal(np.asarray(lazy), expected)
        np.testing.assert_array_equal(np.asarray(lazy[[1]]), expected[[1]])


def dataset(items):
    return Subset(items, range(len(items)))


def labelled(images):
    return dataset([(image, 0) for image in images])


@pytest.mark.parametrize("form", ["HWC", "CHW", "tensors"])
def test_a_dataset_of_bytes_is_brought_to_one_shape(form, tmp_path):
    arrays = write(tmp_path, [(6, 5), (7, 9)])
    dress = {"HWC": lambda x: x, "CHW": lambda x: x.transpose(2, 0, 1).copy()}
    dress["tensors"] = lambda x: torch.tensor(dress["CHW"](x))
    items = [dress[form](array) for array in arrays]
    expected = np.asarray(ImageFiles(tmp_path, (3, 6, 6)))
    np.testing.assert_array_equal(np.asarray(as_samples(labelled(items), (3, 6, 6))), expected)
    assert as_samples(labelled(items), None).shape == (2, 3, 96, 96)
    # In prediction, what is left of a Dataset may have one shape.
    rest = as_samples(labelled(items[1:]), (3, 6, 6))
    np.testing.assert_array_equal(np.asarray(rest), expected[1:])
    assert isinstance(as_samples(labelled(items[1:]), None), np.ndarray)  # nothing to be done


def test_an_estimator_takes_a_dataset_of_mixed_sizes():
    random = np.random.default_rng(0)
    items = [random.integers(256, size=(8 + i % 3, 9, 3), dtype=np.uint8) for i in range(20)]
    model = IDFDClustering(2, max_epochs=1, backbone="mlp", random_state=0).fit(labelled(items))
    assert model.image_shape_in_ == (3, 96, 96)
    np.testing.assert_array_equal(model.predict(labelled(items[:3])), model.labels_[:3])
    np.testing.assert_array_equal(model.predict(labelled(items[:1])), model.labels_[:1])


@pytest.mark.parametrize(
    "dress",
    [
        lambda x: (torch.tensor(x), 0),
        lambda x: (x, 0),
        lambda x: (Image.fromarray(x), 0),
        lambda x: (torch.tensor(x),),
        lambda x: {"image": Image.fromarray(x)},
        lambda x: x[: 7 + int(x[0, 0, 0]) % 2],  # bare, of two sizes
        lambda x: torch.tensor(x[: 7 + int(x[0, 0, 0]) % 2]),
    ],
)
def test_a_search_over_the_items_of_a_dataset(dress):
    random = np.random.default_rng(0)
    items = [dress(x) for x in random.integers(256, size=(24, 8, 8, 3), dtype=np.uint8)]
    model = IDFDClustering(2, max_epochs=1, backbone="mlp", random_state=0)
    search = GridSearchCV(
        model,
        {"lr": [1e-3]},
        scoring=silhouette_scorer,
        cv=TransductiveSplit(),
        error_score="raise",
    ).fit(dataset(items))
    labels = model.fit(dataset(items)).labels_
    np.testing.assert_array_equal(search.best_estimator_.labels_, labels)
    np.testing.assert_array_equal(model.fit(items).labels_, labels)


def test_a_path_that_is_missing_from_a_list_is_told_as_such(tmp_path):
    write(tmp_path, [(8, 8)] * 9)
    paths = [*ImageFiles(tmp_path).paths, str(tmp_path / "nowhere.png")]
    how = {"max_epochs": 1, "backbone": "mlp", "random_state": 0}
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png: there is no such file.*skip"):
        IDFDClustering(2, **how).fit(paths)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png: there is no such file"):
        IDFDClustering(2, **how).fit(paths[-1:])  # nor is it that one sample is too few
    assert IDFDClustering(2, on_error="skip", **how).fit(paths).skipped_ == paths[-1:]


@pytest.mark.parametrize(
    "X", [np.zeros((4, 2)), [[1.0, 2.0]], torch.zeros(3, 4), np.array(["1", "2"])[:, None], []]
)
def test_what_is_an_array_is_left_to_others(X):
    assert not isinstance(as_samples(X, None), LazyImages)


# -- views of whole images ----------------------------------------------------------------------


@pytest.mark.parametrize("stretch", [0.4, 1.0, 3.0])
def test_boxes_have_their_ratio_in_the_image_as_it_was(stretch):
    x = torch.zeros(2000, 3, 200, 200)
    crop = RandomResizedCrop(10, scale=(0.05, 0.2), ratio=(0.75, 4 / 3))
    _, _, h, w = crop.draw_boxes(x, torch.full((2000,), stretch)).T
    ratio = w * stretch / h
    assert 0.7 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.42
    share = h * w / 200**2
    assert 0.045 < share.min() < 0.06 and 0.18 < share.max() < 0.21


@pytest.mark.parametrize(("stretch", "box"), [(1, (0, 0, 20, 20)), (2, (0, 5, 20, 10))])
def test_central_boxes_are_square_in_the_image_as_it_was(stretch, box):
    found = F.central_boxes(torch.zeros(1, 1, 20, 20), torch.tensor([stretch]), (1.0, 1.0))
    assert tuple(found[0].tolist()) == box
    found = F.central_boxes(torch.zeros(1, 1, 20, 20), torch.tensor([1 / stretch]), (1.0, 1.0))
    assert tuple(found[0].tolist()) == (box[1], box[0], box[3], box[2])


def views(*augmentations):
    return Views.for_images(augmentations, 0, 255, np.zeros(3), np.ones(3), size=(8, 8))


def test_views_without_a_crop_see_the_central_part():
    y, x = np.mgrid[:40, :120]
    image = torch.from_numpy(np.stack([2 * x, 6 * y, x + y]).astype(np.uint8))
    picture = Picture(image, (3, 8, 8), (16, 16))
    made = views(torch.nn.Identity())
    (view,) = made(picture.canvas[None], torch.tensor([picture.stretch]))
    assert (view - made.plain(picture.plain[None])).abs().max() < 0.06


@pytest.mark.parametrize("nested", [False, True])
def test_a_crop_is_taken_from_the_whole_image(nested):
    """The left half of a wide image is white: its central part shows both, a crop may not."""
    canvas = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    canvas[..., :8] = 255
    augment = RandomResizedCrop(8, scale=(0.02, 0.05))
    if nested:
        augment = torch.nn.Sequential(torch.nn.Sequential(augment), torch.nn.Identity())
    batch, stretch = canvas.expand(200, -1, -1, -1), torch.full((200,), 3.0)
    (view,) = views(augment)(batch, stretch)
    means = view.mean((1, 2, 3))
    assert view.shape == (200, 3, 8, 8)
    assert (means > 0.99).float().mean() > 0.2 and (means < 0.01).float().mean() > 0.2


# -- held or streamed ---------------------------------------------------------------------------


SIZES = [(12, 12), (9, 20), (30, 14), (12, 12), (11, 40), (8, 8), (25, 25)]


@pytest.mark.parametrize("sizes", [SIZES, [(10, 10)] * 7])
def test_held_and_streamed_batches_are_the_same(sizes, tmp_path):
    write(tmp_path, sizes)
    files = ImageFiles(tmp_path, image_shape=(3, 10, 10))
    held, streamed = (
        for_training(files, CPU, torch.float32, "raise", storage)[0]
        for storage in ("device", "stream")
    )
    assert isinstance(streamed, Streamed) and not isinstance(held, Streamed)
    assert len(held) == len(streamed) == 7 and held.shape == streamed.shape == (3, 10, 10)
    indices = [torch.tensor([3, 0, 6]), torch.tensor([2, 1]), torch.tensor([4]), torch.arange(7)]
    for first, second in zip(held.batches(indices), streamed.batches(indices), strict=True):
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), name
    for (x, n), (y, m) in zip(held.padded(4), streamed.padded(4), strict=True):
        assert n == m and torch.equal(x, y)
    for name in ("low", "high", "mean", "std"):
        assert np.array_equal(getattr(held.statistics, name), getattr(streamed.statistics, name))


def test_equal_files_are_read_as_an_array_would_be(tmp_path):
    arrays = np.stack(write(tmp_path, [(10, 10)] * 5))
    held, _ = for_training(ImageFiles(tmp_path), CPU, torch.float32, "raise", "auto")
    np.testing.assert_array_equal(held.host, arrays.transpose(0, 3, 1, 2))
    (batch,) = held.batches([torch.arange(5)])
    assert batch.keys() == {"x", "index"}


@pytest.mark.parametrize("storage", ["host", "stream"])
def test_unreadable_files_are_left_out(storage, tmp_path):
    write(tmp_path, SIZES)
    (tmp_path / "002.png").write_bytes(b"no image")
    (tmp_path / "005.png").unlink()
    (tmp_path / "005.png").write_bytes(b"")
    files = ImageFiles(tmp_path, image_shape=(3, 10, 10))
    images, unreadable = for_training(files, CPU, torch.float32, "skip", storage)
    assert len(images) == 5 and list(unreadable) == [2, 5]
    whole = np.asarray(files[[0, 1, 3, 4, 6]])
    np.testing.assert_array_equal(torch.cat([x[:n] for x, n in images.padded(2)]), whole)
    with pytest.raises(UnreadableImage, match=r"002\.png: .*on_error='skip'"):
        for_training(files, CPU, torch.float32, "raise", storage)


def test_a_file_that_goes_in_the_middle_of_a_training_is_told_as_such(tmp_path):
    write(tmp_path, [(10, 10)] * 5)
    images, _ = for_training(ImageFiles(tmp_path), CPU, torch.float32, "skip", "stream")
    (tmp_path / "002.png").unlink()
    with pytest.raises(UnreadableImage, match=r"002\.png.* could be read before: put it back"):
        list(images.padded(2))


def test_an_abandoned_stream_ends_its_threads(tmp_path):
    import threading

    write(tmp_path, [(10, 10)] * 40)
    before = threading.active_count()
    batches = Streamed(ImageFiles(tmp_path), CPU, torch.float32).padded(4)
    next(batches)
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("free", "place"), [(1e12, "device"), (100.0, "stream")])
def test_images_are_held_where_they_fit(free, place, tmp_path, monkeypatch, caplog):
    write(tmp_path, [(10, 10)] * 5)
    monkeypatch.setattr(stream, "free_host_memory", lambda: free)
    with caplog.at_level("INFO", logger="skdeepclust"):
        for_training(ImageFiles(tmp_path), CPU, torch.float32, "raise", "auto")
    assert f"held: {place}" in caplog.text


def test_free_memory_is_that_of_the_machine_or_less():
    assert 2**20 < stream.free_host_memory() < 2**50


@pytest.mark.parametrize(
    ("limit", "used", "parts"),
    [
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_files_that_were_read_leave_memory_to_a_container(
    limit, used, parts, tmp_path, monkeypatch
):
    monkeypatch.setattr(stream, "_GROUPS", tmp_path)
    monkeypatch.setattr(stream, "_available", lambda: 1e12)
    assert stream.free_host_memory() == 1e12
    (tmp_path / "memory").mkdir()
    (tmp_path / limit).write_text("1000\n")
    (tmp_path / used).write_text("900\n")
    (tmp_path / parts).write_text("anon 200\nactive_file 300\ninactive_file 400\n")
    assert stream.free_host_memory() == 800
    (tmp_path / limit).write_text("max\n")
    assert stream.free_host_memory() == 1e12
