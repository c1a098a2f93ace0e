"""Linear partition of embeddings: the groups they form, and a linear map that names them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from skdeepclust.ops.kmeans import first_least, kmeans
from skdeepclust.ops.spectral import spectral

__all__ = ["linear_partition", "neighbor_information", "self_trained_map"]

# Numbers of neighbours in the graphs, from fine to coarse, and the most clusters whose
# eigenvectors are worth their time.
_GRAPHS, _MOST_SPECTRAL = (5, 10, 20, 40), 100

# Entropy weight and rounds of Sinkhorn-Knopp, by which clusters are told of equal size.
_EPSILON, _ITERATIONS = 0.1, 100
# Ridges of the least squares, as shares of the mean square of a sample: to find the clusters, in
# directions however narrow, and to name them, by weights that small changes of z do not upset.
_FINDING, _NAMING = 1e-6, 3e-4


@torch.no_grad()
def linear_partition(
    z: Tensor,
    n_clusters: int,
    *,
    max_samples: int = 5_000,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Find groups of embeddings, of about equal size, and the linear map onto them.

    Candidates are k-means and spectral clustering on graphs of 5, 10, 20 and 40 neighbours.
    Each teaches a linear map of balanced clusters, see `self_trained_map`. Of these maps and
    that to the nearest centre of k-means, the one is taken whose clusters tell most of those of
    the nearest neighbours, see `neighbor_information`.

    Parameters
    ----------
    z : Tensor of shape (n_samples, dim)
        Finite embeddings.
    n_clusters : int
        Number of clusters K, at most n_samples. Above 100, k-means is the only candidate.
    max_samples : int, default=5000
        Embeddings that are looked at, drawn at random; at least 20 for each cluster.
    generator : torch.Generator, default=None
        Source of the random numbers, on the device of `z`. None takes torch's global one.

    Returns
    -------
    weight : Tensor of shape (K, dim)
    bias : Tensor of shape (K,)
        On the device and in the dtype of `z`. An embedding belongs to the cluster of its
        largest entry.

    Notes
    -----
    Ours, by trial on embeddings of images. k-means misses groups that are long; spectral
    clustering finds them, but may cut off a few outliers instead; neither knows which group an
    island between two belongs to, which their sizes may tell; least squares onto more clusters
    than dimensions may lose some. All are judged by the same figure.
    """
    device = z.device
    order = torch.randperm(len(z), device=device, generator=generator)
    z, dtype = z[order[: max(max_samples, 20 * n_clusters)]], z.dtype
    centers, labels, _ = kmeans(z, n_clusters, n_init=10, generator=generator)
    z, centers, candidates = z.cpu().double(), centers.cpu().double(), [labels.cpu()]
    if 1 < n_clusters <= _MOST_SPECTRAL and n_clusters < len(z):
        candidates += [spectral(z, n_clusters, n_neighbors=n, seed=int(order[0])) for n in _GRAPHS]
    maps = [(centers, -centers.square().sum(1) / 2)]
    maps += [self_trained_map(z, labels, n_clusters) for labels in candidates]
    near = _neighbors(z, min(_GRAPHS[0], len(z) - 1))
    information = [neighbor_information(F.linear(z, *m).argmax(1), near, n_clusters) for m in maps]
    weight, bias = maps[first_least(-torch.stack(information))]
    return weight.to(device, dtype), bias.to(device, dtype)


def self_trained_map(
    z: Tensor, labels: Tensor, n_clusters: int, n_rounds: int = 20
) -> tuple[Tensor, Tensor]:
    r"""Least squares onto the clusters, again and again onto the balanced clusters it predicts.

    .. math:: W = \arg\min_W \lVert Z W^T - Y \rVert^2, \qquad y_i = e_{a_i}, \qquad
        a_i \leftarrow \arg\max_k q_{ik}

    where z has a last entry of 1 and q are the codes of equal mass that Sinkhorn-Knopp makes of
    :math:`Z W^T`, see `skdeepclust.ops.sinkhorn.sinkhorn`. As in linear discriminant analysis,
    what the members of a cluster differ in counts little. The last map is onto the clusters that
    it predicts unbalanced, with a larger ridge, so that the map bears small changes of z.

    Parameters
    ----------
    z : Tensor of shape (n_samples, dim)
        Embeddings.
    labels : Tensor of shape (n_samples,), int64
        Clusters a to begin with.
    n_clusters : int
        Number of clusters K.
    n_rounds : int, default=20
        Most rounds; fewer when the clusters stay as they are.

    Returns
    -------
    weight : Tensor of shape (K, dim)
    bias : Tensor of shape (K,)
    """
    z = F.pad(z, (0, 1), value=1.0)
    gram = z.T @ z
    for _ in range(n_rounds):
        scores = z @ _least_squares(z, gram, labels, n_clusters, _FINDING).T
        before, labels = labels, _balanced(scores)
        if torch.equal(before, labels):
            break
    w = _least_squares(z, gram, scores.argmax(1), n_clusters, _NAMING)
    return w[:, :-1], w[:, -1]


def _least_squares(
    z: Tensor, gram: Tensor, labels: Tensor, n_clusters: int, ridge: float
) -> Tensor:
    sums = z.new_zeros(n_clusters, z.shape[1]).index_add_(0, labels, z)
    unit = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return torch.linalg.solve(gram + ridge * len(z) * unit, sums.T).T


def _balanced(scores: Tensor) -> Tensor:
    """Sinkhorn-Knopp's clusters, by scaling, a tenth of the work: float64 bears these scores."""
    mass = ((scores - scores.max()) / _EPSILON).exp()
    rows, share = mass.new_ones(len(mass)), len(mass) / mass.shape[1]
    for _ in range(_ITERATIONS):
        columns = (rows @ mass).reciprocal_().mul_(share)  # in place: the calls are what takes time
        rows = (mass @ columns).reciprocal_()
    return (mass * columns).argmax(1)


def neighbor_information(labels: Tensor, neighbors: Tensor, n_clusters: int) -> Tensor:
    """Mutual information of a sample's cluster and that of a neighbour.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,), int64
        Cluster of each sample.
    neighbors : Tensor of shape (n_samples, m), int64
        Neighbours of each sample.
    n_clusters : int
        Number of clusters K.

    Returns
    -------
    Tensor, scalar
        From 0 to ln K, which clusters of equal size reach when they tear no neighbours apart.
    """
    other = labels[neighbors]
    pairs = (labels[:, None] * n_clusters + other).flatten()
    joint = torch.bincount(pairs, minlength=n_clusters**2).view(n_clusters, n_clusters)
    joint = joint.double() / max(1, len(pairs))
    one, two = (torch.special.entr(joint.sum(side)).sum() for side in (0, 1))
    return one + two - torch.special.entr(joint).sum()


def _neighbors(z: Tensor, m: int) -> Tensor:
    """The m nearest other rows of each row, (n_samples, m), a part of them at a time."""
    rows = torch.arange(len(z), device=z.device)
    found = []
    for part in rows.split(1_000):
        distance = torch.cdist(z[part], z)
        distance[torch.arange(len(part), device=z.device), part] = torch.inf
        found.append(distance.topk(m, largest=False).indices)
    return torch.cat(found)
