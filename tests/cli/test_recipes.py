import json
import subprocess
import sys
from pathlib import Path

import pytest

import skdeepclust
from skdeepclust import cli

ROOT = Path(__file__).parents[2]


def test_recipes_loads_nothing_heavy():
    script = (
        "import sys, skdeepclust.cli as cli\n"
        "cli.main(['recipes', 'propos', 'cifar10'])\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib', 'skorch'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "loaded: []" in done.stdout


def test_recipes_lists_all_methods(capsys):
    assert cli.main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    methods = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert methods == list(skdeepclust.METHODS)


@pytest.mark.parametrize("method", ["propos", "ProPos", "ProPosClustering", "proposclustering"])
def test_recipes_lists_one_method(method, capsys):
    assert cli.main(["recipes", method]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "ProPosClustering (propos)"
    known = skdeepclust.ProPosClustering.recipes()
    assert [line.split()[0] for line in rest] == list(known)
    assert "60,000 images" in rest[0]


def test_recipes_prints_one(capsys):
    assert cli.main(["recipes", "idfd", "cifar10"]) == 0
    recipe = skdeepclust.IDFDClustering.recipes()["cifar10"]
    assert capsys.readouterr().out == f"{recipe}\n"


def test_a_method_without_recipes_says_so(capsys, monkeypatch):
    monkeypatch.setitem(skdeepclust.METHODS, "FifthClustering", "a.module")
    assert cli.main(["recipes", "fifth"]) == 0
    assert capsys.readouterr().out == "FifthClustering has no recipes\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recipes", "kmeans"], "'kmeans' is none of idfd, propos"),
        (["recipes", "idfd", "mnist"], "'mnist' of IDFDClustering is unknown; known are 'cifar10'"),
        (["recipes", "idfd", "cifar10", "stl10"], "stl10"),
    ],
)
def test_unknown_recipes_are_one_line_and_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err


def test_recipes_as_json(capsys):
    assert cli.main(["recipes", "propos", "cifar10", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    params = skdeepclust.ProPosClustering.recipes()["cifar10"].params
    assert found["parameters"] == json.loads(json.dumps(params))
    assert "official code" in err  # for people, as without --json
    assert cli.main(["recipes", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(skdeepclust.METHODS)
