"""Spectral clustering of embeddings: groups that hang together, of whatever form."""

import warnings

import torch
from torch import Tensor

__all__ = ["spectral"]


def spectral(x: Tensor, n_clusters: int, *, n_neighbors: int = 5, seed: int = 0) -> Tensor:
    """Cluster rows by the graph of their nearest neighbours.

    Unlike k-means it follows groups that are long or bent, such as the views of an object
    that turns, and it may cut off a few rows that lie apart.

    Parameters
    ----------
    x : Tensor of shape (n_samples, dim)
        Rows to cluster, finite.
    n_clusters : int
        Number of clusters K, less than n_samples.
    n_neighbors : int, default=5
        Neighbours of a row in the graph, itself among them.
    seed : int, default=0
        Source of the random numbers.

    Returns
    -------
    Tensor of shape (n_samples,), int64
        Cluster of each row, on the device of `x`.

    Notes
    -----
    This is scikit-learn's, on the CPU: the time grows faster than the number of rows, so give
    it a sample of many.

    References
    ----------
    A. Ng, M. Jordan and Y. Weiss, "On Spectral Clustering: Analysis and an Algorithm",
    NeurIPS 2001.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> labels = spectral(x, 2, n_neighbors=2)
    >>> [len(set(part.tolist())) for part in labels.split(3)]
    [1, 1]
    """
    from sklearn.cluster import spectral_clustering
    from sklearn.neighbors import kneighbors_graph

    rows = x.detach().double().cpu().numpy()
    graph = kneighbors_graph(rows, min(n_neighbors, len(rows)), include_self=True)
    with warnings.catch_warnings():
        # Groups without a link between them are the best that can be.
        warnings.filterwarnings("ignore", "Graph is not fully connected")
        labels = spectral_clustering(
            (graph + graph.T) / 2, n_clusters=n_clusters, random_state=seed
        )
    return torch.as_tensor(labels, dtype=torch.int64, device=x.device)
