"""A training that is broken off goes on as if nothing had happened."""

import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections import namedtuple

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import nn
from torchvision.transforms import v2

import skdeepclust
from skdeepclust import IDFDClustering, ProPosClustering
from skdeepclust.engine.checkpoint import Checkpoint

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
each_method = pytest.mark.parametrize("method", METHODS)
SHORT = {
    "IDFDClustering": {},
    "ProPosClustering": {"scattering_warmup": 1},
    "SeCuClustering": {"self_label_epochs": 2},
    "CDCClustering": {},
}
FILES = ["lock", "stage1.previous.safetensors", "stage1.safetensors"]

pytestmark = pytest.mark.filterwarnings("ignore:Clusters .* hold no sample")


@pytest.fixture(scope="module")
def X(digits):
    return digits[0][:200, ::2, ::2]  # a quarter of the work


def make(method, folder=None, **params):
    light = {"max_epochs": 4, "warmup_epochs": 1, "random_state": 0, **SHORT[method.__name__]}
    return method(5, checkpoint=folder, **light | params)


@pytest.fixture(scope="module")
def unbroken(X):
    return {method: make(method).fit(X) for method in METHODS}


class Crash(Exception):
    """The end of a process, for tests."""


class At(Callback):
    """Do something after so many steps."""

    def __init__(self, step, act):
        self.step, self.act, self.seen = step, act, 0

    def on_batch_end(self, net, **kwargs):
        self.seen += 1
        if self.seen == self.step:
            self.act()


def crash():
    raise Crash


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def break_off(estimator, X, step, act):
    estimator.set_params(callbacks=[At(step, act)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return estimator.fit(X)
    except (Crash, SystemExit):
        return None


def assert_same(first, second):
    np.testing.assert_array_equal(first.labels_, second.labels_)
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)
    states = [e.net_.module_.state_dict() for e in (first, second)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    timeless = [
        [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in h]
        for h in (first.history_, second.history_)
    ]
    np.testing.assert_equal(*timeless)


# Wherever it breaks and however: each of both in every run, all pairs of them in the slow one.
BREAKS = [
    pytest.param(act, step, marks=[] if act is crash or step == 6 else pytest.mark.slow)
    for act in (crash, interrupt, terminate)
    for step in (1, 5, 6, 11, 17)
]


@each_method
@pytest.mark.parametrize(("act", "step"), BREAKS)
def test_a_broken_training_ends_bitwise_like_an_unbroken_one(
    method, act, step, X, unbroken, tmp_path
):
    break_off(make(method, tmp_path), X, step, act)
    assert_same(make(method, tmp_path).fit(X), unbroken[method])


@each_method
def test_broken_again_and_again(method, X, unbroken, tmp_path):
    for step in (2, 3, 4, 2):
        break_off(make(method, tmp_path), X, step, terminate)
    assert_same(make(method, tmp_path).fit(X), unbroken[method])


@each_method
def test_what_has_ended_is_not_trained_again(method, X, unbroken, tmp_path):
    make(method, tmp_path).fit(X)
    steps = At(10**9, crash)
    assert_same(make(method, tmp_path, callbacks=[steps]).fit(X), unbroken[method])
    assert steps.seen == 0


def test_the_bar_goes_on_too(X, tmp_path, capsys):
    break_off(make(IDFDClustering, tmp_path), X, 6, terminate)
    capsys.readouterr()
    model = make(IDFDClustering, tmp_path, verbose=1).fit(X)
    bar = capsys.readouterr().err
    total = re.search(r"6/(\d+) ", bar)[1]
    assert f" 0/{total}" not in bar and "100%" in bar and f"{total}/{total} " in bar
    model.fit(X)  # nothing is left to train
    assert capsys.readouterr().err == ""


def test_killed_without_a_word(X, unbroken, tmp_path):
    script = (
        "import os, signal, sys; import numpy as np; from skdeepclust import IDFDClustering\n"
        "from skorch.callbacks import Callback\n"
        "from skdeepclust.backbones.convnet import ConvNet\n"
        "ConvNet.__init__.__defaults__ = (8,)  # as in this process\n"
        "class Kill(Callback):\n"
        "    def on_batch_end(self, net, **kwargs):\n"
        "        if net.run.step == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "X = np.load(sys.argv[1]); how = dict(max_epochs=4, warmup_epochs=1, random_state=0)\n"
        "IDFDClustering(5, checkpoint=sys.argv[2], callbacks=[Kill()], **how).fit(X)\n"
    )
    np.save(tmp_path / "X.npy", X)
    command = [sys.executable, "-c", script, tmp_path / "X.npy", tmp_path / "state"]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    found = make(IDFDClustering, tmp_path / "state").fit(X)
    assert_same(found, unbroken[IDFDClustering])


def test_sigterm_ends_the_process_by_its_number(X, tmp_path):
    with pytest.raises(SystemExit) as ended:
        make(IDFDClustering, tmp_path, callbacks=[At(6, terminate)]).fit(X)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_users_own_handler_is_asked_first(X, tmp_path):
    heard = []
    was = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(SystemExit):
            make(IDFDClustering, tmp_path, callbacks=[At(6, terminate)]).fit(X)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, was)


def test_ctrl_c_leaves_a_fitted_estimator_that_says_how_to_go_on(X, tmp_path):
    estimator = make(IDFDClustering, tmp_path, callbacks=[At(6, interrupt)])
    with pytest.warns(UserWarning, match="fit again to go on"):
        estimator.fit(X)
    np.testing.assert_array_equal(estimator.predict(X), estimator.labels_)


def test_a_stop_that_was_early_stays_one(X, tmp_path):
    def stopping():
        return [EarlyStopping("train_loss", patience=1, threshold=0.9)]

    first = make(IDFDClustering, tmp_path, callbacks=stopping()).fit(X)
    again = make(IDFDClustering, tmp_path, callbacks=stopping()).fit(X)
    assert first.n_iter_ < 4
    assert_same(first, again)


def test_a_callback_goes_on_where_it_was(X, tmp_path):
    """Without its count of misses it would stop an epoch late."""

    def stopping():
        return EarlyStopping("train_loss", patience=2, threshold=0.9)

    whole = make(IDFDClustering, max_epochs=9, callbacks=[stopping()]).fit(X)
    estimator = make(IDFDClustering, tmp_path, max_epochs=9)
    with pytest.raises(Crash):
        estimator.set_params(callbacks=[stopping(), At(10, crash)]).fit(X)
    assert_same(whole, estimator.set_params(callbacks=[stopping()]).fit(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5}, r"lr was 0\.003 and is 0\.5"),
        ({"max_epochs": 9}, "max_epochs was 4 and is 9"),
        ({"backbone": "mlp"}, "backbone was 'auto'"),
        ({"augment": torch.abs}, "augment was 'auto'"),
        ({"augment": v2.GaussianNoise()}, r"augment was 'auto' and is '\S+GaussianNoise #\w+'"),
    ],
)
def test_another_training_is_refused_by_its_parameter(change, message, X, tmp_path):
    make(IDFDClustering, tmp_path).fit(X)
    with pytest.raises(ValueError, match=message):
        make(IDFDClustering, tmp_path, **change).fit(X)


def test_another_code_of_the_same_name_is_refused(X, tmp_path):
    make(IDFDClustering, tmp_path, augment=lambda x: x).fit(X)
    make(IDFDClustering, tmp_path, augment=lambda x: x).fit(X)
    with pytest.raises(ValueError, match=r"augment was '\S+lambda> #\w+' and is '\S+lambda> #"):
        make(IDFDClustering, tmp_path, augment=lambda x: x.abs()).fit(X)


def test_weights_of_a_module_matter_unless_there_is_a_file_of_them(X, tmp_path):
    def net():
        made = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
        made.num_features = 8
        return made

    torch.save(net().state_dict(), tmp_path / "weights.pt")
    started = {"weights": tmp_path / "weights.pt"}
    make(IDFDClustering, tmp_path / "loaded", backbone=net(), **started).fit(X)
    make(IDFDClustering, tmp_path / "loaded", backbone=net(), **started).fit(X)
    make(IDFDClustering, tmp_path / "own", backbone=net()).fit(X)
    with pytest.raises(ValueError, match="backbone was"):
        make(IDFDClustering, tmp_path / "own", backbone=net()).fit(X)


def test_other_samples_and_methods_are_refused(X, tmp_path):
    make(IDFDClustering, tmp_path).fit(X)
    for other in (X[::-1], X[:100], X.astype(float)):
        with pytest.raises(ValueError, match=r"checkpoint=.*another X"):
            make(IDFDClustering, tmp_path).fit(other)
    with pytest.raises(ValueError, match="another method"):
        make(ProPosClustering, tmp_path).fit(X)


def test_what_does_not_matter_may_differ(digits, tmp_path):
    X = digits[0][:100]
    break_off(make(IDFDClustering, tmp_path), X, 3, crash)
    free = {"verbose": 0, "storage": "host", "checkpoint_every": 3, "on_error": "skip"}
    channels_last = X.reshape(-1, 8, 8, 1)
    found = make(IDFDClustering, tmp_path, image_shape=None, **free).fit(channels_last)
    assert_same(found, make(IDFDClustering).fit(X))


@pytest.mark.parametrize("method", [IDFDClustering, skdeepclust.SeCuClustering])  # one stage, two
def test_files_that_were_streamed_may_be_held(method, X, tmp_path):
    from PIL import Image

    folder = tmp_path / "photographs"
    folder.mkdir()
    for i, pixels in enumerate(X[:90]):
        Image.fromarray(pixels).resize((12, 9 + i % 3)).save(folder / f"{i:02d}.png")
    (folder / "broken.png").write_bytes(b"")
    whole = make(method, on_error="skip").fit(folder)
    state = tmp_path / "state"
    with pytest.raises(Crash):
        make(
            method, state, on_error="skip", storage="stream", callbacks=[At(3, crash)]
        ).fit(folder)  # fmt: skip
    assert_same(make(method, state, on_error="skip").fit(folder), whole)
    (folder / "00.png").unlink()
    with pytest.raises(ValueError, match="another X"):
        make(method, state, on_error="skip").fit(folder)


def test_only_every_so_often(X, unbroken, tmp_path):
    break_off(make(IDFDClustering, tmp_path, checkpoint_every=2), X, 5, crash)
    assert os.listdir(tmp_path) == ["lock"]
    found = make(IDFDClustering, tmp_path, checkpoint_every=2).fit(X)
    assert sorted(os.listdir(tmp_path)) == FILES
    assert_same(found, unbroken[IDFDClustering])


def test_a_damaged_state_gives_way_to_the_one_before_it(X, unbroken, tmp_path):
    break_off(make(IDFDClustering, tmp_path), X, 15, crash)
    path = tmp_path / "stage1.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="goes on from the state before it"):
        found = make(IDFDClustering, tmp_path).fit(X)
    assert_same(found, unbroken[IDFDClustering])


def test_only_damaged_states_are_an_error(X, tmp_path):
    make(IDFDClustering, tmp_path).fit(X)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"checkpoint: .*Delete the folder"):
        make(IDFDClustering, tmp_path).fit(X)


def test_two_trainings_in_one_folder(X, tmp_path):
    refused = []

    def second():
        try:
            make(IDFDClustering, tmp_path).fit(X)
        except ValueError as error:
            refused.append(str(error))

    def start_second():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    make(IDFDClustering, tmp_path, callbacks=[At(3, start_second)]).fit(X)
    assert len(refused) == 1 and "in use by another training" in refused[0]


def test_left_over_files_are_removed(X, tmp_path):
    left = tmp_path / ".stage1.safetensors-0123abcd.tmp"
    left.write_bytes(b"half a state")
    make(IDFDClustering, tmp_path).fit(X)
    assert sorted(os.listdir(tmp_path)) == FILES


def test_a_folder_that_is_none(X, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="checkpoint"):
        make(IDFDClustering, tmp_path / "file").fit(X)


def test_a_full_disk_is_told(X, tmp_path, monkeypatch):
    from skdeepclust.engine import checkpoint

    def full(path, *args):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(OSError, match="No space left"):
        make(IDFDClustering, tmp_path).fit(X)


# -- training that diverges -----------------------------------------------------------------------


def poison(what, times=1):
    """Put a NaN into a batch, a gradient or a weight, in the middle of the second epoch."""

    class Poison(Callback):
        def __init__(self):
            self.left = times

        def _now(self, net):
            now = self.left and net.run.epoch == 1 and net.run.step % net.run.n_steps == 1
            self.left -= bool(now)
            return now

        def on_batch_begin(self, net, batch=None, **kwargs):
            if what == "batch" and self._now(net):
                batch["x"] = batch["x"].float().fill_(torch.nan)

        def on_grad_computed(self, net, named_parameters, **kwargs):
            if what == "gradient" and self._now(net):
                for _, p in named_parameters:
                    if p.grad is not None:
                        p.grad.fill_(torch.inf)

        def on_batch_end(self, net, **kwargs):
            if what == "weight" and self._now(net):
                next(net.objective.parameters()).data[0] = torch.nan

    return Poison()


# The engine sees to it, whatever the method: one in every run, all of them in the slow one.
DIVERGES = [
    pytest.param(method, what, marks=[] if method is METHODS[0] else pytest.mark.slow)
    for method in METHODS
    for what in ("batch", "gradient", "weight")
]


@pytest.mark.parametrize(("method", "what"), DIVERGES)
def test_a_training_that_diverges_is_set_right_once(method, what, X, unbroken):
    estimator = make(method, callbacks=[poison(what)])
    with pytest.warns(UserWarning, match=r"diverged in epoch 2.*a tenth of the learning rate"):
        estimator.fit(X)
    assert len(estimator.history_) == estimator.n_iter_
    assert np.isfinite(estimator.transform(X)).all()
    lr = unbroken[method].history_[1]["lr"]
    np.testing.assert_allclose(estimator.history_[1]["lr"], lr / 10)


@each_method
def test_a_training_that_diverges_twice_is_an_error(method, X):
    with (
        pytest.warns(UserWarning, match="a tenth"),
        pytest.raises(ValueError, match=r"diverged in epoch 2.*lower lr"),
    ):
        make(method, callbacks=[poison("weight", times=2)]).fit(X)


class Masked(nn.Module):
    """A backbone with a mask, and with weights that may be poisoned."""

    num_features = 64

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 64)
        self.register_buffer("mask", torch.zeros(16).index_fill(0, torch.arange(8), -torch.inf))

    def forward(self, x):
        return self.layer(x.flatten(1) + self.mask.nan_to_num(neginf=0))


def test_a_mask_is_no_divergence(X):
    estimator = make(IDFDClustering, backbone=Masked())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*diverged")
        estimator.fit(X)
    assert estimator.net_.objective.encoder.backbone.mask.isinf().any()
    with pytest.warns(UserWarning, match="diverged in epoch 2"):
        estimator.set_params(callbacks=[poison("weight")]).fit(X)


@pytest.mark.parametrize("method", METHODS)
def test_features_beyond_any_number_are_a_divergence(method, X):
    """The weights are numbers yet; the message is not that of what the method does with them."""
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"diverged in.*lower lr"):
        warnings.simplefilter("ignore")
        make(method, lr=1e30, warmup_epochs=0).fit(X)


def test_a_home_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with Checkpoint("~/run", 1, {}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Learns(Callback):
    """Of its attributes with an underscore at the end only `data_` is what a file can hold."""

    Pair = namedtuple("Pair", "a b")

    def on_epoch_end(self, net, **kwargs):
        self.data_ = getattr(self, "data_", 0) + 1
        self.names_, self.pair_ = np.array(["a", "b"]), self.Pair(1, 2)
        self.swapped_ = np.arange(3.0).astype(">f8")


@pytest.mark.filterwarnings("ignore:Training was interrupted")
def test_what_callbacks_learn_and_a_file_cannot_hold_is_left_out(X, tmp_path):
    make(IDFDClustering, tmp_path, callbacks=[Learns(), At(6, interrupt)]).fit(X)
    again = make(IDFDClustering, tmp_path, callbacks=[learns := Learns()]).fit(X)
    assert again.n_iter_ == 4 and learns.data_ == 4
