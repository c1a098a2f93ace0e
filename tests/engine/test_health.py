"""Health figures against loops; collapse is told, and only collapse."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import skdeepclust
from skdeepclust import CollapseWarning
from skdeepclust.datasets import make_image_blobs
from skdeepclust.engine.health import Health, Mixing, Vitals, collapsed, feature_std
from skdeepclust.engine.objective import Run

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
HEALTHY = torch.tensor(1.0)


def labels(*sizes):
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def record(health, *sizes, std=HEALTHY, mixing=None, judge=True):
    return health.record(Vitals(labels(*sizes), std, mixing), judge)


def change(health, current):
    return health.record(Vitals(current, HEALTHY), True)["label_change"]


# -- figures --------------------------------------------------------------------------------


def test_feature_std_is_numpys():
    z = np.random.default_rng(0).normal(size=(40, 5))
    assert float(feature_std(torch.from_numpy(z))) == pytest.approx(z.std(0).mean())


def test_feature_std_of_a_covered_sphere_is_one_over_root_dim():
    z = nn.functional.normalize(torch.randn(20_000, 32, generator=torch.Generator()), dim=1)
    assert float(feature_std(z)) == pytest.approx(1 / math.sqrt(32), rel=0.01)


def test_equal_features_have_no_std():
    assert float(feature_std(torch.ones(5, 3))) == 0


@pytest.mark.parametrize(("share", "expected"), [(0.099, True), (0.101, False)])
def test_collapse_is_a_tenth_of_the_healthy_std(share, expected):
    assert collapsed(share / math.sqrt(64), 64) is expected


@pytest.mark.parametrize("sizes", [(5, 5, 5), (10, 4, 1), (15, 0, 0), (8, 7, 0)])
def test_entropy_and_empty_clusters(sizes):
    figures = record(Health(3, 8), *sizes)
    shares = [s / 15 for s in sizes if s]
    assert figures["size_entropy"] == pytest.approx(
        -sum(p * math.log(p) for p in shares) / math.log(3), abs=1e-12
    )
    assert math.copysign(1, figures["size_entropy"]) == 1  # -0.0 looks odd in a table
    assert figures["empty_clusters"] == sizes.count(0)


def test_entropy_is_one_at_one_cluster():
    assert record(Health(1, 8), 15)["size_entropy"] == 1


def test_label_change_matches_names_first():
    health = Health(3, 8)
    first = labels(5, 5, 5)
    assert math.isnan(change(health, first))
    assert change(health, (first + 1) % 3) == 0
    moved = ((first + 1) % 3).clone()
    moved[:2] = 0
    assert change(health, moved) == pytest.approx(2 / 15)


def test_label_change_of_many_clusters():
    """So many that a table of them all would take gigabytes."""
    health, k = Health(50_000, 8), 50_000
    first = torch.arange(2 * k) % k
    change(health, first)
    moved = (first + 1) % k
    moved[:10] = 0
    assert change(health, moved) == pytest.approx(10 / (2 * k))


def test_the_labels_of_the_last_epoch_are_kept_not_shared():
    health, current = Health(2, 8), labels(3, 3)
    change(health, current)
    current[0] = 1  # a method may update its labels in place
    assert change(health, current) == pytest.approx(1 / 6)


def test_figures_are_plain_numbers():
    figures = record(Health(3, 8), 5, 5, 5, mixing=torch.tensor(0.5))
    assert all(type(v) in (int, float) for v in figures.values())


def test_mixing_is_told_by_the_methods_that_have_it():
    assert "mixing" not in record(Health(3, 8), 5, 5, 5)
    assert record(Health(3, 8), 5, 5, 5, mixing=torch.tensor(0.5))["mixing"] == 0.5


# -- mixing ---------------------------------------------------------------------------------


def naive_mixing(batches, k):
    """Clusters of a batch beyond the first over those of a draw from the epoch's shares."""
    everything = [int(label) for batch in batches for label in batch]
    size = len(everything) / len(batches)
    expected = sum(1 - (1 - everything.count(j) / len(everything)) ** size for j in range(k))
    found = sum(len(set(batch.tolist())) for batch in batches) / len(batches)
    return (found - 1) / (expected - 1) if len(set(everything)) > 1 else 1.0


def mixing(batches, k):
    watch = Mixing(k)
    for batch in batches:
        watch.update(batch)
    return float(watch.value())


@pytest.mark.parametrize("sizes", [[32] * 8, [32] * 7 + [5], [2, 3]])
@pytest.mark.parametrize("used", [1, 4, 10])
def test_mixing_is_its_definition(sizes, used):
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randint(used, (size,), generator=generator) for size in sizes]
    assert mixing(batches, 10) == pytest.approx(naive_mixing(batches, 10), rel=1e-5)


@pytest.mark.parametrize("weights", [torch.ones(10), torch.arange(1.0, 11) ** 2])
def test_random_batches_are_mixed_whatever_the_sizes(weights):
    generator = torch.Generator().manual_seed(0)
    draw = torch.multinomial(weights, 64 * 100, replacement=True, generator=generator)
    assert mixing(draw.split(64), 10) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("k", [2, 10, 50, 1000])
def test_whole_batches_in_one_cluster_are_not_mixed(k):
    batches = torch.arange(k).repeat(4)[:, None].expand(-1, 128)
    assert mixing(batches, k) == 0


def test_batches_of_one_cluster_alone_are_not_badly_mixed():
    assert mixing(torch.zeros(5, 32, dtype=torch.int64), 10) == pytest.approx(1)


def test_mixing_starts_afresh_after_it_was_asked():
    watch = Mixing(4)
    watch.update(torch.zeros(8, dtype=torch.int64))
    watch.update(torch.ones(8, dtype=torch.int64))
    assert float(watch.value()) == 0
    watch.update(torch.arange(4))
    assert float(watch.value()) == pytest.approx(naive_mixing([torch.arange(4)], 4))


def test_mixing_is_of_all_heads_together():
    rows = torch.stack([torch.arange(2).repeat_interleave(8), 2 + torch.arange(16) % 4])
    watch = Mixing(6, n_heads=2)
    for batch in rows.split(8, dim=1):
        watch.update(batch)
    # One head has whole batches; the other all its 4 clusters in each batch of 8.
    expected = 2 * (1 - 0.5**8) - 1 + 4 * (1 - 0.75**8) - 1
    assert float(watch.value()) == pytest.approx((0 + 3) / expected, rel=1e-5)


@pytest.mark.parametrize("second", [0, 1])
def test_a_head_without_a_second_cluster_does_not_count(second):
    watch = Mixing(4, n_heads=2)
    for i in range(4):
        watch.update(torch.tensor([[i % 2], [2 + second]]).expand(2, 8))
    assert float(watch.value()) == 0


def test_mixing_without_batches_is_finite():
    assert math.isfinite(Mixing(4).value())


def warned_of_mixing(values):
    health = Health(10, 8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for value in values:
            record(health, *[10] * 10, mixing=torch.tensor(value))
    return [str(w.message) for w in caught if w.category is CollapseWarning]


def test_three_badly_mixed_epochs_in_a_row_warn_once():
    assert not warned_of_mixing([1.0, 0.01, 0.01, 1.0, 0.01, 0.01])
    (message,) = warned_of_mixing([1.0] + [0.01] * 9)
    assert "batches" in message


@pytest.mark.parametrize(("value", "bad"), [(0.049, True), (0.051, False)])
def test_a_twentieth_of_the_clusters_that_chance_would_give_is_too_few(value, bad):
    assert bool(warned_of_mixing([value] * 3)) is bad


# -- warnings by planted figures ------------------------------------------------------------


def warned(epochs, judged_from=0, end=None, k=3):
    """Messages of an epoch-by-epoch record of (sizes, std), and of the conclusion."""
    health = Health(k, 8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch, (sizes, std) in enumerate(epochs):
            record(health, *sizes, std=torch.tensor(std), judge=epoch >= judged_from)
        if end is not None:
            health.conclude(labels(*end[0]), torch.tensor(end[1]))
    return [str(w.message) for w in caught if w.category is CollapseWarning]


BAD_STD, BAD_SIZES, GOOD = ((34, 33, 33), 1e-3), ((98, 1, 1), 1.0), ((34, 33, 33), 1.0)
KINDS = pytest.mark.parametrize("bad", [BAD_STD, BAD_SIZES])


@pytest.mark.parametrize(("bad", "word"), [(BAD_STD, "representation"), (BAD_SIZES, "cluster")])
def test_three_bad_epochs_in_a_row_warn_once(bad, word):
    assert not warned([GOOD] * 5 + [bad] * 2 + [GOOD] + [bad] * 2)
    (message,) = warned([GOOD] + [bad] * 9, end=bad)
    assert word in message


@KINDS
def test_epochs_before_the_judgement_do_not_count(bad):
    assert not warned([bad] * 12, judged_from=10)
    assert warned([bad] * 13, judged_from=10)


def test_features_tell_after_a_third_of_the_training_and_twenty_steps():
    def first_telling(n_epochs, n_steps):
        run = Run(None, n_epochs, n_steps, embed=None, generator=None)
        total = n_epochs * n_steps
        for run.step in range(total + 1):
            if run.telling:
                return run.step
        return None

    assert first_telling(100, 10) == 334
    assert first_telling(10, 4) == 20
    assert first_telling(19, 1) is None


@KINDS
def test_a_bad_end_is_told_whatever_came_before(bad):
    assert len(warned([GOOD] * 3, end=bad)) == 1
    assert len(warned([bad], end=bad)) == 1
    assert not warned([bad], end=GOOD)


@KINDS
def test_a_relapse_is_not_told_again(bad):
    assert len(warned([GOOD] * 9 + [bad] * 3 + [GOOD] + [bad] * 3)) == 1
    assert len(warned([GOOD] * 9 + [bad] * 3 + [GOOD], end=bad)) == 1


def test_both_kinds_are_told_on_their_own():
    assert len(warned([((98, 1, 1), 1e-3)] * 6)) == 2


def test_95_percent_is_not_too_much():
    assert not warned([((95, 3, 2), 1.0)] * 9, end=((95, 3, 2), 1.0))
    assert warned([((96, 2, 2), 1.0)] * 9)


@pytest.mark.parametrize("k", [1, 2])
def test_one_large_cluster_of_two_is_no_collapse(k):
    sizes = (100, 0)[:k]
    assert not warned([(sizes, 1.0)] * 9, end=(sizes, 1.0), k=k)


# -- warnings through the estimators --------------------------------------------------------


class Constant(nn.Module):
    """The same features whatever the image."""

    num_features = 4

    def __init__(self):
        super().__init__()
        self.features = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.features.expand(len(x), 4)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_representation_warns(method):
    X, _ = make_image_blobs(60, random_state=0)
    estimator = method(3, backbone=Constant(), max_epochs=40, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Clusters .* hold no sample")
        with pytest.warns(CollapseWarning, match="representation"):
            estimator.fit(X)
    assert estimator.score(X) == -1
    assert estimator.history_[-1]["feature_std"] < 1e-2


@pytest.mark.parametrize("method", METHODS)
def test_equal_images_without_augmentation_warn(method):
    X = np.full((40, 1, 8, 8), 0.5, np.float32)
    estimator = method(3, augment=None, max_epochs=40, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Clusters .* hold no sample")
        with pytest.warns(CollapseWarning):
            estimator.fit(X)


@pytest.mark.slow  # test_common.py trains for some epochs in every run, as silently
@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 1])
def test_healthy_blobs_are_silent(method, seed):
    X, _ = make_image_blobs(60, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method(3, random_state=seed).fit(X)


@pytest.mark.slow  # tests of digits train for a few epochs in every run, as silently
@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("max_epochs", [25, 100])
@pytest.mark.parametrize("method", METHODS)
def test_healthy_digits_are_silent(method, max_epochs, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = method(10, max_epochs=max_epochs, random_state=0).fit(digits[0])
    # SeCu's features share a large mean; 0.02 is the gate that its invariants name.
    least = 0.02 if "center_lr" in method._get_param_names() else 0.3 / math.sqrt(64)
    assert estimator.embedding_dim == 64
    assert estimator.history_[-1]["feature_std"] > least
