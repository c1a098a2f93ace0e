"""Weights from elsewhere arrive where they belong, or say why not, and nothing in them is run."""

import os
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from skdeepclust import BackboneKMeans, IDFDClustering
from skdeepclust.backbones import make_backbone, pretrained
from skdeepclust.datasets import make_image_blobs

SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def resnet():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return resnet18(weights=None).eval()


@pytest.fixture
def state(resnet, tmp_path):
    torch.save(resnet.state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def features_of(resnet, x):
    """The reference: torchvision's network up to its classifier."""
    headless = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten())
    return headless(x)


@pytest.mark.parametrize("form", ["pt", "safetensors", "under a key", "of data parallel"])
def test_weights_of_a_file_give_the_features_they_gave(form, resnet, tmp_path):
    state, path = resnet.state_dict(), tmp_path / "weights.pt"
    if form == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    elif form == "under a key":
        torch.save({"state_dict": state}, path)
    elif form == "of data parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    net = make_backbone("resnet18", SHAPE, weights=path).eval()
    x = torch.randn(2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(net(x), features_of(resnet, x))
    assert net.conv1.kernel_size == (7, 7), "weights of ImageNet have its stem, at any size"


def test_a_file_may_be_named_from_home(state, monkeypatch):
    monkeypatch.setenv("HOME", str(state.parent))
    one, other = (
        make_backbone("resnet18", SHAPE, weights=path) for path in (state, "~/weights.pt")
    )
    assert torch.equal(one.conv1.weight, other.conv1.weight)


def test_images_are_standardised_as_the_weights_expect(state):
    net = make_backbone("resnet18", SHAPE, weights=state)
    assert net.image_mean == (0.485, 0.456, 0.406) and net.image_std == (0.229, 0.224, 0.225)
    assert not hasattr(make_backbone("resnet18", SHAPE), "image_mean")
    X, _ = make_image_blobs(12, image_shape=SHAPE, random_state=0)
    model = IDFDClustering(2, weights=state, max_epochs=1, random_state=0).fit(X)
    torch.testing.assert_close(
        model.net_.module_.views.mean.flatten(), torch.tensor(net.image_mean)
    )


def test_a_grey_image_is_seen_as_it_would_be_in_colour(state, resnet):
    net = make_backbone("resnet18", (1, 32, 32), weights=state).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(x), features_of(resnet, x.expand(-1, 3, -1, -1)))
    assert net.image_mean == (pytest.approx(0.449),)


def test_default_downloads_torchvisions(monkeypatch, resnet):
    monkeypatch.setattr("skdeepclust.backbones.torchvision_state", lambda name: resnet.state_dict())
    net = make_backbone("resnet18", SHAPE, weights="DEFAULT").eval()
    x = torch.randn(1, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(net(x), features_of(resnet, x))


def test_what_cannot_be_downloaded_says_so(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ValueError, match=r"could not be downloaded: no route to host.*path"):
        make_backbone("resnet18", SHAPE, weights="DEFAULT")


def test_a_module_of_the_user_takes_weights(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    net.num_features = 5
    torch.save({name: value + 1 for name, value in net.state_dict().items()}, tmp_path / "w.pt")
    made = make_backbone(net, (3, 2, 2), weights=tmp_path / "w.pt")
    assert torch.equal(made[1].weight, net[1].weight + 1)


class Gadget:
    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.mark.parametrize(
    ("write", "error", "match"),
    [
        (None, FileNotFoundError, "there is no such file"),
        (lambda path: path.write_bytes(b"hello"), ValueError, r"is no state dict: \w+Error"),
        (lambda path: path.write_bytes(pickle.dumps(Gadget())), ValueError, "is no state dict"),
        (lambda path: torch.save({"a": 1}, path), ValueError, "more than tensors"),
        (lambda path: torch.save({"a": torch.ones(1)}, path), ValueError, "not of this backbone"),
    ],
    ids=["missing", "text", "pickle", "numbers", "others"],
)
def test_bad_files_are_refused(write, error, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if write:
        write(tmp_path / "w.pt")
    with pytest.raises(error, match=match):
        make_backbone("resnet18", SHAPE, weights=tmp_path / "w.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("backbone", "params", "match"),
    [
        ("convnet", {"weights": "DEFAULT"}, "no weights of its own"),
        (lambda shape: nn.Identity(), {"weights": "DEFAULT"}, "needs the name"),
        ("timm:resnet18", {"shape": (7,)}, "needs images"),
    ],
)
def test_bad_requests_are_refused(backbone, params, match):
    with pytest.raises(ValueError, match=match):
        make_backbone(backbone, **{"shape": SHAPE} | params)


def test_another_stem_does_not_take_the_weights(state):
    with pytest.raises(ValueError, match=r"conv1\.weight.*stem='imagenet'"):
        make_backbone("resnet18", SHAPE, stem="small", weights=state)


def test_a_network_of_timm():
    pytest.importorskip("timm", reason="timm is not installed")
    net = make_backbone("timm:mobilenetv3_small_050", SHAPE)
    assert net(torch.zeros(2, *SHAPE)).shape == (2, net.num_features)
    with pytest.raises(ValueError, match="timm:nothing_like_it"):
        make_backbone("timm:nothing_like_it", SHAPE)
    X, _ = make_image_blobs(12, image_shape=SHAPE, random_state=0)
    model = IDFDClustering(2, backbone="timm:mobilenetv3_small_050", max_epochs=1).fit(X)
    assert model.labels_.shape == (12,)


@pytest.mark.filterwarnings("ignore:The frozen backbone has random weights")
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_one_size_names_the_shape_to_pass(channels, tmp_path):
    pytest.importorskip("timm", reason="timm is not installed")
    tiny = "timm:test_vit3"
    told = rf"fails .*\({channels}, 96, 96\).*test_vit3' takes 160 x 160 pixels: pass image_shape="
    told += rf"\({channels}, 160, 160\) for image files"
    with pytest.raises(ValueError, match=told):
        make_backbone(tiny, (channels, 96, 96))
    for i in range(4):
        pixels = np.full((100, 120, 3), 60 * i, np.uint8)
        Image.fromarray(pixels).convert("RGB" if channels == 3 else "L").save(tmp_path / f"{i}.png")
    model = BackboneKMeans(2, backbone=tiny, weights=None, random_state=0)
    with pytest.raises(ValueError, match=told):
        model.fit(tmp_path)
    assert model.set_params(image_shape=(channels, 160, 160)).fit(tmp_path).labels_.shape == (4,)


@pytest.mark.parametrize(
    ("name", "shape"), [("test_vit3", (3, 160, 160)), ("mobilenetv3_small_050", SHAPE)]
)
def test_another_fault_of_a_network_of_timm_names_no_shape(name, shape, monkeypatch):
    timm = pytest.importorskip("timm", reason="timm is not installed")

    def broken(*args, **kwargs):
        made = create(*args, **kwargs)
        made.forward = lambda x: 1 / 0
        return made

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(ValueError, match=r"division by zero$"):
        make_backbone(f"timm:{name}", shape)


def test_without_timm_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"pip install 'skdeepclust\[timm\]'"):
        make_backbone("timm:resnet18", SHAPE)


def test_names_of_classifiers_are_left_out():
    net = nn.Linear(3, 2)
    state = {**{k: v * 0 for k, v in net.state_dict().items()}, "head.weight": torch.ones(1)}
    pretrained.load_state(net, state, "x")
    assert not net.weight.any()
