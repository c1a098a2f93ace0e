"""Imports inside the package point down, so that every layer can be read without those above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "skdeepclust"

# Each layer imports from the layers after it, never from its own or an earlier one.
LAYERS = [
    {"methods"},
    {"base"},
    {"clusterer", "recipes"},
    {"persistence"},
    {"engine"},
    {"nn", "augment", "backbones"},
    {"ops"},
]
# Leaves import from every layer, and nobody imports them but the entrances.
LEAVES = {"metrics", "model_selection", "inspection", "datasets", "export"}
ENTRANCES = {"__init__", "__main__", "cli"}
# Import nothing of the package, hence may be imported from everywhere.
ANYWHERE = {"_errors", "_parameters", "_paths", "_version", "_sklearn"}


def part(path):
    """Return the top-level name that a file belongs to: engine/net.py -> engine."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def may_import(part):
    """Return the parts of the package that a part may import."""
    if part in ANYWHERE:
        return set()
    if part in ENTRANCES:
        return set().union(*LAYERS) | LEAVES | ANYWHERE | {"cli"}
    depth = next((i for i, layer in enumerate(LAYERS) if part in layer), -1)  # leaves are on top
    return {part} | set().union(*LAYERS[depth + 1 :]) | ANYWHERE


def imported_modules(tree):
    """Yield each import of a module as ``(line, module)``, relative ones with their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def faults(part, source):
    """Yield what is wrong with the imports of a source text of the given part."""
    for line, module in imported_modules(ast.parse(source)):
        root, *names = module.split(".")
        if not root:
            yield f"line {line}: a relative import"
        elif root == "skdeepclust" and not names:
            if part not in ENTRANCES:  # which nothing that the package exports imports
                yield f"line {line}: imports the package, not a module of it"
        elif root == "skdeepclust" and names[0] not in may_import(part):
            yield f"line {line}: {part} must not import {names[0]}"


def test_every_module_has_its_place():
    found = {part(path) for path in PACKAGE.rglob("*.py")}
    assert found, f"no package in {PACKAGE}"
    unplaced = found - set().union(*LAYERS, LEAVES, ENTRANCES, ANYWHERE)
    assert not unplaced, f"place it in a layer of {Path(__file__).name}: {sorted(unplaced)}"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_point_down(path):
    assert not list(faults(part(path), path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("engine", "from skdeepclust.methods.propos import ProPosClustering"),
        ("engine", "import skdeepclust.base"),
        ("nn", "def late():\n    from skdeepclust.augment.views import Views"),
        ("base", "from skdeepclust.metrics import clustering_accuracy"),
        ("inspection", "from skdeepclust.metrics import clustering_accuracy"),
        ("_sklearn", "from skdeepclust.ops.kmeans import kmeans"),
        ("methods", "from skdeepclust import IDFDClustering"),
        ("ops", "from . import kmeans"),
    ],
)
def test_a_wrong_import_is_found(part, source):
    assert len(list(faults(part, source))) == 1


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("methods", "from skdeepclust.base import DeepClusterer"),
        ("engine", "from skdeepclust.engine.images import Images"),
        ("metrics", "from skdeepclust.methods.propos import ProPosClustering"),
        ("cli", "from skdeepclust.metrics import clustering_accuracy"),
        ("cli", "import skdeepclust"),
        ("ops", "from skdeepclust._sklearn import validate_data"),
        ("ops", "import torch"),
    ],
)
def test_a_right_import_passes(part, source):
    assert not list(faults(part, source))


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("skdeepclust", {"torch", "torchvision", "skorch", "matplotlib", "sklearn.manifold"}),
        ("skdeepclust.datasets, skdeepclust.metrics", {"torch"}),
        # neither the compiler nor matplotlib, nor others' networks and formats
        (
            "skdeepclust.methods.idfd, skdeepclust.inspection",
            {"torch._dynamo", "matplotlib", "timm", "pillow_heif"},
        ),
    ],
)
def test_modules_load_what_they_need(modules, heavy):
    script = f"import sys, {modules}; print(*sorted({heavy} & set(sys.modules)))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PACKAGE.parent, check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert not loaded, f"import {modules} loads {loaded}"
