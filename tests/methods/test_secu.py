"""SeCu's and CoKe's equations against naive transcriptions, and the invariants of both."""

import copy
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from torch import nn

from skdeepclust import CollapseWarning, SeCuClustering
from skdeepclust.augment import RandomHorizontalFlip, RandomSolarize
from skdeepclust.backbones import make_backbone
from skdeepclust.datasets import load_digits_images, make_image_blobs
from skdeepclust.engine.health import Health, Mixing
from skdeepclust.methods.secu import (
    EntropyConstraint,
    SeCuObjective,
    SelfLabelling,
    SizeConstraint,
    center_loss,
    representation_loss,
    self_labelling,
    update_means,
)
from skdeepclust.metrics import clustering_accuracy
from skdeepclust.ops.kmeans import kmeans

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

TIGHT = {"rtol": 0, "atol": 1e-10}
TAUS = (0.05, 1.0)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def integers(high, *shape, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape, seed=0):
    return F.normalize(normal(*shape, seed=seed), dim=1)


def gradients(loss, *tensors):
    return torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)


def case(b=6, k=4, d=5):
    z1, z2 = (3 * normal(b, d, seed=s).requires_grad_() for s in (1, 2))
    return z1, z2, (2 * normal(k, d, seed=3)).requires_grad_(), integers(k, b, seed=4)


# -- the equations, one loop per index --------------------------------------------------------


def length(v):
    return v.square().sum().sqrt()


def naive_softmax(v, centers, tau):
    exponentials = [torch.exp(torch.dot(v, w) / length(v) / length(w) / tau) for w in centers]
    return [e / sum(exponentials) for e in exponentials]


def naive_representation(z1, z2, centers, labels, tau, share):
    total = 0
    for i, y in enumerate(labels.tolist()):
        p = [naive_softmax(z[i], centers.detach(), tau) for z in (z1, z2)]
        for v in (0, 1):
            for k in range(len(centers)):
                target = (1 - share) * p[1 - v][k].detach() + share * float(k == y)
                total = total - target * torch.log(p[v][k])
    return total / (2 * len(labels))


def naive_centers(z1, z2, centers, labels, tau):
    total = 0
    for z in (z1.detach(), z2.detach()):
        for i, a in enumerate(labels.tolist()):
            x = z[i] / length(z[i])
            w = [
                c / length(c) if k == a else (c / length(c)).detach() for k, c in enumerate(centers)
            ]
            exponentials = [torch.exp(torch.dot(x, one) / tau) for one in w]
            total = total - torch.log(exponentials[a] / sum(exponentials))
    return total / (2 * len(labels))


@pytest.mark.parametrize("share", [0.2, 0.0, 1.0])
@pytest.mark.parametrize("tau", TAUS)
def test_representation_loss_is_its_equation(tau, share):
    z1, z2, centers, labels = case()
    loss = representation_loss(z1, z2, centers, labels, tau, share)
    naive = naive_representation(z1, z2, centers, labels, tau, share)
    torch.testing.assert_close(loss, naive, **TIGHT)
    for ours, theirs in zip(gradients(loss, z1, z2), gradients(naive, z1, z2), strict=True):
        torch.testing.assert_close(ours, theirs, **TIGHT)


@pytest.mark.parametrize("tau", TAUS)
def test_center_loss_is_its_equation(tau):
    z1, z2, centers, labels = case()
    loss = center_loss(z1, z2, centers, labels, tau)
    naive = naive_centers(z1, z2, centers, labels, tau)
    torch.testing.assert_close(loss, naive, **TIGHT)
    (ours,), (theirs,) = gradients(loss, centers), gradients(naive, centers)
    torch.testing.assert_close(ours, theirs, **TIGHT)


def test_defaults_are_those_of_the_paper():
    case_ = case()
    expected = representation_loss(*case_, temperature=0.05, label_weight=0.2)
    assert torch.equal(representation_loss(*case_), expected)
    assert torch.equal(center_loss(*case_), center_loss(*case_, temperature=0.05))


@pytest.mark.parametrize("loss", [representation_loss, center_loss])
def test_arguments_come_unnormalised_and_are_left_alone(loss):
    case_ = case()
    before = [t.detach().clone() for t in case_]
    value = loss(*case_)
    z1, z2, centers, labels = case_
    scaled = loss(4 * z1, z2 * torch.rand(6, 1).double().add(0.1), 0.3 * centers, labels)
    torch.testing.assert_close(scaled, value, **TIGHT)
    assert all(torch.equal(a, b) for a, b in zip(case_, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", [representation_loss, center_loss])
def test_short_types_are_computed_in_float32(loss, dtype):
    z1, z2, centers, labels = (t.detach() for t in case())
    short = [t.to(dtype) for t in (z1, z2, centers)]
    value = loss(*short, labels)
    assert value.dtype == torch.float32
    wide = loss(*(t.double() for t in short), labels)
    torch.testing.assert_close(value.double(), wide, rtol=1e-5, atol=1e-5)


def test_neither_loss_crosses_over():
    z1, z2, centers, labels = case()
    assert gradients(representation_loss(z1, z2, centers, labels), centers) == (None,)
    assert gradients(center_loss(z1, z2, centers, labels), z1, z2) == (None, None)


@pytest.mark.parametrize("tau", TAUS)
def test_closed_gradient_of_the_centres(tau):
    z1, z2, centers, labels = case()
    (found,) = gradients(center_loss(z1, z2, centers, labels, tau), centers)
    expected, c = torch.zeros_like(found), centers.detach()
    w = F.normalize(c, dim=1)
    for z in (z1, z2):
        x = F.normalize(z.detach(), dim=1)
        p = (x @ w.T / tau).softmax(1)
        for k in range(len(c)):
            members = labels == k
            pull = ((1 - p[members, k])[:, None] * x[members]).sum(0)
            tangential = pull - w[k] * (w[k] @ pull)
            expected[k] -= tangential / (tau * len(x) * c[k].norm()) / 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_a_centre_without_members_gets_no_gradient_at_all():
    z1, z2, centers, _ = case()
    (found,) = gradients(center_loss(z1, z2, centers, torch.tensor([0, 0, 2, 2, 2, 0])), centers)
    assert (found[[1, 3]] == 0).all() and (found[[0, 2]] != 0).any(1).all()


HEADS = {
    "K=10..100": (range(10, 101, 10), 3.8130),
    "K=1000..10000": (range(1000, 10001, 1000), 8.4182),
}


@pytest.mark.parametrize(("heads", "value"), HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("loss", [representation_loss, center_loss])
def test_equal_centres_leave_the_logarithms_of_k(loss, heads, value):
    z1, z2 = normal(4, 3), normal(4, 3, seed=1)
    losses = [float(loss(z1, z2, torch.ones(k, 3).double(), torch.arange(4))) for k in heads]
    assert np.mean(losses) == pytest.approx(value, abs=5e-5)


def test_total_of_equal_centres():
    heads = range(10, 101, 10)
    net = objective(n_clusters=10, heads=list(heads))
    with torch.no_grad():
        net.prototypes.fill_(0.4)
    terms = start(net, 1)(views(), torch.arange(12))
    assert float(sum(terms.values()).detach()) == pytest.approx(7.6261, abs=2e-4)


@pytest.mark.parametrize(
    ("k", "random", "best", "entropy"),
    [
        (10, 3.53, 0.78, 1.45),
        (20, 4.32, 1.04, 1.98),
        (100, 6.09, 1.68, 3.28),
        (1000, 8.44, 2.80, 5.43),
    ],
)
def test_random_features_and_centres(k, random, best, entropy):
    """The figures are one draw of centres; ours are the means of several."""
    figures = []
    for seed in range(8):
        x, w = unit(1000, 128, seed=2 * seed).float(), unit(k, 128, seed=2 * seed + 1).float()
        anything, own = integers(k, 1000, seed=seed), (x @ w.T).argmax(1)
        figures.append(
            [
                float(representation_loss(x, x, w, anything, 0.05, 1.0)),
                float(representation_loss(x, x, w, own, 0.05, 1.0)),
                float(representation_loss(x, x, w, own, 0.05, 0.0)),
            ]
        )
    assert np.mean(figures, 0) == pytest.approx([random, best, entropy], abs=0.1)
    if k >= 100:
        assert np.mean(figures, 0)[0] == pytest.approx(math.log(k) + 1.5625, abs=0.1)


def test_permuted_clusters_leave_both_losses():
    z1, z2, centers, labels = case()
    order = torch.tensor([2, 0, 3, 1])
    for loss in (representation_loss, center_loss):
        permuted = loss(z1, z2, centers[order], order.argsort()[labels])
        torch.testing.assert_close(permuted, loss(z1, z2, centers, labels), **TIGHT)


def test_swapped_views_leave_both_losses():
    z1, z2, centers, labels = case()
    for loss in (representation_loss, center_loss):
        swapped = loss(z2, z1, centers, labels)
        torch.testing.assert_close(swapped, loss(z1, z2, centers, labels), **TIGHT)


def test_all_weight_on_the_labels_is_plain_classification():
    z1, z2, centers, labels = case()
    w = F.normalize(centers, dim=1)
    plain = [F.cross_entropy(F.normalize(z, dim=1) @ w.T / 0.05, labels) for z in (z1, z2)]
    loss = representation_loss(z1, z2, centers, labels, label_weight=1.0)
    torch.testing.assert_close(loss, sum(plain) / 2, **TIGHT)


def test_no_weight_on_the_labels_is_symmetric_and_above_the_entropy():
    z1, z2, centers, labels = case()
    loss = representation_loss(z1, z2, centers, labels, label_weight=0.0)
    others = representation_loss(z1, z2, centers, (labels + 1) % 4, label_weight=0.0)
    assert torch.equal(loss, others)
    p = [
        (F.normalize(z, dim=1) @ F.normalize(centers, dim=1).T / 0.05).softmax(1) for z in (z1, z2)
    ]
    entropy = sum(-(q * q.log()).sum(1).mean() for q in p) / 2
    assert loss > entropy
    same = representation_loss(z1, z1, centers, labels, label_weight=0.0)
    torch.testing.assert_close(same, -(p[0] * p[0].log()).sum(1).mean(), **TIGHT)


# -- the size constraint ----------------------------------------------------------------------


def naive_size(scores, duals, ratio, rate):
    labels = [max(range(len(duals)), key=lambda j: float(row[j]) + duals[j]) for row in scores]
    duals = [
        r - rate * labels.count(j) / len(labels) + rate * ratio / len(duals)
        for j, r in enumerate(duals)
    ]
    return labels, [max(r, 0.0) for r in duals] if ratio < 1 else duals


@pytest.mark.parametrize("rate", [0.1, 20.0])
@pytest.mark.parametrize("ratio", [0.4, 0.9, 1.0])
def test_size_constraint_is_its_equation(ratio, rate):
    constraint, duals = SizeConstraint(5, ratio, rate).double(), [0.0] * 5
    for step in range(30):
        scores = normal(16 if step % 3 else 7, 5, seed=step)
        before = scores.clone()
        found = constraint.assign(scores)
        labels, duals = naive_size(scores, duals, ratio, rate)
        assert found.tolist() == labels and found.dtype == torch.int64
        expected = torch.tensor(duals, dtype=torch.float64)
        torch.testing.assert_close(constraint.duals, expected, **TIGHT)
        assert torch.equal(scores, before)


@pytest.mark.parametrize("rate", [0.1, 20.0])
def test_duals_are_not_negative_below_equality(rate):
    constraint = SizeConstraint(6, 0.4, rate).double()
    for step in range(40):
        before = constraint.duals.clone()
        labels = constraint.assign(normal(24, 6, seed=step))
        assert (constraint.duals >= 0).all()
        shares = torch.bincount(labels, minlength=6).double() / 24
        unclipped = before - rate * shares + rate * 0.4 / 6
        assert float((unclipped - before).sum()) == pytest.approx(rate * (0.4 - 1))
        torch.testing.assert_close(constraint.duals, unclipped.clamp_min(0), **TIGHT)
    assert (constraint.duals > 0).any()


def test_duals_of_equality_sum_to_zero():
    constraint = SizeConstraint(6, 1.0, 0.1).double()
    for step in range(40):
        constraint.assign(normal(24, 6, seed=step))
        assert float(constraint.duals.sum()) == pytest.approx(0, abs=1e-12)
    assert (constraint.duals < 0).any()


@pytest.fixture(scope="module")
def skewed():
    """Cosines of 50,000 frozen features to ten clusters, the largest 40 times the smallest."""
    k, n = 10, 50_000
    generator = torch.Generator().manual_seed(0)
    shares = torch.logspace(0, math.log10(40), k)
    own = torch.multinomial(shares, n, replacement=True, generator=generator)
    scores = 0.12 * torch.randn(n, k, generator=generator)
    return scores.scatter_add_(1, own[:, None], torch.full((n, 1), 0.4))


def converge(scores, constraint, epochs, batch=128):
    """Sizes of the last epoch, and the duals before and after it."""
    for epoch in range(epochs):
        order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(epoch))
        before = constraint.duals.clone()
        labels = torch.cat([constraint.assign(part) for part in scores[order].split(batch)])
    return torch.bincount(labels, minlength=scores.shape[1]), before, constraint.duals


@pytest.mark.parametrize(("ratio", "bound", "short"), [(0.9, 4500, 4440), (0.4, 2000, 1960)])
def test_complementary_slackness(skewed, ratio, bound, short):
    """The smallest cluster had 4493 and 1991 samples in a simulation."""
    assert torch.bincount(skewed.argmax(1), minlength=10).min() < 0.9 * bound
    sizes, before, duals = converge(skewed, SizeConstraint(10, ratio, 0.1), 6)
    assert short <= sizes.min() <= bound * 1.01
    paid = (before > 0.03) & (duals > 0.03)
    assert paid.any() and (sizes[paid] / bound - 1).abs().max() < 0.02
    ample = sizes > 1.3 * bound
    assert ample.any() and duals[ample].max() < 0.01  # not 0: one batch may lack members


def test_equal_sizes_come_out_equal(skewed):
    """A simulation gave 4994 to 5014."""
    sizes, _, _ = converge(skewed, SizeConstraint(10, 1.0, 0.1), 6)
    assert 4950 <= sizes.min() and sizes.max() <= 5050


def test_what_a_cluster_lacks_is_what_its_dual_grew(skewed):
    """Telescoped: an exact bound at CoKe's step size of 20, where duals jump."""
    full = skewed[: 48 * 1024]
    sizes, before, duals = converge(full, SizeConstraint(10, 0.4, 20.0), 4, batch=1024)
    lack = 0.4 * len(full) / 10 - sizes
    assert (lack <= (duals - before) * 1024 / 20 + 0.1).all()
    assert sizes.min() > 0.9 * 0.4 * len(full) / 10


def test_complementary_slackness_at_cokes_step_size():
    """With many clusters, whose rent of 20 x 0.4 / 200 a step is small beside the cosines."""
    scores = 0.1 * normal(48 * 1024, 200) + 0.04 * normal(1, 200, seed=1)
    bound, rent = 0.4 * len(scores) / 200, 20 * 0.4 / 200
    assert torch.bincount(scores.argmax(1), minlength=200).min() < 0.1 * bound
    sizes, before, duals = converge(scores, SizeConstraint(200, 0.4, 20.0), 6, batch=1024)
    assert sizes.min() > 0.95 * bound
    paid, ample = (before > rent) & (duals > rent), sizes > 2 * bound
    assert paid.sum() > 10 and sizes[paid].double().mean() < 1.1 * bound
    assert sizes[paid].max() < 1.5 * bound
    assert ample.sum() > 10 and duals[ample].max() < 1.01 * rent


@pytest.mark.parametrize("ratio", [-0.1, 1.5, math.nan])
def test_a_bound_that_cannot_hold_is_refused(ratio):
    with pytest.raises(ValueError, match="min_size_ratio"):
        SizeConstraint(4, ratio, 0.1)


def test_without_a_bound_the_nearest_centre_wins():
    constraint = SizeConstraint(4, 0.0, 20.0)
    for step in range(5):
        scores = normal(20, 4, seed=step)
        assert torch.equal(constraint.assign(scores), scores.argmax(1))


@pytest.mark.parametrize(
    "make", [lambda: SizeConstraint(4, 0.9, 0.3), lambda: SizeConstraint(4, 1, 20.0)]
)
def test_permuted_clusters_permute_the_size_constraint(make):
    plain, permuted, order = make(), make(), torch.tensor([2, 0, 3, 1])
    for step in range(20):
        scores = normal(16, 4, seed=step)
        expected = order.argsort()[plain.assign(scores)]
        assert torch.equal(permuted.assign(scores[:, order]), expected)
        assert torch.equal(permuted.duals, plain.duals[order])


# -- the entropy constraint -------------------------------------------------------------------


def negative_entropy(counts, total):
    """Sum of q ln q, q = counts / total."""
    return math.fsum(n / total * math.log(n / total) for n in counts if n > 0)


def naive_delta(counts, old, new, total):
    """Change of the negative entropy when a sample moves, by computing it twice."""
    after = list(counts)
    after[old] -= 1
    after[new] += 1
    return negative_entropy(after, total) - negative_entropy(counts, total)


def entropy_constraint(counts, weight=1.0):
    constraint = EntropyConstraint(len(counts), int(sum(counts)), weight).double()
    constraint.counts.copy_(torch.tensor(counts))
    return constraint


@pytest.mark.parametrize(
    "counts", [[40, 30, 20, 10], [97, 1, 1, 1], [60, 40, 0, 0], [1, 2, 0, 500]]
)
@pytest.mark.parametrize("weight", [1.0, 60.0])
def test_delta_is_the_change_of_the_entropy(counts, weight):
    """Scores that cancel the penalty but for 1e-12 of one cluster show it to that digit."""
    total = sum(counts)
    for old in (j for j, n in enumerate(counts) if n):
        delta = [naive_delta(counts, old, j, total) for j in range(4)]
        for bumped in range(4):
            scores = weight * torch.tensor([delta], dtype=torch.float64)
            scores[0, bumped] += weight * 1e-12
            found = entropy_constraint(counts, weight).assign(scores, torch.tensor([old]))
            assert found.tolist() == [bumped]


def test_delta_of_new_samples():
    """q = n / (S + 1) and Delta = phi(q + 1 / (S + 1)) - phi(q)."""
    counts = [7, 0, 3, 1]
    grown = [[n + (j == i) for i, n in enumerate(counts)] for j in range(4)]
    delta = [negative_entropy(c, 12) - negative_entropy(counts, 12) for c in grown]
    for bumped in range(4):
        scores = torch.tensor([delta], dtype=torch.float64)
        scores[0, bumped] += 1e-12
        assert entropy_constraint(counts).assign(scores).tolist() == [bumped]


def test_the_first_batch_follows_the_scores_alone():
    constraint, scores = EntropyConstraint(4, 100, 1e6), normal(20, 4)
    assert torch.equal(constraint.assign(scores), scores.argmax(1))


def naive_entropy_run(batches, n, k, weight, epochs):
    bank, counts = {}, [0] * k
    for epoch in range(epochs):
        for index, scores in batches[epoch]:
            start = list(counts)
            for i, s in zip(index.tolist(), scores.tolist(), strict=True):
                seen = sum(start)
                if epoch:
                    delta = [naive_delta(start, bank[i], j, n) for j in range(k)]
                elif seen:
                    grown = [[m + (j == c) for c, m in enumerate(start)] for j in range(k)]
                    here = negative_entropy(start, seen + 1)
                    delta = [negative_entropy(g, seen + 1) - here for g in grown]
                else:
                    delta = [0.0] * k
                new = max(range(k), key=lambda j: s[j] - weight * delta[j])
                if epoch:
                    counts[bank[i]] -= 1
                counts[new] += 1
                bank[i] = new
        yield [bank[i] for i in range(n)], list(counts)


@pytest.mark.parametrize("weight", [0.0, 5.0, 50.0])
def test_entropy_constraint_is_its_equation(weight):
    n, k, epochs = 60, 4, 4
    scores = 0.2 * normal(n, k) + torch.tensor([0.3, 0.1, 0.0, 0.0]).double()
    orders = [torch.randperm(n, generator=torch.Generator().manual_seed(e)) for e in range(epochs)]
    batches = [
        [(i, scores[i] + 0.05 * normal(len(i), k, seed=e)) for i in order.split(13)]
        for e, order in enumerate(orders)
    ]
    constraint, bank = EntropyConstraint(k, n, weight).double(), torch.zeros(n, dtype=torch.int64)
    naive = naive_entropy_run(batches, n, k, weight, epochs)
    for epoch, (labels, counts) in enumerate(naive):
        for index, part in batches[epoch]:
            bank[index] = constraint.assign(part, bank[index] if epoch else None)
        assert bank.tolist() == labels
        assert constraint.counts.tolist() == counts == torch.bincount(bank, minlength=k).tolist()
        assert sum(counts) == n


def test_without_weight_the_best_score_wins():
    constraint, scores = entropy_constraint([5, 0, 9, 1], weight=0.0), normal(15, 4)
    previous = torch.tensor([0] * 5 + [2] * 9 + [3])
    assert torch.equal(constraint.assign(scores, previous), scores.argmax(1))


@pytest.mark.parametrize("ratio", [2, 5])
def test_how_much_larger_a_cluster_may_be(ratio):
    """r times, where its advantage is (alpha / N) ln r: 0.083 for 2 at alpha = 0.12 N."""
    small, n = 10_000, 10_000 * (1 + ratio)
    advantage = 0.12 * math.log(ratio)
    if ratio == 2:
        assert advantage == pytest.approx(0.083, abs=5e-4)
    for extra, label in ((0.001, 0), (-0.001, 1)):
        constraint = entropy_constraint([ratio * small, small], weight=0.12 * n)
        scores = torch.tensor([[advantage + extra, 0.0]]).double()
        assert constraint.assign(scores, torch.tensor([1])).tolist() == [label]


def test_float32_counts_of_a_million_still_tell_the_penalty():
    constraint = EntropyConstraint(3, 1_281_167, 1e5)
    constraint.counts.copy_(torch.tensor([900_000.0, 300_000.0, 81_167.0]))
    delta = torch.tensor([1e5 / 1_281_167 * math.log(n / 3e5) for n in (9e5, 3e5, 81_167)])
    for bumped in range(3):
        scores = delta[None] + 1e-4 * F.one_hot(torch.tensor([bumped]), 3)
        assert copy.deepcopy(constraint).assign(scores, torch.tensor([1])).tolist() == [bumped]


def test_permuted_clusters_permute_the_entropy_constraint():
    plain, permuted = (EntropyConstraint(4, 32, 5.0).double() for _ in range(2))
    order, old = torch.tensor([2, 0, 3, 1]), None
    for step in range(10):
        scores = 0.2 * normal(32, 4, seed=step)
        renamed = None if old is None else order.argsort()[old]
        new = plain.assign(scores, old)
        assert torch.equal(permuted.assign(scores[:, order], renamed), order.argsort()[new])
        assert torch.equal(permuted.counts, plain.counts[order])
        old = new


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("constraint", [SizeConstraint(4, 0.9, 0.1), EntropyConstraint(4, 20, 2.0)])
def test_constraints_take_short_scores_and_leave_no_graph(constraint, dtype):
    scores = normal(20, 4).to(dtype).requires_grad_()
    before = scores.detach().clone()
    labels = constraint.assign(scores)
    assert labels.dtype == torch.int64 and torch.equal(scores, before)
    assert all(not b.requires_grad and b.dtype == torch.float32 for b in constraint.buffers())


# -- running means ----------------------------------------------------------------------------


def naive_means(centers, counts, z, labels):
    centers, counts = centers.clone(), counts.clone()
    for j in range(len(centers)):
        members = [z[i] for i, a in enumerate(labels.tolist()) if a == j]
        if members:
            new = counts[j] + len(members)
            mean = counts[j] / new * centers[j] + sum(members) / new
            centers[j], counts[j] = mean / length(mean), new
    return centers, counts


def test_update_means_is_its_equation():
    centers, counts = unit(6, 5), torch.zeros(6).double()
    for step in range(6):
        z, labels = 0.7 * unit(9, 5, seed=step), integers(6, 9, seed=step)
        before = z.clone()
        expected = naive_means(centers, counts, z, labels)
        assert update_means(centers, counts, z, labels) is centers
        torch.testing.assert_close(centers, expected[0], **TIGHT)
        assert torch.equal(counts, expected[1]) and torch.equal(z, before)


def test_hit_centres_have_norm_one_and_the_others_stay():
    centers, counts = 3 * normal(6, 5), torch.full((6,), 4.0).double()
    before, labels = centers.clone(), torch.tensor([0, 0, 2, 5])
    update_means(centers, counts, unit(4, 5, seed=1), labels)
    hit = torch.tensor([True, False, True, False, False, True])
    torch.testing.assert_close(centers[hit].norm(dim=1), torch.ones(3).double(), **TIGHT)
    assert torch.equal(centers[~hit], before[~hit])


def test_counts_are_those_of_the_labels():
    centers, counts = unit(6, 5), torch.zeros(6).double()
    labels = [integers(6, 9, seed=step) for step in range(5)]
    for step, y in enumerate(labels):
        update_means(centers, counts, unit(9, 5, seed=step), y)
    assert torch.equal(counts, torch.bincount(torch.cat(labels), minlength=6).double())
    assert counts.sum() == 45


def test_the_first_hit_forgets_the_old_centre():
    z = normal(1, 5)
    forgotten = [
        update_means(unit(1, 5, seed=s), torch.zeros(1), z, torch.tensor([0])) for s in (1, 2)
    ]
    assert torch.equal(*forgotten)
    torch.testing.assert_close(forgotten[0], F.normalize(z, dim=1), **TIGHT)


def test_cokes_loss_at_equal_centres_is_the_mean_logarithm():
    net = trained(centers="mean", heads=[3, 9])
    net.frozen.copy_(F.normalize(torch.ones(1, net.frozen.shape[1]), dim=1))
    terms = net(views(), torch.arange(12))
    assert set(terms) == {"representation"}
    assert terms["representation"].item() == pytest.approx(np.log([3, 9]).mean(), abs=1e-5)


def test_equal_centres_of_cokes_heads():
    z = normal(3, 4)
    losses = [
        float(representation_loss(z, -z, torch.ones(k, 4).double(), torch.arange(3)))
        for k in (3000, 4000, 5000)
    ]
    assert np.mean(losses) == pytest.approx(8.2725, abs=5e-5)


def test_the_order_within_a_batch_is_of_no_account():
    """What two processes gather, rank by rank, is a batch in another order."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    constraints = [SizeConstraint(4, 0.4, 20.0) for _ in range(2)]
    counters = [EntropyConstraint(4, 64, 8.0) for _ in range(2)]
    means = [[unit(4, 5, seed=1), torch.zeros(4).double()] for _ in range(2)]
    for step in range(5):
        z = unit(16, 5, seed=step)
        for pair in (constraints, counters):
            labels = pair[0].assign(z[:, :4])
            assert torch.equal(pair[1].assign(z[order, :4]), labels[order])
        assert torch.equal(constraints[0].duals, constraints[1].duals)
        assert torch.equal(counters[0].counts, counters[1].counts)
        update_means(*means[0], z, labels)
        update_means(*means[1], z[order], labels[order])
        torch.testing.assert_close(means[0], means[1], **TIGHT)


def test_permuted_clusters_permute_the_means():
    order, z, labels = torch.tensor([2, 0, 3, 1]), unit(9, 5), integers(4, 9)
    centers, counts = unit(4, 5, seed=1), torch.tensor([3.0, 0, 1, 2]).double()
    permuted = update_means(centers[order], counts[order], z, order.argsort()[labels])
    torch.testing.assert_close(permuted, update_means(centers, counts, z, labels)[order], **TIGHT)


# -- self-labelling ---------------------------------------------------------------------------


def naive_self_labelling(logits, probabilities, threshold):
    """Mean over the clusters of the mean cross-entropy of their confident members."""
    per_cluster = {}
    for row, p in zip(logits, probabilities.tolist(), strict=True):
        if max(p) > threshold:
            y = p.index(max(p))
            loss = -torch.log(torch.exp(row[y]) / sum(torch.exp(one) for one in row))
            per_cluster.setdefault(y, []).append(loss)
    return sum(sum(losses) / len(losses) for losses in per_cluster.values()) / len(per_cluster)


def confident(b=12, k=3):
    return (12 * normal(b, k, seed=7)).softmax(1)


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.99])
def test_self_labelling_is_its_equation(threshold):
    logits, p = normal(12, 3).requires_grad_(), confident()
    assert 1 < (p.max(1)[0] > threshold).sum() < 12 or threshold == 0.5
    loss = self_labelling(logits, p, threshold)
    naive = naive_self_labelling(logits, p, threshold)
    torch.testing.assert_close(loss, naive, **TIGHT)
    torch.testing.assert_close(gradients(loss, logits), gradients(naive, logits), **TIGHT)


def test_self_labelling_is_scans_weighted_cross_entropy():
    logits, p = normal(12, 3), confident()
    sure = p.max(1)[0] > 0.99
    y = p.argmax(1)[sure]
    weight = len(y) / torch.bincount(y, minlength=3).double()
    expected = F.cross_entropy(logits[sure], y, weight=weight.nan_to_num(posinf=1))
    torch.testing.assert_close(self_labelling(logits, p), expected, **TIGHT)


def test_what_is_not_confident_teaches_nothing():
    logits = normal(2, 2).requires_grad_()
    p = torch.tensor([[0.9, 0.1], [0.01, 0.99]], dtype=torch.float64)
    loss = self_labelling(logits, p)
    assert loss == 0 and not gradients(loss, logits)[0].any()
    (slope,) = gradients(self_labelling(logits, p, 0.95), logits)
    assert not slope[0].any() and slope[1].any()


def test_self_labels_take_no_gradient():
    logits, p = normal(12, 3).requires_grad_(), confident().requires_grad_()
    assert gradients(self_labelling(logits, p, 0.5), p) == (None,)


def test_self_labelling_takes_half_precision():
    logits, p = normal(12, 3).bfloat16(), confident().bfloat16()
    loss = self_labelling(logits, p, 0.9)
    assert loss.dtype == torch.float32
    wide = self_labelling(logits.double(), p.double(), 0.9)
    torch.testing.assert_close(loss.double(), wide, rtol=1e-5, atol=1e-5)


# -- the objective ----------------------------------------------------------------------------


def objective(backbone=None, **hp):
    torch.manual_seed(0)
    scalars = SeCuClustering().get_params()
    defaults = {
        "n_clusters": 3, "embedding_dim": 6, "hidden_dim": 8, "n_samples": 40, "heads": [3, 6],
        "constraint": "size", "min_size_ratio": 0.8, "dual_lr": 0.1, "entropy_weight": 4.8,
        "label_weight": 0.2, "temperature": 0.07, "center_temperature": 0.1, "center_lr": 0.3,
        "centers": "learned", "evaluation": "head",
    }  # fmt: skip
    return SeCuObjective(
        backbone or make_backbone("identity", (9,)), SimpleNamespace(**scalars | defaults | hp)
    )


def test_evaluation_by_kmeans_takes_the_centres_of_the_embedding():
    z = F.normalize(torch.randn(40, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    net = objective(evaluation="kmeans")
    run = SimpleNamespace(features=lambda: z, generator=torch.Generator().manual_seed(0))
    net.on_train_end(run)
    labels = net.scores(z).argmax(1)
    means = torch.stack([z[labels == k].mean(0) for k in range(3)])
    torch.testing.assert_close(net.centers, F.normalize(means, dim=1))
    assert not torch.equal(net.centers, F.normalize(net.prototypes[:3], dim=1))


def test_evaluation_by_kmeans_is_the_best_of_ten_spherical_runs():
    net, z = objective(evaluation="kmeans", n_clusters=8, heads=[8, 16]), unit(300, 6).float()

    def seeded():
        return torch.Generator().manual_seed(0)

    net.on_train_end(SimpleNamespace(features=lambda: z, generator=seeded()))
    runs = (kmeans(z, 8, metric="cosine", n_init=n, generator=seeded())[0] for n in (1, 10))
    single, best = (F.normalize(centers, dim=1) for centers in runs)
    assert torch.equal(net.centers, best) and not torch.equal(best, single)


def test_a_watching_first_head_teaches_the_centres_but_not_the_encoder():
    both, index = views(), torch.arange(12)
    watching, teaching = objective(evaluation="kmeans"), objective(heads=[6], n_clusters=6)
    teaching.prototypes.data = watching.prototypes.data[3:].clone()
    for net in (watching, teaching):
        net.on_epoch_begin(SimpleNamespace(epoch=1, n_epochs=2))
        net.labels.zero_()
    terms, alone = watching(both, index), teaching(both, index)
    torch.testing.assert_close(terms["representation"], alone["representation"])
    terms["centers"].backward()
    assert watching.prototypes.grad[:3].abs().sum() > 0


def views(seed=0, b=12):
    return [normal(b, 9, seed=seed + s, dtype=torch.float32) for s in (0, 100)]


@torch.no_grad()
def start(net, epoch):
    net.on_epoch_begin(SimpleNamespace(epoch=epoch))
    return net


def trained(**hp):
    """After a first epoch over its 40 samples, in the second one."""
    net = start(objective(**hp), 0)
    for i, index in enumerate(torch.arange(40).split(10)):
        net(views(i, 10), index)
    return start(net, 1)


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_terms_are_the_means_of_the_heads(share):
    net = trained(label_weight=share)
    with torch.no_grad():  # the centres have moved since they were frozen
        net.prototypes.add_(0.3 * torch.randn(9, 6))
        for assigner in net.assigners:  # as large as the cosines are, whose scale then matters
            assigner.duals.uniform_()
    index, (first, second) = torch.randperm(40)[:12], views(5)
    old = net.labels[:, index].clone()
    duals = [a.duals.clone() for a in net.assigners]
    frozen = net.frozen.split([3, 6])
    z1, z2 = copy.deepcopy(net).encoder(torch.cat([first, second])).chunk(2)
    terms = net([first, second], index)
    mean = (F.normalize(z1, dim=1) + F.normalize(z2, dim=1)) / 2
    representation = centers = 0
    for h, w in enumerate(net.prototypes.split([3, 6])):
        scores = mean @ F.normalize(w, dim=1).T
        new = (scores + duals[h]).argmax(1)
        assert torch.equal(net.labels[h, index], new)
        representation += naive_representation(z1, z2, frozen[h], old[h], 0.07, share) / 2
        centers += naive_centers(z1, z2, w, new, 0.1) / 2
        shares = torch.bincount(new, minlength=len(w)) / 12
        moved = (duals[h] + 0.1 * (0.8 / len(w) - shares)).clamp_min(0)
        torch.testing.assert_close(net.assigners[h].duals, moved)
    assert (old != net.labels[:, index]).any()
    torch.testing.assert_close(terms["representation"], representation, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(terms["centers"], centers, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hp", [{}, {"constraint": "entropy"}, {"centers": "mean"}])
def test_the_bank_is_what_was_assigned_and_nothing_else(hp):
    net, index = trained(**hp), torch.tensor([3, 30, 7, 11])
    before, found = net.labels.clone(), []
    for assigner in net.assigners:
        assign = assigner.assign
        assigner.assign = lambda *a, assign=assign: found.append(assign(*a)) or found[-1]
    net(views(9, 4), index)
    assert torch.equal(net.labels[:, index], torch.stack(found))
    rest = torch.ones(40, dtype=torch.bool)
    rest[index] = False
    assert torch.equal(net.labels[:, rest], before[:, rest])


@pytest.mark.parametrize("constraint", ["size", "entropy"])
def test_a_step_reads_no_labels_that_it_writes(constraint):
    """Compiled code is free to read them after it has written them, and once did."""
    net, index = trained(constraint=constraint), torch.arange(12)
    other, before = copy.deepcopy(net), net.before.clone()
    other.labels.random_(3)
    terms = [each(views(5), index) for each in (net, other)]
    assert terms[0].keys() == terms[1].keys()
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in terms[0])
    assert torch.equal(net.labels[:, index], other.labels[:, index])
    assert torch.equal(net.before, before) and torch.equal(other.before, before)


def test_no_gradient_crosses_between_encoder_and_centres():
    net = trained()
    terms = net(views(), torch.arange(12))
    encoder = list(net.encoder.parameters())
    assert gradients(terms["representation"], net.prototypes) == (None,)
    assert set(gradients(terms["centers"], *encoder)) == {None}
    assert all(g.any() for g in gradients(terms["representation"], encoder[0], encoder[-1]))
    assert gradients(terms["centers"], net.prototypes)[0].any()


def test_the_first_epoch_teaches_centres_and_statistics_only():
    net, index = start(objective(), 0), torch.arange(12)
    statistics = copy.deepcopy(net.encoder.state_dict())
    z1, z2 = copy.deepcopy(net).encoder(torch.cat(views())).chunk(2)
    terms = net(views(), index)
    assert not terms["representation"].requires_grad
    parts = zip(net.frozen.split([3, 6]), net.labels[:, index], strict=True)  # new labels
    naive = sum(naive_representation(z1, z2, w, y, 0.07, 0.2) for w, y in parts) / 2
    torch.testing.assert_close(terms["representation"], naive, rtol=1e-5, atol=1e-5)
    sum(terms.values()).backward()
    assert all(p.grad is None for p in net.encoder.parameters()) and net.prototypes.grad.any()
    moved = [n for n, b in net.encoder.state_dict().items() if not torch.equal(b, statistics[n])]
    assert moved and all("running" in n or "num_batches" in n for n in moved)


def test_permuted_clusters_of_the_whole_state():
    for hp in ({}, {"constraint": "entropy"}, {"centers": "mean"}):
        plain, order = trained(heads=[3], **hp), torch.tensor([2, 0, 1])
        other = copy.deepcopy(plain)
        with torch.no_grad():
            for name in ("prototypes", "frozen", "counts"):
                getattr(other, name).copy_(getattr(plain, name)[order])
            for buffer in other.assigners[0].buffers():
                buffer.copy_(buffer[order].clone())
            for bank in ("labels", "before"):
                getattr(other, bank).copy_(order.argsort()[getattr(plain, bank)])
        terms = [net(views(), torch.arange(12)) for net in (plain, other)]
        for name in terms[0]:
            torch.testing.assert_close(terms[0][name], terms[1][name], rtol=1e-5, atol=1e-5)
        assert torch.equal(other.labels, order.argsort()[plain.labels])
        for net in (plain, other):
            net.on_train_end(None)
        torch.testing.assert_close(other.centers, plain.centers[order])


def test_swapped_views_change_nothing():
    plain = trained()
    swapped = copy.deepcopy(plain)
    a, b = views()
    terms = plain([a, b], torch.arange(12)), swapped([b, a], torch.arange(12))
    for name in ("representation", "centers"):
        torch.testing.assert_close(terms[0][name], terms[1][name], rtol=1e-5, atol=1e-5)
    assert torch.equal(plain.labels, swapped.labels)


def test_centres_of_all_heads_start_on_the_sphere():
    net = objective(embedding_dim=64, heads=[3, 30])
    torch.testing.assert_close(net.prototypes.norm(dim=1), torch.ones(33))
    assert torch.equal(net.prototypes, net.frozen)


def test_centres_are_normalised_at_use_only():
    net = trained()
    with torch.no_grad():
        net.prototypes.mul_(torch.rand(9, 1) + 0.5)
    before = net.prototypes.detach().clone()
    start(net, 2)
    assert torch.equal(net.prototypes, before)
    assert torch.equal(net.frozen, F.normalize(before, dim=1))


def test_the_centres_have_a_rate_of_their_own():
    encoder, centers = objective().param_groups()
    assert centers["fixed_lr"] == 0.3 and len(centers["params"]) == 1
    assert "fixed_lr" not in encoder and len(objective(centers="mean").param_groups()) == 1


@pytest.mark.parametrize(("evaluation", "teaching"), [("head", [0, 1]), ("kmeans", [1])])
def test_health_is_of_the_first_head_and_mixing_of_those_that_teach(evaluation, teaching):
    net, watch = trained(evaluation=evaluation), Mixing(9, len(teaching))
    net.health(None)
    net(views(), torch.arange(12))
    vitals = net.health(None)
    assert torch.equal(vitals.labels, net.labels[0]) and 0 < float(vitals.std) < 1
    watch.update((net.labels[:, :12] + torch.tensor([[0], [3]]))[teaching])
    assert vitals.mixing == watch.value()
    watch.update(net.labels[0, :12].expand(len(teaching), 12))
    assert vitals.mixing != watch.value(), "the heads should differ"


def test_a_first_head_that_only_watches_is_no_cause_for_alarm():
    X, y = load_digits_images(return_X_y=True)
    chosen = np.flatnonzero(np.isin(y, [4, 7]))[:200]
    estimator = SeCuClustering(2, max_epochs=12, heads=(2, 6, 10), random_state=1)
    watch = Rotation()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.set_params(callbacks=[watch]).fit(X[chosen])
    assert watch.distinct == {1}, "its labels should come in whole batches"
    assert not [w for w in caught if w.category is CollapseWarning]
    assert estimator.history_[-1]["mixing"] > 0.2


class Rotation(Callback):
    """How many clusters of the first head the batches of the last epoch hold."""

    def on_epoch_begin(self, net, **kwargs):
        self.distinct = set()

    def on_batch_end(self, net, batch=None, **kwargs):
        self.distinct.add(len(net.objective.labels[0, batch["index"]].unique()))


# -- running means in the objective -----------------------------------------------------------


def test_means_take_no_gradient_and_frozen_ones_hold_still():
    net = trained(centers="mean")
    frozen, before = net.frozen.clone(), net.prototypes.clone()
    for i in range(3):
        terms = net(views(i), torch.arange(12))
        terms["representation"].backward()
        assert not net.prototypes.requires_grad and net.prototypes.grad is None
    assert torch.equal(net.frozen, frozen) and not torch.equal(net.prototypes, before)
    start(net, 2)
    assert torch.equal(net.frozen, F.normalize(net.prototypes, dim=1))


def test_counts_of_an_epoch():
    net = trained(centers="mean")
    assert not net.counts.any()
    for i, index in enumerate(torch.arange(40).split(12)):
        net(views(i, len(index)), index)
        seen = net.labels[:, : int(index[-1]) + 1]
        for counts, labels in zip(net.counts.split([3, 6]), seen, strict=True):
            assert torch.equal(counts.long(), torch.bincount(labels, minlength=len(counts)))
    assert net.counts[:3].sum() == net.counts[3:].sum() == 40


def test_means_are_of_both_views_not_normalised_again():
    net, index = trained(centers="mean"), torch.arange(12)
    net.counts.fill_(2)  # the old centres count, too
    before, counts = net.prototypes.clone(), net.counts.clone()
    x = views(4)
    z1, z2 = F.normalize(copy.deepcopy(net).encoder(torch.cat(x)), dim=1).chunk(2)
    net(x, index)
    for h, part in enumerate((slice(3), slice(3, 9))):
        labels = net.labels[h, index]
        expected, _ = naive_means(before[part], counts[part], ((z1 + z2) / 2).detach(), labels)
        torch.testing.assert_close(net.prototypes[part], expected, rtol=0, atol=1e-5)


# -- the collapse that satisfies the constraint ------------------------------------------------


@pytest.mark.parametrize("ratio", [0.9, 1.0])
def test_constant_features_rotate_whole_batches_through_the_clusters(ratio):
    constraint, watch, sizes = SizeConstraint(10, ratio, 0.1), Mixing(10), torch.zeros(10)
    scores = (unit(1, 128) @ unit(10, 128, seed=1).T).expand(50_000, 10)
    for _ in range(3):
        sizes.zero_()
        for batch in scores.split(128):
            labels = constraint.assign(batch)
            assert len(labels.unique()) == 1
            watch.update(labels)
            sizes += torch.bincount(labels, minlength=10)
    assert set((sizes % 128).tolist()) <= {0, 80}
    assert sizes.min() >= ratio * 5000 - 128  # the sizes alone look well
    assert float(watch.value()) == 0


def epochs_of(net, n_epochs, sample):
    """CollapseWarnings of training by hand, without optimizer steps, on 120 samples."""
    health = Health(3, 6)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch in range(n_epochs):
            start(net, epoch)
            order = torch.randperm(120, generator=torch.Generator().manual_seed(epoch))
            for index in order.split(10):
                x = sample(index)
                net([x, x + 0.01], index)
            figures = health.record(net.health(None), True)
    return figures, [str(w.message) for w in caught if w.category is CollapseWarning]


@pytest.mark.parametrize("epochs", [2, 3, 8])
def test_constant_features_are_told_after_three_epochs(epochs):
    net = objective(n_samples=120, hidden_dim=None, dual_lr=2.0)
    figures, told = epochs_of(net, epochs, lambda index: torch.ones(len(index), 9))
    assert figures["size_entropy"] > 0.9 and figures["mixing"] < 0.05
    assert sum("Whole batches" in text for text in told) == (epochs >= 3)


def test_features_that_differ_are_mixed_and_silent():
    net, x = objective(n_samples=120, hidden_dim=None), normal(120, 9, dtype=torch.float32)
    figures, told = epochs_of(net, 8, lambda index: x[index])
    assert figures["mixing"] > 0.9 and not told


class Constant(nn.Module):
    """The same features whatever the image."""

    num_features = 4

    def __init__(self):
        super().__init__()
        self.features = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.features.expand(len(x), 4)


def test_an_estimator_tells_of_whole_batches():
    X, _ = make_image_blobs(640, random_state=0)
    # Without a batch norm, which would blow up rounding errors.
    estimator = SeCuClustering(
        5, backbone=Constant(), hidden_dim=None, max_epochs=12, heads=(5,), dual_lr=0.3,
        augment=None, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X)
    assert any("Whole batches" in str(w.message) for w in caught)
    assert estimator.history_[-1]["mixing"] == pytest.approx(0, abs=0.05)


# -- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blobs():
    return make_image_blobs(50, random_state=0)[0]


def quick(**params):
    defaults = {
        "max_epochs": 3, "batch_size": 16, "embedding_dim": 8, "hidden_dim": 16, "heads": (3, 6),
        "warmup_epochs": 0, "random_state": 0,
    }  # fmt: skip
    return SeCuClustering(3, **defaults | params)


class Watch(Callback):
    """Checks what holds of every epoch and every batch."""

    def on_train_begin(self, net, **kwargs):
        self.encoder = copy.deepcopy(net.objective.encoder.state_dict())
        self.prototypes = net.objective.prototypes.detach().clone()
        self.epochs = self.batches = 0
        self.distinct = []

    def on_epoch_begin(self, net, **kwargs):
        secu = net.objective
        self.frozen, self.seen = secu.frozen.clone(), 0
        assert torch.equal(self.frozen, F.normalize(secu.prototypes, dim=1))
        self.distinct.append([])

    def on_batch_end(self, net, batch=None, **kwargs):
        secu, index = net.objective, batch["index"]
        self.batches += 1
        self.seen += len(index)
        assert torch.equal(secu.frozen, self.frozen)
        self.distinct[-1].append(len(secu.labels[0, index].unique()))
        if secu.hp.centers == "mean":
            assert {int(c.sum()) for c in secu.counts.split(secu.hp.heads)} == {self.seen}
        if secu.hp.constraint == "entropy" and self.epochs:
            for assigner, labels in zip(secu.assigners, secu.labels, strict=True):
                counts = torch.bincount(labels, minlength=len(assigner.counts))
                assert torch.equal(assigner.counts.long(), counts)

    def on_epoch_end(self, net, **kwargs):
        secu, n = net.objective, net.objective.hp.n_samples
        self.epochs += 1
        changed = [
            k for k, v in secu.encoder.state_dict().items() if not torch.equal(v, self.encoder[k])
        ]
        statistics = [k for k in changed if "running" in k or "num_batches" in k]
        assert statistics and (changed == statistics) is (self.epochs == 1)
        assert not torch.equal(secu.prototypes, self.prototypes)
        assert self.seen == n
        if secu.hp.constraint == "entropy":
            for assigner, labels in zip(secu.assigners, secu.labels, strict=True):
                counts = torch.bincount(labels, minlength=len(assigner.counts))
                assert torch.equal(assigner.counts.long(), counts)
                assert assigner.counts.sum() == n


VARIANTS = [
    {},
    {"constraint": "entropy"},
    {"centers": "mean"},
    {"centers": "mean", "constraint": "entropy"},
    {"optimizer": "sgd", "schedule": "delayed-cosine"},
    {"min_size_ratio": 1.0},
]


@pytest.mark.parametrize("params", VARIANTS, ids=str)
def test_training_epoch_by_epoch(blobs, params):
    watch = Watch()
    estimator = quick(callbacks=[watch], **params).fit(blobs)
    assert watch.epochs == 3 and watch.batches > 3
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs))
    rows = estimator.history_
    assert all("representation" in row for row in rows)
    assert all(math.isfinite(row["mixing"]) for row in rows)


def test_the_centres_keep_their_rate_whatever_the_schedule(blobs):
    class Rates(Callback):
        def on_train_begin(self, net, **kwargs):
            self.rates = []

        def on_batch_end(self, net, **kwargs):
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])

    rates = Rates()
    quick(callbacks=[rates], center_lr=0.07, lr=0.2).fit(blobs)
    assert {c for _, c in rates.rates} == {0.07} and len({e for e, _ in rates.rates}) > 3


def test_prediction_is_the_nearest_centre_of_the_first_head(blobs):
    estimator = quick(evaluation="head").fit(blobs)
    z, centers = estimator.transform(blobs).astype(float), estimator.cluster_centers_.astype(float)
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(estimator.labels_, (z @ centers.T).argmax(1))
    expected = np.exp(z @ centers.T / 0.1)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(estimator.predict_proba(blobs), expected, rtol=0, atol=1e-5)
    heads = F.normalize(estimator.net_.objective.prototypes.detach(), dim=1)[:3].numpy()
    matched = [np.abs(heads - c).max(1).min() for c in centers]
    assert max(matched) < 1e-6


def test_prediction_knows_no_duals(blobs):
    estimator = quick().fit(blobs)
    for assigner in estimator.net_.objective.assigners:
        assigner.duals.copy_(torch.tensor([9.0, *[0] * (len(assigner.duals) - 1)]))
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs))


@pytest.mark.parametrize("centers", ["learned", "mean"])
@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_other_precisions_train(blobs, precision, centers):
    estimator = quick(precision=precision, centers=centers).fit(blobs)
    assert all(math.isfinite(row["loss"]) for row in estimator.history_)


@pytest.mark.parametrize("params", VARIANTS[:3], ids=str)
def test_self_labelling_continues_the_training(blobs, params):
    plain = quick(**params).fit(blobs)
    estimator = quick(self_label_epochs=2, **params).fit(blobs)
    rows = estimator.history_
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5] and estimator.n_iter_ == 5
    assert ["self_labelling" in row for row in rows] == [False] * 3 + [True] * 2
    for row, before in zip(rows, plain.history_, strict=False):
        assert row["loss"] == before["loss"]
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs))
    assert estimator.get_params() == quick(self_label_epochs=2, **params).get_params()
    assert isinstance(estimator.net_.objective, SelfLabelling)


def test_all_of_a_stage_is_in_train_mode(blobs):
    """Also the encoder, which the stage before has left in eval mode."""

    class Look(Callback):
        def on_batch_begin(self, net, **kwargs):
            modes.append({part.training for part in net.module_.modules()})

    modes = []
    quick(self_label_epochs=1, max_epochs=1, callbacks=[Look()]).fit(blobs)
    assert modes[1:] and all(mode == {True} for mode in modes[1:])


def test_an_interrupted_training_is_told_of_all_epochs(blobs):
    class Interrupt(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted after 1 of 5 epochs"):
        quick(max_epochs=3, self_label_epochs=2, callbacks=[Interrupt()]).fit(blobs)


def test_self_labelling_that_teaches_nothing_is_warned_of(blobs):
    with pytest.warns(ConvergenceWarning, match="self_label_epochs: no prediction .* above 0.99"):
        vague = quick(self_label_epochs=2).fit(blobs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        sure = quick(self_label_epochs=2, max_epochs=20, temperature=0.01).fit(blobs)
    for estimator, taught in ((vague, False), (sure, True)):
        assert [row["self_labelling"] > 0 for row in estimator.history_[-2:]] == [taught] * 2


class Stages(Callback):
    """What each stage trains with."""

    def __init__(self):
        self.found = []

    def on_train_begin(self, net, **kwargs):
        views = [type(view) for view in net.module_.views.augmentations]
        self.found.append(SimpleNamespace(views=views, optimizer=net.optimizer_, rates=set()))

    def on_batch_end(self, net, **kwargs):
        self.found[-1].rates |= {group["lr"] for group in net.optimizer_.param_groups}


def test_1_8_self_labelling_has_the_plain_and_the_second_view_and_scans_rate(blobs):
    stages, views = Stages(), (RandomHorizontalFlip(), RandomSolarize(0.5))
    given = {"optimizer": "sgd", "lr": 0.05, "weight_decay": 0.02, "warmup_epochs": 2}
    quick(self_label_epochs=3, augment=views, callbacks=[stages], **given).fit(blobs)
    training, labelling = stages.found
    assert training.views == [RandomHorizontalFlip, RandomSolarize]
    assert labelling.views == [nn.Identity, RandomSolarize]
    assert type(labelling.optimizer) is torch.optim.AdamW
    assert labelling.rates == {1e-4}
    assert {group["weight_decay"] for group in labelling.optimizer.param_groups} == {0.02}


def test_self_labelling_learns_on_from_encoder_and_centres():
    net = trained()
    net.on_train_end(None)
    stage = SelfLabelling(net)
    assert stage.encoder is net.encoder
    torch.testing.assert_close(stage.prototypes.detach(), net.centers)
    assert {id(p) for p in stage.encoder.parameters()} | {id(stage.prototypes)} == {
        id(p) for group in stage.param_groups() for p in group["params"]
    }


def test_self_labels_are_certain_in_full_precision():
    """Half of it would move the logits, divided by 0.05, by the width of the threshold."""
    stage = SelfLabelling(trained())
    z = F.normalize(normal(50, stage.prototypes.shape[1]).float(), dim=1)
    exact = stage._logits(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(stage._logits(z), exact)


def test_self_labelling_in_half_precision_trains_all_of_the_encoder():
    """Whatever autocast keeps of the view without gradient."""
    net = trained()
    net.on_train_end(None)
    stage, index = SelfLabelling(net), torch.arange(20)
    with torch.no_grad():  # some are certain
        stage.prototypes.copy_(stage.encoder(views(b=20)[0])[: len(stage.prototypes)])
    with torch.autocast("cpu", torch.bfloat16):
        loss = stage(views(b=20), index)["self_labelling"]
    for gradient in gradients(loss, *stage.encoder.parameters(), stage.prototypes):
        assert gradient is not None and gradient.any()


def test_self_labelling_teaches_the_augmented_view_what_the_plain_one_shows():
    net = trained(hidden_dim=None)
    net.on_train_end(None)
    stage, (plain, augmented) = SelfLabelling(net), views(b=20)

    def logits(x):
        z = F.normalize(stage.encoder(x), dim=1)
        return z @ F.normalize(stage.prototypes, dim=1).T / 0.07

    p = logits(plain).softmax(1).detach()
    assert 0 < (p.max(1)[0] > 0.99).sum() < 20
    loss = stage([plain, augmented], torch.arange(20) * 2)["self_labelling"]
    naive = naive_self_labelling(logits(augmented), p, 0.99)
    torch.testing.assert_close(loss, naive, rtol=1e-5, atol=1e-5)
    for a, b in zip(
        gradients(loss, *stage.encoder.parameters(), stage.prototypes),
        gradients(naive, *stage.encoder.parameters(), stage.prototypes),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert torch.equal(stage.labels[::2], p.argmax(1)) and not stage.labels[1::2].any()
    assert torch.equal(stage.health(None).labels, stage.labels)


# -- heads and bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "heads"),
    [
        (10, 1000, range(10, 101, 10)),
        (10, 50_000, range(10, 101, 10)),
        (10, 999, range(10, 91, 10)),
        (10, 300, (10, 20, 30)),
        (10, 299, (10, 20)),
        (10, 100, (10,)),
        (10, 10, (10,)),
        (3, 60, (3, 6)),
        (1, 25, (1, 2)),
    ],
)
def test_heads_grow_while_clusters_hold_ten_samples(k, n, heads):
    found = SeCuClustering(k)._heads(n)
    assert found == list(heads)
    naive = [k * t for t in range(1, 11) if t == 1 or n // (k * t) >= 10]
    assert found == naive


@pytest.mark.parametrize("heads", [(3,), (3, 3), (3, 50, 4), [3, np.int64(7)]])
def test_heads_can_be_given(blobs, heads):
    net = quick(heads=heads, max_epochs=1).fit(blobs).net_.objective
    assert net.prototypes.shape == (sum(heads), 8) and net.labels.shape == (len(heads), 50)


@pytest.mark.parametrize("heads", [(), (6, 3), (6,), (3, 2), (3, 51), (3, 6.5), (3, "6"), (3, 0)])
def test_useless_heads_are_refused(blobs, heads):
    with pytest.raises(ValueError, match="heads"):
        quick(heads=heads).fit(blobs)


def test_fewer_samples_than_clusters_are_refused(blobs):
    with pytest.raises(ValueError, match="n_clusters"):
        SeCuClustering(60).fit(blobs)


@pytest.mark.parametrize(
    "bad",
    [
        {"min_size_ratio": 0},
        {"min_size_ratio": -0.1},
        {"min_size_ratio": 1.01},
        {"label_weight": -0.1},
        {"label_weight": 1.1},
        {"constraint": "sizes"},
        {"centers": "means"},
        {"dual_lr": -1},
        {"entropy_weight": -1},
        {"temperature": 0},
        {"center_temperature": 0},
        {"center_lr": -1},
        {"self_label_epochs": -1},
        {"heads": 6},
    ],
    ids=str,
)
def test_useless_parameters_are_refused(blobs, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        quick(**bad).fit(blobs)


def test_the_entropy_weight_follows_the_number_of_samples(blobs):
    weights = [
        quick(constraint="entropy", max_epochs=1, **given).fit(blobs).net_.objective.assigners[1]
        for given in ({}, {"entropy_weight": 2.5})
    ]
    assert [w.weight for w in weights] == [pytest.approx(0.12 * 50), 2.5]


# -- real images ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("wide")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("evaluation", ["kmeans", pytest.param("head", marks=pytest.mark.slow)])
def test_digits_do_not_collapse(evaluation):
    """Seven epochs of training after the one with a frozen encoder."""
    X, y = load_digits_images(return_X_y=True)
    watch, how = Watch(), {"evaluation": evaluation, "random_state": 0}
    estimator = SeCuClustering(10, max_epochs=8, callbacks=[watch], **how).fit(X)
    assert clustering_accuracy(y, estimator.labels_) >= 0.55
    assert np.mean(watch.distinct[-1]) >= 8
    # 0.02 is for 128 dimensions; on the sphere it goes as 1 / sqrt(dim), and there are 64.
    assert estimator.transform(X).std(0).mean() > 0.02 * (128 / 64) ** 0.5
