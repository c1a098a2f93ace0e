"""DeepClusterer: the parameters of all methods, and how they train."""

import contextlib
import copy
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from inspect import cleandoc
from numbers import Integral, Number, Real
from types import SimpleNamespace
from typing import Any, ClassVar, Self, dataclass_transform

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, EpochScoring, LRScheduler
from torch import nn

from skdeepclust._parameters import ATTRIBUTES, SHARED
from skdeepclust._sklearn import Interval, StrOptions
from skdeepclust.augment import OF_VECTORS, Views, drawn_once, make_augmentations
from skdeepclust.backbones import make_backbone
from skdeepclust.backbones.mlp import Flatten
from skdeepclust.clusterer import COUNT, ImageClusterer
from skdeepclust.engine.checkpoint import Checkpoint
from skdeepclust.engine.device import PRECISIONS, memory_error, resolve_precision
from skdeepclust.engine.frozen import Features, FrozenViews, standardised
from skdeepclust.engine.identity import described
from skdeepclust.engine.images import Images
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.engine.objective import Learner, Objective
from skdeepclust.engine.optim import OPTIMIZERS
from skdeepclust.engine.progress import EpochLines, ProgressBar
from skdeepclust.engine.resolution import Resolution, check_resolution
from skdeepclust.engine.schedule import SCHEDULES, Schedule, peak_epoch
from skdeepclust.engine.stream import STORAGES
from skdeepclust.engine.tasks import EpochTasks
from skdeepclust.engine.warn import warn_user
from skdeepclust.nn.norm import ghost_batch_norm, rank_batch_norm
from skdeepclust.ops.collective import rank, world_size
from skdeepclust.persistence import blank, rebuilt_backbone, structure_for
from skdeepclust.recipes import RECIPES, Recipe, find

__all__ = ["COUNT", "NON_NEGATIVE", "POSITIVE", "UNIT", "DeepClusterer"]

POSITIVE = Interval(Real, 0, None, closed="neither")
NON_NEGATIVE = Interval(Real, 0, None, closed="left")
UNIT = Interval(Real, 0, 1, closed="both")

# Small data sets take smaller batches: on 1,797 digits more epochs do not make up for fewer steps.
# Published runs are on more samples and keep their batches.
_SMALL, _LEAST_BATCH = 10_000, 64

# What a training may differ in from the one that it goes on from.
_FREE = "callbacks checkpoint checkpoint_every compile device on_error storage verbose".split()


@dataclass_transform(eq_default=False, kw_only_default=True)
@dataclass(eq=False, repr=False)
class DeepClusterer(ImageClusterer):
    """Base of all methods: annotated fields become the constructor, X becomes images.

    A method subclasses it, redeclares the defaults that differ, adds its own fields and
    implements `_objective`. Its docstring may use ``{shared}`` and ``{attributes}`` for the
    documentation of what all methods have in common.
    """

    n_clusters: int = 8
    _: KW_ONLY
    backbone: Any = "auto"
    stem: str = "auto"
    weights: Any = None
    freeze_backbone: bool = False
    image_shape: tuple[int, int, int] | None = None
    augment: Any = "auto"
    embedding_dim: int = 64
    hidden_dim: int | None = 256
    max_epochs: int = 100
    batch_size: int = 256
    norm_batch_size: int | None = None
    optimizer: str = "adamw"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup_epochs: float = 0
    device: Any = "auto"
    precision: str = "auto"
    compile: bool = False
    callbacks: list[Any] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int = 1
    on_error: str = "raise"
    deterministic: bool = False
    random_state: int | RandomState | None = None
    verbose: int = 0
    storage: str = "auto"
    start_resolution: int | None = None

    _least_steps: ClassVar[int] = 16

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImageClusterer._parameter_constraints,
        "freeze_backbone": ["boolean"],
        "augment": [str, callable, tuple, list, None],
        "embedding_dim": [COUNT],
        "hidden_dim": [COUNT, None],
        "max_epochs": [COUNT],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "norm_batch_size": [Interval(Integral, 2, None, closed="left"), None],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "lr": [POSITIVE],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [NON_NEGATIVE],
        "schedule": [StrOptions(set(SCHEDULES))],
        "warmup_epochs": [NON_NEGATIVE],
        "precision": [StrOptions(set(PRECISIONS))],
        "compile": ["boolean"],
        "callbacks": [list, tuple, None],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_every": [COUNT],
        "deterministic": ["boolean"],
        "storage": [StrOptions(set(STORAGES))],
        "start_resolution": [COUNT, None],
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(eq=False, repr=False, kw_only=True)(cls)
        if cls.__doc__ and "{shared}" in cls.__doc__:
            defaults = {name: getattr(cls, name) for name in cls._get_param_names()}
            shared = SHARED.format(**defaults, least_steps=cls._least_steps)
            # From Python 3.13 on a docstring comes without its margin.
            doc = cleandoc(cls.__doc__).replace("{shared}", cleandoc(shared))
            cls.__doc__ = doc.replace("{attributes}", cleandoc(ATTRIBUTES))

    # -- recipes ------------------------------------------------------------------------

    @classmethod
    def recipes(cls) -> dict[str, Recipe]:
        """Published settings of this method, and ours for the clock, by name.

        Returns
        -------
        dict of str to Recipe
            Printing a recipe shows each value with its source, what the estimator cannot
            express, and the published figures.

        Examples
        --------
        >>> from skdeepclust import IDFDClustering
        >>> print(IDFDClustering.recipes()["cifar10"])
        IDFDClustering, recipe 'cifar10', version 1
        CIFAR-10: fitted on train (50,000 images), scored on train
        ...
        lr                          0.03         official code, main.py
        ...
        """
        return {recipe.name: recipe for recipe in RECIPES.get(cls.__name__, ())}

    @classmethod
    def from_recipe(cls, name: str, **overrides: Any) -> Self:
        """Build an estimator with the settings of a recipe.

        Parameters
        ----------
        name : str
            Name of a recipe, see `recipes`.
        **overrides
            Parameters of the estimator, which win over those of the recipe.

        Returns
        -------
        DeepClusterer
            Not fitted.

        Raises
        ------
        ValueError
            If there is no such recipe; the message lists those there are.
        TypeError
            If an override is no parameter of the estimator.

        Examples
        --------
        >>> from skdeepclust import ProPosClustering
        >>> model = ProPosClustering.from_recipe("cifar10", max_epochs=200, random_state=0)
        >>> model.backbone, model.lr, model.max_epochs
        ('resnet34', 0.05, 200)
        """
        params = find(cls.__name__, name).params
        return cls(**params | cls._following(params, overrides) | overrides)

    @classmethod
    def _following(cls, params: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
        """Parameters of a recipe that must change with others that are overridden."""
        return {}

    @property
    def _n_epochs(self) -> int:
        return self.max_epochs

    # -- what a method implements -------------------------------------------------------

    def _objective(self, backbone: nn.Module, hp: SimpleNamespace) -> Objective:
        """Build the method's objective from a backbone and the scalar parameters."""
        raise NotImplementedError(f"{type(self).__name__} must implement _objective")

    def _foresee(self, shape: tuple[int, ...], n_samples: int, device: torch.device) -> None:
        if self.weights is not None or self.start_resolution is not None:
            self._check_resolution(shape, self._backbone(shape, n_samples, device))
        learner = self._rebuild(structure_for(self, shape, n_samples, device))
        if not self.freeze_backbone:
            make_augmentations(copy.deepcopy(self.augment), shape, learner.objective.n_views)
        self._callbacks()

    def _prepare(self, images: Images) -> Images:
        """The images, or their features where the backbone is frozen."""
        if not self.freeze_backbone:
            return images
        if len(images.shape) == 1:
            raise ValueError("freeze_backbone=True needs images: vectors are features already")
        self._warn_of_random_weights()
        augmented = not (self.augment is None or self.augment in OF_VECTORS)
        backbone = self._backbone(images.shape, len(images), images.device)
        return Features(images, backbone, augmented, self._shows_bars)

    @contextlib.contextmanager
    def _kept(self, images: Images) -> Iterator[None]:
        if self.checkpoint is None:
            yield
            return
        with Checkpoint(self.checkpoint, self.checkpoint_every, self._identity(images)) as kept:
            self._checkpoint = kept
            try:
                yield
            finally:
                del self._checkpoint

    def _identity(self, images: Images) -> dict[str, Any]:
        """What must be equal for a training to go on from a checkpoint."""
        params = {k: v for k, v in self.get_params(deep=False).items() if k not in _FREE}
        own = self.weights is None  # else the backbone's own weights are not used
        identity = {
            "method": type(self).__name__,
            "parameters": {k: described(v, own or k != "backbone") for k, v in params.items()},
            "kind of device": images.device.type,
            "X": f"{images.digest} {images.dtype}",
        }
        if isinstance(images, Features):  # states hold no weights that are frozen
            identity["frozen backbone"] = described(images.backbone)
        return identity

    def _train(self, images: Images) -> ObjectiveNet:
        """Train on images; a method of several stages overrides this."""
        if isinstance(images, Features):
            backbone: nn.Module = Flatten(images.shape)
        else:
            backbone = self._backbone(images.shape, len(images), images.device)
            images.expect(backbone)
        self._check_resolution(images.shape, backbone)
        dims = f"embedding_dim={self.embedding_dim} and hidden_dim={self.hidden_dim}"
        with memory_error(f"Networks with {dims} do not fit the memory"):
            objective = self._objective(backbone, self._hp(len(images)))
        return self._run(objective, images)

    def _check_resolution(self, shape: tuple[int, ...], backbone: nn.Module) -> None:
        if self.start_resolution is None:
            return
        if self.freeze_backbone:
            raise ValueError("start_resolution needs a backbone that is trained, not frozen")
        check_resolution(self.start_resolution, shape, backbone)

    def _rebuild(self, structure: Mapping[str, Any]) -> Learner:
        backbone = rebuilt_backbone(self.backbone, structure)
        views = blank(structure["shape"], backbone if self.freeze_backbone else None)
        if self.freeze_backbone:
            backbone = Flatten((int(backbone.num_features),))  # type: ignore[arg-type]
        hp = self._hp(structure["n_samples"])
        with torch.device("meta"):
            objective = self._rebuilt(backbone, hp, structure["stage"])
        ghost_batch_norm(objective, self.norm_batch_size)
        return Learner(views, objective, None)

    def _rebuilt(self, backbone: nn.Module, hp: SimpleNamespace, stage: int) -> Objective:
        """The objective of a stage; a method of several stages overrides this."""
        return self._objective(backbone, hp)

    def _backbone(self, shape: tuple[int, ...], n_samples: int, device: torch.device) -> nn.Module:
        name = self._backbone_name(shape, n_samples, device)
        return make_backbone(name, shape, self.stem, self.weights)

    def _run(self, objective: Objective, images: Images) -> ObjectiveNet:
        """Train an objective on images; returns the fitted net."""
        _, autocast = resolve_precision(self.precision, images.device, len(images.shape) == 3)
        learner = Learner(self._views(images, objective.n_views), objective, autocast)
        if self.norm_batch_size is None:
            rank_batch_norm(objective, images.device)
        ghost_batch_norm(objective, self.norm_batch_size)
        learner.to(images.dtype)
        net = ObjectiveNet(
            learner,
            optimizer_name=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            max_epochs=int(self.max_epochs),
            batch_size=self._batch_size(len(images)),
            device=str(images.device),
            compile_step=bool(self.compile),
            callbacks=self._callbacks(),
            stage=self._checkpoint.stage() if hasattr(self, "_checkpoint") else None,
        )
        return net.fit(images)

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size < world_size():
            raise ValueError(
                f"batch_size={self.batch_size} must be >= the number of processes, {world_size()}"
            )
        if n_samples > _SMALL or self.batch_size != type(self).batch_size:
            return int(self.batch_size)
        return min(int(self.batch_size), max(_LEAST_BATCH, n_samples // self._least_steps))

    def _views(self, images: Images, n_views: int) -> Views | FrozenViews:
        augmentations = self._augmentations(images, n_views)
        if not isinstance(images, Features):
            return standardised(images, augmentations)
        plain: list[nn.Module] = [nn.Identity()] * n_views
        own, source = (plain, augmentations) if images.augmented else (augmentations, plain)
        _, autocast = resolve_precision(self.precision, images.device, images=True)
        seen, features = standardised(images.source, source), standardised(images, own)
        return FrozenViews(seen, images.backbone, features, autocast)

    def _augmentations(self, images: Images, n_views: int) -> list[nn.Module]:
        made = make_augmentations(copy.deepcopy(self.augment), images.view_shape, n_views)
        name = drawn_once(made)
        if name is not None:
            warn_user(
                f"augment has torchvision's {name}, which draws once for a whole batch, not for "
                "each image: take transforms of skdeepclust.augment",
                UserWarning,
            )
        return made

    def _callbacks(self) -> list[Any]:
        title = type(self).__name__
        own: list[Any] = [Schedule(self.schedule, self.lr, self.warmup_epochs)]
        if self.start_resolution is not None:
            own.append(Resolution(self.start_resolution))
        if self.verbose and rank() == 0:
            own.append(ProgressBar(title) if self.verbose == 1 else EpochLines(title))
        for callback in self.callbacks or ():
            _check_callback(callback)
        return [*own, *(self.callbacks or ()), *self._task_callbacks()]

    def _task_callbacks(self, earlier: Sequence[dict[str, Any]] = ()) -> list[Any]:
        """What tells callbacks of scikit-learn, if there are any, of the epochs after `earlier`."""
        return [] if self._tasks is None else [EpochTasks(self, self._tasks, earlier)]

    def _hp(self, n_samples: int) -> SimpleNamespace:
        """Scalar parameters and n_samples: what an objective may know of the estimator."""
        scalars = {
            # Numbers of numpy's would overflow where products of Python's do not.
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
            if value is None or isinstance(value, str | Number | np.generic)
        }
        return SimpleNamespace(**scalars, n_samples=n_samples)

    def _report(self) -> None:
        if self.max_epochs <= peak_epoch(self.schedule, self.warmup_epochs):
            warn_user(
                f"max_epochs={self.max_epochs} ends before the learning rate has risen to lr: pass "
                f"more epochs, or a smaller warmup_epochs, now {self.warmup_epochs}",
                ConvergenceWarning,
            )
        if not self.net_.interrupted:
            return
        if _inside_search():
            raise KeyboardInterrupt
        message = f"Training was interrupted after {self.n_iter_} of {self._n_epochs} epochs"
        if self.checkpoint is not None:
            message += ": fit again to go on"
        warn_user(message, UserWarning)


def _check_callback(callback: Any) -> None:
    """Refuse what is no callback of skorch, and those that would be in vain."""
    named = isinstance(callback, tuple) and len(callback) == 2
    given = callback[1] if named else callback
    kind = given if isinstance(given, type) else type(given)
    if not issubclass(kind, Callback):
        raise TypeError(f"callbacks must be callbacks of skorch, got {callback!r}")
    if given is kind:  # skorch makes one of it, too
        given = kind()
    if issubclass(kind, LRScheduler):
        raise ValueError(
            "callbacks: LRScheduler has no effect here, for the estimator sets the rate: "
            "pass schedule=, lr= and warmup_epochs="
        )
    monitor = getattr(given, "monitor", None)
    if isinstance(monitor, str) and monitor.startswith("valid_"):
        raise ValueError(
            f"callbacks: {kind.__name__} has monitor={monitor!r}, but no samples are held "
            f"back: pass monitor={monitor.replace('valid_', 'train_')!r}"
        )
    alone = getattr(given, "on_train", False) and not getattr(given, "use_caching", True)
    if issubclass(kind, EpochScoring) and not alone:
        raise ValueError(
            "callbacks: no samples are held back, nor predictions kept, for EpochScoring: pass "
            "on_train=True and use_caching=False"
        )


def _inside_search() -> bool:
    """Whether fit was called by scikit-learn's model selection."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("sklearn.model_selection"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
