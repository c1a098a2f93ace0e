"""DeepClusterer: where scikit-learn's contract meets the engine."""

import copy
import sys
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Number, Real
from types import SimpleNamespace
from typing import Any, ClassVar, Self, dataclass_transform

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from skdeepclust._sklearn import Interval, StrOptions, fit_context
from skdeepclust.augment import Views, make_augmentations
from skdeepclust.backbones import auto_backbone, make_backbone
from skdeepclust.engine.device import PRECISIONS, resolve_device, resolve_precision
from skdeepclust.engine.images import Images, Statistics, as_array, as_images
from skdeepclust.engine.isolation import isolated
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.engine.objective import Learner, Objective
from skdeepclust.engine.optim import OPTIMIZERS
from skdeepclust.engine.processes import local_device, same_samples, together
from skdeepclust.engine.progress import EpochLines, ProgressBar
from skdeepclust.engine.schedule import SCHEDULES, Schedule
from skdeepclust.engine.warn import warn_user
from skdeepclust.nn.norm import ghost_batch_norm, rank_batch_norm
from skdeepclust.ops.collective import agree, rank, world_size
from skdeepclust.ops.silhouette import simplified_silhouette
from skdeepclust.recipes import RECIPES, Recipe, find

__all__ = ["DeepClusterer"]

POSITIVE = Interval(Real, 0, None, closed="neither")
NON_NEGATIVE = Interval(Real, 0, None, closed="left")
UNIT = Interval(Real, 0, 1, closed="both")
COUNT = Interval(Integral, 1, None, closed="left")

# Small data sets take smaller batches: on 1,797 digits more epochs do not make up for fewer steps.
# Published runs are on more samples and keep their batches.
_SMALL, _LEAST_BATCH = 10_000, 64

_SHARED = """n_clusters : int, default=8
        Number of clusters K.
    backbone : str, nn.Module or callable, default="auto"
        ``"resnet18"``, ``"resnet34"``, ``"resnet50"``, ``"convnet"`` (small), ``"mlp"`` or
        ``"identity"``; a module with the attribute ``num_features``, which is copied; or a
        callable ``shape -> module``. ``"auto"`` takes the MLP for vectors, the small net for
        images up to 16 x 16 and, on a CPU, for images up to 64 x 64 or fewer than 20,000 of
        them, and ResNet-18 otherwise.
    stem : {{"auto", "small", "small-pool", "imagenet"}}, default="auto"
        First layers of a ResNet: 3x3 without pooling, 3x3 with it or 7x7 with it. ``"auto"``
        is small up to a side of 64.
    image_shape : (C, H, W), default=None
        Unflattens 2-D rows into images and settles the layout of 4-D input. None means that
        2-D rows are vectors.
    augment : str, callable, tuple of callables or None, default="auto"
        A preset (see :mod:`skdeepclust.augment.presets`), a module or function on a batch,
        one of those per view, or None for no augmentation. ``"auto"`` takes the preset for
        colour images, grey images or vectors.
    embedding_dim : int, default={embedding_dim}
        Dimension of the representation that is clustered.
    hidden_dim : int or None, default={hidden_dim}
        Width of the hidden layers of the heads.
    max_epochs : int, default={max_epochs}
        Passes over the training samples.
    batch_size : int, default={batch_size}
        Samples per step, of all processes together. Fewer on up to 10,000 samples: an epoch
        then takes at least {least_steps} steps, as long as they have 64 samples;
        ``net_.batch_size`` tells.
    norm_batch_size : int, default=None
        Ghost batch norm: take training statistics over so many samples at a time, as a run
        on several devices does. None takes the whole batch.
    optimizer : {{"sgd", "adamw", "lars"}}, default={optimizer!r}
        Optimizer; weight decay applies to all parameters (LARS: to matrices only).
    lr : float, default={lr}
        Peak learning rate.
    momentum : float, default={momentum}
        Momentum; beta1 of AdamW.
    weight_decay : float, default={weight_decay}
        Weight decay.
    schedule : str, default={schedule!r}
        Course of the learning rate: ``"cosine"``, ``"delayed-cosine"``, ``"multistep"``,
        ``"onecycle"`` or ``"constant"``, see
        :func:`skdeepclust.engine.schedule.lr_factor`.
    warmup_epochs : float, default={warmup_epochs}
        Epochs of linear learning-rate warm-up.
    device : str or torch.device, default="auto"
        ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {{"auto", "float32", "bfloat16", "float16", "float64"}}, default="auto"
        What training computes in; the half types by autocast. ``"auto"`` is bfloat16 for
        images where the hardware has it, else float32. Embeddings and predictions are always
        computed in float32 (float64 for ``"float64"``).
    compile : bool, default=False
        Compile the training step by ``torch.compile``, which takes a minute or some at first:
        for long runs on accelerators, on a CPU it saves nothing. Where it cannot be, training
        goes on without it, with a warning.
    callbacks : list of skorch callbacks, default=None
        Run inside training.
    deterministic : bool, default=False
        Bitwise repeatable on accelerators too, at some cost. CPUs repeat bitwise anyway for
        equal thread counts.
    random_state : int, RandomState or None, default=None
        Seed. The global generators are left as they were.
    verbose : {{0, 1, 2}}, default=0
        0 is silent, 1 shows a progress bar with loss and cluster health, 2 prints a line per
        epoch."""

_ATTRIBUTES = """labels_ : ndarray of shape (n_samples,), int64
        Cluster of each training sample; equal to ``predict`` of them. Clusters that hold no
        sample come last.
    cluster_centers_ : ndarray of shape (n_clusters, embedding_dim), float32
        Centres in the embedding.
    n_iter_ : int
        Epochs trained.
    history_ : list of dict
        One row per epoch: ``epoch``, ``loss`` and its terms by name, ``lr``, ``seconds``,
        ``images_per_second``, ``label_change`` (share of samples that changed cluster since
        the epoch before), ``size_entropy`` (1 for equal sizes), ``empty_clusters`` and
        ``feature_std`` (about 1 / sqrt(embedding_dim) when healthy, 0 when collapsed).
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_.objective`` holds the networks.
    n_features_in_ : int
        C x H x W for images.
    image_shape_in_ : tuple (C, H, W) or None
        Shape of one training image; None for vectors."""


@dataclass_transform(eq_default=False, kw_only_default=True)
@dataclass(eq=False, repr=False)
class DeepClusterer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Base of all methods: annotated fields become the constructor, X becomes images.

    A method subclasses it, redeclares the defaults that differ, adds its own fields and
    implements `_objective`. Its docstring may use ``{shared}`` and ``{attributes}`` for the
    documentation of what all methods have in common.
    """

    n_clusters: int = 8
    _: KW_ONLY
    backbone: Any = "auto"
    stem: str = "auto"
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
    deterministic: bool = False
    random_state: int | RandomState | None = None
    verbose: int = 0

    _least_steps: ClassVar[int] = 16

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [COUNT],
        "backbone": [str, nn.Module, callable],
        "stem": [StrOptions({"auto", "small", "small-pool", "imagenet"})],
        "image_shape": [tuple, list, None],
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
        "device": [str, torch.device],
        "precision": [StrOptions(set(PRECISIONS))],
        "compile": ["boolean"],
        "callbacks": [list, tuple, None],
        "deterministic": ["boolean"],
        "random_state": ["random_state"],
        "verbose": [Interval(Integral, 0, 2, closed="both"), "boolean"],
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(eq=False, repr=False, kw_only=True)(cls)
        if cls.__doc__ and "{shared}" in cls.__doc__:
            defaults = {name: getattr(cls, name) for name in cls._get_param_names()}
            shared = _SHARED.format(**defaults, least_steps=cls._least_steps)
            cls.__doc__ = cls.__doc__.replace("{shared}", shared).replace(
                "{attributes}", _ATTRIBUTES
            )

    # -- published settings -------------------------------------------------------------

    @classmethod
    def recipes(cls) -> dict[str, Recipe]:
        """Published settings of this method, by name.

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
        """Build an estimator with the settings of a published run.

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
        return cls(**find(cls.__name__, name).params | overrides)

    # -- what a method implements -------------------------------------------------------

    def _objective(self, backbone: nn.Module, hp: SimpleNamespace) -> Objective:
        """Build the method's objective from a backbone and the scalar parameters."""
        raise NotImplementedError(f"{type(self).__name__} must implement _objective")

    def _train(self, images: Images) -> ObjectiveNet:
        """Train on images; a method of several stages overrides this."""
        name = self.backbone
        if isinstance(name, str) and name == "auto":
            name = auto_backbone(images.shape, len(images), images.device)
        backbone = make_backbone(name, images.shape, self.stem)
        return self._run(self._objective(backbone, self._hp(images)), images)

    # -- fit ------------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn a representation of the samples and cluster it.

        Parameters
        ----------
        X : array-like, tensor, DataFrame or torch Dataset
            Images (n, C, H, W), (n, H, W, C) or (n, H, W), or rows (n, n_features): vectors,
            or flattened images with `image_shape`. uint8 images are read as 0 to 255; other
            images are mapped to [0, 1] by the range of the training values.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X or a parameter is unusable, before any training.

        Notes
        -----
        Ctrl-C ends training early and leaves a fitted estimator, with a warning; inside a
        scikit-learn search or cross-validation it ends that as well.

        Started by ``torchrun``, the processes train together, and all end with the same
        labels; then Ctrl-C leaves nothing.
        """
        device = resolve_device(local_device(self.device))
        array = self._read(X, reset=True)
        dtype, _ = resolve_precision(self.precision, device, array.ndim == 4)
        if len(array) < self.n_clusters:
            raise ValueError(f"n_samples={len(array)} must be >= n_clusters={self.n_clusters}")
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        with together(device):
            same_samples(array.shape)
            with isolated(agree(seed), device, self.deterministic):
                images = Images(array, device, dtype)
                self.net_ = self._train(images)
                self._conclude(images)
            self._report_interrupt()
        return self

    def _run(self, objective: Objective, images: Images) -> ObjectiveNet:
        """Train an objective on images; returns the fitted net."""
        _, autocast = resolve_precision(self.precision, images.device, len(images.shape) == 3)
        learner = Learner(self._views(images, objective.n_views), objective, autocast)
        if self.norm_batch_size is None:
            rank_batch_norm(learner, images.device)
        ghost_batch_norm(learner, self.norm_batch_size)
        learner.to(dtype=images.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        net = ObjectiveNet(
            learner,
            optimizer_name=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            batch_size=self._batch_size(len(images)),
            device=str(images.device),
            compile_step=bool(self.compile),
            callbacks=self._callbacks(),
        )
        return net.fit(images)

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size < world_size():
            raise ValueError(
                f"batch_size={self.batch_size} must be >= the number of processes, {world_size()}"
            )
        if n_samples > _SMALL:
            return self.batch_size
        return min(self.batch_size, max(_LEAST_BATCH, n_samples // self._least_steps))

    def _views(self, images: Images, n_views: int) -> Views:
        augmentations = make_augmentations(copy.deepcopy(self.augment), images.shape, n_views)
        seen = Statistics(images)
        if len(images.shape) == 1:
            return Views.for_vectors(augmentations, seen.mean, seen.std)
        return Views.for_images(augmentations, seen.low, seen.high, seen.mean, seen.std)

    def _callbacks(self) -> list[Any]:
        title = type(self).__name__
        own: list[Any] = [Schedule(self.schedule, self.lr, self.warmup_epochs)]
        if self.verbose and rank() == 0:
            own.append(ProgressBar(title) if self.verbose == 1 else EpochLines(title))
        return own + list(self.callbacks or [])

    def _hp(self, images: Images) -> SimpleNamespace:
        """Scalar parameters and n_samples: what an objective may know of the estimator."""
        scalars = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if value is None or isinstance(value, str | Number | np.generic)
        }
        return SimpleNamespace(**scalars, n_samples=len(images))

    def _conclude(self, images: Images) -> None:
        """Set the fitted attributes; clusters without samples go last."""
        net, k = self.net_, self.n_clusters
        labels = net.infer_proba(images).argmax(1)
        sizes = np.bincount(labels, minlength=k)
        if (sizes == 0).any():
            order = np.argsort(sizes == 0, kind="stable")
            net.objective.reorder(torch.from_numpy(order).to(images.device))
            labels = net.infer_proba(images).argmax(1)
            empty = [int(i) for i in np.flatnonzero(np.bincount(labels, minlength=k) == 0)]
            message = f"Clusters {empty} of {k} hold no sample: too few distinct embeddings"
            warn_user(message, ConvergenceWarning)
        self.labels_ = labels
        self.cluster_centers_ = net.objective.centers.float().cpu().numpy()
        # An interrupted epoch has a row without figures.
        self.history_ = [_row(row) for row in net.history if "train_loss" in row]
        self.n_iter_ = len(self.history_)

    def _report_interrupt(self) -> None:
        if not self.net_.interrupted:
            return
        if _inside_search():
            raise KeyboardInterrupt
        message = f"Training was interrupted after {self.n_iter_} of {self.max_epochs} epochs"
        warn_user(message, UserWarning)

    # -- inference ------------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Assign each sample to a cluster.

        Parameters
        ----------
        X : array-like, tensor, DataFrame or torch Dataset
            Samples of the shape and value range of the training samples.

        Returns
        -------
        ndarray of shape (n_samples,), int64
            Cluster of each sample.
        """
        return self.predict_proba(X).argmax(1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Softmax of the scores of each sample to be in each cluster.

        The scores are the cosine to the centres, minus the squared Euclidean distance for
        IDFD, and z_c for CDC; the softmax has temperature 0.1, for CDC its
        `assignment_temperature`. The probabilities rank and compare samples; they are not
        calibrated.

        Parameters
        ----------
        X : array-like, tensor, DataFrame or torch Dataset
            As for `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), float32
            Rows sum to 1, and their largest entry is the predicted cluster.
        """
        images = self._images(X)
        return self.net_.infer_proba(images)

    def transform(self, X: Any) -> np.ndarray:
        """Embed each sample.

        Parameters
        ----------
        X : array-like, tensor, DataFrame or torch Dataset
            As for `predict`.

        Returns
        -------
        ndarray of shape (n_samples, embedding_dim), float32
            Rows of norm 1.
        """
        images = self._images(X)
        return self.net_.embed(images).float().cpu().numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Mean simplified silhouette of the embedding of the samples.

        It needs no labels, and compares clusterings of one representation, such as numbers
        of clusters of one trained net. It cannot compare representations: each judges
        itself.

        Parameters
        ----------
        X : array-like, tensor, DataFrame or torch Dataset
            As for `predict`.
        y : None
            Ignored.

        Returns
        -------
        float
            A value in [-1, 1]: 0 for a single cluster, -1 when the representation has
            collapsed in training.
        """
        images = self._images(X)
        if self.net_.collapsed:
            return -1.0
        z = self.net_.embed(images)
        labels = self.net_.probabilities(z).argmax(1)
        return float(simplified_silhouette(z, self.net_.objective.centers, labels))

    # -- input ----------------------------------------------------------------------------

    def _images(self, X: Any) -> Images:
        check_is_fitted(self, "labels_")
        array = self._read(X, reset=False)
        module = self.net_.module_
        return Images(array, torch.device(self.net_.device), module.views.mean.dtype)

    def _read(self, X: Any, reset: bool) -> np.ndarray:
        """Validate X and arrange it as (n, C, H, W) images or (n, F) vectors."""
        X = as_array(X)
        least = 2 if reset else 1
        if X.ndim == 2:
            array = validate_data(self, X, reset=reset, ensure_min_samples=least)
        else:
            array = check_array(
                X, allow_nd=True, estimator=self, ensure_min_samples=least, input_name="X"
            )
        if reset:
            images = as_images(array, _image_shape(self.image_shape))
            self.image_shape_in_ = images.shape[1:] if images.ndim == 4 else None
            self.n_features_in_ = int(np.prod(images.shape[1:]))
        elif self.image_shape_in_ is None and array.ndim > 2:
            raise ValueError(f"X has shape {array.shape}, but training saw vectors (n, n_features)")
        else:
            images = as_images(array, self.image_shape_in_, "image_shape_in_")
        return _check_range(images)

    @property
    def _n_features_out(self) -> int:
        return self.cluster_centers_.shape[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _image_shape(image_shape: Any) -> tuple[int, int, int] | None:
    if image_shape is None:
        return None
    sizes = tuple(image_shape)
    if len(sizes) != 3 or not all(isinstance(s, int | np.integer) and s > 0 for s in sizes):
        raise ValueError(f"image_shape must be three positive integers (C, H, W), got {sizes}")
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def _check_range(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "buif":
        raise TypeError(f"X has dtype {array.dtype}; numbers are needed")
    if array.dtype == np.float64 and max(array.max(), -array.min()) > np.finfo(np.float32).max:
        raise ValueError("X holds values beyond the range of float32: rescale it")
    return array


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of skorch's history as `history_` shows it."""
    hidden = ("batches", "train_batch_count", "train_loss_best")
    renamed = {"train_loss": "loss"}
    return {renamed.get(k, k): v for k, v in row.items() if k not in hidden}


def _inside_search() -> bool:
    """Whether fit was called by scikit-learn's model selection."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("sklearn.model_selection"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
