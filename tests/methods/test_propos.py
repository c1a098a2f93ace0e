"""ProPos' equations against naive transcriptions, its invariants, traps of its official code."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skorch.callbacks import Callback

from skdeepclust import ProPosClustering
from skdeepclust.backbones import make_backbone
from skdeepclust.datasets import make_image_blobs
from skdeepclust.methods import propos
from skdeepclust.methods.propos import ProPosObjective, alignment, prototype_scattering
from skdeepclust.nn.heads import mlp
from skdeepclust.ops.kmeans import kmeans

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

TIGHT = {"rtol": 0, "atol": 1e-10}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotation(d, seed=9):
    return torch.linalg.qr(normal(d, d, seed=seed))[0]


def gradient(loss, z):
    return torch.autograd.grad(loss, z, retain_graph=True)[0]


# -- the equations, one loop per index --------------------------------------------------------


def naive_unit(row):
    return row / row.square().sum().sqrt()


def naive_alignment(prediction, target):
    cosines = [
        torch.dot(naive_unit(a), naive_unit(b)) for a, b in zip(prediction, target, strict=True)
    ]
    return 2 - 2 * sum(cosines) / len(cosines)


def naive_scattering(online, target, labels, k, tau):
    def prototype(z, cluster):
        members = [naive_unit(z[i]) for i in range(len(z)) if labels[i] == cluster]
        return naive_unit(sum(members) / len(members))

    present = sorted(set(labels.tolist()))
    mu = {c: prototype(online, c) for c in present}
    mu_target = {c: prototype(target.detach(), c) for c in present}
    total = 0
    for own in present:
        positive = torch.exp(torch.dot(mu[own], mu_target[own]) / tau)
        negatives = 0
        for other in range(k):
            if other != own and other in mu:
                negatives = negatives + torch.exp(torch.dot(mu[own], mu[other]) / tau)
            elif other != own:
                negatives = negatives + math.exp(-10)
        total = total - torch.log(positive / (positive + negatives))
    return total / len(present)


LABELS = torch.tensor([0, 1, 2, 0, 1, 4, 4, 2, 0])  # of five clusters, 3 is empty


@pytest.mark.parametrize("tau", [0.5, 0.1])
@pytest.mark.parametrize("k", [5, 7])
def test_prototype_scattering_is_its_equation(k, tau):
    online, target = normal(9, 4).requires_grad_(), normal(9, 4, seed=1)
    loss = prototype_scattering(online, target, LABELS, k, tau)
    naive = naive_scattering(online, target, LABELS, k, tau)
    torch.testing.assert_close(loss, naive, **TIGHT)
    torch.testing.assert_close(gradient(loss, online), gradient(naive, online), **TIGHT)


def test_alignment_is_its_equation():
    prediction, target = normal(9, 4).requires_grad_(), normal(9, 4, seed=1)
    loss, naive = alignment(prediction, target), naive_alignment(prediction, target)
    torch.testing.assert_close(loss, naive, **TIGHT)
    torch.testing.assert_close(gradient(loss, prediction), gradient(naive, prediction), **TIGHT)


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: alignment(z, normal(9, 3, seed=1)),
        lambda z: prototype_scattering(z, normal(9, 3, seed=1), LABELS, 5, 0.5),
    ],
)
def test_gradients_are_exact(loss):
    assert torch.autograd.gradcheck(loss, normal(9, 3).requires_grad_())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(half):
    online, target = normal(9, 4).to(half), normal(9, 4, seed=1).to(half)
    for loss, reference in [
        (alignment(online, target), alignment(online.double(), target.double())),
        (
            prototype_scattering(online, target, LABELS, 5),
            prototype_scattering(online.double(), target.double(), LABELS, 5),
        ),
    ]:
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss.double(), reference, rtol=1e-5, atol=1e-5)


def test_zero_embeddings_have_finite_losses_and_gradients():
    online = torch.zeros(9, 4, dtype=torch.float64, requires_grad=True)
    for loss in (alignment(online, online), prototype_scattering(online, online, LABELS, 5)):
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient(loss, online)).all()


# -- what follows from the equations ----------------------------------------------------------


def scatter(prototypes, target=None, k=None):
    labels = torch.arange(len(prototypes))
    target = prototypes if target is None else target
    return float(prototype_scattering(prototypes, target, labels, k or len(prototypes)))


def orthonormal(k):
    return torch.eye(k, dtype=torch.float64)


def simplex(k):
    return orthonormal(k) - 1 / k


@pytest.mark.parametrize(
    ("k", "value"), [(2, 0.126928), (10, 0.796614), (15, 1.062879), (20, 1.272949)]
)
def test_orthonormal_prototypes(k, value):
    assert scatter(orthonormal(k)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("k", "value"), [(2, 0.018150), (10, 0.680726), (15, 0.971713), (20, 1.198294)]
)
def test_simplex_prototypes_are_the_minimum(k, value):
    assert scatter(simplex(k)) == pytest.approx(value, abs=1e-6)
    assert all(scatter(normal(k, k, seed=s)) > value for s in range(5))


@pytest.mark.parametrize("k", [2, 10, 20])
def test_equal_prototypes(k):
    assert scatter(normal(1, 6).repeat(k, 1)) == pytest.approx(math.log(k), abs=1e-12)


@pytest.mark.parametrize("k", [1, 10])
def test_one_prototype(k):
    z = normal(8, 4).requires_grad_()
    loss = prototype_scattering(z, normal(8, 4, seed=1), torch.zeros(8, dtype=torch.int64), k)
    # The nine empty clusters of K = 10 add exp(-10) each to a positive of at least exp(-2).
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12 if k == 1 else 9 * math.exp(-8))
    if k == 1:
        assert gradient(loss, z).abs().max() < 1e-15


def test_an_empty_cluster():
    assert scatter(orthonormal(10)[:9], k=10) == pytest.approx(0.733660, abs=1e-6)


def test_opposite_targets():
    assert scatter(orthonormal(10), -orthonormal(10)) == pytest.approx(4.212150, abs=1e-6)


def test_invariances():
    online, target = normal(9, 4), normal(9, 4, seed=1)
    value = prototype_scattering(online, target, LABELS, 5)
    lengths = torch.rand(9, 1, dtype=torch.float64) * 10 + 0.1
    order, names, q = torch.randperm(9), torch.randperm(5), rotation(4)
    for same in [
        prototype_scattering(online * lengths, target / lengths, LABELS, 5),
        prototype_scattering(online @ q, target @ q, LABELS, 5),
        prototype_scattering(online, target, names[LABELS], 5),
        prototype_scattering(online[order], target[order], LABELS[order], 5),
    ]:
        torch.testing.assert_close(same, value, **TIGHT)
    assert abs(float(prototype_scattering(online @ q, target, LABELS, 5) - value)) > 1e-3


def test_no_gradient_along_the_embedding():
    z = normal(9, 4).requires_grad_()
    slope = gradient(prototype_scattering(z, normal(9, 4, seed=1), LABELS, 5), z)
    assert (slope * z).sum(1).abs().max() < 1e-16
    assert slope.abs().max() > 1e-3


@pytest.mark.parametrize(
    "loss", [alignment, lambda z, t: prototype_scattering(z, t, LABELS, 5)]
)  # fmt: skip
def test_the_target_takes_no_gradient(loss):
    online, target = normal(9, 4).requires_grad_(), normal(9, 4, seed=1).requires_grad_()
    loss(online, target).backward()
    assert target.grad is None and online.grad is not None


def test_negatives_are_online_against_online():
    """Known positives fix the sum of the negatives, whatever the target is."""
    online = normal(3, 4)
    labels, tau = torch.arange(3), 0.5
    mu = F.normalize(online, dim=1)

    for seed in range(3):
        target = F.normalize(normal(3, 4, seed=seed), dim=1)
        positive = (mu * target).sum(1) / tau
        off = (mu @ mu.T / tau).exp().fill_diagonal_(0).sum(1)
        expected = (torch.log(positive.exp() + off) - positive).mean()
        loss = prototype_scattering(online, target, labels, 3, tau)
        torch.testing.assert_close(loss, expected, **TIGHT)


def test_a_row_pulls_at_the_prototypes_of_other_clusters():
    """With the gradient through both sides, moving mu_j changes the losses of all rows."""
    online, target = normal(3, 4).requires_grad_(), normal(3, 4, seed=1)
    mu = F.normalize(online, dim=1)
    mu_target = F.normalize(target, dim=1)
    one_sided = 0
    for i in range(3):
        logits = torch.stack([(mu[i] * (mu_target[i] if i == j else mu[j].detach())).sum()
                              for j in range(3)]) / 0.5  # fmt: skip
        one_sided = one_sided + logits.logsumexp(0) - logits[i]
    loss = prototype_scattering(online, target, torch.arange(3), 3)
    torch.testing.assert_close(loss, one_sided / 3, **TIGHT)
    assert (gradient(loss, online) - gradient(one_sided / 3, online)).abs().max() > 1e-2


def test_range_of_the_alignment():
    z = normal(9, 4)
    assert float(alignment(z, 3 * z)) == pytest.approx(0, abs=1e-12)
    assert float(alignment(z, -z)) == pytest.approx(4, abs=1e-12)


def test_value_at_the_start():
    torch.manual_seed(0)
    z = torch.randn(256, 64)
    value = float(alignment(mlp(64, 256, 64, std=0.01)(z), z).detach())
    assert abs(value - 2) < 0.2


# -- the objective ------------------------------------------------------------------------------


def objective(**hp):
    torch.manual_seed(0)
    defaults = {
        "n_clusters": 4, "embedding_dim": 6, "hidden_dim": 8, "n_samples": 40, "temperature": 0.3,
        "scattering_weight": 0.1, "noise_std": 0.0, "scattering_warmup": 2, "ema_momentum": 0.996,
        "ema_schedule": "constant", "recluster_every": 1, "predictor_lr_scale": 7,
        "resample": False,
    }  # fmt: skip
    net = ProPosObjective(make_backbone("identity", (9,)), SimpleNamespace(**defaults | hp))
    net = net.double()
    with torch.no_grad():  # so that target and online differ
        for p in net.target.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return net


class FakeRun:
    """A run at some epoch, whose features are planted."""

    def __init__(self, epoch=0, progress=0.0, n=40, d=6, n_epochs=4):
        self.epoch, self.progress, self.n_epochs = epoch, progress, n_epochs
        self.generator = torch.Generator().manual_seed(0)
        self.z = F.normalize(normal(n, d, seed=3), dim=1)

    def features(self):
        return self.z


def forward_by_hand(net, first, second):
    """Both directions of the concatenated views, on copies that keep the running statistics."""
    twin = copy.deepcopy(net)
    z = twin.online(torch.cat([first, second]))
    target = twin.target(torch.cat([second, first]))
    return z, target, twin.predictor(z)


def test_terms_after_the_warmup():
    net, (first, second) = objective(), (normal(12, 9), normal(12, 9, seed=1))
    net.on_epoch_begin(FakeRun(epoch=2))
    index = torch.arange(12) * 3
    z, target, prediction = forward_by_hand(net, first, second)
    terms = net([first, second], index)
    torch.testing.assert_close(terms["alignment"], naive_alignment(prediction, target), **TIGHT)
    # The full weight, and every image with its own label in both halves.
    labels = net.labels[index]
    one = naive_scattering(z[:12], target[:12], labels, 4, 0.3)
    two = naive_scattering(z[12:], target[12:], labels, 4, 0.3)
    torch.testing.assert_close(terms["scattering"], 0.1 * (one + two) / 2, **TIGHT)


def test_target_sees_the_other_view():
    net, (first, second) = objective(), (normal(12, 9), normal(12, 9, seed=1))
    seen = []
    net.target.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net([first, second], torch.arange(12))
    assert torch.equal(torch.cat(seen), torch.cat([second, first]))


def test_without_scattering_and_noise_it_is_byol():
    net = objective(scattering_weight=0)
    net.on_epoch_begin(FakeRun(epoch=5))
    first, second = normal(12, 9), normal(12, 9, seed=1)
    _, target, prediction = forward_by_hand(net, first, second)
    terms = net([first, second], torch.arange(12))
    assert set(terms) == {"alignment"}
    byol = (
        naive_alignment(prediction[:12], target[:12]),
        naive_alignment(prediction[12:], target[12:]),
    )
    torch.testing.assert_close(terms["alignment"], (byol[0] + byol[1]) / 2, **TIGHT)


@pytest.mark.parametrize("epoch", range(4))
def test_scattering_and_noise_start_after_the_warmup(epoch, monkeypatch):
    """scattering_warmup=2: epochs 1 and 2 are without, epoch 3 (the 2 before it done) is with."""
    net = objective(noise_std=0.1)
    drawn = []
    randn_like = torch.randn_like
    monkeypatch.setattr(torch, "randn_like", lambda z: drawn.append(z.shape) or randn_like(z))
    net.on_epoch_begin(FakeRun(epoch=epoch))
    terms = net([normal(12, 9), normal(12, 9, seed=1)], torch.arange(12))
    assert ("scattering" in terms) == bool(drawn) == (epoch >= 2)


@pytest.mark.parametrize(("n_epochs", "first"), [(4, 2), (5, 2), (1, 0), (100, 50)])
def test_by_default_scattering_starts_after_half_of_the_training(n_epochs, first):
    net = objective(scattering_warmup=None)
    for epoch in (first - 1, first):
        net.on_epoch_begin(FakeRun(epoch=epoch, n_epochs=n_epochs))
        assert net.warm == (epoch == first)


def test_noise_is_fresh_for_both_views_unnormalised_and_before_the_predictor(monkeypatch):
    net = objective(noise_std=0.1)
    net.on_epoch_begin(FakeRun(epoch=2))
    net.eval()
    first, second = normal(12, 9), normal(12, 9, seed=1)
    z, target, _ = forward_by_hand(net, first, second)
    noise = normal(24, 6, seed=5)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise)
    terms = net([first, second], torch.arange(12))
    expected = naive_alignment(net.predictor(z + 0.1 * noise), target)
    torch.testing.assert_close(terms["alignment"], expected, **TIGHT)
    labels = net.labels[:12]
    halves = [naive_scattering(z[h], target[h], labels, 4, 0.3) for h in (slice(12), slice(12, 24))]
    torch.testing.assert_close(terms["scattering"], 0.1 * sum(halves) / 2, **TIGHT)


@pytest.mark.parametrize(
    ("schedule", "progress", "value"),
    [
        ("cosine", 0, 0.996),
        ("cosine", 0.25, 0.9965858),
        ("cosine", 0.5, 0.998),
        ("cosine", 0.75, 0.9994142),
        ("cosine", 1, 1.0),
        ("constant", 0, 0.996),
        ("constant", 0.9, 0.996),
    ],
)
def test_momentum_of_the_target(schedule, progress, value):
    net = objective(ema_schedule=schedule)
    before = [p.clone() for p in net.target.parameters()]
    net.on_step_end(FakeRun(progress=progress))
    for old, new, follows in zip(
        before, net.target.parameters(), net.online.parameters(), strict=True
    ):
        expected = value * old + (1 - value) * follows
        torch.testing.assert_close(new, expected.detach(), rtol=0, atol=1e-7)


def test_the_predictor_has_its_own_rate():
    net = objective()
    online, predictor = net.param_groups()
    assert online.get("lr_scale", 1) == 1 and predictor["lr_scale"] == 7
    groups = [{id(p) for p in g["params"]} for g in (online, predictor)]
    assert groups[0] == {id(p) for p in net.online.parameters()}
    assert groups[1] == {id(p) for p in net.predictor.parameters()}


def test_the_target_is_nowhere_in_the_optimizer():
    net = objective()
    trained = {id(p) for group in net.param_groups() for p in group["params"]}
    assert not trained & {id(p) for p in net.target.parameters()}


def test_initial_predictor_and_heads():
    net = objective(embedding_dim=256, hidden_dim=512)
    assert float(net.predictor[0].weight.std()) == pytest.approx(0.01, rel=0.05)
    assert not net.predictor[-1].bias.any()
    assert next(tuple(p.shape) for p in net.online.head.parameters()) == (512, 9)


def test_what_is_clustered_is_the_target_network():
    net = objective().eval()
    x = normal(5, 9)
    assert torch.equal(net.embed(x), net.target(x))
    assert not torch.allclose(net.embed(x), net.online(x))


@pytest.mark.parametrize("every", [1, 2, 3])
def test_labels_are_renewed_every_so_many_epochs(every, monkeypatch):
    net, calls = objective(recluster_every=every), []
    monkeypatch.setattr(propos, "kmeans", lambda *a, **k: calls.append(1) or kmeans(*a, **k))
    counts = []
    for epoch in range(6):
        calls.clear()
        net.on_epoch_begin(FakeRun(epoch=epoch))
        counts.append(len(calls))
    assert counts == [int(epoch % every == 0) for epoch in range(6)]


def test_labels_start_from_the_centres_of_the_epoch_before(monkeypatch):
    """As the docstring and the issue say: warm start from the last centres."""
    net, inits = objective(), []

    def spy(*args, **kwargs):
        inits.append(kwargs.get("init"))
        return kmeans(*args, **kwargs)

    monkeypatch.setattr(propos, "kmeans", spy)
    net.on_epoch_begin(FakeRun(epoch=0))
    centers = net.centers.clone()
    net.on_epoch_begin(FakeRun(epoch=1))
    assert inits[0] is None
    assert inits[1] is not None and torch.equal(inits[1].to(centers), centers)


def test_the_best_of_three_spherical_runs_and_of_ten_at_the_end():
    net, run = objective(n_clusters=8), FakeRun(n=300)
    how = {"metric": "cosine", "generator": torch.Generator().manual_seed(0)}
    net.on_epoch_begin(run)
    centers, labels, _ = kmeans(run.z, 8, n_init=3, **how)
    assert torch.equal(net.centers, centers) and torch.equal(net.labels, labels)
    net.on_train_end(run)
    last, _, _ = kmeans(run.z, 8, init=centers, n_init=10, **how)
    assert torch.equal(net.centers, last) and not torch.equal(last, centers)


def test_resampling_weighs_by_true_sizes():
    net = objective(resample=True)
    net.labels = torch.tensor([0, 0, 0, 2, 2, 3])  # cluster 1 is empty
    weights = net.sampling_weights()
    mass = torch.zeros(4, dtype=weights.dtype).index_add_(0, net.labels, weights)
    torch.testing.assert_close(mass / mass.sum(), torch.tensor([1, 0, 1, 1]) / 3)


def test_no_weights_without_resampling():
    assert objective().sampling_weights() is None


# -- training -----------------------------------------------------------------------------------


class Watch(Callback):
    """Rates, target updates and statistics, step by step."""

    def __init__(self, momentum):
        self.momentum = momentum
        self.rates, self.checked = [], 0

    def on_batch_begin(self, net, **kwargs):
        self.before = [p.clone() for p in net.objective.target.parameters()]

    def on_batch_end(self, net, **kwargs):
        self.rates.append([group["lr"] for group in net.optimizer_.param_groups])
        objective = net.objective
        pairs = zip(
            self.before, objective.target.parameters(), objective.online.parameters(), strict=True
        )
        for old, new, online in pairs:  # the weights after the optimizer's step
            expected = self.momentum * old + (1 - self.momentum) * online
            torch.testing.assert_close(new, expected.detach(), rtol=0, atol=1e-6)
            assert new.grad is None and not new.requires_grad
        self.checked += 1


@pytest.fixture(scope="module")
def blobs():
    return make_image_blobs(50, random_state=0)[0]


def quick(**params):
    defaults = {
        "max_epochs": 4, "batch_size": 16, "embedding_dim": 8, "hidden_dim": 16,
        "scattering_warmup": 2, "warmup_epochs": 2, "random_state": 0,
    }  # fmt: skip
    return ProPosClustering(3, **defaults | params)


def test_training_step_by_step(blobs):
    watch = Watch(0.9)
    estimator = quick(ema_momentum=0.9, callbacks=[watch], optimizer="sgd").fit(blobs)
    assert watch.checked == 4 * 3  # the last two samples are left out
    for online, predictor in watch.rates:  # in the warm-up too
        assert predictor == pytest.approx(10 * online)
    assert watch.rates[0][0] == 0 and watch.rates[7][0] > 0
    net = estimator.net_.objective
    counts = [b for name, b in net.target.named_buffers() if "num_batches_tracked" in name]
    assert counts and all(int(c) == 12 for c in counts)
    means = [
        (a, b)
        for (name, a), (_, b) in zip(
            net.target.module.named_buffers(), net.online.named_buffers(), strict=True
        )
        if "running_mean" in name
    ]
    assert any(not torch.equal(a, b) for a, b in means)


def test_history_shows_scattering_from_the_switch_on(blobs):
    rows = quick().fit(blobs).history_
    assert ["scattering" in row for row in rows] == [False, False, True, True]
    for row in rows[2:]:
        assert row["loss"] == pytest.approx(row["alignment"] + row["scattering"], rel=1e-5)


def test_byol_does_not_care_for_the_warmup(blobs):
    byol = {"scattering_weight": 0, "noise_std": 0}
    early, late = (quick(scattering_warmup=w, **byol).fit(blobs) for w in (0, 99))
    np.testing.assert_array_equal(early.transform(blobs), late.transform(blobs))
    full = quick(scattering_warmup=0).fit(blobs)
    assert not np.array_equal(early.transform(blobs), full.transform(blobs))


@pytest.mark.parametrize(
    "params",
    [{"resample": True}, {"ema_schedule": "cosine"}, {"recluster_every": 3}, {"ema_momentum": 1.0}],
)
def test_variants_train(blobs, params):
    estimator = quick(**params).fit(blobs)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs))


def test_a_frozen_target_stays_as_it_was_drawn(blobs):
    class First(Callback):
        def on_train_begin(self, net, **kwargs):
            self.weights = [p.clone() for p in net.objective.target.parameters()]

    first = First()
    estimator = quick(ema_momentum=1.0, callbacks=[first]).fit(blobs)
    last = estimator.net_.objective.target.parameters()
    assert all(torch.equal(a, b) for a, b in zip(first.weights, last, strict=True))


def test_the_clusters_are_those_of_the_final_embedding(blobs):
    estimator = quick().fit(blobs)
    z = estimator.transform(blobs)
    means = np.stack([z[estimator.labels_ == j].mean(0) for j in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(estimator.cluster_centers_, means, rtol=0, atol=1e-5)


def test_probabilities_are_a_softmax_of_cosines(blobs):
    estimator = quick().fit(blobs)
    z, centers = estimator.transform(blobs).astype(float), estimator.cluster_centers_.astype(float)
    scores = z @ (centers / np.linalg.norm(centers, axis=1, keepdims=True)).T / 0.1
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(estimator.predict_proba(blobs), expected, rtol=0, atol=1e-5)
