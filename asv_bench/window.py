"""Time some steps in the middle of a training, by a callback."""

import contextlib
import time
import warnings

from skorch.callbacks import Callback

__all__ = ["Window", "watch"]


class Over(Exception):
    """There is nothing more to train for."""


class Window(Callback):
    """Time so many steps after the first ones, then end the training.

    Parameters
    ----------
    skipped, steps : int
        Steps before the window and in it.
    clock : callable, default=time.process_time
        Seconds; for a device, one that waits for it.

    Attributes
    ----------
    seconds : float
        Of the steps in the window.
    views : int
        Augmented images in these steps.
    net : skorch.NeuralNet
        As the window left it.
    """

    def __init__(self, skipped, steps, clock=time.process_time):
        self.skipped, self.steps, self.clock = skipped, steps, clock

    def on_train_begin(self, net, **kwargs):
        self.done = self.views = 0

    def on_batch_end(self, net, batch=None, **kwargs):
        self.done += 1
        if self.done > self.skipped:
            self.views += len(batch["index"]) * net.objective.n_views
        if self.done == self.skipped:
            self.start = self.clock()
        elif self.done == self.skipped + self.steps:
            self.seconds = self.clock() - self.start
            self.net = net
            raise Over


def watch(model, X, window):
    """Fit until the window closes; the estimator is not fitted then."""
    model.set_params(callbacks=[window], max_epochs=100_000)
    with contextlib.suppress(Over), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("error", "compile=True")  # or it would pass for compiled
        model.fit(X)
    return window
