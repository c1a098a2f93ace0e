"""Is the clustering alive? Health figures of each epoch, and the warning when it is not."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skdeepclust.engine.warn import warn_user
from skdeepclust.ops.contingency import contingency
from skdeepclust.ops.count import count_labels

__all__ = [
    "ADVICE",
    "CollapseWarning",
    "Health",
    "Mixing",
    "Spread",
    "Vitals",
    "collapse_std",
    "collapsed",
    "feature_std",
    "signs",
]

# A representation has collapsed when its features vary by less than this share of what
# they do on a uniformly covered sphere (1 / sqrt(dim)).
_STD_SHARE = 0.1
# A clustering has, when one of three or more clusters holds more than this share of the samples,
_LARGEST_SHARE = 0.95
# and batches fall into one cluster when their mixing, see `Mixing`, is less than this.
_LEAST_MIXING = 0.05
# Epochs in a row that are bad before it is said.
_PATIENCE = 3


class CollapseWarning(UserWarning):
    """The representation or the clustering has collapsed to (nearly) one point or cluster."""


def feature_std(z: Tensor) -> Tensor:
    """Standard deviation over the samples of unit-norm features, averaged over dimensions.

    Parameters
    ----------
    z : Tensor of shape (n_samples, dim)
        Rows of norm 1.

    Returns
    -------
    Tensor, scalar
        About 1 / sqrt(dim) when healthy, 0 when collapsed (Chen and He, "Exploring Simple
        Siamese Representation Learning", CVPR 2021, figure 2).
    """
    return z.std(0, unbiased=False).mean()


class Vitals(NamedTuple):
    """What an objective reports of an epoch.

    Attributes
    ----------
    labels : Tensor of shape (n_samples,), int64
        Cluster of each training sample.
    std : Tensor, scalar
        See `feature_std`.
    mixing : Tensor, scalar, or None
        See `Mixing`; for methods whose cluster sizes are forced to look well.
    """

    labels: Tensor
    std: Tensor
    mixing: Tensor | None = None


class Spread(nn.Module):
    """`feature_std` of what has passed since it was last asked, batch by batch.

    Parameters
    ----------
    dim : int
        Dimension of the features.
    """

    sums: Tensor
    count: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("sums", torch.zeros(2, dim), persistent=False)
        self.register_buffer("count", torch.zeros(()), persistent=False)

    def update(self, z: Tensor) -> None:
        """Take in unit-norm features (B, dim)."""
        z = z.detach().float()
        self.sums += torch.stack([z.sum(0), z.square().sum(0)])
        self.count += len(z)

    def value(self) -> Tensor:
        """Mean standard deviation, scalar; starts afresh."""
        mean, square = self.sums / self.count.clamp_min(1)
        self.sums.zero_()
        self.count.zero_()
        return (square - mean.square()).clamp_min(0).sqrt().mean()


class Mixing(nn.Module):
    """How well the clusters are mixed within batches, which are random draws.

    A network that maps everything to one point can still fill all clusters evenly: a
    constraint on the sizes sends each batch as a whole to another cluster. The clusters that
    a batch holds give it away, in all heads at once. One head alone can be in that state over
    good features, when its centres have met in the middle of them.

    Parameters
    ----------
    n_clusters : int
        Number of clusters K, of all heads together.
    n_heads : int, default=1
        Number of heads that are watched.
    """

    counts: Tensor
    distinct: Tensor
    batches: Tensor

    def __init__(self, n_clusters: int, n_heads: int = 1):
        super().__init__()
        self.n_heads = n_heads
        self.register_buffer("counts", torch.zeros(n_clusters), persistent=False)
        self.register_buffer("distinct", torch.zeros(()), persistent=False)
        self.register_buffer("batches", torch.zeros(()), persistent=False)

    def update(self, labels: Tensor) -> None:
        """Take in the labels (n_heads, B) of a batch, numbered through all heads."""
        counts = count_labels(labels.flatten(), len(self.counts))
        self.counts += counts
        self.distinct += (counts > 0).sum()
        self.batches += 1

    def value(self) -> Tensor:
        """Clusters in a batch beyond the first of each head, over those of random batches.

        Starts afresh.

        Returns
        -------
        Tensor, scalar
            0 when every batch falls into one cluster, about 1 when batches are random draws,
            and 1 when they hold no second cluster to mix.
        """
        samples = self.counts.sum() / self.n_heads
        shares = self.counts / samples.clamp_min(1)
        batches = self.batches.clamp_min(1)
        expected = (1 - (1 - shares) ** (samples / batches)).sum() - self.n_heads
        found = self.distinct / batches - self.n_heads
        mixing = torch.where((self.counts > 0).sum() > self.n_heads, found / expected, 1.0)
        self.counts.zero_()
        self.distinct.zero_()
        self.batches.zero_()
        return mixing


def collapse_std(dim: int) -> float:
    """Mean feature standard deviation below which features of `dim` dimensions have collapsed."""
    return _STD_SHARE / math.sqrt(dim)


def collapsed(std: float, dim: int) -> bool:
    """Whether a mean feature standard deviation means collapse in `dim` dimensions."""
    return std < collapse_std(dim)


def signs(shares: np.ndarray, std: float, mixing: float, dim: int) -> dict[str, bool]:
    """Tell which kinds of collapse the figures of an epoch show.

    Parameters
    ----------
    shares : ndarray of shape (n_clusters,)
        Share of the samples in each cluster.
    std : float
        See `feature_std`.
    mixing : float
        See `Mixing`; 1 for methods without.
    dim : int
        Dimension of the embedding.

    Returns
    -------
    dict of str to bool
        By the keys of `ADVICE`.
    """
    return {
        "representation": collapsed(std, dim),
        "clustering": len(shares) >= 3 and shares.max() > _LARGEST_SHARE,
        "batches": mixing < _LEAST_MIXING,
    }


class Health:
    """Figures of each epoch, and a `CollapseWarning` where they stay bad.

    Parameters
    ----------
    n_clusters : int
        Number of clusters K.
    dim : int
        Dimension of the embedding.
    """

    def __init__(self, n_clusters: int, dim: int):
        self.n_clusters = n_clusters
        self.dim = dim
        self.previous: Tensor | None = None
        self.bad_epochs = dict.fromkeys(ADVICE, 0)

    def record(self, vitals: Vitals, judge: bool) -> dict[str, float]:
        """Figures of one epoch; warns once per fit and kind of collapse.

        Parameters
        ----------
        vitals : Vitals
            What the objective reports.
        judge : bool
            Whether a bad epoch counts: see `Run.telling`.

        Returns
        -------
        dict
            ``label_change`` (share of samples that changed cluster since the epoch
            before, cluster names matched; NaN in the first), ``size_entropy`` (of the
            cluster sizes, over ln K; 1 at K = 1), ``empty_clusters``, ``feature_std``, and
            ``mixing`` where the method has it.
        """
        labels = vitals.labels.cpu()
        shares = self._shares(labels)
        present = shares[shares > 0]
        entropy = -float((present * np.log(present)).sum()) + 0.0  # not -0
        figures = {
            "label_change": self._label_change(labels),
            "size_entropy": entropy / math.log(self.n_clusters) if self.n_clusters > 1 else 1.0,
            "empty_clusters": int((shares == 0).sum()),
            "feature_std": float(vitals.std),
        }
        if vitals.mixing is not None:
            figures["mixing"] = float(vitals.mixing)
        self.previous = labels.clone()
        if judge:
            std, mixing = figures["feature_std"], figures.get("mixing", 1.0)
            for kind, bad in signs(shares, std, mixing, self.dim).items():
                self._count(kind, bad)
        return figures

    def conclude(self, labels: Tensor, std: Tensor) -> None:
        """Warn of a collapsed result, unless it has been warned of already.

        Parameters
        ----------
        labels : Tensor of shape (n_samples,), int64
            Final cluster of each training sample.
        std : Tensor, scalar
            See `feature_std`, of the final embedding.
        """
        for kind, bad in signs(self._shares(labels), float(std), 1.0, self.dim).items():
            if bad and self.bad_epochs[kind] < _PATIENCE:
                _warn(kind)

    def _count(self, kind: str, bad: bool) -> None:
        if self.bad_epochs[kind] == _PATIENCE:  # told already
            return
        self.bad_epochs[kind] = self.bad_epochs[kind] + 1 if bad else 0
        if self.bad_epochs[kind] == _PATIENCE:
            _warn(kind)

    def _shares(self, labels: Tensor) -> np.ndarray:
        counts = torch.bincount(labels, minlength=self.n_clusters).cpu().numpy()
        return counts / counts.sum()

    def _label_change(self, labels: Tensor) -> float:
        if self.previous is None:
            return math.nan
        table = contingency(self.previous.numpy(), labels.numpy())
        return 1 - table.hits() / table.n_samples


def _warn(kind: str) -> None:
    warn_user(ADVICE[kind], CollapseWarning)


ADVICE = {
    "representation": (
        "The representation has collapsed: the features of all samples are nearly equal. "
        "Check that the samples differ, and try a lower lr, a larger batch_size or "
        "another augment."
    ),
    "clustering": (
        f"One cluster holds more than {_LARGEST_SHARE:.0%} of the samples. Check n_clusters "
        "and the data, and try more max_epochs or another augment."
    ),
    "batches": (
        "Whole batches fall into one cluster: the cluster sizes look even, but the clusters "
        "follow the order of the samples, not the samples. Try a lower lr or dual_lr, a "
        "larger batch_size or another augment."
    ),
}
