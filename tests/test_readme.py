"""What README.md shows works, is what the example runs, and the commands are those of CI."""

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import skdeepclust

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = ROOT / "examples" / "quickstart.py"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def statements(source):
    return [ast.unparse(node) for node in ast.parse(source).body]


def test_the_first_block_is_the_quickstart():
    example = QUICKSTART.read_text(encoding="utf-8")
    assert blocks("python")[0] in example
    # Beyond it the example has its docstring, its import of sys and its file name.
    assert len(statements(example)) == len(statements(blocks("python")[0])) + 3


@pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained
def test_the_example_keeps_its_picture(in_brief, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(QUICKSTART), "digits.png"])
    runpy.run_path(str(QUICKSTART), run_name="__main__")
    assert Path("digits.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_example_finds_the_digits():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    command = [sys.executable, QUICKSTART]
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert ast.literal_eval(run.stdout)["acc"] >= 0.93


@pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained
def test_all_python_blocks_run_in_order(in_brief):
    Path("photographs/broken.jpg").write_bytes(b"")
    names = {}
    exec(compile("".join(blocks("python")), "README.md", "exec"), names)
    assert set(names["search"].best_params_) == {"scattering_weight"}
    assert len(names["labels"]) == 200
    assert names["photos"].labels_.tolist().count(-1) == len(names["photos"].skipped_) == 1
    assert names["model"].image_shape_in_ == (3, 32, 32)


@pytest.mark.parametrize(
    ("marker", "command"),
    [
        ("<!-- ci:demo -->", 'pip install ".[plot]" && skdeepclust demo'),
        ("<!-- ci:test -->", 'pip install ".[test]" && pytest'),
    ],
)
def test_the_commands_that_ci_runs(marker, command):
    assert README.count(f"{marker}\n```bash\n{command}\n```\n") == 1


def test_ci_has_a_bar_for_every_method_of_the_demo():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    bars = script.partition("<<'    bars'\n")[2].partition("    bars\n")[0]
    assert {line.split()[0] for line in bars.splitlines()} == skdeepclust.METHODS.keys()


def test_there_is_a_place_for_the_results():
    begin, end = (README.index(f"<!-- results:{word} -->") for word in ("begin", "end"))
    assert begin < end


@pytest.mark.parametrize("method", ["SeCu", "IDFD"])
def test_figures_of_a_gpu_are_those_of_the_table(method):
    page = (ROOT / "docs" / "reproduction.md").read_text()
    row = re.search(rf"^\| {method} \| fast \|.*$", page, re.M)[0].split(" | ")
    accuracy, minutes, runs = row[5].split(" / ")[0], row[8], row[9].rstrip(" |")
    (told,) = re.findall(r"On one H200 .*?one\nrun each", README, re.S)
    phrase = rf"{method}('s| took) {minutes} minutes to( an accuracy\s+of)? {accuracy}\b"
    assert re.search(phrase, told) and runs == "1"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
