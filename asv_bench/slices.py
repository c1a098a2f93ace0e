"""A training in slices: watched from outside, stopped when its time is up, gone on with later."""

import json
import signal
import time

from skorch.callbacks import Callback

from skdeepclust.metrics import clustering_report

clock = time.monotonic


class Slice(Callback):
    """Score some epochs, keep the time, and stop the training when that is over.

    The scores serve to look at: they come from the labels that the method itself has at the end of
    an epoch, and nothing in training reads them. Checkpoints keep what ends in an underscore, so
    that a training that goes on from an epoch has the scores up to that epoch.

    Parameters
    ----------
    target : ndarray of shape (n_samples,)
        Classes of the training samples; -1 where there is none.
    every : int
        Epochs between two scores; the last epoch has some in any case.
    deadline : float
        On `clock`; the step that is being made then is the last one.
    progress : Progress
        What is told of every epoch.

    Attributes
    ----------
    epochs_ : int
        Epochs finished, over all stages of the method.
    curve_ : list of dict
        ``epoch``, ``acc``, ``nmi`` and ``ari``.
    over : bool
        Whether the deadline has ended the training.
    """

    def __init__(self, target, every, deadline, progress):
        self.target = target
        self.every = every
        self.deadline = deadline
        self.progress = progress
        self.over = False
        self.epochs_ = 0
        self.curve_ = []

    def on_batch_end(self, net, **kwargs):
        if not self.over and clock() >= self.deadline:
            self.over = True
            signal.raise_signal(signal.SIGTERM)  # the state of this very step is written

    def on_epoch_end(self, net, **kwargs):
        self.epochs_ += 1
        if self.epochs_ % self.every == 0 or net.run.epoch == net.run.n_epochs:
            labels = net.health.previous.cpu().numpy()
            self.curve_.append({"epoch": self.epochs_, **scores(self.target, labels)})
        self.progress.tell(self.epochs_, self.curve_)


class Progress:
    """What the slices of a run took, in a file beside its state.

    Parameters
    ----------
    path : Path
        JSON file; what is there is gone on with.
    facts : dict
        Of the slice that begins: commit, device, threads.
    """

    def __init__(self, path, **facts):
        self.path = path
        self.slices = json.loads(path.read_text())["slices"] if path.exists() else []
        self.slices.append({**facts, "until_epoch": 0, "seconds": 0.0})
        self.curve = []
        self._started = clock()

    @property
    def seconds(self):
        """Of all slices; one that was killed counts to the end of its last epoch."""
        return sum(part["seconds"] for part in self.slices)

    def tell(self, epoch, curve):
        self.slices[-1]["until_epoch"] = epoch
        self.curve = curve
        self.write()

    def write(self):
        self.slices[-1]["seconds"] = round(clock() - self._started, 2)
        write_json(self.path, {"slices": self.slices, "curve": self.curve})


def write_json(path, tree):
    """Replace a file in one step: whoever reads it finds the old or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(tree, allow_nan=False) + "\n")
    scratch.replace(path)


def scores(target, labels):
    """ACC, NMI and ARI of the samples that have a class."""
    known = target >= 0
    report = clustering_report(target[known], labels[known])
    return {name: round(float(report[name]), 4) for name in ("acc", "nmi", "ari")}
