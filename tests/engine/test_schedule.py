"""Learning rates of the papers, to the digit."""

import math

import pytest

from skdeepclust.engine.schedule import SCHEDULES, Schedule, lr_factor


@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 3e-2), (600, 3e-3), (950, 3e-4), (1300, 3e-5), (1650, 3e-6)]
)
def test_idfd_multistep(epoch, lr):
    assert 0.03 * lr_factor("multistep", epoch, 2000) == pytest.approx(lr, rel=1e-12)


@pytest.mark.parametrize("milestone", [600, 950, 1300, 1650])
def test_multistep_drops_at_the_milestone_and_not_before(milestone):
    before, at = (lr_factor("multistep", e, 2000) for e in (milestone - 1 / 391, milestone))
    assert before / at == pytest.approx(10)


@pytest.mark.parametrize(
    ("epoch", "lr"),
    [
        (1, 0.002),
        (25, 0.05),
        (50, 0.1),
        (300, 0.085355),
        (550, 0.05),
        (800, 0.014645),
        (1000, 0.000616),
    ],
)
def test_propos_cosine_with_warmup(epoch, lr):
    assert 0.1 * lr_factor("cosine", epoch, 1000, 50) == pytest.approx(lr, abs=5e-7)


@pytest.mark.parametrize(
    ("epoch", "lr"),
    [(0, 0), (0.99, 0), (1, 0), (2, 0.02), (6, 0.1), (11, 0.2), (206, 0.1), (401, 0)],
)
def test_secu_delayed_cosine(epoch, lr):
    assert 0.2 * lr_factor("delayed-cosine", epoch, 401, 11) == pytest.approx(lr, abs=1e-12)


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 0), (1, 0), (1.001, 1), (26, (1 + math.cos(math.pi / 4)) / 2)]
)
def test_delayed_cosine_without_warmup_falls_from_the_second_epoch_on(epoch, factor):
    assert lr_factor("delayed-cosine", epoch, 101) == pytest.approx(factor, abs=1e-6)


def test_a_single_epoch_of_delayed_cosine_rests():
    assert {lr_factor("delayed-cosine", e, 1, w) for e in (0, 0.5, 1) for w in (0, 11)} == {0}


def test_cosine_without_warmup_ends_at_zero():
    assert lr_factor("cosine", 0, 100) == 1
    assert lr_factor("cosine", 50, 100) == pytest.approx(0.5)
    assert lr_factor("cosine", 100, 100) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("epoch", [0, 0.5, 33, 100])
def test_constant(epoch):
    assert lr_factor("constant", epoch, 100) == 1


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [
        (0, 1 / 25),
        (15, (1 + 1 / 25) / 2),  # half way up
        (30, 1),
        (65, (1 + 1e-4) / 2),  # half way down
        (100, 1e-4),
    ],
)
def test_onecycle(epoch, factor):
    assert lr_factor("onecycle", epoch, 100) == pytest.approx(factor, rel=1e-12)


def test_onecycle_is_torchs():
    import torch

    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=1)
    # torch divides the start by final_div_factor, and its last step is the end.
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1, total_steps=101, pct_start=0.3 + 0.7 / 101, final_div_factor=1e4 / 25
    )
    for step in range(101):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(
            lr_factor("onecycle", step, 100), abs=1e-12
        )
        optimizer.step()
        if step < 100:
            peer.step()


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"delayed-cosine"}))
def test_warmup_is_a_line_from_zero(schedule):
    for epoch in (0, 1, 2.5, 4.999):
        assert lr_factor(schedule, epoch, 100, 5) == pytest.approx(epoch / 5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 5, 200])
def test_factors_lie_between_zero_and_one(schedule, warmup):
    factors = [lr_factor(schedule, e / 10, 100, warmup) for e in range(1001)]
    assert all(0 <= f <= 1 and math.isfinite(f) for f in factors)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_reaches_the_peak(schedule):
    assert max(lr_factor(schedule, e, 100, 5) for e in range(101)) == pytest.approx(1)


class FakeRun:
    n_steps, n_epochs, lr_share = 4, 10, 1.0

    def __init__(self, step):
        self.step = step


class FakeNet:
    def __init__(self, step):
        self.run = FakeRun(step)
        self.optimizer_ = self
        self.param_groups = [{}, {"lr_scale": 10.0}, {"fixed_lr": 0.7}]


@pytest.mark.parametrize("step", [0, 1, 13, 39])
def test_the_callback_follows_fractional_epochs_and_scales_groups(step):
    net = FakeNet(step)
    Schedule("cosine", 0.1, 2).on_batch_begin(net, training=True)
    first, second, _ = (group["lr"] for group in net.param_groups)
    assert first == pytest.approx(0.1 * lr_factor("cosine", step / 4, 10, 2))
    assert second == pytest.approx(10 * first)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("step", [0, 1, 13, 39])
def test_no_schedule_touches_a_fixed_rate(step, schedule):
    net = FakeNet(step)
    Schedule(schedule, 0.1, 2).on_batch_begin(net, training=True)
    assert net.param_groups[2]["lr"] == 0.7


def test_a_fixed_rate_of_zero_is_zero():
    net = FakeNet(20)
    net.param_groups[2]["fixed_lr"] = 0.0
    Schedule("constant", 0.1, 0).on_batch_begin(net, training=True)
    assert net.param_groups[2]["lr"] == 0
