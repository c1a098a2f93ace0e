"""Ward's merging of clusters, and the number of clusters at which it should stop."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["merge_gaps", "ward_heights"]


@torch.no_grad()
def ward_heights(centers: Tensor, sizes: Tensor) -> Tensor:
    r"""Merge clusters by Ward's rule down to one, and tell how far apart the merged were.

    .. math:: h(a, b) = \sqrt{\frac{2 n_a n_b}{n_a + n_b}}\, \lVert \mu_a - \mu_b \rVert

    The pair of the least height is merged each time; half its square is what the merge adds to
    the sum of squared distances to the centres. A cluster of few samples is therefore merged at
    little height, wherever it lies.

    Parameters
    ----------
    centers : Tensor of shape (m, dim)
        Means of the clusters to begin with, such as many small ones of k-means.
    sizes : Tensor of shape (m,)
        Their numbers of samples, each at least 1.

    Returns
    -------
    Tensor of shape (m - 1,), float64, on the CPU
        Entry k - 1 is the height at which k + 1 clusters became k; none is greater than the
        one before.

    References
    ----------
    J. Ward, "Hierarchical Grouping to Optimize an Objective Function", Journal of the American
    Statistical Association 58, 1963.

    Examples
    --------
    >>> import torch
    >>> centers = torch.tensor([[0.0], [1.0], [5.0]])
    >>> ward_heights(centers, torch.ones(3))
    tensor([5.1962, 1.0000], dtype=torch.float64)
    """
    mu, n = centers.detach().cpu().double(), sizes.detach().cpu().double().clone()
    square = torch.cdist(mu, mu, compute_mode="donot_use_mm_for_euclid_dist").square()
    cost = 2 * n[:, None] * n / (n[:, None] + n) * square
    cost.fill_diagonal_(torch.inf)
    heights = []
    for _ in range(len(mu) - 1):
        least = int(cost.argmin())
        a, b = divmod(least, len(cost))
        heights.append(cost[a, b].clone())  # not a view of what changes
        # Lance and Williams: costs of the union from those of its parts.
        union = ((n[a] + n) * cost[a] + (n[b] + n) * cost[b] - n * cost[a, b]) / (n[a] + n[b] + n)
        n[a] += n[b]
        cost[a], cost[:, a] = union, union
        cost[b], cost[:, b], cost[a, a] = torch.inf, torch.inf, torch.inf
    return torch.stack(heights[::-1]).sqrt() if heights else mu.new_zeros(0)


def merge_gaps(heights: Tensor) -> Tensor:
    r"""How much lower the next merge would have been, for each number of clusters.

    .. math:: g_k = \frac{\sqrt{h_{k-1}} - \sqrt{h_k}}{\sqrt{h_1}}

    where :math:`h_k` is the height at which k + 1 clusters became k. Merges inside a group are
    of little height, merges of groups of great height: the gap is widest at the number of groups.

    Parameters
    ----------
    heights : Tensor of shape (m - 1,)
        Of `ward_heights`: in descending order.

    Returns
    -------
    Tensor of shape (m - 1,), float64
        Entry k - 1 is the gap at k clusters, in [0, 1]. One cluster has none, 0, as have all where
        every height is 0.

    Notes
    -----
    Ours is the root. Differences of the heights themselves favour two or three clusters where
    groups lie at unequal distances, as differences of their squares do more; differences of
    logarithms, hence ratios, make much of small groups that a large one falls into.

    Examples
    --------
    >>> import torch
    >>> merge_gaps(torch.tensor([9.0, 9.0, 1.0, 0.0]))
    tensor([0.0000, 0.0000, 0.6667, 0.3333], dtype=torch.float64)
    """
    roots = heights.double().sqrt()
    gaps = F.pad(roots[:-1] - roots[1:], (1, 0)) if len(roots) else roots
    return torch.where(roots[:1] > 0, gaps / roots[:1], 0.0)
