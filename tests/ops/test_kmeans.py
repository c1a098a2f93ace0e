"""k-means against scikit-learn, its promises on restarts, budgets and empty clusters."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch.utils._python_dispatch import TorchDispatchMode

from skdeepclust.metrics import clustering_accuracy
from skdeepclust.ops import _nearest, _seeding
from skdeepclust.ops import kmeans as module
from skdeepclust.ops.kmeans import kmeans


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def planted(k=6, per_cluster=30, noise=0.05, dtype=torch.float64):
    """Points around k orthogonal directions, of very different lengths."""
    y = torch.arange(k).repeat(per_cluster)
    x = F.one_hot(y, k + 2).to(dtype) + noise * normal(len(y), k + 2, dtype=dtype)
    return x, y


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def rounds_of(monkeypatch):
    """A list that is to hold the rounds of each phase."""
    rounds = []

    class Counted(module._Rest):
        def __init__(self, *args):
            super().__init__(*args)
            rounds.append(0)

        def __call__(self, *args):
            rounds[-1] += 1
            return super().__call__(*args)

    monkeypatch.setattr(module, "_Rest", Counted)
    return rounds


def half_precision_pays(monkeypatch, fast_bfloat16=lambda device: True):
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module, "_LARGE_FUSED", 0)
    monkeypatch.setattr(module, "fast_bfloat16", fast_bfloat16)


@pytest.mark.parametrize("tol", [0, 1e-4])
@pytest.mark.parametrize("seed", range(5))
def test_lloyd_is_scikit_learns_from_equal_centres(seed, tol):
    x = normal(300, 5, seed=seed)
    init = x[:7]
    centers, labels, inertia = kmeans(x, 7, init=init, tol=tol)
    peer = KMeans(7, init=init.numpy(), n_init=1, tol=tol, algorithm="lloyd").fit(x.numpy())
    np.testing.assert_array_equal(labels, peer.labels_)
    np.testing.assert_allclose(centers, peer.cluster_centers_, rtol=0, atol=1e-10)
    assert float(inertia) == pytest.approx(peer.inertia_, rel=1e-10)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("max_iter", [1, 2, 3, 8, 100])
def test_many_centres_go_past_their_means_until_they_settle(metric, dead, max_iter):
    """Those of a round in which a cluster is empty go to their means, and its to a far row."""
    x, k = normal(900, 3), 64
    spherical = metric == "cosine"
    rows = F.normalize(x, dim=1) if spherical else x
    init = rows[:k].clone()
    if dead:
        init[0] = init[1]
    centers, settled = init, 0.1 * float(rows.var(0, correction=0).mean())
    for done in range(1, max_iter + 1):
        distance, labels = torch.cdist(rows, centers).min(1)
        sizes = torch.bincount(labels, minlength=k)
        means = torch.stack([rows[labels == c].mean(0) for c in range(k)])
        means = F.normalize(means, dim=1) if spherical else means
        means[sizes == 0] = rows[distance.argmax()]
        way = means - centers
        past = way.square().sum() > settled and done < max_iter and sizes.all()
        centers = centers + (1.7 if past else 1.0) * way
        centers = F.normalize(centers, dim=1) if spherical else centers
        if not way.any():
            break
    found, labels, _ = kmeans(x, k, metric=metric, init=init, max_iter=max_iter, tol=0)
    np.testing.assert_allclose(found, centers, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(labels, torch.cdist(rows, centers).argmin(1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [64, 200])
def test_fifteen_rounds_reach_what_scikit_learn_does_in_twenty_five(k, seed):
    pixels = load_digits().data
    init = np.random.default_rng(seed).choice(pixels, k, replace=False)
    how = {"max_iter": 25, "tol": 0, "n_init": 1, "algorithm": "lloyd"}
    peer = KMeans(k, init=init, **how).fit(pixels).inertia_
    x, start = torch.from_numpy(pixels), torch.from_numpy(init)
    assert kmeans(x, k, init=start, max_iter=15, tol=0)[2] <= 1.001 * peer


def test_fewer_centres_go_to_their_means():
    x = normal(900, 3)
    found = kmeans(x, 63, init=x[:63], max_iter=4, tol=0)[0]
    peer = KMeans(63, init=x[:63].numpy(), n_init=1, max_iter=4, tol=0, algorithm="lloyd").fit(x)
    np.testing.assert_allclose(found, peer.cluster_centers_, rtol=0, atol=1e-10)


def test_a_run_goes_its_way_whatever_the_others_do():
    x = normal(900, 3)
    almost = kmeans(x, 64, init=x[:64], tol=0.2)[0]  # goes to its means, the other past them
    both = torch.stack([almost, x[100:164]])
    together = module._lloyd(x, both, False, 6, 0)
    for run, start in enumerate(both):
        alone = module._lloyd(x, start[None], False, 6, 0)
        torch.testing.assert_close(together[0][run], alone[0][0])
        assert torch.equal(together[1][:, run], alone[1][:, 0])


@pytest.mark.parametrize("spherical", [False, True])
def test_a_rough_round_moves_centres_as_far_as_it_is_told(monkeypatch, spherical):
    half_precision_pays(monkeypatch)
    x = torch.randint(-8, 9, (300, 4), generator=seeded()).float()  # which bfloat16 holds exactly
    centers = torch.stack([x[:5], x[5:10]])
    advance = module._rough_rounds(x, [x], torch.zeros(4), centers, spherical)
    moved, (shift, _) = advance(centers, np.array([1.7, 1.0]))
    for run, factor in enumerate([1.7, 1.0]):
        labels = torch.cdist(x, centers[run]).argmin(1)
        means = torch.stack([x[labels == c].mean(0) for c in range(5)])
        means = F.normalize(means, dim=1) if spherical else means
        expected = centers[run] + factor * (means - centers[run])
        expected = F.normalize(expected, dim=1) if spherical else expected
        torch.testing.assert_close(moved[run], expected)
        torch.testing.assert_close(shift[run], (means - centers[run]).square().sum())


def test_kernels_are_told_how_far_to_go(monkeypatch):
    told, shifts = [], iter([9.0, 0.05, 0.0])

    def fused(rows, mean, shape, spherical):
        def advance(centers, factors):
            told.append(float(factors[0]))
            return centers, torch.tensor([[next(shifts)], [-float(len(told))]])

        return advance

    half_precision_pays(monkeypatch)
    monkeypatch.setattr(module, "_fused", lambda *args: fused)
    x = normal(200, 3, dtype=torch.float32)
    kmeans(x, 64, init=x[:64])
    assert told == [1.7, 1.7, 1.0]  # as the round before has shifted, in variances


def test_inertia_and_labels_belong_to_the_centres_returned():
    x = normal(200, 4)
    centers, labels, inertia = kmeans(x, 5, n_init=3, max_iter=2, generator=seeded())
    distance = torch.cdist(x, centers).square()
    assert torch.equal(labels, distance.argmin(1))
    assert float(inertia) == pytest.approx(float(distance.min(1).values.sum()), rel=1e-10)


def test_cosine_inertia_is_the_sum_of_one_minus_cos():
    x = normal(200, 4)
    centers, labels, inertia = kmeans(x, 5, metric="cosine", generator=seeded())
    cosine = F.normalize(x, dim=1) @ centers.T
    torch.testing.assert_close(centers.norm(dim=1), torch.ones(5, dtype=x.dtype))
    assert torch.equal(labels, cosine.argmax(1))
    assert float(inertia) == pytest.approx(float((1 - cosine.max(1).values).sum()), rel=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(5))
def test_planted_orthogonal_clusters_are_found(metric, seed):
    x, y = planted()
    _, labels, _ = kmeans(x, 6, metric=metric, n_init=3, generator=seeded(seed))
    assert clustering_accuracy(y.numpy(), labels.numpy()) == 1


def test_cosine_ignores_the_length_of_rows():
    x = normal(200, 6)
    lengths = torch.rand(200, 1, generator=seeded(1), dtype=x.dtype) * 100 + 0.01
    centers, labels, inertia = kmeans(x, 5, metric="cosine", generator=seeded())
    scaled = kmeans(x * lengths, 5, metric="cosine", generator=seeded())
    assert torch.equal(labels, scaled[1])
    torch.testing.assert_close(centers, scaled[0])
    torch.testing.assert_close(inertia, scaled[2])


def test_euclidean_minds_the_length_of_rows():
    x = torch.tensor([[1.0, 0], [1, 0.1], [10, 0], [10, 0.1]])
    labels = kmeans(x, 2, generator=seeded())[1].tolist()
    assert labels[0] == labels[1] != labels[2] == labels[3]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_generators_give_bitwise_equal_results(metric):
    x = normal(300, 8, dtype=torch.float32)
    runs = [kmeans(x, 9, metric=metric, n_init=4, generator=seeded(3)) for _ in range(2)]
    assert same(*runs)


def test_generators_matter():
    x = normal(300, 8)
    inertias = {float(kmeans(x, 9, generator=seeded(s))[2]) for s in range(5)}
    assert len(inertias) > 1


def test_a_generator_keeps_the_global_one_untouched():
    before = torch.get_rng_state()
    kmeans(normal(50, 3), 4, n_init=2, generator=seeded())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("seed", range(5))
def test_restarts_are_never_worse_than_the_warm_start_alone(seed):
    x = normal(300, 4, seed=seed)
    init = x[:1].repeat(8, 1) + 1e-6 * normal(8, 4, seed=seed)
    alone = kmeans(x, 8, init=init)[2]
    several = kmeans(x, 8, init=init, n_init=5, generator=seeded(seed))[2]
    assert several <= alone


def test_restarts_help_where_one_run_gets_stuck():
    x, _ = planted(k=12, per_cluster=10)
    one = [float(kmeans(x, 12, generator=seeded(s))[2]) for s in range(10)]
    many = [float(kmeans(x, 12, n_init=10, generator=seeded(s))[2]) for s in range(10)]
    assert max(many) <= min(one) * (1 + 1e-9)


def test_the_best_of_all_runs_is_returned():
    x, y = planted(k=12, per_cluster=10)
    perfect = torch.stack([x[y == i].mean(0) for i in range(12)])
    optimum = (x - perfect[y]).square().sum()
    _, _, found = kmeans(x, 12, init=perfect, n_init=4, generator=seeded(1))
    assert float(found) == pytest.approx(float(optimum), rel=1e-9)


def test_a_warm_start_at_the_solution_stays():
    x, _ = planted()
    solved = kmeans(x, 6, n_init=3, generator=seeded())
    again = kmeans(x, 6, init=solved[0])
    assert torch.equal(solved[1], again[1])
    torch.testing.assert_close(solved[0], again[0])


@pytest.mark.parametrize("k", [6, 64])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_no_cluster_dies_however_far_its_first_centre(metric, k):
    x = normal(200, 3)
    init = torch.full((k, 3), -1e3, dtype=x.dtype) + normal(k, 3, seed=1)
    init[0] = x[0]
    labels = kmeans(x, k, metric=metric, init=init)[1]
    assert torch.bincount(labels, minlength=k).min() > 0


def test_no_cluster_dies_from_equal_first_centres():
    x, _y = planted()
    labels = kmeans(x, 6, init=x[:1].repeat(6, 1))[1]
    assert torch.bincount(labels, minlength=6).min() > 0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_fewer_distinct_rows_than_clusters(metric):
    distinct = normal(3, 4)
    x = distinct.repeat(10, 1)
    centers, labels, inertia = kmeans(x, 5, metric=metric, n_init=2, generator=seeded())
    assert torch.isfinite(centers).all()
    assert len(labels.unique()) == 3
    assert clustering_accuracy(np.tile(np.arange(3), 10), labels.numpy()) == 1
    assert float(inertia) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_all_rows_zero(metric):
    centers, labels, inertia = kmeans(torch.zeros(8, 3), 3, metric=metric, generator=seeded())
    assert torch.isfinite(centers).all()
    assert len(labels) == 8 and torch.isfinite(inertia)


@pytest.mark.parametrize("budget", [1, 64, 1000])
@pytest.mark.parametrize("n_init", [1, 3])
def test_chunks_change_nothing(monkeypatch, budget, n_init):
    # Integers are added and multiplied exactly, so that not even rounding may differ.
    x = torch.randint(-9, 10, (150, 4), generator=seeded()).double()
    init = x[:5].clone()
    whole = kmeans(x, 5, init=init, n_init=n_init, generator=seeded())
    monkeypatch.setattr(_seeding, "_BUDGET", budget)
    chunked = kmeans(x, 5, init=init, n_init=n_init, generator=seeded())
    if n_init == 1:  # how many restarts are seeded at once changes the draws
        assert torch.equal(whole[1], chunked[1])
        torch.testing.assert_close(whole[0], chunked[0])
        torch.testing.assert_close(whole[2], chunked[2])
    else:
        assert chunked[2] <= kmeans(x, 5, init=init)[2]


def test_the_assignment_holds_no_more_than_the_budget(monkeypatch):
    x = normal(500, 4)
    monkeypatch.setattr(_nearest, "_IN_CACHE", 700)
    monkeypatch.setattr(_nearest, "_LEAST_ROWS", 1)
    sizes = []
    addmm = torch.addmm

    def spy(*args, **kwargs):
        out = addmm(*args, **kwargs)
        sizes.append(out.numel())
        return out

    monkeypatch.setattr(torch, "addmm", spy)
    kmeans(x, 7, n_init=2, generator=seeded())
    assert 0 < max(sizes) <= 700


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_half_precision_rounds_end_in_full_precision(monkeypatch, metric):
    x = 3 + normal(600, 16, dtype=torch.float32)
    exact = kmeans(x, 12, metric=metric, init=x[:12])
    halves = []
    half_precision_pays(monkeypatch, lambda device: halves.append(device) or True)
    centers, labels, inertia = kmeans(x, 12, metric=metric, init=x[:12])
    assert halves and float(inertia) == pytest.approx(float(exact[2]), rel=0.02)
    rows = F.normalize(x, dim=1) if metric == "cosine" else x
    assert torch.equal(labels, torch.cdist(rows, centers).argmin(1))
    monkeypatch.undo()
    more = kmeans(x, 12, metric=metric, init=centers)
    assert float(more[2]) == pytest.approx(float(inertia), rel=1e-3)  # hardly anything is left


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_half_precision_is_not_lost_in_tight_clusters(monkeypatch, metric, noise):
    """More clusters than groups: what parts a group is below half precision."""
    x, _ = planted(k=5, per_cluster=200, noise=noise, dtype=torch.float32)
    exact = kmeans(x, 20, metric=metric, n_init=3, generator=seeded())
    half_precision_pays(monkeypatch)
    rounds = rounds_of(monkeypatch)
    rough = kmeans(x, 20, metric=metric, n_init=3, generator=seeded())
    assert float(rough[2]) <= 1.03 * float(exact[2])
    assert rounds[0] <= 24 and sum(rounds) < 100


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_rows_far_from_the_origin_are_told_apart(offset):
    x, y = planted(noise=0.02)
    x = (x + offset).float()
    centers, labels, inertia = kmeans(x, 6, n_init=5, generator=seeded())
    assert clustering_accuracy(y, labels) == 1
    peer = KMeans(6, n_init=5, random_state=0).fit(x.double().numpy())
    assert float(inertia) == pytest.approx(peer.inertia_, rel=1e-3)
    given = kmeans(x, 6, init=centers)
    torch.testing.assert_close(given[0], centers)
    assert torch.equal(given[1], labels)


def test_rows_that_differ_by_rounding_do_not_take_all_rounds(monkeypatch):
    """As the outputs of a network that is not trained yet do."""
    rounds = rounds_of(monkeypatch)
    for seed in range(5):
        direction = normal(1, 8, seed=seed, dtype=torch.float32)
        x = F.normalize(direction + 1e-4 * normal(40, 8, seed=9, dtype=torch.float32), dim=1)
        kmeans(x, 3, metric="cosine", n_init=3, generator=seeded(seed))
    assert max(rounds) < 100


def test_half_precision_leaves_one_round_of_full_precision(monkeypatch):
    x = normal(600, 16, dtype=torch.float32)
    half_precision_pays(monkeypatch)
    rounds, full, iterate = rounds_of(monkeypatch), [], module._iterate
    monkeypatch.setattr(module, "_iterate", lambda *a: full.append(a[3]) or iterate(*a))
    kmeans(x, 12, init=x[:12], max_iter=4, tol=0)
    assert rounds == [3, 1] and full == [1]
    rounds.clear()
    kmeans(x, 12, init=x[:12], max_iter=1, tol=0)
    assert rounds == [1] and full == [1, 1]


@pytest.mark.parametrize("k", [7, 32, 64, 100])
def test_the_least_in_blocks_is_the_first_least(monkeypatch, k):
    monkeypatch.setattr(_nearest, "_WIDE", 32)
    score = torch.randint(0, 9, (50, 2, k), generator=seeded()).float()  # many are equal
    value, place = _nearest.least(score)
    assert torch.equal(value, score.amin(-1))
    first = (score == value[..., None]).int().argmax(-1)
    assert torch.equal(place, first)


def test_sums_of_many_rows_are_those_of_few(monkeypatch):
    x = normal(300, 5)
    expected = kmeans(x, 6, init=x[:6])
    monkeypatch.setattr(module, "_OUT_OF_CACHE", 0)
    assert all(
        torch.allclose(a, b) for a, b in zip(kmeans(x, 6, init=x[:6]), expected, strict=True)
    )


@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("many", [1, 100])  # sums cluster by cluster, or by a product
def test_an_accelerators_sums_are_those_of_a_cpu(monkeypatch, many, n_init):
    x = normal(300, 5)
    expected = kmeans(x, 6, n_init=n_init, generator=seeded())
    for place in (module, _nearest):
        monkeypatch.setattr(place, "on_cpu", lambda x: False)
    monkeypatch.setattr(module, "_MANY", many)
    monkeypatch.setattr(_nearest, "_ON_DEVICE", 600)  # chunks that do not divide the rows
    centers, labels, inertia = kmeans(x, 6, n_init=n_init, generator=seeded())
    torch.testing.assert_close(centers, expected[0])
    assert torch.equal(labels, expected[1])
    torch.testing.assert_close(inertia, expected[2])


class Launches(TorchDispatchMode):
    """Counts what an accelerator would be asked to compute, and to tell."""

    VIEWS = "view _unsafe_view slice select t transpose permute unsqueeze expand split detach"

    def __init__(self):
        super().__init__()
        self.kernels = self.answers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        self.answers += name in ("_local_scalar_dense", "nonzero")
        self.kernels += name not in self.VIEWS.split()
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("many", [1, 100])
def test_a_round_on_an_accelerator_launches_little(monkeypatch, many):
    """It takes its time for them: 12 to 20 us each, however little is computed."""
    for place in (module, _nearest):
        monkeypatch.setattr(place, "on_cpu", lambda x: False)
    monkeypatch.setattr(module, "_MANY", many)
    x, counts = normal(600, 32), []
    for rounds in (3, 5):
        with Launches() as count:
            kmeans(x, 6, init=x[:6], max_iter=rounds, tol=0)
        counts.append(count)
    few, more = counts
    assert 0 < more.kernels - few.kernels <= 2 * 21
    assert more.answers == few.answers


def test_seeds_of_many_rows_are_drawn_from_a_part(monkeypatch):
    x, y = planted(per_cluster=200)
    monkeypatch.setattr(_seeding, "_ROWS", 60)
    monkeypatch.setattr(_seeding, "_ROWS_PER_CLUSTER", 1)
    rows = []
    seed = _seeding._seed
    monkeypatch.setattr(_seeding, "_seed", lambda x, *a: rows.append(len(x)) or seed(x, *a))
    _, labels, _ = kmeans(x, 6, n_init=3, generator=seeded())
    assert set(rows) == {60}
    assert clustering_accuracy(y.numpy(), labels.numpy()) == 1


@pytest.mark.parametrize(("k", "candidates"), [(2, 2), (3, 3), (7, 3), (8, 4), (20, 4), (21, 5)])
def test_each_seed_is_the_best_of_its_candidates(monkeypatch, k, candidates):
    """2 + floor(ln K) of them, and the best one leaves the least sum of squared distances."""
    x, drawn, draw = normal(60, 3), [], _seeding._draw
    monkeypatch.setattr(_seeding, "_draw", lambda *a: drawn.append(draw(*a)) or drawn[-1])
    seeds = _seeding.initial_centers(x, k, None, 2, False, seeded())
    assert seeds.shape == (2, k, 3) and len(drawn) == k - 1
    for run, centers in enumerate(seeds):
        for j, rows in enumerate(drawn, start=1):
            left = [torch.cdist(x, torch.cat([centers[:j], x[i][None]])).amin(1) for i in rows[run]]
            best = rows[run][torch.stack(left).square().sum(1).argmin()]
            assert len(rows[run]) == candidates and torch.equal(centers[j], x[best])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    x, y = planted(dtype=dtype)
    centers, labels, inertia = kmeans(x, 6, generator=seeded())
    assert centers.dtype == inertia.dtype == dtype
    assert labels.dtype == torch.int64
    assert clustering_accuracy(y.numpy(), labels.numpy()) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    x, y = planted()
    centers, labels, _ = kmeans(x.to(dtype), 6, generator=seeded())
    assert centers.dtype == torch.float32
    assert clustering_accuracy(y.numpy(), labels.numpy()) == 1


def test_autocast_does_not_reach_in():
    x = normal(100, 8, dtype=torch.float32)
    plain = kmeans(x, 4, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        assert same(plain, kmeans(x, 4, generator=seeded()))


def test_input_and_init_are_not_written_and_take_no_gradient():
    x = normal(50, 3).requires_grad_()
    init = x.detach()[:4].clone()
    kept_x, kept_init = x.detach().clone(), init.clone()
    centers, _, inertia = kmeans(x, 4, metric="cosine", init=init, n_init=2, generator=seeded())
    assert torch.equal(x, kept_x) and torch.equal(init, kept_init)
    assert not centers.requires_grad and not inertia.requires_grad


def test_one_cluster_is_the_mean():
    x = normal(50, 3)
    centers, labels, inertia = kmeans(x, 1, generator=seeded())
    torch.testing.assert_close(centers[0], x.mean(0))
    assert labels.unique().tolist() == [0]
    torch.testing.assert_close(inertia, (x - x.mean(0)).square().sum())


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_as_many_clusters_as_rows(metric):
    x = normal(20, 3)
    _, labels, inertia = kmeans(x, 20, metric=metric, n_init=2, generator=seeded())
    assert sorted(labels.tolist()) == list(range(20))
    assert float(inertia) == pytest.approx(0, abs=1e-9)


def test_data_far_from_the_origin_are_still_told_apart():
    x = torch.tensor([[0.0], [0.1], [5.0], [5.1]]) + 1000
    labels = kmeans(x, 2, generator=seeded())[1].tolist()
    assert labels[0] == labels[1] != labels[2] == labels[3]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"metric": "manhattan"}, "metric"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 11}, "n_clusters=11"),
        ({"n_init": 0}, "n_init"),
        ({"init": torch.zeros(3, 2)}, "init"),
        ({"x": torch.zeros(10)}, "matrix"),
        ({"x": torch.zeros(10, 2, dtype=torch.int64)}, "floating"),
        ({"x": torch.full((10, 2), torch.nan)}, "NaN"),
        ({"x": torch.full((10, 2), torch.inf)}, "infinite"),
    ],
)
def test_bad_input_is_named(change, named):
    call = {"x": normal(10, 2), "n_clusters": 2} | change
    with pytest.raises(ValueError, match=named):
        kmeans(call.pop("x"), call.pop("n_clusters"), **call)
    with pytest.raises(TypeError, match="x must be a tensor, got ndarray"):
        kmeans(np.zeros((10, 2)), 2)
