"""A fitted estimator as one file of data, which holds no code and runs none."""

import importlib
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import sklearn
import torch
from torch import Tensor, nn

from skdeepclust.augment.views import Views
from skdeepclust.backbones import make_backbone, resolve_stem
from skdeepclust.engine.archive import read, write
from skdeepclust.engine.device import cpu_by_default, memory_format, resolve_device
from skdeepclust.engine.frozen import FrozenViews
from skdeepclust.engine.isolation import isolated
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.engine.objective import Learner
from skdeepclust.engine.tree import NotStorable, pack
from skdeepclust.engine.warn import warn_user

__all__ = [
    "VERSION",
    "blank",
    "load",
    "read_card",
    "rebuilt_backbone",
    "resolved",
    "save",
    "structure_for",
]

_KIND = "model"
VERSION = 1  # of the format; tests/fixtures holds a file of each
_REASON = 400  # characters of an error that are told
_HOME = re.compile(r"skdeepclust\.methods\.[a-z_]+")


def save(
    estimator: Any,
    path: str | os.PathLike[str],
    omit: Iterable[str] = (),
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted estimator: what the method ``save`` of estimators does.

    Parameters
    ----------
    estimator : ImageClusterer
        Fitted.
    path : path
        Of the file.
    omit : iterable of str, default=()
        Parameters to leave out.
    card : dict, default=None
        What to tell readers of the file.

    Raises
    ------
    ValueError, TypeError, OSError
        As of the method.
    """
    params = estimator.get_params(deep=False)
    omit = sorted({omit} if isinstance(omit, str) else set(omit))
    for name in omit:
        if name not in params:
            raise ValueError(f"omit={omit}: {type(estimator).__name__} has no parameter {name!r}")
    net: ObjectiveNet = estimator.net_
    tensors = _for_prediction(net.module_)
    _check_unchanged(estimator, tensors)
    tree = {
        "card": _card(estimator, params, omit) | dict(card or {}),
        "module": type(estimator).__module__,
        "class": type(estimator).__name__,
        "parameters": _data({k: v for k, v in params.items() if k not in omit}),
        "omitted": omit,
        "structure": net.structure,
        "run": net.resolved,
        "attributes": _attributes(estimator),
        "net": {
            "batch_size": net.batch_size,
            "collapsed": net.collapsed,
            "interrupted": net.interrupted,
            "history": net.rows,
        },
        "tensors": tensors,
    }
    write(path, _KIND, VERSION, tree)


def _data(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as they can be written."""
    plain: dict[str, Any] = {}
    code: list[str] = []
    for name, value in params.items():
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, torch.device):
            value = str(value)
        try:
            if isinstance(value, Tensor | np.ndarray):
                raise NotStorable(name, value)
            pack(value, {}, name)
        except NotStorable:
            code.append(name)
        plain[name] = value
    if code:
        again = ", ".join(f"{name}=..." for name in code)
        raise TypeError(
            f"{' and '.join(code)} cannot be saved: a model file holds data and no code. Leave "
            f"out what is code by save(path, omit={code}), and pass it to load(path, {again})"
        )
    return plain


def _card(estimator: Any, params: dict[str, Any], omit: list[str]) -> dict[str, Any]:
    """What a reader wants to know of a model, in words and figures."""
    labels = estimator.labels_
    last: dict[str, Any] = estimator.history_[-1] if estimator.history_ else {}
    measured = ("loss", "size_entropy", "empty_clusters", "feature_std")
    return {
        "method": type(estimator).__name__,
        "data": {
            "shape": [len(labels), *estimator._sample_shape],
            "kind": "vectors" if estimator.image_shape_in_ is None else "images",
        },
        "n_clusters": estimator.n_clusters,
        "cluster_sizes": np.bincount(labels[labels >= 0], minlength=estimator.n_clusters).tolist(),
        "parameters": {k: str(v) for k, v in params.items() if k not in omit},
        "run": estimator.net_.resolved,
        "metrics": {name: last[name] for name in measured if name in last},
        "versions": {
            "python": platform.python_version(),
            "skdeepclust": importlib.import_module("skdeepclust").__version__,
            "torch": str(torch.__version__),
            "scikit-learn": sklearn.__version__,
        },
        "license": None,
    }


def resolved(estimator: Any) -> dict[str, Any]:
    """What the parameters of an estimator have come to in its fit, for the card of its file.

    Parameters
    ----------
    estimator : ImageClusterer
        Just fitted: parameters may be set to others later.

    Returns
    -------
    dict
        ``backbone`` and ``stem`` by name, ``batch_size``, ``precision`` of the training,
        ``device`` without its number, ``seed`` if `random_state` was one, and ``n_epochs``; None
        for what there was none of.
    """
    net: ObjectiveNet = estimator.net_
    trained, seed = estimator._n_epochs > 0, estimator.random_state
    assert net.structure is not None  # since it is fitted
    structure, built = net.structure, net.structure["backbone"]
    name = _name(estimator.backbone) if built is None else built
    return {
        # A baseline takes vectors as they are.
        "backbone": name if trained or len(structure["shape"]) > 1 else None,
        "stem": structure["stem"] if (built or "").startswith("resnet") else None,
        "batch_size": net.batch_size if trained else None,
        "precision": _precision(net.module_),
        "device": torch.device(net.device).type,
        "seed": int(seed) if isinstance(seed, Integral) else None,
        "n_epochs": estimator.n_iter_,
    }


def _name(code: Any) -> str:
    return str(getattr(code, "__name__", type(code).__name__))


def _precision(learner: Learner) -> str:
    """Of the products of the network, also where that is frozen in the views."""
    autocast = learner.precision or getattr(learner.views, "precision", None)
    return str(autocast or learner.views.mean.dtype).removeprefix("torch.")


def structure_for(
    estimator: Any, shape: tuple[int, ...], n_samples: int, device: torch.device
) -> dict[str, Any]:
    """What the networks of an estimator are built for.

    Parameters
    ----------
    estimator : ImageClusterer
        Fitted or not.
    shape : (C, H, W) or (F,)
        Shape of one sample.
    n_samples : int
        Number of training samples.
    device : torch.device
        Where they are trained.

    Returns
    -------
    dict
        For `rebuilt_backbone` and the method ``_rebuild`` of estimators.
    """
    name = estimator._backbone_name(shape, n_samples, device)
    return {
        "shape": tuple(shape),
        "n_samples": n_samples,
        "backbone": name if isinstance(name, str) else None,
        "stem": resolve_stem(estimator.stem, shape, estimator.weights is not None),
        "stage": 1,
    }


def _check_unchanged(estimator: Any, tensors: Mapping[str, Tensor]) -> None:
    """Refuse parameters, set after fit, that would have the loaded estimator predict otherwise."""
    learner = estimator._rebuild(estimator.net_.structure)
    made, name = _for_prediction(learner), type(estimator).__name__
    if _shapes(made) != _shapes(tensors):
        raise ValueError(
            f"parameters of {name} were set after fit that make other networks "
            f"(n_clusters={estimator.n_clusters}, and there are {len(estimator.cluster_centers_)} "
            "clusters): set them back, or fit again, before save"
        )
    fitted = estimator.net_.objective.probability_temperature
    if learner.objective.probability_temperature != fitted:
        raise ValueError(
            f"the temperature of predict_proba was set after fit, in which it was {fitted}: set it "
            f"back in {name}, or fit again, before save"
        )


_NAMES = ("image_paths_", "skipped_", "feature_names_in_")


def _attributes(estimator: Any) -> dict[str, Any]:
    plain = ("labels_", "cluster_centers_", "n_iter_", "n_features_in_", "image_shape_in_")
    found = {name: getattr(estimator, name) for name in plain if hasattr(estimator, name)}
    for name in _NAMES:
        names = getattr(estimator, name, None)
        # There may be a million, and names of files may be no text.
        if names is not None:
            text = "\0".join(names).encode("utf-8", "surrogateescape")
            names = [len(names), np.frombuffer(text, np.uint8).copy()]
        found[name] = names
    return found


def _set_attributes(estimator: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if name in _NAMES and value is not None:
            count, text = value
            joined = text.tobytes().decode("utf-8", "surrogateescape")
            value = joined.split("\0") if count else []
        if name == "feature_names_in_":
            if value is None:
                continue
            value = np.array(value, dtype=object)
        setattr(estimator, name, value)


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _for_prediction(module: Learner) -> dict[str, Tensor]:
    """The state of a learner without that of augmentations, which may be users' code."""
    state = module.state_dict()
    return {k: v for k, v in state.items() if ".augmentations." not in f".{k}"}


@cpu_by_default
def load(path: str | os.PathLike[str], *, method: Any = None, **params: Any) -> Any:
    """Read an estimator that ``save`` has written.

    Parameters
    ----------
    path : path
        Of the file.
    method : class, default=None
        Of the estimator; needed for methods that are not of this package.
    **params
        Parameters of the estimator that the file does not hold, and others to replace, such as
        ``device``.

    Returns
    -------
    estimator
        Fitted. It predicts bitwise what the saved one did, on the same kind of device.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, of another kind or of a later release, or misses a parameter; if
        a `device` asked for here is not available. One that only the file asks for is warned of,
        and the CPU takes its place.

    Notes
    -----
    Nothing in a file is run, and nothing but the file is read: `weights` that a parameter names
    are in it. Its digest finds what has happened by accident; against forgery, keep the digest
    in another place or sign the file.

    Of the training, banks of all samples and the state of the optimizer are not kept: see the
    parameter `checkpoint` for that.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdeepclust import CDCClustering, load
    >>> from skdeepclust.datasets import make_image_blobs
    >>> X, _ = make_image_blobs(60, n_classes=3, random_state=0)
    >>> model = CDCClustering(3, max_epochs=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(os.path.join(folder, "model.safetensors"))
    ...     again = load(os.path.join(folder, "model.safetensors"))
    >>> bool((again.predict(X) == model.labels_).all())
    True
    """
    tree = read(path, _KIND, VERSION)
    name = os.fspath(path)
    missing = [p for p in tree["omitted"] if p not in params]
    if missing:
        wanted = ", ".join(f"{p}=..." for p in missing)
        raise ValueError(f"{name!r} was saved without {missing}: load(path, {wanted})")
    try:
        made = _class(tree, method)(**tree["parameters"] | params)
        made._validate_params()
        asked = "device" in params
        device = str(resolve_device(made.device)) if asked else _device(made.device)
        _fill(made, tree, device)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:_REASON]
        other = [f"{p}={v!r}" for p, v in params.items() if p in tree["parameters"]]
        with_other = f" with {', '.join(other)}" if other else ""
        raise ValueError(f"{name!r} does not make an estimator{with_other}: {reason}") from error
    return made


def _class(tree: Mapping[str, Any], method: Any) -> Any:
    home, name = tree["module"], tree["class"]
    if method is not None:
        return method
    if not _HOME.fullmatch(home):
        raise ValueError(f"the method {name} is not of skdeepclust: load(path, method={name})")
    found = getattr(importlib.import_module(home), name)
    if not hasattr(found, "_rebuild") or found.__module__ != home:
        raise ValueError(f"{home}.{name} is no estimator")
    return found


def _fill(made: Any, tree: Mapping[str, Any], device: str) -> None:
    learner = made._rebuild(tree["structure"])
    layout = memory_format(learner)  # which the tensors of a file do not have
    with torch.no_grad():
        learner.load_state_dict(tree["tensors"], strict=True, assign=True)
    _leave_training(learner)
    learner.to(memory_format=layout)
    kept = tree["net"]
    net = ObjectiveNet(learner, batch_size=kept["batch_size"], device=device)
    net.initialize()
    net.collapsed, net.interrupted = kept["collapsed"], kept["interrupted"]
    net.rows = kept["history"]
    net.structure = dict(tree["structure"])
    net.resolved = tree.get("run")  # files of the first releases have none
    made.net_ = net
    _set_attributes(made, tree["attributes"])
    made._remember_history(net.history)


def rebuilt_backbone(backbone: Any, structure: Mapping[str, Any]) -> nn.Module:
    """The backbone of a saved model, without weights: they come from its file.

    Parameters
    ----------
    backbone : str, nn.Module or callable
        As of the estimator.
    structure : mapping
        Of the file.

    Returns
    -------
    nn.Module
        One that is made by name takes no memory yet.
    """
    name, shape = structure["backbone"], tuple(structure["shape"])
    chosen = backbone if name is None else name
    on_meta = isinstance(chosen, str) and not chosen.startswith("timm:")
    with isolated(0, torch.device("cpu"), False), torch.device("meta" if on_meta else "cpu"):
        return make_backbone(chosen, shape, structure["stem"])


def blank(shape: Sequence[int], frozen: nn.Module | None = None) -> Views | FrozenViews:
    """Views that leave samples as they are, until a state is loaded into them.

    Parameters
    ----------
    shape : sequence of int
        Of a sample: (C, H, W) of an image, (n_features,) of a vector.
    frozen : nn.Module, default=None
        Backbone whose features the views are to be.

    Returns
    -------
    Views or FrozenViews
        Without augmentation.
    """
    if frozen is not None:
        features = _blank((int(frozen.num_features),))  # type: ignore[arg-type]
        return FrozenViews(_blank(shape), frozen, features, None)
    return _blank(shape)


def _blank(shape: Sequence[int]) -> Views:
    if len(shape) == 1:
        return Views.for_vectors([], np.zeros(shape[0]), np.ones(shape[0]))
    channels, height, width = shape
    mean, std = np.zeros(channels), np.ones(channels)
    return Views.for_images([], 0.0, 1.0, mean, std, size=(height, width))


def _leave_training(module: nn.Module) -> None:
    """Let go of buffers that only training fills."""
    for part in module.modules():
        for name in part._non_persistent_buffers_set:
            part._buffers[name] = None


def _device(wanted: Any) -> str:
    try:
        return str(resolve_device(wanted))
    except ValueError:
        warn_user(
            f"device={str(wanted)!r} of the saved model is not available here: it predicts on the "
            "CPU. To train, pass device='auto' to load.",
            UserWarning,
        )
        return "cpu"


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what a model file says of its model.

    Parameters
    ----------
    path : path
        Of a file that ``save`` has written.

    Returns
    -------
    dict
        ``method``, ``data``, ``n_clusters``, ``cluster_sizes``, ``parameters``, ``run``,
        ``metrics``, ``versions``, ``license``, and what was handed to ``save`` as `card`. The run
        is what parameters such as "auto" came to: see `resolved`.

    Raises
    ------
    FileNotFoundError, ValueError
        As of `load`.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdeepclust import BackboneKMeans
    >>> from skdeepclust.datasets import load_digits_images
    >>> from skdeepclust.persistence import read_card
    >>> images = load_digits_images().images[:100]
    >>> model = BackboneKMeans(3, backbone="identity", weights=None, random_state=0).fit(images)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(os.path.join(folder, "model.safetensors"), card={"license": "CC0-1.0"})
    ...     card = read_card(os.path.join(folder, "model.safetensors"))
    >>> card["method"], card["n_clusters"], sum(card["cluster_sizes"]), card["license"]
    ('BackboneKMeans', 3, 100, 'CC0-1.0')
    >>> card["run"]["backbone"], card["run"]["precision"], card["run"]["seed"]
    ('identity', 'float32', 0)
    """
    return read(path, _KIND, VERSION)["card"]
