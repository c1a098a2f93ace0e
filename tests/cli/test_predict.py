import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skdeepclust import BackboneKMeans, cli

ROOT = Path(__file__).parents[2]


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A model of dark and bright squares, and a folder of others."""
    monkeypatch.chdir(tmp_path)
    for folder, count in (("old", 12), ("new", 7)):
        for i in range(count):
            place = tmp_path / folder / ("bright" if i % 2 else "dark")
            place.mkdir(parents=True, exist_ok=True)
            pixels = np.full((9, 9), 200 * (i % 2) + i, np.uint8)
            pixels[0] = 255 - 200 * (i % 2)
            Image.fromarray(pixels).save(place / f"{i}.png")
    model = BackboneKMeans(2, backbone="identity", weights=None, random_state=0)
    model.fit("old")
    Path("done/model").mkdir(parents=True)
    model.save("done/model/model.safetensors")
    return model


@pytest.mark.parametrize("name", ["done", "done/model", "done/model/model.safetensors"])
def test_a_table_is_printed(name, saved, capsys):
    assert cli.main(["predict", name, "new"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in table] == sorted(row["file"] for row in table)
    assert [int(row["cluster"]) for row in table] == saved.predict("new").tolist()


def test_a_table_is_written(saved, capsys):
    assert cli.main(["predict", "done", "new", "--out", "a.csv", "--classes", "folders"]) == 0
    out, err = capsys.readouterr()
    assert out == "7 images are in a.csv\n"
    assert "ACC 1.000" in err
    table = list(csv.DictReader(Path("a.csv").open()))
    assert {row["class"] for row in table} == {"bright", "dark"}
    command = ["predict", "done", "new", "--out", "a.csv"]
    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    assert "a.csv exists" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0
    assert "class" not in Path("a.csv").read_text()


def test_files_of_which_none_can_be_read_have_no_scores(saved, capsys):
    Path("broken/dark").mkdir(parents=True)
    Path("broken/dark/0.png").write_text("no image")
    assert cli.main(["predict", "done", "broken", "--classes", "folders", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == {"dark/0.png": -1} and found["scores"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text here")
def test_names_need_be_no_text(saved):
    Path("new/dark/0.png").rename("new/dark/\udce9clair.png")
    Path("new/dark/2.png").rename("new/dark/日.png")
    command = [sys.executable, "-m", "skdeepclust", "predict", "done", "new"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252:strict"}
    table = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    assert b"\ndark/\xe9clair.png," in table and "\ndark/日.png,".encode() in table


@pytest.mark.skipif(os.name != "posix", reason="pipes end otherwise here")
def test_a_reader_may_leave(saved):
    command = [sys.executable, "-m", "skdeepclust", "predict", "done", "new"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = subprocess.Popen(command, env=environment, **pipes)
    run.stdout.close()
    assert run.stderr.read() == b"" and run.wait() == 141


def test_a_table_tells_what_could_not_be_read(saved, capsys):
    (Path("new") / "broken.png").write_text("no image")
    assert cli.main(["predict", "done", "new", "--out", "a.csv"]) == 0
    assert capsys.readouterr().err == "broken.png could not be read, and has cluster -1\n"


def test_the_answer_for_programs(saved, capsys):
    (Path("new") / "broken.png").write_text("no image")
    assert cli.main(["predict", "done", "new", "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"]["broken.png"] == -1
    assert found["skipped"] == ["broken.png"]
    labels = saved.set_params(on_error="skip").predict("new")  # a command always skips
    assert list(found["labels"].values()) == labels.tolist()


def test_a_page_is_made(saved, capsys):
    command = ["report", "done", "new", "--map", "pca", "--title", "Squares & more", "--json"]
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["report"] == "report.html"
    assert "<h1>Squares &amp; more</h1>" in Path("report.html").read_text()
    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize("command", ["predict", "report"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing", "new"], "does not exist"),
        (["old", "new"], "holds no model"),
        (["stopped", "new"], "the same command goes on"),
        (["damaged.safetensors", "new"], "damaged.safetensors"),
        (["done", "nowhere"], "does not exist"),
        (["done", "done"], "holds no image"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(command, arguments, words, saved, capsys):
    Path("stopped/checkpoint").mkdir(parents=True, exist_ok=True)
    Path("damaged.safetensors").write_bytes(Path("done/model/model.safetensors").read_bytes()[:-9])
    with pytest.raises(SystemExit, match="2"):
        cli.main([command, *arguments])
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1
