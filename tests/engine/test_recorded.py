"""Views that are recorded once and replayed: by a stand-in for CUDA's graphs."""

import contextlib

import pytest
import torch
from torch import nn

from skdeepclust.augment import make_augmentations
from skdeepclust.augment.views import Views
from skdeepclust.engine.recorded import RecordedViews

CUDA = torch.device("cuda")


def views(augment="simclr", shape=(3, 8, 8), n=2):
    half = [0.5] * shape[0]
    return Views.for_images(make_augmentations(augment, shape, n), 0, 255, half, half)


def batch(n=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)


class Graph:
    """Does again what was done while it was recorded."""

    def replay(self):
        for there, new in zip(self.made, self.make(), strict=True):
            there.copy_(new)


@pytest.fixture
def recorded(monkeypatch):
    """What makes recorded views; `graphs` has what was recorded."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **how: contextlib.nullcontext())
    graphs = []

    def made(parts):
        found = RecordedViews(parts, torch.channels_last)
        record = found._record

        def remember(x, stretch):
            graph, inputs, outputs = record(x, stretch)
            graph.made, graph.make = outputs, lambda: found._make(*inputs)
            graphs.append(graph)
            return graph, inputs, outputs

        found._record = remember
        return found

    made.graphs = graphs
    return made


def test_replays_are_what_the_views_would_be(recorded):
    parts = views()
    replay = recorded(parts)
    for seed in range(5):
        x = batch(seed=seed)
        torch.manual_seed(seed)
        expected = parts(x)
        torch.manual_seed(seed)
        if seed == 2:  # a capture computes nothing, but this stand-in draws numbers for it
            state = torch.get_rng_state()
            replay(x)
            torch.set_rng_state(state)
        for ours, theirs in zip(replay(x), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
            assert ours.is_contiguous(memory_format=torch.channels_last)
    assert len(recorded.graphs) == 1


def test_every_shape_and_size_has_its_graph(recorded):
    parts = views()
    replay = recorded(parts)
    for reduced in (None, (6, 6), None):
        parts.reduced = reduced
        for n in (4, 5):
            for _ in range(4):
                made = replay(batch(n))
                assert [view.shape for view in made] == [(n, 3, *(reduced or (8, 8)))] * 2
    assert len(recorded.graphs) == 4


def test_squeezed_images_have_their_proportions_copied_in(recorded):
    parts = views()
    parts.size = (8, 8)
    replay = recorded(parts)
    for factor in (1.0, 1.0, 1.0, 2.0):
        replay(batch(), torch.full((4,), factor))
    ((_, inputs, _),) = replay._graphs.values()
    assert torch.equal(inputs[1], torch.full((4,), 2.0))


def recordable(augment):
    return RecordedViews.of(views(augment), torch.channels_last, CUDA)


class Mine(nn.Module):
    def forward(self, x):
        return x


def test_views_with_weights_are_not_recorded():
    """Their gradients would be those of one and the same capture, again and again."""
    assert recordable(nn.Conv2d(3, 3, 1)) is None


@pytest.mark.parametrize(
    ("augment", "fits"),
    [("simclr", True), ("byol", True), (None, True), (Mine(), False), (lambda x: x, False)],
)
def test_only_our_own_augmentations_are_recorded(augment, fits):
    assert (recordable(augment) is not None) == fits


def test_elsewhere_nothing_is_recorded():
    assert RecordedViews.of(views(), torch.channels_last, torch.device("cpu")) is None
    assert RecordedViews.of(nn.Identity(), torch.channels_last, CUDA) is None
