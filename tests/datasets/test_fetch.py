import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets

from skdeepclust.datasets import (
    fetch_cifar10,
    fetch_cifar100,
    fetch_fashion_mnist,
    fetch_mnist,
    fetch_stl10,
)
from skdeepclust.datasets._facts import SUPERCLASSES, superclass_of_class

# (function, its folder, torchvision's class, shape of one image)
SETS = [
    (fetch_cifar10, "cifar10", "CIFAR10", (32, 32, 3)),
    (fetch_cifar100, "cifar100", "CIFAR100", (32, 32, 3)),
    (fetch_stl10, "stl10", "STL10", (96, 96, 3)),
    (fetch_mnist, "mnist", "MNIST", (28, 28)),
    (fetch_fashion_mnist, "fashion-mnist", "FashionMNIST", (28, 28)),
]
N = {"train": 12, "test": 8, "unlabeled": 5}

# The super-class of each class, as the official files' coarse labels have it.
COARSE = """
 4  1 14  8  0  6  7  7 18  3  3 14  9 18  7 11  3  9  7 11  6 11  5 10  7
 6 13 15  3 15  0 11  1 10 12 14 16  9 11  5  5 19  8  8 15 13 14 17 18 10
16  4 17  4  2  0 17  4 18 17 10  3  2 12 12 16 12  1  9 19  2 10  0  1 16
12  9 13 15 13 16 19  2  4  6 19  5  5  8 19 18  1  2 15  6  0 17  8 14 13
"""


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    def download(self):
        raise URLError("no network in tests")

    for _, _, name, _ in SETS:
        monkeypatch.setattr(getattr(torchvision.datasets, name), "download", download)


def some_images(part, image_shape):
    rng = np.random.default_rng(len(part))
    images = rng.integers(256, size=(N[part], *image_shape), dtype=np.uint8)
    return images, np.arange(N[part]) % 10


def write_npy(folder, image_shape):
    folder.mkdir(exist_ok=True)
    for part in N:
        images, target = some_images(part, image_shape)
        np.save(folder / f"{part}_x.npy", images)
        if part != "unlabeled":
            np.save(folder / f"{part}_y.npy", target.astype(np.uint8)[:, None])


@pytest.mark.parametrize("in_subfolder", [False, True])
@pytest.mark.parametrize(
    ("fetch", "name", "_", "image_shape"), SETS, ids=lambda x: getattr(x, "__name__", str(x))
)
def test_npy_files(tmp_path, fetch, name, _, image_shape, in_subfolder):
    write_npy(tmp_path / name if in_subfolder else tmp_path, image_shape)
    options = {"superclasses": False} if fetch is fetch_cifar100 else {}
    data = fetch(data_home=tmp_path, **options)
    parts = [some_images(part, image_shape) for part in ("train", "test")]
    np.testing.assert_array_equal(data.images, np.concatenate([x for x, _ in parts]))
    np.testing.assert_array_equal(data.target, np.concatenate([y for _, y in parts]))
    assert data.images.dtype == np.uint8 and data.target.dtype == np.int64
    assert len(set(data.target_names)) == (100 if fetch is fetch_cifar100 else 10)
    assert data.DESCR
    images, target = fetch(data_home=str(tmp_path), split="test", return_X_y=True, **options)
    np.testing.assert_array_equal(images, parts[1][0])
    np.testing.assert_array_equal(target, parts[1][1])


def test_data_home_comes_from_the_environment(tmp_path, monkeypatch):
    write_npy(tmp_path, (28, 28))
    monkeypatch.setenv("SKDEEPCLUST_DATA", str(tmp_path))
    assert len(fetch_mnist().images) == 20


def test_default_data_home_is_in_the_users_folder(tmp_path, monkeypatch):
    write_npy(tmp_path / "skdeepclust_data", (28, 28))
    monkeypatch.delenv("SKDEEPCLUST_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(fetch_mnist().images) == 20


def test_unlabeled_images_have_target_minus_one(tmp_path):
    write_npy(tmp_path, (96, 96, 3))
    assert fetch_stl10(data_home=tmp_path, split="unlabeled").target.tolist() == [-1] * 5
    target = fetch_stl10(data_home=tmp_path, split="train+unlabeled").target
    assert (len(target), target[-5:].tolist()) == (17, [-1] * 5)
    images, target = fetch_stl10(data_home=tmp_path, split="train+test+unlabeled", return_X_y=True)
    assert len(images) == 25 and target[-5:].tolist() == [-1] * 5 and target[:-5].min() == 0


def test_superclasses_are_twenty_of_five():
    assert len(SUPERCLASSES) == 20
    assert list(SUPERCLASSES) == sorted(SUPERCLASSES)
    assert np.bincount(superclass_of_class()).tolist() == [5] * 20
    assert superclass_of_class().tolist() == [int(label) for label in COARSE.split()]


def test_cifar100_has_superclasses_unless_told_otherwise(tmp_path):
    write_npy(tmp_path, (32, 32, 3))
    fine = fetch_cifar100(data_home=tmp_path, superclasses=False)
    coarse = fetch_cifar100(data_home=tmp_path)
    assert fine.target_names[0] == "apple" and len(fine.target_names) == 100
    assert coarse.target_names[coarse.target[0]] == "fruit_and_vegetables"
    _, target = fetch_cifar100(data_home=tmp_path, return_X_y=True)
    np.testing.assert_array_equal(target, superclass_of_class()[fine.target])


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize("subfolder", ["", "own name"])
@pytest.mark.parametrize(("fetch", "name", "reader", "image_shape"), SETS[3:])
def test_official_idx_files(tmp_path, fetch, name, reader, image_shape, subfolder):
    raw = tmp_path / (subfolder and name) / reader / "raw"
    raw.mkdir(parents=True)
    for part, prefix in [("train", "train"), ("test", "t10k")]:
        images, target = some_images(part, image_shape)
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", target)
    data = fetch(data_home=tmp_path, split="test")
    np.testing.assert_array_equal(data.images, some_images("test", image_shape)[0])
    np.testing.assert_array_equal(data.target, some_images("test", image_shape)[1])
    assert len(fetch(data_home=tmp_path).images) == 20


def test_official_cifar_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images, target = some_images("test", (32, 32, 3))
    batch = {"data": images.transpose(0, 3, 1, 2).reshape(8, -1), "labels": target.tolist()}
    (folder / "test_batch").write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    data = fetch_cifar10(data_home=tmp_path, split="test")
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.target, target)


def test_official_stl_binaries(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.stl10.check_integrity", lambda *_: True)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    images, target = some_images("test", (96, 96, 3))
    (folder / "test_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())  # column by column
    (folder / "test_y.bin").write_bytes((target + 1).astype(np.uint8).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
    data = fetch_stl10(data_home=tmp_path, split="test")
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.target, target)
    assert fetch_stl10(data_home=tmp_path, split="unlabeled").target.tolist() == [-1] * 8


@pytest.mark.parametrize(
    ("fetch", "name", "reader", "_"), SETS, ids=lambda x: getattr(x, "__name__", str(x))
)
def test_missing_files_say_what_the_folder_may_hold(tmp_path, fetch, name, reader, _):
    with pytest.raises(FileNotFoundError) as error:
        fetch(data_home=tmp_path)
    for text in (str(tmp_path), repr(name), "train_x.npy", "torchvision's folder"):
        assert text in str(error.value)


def test_a_part_without_labels_is_an_error(tmp_path):
    write_npy(tmp_path, (28, 28))
    np.save(tmp_path / "test_y.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"8 images in test_x\.npy but 3 labels in test_y\.npy"):
        fetch_mnist(data_home=tmp_path)


@pytest.mark.parametrize("split", ["all", "unlabeled", "test+train", None])
def test_unknown_split_is_named(tmp_path, split):
    with pytest.raises(ValueError, match="split must be one of"):
        fetch_mnist(data_home=tmp_path, split=split)


@pytest.mark.parametrize("target", [[0, 1, 10], [0, 1, -1], [0, 1, 2.5]])
def test_labels_of_no_class_are_named(tmp_path, target):
    np.save(tmp_path / "test_x.npy", np.zeros((3, 28, 28), np.uint8))
    np.save(tmp_path / "test_y.npy", np.array(target))
    with pytest.raises(ValueError, match=r"test_y\.npy must hold integers from 0 to 9"):
        fetch_mnist(data_home=tmp_path, split="test")


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "test_x.npy").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"test_x\.npy is damaged"):
        fetch_mnist(data_home=tmp_path, split="test")
