import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skdeepclust
from skdeepclust import cli
from skdeepclust.cli import demo
from skdeepclust.datasets import load_digits_images
from skdeepclust.engine.net import ObjectiveNet

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained


@pytest.fixture
def few_digits(monkeypatch):
    images, target = load_digits_images(return_X_y=True)
    monkeypatch.setattr(
        "skdeepclust.datasets.load_digits_images", lambda **_: (images[:200], target[:200])
    )


BRIEF = ["--epochs", "1", "--jobs", "1"]


def refuse(*args, **kwargs):
    raise AssertionError("training began")


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )


def test_help_loads_nothing_heavy():
    script = (
        "import sys, skdeepclust.cli as cli\n"
        "try: cli.main(['demo', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib', 'skorch'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    out = python("-c", script).stdout
    assert "--epochs" in out
    assert "loaded: []" in out


def test_the_module_runs_and_knows_its_version():
    assert python("-m", "skdeepclust", "--version").stdout == (
        f"skdeepclust {skdeepclust.__version__}\n"
    )


def test_demo_prints_a_table_and_draws_a_picture(few_digits, tmp_path, capfd):
    path = tmp_path / "picture.png"
    assert cli.main(["demo", "--out", str(path), *BRIEF, "--seed", "3"]) == 0

    out, err = capfd.readouterr()
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("method "))
    assert lines[start].split() == ["method", "ACC", "NMI", "ARI", "seconds"]
    table = lines[start + 1 : start + 2 + len(skdeepclust.METHODS)]
    rows = [line.rsplit(maxsplit=4) for line in table]
    assert [row[0] for row in rows] == ["k-means on pixels", *skdeepclust.METHODS]
    assert all(0 <= float(figure) <= 1 for row in rows for figure in row[1:4])
    assert out.count("cluster sizes ") == 1 + len(skdeepclust.METHODS)
    assert f"The picture is in {path}" in out
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "step/s" not in err  # no progress bar in a log file


@pytest.mark.slow  # .ci/run trains two at once, too
def test_methods_train_side_by_side(few_digits, capfd, monkeypatch):
    monkeypatch.setattr(demo, "_picture", lambda *_: None)
    assert cli.main(["demo", "--epochs", "1", "--jobs", "2"]) == 0
    names = [line.split(":")[0] for line in capfd.readouterr().out.splitlines() if " ACC " in line]
    assert [n for n in names if n in skdeepclust.METHODS] == [*skdeepclust.METHODS]


def test_demo_takes_a_third_of_the_epochs(few_digits, monkeypatch, capsys):
    asked = {}

    def fit_shortly(model, images):
        asked[type(model).__name__] = model.max_epochs
        model.set_params(max_epochs=1).fit(images)

    monkeypatch.setattr(demo, "fit_quietly", fit_shortly)
    monkeypatch.setattr(demo, "_picture", lambda *_: None)
    assert cli.main(["demo", "--jobs", "1"]) == 0
    assert "a third of its default epochs" in capsys.readouterr().out
    assert asked == {
        name: getattr(skdeepclust, name)().max_epochs // 3 for name in skdeepclust.METHODS
    }


def test_demo_shows_a_progress_bar_on_a_terminal(few_digits, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(demo, "_picture", lambda *_: None)
    assert cli.main(["demo", *BRIEF]) == 0
    assert "step/s" in capsys.readouterr().err


def test_demo_without_matplotlib_says_how_to_get_the_picture(few_digits, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    images, target = load_digits_images(return_X_y=True)
    demo._picture(images, target, [], None)
    assert "pip install matplotlib" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["dmeo"], "dmeo"),
        (["demo", "--epochs", "0"], "--epochs: must be an integer >= 1"),
        (["demo", "--epochs", "many"], "--epochs: must be an integer >= 1"),
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--seed", str(2**32)], "--seed"),
        (["demo", "--out", "no/such/folder/a.png"], "make the folder 'no/such/folder' first"),
        (["demo", "--out", "picture.docx"], "must end in .png"),
        (["demo", "--colour"], "--colour"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(arguments, words, capsys, monkeypatch):
    monkeypatch.setattr(demo, "_kmeans", refuse)
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_a_folder_is_no_picture(tmp_path, capsys):
    folder = tmp_path / "a.png"
    folder.mkdir()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "--out", str(folder)])
    assert "is a folder" in capsys.readouterr().err


def test_a_failing_disk_is_one_line(capsys, monkeypatch):
    def fail(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(demo, "_kmeans", fail)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo"])
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("where", ["training", "picture"])
def test_ctrl_c_ends_the_demo(where, few_digits, capsys, monkeypatch, recwarn):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    if where == "training":
        monkeypatch.setattr(ObjectiveNet, "train_step", interrupt)
    else:
        monkeypatch.setattr(demo, "_picture", interrupt)
    assert cli.main(["demo", *BRIEF]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert not [w for w in recwarn if "interrupted" in str(w.message)]


def test_more_methods_than_two_fit_into_the_picture(few_digits):
    images, target = load_digits_images(return_X_y=True)
    images, target = images[:60], target[:60]

    class Model:
        def predict(self, X):
            return target

        def transform(self, X):
            return np.asarray(X, float).reshape(len(X), -1)

    found = [demo._Clustering(f"method {i}", target, 1.0, Model()) for i in range(5)]
    figure = demo._draw(images, target, found)
    assert len(figure.axes) == 1 + 5
