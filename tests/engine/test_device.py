import numpy as np
import pytest
import torch
from torch import nn

import skdeepclust
from skdeepclust.engine.device import inference_batch, resolve_device


def test_an_unknown_device_is_told_which_there_are():
    with pytest.raises(ValueError, match=r"^device='gpu' is unknown; there are 'auto', .*'mps'$"):
        resolve_device("gpu")


def test_a_device_that_is_not_there_is_told_what_takes_one():
    with pytest.raises(ValueError, match="device='cuda:99' is not available here, device='auto'"):
        resolve_device("cuda:99")
    with pytest.raises(ValueError, match="device='meta' computes nothing"):
        resolve_device("meta")


@pytest.mark.parametrize("name", ["IDFDClustering", "ProPosClustering", "SeCuClustering"])
def test_training_asks_for_no_doubles(name, digits, monkeypatch):
    """Apple's GPUs have none."""

    def refuse(tensor):
        raise TypeError("the MPS framework doesn't support float64")

    monkeypatch.setattr(torch.Tensor, "double", refuse)
    estimator = getattr(skdeepclust, name)(3, max_epochs=2, warmup_epochs=1, random_state=0)
    estimator.fit(digits[0][:64]).predict(digits[0][:64])


@pytest.mark.parametrize(
    ("shape", "on_cpu", "on_cuda"),
    [
        ((10,), 128, 512),
        ((1, 8, 8), 128, 512),
        ((3, 64, 64), 128, 512),
        ((3, 96, 96), 32, 512),
        ((3, 224, 224), 8, 128),
        ((3, 4000, 3000), 4, 4),
    ],
    ids=str,
)
def test_batches_of_larger_images_are_smaller(shape, on_cpu, on_cuda):
    """One photograph is to take the time of a few, and a batch the memory of a few."""
    assert inference_batch(torch.device("cpu"), shape) == on_cpu
    assert inference_batch(torch.device("cuda"), shape) == on_cuda


def test_one_photograph_is_seen_with_seven_others_at_most():
    class Watched(nn.Conv2d):
        num_features = 3

        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x).mean((2, 3))

    sizes: list[int] = []
    X = np.random.default_rng(0).integers(256, size=(20, 3, 224, 224), dtype=np.uint8)
    net = Watched(3, 3, 3, stride=16)
    model = skdeepclust.IDFDClustering(2, backbone=net, max_epochs=1, random_state=0).fit(X)
    sizes.clear()
    alone = model.transform(X[4:5])
    assert sizes == [8]
    np.testing.assert_array_equal(alone, model.transform(X)[4:5])
