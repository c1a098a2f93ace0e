"""One run of reproduce.py: trained in slices that end when their time is up, then scored."""

import functools
import hashlib
import json
import math
import signal
import sys
import time
import warnings

import torch
from entrants import settings
from published import EVERY, load, recipe
from results import cpu_model, environment
from row import training
from skorch.callbacks import Callback

import skdeepclust
from skdeepclust.engine.device import resolve_device, resolve_precision
from skdeepclust.metrics import clustering_report
from skdeepclust.ops.kmeans import kmeans

clock = time.monotonic

LABELS = "of the last epoch; no epoch, seed or setting was chosen by the classes"
MONITORED = "labels of the method at the end of an epoch, on the fitted split; nothing reads them"


class Run:
    """One method with one recipe on one data set from one seed.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    method : str
        Of `published.ALL`.
    seed : int
        Of all random numbers.
    """

    def __init__(self, args, method, seed):
        self.args, self.method, self.seed = args, method, seed
        self.recipe = recipe(method, args.data, args.recipe)
        self.name = f"{args.data}-{method}-{args.recipe}-seed{seed}"
        self.state = args.state / self.name
        self.file = args.out / f"{self.name}.json"
        self.device = resolve_device(args.device)
        self.every = args.every or EVERY[args.recipe]

    def model(self):
        """The estimator; whether it compiles is up to the device, and no part of a recipe."""
        given = self.recipe.params | ({"max_epochs": self.args.epochs} if self.args.epochs else {})
        compiled = self.device.type == "cuda" and not self.args.eager
        given |= {"device": str(self.device), "compile": compiled, "random_state": self.seed}
        # A stop writes a state in any case; one each epoch would be tens of GB in a long run.
        kept = {"checkpoint": self.state, "checkpoint_every": self.every}
        return getattr(skdeepclust, self.recipe.method)(**given, **kept)

    def images(self, split):
        """Images and classes of a split."""
        shape = self.recipe.params.get("image_shape")
        return _loaded(self.args.data, split, self.args.data_home, shape)

    @property
    def key(self):
        """What another run differs in."""
        names = {"method": self.method, "data": self.args.data, "recipe": self.args.recipe}
        return {**names, "seed": self.seed, "settings": settings(self.model())}

    @property
    def facts(self):
        """What a slice runs on."""
        cuda = self.device.type == "cuda"
        return {
            "commit": self.ran_on["commit"],
            "device": torch.cuda.get_device_name(self.device) if cuda else cpu_model(),
            "threads": torch.get_num_threads(),
        }

    @functools.cached_property
    def ran_on(self):
        """Commit, versions and hardware."""
        found = environment(self.recipe.method)
        del found["peers"]
        return found | ({"commit": self.args.commit} if self.args.commit else {})

    def protocol(self, n_images):
        """What the scores are scores of."""
        autocast = resolve_precision(self.model().precision, self.device, images=True)[1]
        small = self.args.recipe == "small"  # follows none
        return {
            "fitted": self.recipe.fitted,
            "scored": self.recipe.scored or self.recipe.fitted,
            "images": n_images,
            "published_recipe": None if small else self.recipe.name,
            "recipe_version": self.recipe.version,
            "computed_in": str(autocast or torch.float32).removeprefix("torch."),
            "labels": LABELS,
            "monitored": MONITORED,
        }


@functools.lru_cache(maxsize=2)  # the splits of one run, and of its other seeds
def _loaded(data, split, data_home, image_shape):
    return load(data, split, data_home, image_shape)


# -- training -----------------------------------------------------------------------------


def fit(run, deadline):
    """Train until the end, or until the deadline.

    Parameters
    ----------
    run : Run
        Goes on from its folder of states.
    deadline : float
        On `clock`.

    Returns
    -------
    dict or None
        The row of the run; None if it has not ended.
    """
    images, target = run.images(run.recipe.fitted)
    progress = Progress(run.state / "progress.json", **run.facts)
    watch = Watch(target, run.every, deadline, progress)
    model = run.model().set_params(callbacks=[watch])
    if not _finished(model, images, watch, progress):
        return None
    found = result(run, model, target) | {"curve": watch.curve_, "restarted": False}
    progress.write()
    found |= {"seconds": round(progress.seconds, 1), "slices": progress.slices}
    what = {"estimator": run.recipe.method, "protocol": run.protocol(len(target))}
    return what | run.ran_on | run.facts | found


def _finished(model, images, watch, progress):
    """Fit a model; whether that came to its end before the deadline."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        try:
            model.fit(images)
        except SystemExit:
            if not watch.over:
                raise
            return False
        finally:
            progress.close(watch, told)
    if model.net_.interrupted:
        raise KeyboardInterrupt
    return True


class Watch(Callback):
    """Score some epochs, tell of all, and stop the training when its time is up.

    The scores serve to look at: they come from the labels that the method itself has at the end of
    an epoch, and nothing in training reads them. Checkpoints keep what ends in an underscore, so
    that a training that goes on from an epoch has the scores up to that epoch.

    Parameters
    ----------
    target : ndarray of shape (n_samples,)
        Classes of the training samples; -1 where there is none.
    every : int
        Epochs between two scores; the last epoch of a stage has some in any case.
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
            told = f"{net.run.epoch} of {net.run.n_epochs} epochs, ACC {self.curve_[-1]['acc']:.3f}"
            print(f"{told}, {net.record['seconds']:.2f} s an epoch", flush=True)
        self.progress.tell(self)


class Progress:
    """What the slices of a run took, in a file beside its state.

    Parameters
    ----------
    path : Path
        JSON file; what is there is gone on with.
    facts : dict
        Of the slice that begins.
    """

    def __init__(self, path, **facts):
        self.path = path
        self.slices = json.loads(path.read_text())["slices"] if path.exists() else []
        self.slices.append({**facts, "until_epoch": 0, "seconds": 0.0, "warnings": []})
        self.curve = []
        self._started = clock()

    @property
    def seconds(self):
        """Of all slices; one that was killed counts to the end of its last epoch."""
        return sum(part["seconds"] for part in self.slices)

    def tell(self, watch):
        """An epoch has ended."""
        self.slices[-1]["until_epoch"] = watch.epochs_
        self.curve = watch.curve_
        self.write()

    def close(self, watch, told):
        """The training has ended, or stopped."""
        self.slices[-1]["warnings"] = sorted({str(warning.message) for warning in told})
        for message in self.slices[-1]["warnings"]:
            print(message, file=sys.stderr)
        self.tell(watch)

    def write(self):
        self.slices[-1]["seconds"] = round(clock() - self._started, 2)
        write(self.path, {"slices": self.slices, "curve": self.curve})


def write(path, tree):
    """Replace a file in one step: whoever reads it finds the old or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(tree, allow_nan=False) + "\n")
    scratch.replace(path)


# -- what a finished training is worth ----------------------------------------------------


def result(run, model, target):
    """Scores by split, speed, and the history."""
    fitted, scored = run.recipe.fitted, run.recipe.scored
    found = {fitted: scores(target, model.labels_)}
    if scored not in (None, fitted):
        images, classes = run.images(scored)
        found[scored] = scores(classes, model.predict(images))
    rounds = training(model)
    return {
        "scores": found,
        **bank_scores(model, target, run.seed),
        "n_iter": rounds["n_iter"],
        "images_per_second": rounds["images_per_second"],
        "training_seconds": round(sum(row["seconds"] for row in model.history_), 1),
        "collapsed": model.net_.collapsed,
        "labels_sha256": hashlib.sha256(model.labels_.tobytes()).hexdigest(),
        "history": columns(model.history_),
    }


def scores(target, labels):
    """ACC, NMI and ARI of the samples that have a class."""
    known = target >= 0
    report = clustering_report(target[known], labels[known])
    return {name: round(float(report[name]), 4) for name in ("acc", "nmi", "ari")}


def bank_scores(model, target, seed):
    """Of k-means of IDFD's memory bank, which is what its paper clusters."""
    bank = getattr(model.net_.objective, "bank", None)
    if bank is None:
        return {}
    generator = torch.Generator(bank.device).manual_seed(seed)
    labels = kmeans(bank, model.n_clusters, n_init=20, generator=generator)[1]
    found = scores(target, labels.cpu().numpy())
    return {f"bank_{name}": value for name, value in found.items()}


def columns(history):
    """The rows of a history as columns, None where a stage has no such figure."""
    names = dict.fromkeys(name for row in history for name in row)
    return {name: [_plain(row.get(name)) for row in history] for name in names}


def _plain(value):
    """A figure as JSON holds it."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
