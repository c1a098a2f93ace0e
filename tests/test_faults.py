"""Samples of asv_bench/faults.py, which does the same in full counts."""

import importlib
import json
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "asv_bench"


@pytest.fixture
def faults(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("faults")


@pytest.mark.parametrize("part", ["parameters", "inputs"])
def test_what_nobody_would_pass_is_refused_by_name(part, faults):
    found = getattr(faults, part)(0.005)
    assert found["passed"] == found["of"] == 50
    assert found["refused"] > 25


def test_an_example_that_is_not_refused_as_it_should_be_is_told(faults, capsys):
    def nameless(x):
        raise ValueError("no")

    fuzz = importlib.import_module("fuzz")
    found = fuzz.fuzzed(fuzz.st.integers(), nameless, lambda x: ["x"], 50, 1.0)
    assert found["passed"] == 0 and found["of"] == 50
    assert "nameless" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_state_that_could_not_be_written_leaves_the_one_before(faults):
    found = faults.cuts(0.05)
    assert found["passed"] == found["of"] == 10  # five points, each in two ways


def test_collapses_are_told(faults):
    found = faults.collapse(0.028)
    assert (found["reported"], found["false_alarms"]) == (1, 0)
    assert (found["planted"], found["healthy"]) == (1, 1)


@pytest.mark.slow
def test_odd_circumstances_change_nothing(faults):
    odd = importlib.import_module("odd")
    assert odd.odd(0.01) == {"passed": 1, "of": 1}


@pytest.mark.slow
def test_the_end_of_a_rank_costs_an_epoch(faults):
    found = faults.ranks(0.1)
    assert found["passed"] == found["of"] == 1


def test_the_table_says_what_was_measured_with_which_commit(faults, tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "PARTS", {"one": (lambda scale: {"passed": 3, "of": 4}, "a fault")})
    monkeypatch.setattr(faults, "commit", lambda: "0123456789")
    out, docs = tmp_path / "faults.json", tmp_path / "docs.md"
    docs.write_text("<!-- results:begin -->\nold\n<!-- results:end -->\n")
    monkeypatch.setattr(faults, "RESULTS", out)
    monkeypatch.setattr(faults, "DOCS", docs)
    faults.main(["--only", "one", "--out", str(out)])
    assert json.loads(out.read_text())["parts"]["one"]["commit"] == "0123456789"
    assert faults.main(["--table"]) == 0
    assert "| a fault | 4 | 3 |" in docs.read_text() and "one: commit 0123456" in docs.read_text()
    assert faults.main(["--check"]) == 0
    docs.write_text(docs.read_text().replace("| 3 |", "| 4 |"))
    assert faults.main(["--check"]) == 1
