import pytest
import torch

import skdeepclust
from skdeepclust.engine.device import resolve_device


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
