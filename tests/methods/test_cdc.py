"""CDC's equation against a naive transcription, its invariants, and what training keeps of them."""

import copy
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback, EarlyStopping

from skdeepclust import CDCClustering
from skdeepclust.backbones import make_backbone
from skdeepclust.datasets import load_digits_images, make_image_blobs
from skdeepclust.methods import cdc
from skdeepclust.methods.cdc import CDCObjective, disentangled_contrast
from skdeepclust.metrics import clustering_accuracy
from skdeepclust.ops.partition import linear_partition
from skdeepclust.ops.sinkhorn import balance, sinkhorn

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

TIGHT = {"rtol": 0, "atol": 1e-10}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gradients(loss, *tensors):
    return torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)


def case(b=4, m=6, k=3, d=5):
    c, c_key = normal(b, k).softmax(1), (3 * normal(m, k, seed=1)).softmax(1)
    n, n_key = 2 * normal(b, d, seed=2), 3 * normal(m, d, seed=3)
    return [t.detach().requires_grad_() for t in (c, n, c_key, n_key)]


# -- the equation, one loop per index ---------------------------------------------------------


def cosine(a, b):
    return torch.dot(a, b) / a.square().sum().sqrt() / b.square().sum().sqrt()


def naive(c, n, c_key, n_key, tau=1.0, kappa=1.0):
    c_key, n_key, total = c_key.detach(), n_key.detach(), 0
    for i in range(len(c)):
        exponentials = [
            torch.exp((kappa * torch.dot(c[i], c_key[j]) + cosine(n[i], n_key[j])) / tau)
            for j in range(len(c_key))
        ]
        total = total - torch.log(exponentials[i] / sum(exponentials))
    return total / len(c)


def naive_infonce(n, n_key, tau, weights=None):
    """InfoNCE of cosines, each term with a weight."""
    total = 0
    for i in range(len(n)):
        exponentials = [torch.exp(cosine(n[i], other) / tau) for other in n_key.detach()]
        if weights is not None:
            exponentials = [w * e for w, e in zip(weights[i], exponentials, strict=True)]
        total = total - torch.log(exponentials[i] / sum(exponentials))
    return total / len(n)


@pytest.mark.parametrize("kappa", [1.0, 2.5])
@pytest.mark.parametrize("tau", [1.0, 0.2])
@pytest.mark.parametrize("keys", [4, 7])
def test_the_contrast_is_its_equation(keys, tau, kappa):
    c, n, c_key, n_key = case(m=keys)
    loss = disentangled_contrast(c, n, c_key, n_key, tau, kappa)
    expected = naive(c, n, c_key, n_key, tau, kappa)
    torch.testing.assert_close(loss, expected, **TIGHT)
    for a, b in zip(gradients(loss, c, n), gradients(expected, c, n), strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


def test_fewer_keys_than_queries_are_refused():
    c, n, c_key, n_key = case()
    with pytest.raises(ValueError, match="c_key has 3 rows for 4 queries"):
        disentangled_contrast(c, n, c_key[:3], n_key[:3])


def test_gradients_are_exact():
    c, n, c_key, n_key = case()

    def loss(c, n):
        return disentangled_contrast(c, n, c_key, n_key, 0.7, 1.3)

    assert torch.autograd.gradcheck(loss, (c, n))


def test_defaults_are_one():
    args = case()
    assert torch.equal(disentangled_contrast(*args), disentangled_contrast(*args, 1.0, 1.0))


def test_the_instance_part_comes_unnormalised_and_the_category_part_as_given():
    c, n, c_key, n_key = case()
    loss = disentangled_contrast(c, n, c_key, n_key)
    rows = torch.rand(4, 1).double().add(0.1)
    torch.testing.assert_close(disentangled_contrast(c, rows * n, c_key, 3 * n_key), loss, **TIGHT)
    assert abs(float((disentangled_contrast(2 * c, n, c_key, n_key) - loss).detach())) > 1e-3


def test_arguments_are_left_alone():
    args = case()
    before = [t.detach().clone() for t in args]
    disentangled_contrast(*args).backward()
    assert all(torch.equal(a, b) for a, b in zip(args, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_short_types_are_computed_in_float32(dtype):
    short = [t.detach().to(dtype) for t in case()]
    loss = disentangled_contrast(*short, 0.5)
    assert loss.dtype == torch.float32
    wide = disentangled_contrast(*(t.double() for t in short), 0.5)
    torch.testing.assert_close(loss.double(), wide, rtol=1e-5, atol=1e-5)


def test_small_temperatures_do_not_overflow():
    assert disentangled_contrast(*(t.float() for t in case()), 1e-3).isfinite()


# -- what follows from the equation -----------------------------------------------------------


@pytest.mark.parametrize("keys", [4, 9])
def test_equal_similarities_leave_the_logarithm_of_the_keys(keys):
    c, n, c_key, n_key = case(m=keys)
    n_key = n_key[:1].expand(keys, -1)
    c_key = torch.full((keys, 3), 1 / 3).double()
    loss = disentangled_contrast(c, n, c_key, n_key, 0.3)
    assert float(loss.detach()) == pytest.approx(math.log(keys), abs=1e-12)


@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_constant_categories_leave_plain_infonce(tau):
    _, n, _, n_key = case()
    expected = naive_infonce(n, n_key, tau)
    single = torch.ones(4, 1).double(), torch.ones(6, 1).double()
    constant = normal(1, 3).softmax(1).expand(4, 3), normal(1, 3, seed=1).softmax(1).expand(6, 3)
    for c, c_key in (single, constant):
        loss = disentangled_contrast(c, n, c_key, n_key, tau)
        torch.testing.assert_close(loss, expected, **TIGHT)
        torch.testing.assert_close(gradients(loss, n), gradients(expected, n), **TIGHT)


def balanced(k, m):
    return torch.eye(k, dtype=torch.float64).repeat(m // k, 1)


@pytest.mark.parametrize("tau", [1.0, 0.2, 0.05])
@pytest.mark.parametrize(("k", "m"), [(10, 200), (3, 12), (5, 5)])
def test_perfect_categories_alone(k, m, tau):
    c, n = balanced(k, m), torch.ones(m, 4).double()
    loss = float(disentangled_contrast(c, n, c, n, tau))
    expected = math.log(m / k + (m - m / k) * math.exp(-1 / tau))
    assert loss == pytest.approx(expected, abs=1e-10)
    assert loss > math.log(m / k)


def test_no_categories_fall_below_the_bound_of_equal_sizes():
    key, n = balanced(4, 20), torch.ones(20, 4).double()
    for seed in range(20):
        c = (5 * normal(20, 4, seed=seed)).softmax(1)
        assert float(disentangled_contrast(c, n, key, n, 0.1)) > math.log(5)


def test_the_sum_of_similarities_is_that_of_the_concatenation():
    c, n, c_key, n_key = (t.detach() for t in case())
    query = torch.cat([c, F.normalize(n, dim=1)], 1)
    key = torch.cat([c_key, F.normalize(n_key, dim=1)], 1)
    expected = F.cross_entropy(query @ key.T / 0.5, torch.arange(4))
    torch.testing.assert_close(disentangled_contrast(c, n, c_key, n_key, 0.5), expected, **TIGHT)


@pytest.mark.parametrize("kappa", [1.0, 2.5])
def test_categories_weigh_the_negatives(kappa):
    c, n, c_key, n_key = case()
    omega = [[torch.exp(kappa * torch.dot(a, b) / 0.5) for b in c_key.detach()] for a in c]
    expected = naive_infonce(n, n_key, 0.5, omega)
    loss = disentangled_contrast(c, n, c_key, n_key, 0.5, kappa)
    torch.testing.assert_close(loss, expected, **TIGHT)


def test_nothing_flows_through_the_keys():
    c, n, c_key, n_key = case()
    loss = disentangled_contrast(c, n, c_key, n_key)
    assert gradients(loss, c_key, n_key) == (None, None)
    assert all(g.abs().max() > 1e-3 for g in gradients(loss, c, n))


def test_closed_gradients():
    c, n, c_key, n_key = case()
    tau, v = 0.5, F.normalize(n.detach(), dim=1)
    keys = F.normalize(n_key.detach(), dim=1)
    p = ((c.detach() @ c_key.detach().T + v @ keys.T) / tau).softmax(1)
    along_c, along_n = gradients(disentangled_contrast(c, n, c_key, n_key, tau), c, n)
    expected_c = (p @ c_key.detach() - c_key.detach()[:4]) / (4 * tau)
    slope = (p @ keys - keys[:4]) / (4 * tau)
    expected_n = (slope - (slope * v).sum(1, keepdim=True) * v) / n.detach().norm(dim=1)[:, None]
    torch.testing.assert_close(along_c, expected_c, rtol=0, atol=1e-14)
    torch.testing.assert_close(along_n, expected_n, rtol=0, atol=1e-14)
    assert ((along_n * n.detach()).sum(1).abs() < 1e-14).all()


@pytest.mark.parametrize(("tau", "ratio"), [(0.2, 148.4), (0.1, 22026), (0.5, 7.4)])
def test_how_much_more_the_negatives_of_the_same_cluster_weigh(tau, ratio):
    """Queries orthogonal to orthonormal keys: the gradient's coordinates are P."""
    m, k = 8, 2
    n = torch.eye(m + 1, dtype=torch.float64)[-1:].repeat(m, 1).requires_grad_()
    keys = torch.eye(m + 1, dtype=torch.float64)[:m]
    c = balanced(k, m)
    (slope,) = gradients(disentangled_contrast(c, n, c, keys, tau), n)
    p = m * tau * slope[:, :m] + torch.eye(m).double()
    torch.testing.assert_close(p.sum(1), torch.ones(m).double(), **TIGHT)
    assert float(p[0, 2] / p[0, 1]) == pytest.approx(ratio, rel=5e-3 if tau == 0.5 else 4e-4)
    assert float(p[0, 2] / p[0, 1]) == pytest.approx(math.exp(1 / tau), rel=1e-9)


# -- the objective ----------------------------------------------------------------------------


def objective(**hp):
    torch.manual_seed(0)
    scalars = CDCClustering().get_params()
    defaults = {
        "n_clusters": 3, "embedding_dim": 6, "hidden_dim": 8, "n_samples": 40, "instance_dim": 5,
        "temperature": 0.8, "assignment_temperature": 0.2, "category_scale": 1.5,
        "sinkhorn_epsilon": 0.1, "sinkhorn_iterations": 7, "queue_size": 0, "early_heads": (),
    }  # fmt: skip
    return CDCObjective(make_backbone("identity", (9,)), SimpleNamespace(**scalars | defaults | hp))


def views(seed=0, b=12):
    return [normal(b, 9, seed=seed + s, dtype=torch.float32) for s in (0, 100)]


def by_hand(net, x):
    """s of the first head that trains and n, of two views, from a copy; and the copy."""
    net = copy.deepcopy(net)
    z = F.normalize(net.encoder(torch.cat(x)), dim=1)
    head = net.early[0] if net.is_early else net.category
    return F.normalize(head(z), dim=1).chunk(2), net.instance(z).chunk(2), net


def naive_term(s, n, temperature=0.8):
    """Mean of both directions, of `objective`'s parameters."""
    (s1, s2), (n1, n2) = s, n
    q1, q2 = (sinkhorn(view.detach(), 0.1, 7) for view in s)
    first = naive((s1 / 0.2).softmax(1), n1, q2, n2, temperature, 1.5)
    return (first + naive((s2 / 0.2).softmax(1), n2, q1, n1, temperature, 1.5)) / 2


def assert_same_gradients(loss, net, expected, other):
    ours, theirs = gradients(loss, *net.parameters()), gradients(expected, *other.parameters())
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_term_is_the_mean_of_both_directions():
    net, x = objective(), views()
    s, n, other = by_hand(net, x)
    loss, expected = net(x, torch.arange(12))["contrast"], naive_term(s, n)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    # The naive form detaches the codes and keys.
    assert all(g is not None for g in gradients(loss, *net.parameters()))
    assert_same_gradients(loss, net, expected, other)


def test_z_c_is_a_linear_function_of_the_unit_embedding():
    net, x = objective(), views()
    assert isinstance(net.category, torch.nn.Linear)
    z = F.normalize(net.embed(torch.cat(x)), dim=1)
    expected = F.normalize(z @ net.category.weight.T + net.category.bias, dim=1)
    torch.testing.assert_close(net.scores(z), expected)
    torch.testing.assert_close(torch.cat(by_hand(net, x)[0]), expected)


def test_the_loss_is_symmetric_in_the_views():
    a, b = views()
    losses = [objective()(x, torch.arange(12))["contrast"] for x in ([a, b], [b, a])]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)


def test_one_cluster_is_plain_instance_discrimination():
    net, x = objective(n_clusters=1), views()
    _, (n1, n2), _ = by_hand(net, x)
    loss = net(x, torch.arange(12))["contrast"]
    expected = (naive_infonce(n1, n2, 0.8) + naive_infonce(n2, n1, 0.8)) / 2
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_labels_are_the_largest_entries_of_the_first_view():
    net, x, index = objective(), views(), torch.arange(12) * 3
    (s1, _), _, _ = by_hand(net, x)
    net(x, index)
    vitals = net.health(None)
    assert torch.equal(vitals.labels[index], s1.argmax(1)) and vitals.mixing is None
    rest = torch.ones(40, dtype=torch.bool)
    rest[index] = False
    assert not vitals.labels[rest].any() and len(vitals.labels[index].unique()) > 1


def queue_of(net, sizes):
    """First views' s of each batch in order, and the queue's length after each."""
    given, lengths, start = [], [], 0
    for step, b in enumerate(sizes):
        x = views(step, b)
        given.append(by_hand(net, x)[0][0].detach())
        net(x, torch.arange(start, start + b) % 40)
        with torch.no_grad():
            net.on_step_end(None)
        lengths.append(len(net.queue))
        start += b
    return given, lengths


@pytest.mark.parametrize("size", [5, 12, 20, 30])
def test_a_queue_holds_the_latest_samples_first_in_first_out(size):
    net = objective(queue_size=size)
    given, lengths = queue_of(net, [8] * 5)
    assert lengths == [min(size, 8 * t) for t in range(1, 6)]
    newest_first = torch.cat(given[::-1])[:size]
    torch.testing.assert_close(net.queue, newest_first, rtol=1e-5, atol=1e-6)
    assert not net.queue.requires_grad


def test_a_full_queue_stays_in_its_place():
    """Compiled steps read there."""
    net = objective(queue_size=20)
    queue_of(net, [8] * 3)
    before = net.queue
    queue_of(net, [8])
    assert net.queue is before and len(before) == 20


def test_an_automatic_queue_holds_four_samples_per_cluster():
    net = objective(queue_size=None, n_clusters=5)
    given, lengths = queue_of(net, [8] * 4)
    assert lengths == [8, 16, 20, 20]
    newest_first = torch.cat(given[::-1])[:20]
    torch.testing.assert_close(net.queue, newest_first, rtol=1e-5, atol=1e-6)
    assert queue_of(objective(queue_size=None, n_clusters=2), [16, 8])[1] == [8, 8]
    assert queue_of(objective(queue_size=0, n_clusters=5), [8] * 3)[1] == [0, 0, 0]


@pytest.mark.parametrize(
    ("size", "batches", "expected"),
    [
        # None: 4 K = 12 samples together, as soon as so many have been there.
        (None, [16, 16, 5, 16], [16, 16, 12, 16]),
        (None, [16, 5, 5, 5, 16], [16, 12, 12, 12, 16]),
        (None, [12, 11, 1], [12, 12, 12]),
        (None, [5, 5, 5, 5], [5, 10, 12, 12]),
        # The whole queue in any case.
        (20, [16, 16, 5, 16], [16, 32, 25, 36]),
        (0, [16, 5, 16], [16, 5, 16]),
    ],
    ids=str,
)
def test_company_of_a_batch(monkeypatch, size, batches, expected):
    """Samples that Sinkhorn's algorithm sees, for either view."""
    seen = []
    monkeypatch.setattr(cdc, "balance", lambda s, *a: seen.append(len(s)) or balance(s, *a))
    queue_of(objective(queue_size=size), batches)
    assert seen[::2] == seen[1::2] == expected


@pytest.mark.parametrize("size", [None, 20])
def test_the_company_is_the_latest(monkeypatch, size):
    """Also after a small batch, which leaves as much as a full one does."""
    net, seen = objective(queue_size=size), []
    given, _ = queue_of(net, [16, 5])
    monkeypatch.setattr(cdc, "balance", lambda s, *a: seen.append(s) or balance(s, *a))
    net(views(9, 4), torch.arange(4))
    for s in seen:
        latest = torch.cat(given[::-1])[: 8 if size is None else size]
        torch.testing.assert_close(s[4:], latest, rtol=1e-5, atol=1e-6)


def test_codes_are_balanced_in_the_company_of_the_queue():
    net = objective(queue_size=20, sinkhorn_iterations=100)
    queue_of(net, [8] * 4)
    queue, x = net.queue.clone(), views(50, 8)
    (s1, s2), (n1, n2), _ = by_hand(net, x)
    loss = net(x, torch.arange(8))["contrast"]
    q1, q2 = (sinkhorn(torch.cat([s.detach(), queue]), 0.1, 100)[:8] for s in (s1, s2))
    p1, p2 = ((s / 0.2).softmax(1) for s in (s1, s2))
    expected = (naive(p1, n1, q2, n2, 0.8, 1.5) + naive(p2, n2, q1, n1, 0.8, 1.5)) / 2
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_reordered_clusters_are_predicted_as_such():
    net, x, order = objective().eval(), views()[0], torch.tensor([2, 0, 1])
    z = F.normalize(net.embed(x), dim=1)
    net.on_train_end(SimpleNamespace(features=lambda: z))
    scores, centers = net.scores(z), net.centers.clone()
    net.reorder(order)
    torch.testing.assert_close(net.scores(z), scores[:, order])
    assert torch.equal(net.centers, centers[order])
    means = torch.stack([z[net.scores(z).argmax(1) == j].sum(0) for j in range(3)])
    torch.testing.assert_close(net.centers, F.normalize(means, dim=1), rtol=1e-5, atol=1e-6)


def test_categories_have_unit_norm():
    scores = objective().eval().scores(normal(7, 6, dtype=torch.float32))
    torch.testing.assert_close(scores.norm(dim=1), torch.ones(7))


# -- early heads ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "heads"),
    [
        (10, 60_000, [30, 50, 80]),
        (10, 800, [30, 50, 80]),
        (10, 799, [30, 50]),
        (10, 499, [30]),
        (10, 300, [30]),
        (10, 299, [30]),
        (10, 30, [30]),
        (10, 29, []),
        (10, 10, []),
        (1, 79, [3, 5]),
        (1, 3, [3]),
        (1, 2, []),
    ],
)
def test_early_heads_have_ten_samples_per_cluster(k, n, heads):
    assert CDCClustering(k)._early_heads(n) == heads
    assert heads == [k * t for t in (3, 5, 8) if n // (k * t) >= 10 or (t == 3 and n >= 3 * k)]


@pytest.mark.parametrize("heads", [(), (3,), [60], (7, 4, 7), [4, np.int64(9)]], ids=str)
def test_early_heads_can_be_given(blobs, heads):
    net = quick(early_heads=heads, max_epochs=2).fit(blobs).net_.objective
    assert [head.out_features for head in net.early] == list(heads)


@pytest.mark.parametrize("heads", [(2,), (61,), (6, 0), (6.5,), ("6",), (None,), 6], ids=str)
def test_useless_early_heads_are_refused(blobs, heads):
    with pytest.raises(ValueError, match="early_heads"):
        quick(early_heads=heads).fit(blobs)


def a_run(epoch, n_epochs, z=None):
    generator = torch.Generator().manual_seed(0)
    return SimpleNamespace(epoch=epoch, n_epochs=n_epochs, features=lambda: z, generator=generator)


def early(*heads, **hp):
    """Objective in the first of two epochs."""
    net = objective(early_heads=heads, **hp)
    net.on_epoch_begin(a_run(0, 2))
    assert net.is_early
    return net


def test_early_heads_share_the_loss_at_half_the_temperature():
    net, x = early(7, 4, 9), views()
    _, n, other = by_hand(net, x)
    z = F.normalize(other.encoder(torch.cat(x)), dim=1)
    terms = [naive_term(F.normalize(head(z), dim=1).chunk(2), n, 0.4) for head in other.early]
    loss, expected = net(x, torch.arange(12))["contrast"], sum(terms) / 3
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert_same_gradients(loss, net, expected, other)


def test_only_the_heads_of_the_phase_have_gradients():
    net, x = early(4, 6), views()
    first, second = list(net.early.parameters()), list(net.category.parameters())
    for late in (False, True):
        net.is_early = not late
        loss = net(x, torch.arange(12))["contrast"]
        mine, others = (second, first) if late else (first, second)
        assert all(g.abs().sum() > 0 for g in gradients(loss, *mine))
        assert gradients(loss, *others) == (None,) * len(others)
        assert all(g is not None for g in gradients(loss, *net.encoder.parameters()))


@pytest.mark.parametrize("size", [None, 20])
def test_early_batches_have_no_company_and_leave_none(monkeypatch, size):
    net, seen = early(5, 8, queue_size=size), []
    monkeypatch.setattr(cdc, "balance", lambda s, *a: seen.append(s.shape) or balance(s, *a))
    assert queue_of(net, [8, 3])[1] == [0, 0]
    assert seen == [(b, k) for b in (8, 3) for k in (5, 5, 8, 8)]


@pytest.mark.parametrize(
    ("heads", "folds"),
    [
        ((9, 5), [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ((3, 9), [0, 1, 2]),
        ((7,), [0, 0, 0, 1, 1, 2, 2]),
    ],
)
def test_early_labels_are_those_of_the_first_head_folded(heads, folds):
    net, x = early(*heads), views(b=40)
    s = by_hand(net, x)[0][0]
    net(x, torch.arange(40))
    labels = net.health(None).labels
    assert torch.equal(labels, torch.tensor(folds)[s.argmax(1)])
    assert len(labels.unique()) > 1 and net.health(None).mixing is None


def keep_starts(monkeypatch):
    """List of the labels that each later start of z_c gives."""
    found = []

    def keep(z, *args, **kwargs):
        weight, bias = linear_partition(z, *args, **kwargs)
        found.append((z @ weight.T + bias).argmax(1))
        return weight, bias

    monkeypatch.setattr(cdc, "linear_partition", keep)
    return found


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_z_c_starts_as_the_linear_partition(monkeypatch, k, dtype):
    net, found = objective(n_clusters=k, early_heads=(12,)).to(dtype), keep_starts(monkeypatch)
    z = F.normalize(normal(400, 6, dtype=dtype) + 1, dim=1)
    net.is_early = True
    with torch.no_grad():
        net.on_epoch_begin(a_run(1, 2, z))
    [labels] = found
    assert not net.is_early and len(labels.unique()) == k
    assert torch.equal(net.scores(z).argmax(1), labels)
    assert net.category.weight.dtype == dtype and net.category.weight.requires_grad


def test_without_early_heads_nothing_starts_anew(monkeypatch):
    monkeypatch.setattr(cdc, "linear_partition", None)
    net = objective()
    before = copy.deepcopy(net.state_dict())
    for epoch in range(4):
        net.on_epoch_begin(a_run(epoch, 4))
        assert not net.is_early
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


# -- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blobs():
    return make_image_blobs(60, random_state=0)[0]


def quick(**params):
    defaults = {
        "max_epochs": 3, "batch_size": 16, "embedding_dim": 8, "hidden_dim": 16,
        "instance_dim": 8, "random_state": 0,
    }  # fmt: skip
    return CDCClustering(3, **defaults | params)


@pytest.fixture(scope="module")
def fitted(blobs):
    return quick(assignment_temperature=0.3).fit(blobs)


def test_prediction_is_the_largest_entry_of_z_c(fitted, blobs):
    net = fitted.net_.objective.eval()
    with torch.no_grad():
        s = F.normalize(net.category(torch.from_numpy(fitted.transform(blobs))), dim=1)
    np.testing.assert_array_equal(fitted.labels_, s.argmax(1))
    np.testing.assert_array_equal(fitted.labels_, fitted.predict(blobs))
    expected = (s / fitted.assignment_temperature).softmax(1)
    np.testing.assert_allclose(fitted.predict_proba(blobs), expected, rtol=0, atol=1e-5)


def test_centres_are_the_means_of_the_clusters(fitted, blobs):
    z = fitted.transform(blobs)
    for center, j in zip(fitted.cluster_centers_, range(3), strict=True):
        mean = z[fitted.labels_ == j].sum(0)
        np.testing.assert_allclose(center, mean / max(np.linalg.norm(mean), 1e-12), atol=1e-5)


def test_prediction_does_not_depend_on_the_company(fitted, blobs):
    whole = fitted.predict_proba(blobs)
    single = np.concatenate([fitted.predict_proba(blobs[i : i + 1]) for i in range(0, 60, 7)])
    np.testing.assert_allclose(single, whole[::7], rtol=0, atol=1e-5)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(fitted.predict_proba(blobs[order]), whole[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("heads", [(), (5, 10)])
def test_clusters_without_samples_come_last_and_predict_stays(blobs, heads):
    X = blobs[np.arange(60) % 2]  # two images, five clusters
    estimator = CDCClustering(5, augment=None, max_epochs=2, early_heads=heads, random_state=0).fit(
        X
    )
    used = len(set(estimator.labels_))
    assert used <= 2 and set(estimator.labels_) == set(range(used))
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))


@pytest.mark.parametrize(
    "params",
    [
        {"queue_size": 40},
        {"queue_size": 0},
        {"category_scale": 3.0},
        {"temperature": 0.2},
        {"early_heads": (6, 9)},
        {"early_heads": [3], "queue_size": 40},
        {"early_heads": (6, 9), "optimizer": "sgd"},
        {"early_heads": (6, 9), "optimizer": "lars"},
    ],
    ids=str,
)
def test_variants_train(blobs, params):
    estimator = quick(**params).fit(blobs)
    assert all(math.isfinite(row["contrast"]) for row in estimator.history_)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs))


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_other_precisions_train(blobs, precision):
    estimator = quick(precision=precision, queue_size=20, early_heads=(6, 9)).fit(blobs)
    assert all(math.isfinite(row["loss"]) for row in estimator.history_)


def test_float64_is_float64_throughout(blobs, monkeypatch):
    seen = set()
    contrast = cdc.disentangled_contrast
    monkeypatch.setattr(
        cdc,
        "disentangled_contrast",
        lambda *a: seen.update(t.dtype for t in a[:4]) or contrast(*a),
    )
    quick(precision="float64", max_epochs=2, early_heads=(6,)).fit(blobs)
    assert seen == {torch.float64}


class Phases(Callback):
    """z_c's parameters and whether they are left alone, before each epoch and after each batch."""

    def on_train_begin(self, net, **kwargs):
        self.early, self.start, self.states = [], None, []
        self.state = lambda: copy.deepcopy(net.objective.category.state_dict())
        self.first = self.state()

    def on_epoch_begin(self, net, **kwargs):
        self.early.append(net.objective.is_early)
        self.states.append([self.state()])
        if len(self.early) > 1 and self.early[-2:] == [True, False]:
            z = net.run.features()
            self.start = net.objective.scores(z).argmax(1)

    def on_batch_end(self, net, **kwargs):
        self.states[-1].append(self.state())


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("epochs", "early"), [(1, 0), (2, 1), (3, 2), (4, 3), (5, 3)])
def test_early_heads_train_in_three_quarters_alone(blobs, monkeypatch, epochs, early):
    found, watch = keep_starts(monkeypatch), Phases()
    quick(max_epochs=epochs, early_heads=(6, 9), callbacks=[watch]).fit(blobs)
    assert watch.early == [True] * early + [False] * (epochs - early)
    for states in watch.states[:early]:
        assert all(same(watch.first, state) for state in states)
    assert len(found) == (early > 0)
    if early:
        assert torch.equal(watch.start, found[0])
    begin, *later = watch.states[early]
    assert same(begin, watch.first) == (early == 0)
    assert not same(begin, later[-1])


def test_early_heads_are_still_in_the_last_quarter(blobs):
    class Heads(Callback):
        def on_train_begin(self, net, **kwargs):
            self.seen = []

        def on_epoch_begin(self, net, **kwargs):
            self.seen.append(copy.deepcopy(net.objective.early.state_dict()))

    watch = Heads()
    net = quick(max_epochs=5, early_heads=(6,), callbacks=[watch]).fit(blobs).net_.objective
    first, second, third, *late = watch.seen
    assert not same(first, second) and not same(second, third) and not same(third, late[0])
    assert same(late[0], late[1]) and same(late[0], net.early.state_dict())


@pytest.mark.parametrize("stop", [KeyboardInterrupt, EarlyStopping])
def test_z_c_starts_also_when_training_ends_early(monkeypatch, stop):
    """z_c would be as it was drawn otherwise."""
    found = keep_starts(monkeypatch)

    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if net.run.epoch == 2:
                raise KeyboardInterrupt

    X, _ = make_image_blobs(60, random_state=0)
    last = Stop() if stop is KeyboardInterrupt else EarlyStopping("train_loss", 1, 1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Training was interrupted")
        estimator = quick(max_epochs=20, early_heads=(6,), callbacks=[last]).fit(X)
    assert estimator.n_iter_ < 10
    [labels] = found
    assert adjusted_rand_score(labels, estimator.labels_) == 1


def test_automatic_early_heads_train():
    X, _ = make_image_blobs(90, random_state=0)
    watch = Phases()
    estimator = quick(max_epochs=4, callbacks=[watch]).fit(X)
    assert [head.out_features for head in estimator.net_.objective.early] == [9]
    assert watch.early == [True, True, True, False]
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))


def test_fewer_samples_than_clusters_are_refused(blobs):
    with pytest.raises(ValueError, match="n_clusters"):
        CDCClustering(61).fit(blobs)


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": 0},
        {"assignment_temperature": 0},
        {"category_scale": -1},
        {"instance_dim": 0},
        {"sinkhorn_epsilon": 0},
        {"sinkhorn_iterations": 0},
        {"queue_size": -1},
        {"early_heads": "auto"},
        {"hidden_dim": None},
    ],
    ids=str,
)
def test_useless_parameters_are_refused(blobs, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        quick(**bad).fit(blobs)


# -- real images ---------------------------------------------------------------------------------


class Balance(Callback):
    """Entropy of each batch's labels over ln K, epoch by epoch."""

    def on_train_begin(self, net, **kwargs):
        self.entropies = []

    def on_epoch_begin(self, net, **kwargs):
        self.entropies.append([])

    def on_batch_end(self, net, batch=None, **kwargs):
        k = net.objective.hp.n_clusters
        p = torch.bincount(net.objective.labels[batch["index"]], minlength=k) / len(batch["index"])
        self.entropies[-1].append(float(torch.special.entr(p).sum()) / math.log(k))


@pytest.mark.usefixtures("half_wide")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("early_heads", [None, pytest.param((), marks=pytest.mark.slow)])
def test_digits_are_balanced_and_agree_between_views(early_heads):
    X, y = load_digits_images(return_X_y=True)
    watch, how = Balance(), {"early_heads": early_heads, "random_state": 0}
    estimator = CDCClustering(10, max_epochs=8, callbacks=[watch], **how).fit(X)
    assert clustering_accuracy(y, estimator.labels_) >= 0.80
    # z_c needs an epoch or some to become even, from the sixth on where early heads come first.
    assert min(np.mean(epoch) for epoch in watch.entropies[6:]) > 0.95
    net = estimator.net_.module_.eval()
    with torch.no_grad():
        batch = torch.as_tensor(X[:600]).reshape(600, 1, 8, 8)
        first, second = (
            net.objective.scores(F.normalize(net.objective.embed(v), dim=1)).argmax(1)
            for v in net.views(batch)
        )
    assert float((first == second).float().mean()) > 0.7
