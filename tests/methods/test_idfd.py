"""IDFD's equations against naive transcriptions, its invariants, and the timing of its bank."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skorch.callbacks import Callback

from skdeepclust import IDFDClustering
from skdeepclust.backbones import make_backbone
from skdeepclust.datasets import make_image_blobs
from skdeepclust.methods import idfd
from skdeepclust.methods.idfd import (
    IDFDObjective,
    feature_decorrelation,
    feature_orthogonality,
    instance_discrimination,
    update_bank,
)
from skdeepclust.ops.kmeans import kmeans

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

TIGHT = {"rtol": 0, "atol": 1e-10}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(*shape, seed=0):
    return F.normalize(normal(*shape, seed=seed), dim=1)


def initial_bank(n, d=128, seed=0, dtype=torch.float64):
    bound = math.sqrt(3 / d)
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(n, d, dtype=dtype).uniform_(-bound, bound, generator=generator)


def gradient(loss, z):
    return torch.autograd.grad(loss, z)[0]


def both_agree(loss, naive, z):
    torch.testing.assert_close(loss, naive, **TIGHT)
    torch.testing.assert_close(gradient(loss, z), gradient(naive, z), **TIGHT)


# -- the equations, one loop per index --------------------------------------------------------


def naive_instance_discrimination(z, bank, index, tau):
    total = 0
    for row, own in zip(z, index.tolist(), strict=True):
        v = row / row.square().sum().sqrt()
        exponentials = [torch.exp(torch.dot(v, m) / tau) for m in bank]
        total = total - torch.log(exponentials[own] / sum(exponentials))
    return total / len(z)


def naive_columns(z):
    v = torch.stack([row / row.square().sum().sqrt() for row in z])
    return [v[:, i] / v[:, i].square().sum().sqrt() for i in range(v.shape[1])]


def naive_feature_decorrelation(z, tau):
    g = naive_columns(z)
    total = 0
    for own in g:
        exponentials = [torch.exp(torch.dot(own, other) / tau) for other in g]
        total = total - torch.log(torch.exp(torch.dot(own, own) / tau) / sum(exponentials))
    return total / len(g)


def naive_feature_orthogonality(z):
    g = naive_columns(z)
    return sum(
        (torch.dot(a, b) - float(i == j)) ** 2 for i, a in enumerate(g) for j, b in enumerate(g)
    )


@pytest.mark.parametrize("tau", [1.0, 0.07, 0.5])
def test_instance_discrimination_is_its_equation(tau):
    z, bank = normal(6, 5).requires_grad_(), unit(20, 5, seed=1)
    index = torch.tensor([3, 0, 19, 7, 8, 3])
    loss = instance_discrimination(z, bank, index, tau)
    both_agree(loss, naive_instance_discrimination(z, bank, index, tau), z)


def test_instance_discrimination_takes_the_bank_as_given():
    z, bank = normal(4, 5).requires_grad_(), 3 * normal(9, 5, seed=1)
    index = torch.arange(4)
    loss = instance_discrimination(z, bank, index)
    both_agree(loss, naive_instance_discrimination(z, bank, index, 1.0), z)


def test_closed_form_gradient():
    z, bank, index, tau = normal(4, 5).requires_grad_(), unit(9, 5, seed=1), torch.arange(4), 0.5
    v = F.normalize(z.detach(), dim=1)
    p = (v @ bank.T / tau).softmax(1)
    slope = (p @ bank - bank[index]) / (len(z) * tau)
    slope -= (slope * v).sum(1, keepdim=True) * v
    expected = slope / z.detach().norm(dim=1, keepdim=True)
    loss = instance_discrimination(z, bank, index, tau)
    torch.testing.assert_close(gradient(loss, z), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("tau", [2.0, 0.5])
@pytest.mark.parametrize("shape", [(8, 5), (4, 7)])
def test_feature_decorrelation_is_its_equation(shape, tau):
    z = normal(*shape).requires_grad_()
    both_agree(feature_decorrelation(z, tau), naive_feature_decorrelation(z, tau), z)


@pytest.mark.parametrize("shape", [(8, 5), (4, 7)])
def test_idfo_is_its_equation(shape):
    z = normal(*shape).requires_grad_()
    both_agree(feature_orthogonality(z), naive_feature_orthogonality(z), z)


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: instance_discrimination(z, unit(9, 4, seed=1), torch.tensor([0, 3, 8]), 0.7),
        lambda z: feature_decorrelation(z, 2.0),
        feature_orthogonality,
    ],
)
def test_gradients_are_exact(loss):
    assert torch.autograd.gradcheck(loss, normal(3, 4).requires_grad_())


@pytest.mark.parametrize("factor", [2.0, -0.5])
def test_instance_discrimination_scales_with_its_incoming_gradient(factor):
    z, bank, index = normal(4, 5).requires_grad_(), unit(9, 5, seed=1), torch.arange(4)
    single = gradient(instance_discrimination(z, bank, index), z)
    scaled = gradient(factor * instance_discrimination(z, bank, index), z)
    torch.testing.assert_close(scaled, factor * single, **TIGHT)


def test_the_bank_takes_no_gradient():
    z, bank = normal(4, 5).requires_grad_(), unit(9, 5, seed=1).requires_grad_()
    instance_discrimination(z, bank, torch.arange(4)).backward()
    assert bank.grad is None and z.grad is not None


@pytest.mark.parametrize("budget", [1, 7, 64, 1 << 24])
def test_a_chunked_softmax_is_the_whole_one(monkeypatch, budget):
    z, bank, index = 5 * normal(6, 5).requires_grad_(), 4 * normal(50, 5, seed=1), torch.arange(6)
    naive = naive_instance_discrimination(z, bank, index, 0.5)
    monkeypatch.setattr(idfd, "_BUDGET", budget)
    both_agree(instance_discrimination(z, bank, index, 0.5), naive, z)


def test_no_more_logits_than_the_budget(monkeypatch):
    held = []
    split = torch.Tensor.split

    def spy(self, size, *args):
        held.append(size)
        return split(self, size, *args)

    monkeypatch.setattr(idfd, "_BUDGET", 64)
    monkeypatch.setattr(torch.Tensor, "split", spy)
    instance_discrimination(normal(6, 5), unit(50, 5), torch.arange(6))
    assert held and max(held) * 6 <= 64


def test_large_logits_do_not_overflow():
    z, bank = normal(4, 5, dtype=torch.float32), unit(9, 5).float()
    assert torch.isfinite(instance_discrimination(z, bank, torch.arange(4), 1e-3))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(half):
    z, bank, index = normal(16, 8).to(half), unit(40, 8).to(half), torch.arange(16)
    wide, wide_bank = z.double(), bank.double()
    for loss, reference in [
        (
            instance_discrimination(z, bank, index),
            instance_discrimination(wide, wide_bank, index),
        ),
        (feature_decorrelation(z), feature_decorrelation(wide)),
        (feature_orthogonality(z), feature_orthogonality(wide)),
    ]:
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss.double(), reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", [feature_decorrelation, feature_orthogonality])
def test_zero_columns_and_rows_are_finite(loss):
    z = normal(6, 4)
    z[:, 1] = 0
    z[2] = 0
    z.requires_grad_()
    assert torch.isfinite(gradient(loss(z), z)).all()


# -- what follows from the equations ----------------------------------------------------------


@pytest.mark.parametrize(("n", "value"), [(50_000, 10.8237), (13_000, 9.4766), (19_500, 9.8821)])
def test_loss_at_the_start(n, value):
    z, bank = normal(64, 128, seed=1), initial_bank(n)
    loss = float(instance_discrimination(z, bank, torch.arange(64)))
    assert value == pytest.approx(math.log(n) + 1 / 256, abs=1e-4)
    assert loss == pytest.approx(value, abs=0.02)
    many = normal(300, 128, seed=2)  # at another temperature the second term is larger
    loss = float(instance_discrimination(many, bank, torch.arange(300), 0.2))
    assert loss == pytest.approx(math.log(n) + 1 / (256 * 0.2**2), abs=0.05)


@pytest.mark.parametrize(("n", "value"), [(50_000, 9.819793), (13_000, 8.472759)])
def test_lower_bound_of_spread_negatives(n, value):
    v = torch.zeros(1, 2, dtype=torch.float64)
    v[0, 0] = 1
    angle = math.acos(-1 / (n - 1))
    bank = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64).repeat(n, 1)
    bank[0] = v[0]
    loss = float(instance_discrimination(v, bank, torch.tensor([0])))
    assert loss == pytest.approx(value, abs=1e-6)
    assert loss == pytest.approx(math.log(1 + (n - 1) * math.exp(-n / (n - 1))), abs=1e-9)


def test_hard_bound_for_any_unit_rows():
    n, v = 1000, unit(1, 8)
    bank = (-v).repeat(n, 1)
    bank[0] = v[0]
    bound = math.log(1 + (n - 1) * math.exp(-2))
    index = torch.tensor([0])
    assert float(instance_discrimination(v, bank, index)) == pytest.approx(bound, abs=1e-10)
    for seed in range(5):
        assert float(instance_discrimination(v, unit(n, 8, seed=seed), index)) > bound


@pytest.mark.parametrize(("k", "value"), [(10, 9.978343), (20, 9.902200)])
def test_perfect_collapse_onto_orthogonal_clusters(k, value):
    n = 50_000
    bank = torch.eye(k, dtype=torch.float64).repeat(n // k, 1)
    loss = float(instance_discrimination(bank[:40], bank, torch.arange(40)))
    assert loss == pytest.approx(value, abs=1e-6)
    assert loss == pytest.approx(math.log(n / k * math.e + n - n / k) - 1, abs=1e-9)


def test_uniform_on_the_sphere():
    bank = unit(50_000, 128)
    loss = float(instance_discrimination(bank[:64], bank, torch.arange(64)))
    assert loss == pytest.approx(9.8237, abs=0.005)


D, TAU2 = 128, 2.0


def orthonormal():
    return torch.linalg.qr(normal(D, D))[0]  # square and orthogonal: rows have norm 1 as well


def simplex():
    # Columns e_i - mean have cosine -1/(d-1); the matrix is symmetric, so rows are alike too.
    return torch.eye(D, dtype=torch.float64) - 1 / D


@pytest.mark.parametrize(
    ("z", "value"),
    [
        (orthonormal(), 4.357086),
        (simplex(), 4.353199),
        (normal(40, 1).repeat(1, D), 4.852030),
        (normal(40, 1) * torch.tensor([1.0, -1.0]).repeat(D // 2), 4.472145),
        (torch.cat([orthonormal(), orthonormal().flip(1)]), 4.357086),
        (torch.cat([simplex(), -simplex()]), 4.353199),
    ],
    ids=["orthonormal", "simplex", "equal", "half-negated", "orthonormal, 2d rows", "simplex, 2d"],
)
def test_closed_forms_of_the_decorrelation(z, value):
    assert float(feature_decorrelation(z, TAU2)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("b", [16, 128, 300])
def test_the_simplex_is_the_minimum(b):
    values = [float(feature_decorrelation(normal(b, D, seed=s), TAU2)) for s in range(3)]
    assert min(values) > 4.353199


def naive_from_columns(u):
    """L_FD as a function of unnormalised columns alone."""
    g = F.normalize(u, dim=0)
    logits = g.T @ g / TAU2
    return (logits.logsumexp(1) - logits.diagonal()).mean()


@pytest.mark.parametrize(
    "z", [simplex(), normal(40, 1).repeat(1, D)], ids=["simplex", "full collapse"]
)
def test_no_gradient_at_the_simplex_and_at_full_collapse(z):
    z = z.clone().requires_grad_()
    assert gradient(feature_decorrelation(z, TAU2), z).abs().max() < 1e-15


def test_gradient_at_orthonormal_columns():
    u = orthonormal().requires_grad_()
    # Rows have norm 1, so that only the tangential part passes the row normalisation.
    columns_gradient = gradient(naive_from_columns(u), u)
    sizes = columns_gradient.norm(dim=0) * u.detach().norm(dim=0)
    torch.testing.assert_close(sizes, torch.full_like(sizes, 6.843629e-4), rtol=0, atol=1e-10)
    v = u.detach()
    through_rows = columns_gradient - (columns_gradient * v).sum(1, keepdim=True) * v
    torch.testing.assert_close(
        gradient(feature_decorrelation(u, TAU2), u), through_rows, rtol=0, atol=1e-15
    )


def test_invariances_of_the_decorrelation():
    v = unit(40, 6)
    value = naive_from_columns(v)
    torch.testing.assert_close(feature_decorrelation(v, TAU2), value, **TIGHT)
    rows, order = torch.randperm(40), torch.randperm(6)
    for same in (v[rows], v[:, order], v * torch.rand(40, 1, dtype=v.dtype).add(0.1)):
        torch.testing.assert_close(feature_decorrelation(same, TAU2), value, **TIGHT)
    # Scales of the columns act after the row normalisation, which here divides all rows alike.
    signs, scales = normal(40, 6).sign(), torch.rand(6, dtype=v.dtype).add(0.1)
    scaled = feature_decorrelation(signs * scales, TAU2)
    torch.testing.assert_close(scaled, feature_decorrelation(signs, TAU2), **TIGHT)
    flipped = v * torch.tensor([-1.0, 1, 1, 1, 1, 1], dtype=v.dtype)
    rotated = v @ torch.linalg.qr(normal(6, 6, seed=2))[0]
    for other in (flipped, rotated):
        assert abs(float(feature_decorrelation(other, TAU2) - value)) > 1e-4


@pytest.mark.parametrize(("k", "value"), [(2, 4.4146), (10, 4.3714), (20, 4.3628)])
def test_point_clusters_are_penalised_weakly(k, value):
    batches = [unit(k, D, seed=s).repeat(20, 1) for s in range(20)]
    values = [float(feature_decorrelation(z, TAU2)) for z in batches]
    # The published figure is one draw.
    assert np.mean(values) == pytest.approx(value, abs=3 * np.std(values))
    assert np.std(values) < 0.005


@pytest.mark.parametrize("momentum", [0.5, 0.0, 0.9])
def test_a_bank_step(momentum):
    bank, z, index = unit(20, 5), normal(4, 5, seed=1), torch.tensor([7, 0, 19, 3])
    before = bank.clone()
    assert update_bank(bank, index, z, momentum) is bank
    for row, i in zip(z, index.tolist(), strict=True):
        mixed = momentum * before[i] + (1 - momentum) * row / row.norm()
        torch.testing.assert_close(bank[i], mixed / mixed.norm(), rtol=0, atol=1e-14)
    rest = torch.ones(20, dtype=torch.bool)
    rest[index] = False
    assert torch.equal(bank[rest], before[rest])
    torch.testing.assert_close(bank[index].norm(dim=1), torch.ones(4, dtype=bank.dtype))


def test_a_bank_step_leaves_no_graph_and_takes_half_embeddings():
    bank = unit(5, 4).float()
    update_bank(bank, torch.tensor([1]), normal(1, 4).bfloat16().requires_grad_())
    assert bank.grad_fn is None and bank.dtype == torch.float32


def test_a_fresh_resnet_on_smooth_images():
    torch.manual_seed(0)
    coarse = torch.rand(64, 3, 4, 4)
    x = F.interpolate(coarse, size=32, mode="bicubic")
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    hp = SimpleNamespace(n_clusters=10, embedding_dim=128, hidden_dim=None, n_samples=50_000)
    objective = IDFDObjective(make_backbone("resnet18", (3, 32, 32)), hp)
    with torch.no_grad():
        z = objective.encoder(x)
    v = F.normalize(z, dim=1)
    assert float(feature_decorrelation(z)) == pytest.approx(4.42, abs=0.01)
    loss = float(instance_discrimination(z, objective.bank, torch.arange(64)))
    assert loss == pytest.approx(10.825, abs=0.015)
    cosines = (v @ v.T)[~torch.eye(64, dtype=torch.bool)]
    assert float(cosines.mean()) == pytest.approx(0.92, abs=0.04)


# -- the objective ------------------------------------------------------------------------------


def objective(**hp):
    torch.manual_seed(0)
    defaults = {
        "n_clusters": 3, "embedding_dim": 6, "hidden_dim": None, "n_samples": 40,
        "temperature": 0.8, "decorrelation": "softmax", "decorrelation_temperature": 1.3,
        "decorrelation_weight": 0.7, "bank_momentum": 0.5,
    }  # fmt: skip
    return IDFDObjective(make_backbone("identity", (9,)), SimpleNamespace(**defaults | hp)).double()


def test_the_bank_starts_uniform_with_unit_energy():
    bank = objective(n_samples=50_000, embedding_dim=128).bank
    assert bank.abs().max() <= math.sqrt(3 / 128)
    assert bank.abs().max() > 0.999 * math.sqrt(3 / 128)
    norms = bank.norm(dim=1)
    assert float(norms.square().mean()) == pytest.approx(1, abs=1e-3)
    assert float(norms.mean()) == pytest.approx(0.999, abs=1e-3)
    assert float(norms.std()) == pytest.approx(0.039, abs=1e-3)


@pytest.mark.parametrize(
    ("decorrelation", "naive"),
    [
        ("softmax", lambda z: naive_feature_decorrelation(z, 1.3)),
        ("orthogonal", naive_feature_orthogonality),
    ],
)
def test_terms_are_weighted_equations(decorrelation, naive):
    net, x, index = objective(decorrelation=decorrelation), normal(7, 9), torch.arange(7) * 2
    terms = net([x], index)
    z = net.encoder(x)
    expected = naive_instance_discrimination(z, net.bank, index, 0.8)
    torch.testing.assert_close(terms["instance"], expected, **TIGHT)
    torch.testing.assert_close(terms["decorrelation"], 0.7 * naive(z), **TIGHT)
    assert set(terms) == {"instance", "decorrelation"}


def test_the_ablation_is_instance_discrimination_alone():
    net, x = objective(decorrelation_weight=0), normal(7, 9)
    terms = net([x], torch.arange(7))
    assert set(terms) == {"instance"}


def test_a_forward_alone_leaves_the_bank():
    net = objective()
    before = net.bank.clone()
    net([normal(7, 9)], torch.arange(7))
    assert torch.equal(net.bank, before)


def test_one_view():
    assert IDFDObjective.n_views == 1 and not IDFDObjective.drop_last


# -- the bank in training ------------------------------------------------------------------------


class BankWatch(Callback):
    """Checks every bank update from what stood before the step."""

    def on_batch_begin(self, net, batch=None, **kwargs):
        self.objective = copy.deepcopy(net.objective)
        self.views = net.module_.views

    def on_batch_end(self, net, batch=None, **kwargs):
        index, bank, before = batch["index"], net.objective.bank, self.objective.bank
        with torch.no_grad():
            v = F.normalize(self.objective.encoder(self.views.plain(batch["x"])), dim=1)
            late = F.normalize(net.objective.encoder(self.views.plain(batch["x"])), dim=1)
        expected = F.normalize(0.3 * before[index] + 0.7 * v, dim=1)
        torch.testing.assert_close(bank[index], expected, rtol=0, atol=1e-6)
        assert not torch.allclose(late, v, rtol=0, atol=1e-4), "weights should have moved"
        rest = torch.ones(len(bank), dtype=torch.bool)
        rest[index] = False
        assert torch.equal(bank[rest], before[rest])
        self.checked = getattr(self, "checked", 0) + 1


def test_training_updates_once_a_step_from_the_weights_before_it():
    X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    watch = BankWatch()
    # Without augmentation and batch norm a forward can be repeated bit by bit.
    estimator = IDFDClustering(
        3, backbone="identity", augment=None, embedding_dim=6, batch_size=16, max_epochs=3,
        optimizer="sgd", lr=0.5, schedule="constant", warmup_epochs=0, callbacks=[watch],
        bank_momentum=0.3, random_state=0,
    )  # fmt: skip
    estimator.fit(X)
    assert watch.checked == 12
    norms = estimator.net_.objective.bank.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(50))


def test_prediction_leaves_the_bank():
    X, _ = make_image_blobs(30, random_state=0)
    estimator = IDFDClustering(3, max_epochs=1, random_state=0).fit(X)
    before = estimator.net_.objective.bank.clone()
    estimator.predict(X)
    estimator.transform(X)
    assert torch.equal(estimator.net_.objective.bank, before)


IDFO = {"decorrelation": "orthogonal", "decorrelation_weight": 10.0}


@pytest.mark.parametrize(
    ("params", "terms"),
    [
        ({}, {"instance", "decorrelation"}),
        (IDFO, {"instance", "decorrelation"}),
        ({"decorrelation_weight": 0.0}, {"instance"}),
    ],
)
def test_variants_train_and_log_their_terms(params, terms):
    X, _ = make_image_blobs(30, random_state=0)
    estimator = IDFDClustering(3, max_epochs=2, random_state=0, **params).fit(X)
    assert terms == set(estimator.history_[0]) & {"instance", "decorrelation"}
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))


def test_scores_are_minus_squared_distances():
    X, _ = make_image_blobs(30, random_state=0)
    estimator = IDFDClustering(3, max_epochs=2, random_state=0).fit(X)
    z, centers = estimator.transform(X).astype(float), estimator.cluster_centers_.astype(float)
    scores = -((z[:, None] - centers) ** 2).sum(2) / 0.1
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(estimator.predict_proba(X), expected, rtol=0, atol=1e-5)


# -- A6 -----------------------------------------------------------------------------------------


def test_a6_the_best_of_twenty_euclidean_runs():
    net, z = objective(n_clusters=8), unit(300, 6, seed=2)

    def seeded():
        return torch.Generator().manual_seed(0)

    net.on_train_end(SimpleNamespace(features=lambda: z, generator=seeded()))
    single, best = (kmeans(z, 8, n_init=n, generator=seeded())[0] for n in (1, 20))
    assert torch.equal(net.centers, best) and not torch.equal(best, single)
    assert (net.centers.norm(dim=1) < 0.99).all(), "means of unit vectors lie inside the sphere"


def test_a6_clusters_are_those_of_plain_images_not_of_the_bank():
    X, _ = make_image_blobs(30, random_state=0)
    estimator = IDFDClustering(3, max_epochs=2, random_state=0).fit(X)
    z, bank = estimator.transform(X), estimator.net_.objective.bank.numpy()
    for rows, same in ((z, True), (bank, False)):
        means = [rows[estimator.labels_ == j].mean(0) for j in range(3)]
        assert np.allclose(estimator.cluster_centers_, means, rtol=0, atol=1e-5) is same
