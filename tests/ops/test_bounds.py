"""Bounds save work and change nothing: labels are those of all distances, round after round."""

import pytest
import torch
import torch.nn.functional as F

from skdeepclust.datasets import load_digits_images
from skdeepclust.ops import _nearest
from skdeepclust.ops import kmeans as module
from skdeepclust.ops._bounds import Bounds
from skdeepclust.ops.kmeans import kmeans


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def digits():
    return torch.tensor(load_digits_images(return_X_y=True)[0].reshape(-1, 64) / 16.0)


def around(k=40, n=2000, dim=8, noise=0.4):
    return normal(k, dim)[torch.arange(n) % k] + noise * normal(n, dim, seed=1)


ROWS = {
    "digits": digits,
    "around centres": around,
    "sorted": lambda: around().sort(0).values,
    "without structure": lambda: normal(2000, 8),
    "of one norm": lambda: F.normalize(around(), dim=1),
    "equal in part": lambda: around().round(),
}


def naive(x, centers):
    return torch.cdist(x, centers, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


def asked(bounds, monkeypatch):
    """A list that is to hold how many rows each product asks for."""
    counts, ask = [], bounds._ask

    def counting(rows, part, bounded):
        counts.append(len(part))
        ask(rows, part, bounded)

    monkeypatch.setattr(bounds, "_ask", counting)
    return counts


@pytest.fixture(params=[256, 100])
def chunks(request, monkeypatch):
    """Many parts of rows, as large data have."""
    monkeypatch.setattr(_nearest, "_IN_CACHE", 1)
    monkeypatch.setattr(_nearest, "_LEAST_ROWS", request.param)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("k", [2, 40, 70])
def test_labels_of_lloyds_rounds_are_those_of_all_distances(rows, k, chunks, monkeypatch):
    x = rows()
    bounds = Bounds(x, x.square().sum(1, keepdim=True))
    counts, centers, rounds = asked(bounds, monkeypatch), x[:: len(x) // k][:k].clone(), 40
    for _ in range(rounds):
        expected = naive(x, centers)
        ways = [(x - centers[y]).square().sum(1) for y in (bounds.assign(centers), expected)]
        torch.testing.assert_close(*ways, rtol=0, atol=1e-12)  # the same but for ties
        sums = torch.zeros_like(centers).index_add_(0, expected, x)
        sizes = expected.bincount(minlength=k)[:, None]
        centers = torch.where(sizes > 0, sums / sizes, centers)
    assert sum(counts) < 0.85 * rounds * len(x)


@pytest.mark.parametrize("far", [0, 1, 3])
def test_centres_may_move_as_they_like(far, chunks, monkeypatch):
    """Even those that are asked directly, which far ones become."""
    x, centers, draws = digits(), digits()[:60].clone(), seeded(3)
    bounds = Bounds(x, x.square().sum(1, keepdim=True))
    counts = asked(bounds, monkeypatch)
    for step in range(30):
        moved = 1e-3 * torch.randn(centers.shape, generator=draws, dtype=x.dtype)
        moved[torch.randperm(60, generator=draws)[:far]] *= 300 if step > 4 else 1
        centers = centers + moved
        assert torch.equal(bounds.assign(centers), naive(x, centers)), step
    assert sum(counts) < 0.6 * 30 * len(x)


def test_centres_that_rest_ask_for_nothing(monkeypatch):
    x = around()
    bounds = Bounds(x, x.square().sum(1, keepdim=True))
    counts = asked(bounds, monkeypatch)
    for _ in range(5):
        bounds.assign(x[:40])
    assert sum(counts) <= 2.6 * len(x)  # once all, and some for their bounds; then all for those


def test_they_know_as_much_as_single_precision_does():
    """Where rounding hides most of a distance, bounds without a margin would be wrong by more."""
    x = (1e3 + normal(3000, 16)).float()
    square = x.square().sum(1, keepdim=True)
    centers, bounds = x[:20].clone(), Bounds(x, square)
    for step in range(12):
        ways = torch.cdist(x.double(), centers.double()).square()
        full = module._assign(x, centers[None], None, square)[0][:, 0]
        mine, theirs = (
            float((ways.gather(1, y[:, None])[:, 0] - ways.amin(1)).max())
            for y in (bounds.assign(centers), full)
        )
        assert mine <= 2 * theirs, step
        centers = centers + 1e-4 * normal(20, 16, seed=step).float()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("rows", sorted(ROWS.keys() - {"equal in part"}))  # nor have others ties
def test_k_means_is_the_same_with_them(rows, n_init, metric, monkeypatch):
    x = ROWS[rows]()
    how = {"metric": metric, "n_init": n_init, "tol": 1e-6}
    expected = kmeans(x, 30, generator=seeded(), **how)
    used = bounded(monkeypatch)
    found = kmeans(x, 30, generator=seeded(), **how)
    assert len(used) == n_init
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def bounded(monkeypatch):
    """Have bounds pay; a list of those that are made."""
    made = []

    class Noted(Bounds):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(module, "_BOUNDED", 2)
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module, "fast_bfloat16", lambda device: False)
    monkeypatch.setattr(module, "Bounds", Noted)
    return made


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_no_cluster_dies(metric, monkeypatch):
    used = bounded(monkeypatch)
    x = around()
    init = x[:30].clone()
    init[[3, 17]] = 100 + normal(2, 8)
    init[5] = init[6]
    centers, labels, _ = kmeans(x, 30, metric=metric, init=init)
    assert used and (labels.bincount(minlength=30) > 0).all()
    assert torch.isfinite(centers).all()


def test_fewer_distinct_rows_than_clusters_come_to_an_end(monkeypatch):
    used = bounded(monkeypatch)
    _, labels, inertia = kmeans(normal(4, 3).repeat(50, 1), 9, generator=seeded(), max_iter=50)
    assert used and len(labels) == 200 and float(inertia) < 1e-20


def test_they_pay_where_there_is_much_to_save():
    large, small = torch.zeros(60_000, 512), torch.zeros(2_000, 64)
    assert module._bounds_pay(large, torch.zeros(1, 200, 512))
    assert not module._bounds_pay(large, torch.zeros(1, 10, 512))
    assert not module._bounds_pay(small, torch.zeros(1, 200, 64))
    assert not module._bounds_pay(large.to("meta"), torch.zeros(1, 200, 512))
