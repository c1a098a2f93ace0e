"""Linear partition: the groups that embeddings form and the map that names them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, mutual_info_score

from skdeepclust.ops import partition
from skdeepclust.ops.kmeans import kmeans
from skdeepclust.ops.partition import linear_partition, neighbor_information, self_trained_map
from skdeepclust.ops.sinkhorn import sinkhorn


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def strips(n=150, dtype=torch.float64):
    """Three groups, long in one direction and next to each other in others; and which."""
    truth = torch.arange(3 * n) % 3
    z = normal(3 * n, 4) * torch.tensor([6.0, 0.2, 0.2, 0.2], dtype=torch.float64)
    z[:, 1:] += 1.5 * torch.eye(3, dtype=torch.float64)[truth]
    return z.to(dtype), truth


def named(z, found):
    weight, bias = found
    return (z @ weight.T + bias).argmax(1)


# -- the figure that chooses --------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 7])
def test_neighbor_information_is_its_definition(k):
    labels = torch.randint(k, (50,), generator=generator())
    neighbors = torch.randint(50, (50, 4), generator=generator(1))
    pairs = [(int(labels[i]), int(labels[j])) for i in range(50) for j in neighbors[i].tolist()]
    expected = mutual_info_score(*zip(*pairs, strict=True))
    assert float(neighbor_information(labels, neighbors, k)) == pytest.approx(expected, abs=1e-12)


def test_neighbor_information_wants_equal_sizes_and_neighbours_together():
    rows = torch.arange(40)
    neighbors = (rows // 10 * 10)[:, None] + (rows[:, None] + torch.arange(1, 4)) % 10

    def told(labels, k):
        return float(neighbor_information(labels, neighbors, k))

    assert told(rows // 10, 4) == pytest.approx(np.log(4))
    assert told(rows // 20, 2) == pytest.approx(np.log(2))
    assert told(torch.clamp(rows // 10 - 2, 0), 2) < told(rows // 20, 2)  # 30 and 10
    assert told((rows + 5) // 10 % 4, 4) < told(rows // 10, 4)  # torn apart
    assert told(torch.zeros_like(rows), 4) == pytest.approx(0)


@pytest.mark.parametrize("n", [7, 1000, 2300])
def test_neighbors_are_the_nearest_other_rows(n):
    z = normal(n, 3)
    distance = torch.cdist(z, z).fill_diagonal_(torch.inf)
    expected = distance.argsort(1)[:, :5]
    assert torch.equal(partition._neighbors(z, 5), expected)


# -- the map ------------------------------------------------------------------------------------


def naive_least_squares(z, labels, k, ridge):
    onto = np.eye(k)[labels]
    return np.linalg.solve(z.T @ z + ridge * len(z) * np.eye(z.shape[1]), z.T @ onto)


@pytest.mark.parametrize("rounds", [1, 3])
def test_rounds_are_least_squares_onto_balanced_clusters(rounds):
    z, labels = normal(60, 5), torch.randint(3, (60,), generator=generator())
    ones, a = np.hstack([z.numpy(), np.ones((60, 1))]), labels.numpy()
    for _ in range(rounds):
        scores = ones @ naive_least_squares(ones, a, 3, 1e-6)
        a = sinkhorn(torch.from_numpy(scores), 0.1, 100).argmax(1).numpy()
    expected = naive_least_squares(ones, scores.argmax(1), 3, 3e-4).T
    weight, bias = self_trained_map(z, labels, 3, n_rounds=rounds)
    np.testing.assert_allclose(np.column_stack([weight, bias]), expected, atol=1e-8)


def test_rounds_go_on_until_the_map_teaches_itself():
    z, truth = strips()
    labels = torch.where(torch.rand(len(z), generator=generator()) < 0.3, (truth + 1) % 3, truth)
    found = self_trained_map(z, labels, 3)
    assert adjusted_rand_score(truth, named(z, found)) == 1
    again = self_trained_map(z, named(z, found), 3, n_rounds=1)
    for a, b in zip(found, again, strict=True):
        torch.testing.assert_close(a, b)


def test_clusters_that_are_empty_at_first_get_their_share():
    z = normal(300, 2)
    found = self_trained_map(z, torch.zeros(300, dtype=torch.int64), 3)
    assert torch.bincount(named(z, found), minlength=3).tolist() == pytest.approx([100] * 3, abs=15)


def test_small_changes_do_not_upset_the_names():
    """A direction in which the groups differ by little gets no large weight."""
    z, truth = strips()
    z = torch.cat([z, 1e-4 * (truth[:, None] - 1)], dim=1)
    near = z + 0.01 * normal(*z.shape, seed=3)

    def kept(w):
        w = w[:, :-1], w[:, -1]
        return float((named(near, w) == named(z, w)).double().mean())

    assert kept(torch.column_stack(self_trained_map(z, truth, 3))) > 0.98
    ones = np.hstack([z.numpy(), np.ones((len(z), 1))])
    sharp = naive_least_squares(ones, truth.numpy(), 3, 1e-12).T
    assert kept(torch.from_numpy(sharp)) < 0.6


# -- the whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_groups_are_found_where_k_means_fails(dtype):
    z, truth = strips(dtype=dtype)
    weight, bias = found = linear_partition(z, 3, generator=generator())
    assert weight.shape == (3, 4) and bias.shape == (3,)
    assert weight.dtype == bias.dtype == dtype and not weight.requires_grad
    assert adjusted_rand_score(truth, named(z, found)) == 1
    assert adjusted_rand_score(truth, kmeans(z, 3, n_init=10)[1]) < 0.2


def test_an_island_goes_where_the_sizes_tell():
    """It is nearer to the first group, which would be the larger for it."""
    place = torch.tensor([0] * 200 + [1] * 160 + [2] * 200 + [3] * 40)
    places = torch.tensor([[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0], [2.4, 1.6, 0, 2]]).double()
    truth, z = torch.tensor([0, 1, 2, 1])[place], 0.3 * normal(600, 4) + places[place]
    found = linear_partition(z, 3, generator=generator())
    assert adjusted_rand_score(truth, named(z, found)) == 1
    assert adjusted_rand_score(truth, kmeans(z, 3, n_init=10)[1]) < 0.9


def test_outliers_are_no_clusters_where_others_are():
    truth = torch.arange(600) % 3
    z = normal(600, 8) + 5 * torch.eye(8, dtype=torch.float64)[truth]
    z[:2] = 3.5 * normal(2, 8, seed=5)
    found = linear_partition(z, 3, generator=generator())
    assert adjusted_rand_score(truth, named(z, found)) > 0.95


@pytest.mark.parametrize("pick", range(6))
def test_the_map_that_tells_most_is_taken(monkeypatch, pick):
    """The nearest centre, k-means and four graphs, whatever they are worth elsewhere."""
    z, truth = strips(50)
    good = self_trained_map(z, truth, 3)
    bad = torch.zeros(3, 4).double(), torch.arange(3.0).double()  # all in the last cluster
    maps = iter([good if at == pick else bad for at in range(1, 6)])
    found = (torch.ones(3, 4), truth, None) if pick else kmeans(z, 3, n_init=10)
    monkeypatch.setattr(partition, "kmeans", lambda *a, **kw: found)
    monkeypatch.setattr(partition, "spectral", lambda z, *a, **kw: None)
    monkeypatch.setattr(partition, "self_trained_map", lambda *a: next(maps))
    weight, bias = linear_partition(z, 3, generator=generator())
    assert next(maps, None) is None
    expected = good if pick else (found[0], -found[0].square().sum(1) / 2)
    assert torch.equal(weight, expected[0]) and torch.equal(bias, expected[1])


def test_more_clusters_than_dimensions():
    centers = 10 * normal(40, 3, seed=1)
    truth = torch.arange(1200) % 40
    z = centers[truth] + 0.1 * normal(1200, 3)
    found = linear_partition(z, 40, generator=generator())
    assert adjusted_rand_score(truth, named(z, found)) > 0.95


@pytest.mark.parametrize(
    ("n", "k", "most", "seen"), [(90, 3, 60, 60), (90, 3, 200, 90), (90, 4, 9, 80)]
)
def test_a_sample_is_looked_at(monkeypatch, n, k, most, seen):
    sizes = []

    def keep(z, *args, **kwargs):
        sizes.append(len(z))
        return kmeans(z, *args, **kwargs)

    monkeypatch.setattr(partition, "kmeans", keep)
    linear_partition(normal(n, 4), k, max_samples=most, generator=generator())
    assert sizes == [seen]


@pytest.mark.parametrize(("k", "runs"), [(1, 0), (2, 4), (101, 0)])
def test_spectral_clustering_is_for_some_numbers_of_clusters(monkeypatch, k, runs):
    calls = []
    monkeypatch.setattr(
        partition, "spectral", lambda z, k, **kw: calls.append(kw) or torch.arange(len(z)) % k
    )
    weight, _ = linear_partition(normal(120, 4), k, generator=generator())
    assert weight.shape == (k, 4)
    assert [call["n_neighbors"] for call in calls] == [5, 10, 20, 40][:runs]


def test_equal_generators_give_equal_maps():
    z = normal(200, 4)
    first, second = (linear_partition(z, 4, generator=generator(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("n", "k"), [(2, 1), (2, 2), (3, 2), (4, 3), (6, 5), (12, 3)])
def test_few_samples(n, k):
    weight, bias = found = linear_partition(normal(n, 3), k, generator=generator())
    assert weight.isfinite().all() and bias.isfinite().all()
    assert len(named(normal(n, 3), found).unique()) <= k


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_equal_samples_are_one_group():
    z = torch.ones(60, 4)
    weight, bias = linear_partition(z, 3, generator=generator())
    assert weight.isfinite().all() and bias.isfinite().all()


def test_samples_that_are_not_finite_are_refused():
    z = normal(20, 3)
    z[3, 1] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        linear_partition(z, 3)
