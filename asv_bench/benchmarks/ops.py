"""Balanced codes and the start of CDC's categories."""

import torch

from benchmarks import common
from skdeepclust.ops.partition import linear_partition
from skdeepclust.ops.sinkhorn import sinkhorn


class Sinkhorn:
    """Samples x clusters, ten rounds."""

    params = ("256x10", "1024x1000")
    param_names = ("shape",)
    timer = common.timer

    def setup(self, shape):
        self.scores = common.random_rows(*map(int, shape.split("x")))
        self.scores /= self.scores.norm(dim=1, keepdim=True)

    def time_codes(self, shape):
        sinkhorn(self.scores, 0.05, 10)


class LinearPartition:
    """Ten groups of embeddings."""

    params = (1_000, 10_000)
    param_names = ("n_samples",)
    timer = common.timer

    def setup(self, n_samples):
        centers = 3 * common.random_rows(10, 64)
        self.z = common.random_rows(n_samples, 64) + centers[torch.arange(n_samples) % 10]

    def time_partition(self, n_samples):
        generator = torch.Generator().manual_seed(common.SEED)
        linear_partition(self.z, 10, generator=generator)
