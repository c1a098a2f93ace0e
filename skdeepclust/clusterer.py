"""ImageClusterer: where scikit-learn's contract meets the engine, from X to labels and back."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from skdeepclust._errors import first_line
from skdeepclust._sklearn import Interval, StrOptions, TransformingClusterer, fit_context
from skdeepclust.backbones import auto_backbone
from skdeepclust.engine.arrays import as_images
from skdeepclust.engine.device import (
    cpu_by_default,
    resolve_device,
    resolve_precision,
    without_autocast,
)
from skdeepclust.engine.files import ImageFiles, as_samples
from skdeepclust.engine.images import Images
from skdeepclust.engine.isolation import draw_seed, isolated
from skdeepclust.engine.lazy import LazyImages
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.engine.objective import Learner
from skdeepclust.engine.processes import local_device, same_samples, together
from skdeepclust.engine.stream import Streamed, fits, for_training
from skdeepclust.engine.warn import warn_user
from skdeepclust.ops.collective import agree, rank
from skdeepclust.ops.silhouette import simplified_silhouette
from skdeepclust.persistence import resolved, save, structure_for

__all__ = ["COUNT", "ImageClusterer"]

COUNT = Interval(Integral, 1, None, closed="left")

# Values that reach so many times the range of training, or within such a part of it, are of another
# range: [0, 1] is a 255th of that of bytes. Dark images come near that, so it is but a warning.
_FAR, _NARROW = 10, 128
# Samples that tell the range.
_LOOKED_AT = 1_000


class ImageClusterer(TransformingClusterer):
    """What makes images of X, has a net made for them, and predicts with it.

    A subclass has the parameters named here, as fields or fixed, and implements `_train`
    and, for ``save``, `_rebuild`.
    """

    n_clusters: int
    backbone: Any
    stem: str
    weights: Any
    image_shape: Any
    device: Any
    random_state: Any
    on_error: str
    verbose: int
    precision: str = "auto"
    deterministic: bool = False
    storage: str = "auto"
    net_: ObjectiveNet
    labels_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [COUNT],
        "backbone": [str, nn.Module, callable],
        "stem": [StrOptions({"auto", "small", "small-pool", "imagenet"})],
        "weights": [str, os.PathLike, None],
        "image_shape": [tuple, list, None],
        "device": [str, torch.device],
        "on_error": [StrOptions({"raise", "skip"})],
        "random_state": ["random_state"],
        "verbose": [Interval(Integral, 0, 2, closed="both"), "boolean"],
    }

    def _validate_params(self) -> None:
        super()._validate_params()
        for name, kinds in self._parameter_constraints.items():
            value = getattr(self, name)
            if isinstance(value, bool | np.bool_) and "boolean" not in kinds:  # True is no 1
                raise ValueError(f"{name} must not be {value}: it is no switch")
            if isinstance(value, int | np.integer) and value >= 2**63:  # torch cannot hold it
                raise ValueError(f"{name}={value} is too large")

    # -- fit ------------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    @cpu_by_default
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn a representation of the samples and cluster it.

        Parameters
        ----------
        X : array-like, tensor, DataFrame, path, list of paths or Dataset
            Images (n, C, H, W), (n, H, W, C) or (n, H, W), or rows (n, n_features): vectors,
            or flattened images with `image_shape`. uint8 images are read as 0 to 255; other
            images are mapped to [0, 1] by the range of the training values. A folder is walked
            with its sub-folders, in sorted order.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X or a parameter is unusable, before any training; or if the training diverges
            although it was tried again with a tenth of the learning rate.
        FileNotFoundError
            If X, or the file that `weights` names, does not exist.
        MemoryError
            If the network or a batch does not fit the device; says which batch does.
        RuntimeError
            If another process of the same training has failed.

        Notes
        -----
        Ctrl-C ends training early and leaves a fitted estimator, with a warning; inside a
        scikit-learn search or cross-validation it ends that as well. With `checkpoint`, another
        ``fit`` goes on from there, and SIGTERM ends the process in the same way.

        Started by ``torchrun``, the processes train together, and all end with the same
        labels; then Ctrl-C leaves nothing.
        """
        device = resolve_device(local_device(self.device))
        vars(self).pop("labels_", None)  # nothing is fitted until all of it is
        samples = self._read(X, reset=True)
        dtype, _ = resolve_precision(self.precision, device, samples.ndim == 4)
        self._check_enough(samples)
        tasks = self._init_callback_context(max_subtasks=self._n_epochs)
        tasks.call_on_fit_task_begin(estimator=self, X=X, y=y)
        self.image_paths_ = samples.paths if isinstance(samples, ImageFiles) else None
        seed = draw_seed(self.random_state)
        plain = without_autocast(device)
        with together(device), torch.inference_mode(False), torch.enable_grad(), plain:
            images, unreadable = self._hold(samples, device, dtype)
            same_samples((len(images), *images.shape))
            names = samples.names if isinstance(samples, LazyImages) else ()
            self.skipped_ = [names[i] for i in sorted(unreadable)]
            with isolated(agree(seed), device, self.deterministic):
                images = self._prepare(images)
                with self._kept(images):
                    self.net_ = self._train(images)
                labels = self._conclude(images)
            self.labels_ = _with_gaps(labels, len(samples), list(unreadable))
            self._record(images)
            self._report()
        tasks.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _record(self, images: Images) -> None:
        """What was built and how it ran, for ``save``: parameters may be set to others later."""
        net = self.net_
        built = structure_for(self, self._sample_shape, len(images), images.device)
        net.structure = built | {"stage": net.objective.stage}
        net.resolved = resolved(self)

    @property
    def _sample_shape(self) -> tuple[int, ...]:
        """Of one training sample: (C, H, W) or (n_features,)."""
        return self.image_shape_in_ or (self.n_features_in_,)

    @property
    def _shows_bars(self) -> bool:
        return self.verbose == 1 and rank() == 0

    @property
    def _n_epochs(self) -> int:
        """Epochs of all stages."""
        return 0

    def _foresee(self, shape: tuple[int, ...], n_samples: int, device: torch.device) -> None:
        """Fail on what would fail after all files have been read, which may take long."""

    def _prepare(self, images: Images) -> Images:
        """What training sees of the images."""
        return images

    def _warn_of_random_weights(self) -> None:
        """Of a network that is not trained."""
        named = isinstance(self.backbone, str) and self.backbone != "identity"
        if named and self.weights is None:
            warn_user("The frozen backbone has random weights: pass weights", UserWarning)

    def _kept(self, images: Images) -> AbstractContextManager[Any]:
        """What training is written to meanwhile."""
        return nullcontext()

    def _train(self, images: Images) -> ObjectiveNet:
        """Make the net that embeds and scores samples."""
        raise NotImplementedError(f"{type(self).__name__} must implement _train")

    def _report(self) -> None:
        """Warn of what went wrong, now that everything is in place."""

    def _check_enough(self, samples: np.ndarray | LazyImages) -> None:
        if len(samples) >= self.n_clusters:
            return
        if isinstance(samples, LazyImages) and self.on_error == "raise":
            np.asarray(samples)  # that a file is missing is the better error
        raise ValueError(f"n_samples={len(samples)} must be >= n_clusters={self.n_clusters}")

    def _hold(
        self, samples: np.ndarray | LazyImages, device: torch.device, dtype: torch.dtype
    ) -> tuple[Images, dict[int, str]]:
        """The readable training samples where batches are taken from, and what is unreadable."""
        if not isinstance(samples, LazyImages):
            roomy = self.storage == "device" or (
                self.storage == "auto" and fits(samples.nbytes, device)
            )
            return Images(samples, device, dtype, "device" if roomy else "host"), {}
        with isolated(0, device, self.deterministic):
            self._foresee(samples.shape[1:], len(samples), device)
        how = self.on_error, self.storage, self._shows_bars
        images, unreadable = for_training(samples, device, dtype, *how)
        least = max(2, self.n_clusters)
        if len(images) < least:
            why = next(iter(unreadable.values()), "")
            raise ValueError(
                f"{len(images)} of {len(samples)} images of X can be read: n_clusters="
                f"{self.n_clusters} needs at least {least}. {why}".rstrip()
            )
        return images, unreadable

    def _conclude(self, images: Images) -> np.ndarray:
        """Set the fitted attributes and return the labels; clusters without samples go last."""
        net, k = self.net_, int(self.n_clusters)
        labels = net.infer_proba(images).argmax(1)
        sizes = np.bincount(labels, minlength=k)
        if (sizes == 0).any():
            order = np.argsort(sizes == 0, kind="stable")
            net.objective.reorder(torch.from_numpy(order).to(images.device))
            labels = net.infer_proba(images).argmax(1)
            empty = [int(i) for i in np.flatnonzero(np.bincount(labels, minlength=k) == 0)]
            message = f"Clusters {empty} of {k} hold no sample. Try a smaller n_clusters"
            more = "" if self._n_epochs == 0 else ", or a greater max_epochs"
            warn_user(message + more, ConvergenceWarning)
        self.cluster_centers_ = net.objective.centers.float().cpu().numpy().copy()
        self._remember_history(self.net_.history)
        self.n_iter_ = len(self.history_)
        return labels

    def _remember_history(self, history: Sequence[dict[str, Any]]) -> None:
        # An interrupted epoch has a row without figures.
        self.history_ = [_row(row) for row in history if "train_loss" in row]

    # -- inference ------------------------------------------------------------------------

    @cpu_by_default
    def predict(self, X: Any) -> np.ndarray:
        """Assign each sample to a cluster.

        Parameters
        ----------
        X : array-like, tensor, DataFrame, path, list of paths or Dataset
            Samples of the shape and value range of the training samples.

        Returns
        -------
        ndarray of shape (n_samples,), int64
            Cluster of each sample; -1 for a file that was skipped, see `on_error`.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError, TypeError
            If X is not like the training samples, or a file cannot be read.
        """
        proba, unreadable = self._infer_proba(X)
        labels = proba.argmax(1)
        labels[unreadable] = -1
        return labels

    @cpu_by_default
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each cluster for each sample: the softmax of its scores.

        The Notes of each method say what its scores are, and the temperature; by default they
        are the cosines to the centres, at 0.1. The probabilities rank and compare samples; they
        are not calibrated.

        Parameters
        ----------
        X : array-like, tensor, DataFrame, path, list of paths or Dataset
            As for `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), float32
            Rows sum to 1, and their largest entry is the predicted cluster; NaN for a file that
            was skipped.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As of `predict`.
        """
        proba, unreadable = self._infer_proba(X)
        proba[unreadable] = np.nan
        return proba

    def _infer_proba(self, X: Any) -> tuple[np.ndarray, list[int]]:
        """Probabilities of all samples, and the positions of those that could not be read."""
        images = self._images(X)
        return self.net_.infer_proba(images), _unreadable(images)

    @cpu_by_default
    def transform(self, X: Any) -> np.ndarray:
        """Embed each sample.

        Parameters
        ----------
        X : array-like, tensor, DataFrame, path, list of paths or Dataset
            As for `predict`.

        Returns
        -------
        ndarray of shape (n_samples, embedding_dim), float32
            Rows of norm 1; NaN for a file that was skipped.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As of `predict`.
        """
        images = self._images(X)
        z = self.net_.embed(images).float().cpu().numpy()
        z[_unreadable(images)] = np.nan
        return z

    @cpu_by_default
    def _in_one_pass(self, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """What `transform`, `predict` and `predict_proba` give; None if these are a subclass's."""
        names = ("transform", "predict", "predict_proba")
        if any(getattr(type(self), name) is not getattr(ImageClusterer, name) for name in names):
            return None
        images = self._images(X)
        z, proba = self.net_.embed_and_infer(images)
        labels, unreadable = proba.argmax(1), _unreadable(images)
        z[unreadable], labels[unreadable], proba[unreadable] = np.nan, -1, np.nan
        return z, labels, proba

    @cpu_by_default
    def score(self, X: Any, y: Any = None) -> float:
        """Mean simplified silhouette of the embedding of the samples.

        It needs no labels, and compares clusterings of one representation, such as numbers
        of clusters of one trained net. It cannot compare representations: each judges
        itself.

        Parameters
        ----------
        X : array-like, tensor, DataFrame, path, list of paths or Dataset
            As for `predict`.
        y : None
            Ignored.

        Returns
        -------
        float
            A value in [-1, 1]: 0 for a single cluster, -1 when the representation has
            collapsed in training.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As of `predict`.
        """
        images = self._images(X)
        if self.net_.collapsed:
            return -1.0
        z = self.net_.embed(images)
        z = z[np.setdiff1d(np.arange(len(z)), _unreadable(images))]
        if not len(z):
            raise ValueError("X holds no file that can be read")
        objective = self.net_.objective
        with without_autocast(z.device):
            labels = objective.probabilities(z).argmax(1)
            trained = torch.as_tensor(self.labels_, device=labels.device)
            return float(simplified_silhouette(z, objective.centers, labels, trained))

    # -- persistence ----------------------------------------------------------------------

    @cpu_by_default
    def save(
        self,
        path: str | os.PathLike[str],
        *,
        omit: Iterable[str] = (),
        card: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the fitted estimator to a file of data, for :func:`skdeepclust.load`.

        Parameters
        ----------
        path : path
            Of the file, best with the ending ``.safetensors``; what is there is replaced once
            the new file is complete and on the disk.
        omit : iterable of str, default=()
            Parameters to leave out, because they are code: modules, functions, callbacks.
            ``load`` wants them again.
        card : dict, default=None
            What to tell readers of the file beside method, data, parameters and what the run made
            of them, sizes of the clusters and versions: ``license``, ``metrics``, or anything else
            of strings, numbers, lists and dicts; see :func:`skdeepclust.persistence.read_card`.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If a parameter is code and not left out.
        ValueError
            If `omit` names no parameter, `path` is a folder, or parameters were set after
            ``fit`` that make other networks.
        OSError
            If the file cannot be written.

        Notes
        -----
        The file is a safetensors file, without pickle, under a digest of every byte. It holds
        the labels and file names of the training samples, not the samples.
        """
        check_is_fitted(self)
        save(self, path, omit, card)

    def _backbone_name(self, shape: tuple[int, ...], n_samples: int, device: torch.device) -> Any:
        """The backbone, by name where it is "auto"."""
        if isinstance(self.backbone, str) and self.backbone == "auto":
            return auto_backbone(shape, n_samples, device, self._wants_pretrained)
        return self.backbone

    @property
    def _wants_pretrained(self) -> bool:
        return self.weights is not None

    def _rebuild(self, structure: Mapping[str, Any]) -> Learner:
        """The networks of a saved `structure`; no tensor of them holds anything yet."""
        raise NotImplementedError(f"{type(self).__name__} must implement _rebuild")

    # -- input ----------------------------------------------------------------------------

    def _images(self, X: Any) -> Images:
        check_is_fitted(self)
        samples = self._read(X, reset=False)
        self._compare_range(samples)
        device, dtype = torch.device(self.net_.device), self.net_.module_.views.mean.dtype
        if isinstance(samples, LazyImages):
            return Streamed(samples, device, dtype, self.on_error)
        return Images(samples, device, dtype, "host")

    def _compare_range(self, samples: np.ndarray | LazyImages) -> None:
        """Warn of images that are far darker or brighter than those of training: divided by 255."""
        if self.image_shape_in_ is None:
            return
        views = self.net_.module_.views
        low, span = float(views.low), float(views.span)
        high = low + span
        least, most = _range(samples, (low, high))
        share = max(most - low, low - least) / span
        if share > _FAR or 0 < share < 1 / _NARROW:
            warn_user(
                f"X has values from {least:g} to {most:g}, but those of training were from {low:g} "
                f"to {high:g}: bring them into the same range",
                UserWarning,
            )

    def _read(self, X: Any, reset: bool) -> np.ndarray | LazyImages:
        """Validate X and arrange it as (n, C, H, W) images or (n, F) vectors."""
        shape = _image_shape(self.image_shape) if reset else getattr(self, "image_shape_in_", None)
        samples = as_samples(X, shape, self.on_error)
        if reset:  # of a fit before; validate_data sets them again for a data frame
            vars(self).pop("feature_names_in_", None)
        if not isinstance(samples, LazyImages):
            return self._read_array(samples, reset)
        if reset:
            self._learn_shape(samples.shape)
        elif shape is None:
            raise ValueError("X holds images, but training saw vectors (n, n_features)")
        return samples

    def _learn_shape(self, shape: tuple[int, ...]) -> None:
        self.image_shape_in_ = shape[1:] if len(shape) == 4 else None
        self.n_features_in_ = int(np.prod(shape[1:]))

    def _read_array(self, X: Any, reset: bool) -> np.ndarray:
        least = 2 if reset else 1
        if not reset and _is_one(X.shape, self.image_shape_in_):
            raise ValueError(f"X of shape {X.shape} is one sample: pass X[None]")
        try:
            if len(X.shape) == 2:
                array = validate_data(self, X, reset=reset, ensure_min_samples=least)
            else:
                how = {"allow_nd": True, "ensure_min_samples": least, "input_name": "X"}
                array = check_array(X, estimator=self, **how)
        except (TypeError, ValueError) as error:
            message = str(error)
            if message.startswith("Input X contains"):  # NaN, say; the rest is about other models
                advice = "leave such samples out, or fill them in"
                raise ValueError(f"{first_line(error).rstrip('.')}: {advice}") from error
            if "with a sequence" in message or "truth value" in message:
                raise ValueError(
                    "X holds a list or an array in a cell: pass one array, np.stack([*column])"
                ) from error
            if "X" in message or "parse" in message:  # scikit-learn has said what is wrong
                raise
            checked = isinstance(error, ValueError) and "convert" not in message
            what = "X" if checked else "X holds what is no number"
            raise type(error)(f"{what}: {message}") from error
        if reset:
            images = as_images(array, _image_shape(self.image_shape))
            self._learn_shape(images.shape)
        elif self.image_shape_in_ is None and array.ndim > 2:
            raise ValueError(f"X has shape {array.shape}, but training saw vectors (n, n_features)")
        else:
            images = as_images(array, self.image_shape_in_, "image_shape_in_")
        return _check_range(images)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that ``transform`` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input's columns, which vectors are checked against; of images ignored.

        Returns
        -------
        ndarray of shape (embedding_dim,), object
            The name of the class in lower case, and a number.
        """
        check_is_fitted(self)
        # A column of paths is one, and of flat images nobody names the pixels.
        named = hasattr(self, "feature_names_in_") or self.image_shape_in_ is None
        return super().get_feature_names_out(input_features if named else None)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "labels_")

    @property
    def _n_features_out(self) -> int:
        return self.cluster_centers_.shape[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _is_one(shape: tuple[int, ...], image_shape: tuple[int, int, int] | None) -> bool:
    """Whether an array is a single image, where it cannot be several samples."""
    if image_shape is None:
        return False
    channels, height, width = image_shape
    of_one = [image_shape, (height, width, channels), (height, width) if channels == 1 else None]
    return shape in of_one and shape[0] != 1


def _range(samples: np.ndarray | LazyImages, expected: tuple[float, float]) -> tuple[float, float]:
    """The least and the largest value; of bytes that are as expected, those of their type."""
    if isinstance(samples, LazyImages) or (samples.dtype == np.uint8 and expected == (0, 255)):
        return 0.0, 255.0
    some = samples[:_LOOKED_AT]
    return float(some.min()), float(some.max())


def _unreadable(images: Images) -> list[int]:
    return list(images.unreadable) if isinstance(images, Streamed) else []


def _with_gaps(values: np.ndarray, n: int, gaps: list[int]) -> np.ndarray:
    """Values of the n samples: those that there are, and -1 at the gaps between them."""
    if not gaps:
        return values
    whole = np.full(n, -1, values.dtype)
    whole[np.setdiff1d(np.arange(n), gaps)] = values
    return whole


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
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 4
    if wide and max(array.max(), -array.min()) > np.finfo(np.float32).max:
        raise ValueError("X holds values beyond the range of float32: rescale it")
    return array


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of skorch's history as `history_` shows it."""
    hidden = ("batches", "train_batch_count", "train_loss_best")
    renamed = {"train_loss": "loss"}
    return {renamed.get(k, k): v for k, v in row.items() if k not in hidden}
