"""k-means on the device: batched restarts, greedy k-means++, warm starts, no dead clusters."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skdeepclust.ops._bounds import Bounds
from skdeepclust.ops._nearest import least, on_cpu, rows_at_once
from skdeepclust.ops._seeding import initial_centers
from skdeepclust.ops.count import count_labels
from skdeepclust.ops.precision import fast_bfloat16

__all__ = ["first_least", "kmeans"]

# Centres (runs, K, dim), and how far those of each run go in units of the way to their means (runs)
# -> those of the next round; the squared way to the means, and what is to fall, (2, runs).
_Round: TypeAlias = Callable[[Tensor, np.ndarray], tuple[Tensor, Tensor]]

# Multiplications of an assignment from which on a half-precision one pays, and one by kernels of
# our own, the most rounds of that kind, and the shift, in variances, at which full precision takes
# over; rounds without progress that end either kind.
_LARGE, _LARGE_FUSED, _ROUGH_ROUNDS, _ROUGH_TOL, _STALE_ROUNDS = 1 << 29, 1 << 26, 24, 1e-3, 3
# Columns that our own kernels can hold, and elements of centres that they can count.
_MOST_DIM, _MOST_ELEMENTS = 1 << 12, 1 << 31
# Elements of x from which on sums over its rows are faster cluster by cluster than row by row; and
# clusters from which on they are on an accelerator faster than a product.
_OUT_OF_CACHE, _MANY = 1 << 22, 100
# Squared distance of the mean from the origin, in variances, from which on rows are centred, and
# how many rows are asked for it.
_FAR, _ASKED = 100, 256
# Clusters from which on bounds of distances save a CPU more than they cost.
_BOUNDED = 64
# Clusters from which on Lloyd's algorithm is slow to settle; how far centres go then, in units of
# the way to their means; and the squared shift, in variances, below which they go just there.
_SLOW, _RELAXATION, _SETTLING = 64, 1.7, 0.1


def kmeans(
    x: Tensor,
    n_clusters: int,
    *,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    init: Tensor | None = None,
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cluster rows by Lloyd's algorithm, all restarts in one batch.

    Parameters
    ----------
    x : Tensor of shape (n_samples, dim)
        Rows to cluster, of any floating dtype (half precision is computed in float32).
    n_clusters : int
        Number of clusters K, at most n_samples.
    metric : {"euclidean", "cosine"}, default="euclidean"
        With "cosine", rows and centres are normalised (spherical k-means).
    init : Tensor of shape (K, dim), default=None
        Centres that the first run starts from; the other runs are seeded by greedy
        k-means++ [1]_ with 2 + floor(ln K) candidates per centre, on a random part of many rows:
        16,384, or 50 for each cluster.
    n_init : int, default=1
        Number of runs; the one of least inertia is returned.
    max_iter : int, default=300
        Most iterations of a run.
    tol : float, default=1e-4
        A run has converged when the squared shift of its centres, summed, is at most
        ``tol`` times the mean variance of the features.
    generator : torch.Generator, default=None
        Source of the random numbers, on the device of `x`; equal generators give equal
        results. None takes torch's global generator.

    Returns
    -------
    centers : Tensor of shape (K, dim)
        Means of the members; of norm 1 for "cosine".
    labels : Tensor of shape (n_samples,), int64
        Nearest centre of each row.
    inertia : Tensor, scalar
        Sum of squared distances, or of 1 - cos, to the nearest centre.

    Raises
    ------
    TypeError
        If `x` is not a tensor.
    ValueError
        If `x` is not a finite matrix, or `n_clusters`, `init`, `n_init` or `metric`
        does not fit it.

    Notes
    -----
    A cluster that loses its last member is moved to the row farthest from its own
    centre, so clusters stay empty only where `x` has fewer than K rows that differ by more
    than rounding. Rows that are far from the origin for their spread are centred first.
    The distances, n x K for each run, are never held whole. Of many rows and clusters a CPU, once
    the centres move little, asks only for rows whose label is in doubt, by bounds [2]_, with the
    same result. From 64 clusters on, centres go 1.7 times the way to their means, as overrelaxed
    bounds do [3]_, until they shift little or the last round has come. The inertia falls with every
    factor below 2; with this one it is as a rule lower than Lloyd's at the end, and falls in fewer
    rounds where clusters have many rows. Large problems on hardware that multiplies bfloat16 fast
    begin with up to 24 rounds of bfloat16 distances and float32 sums, as long as the centres move
    less and less, or, on CUDA with Triton, where sums are of bfloat16 rows, the inertia falls; the
    last round and always the labels and the inertia are of full precision.

    References
    ----------
    .. [1] D. Arthur and S. Vassilvitskii, "k-means++: The Advantages of Careful Seeding",
       SODA 2007.
    .. [2] G. Hamerly, "Making k-means even faster", SDM 2010.
    .. [3] R. Salakhutdinov and S. Roweis, "Adaptive Overrelaxed Bound Optimization Methods",
       ICML 2003.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> centers, labels, inertia = kmeans(x, 2, generator=torch.Generator().manual_seed(0))
    >>> sorted(round(float(c), 2) for c in centers.flatten())
    [0.05, 5.05]
    """
    x = _check(x, n_clusters, metric, init, n_init)
    spherical = metric == "cosine"
    if spherical:
        x = F.normalize(x, dim=1)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        origin = None if spherical else _far_mean(x)
        if origin is not None:
            x, init = x - origin, None if init is None else init.to(x) - origin
        centers = initial_centers(x, n_clusters, init, n_init, spherical, generator)
        centers, labels, inertia = _lloyd(x, centers, spherical, max_iter, tol)
        if origin is not None:
            centers = centers + origin
    best = first_least(inertia)
    # On the sphere |x - c|^2 = 2 (1 - cos).
    return centers[best], labels[:, best], inertia[best] / (2 if spherical else 1)


def first_least(values: Tensor) -> int:
    """Place of the first value that is the least but for rounding.

    Parameters
    ----------
    values : Tensor of shape (m,)
        Floating.

    Returns
    -------
    int

    Notes
    -----
    Runs often come to one result with its clusters named differently. Which of them is the
    least by its last digit would depend on the machine and on the number of processes.

    Examples
    --------
    >>> import torch
    >>> first_least(torch.tensor([2.0, 1.0 + 1e-7, 1.0]))
    1
    """
    least = values.min()
    margin = torch.finfo(values.dtype).eps ** 0.75 * least.abs()
    return int((values <= least + margin).to(torch.uint8).argmax())


def _check(x: Tensor, n_clusters: int, metric: str, init: Tensor | None, n_init: int) -> Tensor:
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f"metric must be 'euclidean' or 'cosine', got {metric!r}")
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}: torch.as_tensor makes one")
    if x.ndim != 2 or not x.is_floating_point():
        raise ValueError(
            f"x must be a floating (n_samples, dim) matrix, got {x.dtype} of shape {tuple(x.shape)}"
        )
    if not 1 <= n_clusters <= len(x):
        raise ValueError(f"n_clusters={n_clusters} must lie between 1 and n_samples={len(x)}")
    if n_init < 1:
        raise ValueError(f"n_init must be at least 1, got {n_init}")
    if init is not None and init.shape != (n_clusters, x.shape[1]):
        raise ValueError(f"init must have shape {(n_clusters, x.shape[1])}, got {(*init.shape,)}")
    if not all(map(math.isfinite, torch.stack(torch.aminmax(x)).tolist())):
        raise ValueError("x holds NaN or infinite values")
    return x.detach().float() if x.dtype in (torch.float16, torch.bfloat16) else x.detach()


def _far_mean(x: Tensor) -> Tensor | None:
    """The mean of rows so far from the origin that rounding of |x|^2 would hide their distances."""
    variance, mean = torch.var_mean(x[:_ASKED], dim=0, correction=0)
    spread, far = torch.stack([variance.sum(), mean.square().sum()]).tolist()
    return x.mean(0) if far > _FAR * spread else None


def _lloyd(
    x: Tensor, centers: Tensor, spherical: bool, max_iter: int, tol: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Iterate all runs to convergence; (runs, K, dim), (n, runs) and (runs,)."""
    runs, k, _ = centers.shape
    mean = x.mean(0)
    parts = x.split(rows_at_once(x, x.shape[1]))
    spread = torch.stack([(part - mean).square().sum() for part in parts]).sum()
    variance = float(spread) / x.numel()
    pace = _Pace(k, variance)
    rounds = min(max_iter - 1, _ROUGH_ROUNDS)
    if rounds > 0 and (rough := _rough_rounds(x, parts, mean, centers, spherical)):
        rest = _Rest(runs, max(tol, _ROUGH_TOL) * variance)
        centers, done = _descend(rough, centers, rest, pace, rounds)
        max_iter -= done
    rest = _Rest(runs, tol * variance)
    centers, labels, distance = _iterate(x, centers, spherical, max_iter, rest, pace)
    return centers, labels, distance.clamp_min_(0).sum(0)


class _Rest:
    """Whether all runs have come to rest.

    A run rests when its centres hardly shift, or when for some rounds what should fall did not: its
    inertia, or the shift where a round does not compute that. What is left is noise of rounding,
    which would go on for ever where all rows are almost equal.
    """

    def __init__(self, runs: int, threshold: float):
        self.threshold, self.stale = threshold, np.zeros(runs)
        self.least = np.full(runs, math.inf)

    def __call__(self, shift: np.ndarray, falling: np.ndarray) -> bool:
        self.stale = np.where(falling < self.least, 0, self.stale + 1)
        self.least = np.minimum(falling, self.least)
        return bool(((shift <= self.threshold) | (self.stale >= _STALE_ROUNDS)).all())


class _Pace:
    """How far the centres of each run go, in units of the way to their means."""

    def __init__(self, k: int, variance: float):
        self.settled = _SETTLING * variance if k >= _SLOW else math.inf

    def __call__(self, shift: np.ndarray) -> np.ndarray:
        return np.where(shift > self.settled, _RELAXATION, 1.0)


def _rough_rounds(
    x: Tensor, parts: Sequence[Tensor], mean: Tensor, centers: Tensor, spherical: bool
) -> _Round | None:
    """A round with distances of half precision, if there is one that pays.

    Empty clusters wait for full precision.
    """
    runs, k, dim = centers.shape
    work = len(x) * runs * k * dim
    if x.dtype != torch.float32 or work < _LARGE_FUSED or not fast_bfloat16(x.device):
        return None
    fits = dim <= _MOST_DIM and centers.numel() < _MOST_ELEMENTS
    fused = _fused(x.device, k, dim) if fits else None
    if fused is None and work < _LARGE:
        return None
    rows = torch.cat([(part - mean).bfloat16() for part in parts])
    if fused is not None:
        return fused(rows, mean, (runs, k), spherical)

    def round_(centers: Tensor, factors: np.ndarray) -> tuple[Tensor, Tensor]:
        labels, _ = _assign(rows, centers, mean, None)
        means, _ = _means(x, labels, centers, spherical)
        return _move(centers, means, factors, spherical), _shift(centers, means).expand(2, -1)

    return round_


@functools.cache
def _fused(device: torch.device, k: int, dim: int) -> Callable[..., _Round] | None:
    """Rounds of few kernels of our own, where these can be compiled."""
    if device.type != "cuda":
        return None
    try:
        from skdeepclust.ops._lloyd import Rounds

        rows = torch.zeros(16, dim, dtype=torch.bfloat16, device=device)
        centers = torch.zeros(1, k, dim, device=device)
        Rounds(rows, centers[0, 0], (1, k), False)(centers, np.ones(1))
    except torch.OutOfMemoryError:  # which may pass
        raise
    except Exception:  # no Triton, no C compiler, which that needs, or too old a device
        return None
    return Rounds


def _descend(
    advance: _Round, centers: Tensor, rest: _Rest, pace: _Pace, rounds: int
) -> tuple[Tensor, int]:
    """Centres after so many rounds, at most, and how many those were.

    How far they go in a round, the one before tells: its figures are there.
    """
    factors = pace(np.full(len(centers), math.inf))
    for done in range(1, rounds + 1):
        centers, figures = advance(centers, factors)
        shift, falling = figures.numpy(force=True)
        if rest(shift, falling):
            return centers, done
        factors = pace(shift)
    return centers, rounds


def _iterate(
    x: Tensor, centers: Tensor, spherical: bool, max_iter: int, rest: _Rest, pace: _Pace
) -> tuple[Tensor, Tensor, Tensor]:
    """Centres, labels and squared distances, in full precision.

    A host takes longer to launch a small kernel than an accelerator to run it: a round has few
    of them, asks the device once, and weighs here what it answers.
    """
    square = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_()
    shift = np.full(len(centers), math.inf)
    bounds = [Bounds(x, square) for _ in centers] if _bounds_pay(x, centers) else []
    distance: Tensor | None = None
    for round_ in range(max_iter):
        if bounds:
            found = [b.assign(c) for b, c in zip(bounds, centers, strict=True)]
            labels, distance = torch.stack(found, 1), None
        else:
            labels, distance = _assign(x, centers, None, square)
        means, sizes = _means(x, labels, centers, spherical)
        # Bounds tell no inertia: it falls, then, until the centres rest.
        falls = sizes.new_full((len(sizes),), -round_) if distance is None else distance.sum(0)
        figures = sizes.amin(1).to(x), _shift(centers, means), falls.to(x)
        fewest, shift, falling = torch.stack(figures).numpy(force=True)
        if not fewest.all():
            if distance is None:
                _, distance = _assign(x, centers, None, square)
            means = _refill(x, means, sizes == 0, distance)
            shift = _shift(centers, means).numpy(force=True)
        if rest(shift, falling) or round_ == max_iter - 1:
            centers = means
            break
        # A row that an empty cluster has taken is where its centre must stay.
        factors = np.where(fewest > 0, pace(shift), 1)
        centers = _move(centers, means, factors, spherical)
    if distance is None or shift.any():
        labels, distance = _assign(x, centers, None, square)
    return centers, labels, distance


def _bounds_pay(x: Tensor, centers: Tensor) -> bool:
    """Whether a CPU is better off to ask of rows only what is in doubt."""
    k = centers.shape[1]
    return on_cpu(x) and k >= _BOUNDED and x.numel() * k >= _LARGE


def _assign(
    x: Tensor, centers: Tensor, mean: Tensor | None, square: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Nearest centre and squared distance to it, both (n, runs), in chunks of rows.

    `mean` is what the rows have lost and the centres have not. Without `square` (n, 1), the
    squared norms of the rows, distances lack them.
    """
    runs, k, dim = centers.shape
    flat = centers.reshape(runs * k, dim)
    if mean is not None:
        flat = flat - mean
    offset = (flat * flat).sum(1).to(x)
    flat = flat.to(x).T
    found = [
        least(torch.addmm(offset, part, flat, alpha=-2).view(len(part), runs, k))
        for part in x.split(rows_at_once(x, runs * k))
    ]
    distance, labels = found[0] if len(found) == 1 else map(torch.cat, zip(*found, strict=True))
    return labels, distance if square is None else distance.add_(square)


def _move(centers: Tensor, means: Tensor, factors: np.ndarray, spherical: bool) -> Tensor:
    """Centres so far on the way to their means, or beyond, in each run."""
    if (factors == 1).all():
        return means
    weight = torch.as_tensor(factors[:, None, None]).to(centers)
    moved = torch.lerp(centers, means, weight)
    return F.normalize(moved, dim=2) if spherical else moved


def _shift(centers: Tensor, moved: Tensor) -> Tensor:
    """Squared way of the centres of each run, summed."""
    return torch.linalg.vector_norm(moved - centers, dim=(1, 2)).square_()


def _means(x: Tensor, labels: Tensor, centers: Tensor, spherical: bool) -> tuple[Tensor, Tensor]:
    """Means of the members, and how many there are; without any, a cluster keeps its centre."""
    sums, sizes = _sums(x, labels, centers.shape[1])
    means = sums / sizes[..., None]
    means = F.normalize(means, dim=2) if spherical else means
    return torch.where(sizes[..., None] > 0, means, centers), sizes


def _sums(x: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sums of the members of each cluster and their number, (runs, k, dim) and (runs, k).

    Their order does not depend on the scheduler: index_add_ races on accelerators.
    """
    runs = labels.shape[1]
    slots = labels + k * torch.arange(runs, device=x.device) if runs > 1 else labels
    if on_cpu(x) and x.numel() < _OUT_OF_CACHE:
        sums = x.new_zeros(runs * k, x.shape[1])
        for run in slots.unbind(1):
            sums.index_add_(0, run, x)
        sizes = count_labels(slots.flatten(), runs * k)
    elif on_cpu(x) or k >= _MANY:
        members, order = slots.flatten().sort(stable=True)
        ends = torch.searchsorted(members, torch.arange(runs * k + 1, device=x.device))
        sums = F.embedding_bag(order // runs, x, ends[:-1], mode="sum")
        sizes = ends.diff()
    else:
        sums, sizes = x.new_zeros(runs * k, x.shape[1]), x.new_zeros(runs * k)
        step = rows_at_once(x, runs * k)
        for part, at in zip(x.split(step), slots.split(step), strict=True):
            members = x.new_zeros(len(part), runs * k).scatter_(1, at, 1)
            sums.addmm_(members.T, part)
            sizes += members.sum(0)
    return sums.view(runs, k, -1), sizes.view(runs, k)


def _refill(x: Tensor, centers: Tensor, empty: Tensor, distance: Tensor) -> Tensor:
    """Move the centre of each memberless cluster to a row far from its own centre."""
    centers = centers.clone()
    for run in empty.any(1).nonzero().flatten().tolist():
        for cluster in empty[run].nonzero().flatten().tolist():
            # Distances are measured anew so that two empties never take equal rows.
            gap = torch.minimum(distance[:, run], (x - centers[run, cluster]).square().sum(1))
            farthest = int(gap.argmax())
            centers[run, cluster] = x[farthest]
            moved = (x - x[farthest]).square().sum(1)
            distance[:, run] = torch.minimum(distance[:, run], moved)
    return centers
