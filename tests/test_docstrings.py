"""Every public name has a docstring in numpydoc's form, and says what it takes and returns."""

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass

from numpydoc.validate import validate

import skdeepclust

# Of every name: a summary that ends with a full stop, sections in order, parameters that exist
# and have a type and a description.
FORM = set("GL06 GL07 GL08 GL10 SS01 SS02 SS03 SS04 PR02 PR03 PR04 PR05 PR06 PR07 PR10".split())
# Of what users call: every parameter, what is returned and what is yielded.
CONTENT = {"PR01", "RT01", "YD01"}
# Inside the engine and the command line a line may say it all.
INSIDE = ("skdeepclust._", "skdeepclust.cli.", "skdeepclust.engine.", "skdeepclust.ops.collective.",
          "skdeepclust.backbones.pretrained.")  # fmt: skip
# Modules and hooks are called by the engine, and described where they are declared.
CALLED_BY_US = ("skdeepclust.augment.", "skdeepclust.backbones.", "skdeepclust.nn.",
                "skdeepclust.methods.")  # fmt: skip


def modules():
    yield "skdeepclust"
    for module in pkgutil.walk_packages(skdeepclust.__path__, "skdeepclust."):
        if not module.name.endswith(("__main__", "_version", "_lloyd")):  # has kernels
            yield module.name


def methods(owner):
    """Public methods and properties, inherited ones of this package too."""
    for name, value in inspect.getmembers(owner):
        function = getattr(value, "fget", None) or inspect.unwrap(value)
        home = getattr(function, "__module__", None) or ""
        if not name.startswith("_") and home.startswith("skdeepclust"):
            yield name


def public_names():
    """All names that ``__all__`` of any module exports, once, and the methods of classes."""
    found = {}
    for module in modules():
        exported = importlib.import_module(module)
        for name in getattr(exported, "__all__", ()):
            value = getattr(exported, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                path = f"{value.__module__}.{value.__qualname__}"
                found[path] = value
                if inspect.isclass(value):
                    found |= {f"{path}.{method}": value for method in methods(value)}
    return sorted(found.items())


def expected(path, owner):
    """Codes of numpydoc's checks that a name must pass."""
    is_method = not path.endswith(f".{owner.__qualname__}")
    if path.startswith(INSIDE) or (is_method and path.startswith(CALLED_BY_US)):
        return FORM
    if is_dataclass(owner) and not is_method and "Attributes\n" in (owner.__doc__ or ""):
        return FORM | CONTENT - {"PR01"}  # fields are described as attributes
    return FORM | CONTENT


NAMES = [item for item in public_names() if item[0] != "skdeepclust.base.DeepClusterer"]


def test_there_are_names():
    paths = {path for path, _ in NAMES}
    assert len(paths) > 400
    assert {"skdeepclust.methods.idfd.IDFDClustering.fit", "skdeepclust.persistence.load"} <= paths


def test_docstrings():
    faults = [
        f"{path}: {code} {message}"
        for path, owner in NAMES
        for code, message in validate(path)["errors"]
        if code in expected(path, owner)
    ]
    assert not faults, "\n".join(faults)


# What users meet first: estimators, the functions of the equations, and what stands beside them.
SHOWN = """skdeepclust metrics model_selection datasets inspection augment.transforms methods.idfd
methods.propos methods.secu methods.cdc methods.backbone_kmeans ops.kmeans export""".split()
OURS = ("Objective", "SelfLabelling", "self_labelling", "update_means", "balance", "Centroids")


def test_public_names_have_an_example():
    without = [
        f"{path}.{name}"
        for path in SHOWN
        for home in [importlib.import_module(f"skdeepclust.{path}".removesuffix(".skdeepclust"))]
        for name in home.__all__
        if callable(value := getattr(home, name))
        and not name.endswith(OURS)
        and not (inspect.isclass(value) and issubclass(value, Warning))
        and ">>>" not in (value.__doc__ or "")
    ]
    assert not without
