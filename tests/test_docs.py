"""What the pages of the documentation show works: their code, run in brief, and their links."""

import importlib
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

import skdeepclust

DOCS = Path(__file__).parents[1] / "docs"
INCLUDES = ("contributing.md", "own_method.md", "changelog.md")  # tested where they are
PAGES = sorted(
    str(path.relative_to(DOCS))
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts and path.name not in INCLUDES and "```python" in path.read_text()
)
BLOCK = re.compile(r"^(<!-- not run: (?P<why>.+) -->\n)?```python\n(?P<code>.*?)^```$", re.M | re.S)
BRIEF = {  # what machine and time allow
    'device="cuda"': 'device="cpu", backbone="convnet", hidden_dim=64',
    "range(2, 31)": "range(8, 12)",
}
NOT_RUN = {"processes.md": 1}  # needs a cluster


def blocks(page):
    return list(BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")))


# -- what a page takes as given, or too much of ------------------------------------------------


def of_channels(given, monkeypatch):
    np.save("tiles.npy", np.random.default_rng(0).random((20, 64, 64, 12), dtype=np.float32))


def of_memory_maps(given, monkeypatch):
    np.save("images.npy", np.random.default_rng(0).integers(256, size=(40, 3, 32, 32), dtype="u1"))
    monkeypatch.setenv("RANK", "0")


def of_sizes(given, monkeypatch):
    from PIL import Image

    for path in Path("photographs").iterdir():
        Image.open(path).resize((200, 150)).save(path)
    given["paths"] = sorted(Path("photographs").iterdir())


def of_pretrained(given, monkeypatch):
    """A vision transformer of DINO's form in small, and the weights of both networks."""
    import timm
    from safetensors.torch import save_file

    whole = timm.create_model
    small = {"depth": 1, "embed_dim": 48, "num_heads": 3}
    monkeypatch.setattr(timm, "create_model", lambda name, **how: whole(name, **how | small))
    dino = timm.create_model("vit_small_patch16_224.dino", num_classes=0)
    save_file(dino.state_dict(), "dino.safetensors")
    weights = {"weight": torch.randn(64, 3, 7, 7), "bias": torch.zeros(64)}
    torch.save({f"convolution.{name}": value for name, value in weights.items()}, "net.pt")


def of_monitoring(given, monkeypatch):
    """Runs of services that nobody is logged in to."""
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    run = SimpleNamespace(watch=lambda net: None, log=lambda row: None)
    started = SimpleNamespace(info=SimpleNamespace(run_id="1"))

    class Context:
        def __init__(self, value):
            self.value = value

        def __enter__(self):
            return self.value

        def __exit__(self, *error):
            pass

    wandb, mlflow = ModuleType("wandb"), ModuleType("mlflow")
    wandb.init = lambda **_: Context(run)
    mlflow.start_run = lambda: Context(started)
    mlflow.log_artifact = lambda path: Path(path).stat()
    tracking = ModuleType("mlflow.tracking")
    tracking.MlflowClient = lambda: SimpleNamespace(log_metric=lambda *a, **k: None)
    for module in (wandb, mlflow, tracking):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def of_reliability(given, monkeypatch):
    from skdeepclust import ProPosClustering
    from skdeepclust.datasets import load_digits_images

    class MyNet(torch.nn.Flatten):
        num_features = 64

    given |= {"ProPosClustering": ProPosClustering, "MyNet": MyNet}
    given["images"] = load_digits_images().images


GIVEN = {
    "channels.md": of_channels,
    "monitoring.md": of_monitoring,
    "more_than_ram.md": of_memory_maps,
    "pretrained.md": of_pretrained,
    "processes.md": of_memory_maps,
    "reliability.md": of_reliability,
    "sizes.md": of_sizes,
}


@pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, in_brief, monkeypatch):
    monkeypatch.setattr("skdeepclust.model_selection._kselection._HALVES", 2)
    given = {"__name__": "page"}
    if page in GIVEN:
        GIVEN[page](given, monkeypatch)
    for block in blocks(page):
        if not block["why"]:
            line = (DOCS / page).read_text(encoding="utf-8")[: block.start("code")].count("\n")
            code = re.sub("|".join(map(re.escape, BRIEF)), lambda m: BRIEF[m[0]], block["code"])
            exec(compile("\n" * line + code, page, "exec"), given)


def test_hardly_any_code_is_left_out():
    found = {page: sum(bool(block["why"]) for block in blocks(page)) for page in PAGES}
    assert {page: n for page, n in found.items() if n} == NOT_RUN


def test_every_page_is_found():
    assert len(PAGES) > 15
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        assert len(blocks(page)) == text.count("```python\n"), page


def exports():
    """Modules and what they export; those with an underscore, commands and recipes are ours."""
    for module in pkgutil.walk_packages(skdeepclust.__path__, "skdeepclust."):
        inside = any(part.startswith("_") for part in module.name.split("."))
        if not inside and not module.name.startswith(("skdeepclust.cli.", "skdeepclust.recipes.")):
            yield module.name, set(getattr(importlib.import_module(module.name), "__all__", ()))


def test_the_reference_has_every_public_name():
    text = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (skdeepclust[\w.]*)$", text, re.M))
    found = dict(exports())
    known = set(skdeepclust.__all__).union(*(found[name] for name in found if name in listed))
    missing = {name: exported - known for name, exported in found.items() if exported - known}
    assert not missing
