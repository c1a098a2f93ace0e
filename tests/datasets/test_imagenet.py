"""ImageNet's subsets are found by WNID in the folders that people have."""

import numpy as np
import pytest
from PIL import Image

from skdeepclust import IDFDClustering, datasets
from skdeepclust.datasets._imagenet import DOGS, IMAGENET10

SUBSETS = {"fetch_imagenet10": IMAGENET10, "fetch_imagenet_dogs": DOGS}
OTHERS = ["n00000001", "n09999999"]


def save(path, shade, side=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (shade, shade, shade)).save(path)


def imagenet(root, wnids, per_class=2):
    for part in ("train", "val"):
        for i, wnid in enumerate(wnids):
            for j in range(per_class):
                save(root / part / wnid / f"{wnid}_{j}.JPEG", 10 * i)


def test_the_lists_are_the_literatures():
    assert (len(IMAGENET10), len(DOGS)) == (10, 15)
    assert len({*IMAGENET10, *DOGS}) == 24, "one breed is in both"
    assert set(IMAGENET10) & set(DOGS) == {"n02085936"}


@pytest.mark.parametrize("name", SUBSETS)
@pytest.mark.parametrize("place", ["", "imagenet"])
def test_a_subset_is_taken_out_of_the_whole(name, place, tmp_path):
    wnids = SUBSETS[name]
    imagenet(tmp_path / place, [*wnids, *OTHERS])
    data = getattr(datasets, name)(data_home=tmp_path, split="train+val")
    assert list(data.target_names) == wnids
    parts = [path.split("/")[-3:-1] for path in data.images.paths]
    assert [wnids.index(wnid) for _, wnid in parts] == list(data.target)
    assert [part for part, _ in parts] == ["train"] * 2 * len(wnids) + ["val"] * 2 * len(wnids)
    X, y = getattr(datasets, name)(data_home=tmp_path, image_shape=(3, 8, 8), return_X_y=True)
    assert X.shape == (2 * len(wnids), 3, 8, 8) and len(y) == len(X)


def test_the_whole_has_every_class(tmp_path):
    imagenet(tmp_path / "ILSVRC2012", OTHERS)
    data = datasets.fetch_imagenet(data_home=tmp_path)
    assert list(data.target_names) == OTHERS and list(data.target) == [0, 0, 1, 1]


def test_tiny_imagenet_as_it_was_published(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for i, wnid in enumerate(OTHERS):
        for j in range(3):
            save(root / "train" / wnid / "images" / f"{wnid}_{j}.JPEG", 40 * i, side=64)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("boxes")
    rows = [("val_0.JPEG", OTHERS[1]), ("val_1.JPEG", OTHERS[0])]
    for name, wnid in rows:
        save(root / "val" / "images" / name, 40 * OTHERS.index(wnid), side=64)
    lines = [f"{name}\t{wnid}\t0\t0\t9\t9" for name, wnid in rows]
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    data = datasets.fetch_tiny_imagenet(data_home=tmp_path, split="train+val")
    assert data.images.shape == (8, 3, 64, 64)
    assert list(data.target) == [0, 0, 0, 1, 1, 1, 1, 0]
    shades = np.asarray(data.images)[:, 0, 0, 0]
    assert np.abs(shades.astype(int) - 40 * data.target).max() < 3


@pytest.mark.filterwarnings("ignore")
def test_recipes_run_on_them(tmp_path):
    imagenet(tmp_path, IMAGENET10)
    X, _ = datasets.fetch_imagenet10(data_home=tmp_path, image_shape=(3, 16, 16), return_X_y=True)
    small = {"max_epochs": 1, "batch_size": 8, "backbone": "convnet", "random_state": 0}
    model = IDFDClustering.from_recipe("imagenet10", image_shape=None, **small).fit(X)
    assert model.labels_.shape == (20,)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"split": "test"}, ValueError, "split must be one of"),
        ({}, FileNotFoundError, "Found no ImageNet-10 in .*sub-folder for each WNID"),
    ],
)
def test_what_is_missing_is_named(params, error, match, tmp_path):
    with pytest.raises(error, match=match):
        datasets.fetch_imagenet10(data_home=tmp_path, **params)


def test_a_missing_class_is_named(tmp_path):
    imagenet(tmp_path, IMAGENET10[:-1])
    with pytest.raises(FileNotFoundError, match=f"{IMAGENET10[-1]} holds no image"):
        datasets.fetch_imagenet10(data_home=tmp_path)


def test_a_folder_without_classes_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match=r"train holds no sub-folder.*WNID"):
        datasets.fetch_imagenet(data_home=tmp_path)


def test_a_folder_is_no_image(tmp_path):
    imagenet(tmp_path, OTHERS)
    (tmp_path / "train" / OTHERS[0] / "more.jpg").mkdir()
    assert len(datasets.fetch_imagenet(data_home=tmp_path).target) == 4
