"""Learning-rate schedules: a factor on the peak rate as a function of the fractional epoch."""

import math
from typing import Any

from skorch.callbacks import Callback

__all__ = ["SCHEDULES", "Schedule", "lr_factor", "peak_epoch"]

SCHEDULES = ("cosine", "delayed-cosine", "multistep", "onecycle", "constant")

# IDFD's milestones 600, 950, 1300 and 1650 of 2,000 epochs.
_MILESTONES = (0.3, 0.475, 0.65, 0.825)
_ONECYCLE_RISE, _ONECYCLE_START, _ONECYCLE_END = 0.3, 1 / 25, 1e-4


def lr_factor(schedule: str, epoch: float, max_epochs: int, warmup_epochs: float = 0) -> float:
    """Share of the peak learning rate at a fractional epoch.

    Parameters
    ----------
    schedule : {"cosine", "delayed-cosine", "multistep", "onecycle", "constant"}
        "cosine" is ProPos' form, (1 + cos(pi (e - W) / T)) / 2 with the warm-up W not
        taken off the period T; "delayed-cosine" stays at 0 for one epoch, rises linearly
        until epoch W and falls to 0 at T as a half cosine (SeCu); "multistep" multiplies
        by 0.1 at 30, 47.5, 65 and 82.5 % of the epochs (IDFD); "onecycle" rises over 30 %
        of the epochs from 1/25 and falls to 1e-4, both as half cosines.
    epoch : float
        Epochs done, fractions counted.
    max_epochs : int
        Length of the training T.
    warmup_epochs : float, default=0
        Linear rise from 0 to the peak until this epoch W, before the schedule.

    Returns
    -------
    float
        A factor in [0, 1].

    Examples
    --------
    >>> lr_factor("cosine", 300, 1000, warmup_epochs=50)
    0.8535533905932737
    """
    if schedule == "delayed-cosine":
        return _delayed_cosine(epoch, max_epochs, warmup_epochs)
    if epoch < warmup_epochs:
        return epoch / warmup_epochs
    if schedule == "cosine":
        return _half_cosine((epoch - warmup_epochs) / max_epochs, 1.0, 0.0)
    if schedule == "multistep":
        return 0.1 ** sum(epoch >= share * max_epochs for share in _MILESTONES)
    if schedule == "onecycle":
        done = epoch / max_epochs
        if done < _ONECYCLE_RISE:
            return _half_cosine(done / _ONECYCLE_RISE, _ONECYCLE_START, 1.0)
        return _half_cosine((done - _ONECYCLE_RISE) / (1 - _ONECYCLE_RISE), 1.0, _ONECYCLE_END)
    return 1.0


def peak_epoch(schedule: str, warmup_epochs: float) -> float:
    """Epoch until which the warm-up keeps the rate below the schedule's.

    Parameters
    ----------
    schedule : str
        See `lr_factor`.
    warmup_epochs : float
        Linear warm-up.

    Returns
    -------
    float
        At least 1 for "delayed-cosine", whose first epoch has a rate of 0.

    Examples
    --------
    >>> peak_epoch("cosine", 0), peak_epoch("delayed-cosine", 0)
    (0, 1)
    """
    return max(1, warmup_epochs) if schedule == "delayed-cosine" else warmup_epochs


def _delayed_cosine(epoch: float, max_epochs: int, warmup_epochs: float) -> float:
    peak = peak_epoch("delayed-cosine", warmup_epochs)
    if epoch <= 1:
        return 0.0
    if epoch < peak:
        return (epoch - 1) / (peak - 1)
    return _half_cosine((epoch - peak) / max(1, max_epochs - peak), 1.0, 0.0)


def _half_cosine(share: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class Schedule(Callback):
    """Set the learning rate of every optimizer group before each step.

    Parameters
    ----------
    schedule : str
        See `lr_factor`.
    lr : float
        Peak learning rate; a group's ``lr_scale`` multiplies it, its ``fixed_lr`` replaces
        it.
    warmup_epochs : float
        Linear warm-up.
    """

    def __init__(self, schedule: str, lr: float, warmup_epochs: float):
        self.schedule = schedule
        self.lr = lr
        self.warmup_epochs = warmup_epochs

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Follow the schedule by fractional epochs."""
        run = net.run
        epoch = run.step / run.n_steps
        lr = self.lr * lr_factor(self.schedule, epoch, run.n_epochs, self.warmup_epochs)
        for group in net.optimizer_.param_groups:
            rate = group.get("fixed_lr", lr * group.get("lr_scale", 1.0))
            group["lr"] = run.lr_share * rate
