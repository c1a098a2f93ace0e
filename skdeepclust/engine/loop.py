"""The epochs of a training: written down, gone on from, repeated where they diverge."""

import time
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skdeepclust.engine.checkpoint import Stage
from skdeepclust.engine.frozen import FrozenViews
from skdeepclust.engine.images import Batches
from skdeepclust.engine.processes import synchronise
from skdeepclust.engine.signals import Signals
from skdeepclust.engine.state import capture, restore
from skdeepclust.engine.warn import warn_user
from skdeepclust.ops import collective

__all__ = ["Diverged", "Loop"]

# Share of the learning rate with which a training goes on that has diverged.
_CAUTION = 0.1


class Diverged(ValueError):
    """A loss or a weight is not finite."""


class Loop:
    """All epochs of a net, from where they were left if a stage holds a state.

    Parameters
    ----------
    net : ObjectiveNet
        At the start of its training.
    batches : Batches
        What it trains on.
    stage : Stage, default=None
        Where states are written to.

    Attributes
    ----------
    midway : dict or None
        The sums so far in an epoch: ``totals`` of the losses, ``samples``, ``steps`` and
        ``seconds``, and its ``order`` of the samples; None between epochs.
    stopped_early : bool
        Set when a callback ends the training.
    """

    def __init__(self, net: Any, batches: Batches, stage: Stage | None):
        self.net = net
        self.batches = batches
        self.stage = stage
        self.midway: dict[str, Any] | None = None
        self.stopped_early = False
        self.signals = Signals(listen=stage is not None and collective.world_size() == 1)

    def run(self) -> None:
        """Train to the end.

        Raises
        ------
        Diverged
            If a smaller learning rate does not help either.
        KeyboardInterrupt, SystemExit
            If a callback or a signal ends the training; the state has been written.
        """
        try:
            with self.signals:
                self._run()
        finally:
            if self.stage:
                self.stage.close()

    def _run(self) -> None:
        run, found = self.net.run, self.stage.load() if self.stage else None
        if found:
            restore(self, found)
            if self.stopped_early:
                raise KeyboardInterrupt
        self._good = capture(self)
        try:
            while run.epoch < run.n_epochs:
                self._train_epoch()
        except (KeyboardInterrupt, SystemExit):
            if self.stopped_early:
                self._good = capture(self)
            self._save()
            raise

    def _train_epoch(self) -> None:
        try:
            self.net.train_epoch(self.batches)
        except Diverged as error:
            self._retry(error)
            return
        if collective.world_size() > 1:  # the state is that of all ranks
            synchronise(self.net.module_)
        self._good = capture(self)
        epoch, last = self.net.run.epoch, self.net.run.n_epochs
        if self.stage and (epoch % self.stage.checkpoint.every == 0 or epoch == last):
            self._save()

    def _save(self) -> None:
        if self.stage:
            self.stage.save(self._good)

    def _retry(self, error: Diverged) -> None:
        """Go back to the last good state, once, and on with smaller steps."""
        run = self.net.run
        if self._augment_is_to_blame():
            raise ValueError(
                "augment makes values that are not finite of samples that are: see where it "
                "divides, or takes a root or a logarithm"
            ) from error
        if run.lr_share < 1:
            raise error
        warn_user(
            f"{error} The epoch is repeated, and training goes on, at a tenth of the learning "
            "rate.",
            ConvergenceWarning,
        )
        restore(self, self._good)
        run.lr_share = _CAUTION

    @torch.no_grad()
    def _augment_is_to_blame(self) -> bool:
        """Whether views of an epoch are not finite, for the samples are; draws random numbers."""
        views = self.net.module_.views
        found = False
        for batch in self.batches:
            x, see = batch["x"], views
            if isinstance(views, FrozenViews) and x.ndim == 4:
                see = views.images  # and not what the backbone makes of them
            found = any(not bool(view.isfinite().all()) for view in see(x, batch.get("stretch")))
            if found:
                break
        return collective.any_rank(found, torch.device(self.net.device))

    # -- inside an epoch ----------------------------------------------------------------------

    def begin(self) -> bool:
        """Start the clock of an epoch; whether it is a new one."""
        new = self.midway is None
        if self.midway is None:
            self.midway = {"totals": {}, "samples": 0, "steps": 0, "seconds": 0.0}
        else:
            self.batches.go_on(self.midway["order"], self.midway["steps"])
        self._started = time.perf_counter() - self.midway["seconds"]
        return new

    def count(self, losses: dict[str, Tensor], n_samples: int) -> None:
        """Add a step to the sums."""
        assert self.midway is not None  # an epoch has begun
        totals = self.midway["totals"]
        for name, value in losses.items():
            totals[name] = totals[name] + value if name in totals else value.clone()
        self.midway["samples"] += n_samples
        self.midway["steps"] += 1

    def heed(self) -> None:
        """Between two steps: stop if a signal has asked for that."""
        self.signals.stepping = False
        if self.signals.pending:
            assert self.midway is not None  # an epoch has begun
            self.midway |= {"order": self.batches.order, "seconds": self.seconds}
            self._good = capture(self)
            self.signals.deliver()

    def end(self) -> dict[str, Any]:
        """The sums of the epoch, which is over."""
        assert self.midway is not None  # an epoch has begun
        sums, self.midway = self.midway, None
        return sums

    @property
    def seconds(self) -> float:
        """Time that the epoch has taken so far."""
        return time.perf_counter() - self._started
