"""The command that runs what the papers ran: slices, files, page, and what it refuses."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import skdeepclust

FOLDER = Path(__file__).parents[1] / "asv_bench"
DIGITS = ["--data", "digits", "--recipe", "small", "--epochs", "2", "--every", "1"]
OF_THE_CLOCK = {"seconds", "training_seconds", "images_per_second", "slices", "history"}


@pytest.fixture
def script(monkeypatch):
    """A script of asv_bench as a module."""
    threads, path = torch.get_num_threads(), list(sys.path)
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    torch.set_num_threads(threads)
    sys.path[:] = path


@pytest.fixture
def few(script, monkeypatch):
    """All digits are too many for a test."""
    published, slices = script("published"), script("slices")

    def load(*args):
        images, target = published.load(*args)
        return images[:200], target[:200]

    slices._loaded.cache_clear()
    monkeypatch.setattr(slices, "load", load)
    yield
    slices._loaded.cache_clear()


@pytest.fixture
def ticking(script, monkeypatch):
    """A clock that is a minute later whenever it is asked."""
    now = iter(range(0, 10**9, 60))
    monkeypatch.setattr(script("slices"), "clock", lambda: next(now))
    monkeypatch.setattr(script("reproduce").time, "monotonic", lambda: next(now))


def places(folder):
    return ["--out", str(folder / "out"), "--state", str(folder / "state")]


def row_of(folder):
    (path,) = (folder / "out").glob("*.json")
    row = json.loads(path.read_text())
    assert not list((folder / "state").iterdir())  # of no use any more
    return row


def lasting(row):
    """What is equal in equal runs."""
    timeless = {k: v for k, v in row["history"].items() if k not in OF_THE_CLOCK}
    return {k: v for k, v in row.items() if k not in OF_THE_CLOCK} | timeless


@pytest.fixture
def whole(script, few, tmp_path):
    def run(method):
        arguments = [*DIGITS, "--method", method, *places(tmp_path / "whole")]
        assert script("reproduce").main(arguments) == 0
        return row_of(tmp_path / "whole")

    return run


@pytest.mark.parametrize(
    ("method", "minutes"),
    [("idfd", "8"), ("secu-self-label", "12"), ("propos", "5"), ("cdc", "0.1")],  # a step at least
)
def test_slices_give_the_result_of_an_unbroken_run(
    script, whole, tmp_path, request, method, minutes
):
    unbroken = whole(method)
    request.getfixturevalue("ticking")
    arguments = [*DIGITS, "--method", method, *places(tmp_path), "--minutes", minutes]
    told = [script("reproduce").main(arguments)]
    while told[-1] == 75:
        told.append(script("reproduce").main(arguments))
    row = row_of(tmp_path)
    assert told[-1] == 0 and len(told) == len(row["slices"]) > 1
    assert lasting(row) == lasting(unbroken)
    assert row["seconds"] == sum(part["seconds"] for part in row["slices"])


def test_a_row_says_what_it_is(whole):
    row = whole("idfd")
    assert row["restarted"] is False and row["threads"] == 1
    assert row["protocol"]["fitted"] == row["protocol"]["scored"] == "train"
    assert "last epoch" in row["protocol"]["labels"]
    assert row["scores"]["train"].keys() == {"acc", "nmi", "ari"} and "bank_acc" in row
    assert [point["epoch"] for point in row["curve"]] == row["history"]["epoch"] == [1, 2]
    assert {"loss", "instance", "decorrelation", "feature_std"} <= row["history"].keys()
    assert row["history"]["label_change"][0] is None  # no NaN in JSON
    assert row["settings"]["max_epochs"] == 2 and "checkpoint" not in row["settings"]
    assert {"commit", "torch", "sklearn", "cpu", "device"} <= row.keys()


def test_a_run_that_has_ended_is_not_run_again(script, whole, tmp_path, monkeypatch, capsys):
    whole("idfd")
    monkeypatch.setattr(script("slices"), "fit", None)
    arguments = [*DIGITS, "--method", "idfd", *places(tmp_path / "whole")]
    assert script("reproduce").main(arguments) == 0
    assert "digits-idfd-small-seed0: there already" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_state(script, whole, tmp_path, number, monkeypatch):
    reproduce, unbroken = script("reproduce"), whole("idfd")
    arguments = [*DIGITS, "--method", "idfd", *places(tmp_path)]
    with monkeypatch.context() as patch:
        raising = lambda self, net, **kwargs: signal.raise_signal(number)  # noqa: E731
        patch.setattr(script("slices").Watch, "on_batch_end", raising)
        if number == signal.SIGINT:
            assert reproduce.main(arguments) == 130
        else:
            with pytest.raises(SystemExit, match="143"):
                reproduce.main(arguments)
    assert reproduce.main(arguments) == 0
    row = row_of(tmp_path)
    assert len(row["slices"]) == 2 and lasting(row) == lasting(unbroken)


@pytest.mark.slow
def test_a_killed_run_goes_on(script, whole, tmp_path):
    unbroken = whole("idfd")
    arguments = [*DIGITS, "--method", "idfd", *places(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(FOLDER.parent)}
    victim = subprocess.Popen([sys.executable, __file__, *arguments], env=environment)
    progress = tmp_path / "state" / "digits-idfd-small-seed0" / "progress.json"
    while not progress.exists() and victim.poll() is None:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert script("reproduce").main(arguments) == 0
    row = row_of(tmp_path)
    assert len(row["slices"]) == 2 and lasting(row) == lasting(unbroken)


def test_a_failed_run_costs_the_others_nothing(script, few, tmp_path, monkeypatch):
    reproduce, slices = script("reproduce"), script("slices")
    arguments = [*DIGITS, "--method", "secu", "idfd", *places(tmp_path)]

    def fit(run, deadline):
        if run.method == "secu":
            raise MemoryError("A batch of 64\nis too much")
        return {"scores": {}, "seconds": 1, "slices": [{}]}

    monkeypatch.setattr(slices, "fit", fit)
    assert reproduce.main(arguments) == 1
    rows = {path.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*")}
    assert rows["digits-secu-small-seed0.json"]["error"] == "MemoryError: A batch of 64 is too much"
    assert "error" not in rows["digits-idfd-small-seed0.json"]
    monkeypatch.setattr(slices, "fit", None)
    assert reproduce.main(arguments) == 1  # an error stands
    monkeypatch.setattr(slices, "fit", lambda run, deadline: None)
    assert reproduce.main([*arguments, "--retry"]) == 75


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--method", "propo"], "did you mean propos?"),
        (["--method", "xyz"], "there are secu, idfd"),
        (["--recipe", "fsat"], "no recipe is named 'fsat'; did you mean fast?"),
        (["--data", "cifar1"], "did you mean cifar10?"),
        (["--method", "secu", "--data", "imagenet10"], "secu has no recipe paper for imagenet10"),
        (["--data", "digits"], "no recipe paper for digits"),
        (["--method", "cdc", "--recipe", "fast", "--data", "stl10"], "it has: cifar10"),
        (["--method", "propos-resnet34", "--recipe", "small"], "data sets that it has: none"),
        (
            ["--method", "propos", "--data", "stl10", "--recipe", "small"],
            "propos has no recipe small for stl10; data sets that it has: cifar10, digits",
        ),
        (["--seeds", "0", "-1"], "must be an integer >= 0, got '-1'"),
        (["--minutes", "0"], "must be a number above 0, got '0'"),
        (["--minutes", "nan"], "must be a number above 0"),
        (["--epochs", "1"], "--epochs is for trials"),
        (["--device", "nowhere"], "device='nowhere' is unknown"),
        (["--data-home", "no/such"], "there is no folder 'no/such'"),
        (["--out", __file__], "File exists"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(script, capsys, arguments, told):
    with pytest.raises(SystemExit) as error:
        script("reproduce").main(arguments)
    assert error.value.code == 2
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1


def test_another_training_in_the_folder_is_refused(script, few, tmp_path, request, capsys):
    request.getfixturevalue("ticking")
    arguments = [*DIGITS, "--method", "idfd", *places(tmp_path), "--minutes", "3"]
    assert script("reproduce").main(arguments) == 75
    with pytest.raises(SystemExit) as error:
        script("reproduce").main([*arguments, "--epochs", "3"])
    assert error.value.code == 2
    assert "max_epochs was 2 and is 3" in capsys.readouterr().err


def test_every_recipe_builds_its_estimator(script):
    published = script("published")
    counts = dict.fromkeys(published.RECIPES, 0)
    for name, method in published.ALL.items():
        estimator = getattr(skdeepclust, method.estimator)
        for how in published.RECIPES:
            for data in (d for d in published.DATA if published.has(name, d, how)):
                found = published.recipe(name, data, how)
                assert found.method == method.estimator and str(found)
                model = estimator(**found.params)
                model._validate_params()
                assert how == "small" or model.precision == "auto"
                counts[how] += 1
    assert all(counts.values())


def test_recorded_runs_are_of_the_present_recipes(script):
    recipe = script("published").recipe
    for path in (FOLDER / "results" / "reproduction").glob("*.json"):
        row = json.loads(path.read_text())
        params = recipe(row["method"], row["data"], row["recipe"]).params
        wanted = {k: v for k, v in params.items() if v is not None and v is not False}
        found = {name: row["settings"][name] for name in params if name in row["settings"]}
        assert found == json.loads(json.dumps(wanted)), path.name
        assert path.stem == f"{row['data']}-{row['method']}-{row['recipe']}-seed{row['seed']}"


def test_variants_change_what_they_say(script):
    recipe = script("published").recipe
    byol = recipe("byol", "cifar10", "fast").params
    propos = recipe("propos", "cifar10", "fast").params
    changed = {k for k in propos if byol[k] != propos[k]}
    assert changed == {"scattering_weight", "noise_std"} and byol["scattering_weight"] == 0
    pairs = set()
    for name in script("published").ABLATION:
        params = recipe(name, "cifar10", "fast").params
        pairs.add((params["scattering_weight"], params["norm_batch_size"]))
        assert params["max_epochs"] == propos["max_epochs"] and params["batch_size"] == 512
        small = recipe(name, "cifar10", "small").params  # of both views of 128, or one
        assert small["norm_batch_size"] == min(params["norm_batch_size"], 256)
    assert pairs == {(0.1, 512), (0.1, 128), (0.025, 512), (0.025, 128)}
    for name in script("published").FIRST:
        whole, half, reduced = (
            recipe(kind, "cifar10", "fast").params
            for kind in (name, f"{name}-half", f"{name}-reduced")
        )
        assert half["max_epochs"] * 2 == whole["max_epochs"]
        assert reduced.items() - whole.items() == {("start_resolution", 24)}
        assert not script("published").has(f"{name}-half", "cifar10", "paper")
    paper = recipe("secu-self-label", "cifar10", "paper")
    assert paper.params["self_label_epochs"] == 200 and paper.scored == "test"
    assert recipe("secu-self-label", "stl10", "paper").params["self_label_epochs"] == 100


def test_expected_minutes_are_those_of_the_roofline(script):
    reproduction = script("reproduction")
    minutes = {
        name: reproduction.expected(reproduction.Group(name, "cifar10", "paper", []))
        for name in ("idfd", "secu", "propos")
    }
    assert minutes == pytest.approx({"idfd": 23, "secu": 9.2, "propos": 42}, rel=0.02)
    assert reproduction.expected(reproduction.Group("secu", "stl10", "paper", [])) is None
    costs = [
        reproduction.expected(reproduction.Group(name, "cifar10", "fast", []))
        for name in ("cdc", "cdc-half", "cdc-reduced")
    ]
    assert costs[1] / costs[0] == pytest.approx(0.5)
    assert costs[2] / costs[0] == pytest.approx((1 + 9 / 16) / 2)
    allowed = {"secu": 9, "idfd": 10, "propos": 15, "cdc": 25}  # the targets of the page
    for name in script("published").FIRST:
        group = reproduction.Group(name, "cifar10", "fast", [])
        assert reproduction.expected(group) < allowed[name]


def recorded(method, how, seed, acc, **more):
    scores = {"acc": acc, "nmi": 0.5, "ari": 0.25}
    key = {"method": method, "data": "cifar10", "recipe": how, "seed": seed}
    versions = {"commit": None, "skdeepclust": "1", "torch": "2", "sklearn": "3"}
    machine = {"cpu": "Some CPU", "gpu": "Some GPU", "cores": 2, "threads": 1}
    curve = [{"epoch": 1, **scores}]
    more = {"protocol": {"scored": "test"}, "n_iter": 1, "curve": curve, "slices": [{}]} | more
    history = {"epoch": [1], "loss": [1.0]}
    found = {"scores": {"train": scores, "test": scores}, "history": history, "seconds": 90.0}
    return key | versions | machine | found | more


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "docs").mkdir()
    folder = tmp_path / "asv_bench" / "results" / "reproduction"
    folder.mkdir(parents=True)
    rows = [recorded("secu", "fast", seed, acc) for seed, acc in enumerate((0.8, 0.9))]
    rows.append(recorded("cdc", "small", 0, 0.3))
    rows.append(recorded("idfd", "fast", 0, 0) | {"error": "MemoryError: too much"})
    for row in rows:
        name = f"{row['data']}-{row['method']}-{row['recipe']}-seed{row['seed']}.json"
        (folder / name).write_text(json.dumps(row))
    return tmp_path


def test_the_page_shows_runs_beside_what_was_published(script, tree):
    assert script("reproduce").main(["--table", "--root", str(tree)]) == 0
    page = (tree / "docs" / "reproduction.md").read_text()
    score = "0.850 ± 0.071 / 0.500 ± 0.000 / 0.250 ± 0.000"
    assert f"| 0.857 in 9 min | {score} | {score} | - | 1.5 ± 0.0 | 2 |" in page
    assert "| IDFD | paper | train, train | 0.815 (paper) | 0.815 in 23 min | not yet" in page
    assert "| IDFD | fast | train, train | 0.815 (paper) | 0.815 in 10 min | failed |" in page
    assert "--method secu --data cifar10 --recipe paper" in page
    assert "--method secu --data cifar10 --recipe fast" not in page  # done
    assert "| CDC | 20 | 0.300 / 0.500 / 0.250 | - | 1.5 | 1 | 1 |" in page
    for name in ("fast", "small"):
        assert (tree / "docs" / "_static" / f"reproduction-cifar10-{name}.svg").exists()


def test_check_finds_a_page_that_is_out_of_date(script, tree, capsys):
    reproduce, root = script("reproduce"), ["--root", str(tree)]
    assert reproduce.main(["--check", *root]) == 1
    assert "reproduction.md" in capsys.readouterr().out
    reproduce.main(["--table", *root])
    assert reproduce.main(["--check", *root]) == 0
    page = tree / "docs" / "reproduction.md"
    page.write_text(page.read_text().replace("0.850", "0.950"))
    assert reproduce.main(["--check", *root]) == 1


if __name__ == "__main__":  # the victim of a test
    sys.path.insert(0, str(FOLDER))
    published, slices = map(importlib.import_module, ("published", "slices"))
    slices.load = lambda *args: tuple(part[:200] for part in published.load(*args))
    importlib.import_module("reproduce").main(sys.argv[1:])
