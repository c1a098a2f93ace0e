"""Data that several tests share. No test needs the network."""

import os
import signal

# Tests run in as many processes as there are cores at most: each takes one of them. Before torch
# is imported, and for the processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from skdeepclust.backbones.convnet import ConvNet
from skdeepclust.datasets import load_digits_images

# A shell that starts the tests in the background has them ignore Ctrl-C; some send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def digits():
    """Return 300 real 8x8 digits and their classes, read-only since all tests share them."""
    images, target = load_digits_images(return_X_y=True)
    images, target = images[:300], target[:300]
    images.flags.writeable = target.flags.writeable = False
    return images, target


# Width of ConvNet, half and a quarter of it.
WIDE, HALF, NARROW = (32,), (16,), (8,)


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """Let networks be narrow, where nothing is asked of what they learn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConvNet.__init__, "__defaults__", NARROW)
        yield


@pytest.fixture
def wide(monkeypatch):
    """Undo `narrow`, for what is learned and for processes that do not know of it."""
    monkeypatch.setattr(ConvNet.__init__, "__defaults__", WIDE)


@pytest.fixture
def half_wide(monkeypatch):
    """Let real images be learned in less time."""
    monkeypatch.setattr(ConvNet.__init__, "__defaults__", HALF)


@pytest.fixture
def in_brief(monkeypatch, tmp_path):
    """Make examples quick: few images, an epoch, no network; in a folder with photographs.

    What they draw is in no window, and closed after them.
    """
    import matplotlib.pyplot as plt
    from PIL import Image
    from sklearn.utils import Bunch
    from torchvision.models import resnet18

    from skdeepclust.engine.net import ObjectiveNet

    folder = tmp_path / "photographs"
    folder.mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(256, size=(12, 40, 50, 3))):
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "skdeepclust.backbones.torchvision_state", lambda _: resnet18().state_dict()
    )
    images, target = load_digits_images(return_X_y=True)
    some = Bunch(images=images[:200], target=target[:200])
    colour = np.random.default_rng(0).integers(256, size=(40, 32, 32, 3), dtype=np.uint8)
    cifar = Bunch(images=colour, target=np.arange(40) % 10)

    def give(data):
        return lambda return_X_y=False, **_: tuple(data.values()) if return_X_y else data

    monkeypatch.setattr("skdeepclust.datasets.load_digits_images", give(some))
    monkeypatch.setattr("skdeepclust.datasets.fetch_cifar10", give(cifar))
    made = ObjectiveNet.__init__

    def one_epoch(self, *args, **kwargs):
        made(self, *args, **kwargs | {"max_epochs": 1})

    monkeypatch.setattr(ObjectiveNet, "__init__", one_epoch)
    plt.switch_backend("Agg")
    yield
    plt.close("all")
