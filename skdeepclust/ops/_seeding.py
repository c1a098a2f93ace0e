"""First centres: greedy k-means++, all runs at once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["initial_centers"]

# Elements of the largest temporary (rows x runs x candidates): 32 MiB in float32.
_BUDGET = 1 << 23
# Rows that seeds are drawn from: so many, or more where there are many clusters.
_ROWS, _ROWS_PER_CLUSTER = 1 << 14, 50


def initial_centers(
    x: Tensor,
    n_clusters: int,
    init: Tensor | None,
    n_init: int,
    spherical: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """Seed all runs but one whose centres are given.

    Parameters
    ----------
    x : Tensor of shape (n_samples, dim)
        Rows, of norm 1 if `spherical`.
    n_clusters : int
        Number of clusters K.
    init : Tensor of shape (K, dim) or None
        Centres of the first run.
    n_init : int
        Number of runs.
    spherical : bool
        Whether centres are of norm 1.
    generator : torch.Generator or None
        On the device of `x`; None takes torch's global one.

    Returns
    -------
    Tensor of shape (n_init, K, dim)

    References
    ----------
    D. Arthur and S. Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
    """
    trials = 2 + int(math.log(n_clusters))
    seeded = n_init if init is None else n_init - 1
    rows = max(_ROWS, _ROWS_PER_CLUSTER * n_clusters)
    some = x
    if seeded and rows < len(x):
        some = x[torch.randperm(len(x), generator=generator, device=x.device)[:rows]]
    at_once = max(1, _BUDGET // (len(some) * trials))
    centers = [
        _seed(some, n_clusters, min(at_once, seeded - start), trials, generator)
        for start in range(0, seeded, at_once)
    ]
    if init is not None:
        given = F.normalize(init, dim=1) if spherical else init
        centers.insert(0, given.to(x)[None])
    return torch.cat(centers)


def _seed(
    x: Tensor, n_clusters: int, runs: int, trials: int, generator: torch.Generator | None
) -> Tensor:
    """Greedy k-means++ for `runs` runs at once."""
    n = len(x)
    square = (x * x).sum(1)
    first = torch.randint(n, (runs, 1), generator=generator, device=x.device)
    chosen = [first]
    closest = _squared_distances(x, square, first)[:, :, 0]  # (runs, n)
    for _ in range(1, n_clusters):
        candidates = _draw(closest, trials, generator)  # (runs, trials)
        nearer = torch.minimum(
            _squared_distances(x, square, candidates).transpose(1, 2), closest[:, None]
        )
        best = nearer.sum(2).argmin(1, keepdim=True)
        chosen.append(candidates.gather(1, best))
        closest = nearer.gather(1, best[:, :, None].expand(-1, -1, n))[:, 0]
    return x[torch.cat(chosen, 1)]


def _squared_distances(x: Tensor, square: Tensor, rows: Tensor) -> Tensor:
    """Squared distances (runs, n, m) of all samples to the samples `rows` (runs, m)."""
    twice = 2 * x[rows.flatten()]  # and not x, of which it would make a copy
    distances = square[:, None] - x @ twice.T + square[rows.flatten()]
    return distances.clamp_min(0).view(len(x), *rows.shape).permute(1, 0, 2)


def _draw(weights: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """`size` column indices for each row of `weights`, drawn in proportion to them."""
    device = weights.device
    wide = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
    cumulative = weights.to(wide).cumsum(1)
    draws = torch.rand(len(weights), size, generator=generator, device=device, dtype=wide)
    # right=True never lands on a column of weight zero while any weight is positive.
    found = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
    return found.clamp_max(weights.shape[1] - 1)
