"""What reproduce.py runs: methods by name, data sets, and the recipes that a run may follow."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from entrants import VARIANTS

from skdeepclust.recipes import cdc, find, idfd, propos, secu
from skdeepclust.recipes.recipe import (
    AUTO_PRECISION,
    DATA_SETS,
    DataSet,
    Recipe,
    Result,
    Setting,
    cite,
)

RECIPES = ("paper", "fast", "small")

# -- methods ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A row of the table.

    `published` names the package's recipe for each data set, `settings` are what is other than
    there and in the fast one, `by_data` what is so on one data set, `results` stand in the place of
    the recipe's figures, and `goals` are ACC and minutes on one H200, for CIFAR-10.
    """

    title: str
    estimator: str
    published: Mapping[str, str]
    kind: str | None = None  # whose settings of `fast` and `small` it takes
    settings: Mapping[str, Setting] = field(default_factory=dict)
    by_data: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    results: Mapping[str, tuple[Result, ...]] = field(default_factory=dict)
    goals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _by_name(*data):
    return {name: name for name in data}


_RESNET18 = {name: f"{name}-resnet18" for name in ("cifar10", "cifar100-20")}
# The package's recipes of SeCu cite figures that are almost surely those after self-labelling.
_UNCHECKED = "one stage, not checked against the paper"
_ONE_STAGE = {
    "cifar10": (
        Result(_UNCHECKED, 79.9, 88.5, 78.2),
        Result("CoKe, its predecessor, on train", 76.6, 85.7, 73.2),
    ),
    "cifar100-20": (
        Result(_UNCHECKED, 51.6, 51.6, 36.0),
        Result("CoKe, its predecessor, on train", acc=49.7),
    ),
    "stl10": (Result(_UNCHECKED, 70.7, 81.4, 65.7),),
}
_BYOL = {"cifar10": (Result("first version, Table 4, 3 runs", 79.4, 87.8, 76.6),)}
_SELF_LABEL = cite("SCAN's 200 epochs of self-labelling", self_label_epochs=200)
_SELF_LABEL_BY_DATA = {"stl10": cite("SCAN's 100 epochs on STL-10", self_label_epochs=100)}
_GOALS_OF_PROPOS = {"paper": (0.916, 42), "fast": (0.916, 15)}

# On a GPU in this order: what takes least time comes first.
METHODS = {
    "secu": Method(
        "SeCu",
        "SeCuClustering",
        _by_name("cifar10", "cifar100-20", "stl10"),
        "secu",
        results=_ONE_STAGE,
        goals={"paper": (0.857, 9), "fast": (0.857, 9)},
    ),
    "idfd": Method(
        "IDFD",
        "IDFDClustering",
        _by_name("cifar10", "cifar100-20", "stl10", "imagenet10"),
        "idfd",
        goals={"paper": (0.815, 23), "fast": (0.815, 10)},
    ),
    "propos": Method("ProPos", "ProPosClustering", _RESNET18, "propos", goals=_GOALS_OF_PROPOS),
    "cdc": Method(
        "CDC",
        "CDCClustering",
        _by_name("cifar10", "cifar100-20", "stl10"),
        "cdc",
        goals={"paper": (0.80, 25), "fast": (0.80, 25)},
    ),
    "secu-self-label": Method(
        "SeCu, self-labelled",
        "SeCuClustering",
        _by_name("cifar10", "cifar100-20", "stl10"),
        "secu",
        _SELF_LABEL,
        _SELF_LABEL_BY_DATA,
    ),
    "propos-resnet34": Method(
        "ProPos, ResNet-34",
        "ProPosClustering",
        _by_name("cifar10", "cifar100-20", "stl10", "imagenet10"),
    ),
    "byol": Method(
        "BYOL + k-means",
        "ProPosClustering",
        {"cifar10": "cifar10-resnet18"},
        "propos",
        cite("without scattering and noise the method is BYOL", **VARIANTS["BYOL"][2]),
        results=_BYOL,
    ),
}
FIRST = ("secu", "idfd", "propos", "cdc")  # what runs where no method is named

# Two places where one device differs from the authors' four: the gather operation of their code
# divides the weight of the scattering by four, and each device has batch norms of its own.
ABLATION = {
    f"propos-{weight}-{name}": Method(
        f"ProPos, weight {weight}, {title}",
        "ProPosClustering",
        {"cifar10": "cifar10-resnet18"},
        "propos",
        cite("the ablation", scattering_weight=weight, norm_batch_size=norm),
    )
    for weight in (0.1, 0.025)
    # All of a view, and a device's share of it.
    for name, title, norm in (("full", "whole norms", 512), ("128", "norms over 128", 128))
}
# Whether the clock's recipes could do with less: half of the epochs, or small views at first.
_SMALL_VIEWS = cite("views of 9/16 of the pixels, in half of the epochs", start_resolution=24)
TRADE_OFF = {
    f"{name}-{how}": dataclasses.replace(
        METHODS[name], title=f"{METHODS[name].title}, {title}", settings=settings, goals={}
    )
    for name in FIRST
    for how, title, settings in (
        ("half", "half of the epochs", {}),
        ("reduced", "small views at first", _SMALL_VIEWS),
    )
}
ALL = METHODS | ABLATION | TRADE_OFF

# -- recipes ------------------------------------------------------------------------------

# Of CIFAR-10: method and network are those of the paper, the schedule is made for the clock.
FAST = {"secu": secu.FAST, "idfd": idfd.FAST, "propos": propos.FAST, "cdc": cdc.FAST}
# What two cores can carry, on the defaults of the estimators, which are made for few images.
_NARROW = cite("the narrow network", backbone="convnet")
SMALL = {
    "secu": _NARROW
    | cite("a fifth of the default, for the clock", max_epochs=20)
    | cite("as published", evaluation="head"),
    "idfd": _NARROW | cite("a fifth of the default, for the clock", max_epochs=30),
    "propos": _NARROW
    | cite("a tenth of the default, for the clock", max_epochs=10)
    | cite("half of the training, as by default", scattering_warmup=5)
    | cite("the rest goes with the shorter training", warmup_epochs=1),
    "cdc": _NARROW
    | cite("a quarter of the default, for the clock", max_epochs=20)
    | cite("the plain method, as in the other recipes", early_heads=()),
}


def _half(settings):
    """Half of all lengths, an epoch at least."""
    lengths = ("max_epochs", "warmup_epochs", "scattering_warmup")
    halves = {name: max(1, settings[name].value // 2) for name in lengths if name in settings}
    return cite("half of the recipe's", **halves)


_SMALLER = {  # of the settings of a method, where the recipe has less of those, too
    "fast": {"secu-self-label": cite("SCAN's 10,000 steps, by 256", self_label_epochs=50)},
    "small": {
        "secu-self-label": cite("a quarter of the training", self_label_epochs=5),
        **{name: cite("2 views x 128", norm_batch_size=256) for name in ABLATION if "full" in name},
    },
}
for _how, _settings in (("fast", FAST), ("small", SMALL)):
    _SMALLER[_how] |= {f"{name}-half": _half(_settings[name]) for name in FIRST}
_SMALL_DATA = {
    "cifar10": (DATA_SETS["cifar10"], "test"),
    "digits": (DataSet("Digits of scikit-learn", 10, 1797, 0), "train"),
}
EVERY = {"paper": 10, "fast": 10, "small": 2}  # epochs between two scores, and two states


def has(name, data, how):
    """Whether a method has a recipe for a data set."""
    method = ALL[name]
    if how == "paper":
        return data in method.published and name not in TRADE_OFF
    return method.kind is not None and data in (_SMALL_DATA if how == "small" else ("cifar10",))


def recipe(name, data, how):
    """The settings of a run, each with its source or reason.

    Raises ValueError if the method has no such recipe for the data set.
    """
    method = ALL[name]
    if not has(name, data, how):
        known = ", ".join(other for other in DATA if has(name, other, how)) or "none"
        raise ValueError(f"{name} has no recipe {how} for {data}; data sets that it has: {known}")
    settings = {**method.settings, **method.by_data.get(data, {})}
    settings |= _SMALLER.get(how, {}).get(name, {})
    if how == "small":
        facts, part = _SMALL_DATA[data]
        settings = SMALL[method.kind] | settings
        return Recipe(method.estimator, data, facts, part, part, settings, {})
    published = find(method.estimator, method.published[data])
    found = find(method.estimator, f"{data}-fast") if how == "fast" else published
    results = method.results.get(data, published.results)
    settings = {**found.settings, **AUTO_PRECISION, **settings}
    return dataclasses.replace(found, settings=settings, results=results)


# -- data sets ----------------------------------------------------------------------------

_FETCHERS = {
    "cifar10": "fetch_cifar10",
    "cifar100-20": "fetch_cifar100",
    "stl10": "fetch_stl10",
    "imagenet10": "fetch_imagenet10",
}
DATA = ("cifar10", "cifar100-20", "stl10", "imagenet10", "digits")


def load(data, split, data_home, image_shape=None):
    """Images and classes of a split; -1 where there is no class.

    Raises FileNotFoundError if the folder is not there, or holds no such images.
    """
    from skdeepclust import datasets

    if data == "digits":
        return datasets.load_digits_images(return_X_y=True)
    if data_home is not None and not Path(data_home).expanduser().is_dir():
        raise FileNotFoundError(f"--data-home: there is no folder {str(data_home)!r}")
    files = data.startswith("imagenet")  # of any size
    more = {"image_shape": image_shape} if files else {}
    fetch = getattr(datasets, _FETCHERS[data])
    return fetch(split=split, data_home=data_home, return_X_y=True, **more)
