"""Augmented views by a single launch."""

from collections import Counter
from typing import Any, Self

import torch
from torch import Tensor, nn

from skdeepclust.augment.views import Views
from skdeepclust.engine.device import laid_out
from skdeepclust.engine.processes import draws_itself
from skdeepclust.ops.collective import world_size

__all__ = ["RecordedViews"]

# Calls before one is recorded: caches fill, and libraries load.
_WARM = 2


class RecordedViews:
    """Views on CUDA as graphs, recorded once and replayed with every batch.

    A view is many small kernels. A host launches them one by one, which takes it longer than the
    device needs to compute them, and in small batches longer than the step. The random numbers are
    those that the kernels would draw without a graph.

    Parameters
    ----------
    views : Views
        Random by our own augmentations alone, see `of`.
    memory_format : torch.memory_format
        Of the views of images.
    """

    def __init__(self, views: Views, memory_format: torch.memory_format):
        self.views = views
        self.memory_format = memory_format
        self._graphs: dict[Any, tuple[Any, Any, list[Tensor]]] = {}
        self._calls: Counter[Any] = Counter()

    @classmethod
    def of(
        cls, views: nn.Module, memory_format: torch.memory_format, device: torch.device
    ) -> Self | None:
        """The views of a learner, if a replay does again all that they do.

        None if they have weights, or take random numbers or anything else from elsewhere, or if
        other processes have a part in them.
        """
        if device.type != "cuda" or world_size() > 1 or type(views) is not Views:
            return None
        if list(views.parameters()) or any(map(draws_itself, views.augmentations)):
            return None
        return cls(views, memory_format)

    def __call__(self, x: Tensor, stretch: Tensor | None = None) -> list[Tensor]:
        """Views of a batch, which the next one of its shape overwrites."""
        kind = x.shape, x.dtype, stretch is None, self.views.reduced
        self._calls[kind] += 1
        if self._calls[kind] <= _WARM:
            return self._make(x, stretch)
        if kind not in self._graphs:
            self._graphs[kind] = self._record(x, stretch)
        graph, inputs, made = self._graphs[kind]
        for place, given in zip(inputs, (x, stretch), strict=True):
            if place is not None:
                place.copy_(given)
        graph.replay()
        return made

    def _make(self, x: Tensor, stretch: Tensor | None) -> list[Tensor]:
        return [laid_out(view, self.memory_format) for view in self.views(x, stretch)]

    def _record(self, x: Tensor, stretch: Tensor | None) -> tuple[Any, Any, list[Tensor]]:
        inputs = x.clone(), None if stretch is None else stretch.clone()
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on with what they do, but for random numbers in older PyTorch.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = self._make(*inputs)
        return graph, inputs, made
