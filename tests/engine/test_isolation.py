import pytest
import torch

from skdeepclust.engine.isolation import isolated

CPU = torch.device("cpu")


def test_what_need_not_change_is_not_set(monkeypatch):
    """Setting it imports torch's compiler, and Ctrl-C in the midst of that broke the clean-up."""

    def refuse(*_, **__):
        raise AssertionError("nothing changes")

    monkeypatch.setattr(torch, "use_deterministic_algorithms", refuse)
    with isolated(0, CPU, deterministic=False):
        pass


@pytest.mark.parametrize("before", [False, True])
def test_deterministic_algorithms_are_as_they_were(before):
    try:
        torch.use_deterministic_algorithms(before, warn_only=True)
        with isolated(0, CPU, deterministic=True):
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled() == before
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
