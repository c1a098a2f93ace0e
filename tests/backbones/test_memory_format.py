"""In what memory format networks compute: ours channels last, a user's own as its weights."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from skdeepclust import IDFDClustering, ProPosClustering, load
from skdeepclust.backbones import BACKBONES, make_backbone
from skdeepclust.datasets import make_image_blobs
from skdeepclust.engine.device import memory_format

X, _ = make_image_blobs(24, image_shape=(3, 16, 16), random_state=0)


class Viewing(nn.Module):
    """Flattens by ``view``, as most networks that people have."""

    num_features = 12

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.linear = nn.Linear(4 * 64, 12)

    def forward(self, x):
        return self.linear(self.conv(x).relu().view(len(x), -1))


class Pooling(nn.Module):
    num_features = 4

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.seen = []

    def forward(self, x):
        self.seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return self.conv(x).relu().mean((2, 3))


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("channels_last_images", [False, True])
def test_a_network_that_views_is_trained(freeze, channels_last_images, tmp_path):
    images = np.moveaxis(X, 1, -1) if channels_last_images else X
    shape = None if channels_last_images else (3, 16, 16)
    net = Viewing()
    model = ProPosClustering(
        2, backbone=net, freeze_backbone=freeze, image_shape=shape, augment="simclr", max_epochs=1
    ).fit(images)
    if freeze:
        assert memory_format(model.net_.module_.views.backbone) == torch.contiguous_format
    assert memory_format(model.net_.module_) == torch.contiguous_format
    model.save(tmp_path / "model.skdc", omit=["backbone"])
    again = load(tmp_path / "model.skdc", backbone=net)
    np.testing.assert_array_equal(again.predict(images), model.labels_)


def test_a_module_that_is_channels_last_gets_such_images():
    net = Pooling().to(memory_format=torch.channels_last)
    model = IDFDClustering(2, backbone=net, max_epochs=1).fit(X)
    trained = model.net_.module_
    assert trained.memory_format == memory_format(trained) == torch.channels_last
    seen = trained.objective.encoder.backbone.seen
    assert seen[-1] and len(seen) > 2


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"mlp", "identity"}))
def test_ours_are_channels_last(name, tmp_path):
    assert memory_format(make_backbone(name, (3, 16, 16))) == torch.channels_last
    if name == "convnet":
        model = IDFDClustering(2, backbone=name, max_epochs=1).fit(X)
        model.save(tmp_path / "model.skdc")
        again = load(tmp_path / "model.skdc")
        for fitted in (model, again):
            assert memory_format(fitted.net_.module_) == torch.channels_last
            assert fitted.net_.module_.memory_format == torch.channels_last


def test_those_of_timm_are_channels_last_where_that_is_safe():
    pytest.importorskip("timm", reason="timm is not installed")
    assert memory_format(make_backbone("timm:resnet18", (3, 32, 32))) == torch.channels_last
    assert memory_format(make_backbone("timm:repvgg_a0", (3, 32, 32))) == torch.contiguous_format


def test_a_strided_convolution_of_one_pixel_survives():
    """In a process of its own: where it fails it takes the process with it."""
    pytest.importorskip("timm", reason="timm is not installed")
    code = (
        "import torch; from skdeepclust.backbones import make_backbone\n"
        "from skdeepclust.engine.device import laid_out, memory_format\n"
        "net = make_backbone('timm:repvgg_a0', (3, 32, 32))\n"
        "net(laid_out(torch.rand(32, 3, 32, 32), memory_format(net))).sum().backward(); print(1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr[-500:]


class Volume(nn.Module):
    """Sees the channels of an image as the depth of a volume."""

    num_features = 4

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x[:, None]).relu().mean((2, 3, 4))


@pytest.mark.parametrize("freeze", [False, True])
def test_three_dimensional_convolutions(freeze, tmp_path):
    net = Volume()
    model = IDFDClustering(
        2, backbone=net, freeze_backbone=freeze, augment=None if freeze else "auto", max_epochs=1
    ).fit(X)
    model.save(tmp_path / "model.skdc", omit=["backbone"])
    again = load(tmp_path / "model.skdc", backbone=net)
    np.testing.assert_array_equal(again.predict(X), model.labels_)
