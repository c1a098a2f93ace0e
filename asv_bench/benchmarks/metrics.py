"""Scores of a million labels, and the matching of many clusters."""

from numpy.random import RandomState

from benchmarks import common
from skdeepclust.metrics import clustering_accuracy, clustering_report, match_labels


class Scores:
    """Seven of ten samples are in the cluster of their class, the others anywhere."""

    params = (10, 1_000, 10_000)
    param_names = ("n_clusters",)
    timer = common.timer

    def setup(self, n_clusters):
        rng = RandomState(common.SEED)
        self.y, anywhere = rng.randint(n_clusters, size=(2, 1_000_000))
        right = rng.uniform(size=len(self.y)) < 0.7
        self.labels = anywhere
        self.labels[right] = self.y[right]

    def time_accuracy(self, n_clusters):
        clustering_accuracy(self.y, self.labels)

    def time_report(self, n_clusters):
        clustering_report(self.y, self.labels)

    def time_match_labels(self, n_clusters):
        match_labels(self.y, self.labels)

    def peakmem_report(self, n_clusters):
        clustering_report(self.y, self.labels)
