"""The asv suite imports and sets up; asv itself measures."""

import functools
import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import skdeepclust
from skdeepclust.datasets import make_image_blobs

FOLDER = Path(__file__).parents[1] / "asv_bench"
MODULES = sorted(p.stem for p in (FOLDER / "benchmarks").glob("[a-z]*.py") if p.stem != "common")


@pytest.fixture
def suite(monkeypatch):
    threads = torch.get_num_threads()  # the suite sets its own
    monkeypatch.syspath_prepend(FOLDER)
    yield lambda name: importlib.import_module(f"benchmarks.{name}")
    torch.set_num_threads(threads)


def first_parameters(benchmark):
    params = getattr(benchmark, "params", ())
    nested = params and isinstance(params[0], tuple | list)
    return [values[0] for values in (params if nested else (params,)) if values]


@pytest.mark.parametrize("name", MODULES)
def test_benchmarks_set_up(name, suite):
    module = suite(name)
    classes = [c for c in vars(module).values() if getattr(c, "__module__", "") == module.__name__]
    benchmarks = [c for c in classes if isinstance(c, type)]
    assert benchmarks
    for benchmark in benchmarks:
        assert any(n.startswith(("time_", "track_", "peakmem_")) for n in dir(benchmark))
        if hasattr(benchmark, "setup") and not hasattr(benchmark, "setup_cache"):
            benchmark().setup(*first_parameters(benchmark))


def test_profiles_have_the_same_sizes_to_choose(suite, monkeypatch):
    common = suite("common")
    fast, full = common.CONFIG["profiles"].values()
    assert common.PROFILE == fast and fast.keys() == full.keys()
    monkeypatch.setenv("SKDEEPCLUST_BENCH_PROFILE", "full")
    assert importlib.reload(common).PROFILE == full
    monkeypatch.delenv("SKDEEPCLUST_BENCH_PROFILE")
    importlib.reload(common)


def test_what_benchmarks_share_is_none_itself(suite):
    shared = [c for c in vars(suite("common")).values() if isinstance(c, type)]
    bases = [c for c in shared if c.__module__ == "benchmarks.common"]
    assert len(bases) == 4 and all(map(inspect.isabstract, bases))


@pytest.fixture
def script(monkeypatch):
    """A script beside the suite, as a module."""
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # side_by_side sets them
    return importlib.import_module


def test_the_gpu_script_measures_and_writes_each_row(script, tmp_path, monkeypatch):
    gpu = script("gpu")
    out = tmp_path / "gpu.json"
    args = gpu.parse(["--device", "cpu", "--quick", "--out", str(out), "--commit", "abc"])
    plan = list(gpu.plan(args))
    kinds = [kind for kind, _, _ in plan]
    assert kinds.count("training") == 8 and {"k-means", "augmentation"} <= set(kinds)
    some = [plan[kinds.index(kind)] for kind in ("training", "k-means", "augmentation")]
    monkeypatch.setattr(gpu, "plan", lambda args: some)
    gpu.measure(args)
    found = json.loads(out.read_text())
    assert found["commit"] == "abc" and found["device"] == "cpu"
    training, lloyd, views = found["rows"]
    assert training["views_per_second"] > 0 and not training["compiled"]
    assert -0.05 < lloyd["excess_of_25"] <= lloyd["excess_of_10"] < 0.05
    assert lloyd["of_25_ms"] > 0 and lloyd["seeding_ms"] > 0 and views["views_per_second"] > 0


def test_a_failed_row_costs_the_others_nothing(script):
    gpu = script("gpu")
    row = gpu.attempt(lambda args: 1 / 0, None, {})
    assert row == {"error": "ZeroDivisionError: division by zero"}


def test_the_roofline_of_the_gpu_script(script):
    gpu = script("gpu")
    assert gpu.roofline("IDFDClustering", "resnet18", 32) == 8.3
    assert gpu.roofline("ProPosClustering", "resnet18", 32) == pytest.approx(11.1)
    assert gpu.roofline("IDFDClustering", "convnet", 32) == 0


def test_a_pair_takes_turns_and_says_the_ratio(script):
    side_by_side = script("side_by_side")
    calls = []

    def timed(name, *seconds):
        answers = iter([0.0, *seconds])  # the first call does not count
        return lambda: calls.append(name) or next(answers)

    ours, peer = timed("a", 2.0, 1.0, 3.0), timed("b", 8.0, 4.0, 6.0)
    rows = side_by_side.pair(
        "what", "images/s", ours, {"peer": peer}, work=100, repeats=3, clock=side_by_side.itself
    )
    assert calls == ["a", "b"] * 4
    assert [row["value"] for row in rows] == [50, pytest.approx(100 / 6)]
    assert [row["ratio"] for row in rows] == [None, 3]
    ran_on = {"commit": None, "cpu": "CPU", **dict.fromkeys(side_by_side.PEERS, "1")}
    text = side_by_side.render({"training": {"environment": ran_on, "rows": rows}})
    assert (
        "| what | peer | 16.67 images/s | 3.00 |" in text and "- training: CPU, one thread" in text
    )


def test_numbers_of_clusters_are_found_kept_and_shown(script, tmp_path, monkeypatch):
    k_selection = script("k_selection")
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n")
    monkeypatch.setattr(k_selection, "FILE", tmp_path / "k_selection.json")
    monkeypatch.setattr(k_selection, "PAGE", page)
    monkeypatch.setattr(k_selection, "PLAN", [("blobs3", "pixels", (0,), (0, 1))])
    monkeypatch.setattr(k_selection, "RANGE", range(2, 6))
    args = ["--criteria", "merge", "simplified_silhouette"]
    assert k_selection.main([*args, "--datasets", "blobs3", "--methods", "pixels"]) == 0
    rows = json.loads((tmp_path / "k_selection.json").read_text())
    assert [(row["seed"], row["found"]) for row in rows] == [(0, 3), (0, 3), (1, 3), (1, 3)]
    assert rows[0]["scores"].keys() == {"2", "3", "4", "5"} and rows[0]["classes"] == 3
    assert "| drawn shapes, 3 | 3 | pixels | - | 0 | 3 | - | 3 | - | - |" in page.read_text()
    assert "old" not in page.read_text()
    # What is there is not run again.
    monkeypatch.setattr(k_selection, "choose", None)
    assert k_selection.main(args) == k_selection.main(["--check"]) == 0
    page.write_text(page.read_text().replace("pixels", "features"))
    assert k_selection.main(["--check"]) == 1


def test_embeddings_are_kept(script, tmp_path, monkeypatch):
    k_selection = script("k_selection")
    args = k_selection.argparse.Namespace(embeddings=tmp_path / "kept", data_home=None)
    data = make_image_blobs(40, random_state=0)
    monkeypatch.setattr(k_selection, "load", lambda dataset, data_home: data)
    brief = functools.partial(skdeepclust.IDFDClustering, max_epochs=1)
    monkeypatch.setattr(skdeepclust, "IDFDClustering", brief)
    job = ("blobs3", "IDFDClustering", 4, 0)
    z = k_selection.embed(job, args)
    assert z.shape == (40, 64)
    monkeypatch.setattr(k_selection, "PARTS", {"part": ("blobs3", (0, 2))})
    part = k_selection.embed(("part", *job[1:]), args)
    np.testing.assert_array_equal(part, z[data[1] != 1])
    monkeypatch.setattr(k_selection, "load", None)
    k_selection.embed_all.cache_clear()
    np.testing.assert_array_equal(k_selection.embed(job, args), z)


# -- slower than before ---------------------------------------------------------------------------


@pytest.fixture
def guard(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("guard")


def test_what_is_slower_in_every_round_is_told(guard, capsys):
    asked = []
    here = {("a", "1"): [1.3, 1.2, 1.4], ("a", "2"): [1.5, 1.0], ("b",): [0.9], ("c",): [1.0]}

    def measure(tree, bench, folder):
        i, side = folder.name.split("-")
        asked.append((side, tree, bench))
        if side == "base":
            return dict.fromkeys([*here, ("gone",)], 2.0)
        return {case: 2 * ratios[int(i)] for case, ratios in here.items() if len(ratios) > int(i)}

    found = guard.slower("before", ".", rounds=3, factor=1.1, measure=measure)
    assert found == {("a", "1"): [1.3, 1.2, 1.4]}
    sides = [("base", "before"), ("here", guard.ROOT)]
    assert [asked_of[:2] for asked_of in asked] == [*sides, *sides[::-1], *sides]
    assert [asked_of[2] for asked_of in asked] == [".", ".", "a", "a", "a", "a"]
    assert "round 1: 4 measured, 2 slower so far" in capsys.readouterr().out


def test_rounds_end_when_nothing_is_slower(guard, capsys):
    found = guard.slower("before", ".", rounds=9, factor=1.1, measure=lambda *_: {("a",): 1.0})
    assert found == {} and capsys.readouterr().out.count("round") == 1


def test_times_and_memory_are_read_from_the_files_of_asv(guard, tmp_path):
    results = {
        "kmeans.Lloyd.time_fit": [[0.5, None, float("nan"), 2.0], [["10", "20"], ["'a'", "'b'"]]],
        "imports.peakmem_import": [[64], []],
        "methods.track_accuracy": [[0.9], []],
        "metrics.time_failed": [None, [["1"]]],
    }
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "machine.json").write_text("{}")
    (tmp_path / "machine" / "a.json").write_text(
        json.dumps({"result_columns": ["result", "params", "version"], "results": results})
    )
    assert dict(guard.read(tmp_path)) == {
        ("kmeans.Lloyd.time_fit", "10", "'a'"): 0.5,
        ("kmeans.Lloyd.time_fit", "20", "'b'"): 2.0,
        ("imports.peakmem_import",): 64,
    }
