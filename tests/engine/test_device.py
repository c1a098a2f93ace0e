import pytest

from skdeepclust.engine.device import resolve_device


def test_an_unknown_device_is_told_which_there_are():
    with pytest.raises(ValueError, match=r"^device='gpu' is unknown; there are 'auto', .*'mps'$"):
        resolve_device("gpu")


def test_a_device_that_is_not_there_is_told_what_takes_one():
    with pytest.raises(ValueError, match="device='cuda:99' is not available here, device='auto'"):
        resolve_device("cuda:99")
