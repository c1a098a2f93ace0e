"""What skorch's loggers write of a training, and that they stay out of checkpoints and files."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from skorch.callbacks import MlflowLogger, TensorBoard, WandbLogger

from skdeepclust import IDFDClustering, load
from skdeepclust.datasets import make_image_blobs

pytestmark = pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained

X, _ = make_image_blobs(60, n_classes=3, random_state=0)
HEALTH = {"label_change", "size_entropy", "empty_clusters", "feature_std"}
FIGURES = HEALTH | {"train_loss", "instance", "lr", "images_per_second"}


def fast(**params):
    light = {"max_epochs": 3, "embedding_dim": 8, "batch_size": 16, "random_state": 0}
    return IDFDClustering(n_clusters=3, **light | params)


def tensorboard(folder):
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoard(SummaryWriter(folder))


def scalars(folder):
    """Everything that TensorBoard finds in a folder: values by tag and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in tags}


class Run:
    """What WandbLogger asks of a run of Weights & Biases."""

    def __init__(self):
        self.rows = []

    def watch(self, module):
        self.watched = module

    def log(self, row):
        self.rows.append(row)


class Client:
    """What MlflowLogger asks of a client of MLflow."""

    def __init__(self):
        self.metrics = {}

    def log_metric(self, run_id, key, value, step):
        self.metrics.setdefault(key, {})[step] = value


def mlflow():
    run = SimpleNamespace(info=SimpleNamespace(run_id="1"))
    return MlflowLogger(run, Client(), create_artifact=False, terminate_after_train=False)


def wandb():
    return WandbLogger(Run(), save_model=False)


def test_tensorboard_has_loss_and_health_of_every_epoch(tmp_path):
    model = fast(callbacks=[tensorboard(tmp_path)]).fit(X)
    found = scalars(tmp_path)
    by_name = {tag.rpartition("/")[2]: values for tag, values in found.items()}
    assert by_name.keys() >= FIGURES, by_name.keys()
    for row in model.history_:
        assert by_name["train_loss"][row["epoch"]] == pytest.approx(row["loss"], rel=1e-6)
        for name in HEALTH - {"label_change"}:
            assert by_name[name][row["epoch"]] == pytest.approx(row[name], rel=1e-6), name
    assert math.isnan(by_name["label_change"][1]) and set(by_name["label_change"]) == {1, 2, 3}


def test_weights_and_biases_gets_every_epoch():
    logger = wandb()
    model = fast(callbacks=[logger]).fit(X)
    run = logger.wandb_run
    assert run.watched is model.net_.module_ and len(run.rows) == 3
    assert run.rows[-1].keys() >= FIGURES
    assert run.rows[-1]["size_entropy"] == model.history_[-1]["size_entropy"]


def test_mlflow_gets_every_epoch():
    logger = mlflow()
    model = fast(callbacks=[logger]).fit(X)
    metrics = logger.client.metrics
    assert metrics.keys() >= FIGURES
    assert metrics["train_loss"] == {row["epoch"]: row["loss"] for row in model.history_}


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "mlflow"])
def test_a_logger_stays_out_of_checkpoints_and_files(kind, tmp_path):
    made = {"tensorboard": lambda: tensorboard(tmp_path / "runs"), "wandb": wandb, "mlflow": mlflow}
    plain = fast().fit(X)
    model = fast(callbacks=[made[kind]()], checkpoint=tmp_path / "state").fit(X)
    np.testing.assert_array_equal(model.transform(X), plain.transform(X))
    again = fast(callbacks=[made[kind]()], checkpoint=tmp_path / "state").fit(X)
    np.testing.assert_array_equal(again.transform(X), plain.transform(X))
    with pytest.raises(TypeError, match=r"callbacks cannot be saved.*omit=\['callbacks'\]"):
        model.save(tmp_path / "model.safetensors")
    model.save(tmp_path / "model.safetensors", omit=["callbacks"])
    loaded = load(tmp_path / "model.safetensors", callbacks=None)
    np.testing.assert_array_equal(loaded.predict(X), plain.labels_)


class Broken(TensorBoard):
    """Ends a training in the middle, as Ctrl-C does."""

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        if net.run.epoch == 2:
            raise KeyboardInterrupt


def test_a_training_that_goes_on_writes_on(tmp_path):
    first = Broken(tensorboard(tmp_path / "runs").writer)
    with pytest.warns(UserWarning, match="interrupted after 2 of 3"):
        fast(callbacks=[first], checkpoint=tmp_path / "state").fit(X)
    fast(callbacks=[tensorboard(tmp_path / "runs")], checkpoint=tmp_path / "state").fit(X)
    assert {1, 2, 3} == set(scalars(tmp_path / "runs")["Loss/train_loss"])
