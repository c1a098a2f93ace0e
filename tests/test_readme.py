"""What README.md shows works, and is what the example and the CI run."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skdeepclust import CDCClustering, IDFDClustering, ProPosClustering
from skdeepclust.datasets import load_digits_images

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def statements(source):
    return [ast.unparse(node) for node in ast.parse(source).body]


def test_the_first_block_is_the_quickstart():
    example = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")
    assert blocks("python")[0] in example
    # Beyond it the example has its docstring, its import of sys and its file name.
    assert len(statements(example)) == len(statements(blocks("python")[0])) + 3


@pytest.fixture
def in_brief(monkeypatch, tmp_path):
    """Cut the data to a few images and the training to an epoch; download nothing."""
    from torchvision.models import resnet18

    folder = tmp_path / "photographs"
    folder.mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(256, size=(12, 40, 50, 3))):
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")
    (folder / "broken.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "skdeepclust.backbones.torchvision_state", lambda _: resnet18().state_dict()
    )
    images, target = load_digits_images(return_X_y=True)
    colour = np.random.default_rng(0).integers(256, size=(40, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(
        "skdeepclust.datasets.load_digits_images", lambda **_: (images[:200], target[:200])
    )
    monkeypatch.setattr(
        "skdeepclust.datasets.fetch_cifar10", lambda **_: (colour, np.arange(40) % 10)
    )
    for method in (CDCClustering, IDFDClustering, ProPosClustering):
        monkeypatch.setitem(method.__init__.__kwdefaults__, "max_epochs", 1)


@pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained
def test_all_python_blocks_run_in_order(in_brief):
    import matplotlib

    matplotlib.use("Agg")
    code = "".join(blocks("python"))
    assert "max_epochs=200" in code
    names = {}
    exec(compile(code.replace("max_epochs=200", "max_epochs=1"), "README.md", "exec"), names)
    assert set(names["search"].best_params_) == {"scattering_weight"}
    assert len(names["labels"]) == 200
    assert names["photos"].labels_.tolist().count(-1) == len(names["photos"].skipped_) == 1
    assert names["model"].image_shape_in_ == (3, 32, 32)
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("marker", "command"),
    [
        ("<!-- ci:demo -->", 'pip install ".[plot]" && skdeepclust demo'),
        ("<!-- ci:test -->", 'pip install ".[test]" && pytest'),
    ],
)
def test_the_commands_that_ci_runs(marker, command):
    assert README.count(f"{marker}\n```bash\n{command}\n```\n") == 1


def test_there_is_a_place_for_the_results():
    begin, end = (README.index(f"<!-- results:{word} -->") for word in ("begin", "end"))
    assert begin < end


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
