"""A saved model is data: all of it comes back, and none of it is code."""

import json
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import skdeepclust
from skdeepclust import (
    BackboneKMeans,
    CDCClustering,
    IDFDClustering,
    ProPosClustering,
    SeCuClustering,
    load,
)
from skdeepclust.backbones import make_backbone
from skdeepclust.engine.archive import read, write
from skdeepclust.persistence import VERSION, read_card

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
OUTPUTS = ["predict", "transform", "predict_proba"]
QUICK = {"max_epochs": 2, "warmup_epochs": 1, "random_state": 0}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore:The frozen backbone has random weights"),
]


@pytest.fixture(scope="module")
def X(digits):
    return digits[0][:120]


@pytest.fixture(scope="module", params=METHODS, ids=lambda method: method.__name__)
def fitted(request, X):
    return request.param(5, device="cpu", **QUICK).fit(X)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_loads(estimator, X, path, **params):
    estimator.save(path, omit=params)
    found = load(path, **params)
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(found, name)(X), getattr(estimator, name)(X))
    assert found.score(X) == estimator.score(X)
    np.testing.assert_array_equal(found.labels_, estimator.labels_)
    np.testing.assert_array_equal(found.cluster_centers_, estimator.cluster_centers_)
    np.testing.assert_equal(found.history_, estimator.history_)
    for name in ("n_iter_", "n_features_in_", "image_shape_in_", "image_paths_", "skipped_"):
        assert getattr(found, name) == getattr(estimator, name), name
    np.testing.assert_equal(found.get_params(), estimator.get_params() | params)
    return found


def test_round_trip(fitted, X, path):
    found = assert_loads(fitted, X, path)
    again = assert_loads(found, X, path)
    np.testing.assert_array_equal(again.fit(X).labels_, fitted.labels_)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "params",
    [
        {"norm_batch_size": 16},
        {"precision": "float64"},
        {"freeze_backbone": True, "backbone": "convnet"},
        {"freeze_backbone": True, "backbone": "convnet", "augment": "features"},
        {"hidden_dim": 12, "embedding_dim": 7},
    ],
    ids=str,
)
def test_round_trip_with(method, params, X, path):
    assert_loads(method(5, **QUICK | params).fit(X), X, path)


def test_round_trip_with_a_large_network(X, path):
    params = {"backbone": "resnet18", "max_epochs": 1}
    assert_loads(ProPosClustering(5, **QUICK | params).fit(X[:40]), X[:40], path)


def test_what_was_loaded_with_other_parameters_may_be_saved_again(X, path, tmp_path):
    images = np.repeat(X[:40].reshape(-1, 1, 8, 8), 3, axis=1)
    weights = tmp_path / "weights.pt"
    torch.save(make_backbone("resnet18", (3, 8, 8), "imagenet").state_dict(), weights)
    model = CDCClustering(3, weights=str(weights), **QUICK | {"backbone": "auto"}).fit(images)
    model.save(path)
    again = load(path, weights=None)  # "auto" would be another network now
    again.save(tmp_path / "again.safetensors")
    last = load(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(last.transform(images), model.transform(images))


def test_what_was_built_stays_whatever_is_set_later(X, path):
    images = np.repeat(X[:40].reshape(-1, 1, 8, 8), 3, axis=1)
    model = BackboneKMeans(3, backbone="resnet18", weights=None, random_state=0).fit(images)
    model.set_params(stem="small-pool").save(path)
    np.testing.assert_array_equal(load(path).transform(images), model.transform(images))


class Counted(nn.Module):
    """With state that is no tensor."""

    num_features = 64

    def __init__(self):
        super().__init__()
        self.counts = {"calls": 0}

    def forward(self, x):
        self.counts["calls"] += 1
        return x.flatten(1)

    def get_extra_state(self):
        return self.counts

    def set_extra_state(self, state):
        self.counts = state


def test_extra_state_of_a_backbone_comes_along(X, path):
    model = IDFDClustering(5, backbone=Counted(), **QUICK).fit(X)
    calls = model.net_.objective.encoder.backbone.counts["calls"]
    model.save(path, omit=["backbone"])
    loaded = load(path, backbone=Counted())
    assert loaded.net_.objective.encoder.backbone.counts["calls"] == calls > 0
    np.testing.assert_array_equal(loaded.predict(X), model.labels_)


def test_paths_may_begin_at_home(fitted, X, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fitted.save("~/model.safetensors")
    assert (tmp_path / "model.safetensors").exists()
    assert read_card("~/model.safetensors")["method"] == type(fitted).__name__
    np.testing.assert_array_equal(load("~/model.safetensors").predict(X), fitted.labels_)


def test_saving_and_loading_draw_no_numbers(X, path):
    drawing = {"backbone": lambda shape: make_backbone("mlp", shape)}
    model = IDFDClustering(3, **QUICK | drawing).fit(X)
    before = torch.get_rng_state()
    model.save(path, omit=["backbone"])
    load(path, **drawing)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("change", [{"n_clusters": 4}, {"embedding_dim": 7}])
def test_parameters_of_other_networks_are_refused(change, X, path):
    model = CDCClustering(3, **QUICK).fit(X)
    with pytest.raises(ValueError, match=r"set after fit .* there are 3 clusters"):
        model.set_params(**change).save(path)
    assert not path.exists()
    with pytest.raises(ValueError, match=r"predict_proba was set after fit.* it was 0\.1"):
        model.set_params(n_clusters=3, embedding_dim=64, assignment_temperature=1.0).save(path)
    model.set_params(assignment_temperature=0.1, lr=0.1, max_epochs=7).save(path)
    np.testing.assert_array_equal(load(path).predict(X), model.labels_)


@pytest.mark.parametrize("method", METHODS)
def test_round_trip_of_vectors_in_a_frame(method, X, path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X.reshape(120, -1)[:, :9]).add_prefix("pixel")
    found = assert_loads(method(3, **QUICK).fit(frame), frame, path)
    assert list(found.feature_names_in_) == list(frame.columns)


@pytest.mark.parametrize(
    "params",
    [
        {"self_label_epochs": 1},
        {"centers": "mean"},
        {"constraint": "entropy"},
        {"heads": (5, 10)},
        {"evaluation": "head"},
    ],
    ids=str,
)
def test_round_trip_of_secu(params, X, path):
    assert_loads(SeCuClustering(5, **QUICK | params).fit(X), X, path)


@pytest.mark.parametrize("backbone", ["convnet", "resnet18", "identity"])
def test_round_trip_of_the_baseline(backbone, X, path):
    model = BackboneKMeans(5, backbone=backbone, weights=None, random_state=0)
    assert_loads(model.fit(X), X, path)
    model.set_params(backbone="auto")  # vectors go through no network
    assert_loads(model.fit(X.reshape(120, -1)), X.reshape(120, -1), path)


def test_round_trip_of_files(tmp_path, X, path):
    from PIL import Image

    for i, pixels in enumerate(X[:20]):
        Image.fromarray(pixels).save(tmp_path / f"ü {i:02d}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    model = IDFDClustering(3, on_error="skip", **QUICK).fit(tmp_path)
    found = assert_loads(model, X[:20], path)
    assert len(found.image_paths_) == 21 and found.skipped_ == [str(tmp_path / "broken.png")]


# -- code ---------------------------------------------------------------------------------------


class Backbone(nn.Module):
    num_features = 64

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x):
        return self.layer(x.flatten(1))


def made(shape):
    return Backbone()


def halved(x):
    return x / 2


@pytest.mark.parametrize("method", METHODS)
def test_code_is_left_out_and_handed_in_again(method, X, path):
    code = {"backbone": Backbone(), "augment": halved}
    model = method(5, **QUICK | code).fit(X)
    with pytest.raises(TypeError, match=r"augment and backbone .*omit=\['augment', 'backbone'\]"):
        model.save(path)
    assert not path.exists()
    assert_loads(model, X, path, **code)
    with pytest.raises(ValueError, match=r"load\(path, backbone=\.\.\.\)"):
        load(path, augment=halved)
    with pytest.raises(ValueError, match=r"num_features|backbone"):
        load(path, augment=halved, backbone=nn.Flatten())


def test_a_parameter_that_the_networks_do_not_fit_is_named(X, path):
    IDFDClustering(5, **QUICK).fit(X).save(path)
    with pytest.raises(ValueError, match=r"no.* an estimator with n_clusters=7: .*size mismatch"):
        load(path, n_clusters=7)


def test_code_that_can_be_saved_is_none(X, path):
    model = IDFDClustering(5, callbacks=[object()], **QUICK)
    model.set_params(callbacks=None).fit(X)
    model.random_state = np.random.RandomState(0)
    with pytest.raises(TypeError, match="random_state"):
        model.save(path)
    with pytest.raises(ValueError, match="no parameter 'colour'"):
        model.save(path, omit=["colour"])


def test_methods_of_others(X, path):
    class Own(IDFDClustering):
        pass

    Own(5, **QUICK).fit(X).save(path)
    with pytest.raises(ValueError, match=r"load\(path, method=Own\)"):
        load(path)
    assert isinstance(load(path, method=Own), Own)


# -- the file -----------------------------------------------------------------------------------


def test_a_reader_needs_no_package(fitted, path):
    """The card stands in the header, which is JSON."""
    fitted.save(path, card={"license": "CC0-1.0", "metrics": {"acc": 0.9}})
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    card = json.loads(header["__metadata__"]["skdeepclust"])["content"]["card"]
    assert card == read_card(path)
    assert card["license"] == "CC0-1.0" and card["metrics"] == {"acc": 0.9}
    assert card["method"] == type(fitted).__name__ and card["data"]["shape"] == [120, 1, 8, 8]
    assert sum(card["cluster_sizes"]) == 120 and "torch" in card["versions"]


def run_of(model, path, **how):
    model.save(path, **how)
    return read_card(path)["run"]


def test_the_card_tells_what_the_run_resolved(fitted, path, tmp_path):
    told = {
        "backbone": "convnet",
        "stem": None,
        "batch_size": 64,  # of so few samples
        "precision": "float32",
        "device": "cpu",
        "seed": 0,
        "n_epochs": 2,
    }
    assert fitted.get_params()["batch_size"] == 256 and fitted.backbone == "auto"
    assert run_of(fitted, path) == told
    # What is set later is of no run, and a loaded model tells of the run that it comes from.
    again = load(path, random_state=7, batch_size=9)
    assert run_of(again, tmp_path / "again") == run_of(fitted, path)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"random_state": None}, {"seed": None}),
        ({"random_state": np.int64(3)}, {"seed": 3}),
        ({"precision": "float64"}, {"precision": "float64"}),
        ({"precision": "bfloat16"}, {"precision": "bfloat16"}),
        ({"precision": "bfloat16", "freeze_backbone": True}, {"precision": "bfloat16"}),
        ({"batch_size": 32}, {"batch_size": 32}),
        ({"backbone": "resnet18"}, {"backbone": "resnet18", "stem": "small"}),
        ({"backbone": "resnet18", "stem": "imagenet"}, {"stem": "imagenet"}),
    ],
    ids=str,
)
def test_a_run_with(params, told, X, path):
    model = CDCClustering(3, **QUICK | {"device": "cpu"} | params).fit(X[:30])
    assert told.items() <= run_of(model, path).items()


def test_runs_of_two_stages_and_of_none(X, path):
    model = SeCuClustering(3, self_label_epochs=1, **QUICK).fit(X)
    assert run_of(model, path)["n_epochs"] == 3
    told = {"batch_size": None, "n_epochs": 0}
    baseline = BackboneKMeans(3, backbone="convnet", weights=None, random_state=1).fit(X)
    assert run_of(baseline, path).items() >= (told | {"backbone": "convnet", "seed": 1}).items()
    baseline.set_params(backbone="auto").fit(X.reshape(120, -1))
    assert run_of(baseline, path).items() >= (told | {"backbone": None}).items()


def test_a_backbone_that_is_code_is_told_by_its_name(X, path):
    model = CDCClustering(3, **QUICK | {"backbone": Backbone()}).fit(X)
    assert run_of(model, path, omit="backbone")["backbone"] == "Backbone"
    model = CDCClustering(3, **QUICK | {"backbone": made}).fit(X)
    assert run_of(model, path, omit="backbone")["backbone"] == "made"


def test_parameters_that_were_set_after_fit_are_of_no_run(X, path):
    model = CDCClustering(3, **QUICK).fit(X)
    before = run_of(model, path)
    model.set_params(random_state=5, batch_size=2, precision="bfloat16", max_epochs=9)
    assert run_of(model, path) == before


def test_a_file_holds_no_samples(path):
    X = np.random.default_rng(0).integers(0, 256, (2000, 1, 8, 8)).astype(np.uint8)
    IDFDClustering(3, max_epochs=1, backbone="mlp", random_state=0).fit(X).save(path)
    tensors = read(path, "model", 1)["tensors"]
    assert not [name for name, value in tensors.items() if len(value.shape) and len(value) == 2000]
    assert X[:10].tobytes() not in path.read_bytes()


def test_some_flipped_bits(fitted, path):
    fitted.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for bit in rng.integers(0, 8 * len(whole), 20):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << int(bit % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            load(path)


class Gadget:
    def __reduce__(self):
        return (print, ("code was run",))


def changed(path, change):
    """A file with a right digest and wrong contents, as only somebody with intent makes one."""
    tree = read(path, "model", 1)
    change(tree)
    write(path, "model", 1, tree)


HOSTILE = {
    "n_clusters": lambda t: t["parameters"].update(n_clusters=10**15),
    "embedding_dim": lambda t: t["parameters"].update(embedding_dim=10**9),
    "shape": lambda t: t["structure"].update(shape=(1, 10**6, 10**6)),
    "resnet50": lambda t: t["structure"].update(backbone="resnet50"),
    "no parameter": lambda t: t["parameters"].update(colour=1),
    "NaN": lambda t: t["parameters"].update(lr=float("nan")),
    "no tensor": lambda t: t["tensors"].popitem(),
    "another tensor": lambda t: t["tensors"].update(other=torch.zeros(3)),
    "another shape": lambda t: t["tensors"].update({"views.low": torch.zeros(9)}),
    "another module": lambda t: t.update(module="os", **{"class": "system"}),
    "a module of ours": lambda t: t.update(module="skdeepclust.methods.idfd", **{"class": "nn"}),
    "a private one": lambda t: t.update(module="skdeepclust.methods", **{"class": "__doc__"}),
    "no class": lambda t: t.pop("class"),
    "weights of a path": lambda t: t["structure"].update(backbone=["/etc/passwd"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_contents_are_refused_in_no_time_and_memory(name, X, path):
    IDFDClustering(5, **QUICK).fit(X).save(path)
    changed(path, HOSTILE[name])
    started = time.process_time()
    with pytest.raises(ValueError):
        load(path)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Gadget()),
        (2**63).to_bytes(8, "little") + b"{}",
        (10**5).to_bytes(8, "little") + b"[" * 10**5,
        b"PK\x03\x04" + bytes(1000),
        b"",
        b"\0" * 64,
    ],
    ids=["pickle", "header of 2^63", "JSON of depth 10^5", "zip", "empty", "zeros"],
)
def test_other_files_are_refused(content, path, capsys):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no file of skdeepclust"):
        load(path)
    assert "code was run" not in capsys.readouterr().out


def test_no_file_and_no_name(tmp_path, fitted):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is a folder"):
        fitted.save(tmp_path)
    with pytest.raises(ValueError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fitted.save(tmp_path / "nowhere" / "model")


def test_only_fitted_estimators_are_saved(path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        IDFDClustering().save(path)


def test_a_device_that_is_not_there(X, path):
    IDFDClustering(5, **QUICK).fit(X).save(path)
    changed(path, lambda tree: tree["parameters"].update(device="cuda:31"))
    with pytest.warns(UserWarning, match="it predicts on the CPU"):
        found = load(path)
    assert found.predict(X).shape == (120,)
    assert load(path, device="cpu").device == "cpu"
    with pytest.raises(ValueError, match="device='cuda:30' is not available here"):
        load(path, device="cuda:30")


def test_nothing_in_the_package_runs_code_of_files():
    """No pickle, no eval, no torch.load without its lock."""
    banned = re.compile(
        r"\bimport (pickle|dill|cloudpickle|marshal|shelve)|\bjoblib\.load|(?<![\w.])(eval|exec)\(|"
        r"yaml\.(unsafe_)?load\(|torch\.load\((?!.*weights_only=True)"
    )
    package = Path(skdeepclust.__file__).parent
    found = [
        f"{file.name}: {line.strip()}"
        for file in package.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if banned.search(line)
    ]
    assert not found


def test_no_workflow_runs_what_somebody_may_move():
    """Actions are pinned by commit: a tag can be set anew."""
    folder = Path(__file__).parents[1] / ".github" / "workflows"
    used = [line for file in folder.glob("*.yml") for line in file.read_text().splitlines()]
    used = [line.strip() for line in used if "uses:" in line]
    assert len(used) > 10
    assert all(re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in used), used


# -- files of all releases ----------------------------------------------------------------------

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("name", [*skdeepclust.METHODS, "BackboneKMeans"])
@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_files_of_every_version_stay_loadable(version, name, digits):
    folder = FIXTURES / f"v{version}"  # see fixtures/make.py
    expected = json.loads((folder / "labels.json").read_text())[name]
    found = load(folder / f"{name}.safetensors")
    assert found.predict(digits[0][:60]).tolist() == found.labels_.tolist() == expected
    assert read_card(folder / f"{name}.safetensors")["method"] == name


def test_of_a_file_without_a_run_none_is_made_up(path):
    again = load(FIXTURES / "v1" / "CDCClustering.safetensors")
    assert run_of(again, path) is None
