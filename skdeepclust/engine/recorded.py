"""Augmented views by a single launch."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from skdeepclust.augment.views import Views
from skdeepclust.engine.device import channels_last
from skdeepclust.engine.processes import draws_itself
from skdeepclust.ops.collective import world_size

__all__ = ["RecordedViews"]

# Calls before one is recorded: caches fill, and libraries load.
_WARM = 2


class RecordedViews:
    """Views on CUDA as graphs, recorded once and replayed with every batch.

    A view is some 150 small kernels. A host launches them one by one, which takes it longer than
    the device needs to compute them, and in small batches longer than the step. The random numbers
    are those that the kernels would draw without a graph.

    Parameters
    ----------
    views : Views
        Random by our own augmentations alone, see `of`.
    """

    def __init__(self, views: Views):
        self.views = views
        self._graphs: dict[Any, Any] = {}

    @classmethod
    def of(cls, views: nn.Module, device: torch.device) -> Self | None:
        """The views of a learner, if a replay draws anew all that is random in them."""
        if device.type != "cuda" or world_size() > 1 or type(views) is not Views:
            return None
        return None if any(map(draws_itself, views.augmentations)) else cls(views)

    def __call__(self, x: Tensor, stretch: Tensor | None = None) -> list[Tensor]:
        """Views of a batch, which the next one of its shape overwrites."""
        kind = x.shape, x.dtype, stretch is None, self.views.reduced
        there = self._graphs.get(kind, 0)
        if isinstance(there, int):
            if there < _WARM:
                self._graphs[kind] = there + 1
                return self._make(x, stretch)
            there = self._graphs[kind] = self._record(x, stretch)
        graph, inputs, made = there
        for place, given in zip(inputs, (x, stretch), strict=True):
            if place is not None:
                place.copy_(given)
        graph.replay()
        return made

    def _make(self, x: Tensor, stretch: Tensor | None) -> list[Tensor]:
        return [channels_last(view) for view in self.views(x, stretch)]

    def _record(self, x: Tensor, stretch: Tensor | None) -> tuple[Any, Any, list[Tensor]]:
        inputs = x.clone(), None if stretch is None else stretch.clone()
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process may go on with what they do.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = self._make(*inputs)
        return graph, inputs, made
