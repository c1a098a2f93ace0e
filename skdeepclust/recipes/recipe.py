"""What a recipe is: the settings of a run as data, each with its source."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

__all__ = [
    "AUTO_PRECISION",
    "DATA_SETS",
    "MADE_HERE",
    "OURS",
    "THEIR_VIEWS",
    "DataSet",
    "Recipe",
    "Result",
    "Setting",
    "cite",
    "recite",
]

_WIDTH = 100
_SHOWN_ITEMS = 4


@dataclass(frozen=True)
class DataSet:
    """A benchmark.

    Attributes
    ----------
    title : str
        Its name in prose.
    n_classes : int
        Number of classes.
    train, test, unlabeled : int
        Images of each part; ImageNet's validation part counts as test.
    """

    title: str
    n_classes: int
    train: int
    test: int
    unlabeled: int = 0

    def size(self, split: str) -> int:
        """Count the images of a split.

        Parameters
        ----------
        split : str
            Parts, joined by "+".

        Returns
        -------
        int
            Images of all its parts.
        """
        return sum(getattr(self, part) for part in split.split("+"))


DATA_SETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "cifar10": DataSet("CIFAR-10", 10, 50_000, 10_000),
        "cifar100-20": DataSet("CIFAR-100 with 20 super-classes", 20, 50_000, 10_000),
        "cifar100": DataSet("CIFAR-100", 100, 50_000, 10_000),
        "stl10": DataSet("STL-10", 10, 5_000, 8_000, 100_000),
        "imagenet10": DataSet("ImageNet-10", 10, 13_000, 500),
        "imagenet-dogs": DataSet("ImageNet-Dogs", 15, 19_500, 750),
        "tiny-imagenet": DataSet("Tiny-ImageNet", 200, 100_000, 10_000),
        "imagenet1k": DataSet("ImageNet-1k", 1000, 1_281_167, 50_000),
    }
)


@dataclass(frozen=True)
class Setting:
    """The value of a parameter and where it is from.

    Attributes
    ----------
    value : object
        Of the estimator's parameter.
    source : str
        Begins with a word that the recipe's references explain.
    """

    value: Any
    source: str


def cite(source: str, /, **values: Any) -> dict[str, Setting]:
    """Name one source for several settings.

    Parameters
    ----------
    source : str
        Where the values are from.
    **values
        Parameters of the estimator.

    Returns
    -------
    dict of str to Setting
        By the parameter's name.
    """
    return {name: Setting(value, source) for name, value in values.items()}


def recite(settings: Mapping[str, Setting], source: str) -> dict[str, Setting]:
    """Give settings another source: that of a run that took them over.

    Parameters
    ----------
    settings : mapping of str to Setting
        Of the first run.
    source : str
        Of the run that took them over.

    Returns
    -------
    dict of str to Setting
        The same values.
    """
    return {name: Setting(setting.value, source) for name, setting in settings.items()}


# What the fast recipes of all methods have in common: their values come from nobody's paper.
OURS: Mapping[str, str] = MappingProxyType(
    {"ours": "chosen here as a trade-off of accuracy and time; docs/reproduction has what it gave"}
)
MADE_HERE = (
    "Not a published run: its schedule is made here, for the clock. The page docs/reproduction has "
    "what it came to, where it was run."
)
# Not expressed where the official code has torchvision's augmentations.
THEIR_VIEWS = (
    "The order of the colour jitter, which torchvision draws anew for each image.",
    "Hue in HSV, as torchvision turns it; ours turns in YIQ.",
    "The official standardisation constants; ours are the mean and standard deviation of the "
    "training images.",
)
AUTO_PRECISION: Mapping[str, Setting] = MappingProxyType(
    cite(
        "ours: bfloat16 where the device is made for it: the minutes are worked out for that",
        precision="auto",
    )
)


@dataclass(frozen=True)
class Result:
    """Figures that somebody published for a run.

    Attributes
    ----------
    source : str
        Who published them.
    nmi, acc, ari : float or None
        In percent; None where not given.
    """

    source: str
    nmi: float | None = None
    acc: float | None = None
    ari: float | None = None

    def __str__(self) -> str:
        figures = {"NMI": self.nmi, "ACC": self.acc, "ARI": self.ari}
        shown = "  ".join(f"{name} {v:4.1f}" for name, v in figures.items() if v is not None)
        return f"{shown}  {self.source}"


@dataclass(frozen=True)
class Recipe:
    """The settings of a run, each with its source; printing shows all of it.

    Runs are published ones, and some of ours, whose sources begin with *ours*.

    Attributes
    ----------
    method : str
        Class name of the estimator.
    name : str
        The data set, and the variant if there are several.
    data : DataSet
        What it was run on.
    fitted : str
        Split that is trained on, its parts joined by "+".
    scored : str or None
        Split whose clusters were compared with the classes; None where nobody said.
    settings : mapping of str to Setting
        Parameters of the estimator; `n_clusters` only where it is not the number of classes.
    references : mapping of str to str
        What the first words of the sources stand for.
    results : tuple of Result
        Published figures.
    not_expressed : tuple of str
        What the published run did and the estimator cannot do, or does in another way.
    notes : tuple of str
        What else to know.
    version : int
        Rises whenever a value changes.
    """

    method: str
    name: str
    data: DataSet
    fitted: str
    scored: str | None
    settings: Mapping[str, Setting]
    references: Mapping[str, str]
    results: tuple[Result, ...] = ()
    not_expressed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    version: int = 1

    def __post_init__(self) -> None:
        for name in ("settings", "references"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> Any:
        values = (getattr(self, field.name) for field in fields(self))
        return type(self), tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in values)

    @property
    def n_samples(self) -> int:
        """Images that are trained on."""
        return self.data.size(self.fitted)

    @property
    def n_clusters(self) -> int:
        """Number of clusters, that of the classes unless the settings have another."""
        return self.params["n_clusters"]

    @property
    def params(self) -> dict[str, Any]:
        """Arguments of the estimator."""
        return {name: setting.value for name, setting in self._complete.items()}

    @property
    def _complete(self) -> dict[str, Setting]:
        classes = Setting(self.data.n_classes, f"classes of {self.data.title}")
        return {"n_clusters": classes, **self.settings}

    def __repr__(self) -> str:
        return f"<Recipe {self.name!r} of {self.method}, version {self.version}>"

    def __str__(self) -> str:
        scored = "an unstated split" if self.scored is None else self.scored
        return "\n".join(
            [
                f"{self.method}, recipe {self.name!r}, version {self.version}",
                f"{self.data.title}: fitted on {self.fitted} ({self.n_samples:,} images), "
                f"scored on {scored}",
                "",
                *self._table(),
                *_section("Published, in percent", [str(result) for result in self.results]),
                *_section("Not expressed", self.not_expressed),
                *_section("Notes", self.notes),
                *_section("References", list(self._cited())),
            ]
        )

    def _cited(self) -> Iterator[str]:
        given = [setting.source for setting in self.settings.values()]
        given += [result.source for result in self.results]
        for name, meaning in self.references.items():
            if any(source.startswith(name) for source in given):
                yield f"{name}: {meaning}"

    def _table(self) -> Iterator[str]:
        rows = [("parameter", "value", "source")]
        rows += [(name, _shown(s.value), s.source) for name, s in self._complete.items()]
        first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
        for name, value, source in rows:
            yield f"{name:<{first}}  {value:<{second}}  {source}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > _SHOWN_ITEMS:
        return f"({value[0]}, {value[1]}, ..., {value[-1]})"
    return repr(value)


def _section(title: str, items: Sequence[str]) -> Iterator[str]:
    if not items:
        return
    yield from ("", title)
    for item in items:
        yield textwrap.fill(item, _WIDTH, initial_indent="- ", subsequent_indent="  ")
