"""Simplified silhouette: how much nearer samples lie to their own centre than to the next."""

import torch
from torch import Tensor

__all__ = ["simplified_silhouette"]

_BUDGET = 1 << 22  # elements of the largest temporary, samples x centres


def simplified_silhouette(
    z: Tensor, centers: Tensor, labels: Tensor, trained: Tensor | None = None
) -> Tensor:
    """Mean of (b - a) / max(a, b) over the samples.

    Here a is the Euclidean distance of a sample to the centre of its own cluster and b
    that to the nearest other centre.

    Parameters
    ----------
    z : Tensor of shape (n_samples, dim)
        Embedded samples.
    centers : Tensor of shape (K, dim)
        Cluster centres.
    labels : Tensor of shape (n_samples,), int64
        Cluster of each sample.
    trained : Tensor of shape (n_trained,), int64, default=None
        Clusters of other samples, -1 for none. Centres of clusters that nothing belongs to are
        then left out: they are near nothing. None takes all centres.

    Returns
    -------
    Tensor, scalar
        A value in [-1, 1]; 0 where there is only one cluster.

    References
    ----------
    E. Hruschka, L. de Castro and R. Campello, "Evolutionary Algorithms for Clustering
    Gene-Expression Data", ICDM 2004.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[0.0], [1.0]])
    >>> float(simplified_silhouette(z, z, torch.tensor([0, 1])))
    1.0
    """
    if trained is not None:
        used, place = torch.cat([labels, trained[trained >= 0]]).unique(return_inverse=True)
        centers, labels = centers[used], place[: len(labels)]
    if len(centers) == 1:
        return z.new_zeros(())
    # Far from 0 the product of matrices in cdist has no digits left for the distances.
    origin = centers.mean(0)
    centers = centers - origin
    rows = max(1, _BUDGET // len(centers))
    total = z.new_zeros(())
    for part, own_label in zip(z.split(rows), labels.split(rows), strict=True):
        distance = torch.cdist(part - origin, centers)
        own = distance.gather(1, own_label[:, None])[:, 0]
        other = distance.scatter(1, own_label[:, None], torch.inf).min(1).values
        scale = torch.maximum(own, other)
        total += torch.where(scale > 0, (other - own) / scale, torch.zeros_like(scale)).sum()
    return total / len(z)
