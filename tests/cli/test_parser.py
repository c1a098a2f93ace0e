"""Commands that people read somewhere can be typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from skdeepclust import cli
from skdeepclust.cli import fit, predict, report
from skdeepclust.cli._arguments import setting

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(
    r"^(?:.*&& )?skdeepclust ((?:fit|predict|report|recipes) [^\n>]+|demo|recipes)", re.M
)
WRITTEN = sorted(
    {" ".join(found.split()) for page in PAGES for found in COMMAND.findall(page.read_text())}
    | {
        line.split("   (")[0].strip().removeprefix("skdeepclust ")
        for module in (fit, predict)
        for line in module._EXAMPLES.splitlines()
        if line.startswith("  skdeepclust ")
    }
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("true", True),
        ("FALSE", False),
        ("none", None),
        ("null", None),
        ("0.5", 0.5),
        ("(3, 8, 8)", (3, 8, 8)),
        ("resnet18", "resnet18"),
        ("", ""),
    ],
)
def test_settings_are_literals_in_any_case_or_texts(text, value):
    assert setting(f"name={text}") == ("name", value)


def test_commands_are_found():
    assert len(WRITTEN) >= 10
    assert "fit photographs --n-clusters 10" in WRITTEN


@pytest.mark.parametrize("command", WRITTEN)
def test_a_command_of_the_documentation_is_understood(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photographs", "photos", "more", "more_photos"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}_clusters").mkdir()
    args = cli._parser().parse_args(shlex.split(command, comments=True))
    assert callable(args.run)


@pytest.mark.parametrize(
    "command", ["fit nowhere", "predict nowhere more", "predict . nowhere", "report nowhere more"]
)
def test_a_wrong_path_is_told_before_anything_heavy_is_loaded(command):
    script = (
        "import sys, skdeepclust.cli as cli\n"
        f"try: cli.main({command.split()})\n"
        "except SystemExit: pass\n"
        "print('loaded:', sorted({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "'nowhere' does not exist" in done.stderr and "loaded: []" in done.stdout


@pytest.mark.parametrize("module", [fit, predict, report])
def test_each_command_has_an_example(module):
    parser = cli._parser()
    name = module.__name__.rpartition(".")[2]
    [commands] = parser._subparsers._group_actions
    assert f"skdeepclust {name} " in commands.choices[name].epilog
