"""The skorch net that trains an objective and embeds samples with it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from skdeepclust.engine.checkpoint import Stage
from skdeepclust.engine.health import Health, collapsed, feature_std
from skdeepclust.engine.images import Batches, Images
from skdeepclust.engine.inference import collecting_device, infer_all
from skdeepclust.engine.loop import Diverged, Loop
from skdeepclust.engine.objective import Learner, Objective, Run
from skdeepclust.engine.optim import make_optimizer
from skdeepclust.engine.processes import OwnRandomNumbers, synchronise
from skdeepclust.engine.step import Gradients
from skdeepclust.engine.tasks import EpochTasks
from skdeepclust.ops import collective

__all__ = ["ObjectiveNet"]


class ObjectiveNet(NeuralNet):
    """A skorch net whose module is a `Learner` and whose data are `Images`.

    Losses stay on the device during an epoch; rows of the history hold the loss
    (``train_loss``), its named terms, ``lr``, ``seconds``, ``images_per_second`` and the
    figures of `Health`.

    Parameters
    ----------
    module : Learner
        Trained in place.
    optimizer_name : str, default="sgd"
        See `make_optimizer`.
    momentum : float, default=0.9
        See `make_optimizer`.
    weight_decay : float, default=0.0
        See `make_optimizer`.
    compile_step : bool, default=False
        See `Gradients`.
    stage : Stage, default=None
        Where training is written to, and goes on from.
    **kwargs
        Of skorch's ``NeuralNet``: ``max_epochs``, ``lr``, ``batch_size``, ``device``,
        ``callbacks``.

    Attributes
    ----------
    run : Run
        Where training stands; None before and after.
    record : dict
        The history row of the last epoch, as the estimator's ``history_`` shows it.
    collapsed : bool
        Whether training ended with all samples embedded alike.
    interrupted : bool
        Whether a KeyboardInterrupt other than a callback's early stop ended training.
    """

    def __init__(
        self,
        module: Learner,
        *,
        optimizer_name: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        compile_step: bool = False,
        stage: Stage | None = None,
        **kwargs: Any,
    ):
        # Terms come weighted out of the module, so there is nothing left for a criterion.
        kwargs = {"criterion": nn.Identity, "train_split": None, "verbose": 0} | kwargs
        super().__init__(module, **kwargs)
        self.optimizer_name = optimizer_name
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.compile_step = compile_step
        self.stage = stage
        self.run: Run | None = None
        self.loop: Any = None
        self.record: dict[str, Any] = {}
        self.collapsed = False
        self.interrupted = False
        self.structure: dict[str, Any] | None = None  # what the networks were built for
        self.resolved: dict[str, Any] | None = None  # of the estimator, once it is fitted

    @property
    def objective(self) -> Objective:
        """The method that is trained."""
        return self.module_.objective

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return []

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "ObjectiveNet":
        """Build the optimizer over the objective's parameter groups, if there are any."""
        groups = [group for group in self.objective.param_groups() if group["params"]]
        how = self.lr, self.momentum, self.weight_decay
        made = make_optimizer(self.optimizer_name, groups, *how) if groups else None
        self.optimizer_: Any = made
        half = self.module_.precision == torch.float16
        self.scaler = torch.amp.GradScaler(torch.device(self.device).type, enabled=half)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is there twice, and on a device: `module`, trained, is `module_`."""
        state = super().__getstate__()
        if self.initialized_:
            del state["module"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Have both names again."""
        super().__setstate__(state)
        if self.initialized_:
            self.module = self.module_

    # -- data -------------------------------------------------------------------------

    def get_split_datasets(self, X: Images, y: Any = None, **params: Any) -> tuple[Images, None]:
        """Train on everything: memory banks and labels need every sample."""
        return X, None

    def get_iterator(self, dataset: Images, training: bool = False) -> Batches:
        """Shuffled batches on the device, of several processes this one's shares."""
        seed = collective.agree(int(torch.randint(2**62, ())))
        return Batches(
            dataset,
            self.batch_size,
            self.objective.drop_last,
            torch.Generator().manual_seed(seed),
            weights=self.objective.sampling_weights,
        )

    # -- one step ---------------------------------------------------------------------

    def train_step(self, batch: dict[str, Tensor], **fit_params: Any) -> dict[str, Any]:
        """Forward, backward, optimizer step; nothing leaves the device."""
        self._set_training(True)
        loss, terms = self.gradients(batch)
        if loss.requires_grad:
            self._descend(batch)
        detached = {name: term.detach() for name, term in terms.items()}
        return {"loss": loss.detach(), "y_pred": detached}

    def _descend(self, batch: dict[str, Tensor]) -> None:
        if self._listeners("on_grad_computed"):
            self.scaler.unscale_(self.optimizer_)
            named = TeeGenerator(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=named, batch=batch, training=True)
        self.scaler.step(self.optimizer_)
        self.scaler.update()

    def _set_training(self, training: bool = True) -> None:
        # Walking all submodules costs as much as a small step; they change together.
        if self.module_.training != training:
            self.module_.train(training)

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Tell the net, then the callbacks that listen to this event.

        At the end, callbacks that go back to the best weights come first: the clusters are to
        be those of these weights.
        """
        gone_back: list[Any] = []
        if method_name == "on_train_end":
            gone_back = [
                callback for callback in self._listeners(method_name) if _goes_back(callback)
            ]
            for callback in gone_back:
                callback.on_train_end(self, **kwargs)
        getattr(self, method_name)(self, **kwargs)
        stop: KeyboardInterrupt | None = None
        for callback in self._listeners(method_name):
            if callback in gone_back:
                continue
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as interrupt:
                # These raise it to end training; that is not the user's Ctrl-C.
                if self.loop is not None:  # before and after all epochs there is none
                    self.loop.stopped_early = isinstance(callback, EarlyStopping | EpochTasks)
                stop = interrupt
                break
        # A callback may judge by what differs from rank to rank, such as the time.
        if method_name == "on_epoch_end" and collective.any_rank(bool(stop), self._where):
            self._agreed = True
            raise stop or KeyboardInterrupt
        if stop:
            raise stop

    def _listeners(self, method_name: str) -> list[Any]:
        known = self._listening.get(method_name)
        if known is None:
            inherited = getattr(Callback, method_name)
            known = [
                callback
                for _, callback in self.callbacks_
                if getattr(type(callback), method_name, None) is not inherited
            ]
            self._listening[method_name] = known
        return known

    # -- one epoch --------------------------------------------------------------------

    def train_epoch(self, batches: Batches) -> None:
        """Train one epoch, with all that listens to it."""
        data = {"dataset_train": batches.images, "dataset_valid": None}
        self.notify("on_epoch_begin", **data)
        self._take_steps(batches)
        self.notify("on_epoch_end", **data)

    def _take_steps(self, batches: Batches) -> None:
        """One for each batch; the sums of the losses leave the device once, at the end."""
        loop = self.loop
        for batch in batches:
            loop.signals.stepping = True
            self.notify("on_batch_begin", batch=batch, training=True)
            step = self.train_step(batch)
            loop.count({"loss": step["loss"], **step["y_pred"]}, len(batch["index"]))
            self.notify("on_batch_end", batch=batch, training=True, **step)
            loop.heed()
        epoch = loop.end()
        sums = torch.stack(list(epoch["totals"].values()))
        collective.spread_from_first([sums])  # callbacks judge by them
        values = sums.tolist()
        self.record = {k: v / epoch["steps"] for k, v in zip(epoch["totals"], values, strict=True)}
        self._samples = epoch["samples"]
        self.history.record("train_batch_count", epoch["steps"])

    def fit_loop(self, X: Images, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Any:
        """Train all epochs, and remember whether the user interrupted them."""
        self._agreed = False
        self.loop = Loop(self, self.get_iterator(X, training=True), self.stage)
        try:
            self.loop.run()
        except KeyboardInterrupt as error:
            early = self.loop.stopped_early
            if collective.world_size() > 1 and not (self._agreed or early):
                # The others stand elsewhere, and nobody could conclude with them.
                raise SystemExit("Training was interrupted") from error
            self.interrupted = not early
            raise
        return self

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history as data: its epochs without the batches, of which nothing is recorded."""
        return [{k: v for k, v in row.items() if k != "batches"} for row in self.history]

    @rows.setter
    def rows(self, rows: list[dict[str, Any]]) -> None:
        self.history[:] = [row | {"batches": []} for row in rows]

    @property
    def own_random_numbers(self) -> OwnRandomNumbers:
        """Streams of this rank."""
        return self.gradients.random_numbers

    # -- hooks of the objective -------------------------------------------------------

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start the run."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        if self.optimizer_ is None:
            raise ValueError(f"{type(self.objective).__name__} has no parameters to train")
        self._listening: dict[str, list[Any]] = {}
        self.interrupted = False
        self._masks = self._infinite()  # as a backbone of the user's may have them
        self.module_.train()  # also what the user, or an earlier stage, left in another mode
        seed = collective.agree(int(torch.randint(2**62, ())))
        generator = torch.Generator(self.device).manual_seed(seed)
        batches = self.get_iterator(X, training=True)
        size = batches.usual
        self.gradients = Gradients(self.module_, self.scaler, self.compile_step, size)
        self.run = Run(X, self.max_epochs, len(batches), self._features, generator)
        self.concluding = False
        hp = self.objective.hp
        self.health = Health(hp.n_clusters, hp.embedding_dim)

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Let the objective prepare the epoch."""
        super().on_epoch_begin(net, dataset_train=dataset_train, **kwargs)
        assert self.run is not None  # set by on_train_begin
        if not self.loop.begin():  # before training was interrupted
            return
        synchronise(self.module_)
        with torch.no_grad():
            self.objective.on_epoch_begin(self.run)

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kw: Any) -> None:
        """Count the step and let the objective follow it."""
        super().on_batch_end(net, batch=batch, training=training, **kw)
        assert self.run is not None  # set by on_train_begin
        self.run.step += 1
        with torch.no_grad():
            self.objective.on_step_end(self.run)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Complete the epoch's row of the history."""
        super().on_epoch_end(net, **kwargs)
        assert self.run is not None  # set by on_train_begin
        self.run.epoch += 1
        self._check_finite(self.run.epoch)
        with torch.no_grad():
            vitals = self.objective.health(self.run)
        seconds = self.loop.seconds
        self.record = {
            "epoch": self.run.epoch,
            **self.record,
            "lr": self.optimizer_.param_groups[0]["lr"],
            "seconds": seconds,
            "images_per_second": self._samples / seconds,
            **self.health.record(vitals, self.run.telling),
        }
        # By skorch's names, so that its Checkpoint and EarlyStopping find them.
        earlier = [row["train_loss"] for row in self.history[:-1]]
        self.history.record("train_loss_best", all(self.record["loss"] < loss for loss in earlier))
        for name, value in self.record.items():
            self.history.record("train_loss" if name == "loss" else name, value)

    def _check_finite(self, epoch: int) -> None:
        infinite = {k for k, v in self.record.items() if not math.isfinite(v)}
        if not infinite and self._infinite() - self._masks:
            infinite = {"weights"}
        if collective.any_rank(bool(infinite), self._where):
            raise self._diverged(epoch, ", ".join(sorted(collective.union(infinite))))

    def _diverged(self, epoch: int, names: str) -> Diverged:
        return Diverged(
            f"Training diverged in epoch {epoch}: {names} not finite. "
            f"Try a lower lr (now {self.lr}) or precision='float32'."
        )

    def _features(self, images: Images) -> Tensor:
        """The embedding of the training samples, on which methods cluster; it must be finite."""
        # float16 has no room for activations before norms have statistics.
        rough = not self.concluding and self.module_.precision == torch.bfloat16
        z = self._infer_all(images, lambda z: z, torch.bfloat16 if rough else None)
        if collective.any_rank(not bool(z.isfinite().all()), self._where):
            assert self.run is not None  # set by on_train_begin
            raise self._diverged(max(1, self.run.epoch), "features")
        return z

    def _infinite(self) -> set[str]:
        """Names of the parameters and buffers that are not finite."""
        named = (*self.objective.named_parameters(), *self.objective.named_buffers())
        floating = {k: t.detach() for k, t in named if t.is_floating_point() and t.numel()}
        norms = torch._foreach_norm(list(floating.values()), torch.inf)
        finite = torch.stack(norms).isfinite().tolist()
        return {name for name, is_finite in zip(floating, finite, strict=True) if not is_finite}

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Let the objective set its centres, and let go of the training samples."""
        super().on_train_end(net, X=X, y=y, **kwargs)
        assert self.run is not None  # set by on_train_begin
        synchronise(self.module_)
        # In full precision, and of the best weights if a callback has put them back.
        self.run.forget_features()
        self.concluding = True
        with torch.no_grad():
            self.objective.on_train_end(self.run)
            z = self.run.features()
            std = feature_std(z)
            # Early on, running statistics do not fit the samples yet: only what is constant counts.
            constant = float(std) < torch.finfo(torch.float32).eps
            telling = self.run.telling
            self.collapsed = (telling or constant) and collapsed(float(std), z.shape[1])
            if telling:
                self.health.conclude(self.objective.probabilities(z).argmax(1), std)
        self.run = self.loop = self.stage = None
        self._listening = {}
        self.gradients.close()
        del self.gradients, self.health

    # -- inference --------------------------------------------------------------------

    def embed(self, images: Images) -> Tensor:
        """Unit-norm eval-mode embeddings (n_samples, dim), in order, on the device."""
        return self._infer_all(images, lambda z: z)

    def infer_proba(self, images: Images) -> np.ndarray:
        """Cluster probabilities (n_samples, n_clusters), float32."""
        where, probabilities = collecting_device(self._where), self.objective.probabilities
        p = self._infer_all(images, lambda z: probabilities(z).float().to(where))
        return p.cpu().numpy()

    def embed_and_infer(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """What `embed` and `infer_proba` give, float32, in one pass over the images."""
        where, objective = collecting_device(self._where), self.objective
        both = self._infer_all(
            images, lambda z: torch.cat([z, objective.probabilities(z)], 1).float().to(where)
        )
        z, proba = both.cpu().tensor_split([objective.centers.shape[1]], dim=1)
        return z.numpy().copy(), proba.numpy().copy()

    @torch.no_grad()
    def _infer_all(
        self,
        images: Images,
        head: Callable[[Tensor], Tensor],
        precision: torch.dtype | None = None,
    ) -> Tensor:
        """What `head` makes of the embedding."""
        self._set_training(False)
        like = head(self.objective.centers[:0])
        return infer_all(images, lambda x: head(self.module_.embed(x, precision)), like)

    @property
    def _where(self) -> torch.device:
        return self.objective.centers.device


def _goes_back(callback: Any) -> bool:
    """Whether a callback of skorch puts back the best weights when training ends."""
    return bool(getattr(callback, "load_best", False))
