"""Training: stock skorch callbacks, the history, divergence, precision and Ctrl-C."""

import copy
import functools
import operator
import os
import signal
import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
    ProgressBar,
    TrainEndCheckpoint,
)
from torch import nn

import skdeepclust
import skdeepclust.base
from skdeepclust.datasets import make_image_blobs
from skdeepclust.engine.objective import Learner
from skdeepclust.metrics import hungarian_accuracy_scorer
from skdeepclust.model_selection import TransductiveSplit

# Eight steps are too few for a representation; these tests are about other things.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
HEALTH = {"label_change", "size_entropy", "empty_clusters", "feature_std"}


@pytest.fixture(scope="module")
def blobs():
    X, y = make_image_blobs(50, random_state=0)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def quick(method, **params):
    """Four epochs of two steps, without warm-up of the learning rate."""
    defaults = {"max_epochs": 4, "batch_size": 24, "warmup_epochs": 0, "random_state": 0}
    return method(3, **defaults | params)


class Recorder(Callback):
    """What the callbacks of a batch see."""

    def on_train_begin(self, net, **kwargs):
        self.losses, self.terms, self.index = [], [], []

    def on_batch_end(self, net, batch=None, loss=None, y_pred=None, **kwargs):
        epoch = net.run.epoch
        self.losses.append((epoch, float(loss)))
        self.terms.append((epoch, {k: float(v) for k, v in y_pred.items()}))
        self.index.append((epoch, batch["index"].tolist()))


# -- history --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_logged_losses_are_the_means_of_the_batches(method, blobs):
    recorder = Recorder()
    estimator = quick(method, callbacks=[recorder]).fit(blobs[0])
    for row in estimator.history_:
        epoch = row["epoch"] - 1
        losses = [loss for e, loss in recorder.losses if e == epoch]
        assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        terms = [t for e, t in recorder.terms if e == epoch]
        for name in terms[0]:
            assert row[name] == pytest.approx(np.mean([t[name] for t in terms]), rel=1e-6)
        assert row["loss"] == pytest.approx(sum(row[name] for name in terms[0]), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_history_rows(method, blobs):
    estimator = quick(method).fit(blobs[0])
    assert [row["epoch"] for row in estimator.history_] == [1, 2, 3, 4]
    assert estimator.n_iter_ == 4
    for row in estimator.history_:
        assert {"loss", "lr", "seconds", "images_per_second"} | HEALTH <= set(row)
        assert all(type(value) in (int, float) for value in row.values())
        assert np.isfinite([v for k, v in row.items() if k != "label_change"]).all()
        assert row["seconds"] > 0 and row["images_per_second"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_full_epoch_sees_every_sample_once(method, blobs):
    recorder = Recorder()
    quick(method, batch_size=25, callbacks=[recorder]).fit(blobs[0])
    for epoch in range(4):
        seen = functools.reduce(
            operator.iadd, (index for e, index in recorder.index if e == epoch), []
        )
        assert sorted(seen) == list(range(50))


def test_training_keeps_no_samples(blobs):
    estimator = quick(METHODS[0]).fit(blobs[0])
    assert estimator.net_.run is None


# -- stock callbacks ------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_early_stopping_ends_training_without_raising(method, blobs):
    stop = EarlyStopping(
        monitor="train_loss", patience=2, threshold=100, threshold_mode="abs", sink=lambda _: None
    )
    estimator = quick(method, max_epochs=10, callbacks=[stop])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(blobs[0])
    assert not [w for w in caught if "interrupted" in str(w.message)]
    assert estimator.n_iter_ == 3  # the first sets the mark, two miss it
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs[0]))


@pytest.mark.parametrize("method", METHODS)
def test_clusters_are_of_the_weights_that_a_callback_goes_back_to(method, blobs):
    X, _ = blobs
    lowest = {"lower_is_better": False, "patience": 99, "sink": lambda _: None}
    kept = []

    class Watch(EarlyStopping):
        def on_train_end(self, net, **kwargs):
            super().on_train_end(net, **kwargs)
            kept.append(copy.deepcopy(net.objective.state_dict()))

    best = Watch("train_loss", load_best=True, **lowest)
    estimator = quick(method, max_epochs=8, lr=1e-2, callbacks=[best]).fit(X)
    assert best.best_epoch_ < 8  # a larger loss is "better" here
    assert len(np.unique(estimator.labels_)) == estimator.n_clusters
    assert np.abs(estimator.cluster_centers_).sum(1).min() > 0
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))
    now = estimator.net_.objective.state_dict()
    weights = [name for name in now if name.startswith(("encoder", "online", "target"))]
    assert weights and all(torch.equal(now[name], kept[0][name]) for name in weights)


def test_training_embeds_by_autocast_and_its_end_in_full_precision(blobs, monkeypatch):
    """Pseudo-labels may be as rough as the steps; what a user sees may not."""
    asked = []

    class Watched(Learner):
        def embed(self, x, precision=None):
            asked.append(precision)
            z = super().embed(x, precision)
            assert z.dtype == torch.float32
            return z

    monkeypatch.setattr(skdeepclust.base, "Learner", Watched)
    method = skdeepclust.ProPosClustering
    estimator = quick(method, precision="bfloat16").fit(blobs[0])
    assert asked[:-2] == [torch.bfloat16] * 4 and asked[-2:] == [None, None]
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs[0]))
    asked.clear()
    quick(method, precision="float32").fit(blobs[0])
    assert set(asked) == {None}


@pytest.mark.parametrize(
    ("params", "warns"),
    [
        ({"max_epochs": 2, "warmup_epochs": 2}, True),
        ({"max_epochs": 3, "warmup_epochs": 2}, False),
        ({"max_epochs": 1, "warmup_epochs": 0}, False),
        ({"max_epochs": 1, "warmup_epochs": 0, "schedule": "delayed-cosine"}, True),
    ],
)
def test_a_rate_that_never_rises_is_told(params, warns, blobs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quick(METHODS[0], **params).fit(blobs[0])
    assert any("ends before the learning rate" in str(w.message) for w in caught) == warns


def test_features_beyond_half_precision_are_no_fault_of_the_augmentation(blobs):
    class Loud(nn.Module):
        num_features = 64

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 64, bias=False)
            nn.init.constant_(self.linear.weight, 1e5)

        def forward(self, x):
            return self.linear(x.flatten(1))

    how = {"augment": lambda x: x.flip(-1), "freeze_backbone": True, "precision": "float16"}
    with pytest.raises(ValueError, match=r"diverged|not finite|features") as error:
        quick(METHODS[0], backbone=Loud(), **how).fit(blobs[0])
    assert "augment" not in str(error.value)


def test_an_augmentation_that_divides_by_nothing_is_named(blobs):
    X = blobs[0].copy()
    X[-1] = X.min()  # one sample of all

    def standardised(x):
        flat = x.flatten(1)
        mean, std = flat.mean(1, keepdim=True), flat.std(1, keepdim=True)
        return ((flat - mean) / std).view_as(x)

    with pytest.raises(ValueError, match="augment makes values that are not finite"):
        quick(METHODS[0], augment=standardised).fit(X)


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (EarlyStopping(), "EarlyStopping has monitor='valid_loss'.*monitor='train_loss'"),
        (EarlyStopping, "EarlyStopping has monitor='valid_loss'"),
        (("best", Checkpoint()), "Checkpoint has .*monitor='train_loss_best'"),
        (LRScheduler(), "LRScheduler has no effect.*schedule="),
        (EpochScoring(len), "EpochScoring: pass on_train=True and use_caching=False"),
        (EpochScoring(len, on_train=True), "EpochScoring: pass on_train=True and use_caching"),
    ],
)
def test_callbacks_that_could_do_nothing_are_refused(callback, words, blobs):
    with pytest.raises(ValueError, match=words):
        quick(METHODS[0], callbacks=[callback]).fit(blobs[0])


def test_a_score_of_every_epoch(blobs):
    score = EpochScoring(lambda net, X, y=None: 0.5, name="half", on_train=True, use_caching=False)
    estimator = quick(METHODS[0], callbacks=[score]).fit(blobs[0])
    assert [row["half"] for row in estimator.history_] == [0.5] * estimator.max_epochs


@pytest.mark.parametrize("when", ["on_train_begin", "on_train_end"])
def test_ctrl_c_before_and_after_all_epochs(when, blobs):
    class Stop(Callback):
        pass

    def stop(self, net, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    setattr(Stop, when, stop)
    with pytest.raises(KeyboardInterrupt):
        quick(METHODS[0], callbacks=[Stop()]).fit(blobs[0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_is_the_same_where_gradients_are_off(mode, blobs):
    with mode():
        z = quick(METHODS[0]).fit(blobs[0]).transform(blobs[0])
    np.testing.assert_array_equal(z, quick(METHODS[0]).fit(blobs[0]).transform(blobs[0]))


def test_early_stopping_inside_a_search(blobs):
    stop = EarlyStopping(
        monitor="train_loss", patience=2, threshold=100, threshold_mode="abs", sink=lambda _: None
    )
    search = GridSearchCV(
        quick(METHODS[0], callbacks=[stop]),
        {"lr": [1e-3]},
        scoring=hungarian_accuracy_scorer,
        cv=TransductiveSplit(),
        error_score="raise",
    ).fit(*blobs)
    assert search.best_estimator_.n_iter_ == 3


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_clipping_clips(method, blobs, precision):
    class Start(Callback):
        def on_train_begin(self, net, **kwargs):
            self.weights = [p.detach().clone() for p in net.module_.parameters() if p.requires_grad]

        def on_train_end(self, net, **kwargs):
            self.last = [p.detach().clone() for p in net.module_.parameters() if p.requires_grad]

        def moved(self):
            pairs = zip(self.weights, self.last, strict=True)
            return float(sum((a - b).square().sum() for a, b in pairs)) ** 0.5

    free, clipped = Start(), Start()
    params = {"optimizer": "sgd", "schedule": "constant", "lr": 0.1, "precision": precision}
    params |= {"momentum": 0, "weight_decay": 0}
    if "early_heads" in method._get_param_names():
        params["early_heads"] = ()  # after early heads, k-means moves weights too
    X = blobs[0].reshape(50, -1)  # convolutions in float16 are slow on CPUs
    quick(method, **params, callbacks=[free]).fit(X)
    quick(method, **params, callbacks=[clipped, GradientNormClipping(1e-3)]).fit(X)
    # Eight steps of at most lr * clip, ten times that for ProPos' predictor.
    assert clipped.moved() <= 8 * 0.1 * 1e-3 * 10.1
    assert free.moved() > clipped.moved() * 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("monitor", [None, "train_loss", "train_loss_best"])
def test_checkpoints_are_written(method, monitor, blobs, tmp_path):
    quick(method, callbacks=[Checkpoint(monitor=monitor, dirname=tmp_path)]).fit(blobs[0])
    assert {"params.pt", "optimizer.pt", "history.json"} <= {p.name for p in tmp_path.iterdir()}


def test_a_train_end_checkpoint_holds_the_weights_of_the_end(blobs, tmp_path):
    estimator = quick(METHODS[0], callbacks=[TrainEndCheckpoint(dirname=tmp_path)]).fit(blobs[0])
    saved = torch.load(tmp_path / "train_end_params.pt", weights_only=True)
    state = estimator.net_.module_.state_dict()
    assert saved.keys() == state.keys()
    assert all(torch.equal(saved[k], state[k]) for k in saved)


@pytest.mark.parametrize("callback", [ProgressBar, EpochTimer, PrintLog])
def test_stock_callbacks_run_and_change_nothing(callback, blobs, capsys):
    plain = quick(METHODS[0]).fit(blobs[0])
    watched = quick(METHODS[0], callbacks=[callback()]).fit(blobs[0])
    np.testing.assert_array_equal(plain.transform(blobs[0]), watched.transform(blobs[0]))


def test_callbacks_may_be_named_pairs(blobs):
    recorder = Recorder()
    quick(METHODS[0], callbacks=[("mine", recorder)]).fit(blobs[0])
    assert len(recorder.losses) == 12


def test_an_error_in_a_callback_reaches_the_user(blobs):
    class Broken(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("my own error")

    with pytest.raises(RuntimeError, match="my own error"):
        quick(METHODS[0], callbacks=[Broken()]).fit(blobs[0])


# -- numerics -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_finite_says_what_to_do(method, blobs):
    estimator = quick(method, lr=1e30, schedule="constant", warmup_epochs=0, max_epochs=10)
    with pytest.raises(ValueError, match=r"diverged in epoch \d+:.*\blr\b"):
        estimator.fit(blobs[0])
    with pytest.raises(ValueError, match="augment makes values that are not finite"):
        quick(method, augment=lambda x: x * torch.nan).fit(blobs[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "float64"])
def test_every_precision_trains(method, precision, blobs):
    # Convolutions in float16 are slow on CPUs.
    X = blobs[0].reshape(50, -1) if precision == "float16" else blobs[0]
    estimator = quick(method, precision=precision).fit(X)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))
    wanted = torch.float64 if precision == "float64" else torch.float32
    assert {p.dtype for p in estimator.net_.module_.parameters()} == {wanted}
    assert estimator.transform(X).dtype == estimator.predict_proba(X).dtype == np.float32
    assert np.isfinite(estimator.transform(X)).all()


def test_precisions_differ_and_float64_is_nearest_to_float32(blobs):
    losses = {
        p: quick(METHODS[0], precision=p, augment=None, max_epochs=1).fit(blobs[0]).history_[0]
        for p in ("float32", "bfloat16", "float64")
    }
    exact, half = losses["float64"]["loss"], losses["bfloat16"]["loss"]
    assert 0 < abs(losses["float32"]["loss"] - exact) < abs(half - exact)


def test_ghost_batch_norm_is_put_into_the_nets(blobs):
    from skdeepclust.nn.norm import GhostBatchNorm

    estimator = quick(METHODS[0], norm_batch_size=8).fit(blobs[0])
    kinds = {type(m) for m in estimator.net_.module_.modules()}
    assert GhostBatchNorm in kinds
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(blobs[0]))


# -- Ctrl-C ---------------------------------------------------------------------------------


class Interrupt(Callback):
    """Interrupts training in the third epoch, by raising or by a real signal."""

    def __init__(self, how, event):
        self.how, self.event = how, event

    def strike(self, net, event):
        if event == self.event and net.run.epoch == 2:
            if self.how == "signal":
                signal.raise_signal(signal.SIGINT)
            else:
                raise KeyboardInterrupt

    def on_epoch_begin(self, net, **kwargs):
        self.strike(net, "epoch begin")

    def on_batch_end(self, net, **kwargs):
        self.strike(net, "batch end")


@pytest.fixture(params=["raise", "signal"])
def how(request):
    if request.param == "signal" and signal.getsignal(signal.SIGINT) is not (
        signal.default_int_handler
    ):
        pytest.skip("SIGINT is handled elsewhere")
    return request.param


@pytest.mark.parametrize("event", ["epoch begin", "batch end"])
@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_leaves_a_fitted_estimator_and_a_warning(method, how, event, blobs):
    X, _ = blobs
    estimator = quick(method, max_epochs=50, callbacks=[Interrupt(how, event)])
    with pytest.warns(UserWarning, match="interrupted after 2 of 50"):
        estimator.fit(X)
    assert estimator.n_iter_ == len(estimator.history_) == 2
    assert all(HEALTH | {"loss", "lr"} <= set(row) for row in estimator.history_)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))
    assert np.isfinite(estimator.cluster_centers_).all()


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_ends_a_grid_search(method, how, blobs):
    search = GridSearchCV(
        quick(method, callbacks=[Interrupt(how, "batch end")]),
        {"lr": [1e-3, 1e-2]},
        scoring=hungarian_accuracy_scorer,
        cv=TransductiveSplit(),
    )
    with pytest.raises(KeyboardInterrupt):
        search.fit(*blobs)


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_ends_a_cross_validation(method, how, blobs):
    estimator = quick(method, callbacks=[Interrupt(how, "batch end")])
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(estimator, *blobs, scoring=hungarian_accuracy_scorer, cv=2)


def test_the_next_fit_after_ctrl_c_is_a_whole_one(blobs):
    estimator = quick(METHODS[0], callbacks=[Interrupt("raise", "batch end")])
    with pytest.warns(UserWarning, match="interrupted"):
        estimator.fit(blobs[0])
    whole = copy.deepcopy(estimator).set_params(callbacks=None).fit(blobs[0])
    assert whole.n_iter_ == 4
    np.testing.assert_array_equal(whole.labels_, quick(METHODS[0]).fit(blobs[0]).labels_)


@pytest.mark.parametrize(
    ("method", "n_samples", "expected"),
    [
        ("IDFDClustering", 1797, 112),
        ("IDFDClustering", 10_000, 256),
        ("CDCClustering", 1797, 64),
        ("CDCClustering", 10_000, 128),
        ("CDCClustering", 10_001, 256),
    ],
)
def test_small_data_take_small_batches_unless_told_otherwise(method, n_samples, expected):
    assert getattr(skdeepclust, method)(10)._batch_size(n_samples) == expected
    for size in (32, 512):
        assert getattr(skdeepclust, method)(10, batch_size=size)._batch_size(n_samples) == size


@pytest.mark.parametrize("method", METHODS)
def test_who_looks_at_the_features_changes_nothing(method, blobs):
    class Look(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("spread", float(net.run.features().std()))

    watched, alone = quick(method, callbacks=[Look()]).fit(blobs[0]), quick(method).fit(blobs[0])
    assert len({row.pop("spread") for row in watched.history_}) == watched.n_iter_
    for name, value in alone.net_.module_.state_dict().items():
        assert torch.equal(value, watched.net_.module_.state_dict()[name]), name
    np.testing.assert_array_equal(watched.labels_, alone.labels_)


def test_an_objective_without_parameters_is_refused(blobs, monkeypatch):
    monkeypatch.setattr("skdeepclust.methods.idfd.IDFDObjective.param_groups", lambda self: [])
    with pytest.raises(ValueError, match="IDFDObjective has no parameters to train"):
        skdeepclust.IDFDClustering(3, max_epochs=1).fit(blobs[0])
