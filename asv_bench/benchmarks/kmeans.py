"""k-means on tensors, a fixed number of iterations."""

import torch

from benchmarks import common
from skdeepclust.ops.kmeans import kmeans


class KMeans:
    """Rows x dimension x clusters, with each metric."""

    params = (("1797x64x10", "10000x128x100"), ("euclidean", "cosine"))
    param_names = ("shape", "metric")
    timer = common.timer

    def setup(self, shape, metric):
        rows, dim, self.k = map(int, shape.split("x"))
        self.x = common.random_rows(rows, dim)

    def _cluster(self, metric, **options):
        generator = torch.Generator().manual_seed(common.SEED)
        kmeans(self.x, self.k, metric=metric, tol=0, generator=generator, **options)

    def time_one_run(self, shape, metric):
        self._cluster(metric, max_iter=20)

    def time_ten_restarts(self, shape, metric):
        self._cluster(metric, max_iter=5, n_init=10)

    def time_warm_start(self, shape, metric):
        self._cluster(metric, max_iter=20, init=self.x[: self.k])
