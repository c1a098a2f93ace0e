"""Every method on image files: the labels of the same images in memory, whatever is broken."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict
from torch.utils.data import Dataset

import skdeepclust
from skdeepclust import BackboneKMeans, ImageFiles
from skdeepclust.metrics import silhouette_scorer
from skdeepclust.model_selection import TransductiveSplit

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
each_method = pytest.mark.parametrize("method", METHODS)
N = 24


def quick(method, **params):
    return method(3, **{"random_state": 0, "max_epochs": 2, "batch_size": 8} | params)


def images(height=10, width=10, n=N):
    random = np.random.default_rng(0)
    shades = random.integers(0, 3, n)[:, None, None, None] * 80
    return (shades + random.integers(0, 80, (n, height, width, 3))).astype(np.uint8)


def save(folder, arrays):
    for i, array in enumerate(arrays):
        path = folder / f"{'ab'[i % 2]}" / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(array).save(path)
    return folder


@pytest.fixture(scope="module")
def equal(tmp_path_factory):
    """A folder of files of one size, and their images in its order."""
    folder = save(tmp_path_factory.mktemp("equal"), images())
    return folder, np.concatenate([images()[::2], images()[1::2]])


@pytest.fixture(scope="module")
def unequal(tmp_path_factory):
    sizes = [(10 + i % 3 * 9, 12 + i % 5 * 7) for i in range(N)]
    arrays = [images(h, w, N)[i] for i, (h, w) in enumerate(sizes)]
    return save(tmp_path_factory.mktemp("unequal"), arrays)


class Pictures(Dataset):
    def __init__(self, arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, i):
        return Image.fromarray(self.arrays[i]), "a label"


@each_method
def test_every_form_of_the_same_images_gives_the_same_labels(method, equal):
    folder, arrays = equal
    whole = quick(method).fit(arrays)
    files = ImageFiles(folder)
    forms = [folder, str(folder), files.paths, files, Pictures(arrays)]
    for X in forms:
        model = quick(method).fit(X)
        np.testing.assert_array_equal(model.labels_, whole.labels_)
        np.testing.assert_array_equal(model.transform(X), whole.transform(arrays))
    streamed = quick(method, storage="stream").fit(folder)
    np.testing.assert_array_equal(streamed.labels_, whole.labels_)
    np.testing.assert_array_equal(streamed.cluster_centers_, whole.cluster_centers_)


def test_photographs_in_heic_give_the_labels_of_their_twins(equal, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    folder, arrays = equal
    exact = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}  # RGB as it is
    for i, (path, array) in enumerate(zip(ImageFiles(folder).paths, arrays, strict=True)):
        twin = tmp_path / Path(path).relative_to(folder).with_suffix([".heic", ".png"][i % 4 == 3])
        twin.parent.mkdir(exist_ok=True)
        pillow_heif.from_pillow(Image.fromarray(array)).save(twin, **exact)
    model = quick(METHODS[0]).fit(tmp_path)
    assert sum(path.endswith(".heic") for path in model.image_paths_) == 18
    whole = quick(METHODS[0]).fit(arrays)
    np.testing.assert_array_equal(model.labels_, whole.labels_)
    np.testing.assert_array_equal(model.predict(model.image_paths_[:5]), whole.labels_[:5])
    np.testing.assert_array_equal(model.transform(tmp_path), whole.transform(arrays))


@each_method
def test_files_of_any_size(method, unequal):
    held, streamed = (
        quick(method, image_shape=(3, 12, 12), storage=storage).fit(unequal)
        for storage in ("host", "stream")
    )
    np.testing.assert_array_equal(held.labels_, streamed.labels_)
    np.testing.assert_array_equal(held.labels_, held.predict(unequal))
    assert held.image_shape_in_ == (3, 12, 12) and held.n_features_in_ == 432
    assert held.image_paths_ == ImageFiles(unequal).paths and held.skipped_ == []
    some = held.image_paths_[5:2:-1]
    np.testing.assert_array_equal(held.predict(some), held.labels_[5:2:-1])
    np.testing.assert_array_equal(held.transform(some), held.transform(unequal)[5:2:-1])


@each_method
@pytest.mark.parametrize("storage", ["auto", "stream"])
def test_broken_files_are_skipped_and_listed(method, storage, equal, tmp_path):
    _, arrays = equal
    save(tmp_path, images())
    (tmp_path / "a" / "03broken.jpg").write_text("no image")
    (tmp_path / "b" / "23z.png").write_bytes((tmp_path / "b" / "23.png").read_bytes()[:90])
    with pytest.raises(ValueError, match=r"03broken\.jpg.*on_error='skip'"):
        quick(method).fit(tmp_path)
    model = quick(method, on_error="skip", storage=storage).fit(tmp_path)
    assert model.skipped_ == [str(tmp_path / "a" / "03broken.jpg"), str(tmp_path / "b" / "23z.png")]
    broken = [model.image_paths_.index(path) for path in model.skipped_]
    good = np.setdiff1d(np.arange(N + 2), broken)
    assert len(model.labels_) == N + 2 and (model.labels_[broken] == -1).all()
    np.testing.assert_array_equal(model.labels_[good], quick(method).fit(arrays).labels_)
    np.testing.assert_array_equal(model.predict(tmp_path), model.labels_)
    for output in (model.transform(tmp_path), model.predict_proba(tmp_path)):
        assert np.isnan(output[broken]).all() and np.isfinite(output[good]).all()
    assert np.isfinite(model.score(tmp_path))


def test_nothing_readable_is_an_error(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"0 of 5 images of X can be read.*0\.jpg"):
        quick(METHODS[0], on_error="skip").fit(tmp_path)


def test_one_image_is_too_few_even_for_one_cluster(tmp_path):
    save(tmp_path, images()[:1])
    with pytest.raises(ValueError, match=r"1 of 1 images .* n_clusters=1 needs at least 2\.$"):
        quick(METHODS[0]).set_params(n_clusters=1).fit(tmp_path)


@pytest.mark.parametrize(
    "model", [quick(METHODS[0]), BackboneKMeans(3, backbone="convnet", weights=None)]
)
def test_values_in_another_range_are_told_at_predict(model, equal, recwarn):
    folder, arrays = equal
    of_bytes, of_floats = clone(model).fit(arrays), clone(model).fit(arrays / 255)
    recwarn.clear()
    for same in (arrays, arrays.astype(float), folder):
        of_bytes.predict(same)
    of_floats.predict((arrays / 255).astype(np.float32))
    of_floats.predict(np.zeros_like(arrays[:2]))
    assert not recwarn.list
    with pytest.warns(UserWarning, match="from 0 to .*, but those of training were from 0 to 255"):
        of_bytes.predict(arrays / 255)
    for other in (arrays, folder):
        with pytest.warns(UserWarning, match="same range"):
            of_floats.predict(other)


def test_an_augmentation_for_single_images_is_told(equal):
    with pytest.warns(UserWarning, match="RandomHorizontalFlip, which draws once for a whole"):
        quick(METHODS[0], augment=torchvision.transforms.RandomHorizontalFlip()).fit(equal[1])


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"backbone": "resnet19"}, "backbone='resnet19' is unknown"),
        ({"backbone": torch.nn.Flatten()}, "num_features"),
        ({"augment": "nosuch"}, "augment"),
        ({"weights": "nowhere.pt"}, r"nowhere\.pt"),
        ({"heads": (4, 8)}, "heads"),
        ({"start_resolution": 96}, "start_resolution=96 must be less"),
        ({"start_resolution": 8, "freeze_backbone": True}, "trained, not frozen"),
        ({"callbacks": [print]}, "callbacks"),
    ],
)
def test_what_cannot_train_is_told_before_files_are_read(params, told, equal, monkeypatch):
    monkeypatch.setattr(ImageFiles, "picture", None)
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=told):
        quick(skdeepclust.SeCuClustering, **params).fit(equal[0])


def test_the_baseline_finds_its_network_before_files_are_read(equal, monkeypatch):
    monkeypatch.setattr(ImageFiles, "picture", None)
    with pytest.raises(ValueError, match="backbone='resnet19' is unknown"):
        BackboneKMeans(3, backbone="resnet19").fit(equal[0])


def test_bars_while_files_are_read_and_seen(equal, capsys):
    how = {"backbone": "resnet18", "weights": None, "random_state": 0}
    for verbose in (0, 1, 2):
        with pytest.warns(UserWarning, match="random weights"):
            BackboneKMeans(3, verbose=verbose, **how).fit(equal[0])
        shown = capsys.readouterr().err
        assert ("Reading: 100%|" in shown and f"{N}/{N}" in shown) == (verbose == 1)
        assert ("Features: 100%|" in shown) == (verbose == 1)
    quick(METHODS[0], verbose=1).fit(equal[0])
    assert "Reading: 100%|" in capsys.readouterr().err


def test_files_and_arrays_mix_at_predict(equal):
    folder, arrays = equal
    model = quick(METHODS[0]).fit(arrays)
    assert model.image_paths_ is None
    np.testing.assert_array_equal(model.predict(folder), model.labels_)
    vectors = quick(METHODS[0]).fit(arrays.reshape(N, -1))
    with pytest.raises(ValueError, match="training saw vectors"):
        vectors.predict(folder)


def test_searches_and_cross_validation_take_files(equal):
    folder, arrays = equal
    search = GridSearchCV(
        quick(METHODS[0]), {"temperature": [0.5, 1.0]}, scoring=silhouette_scorer,
        cv=TransductiveSplit(),
    )  # fmt: skip
    of_files = search.fit(ImageFiles(folder)).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(of_files, search.fit(arrays).cv_results_["mean_test_score"])
    predicted = [
        cross_val_predict(quick(METHODS[0]), X, cv=2) for X in (ImageFiles(folder), arrays)
    ]
    np.testing.assert_array_equal(*predicted)


def test_a_refit_forgets_the_files(equal):
    folder, arrays = equal
    model = quick(METHODS[0]).fit(folder).fit(arrays)
    assert model.image_paths_ is None and model.skipped_ == []
