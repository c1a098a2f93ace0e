"""The tables of README and documentation are made from the recorded runs."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "asv_bench" / "results.py"


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(method, seed, acc, device="cpu", **settings):
    scores = {"acc": acc, "nmi": 0.5, "ari": 0.25, "seconds": 2.0 + seed, "n_iter": 3}
    versions = {"commit": None, "skdeepclust": "1", "torch": "2", "sklearn": "3"}
    machine = {"cpu": "Some CPU", "gpu": None, "cores": 2, "threads": 2}
    key = {"method": method, "seed": seed, "device": device, "settings": settings}
    return key | scores | versions | machine


@pytest.fixture
def tree(tmp_path, results):
    rows = [row("IDFDClustering", 0, 0.9), row("IDFDClustering", 1, 0.8), row("KMeans", 0, 0.7)]
    results.write(tmp_path / "asv_bench" / "results" / "digits.json", rows)
    (tmp_path / "docs").mkdir()
    readme = f"# Title\n\n{results.BEGIN}\nold\n{results.END}\n\nThe end.\n"
    (tmp_path / "README.md").write_text(readme)
    return tmp_path


def test_means_and_deviations_over_seeds(tree, results):
    assert results.main(["--table", "--root", str(tree)]) == 0
    readme = (tree / "README.md").read_text()
    assert readme.startswith("# Title\n") and readme.endswith("\nThe end.\n")
    assert "old" not in readme
    lines = readme.splitlines()
    cells = "0.850 ± 0.071 | 0.500 ± 0.000 | 0.250 ± 0.000 | 2.5 ± 0.7 | not yet measured"
    assert f"| `IDFDClustering` | 2 | {cells} |" in lines
    baseline, method = (
        next(i for i, line in enumerate(lines) if line.startswith(f"| {name}"))
        for name in ("k-means", "`IDFD")
    )
    assert baseline < method


def test_page_shows_every_run(tree, results):
    results.main(["--table", "--root", str(tree)])
    page = (tree / "docs" / "results.md").read_text()
    assert page.count("| `IDFDClustering` | cpu |") == 2
    assert "Some CPU, cores: 2, threads: 2" in page and "commit not recorded" in page


def test_gpu_times_have_their_column(tree, results):
    path = tree / "asv_bench" / "results" / "digits.json"
    results.write(path, [*results.read(path), row("IDFDClustering", 0, 0.1, device="cuda")])
    summary, _ = results.render(path.parent)
    assert "| 0.850 ± 0.071 |" in summary and "| 2.5 ± 0.7 | 2.0 |" in summary


def test_check_finds_what_is_out_of_date(tree, results, capsys):
    root = ["--root", str(tree)]
    assert results.main(["--check", *root]) == 1
    assert "README.md" in capsys.readouterr().out
    results.main(["--table", *root])
    assert results.main(["--check", *root]) == 0
    results.write(tree / "asv_bench" / "results" / "digits.json", [row("KMeans", 0, 0.6)])
    assert results.main(["--check", *root]) == 1


def test_nothing_recorded(tree, results):
    (tree / "asv_bench" / "results" / "digits.json").unlink()
    results.main(["--table", "--root", str(tree)])
    assert results.NOTHING_YET in (tree / "README.md").read_text()
    assert results.NOTHING_YET in (tree / "docs" / "results.md").read_text()


def test_readme_without_markers_is_refused(tree, results):
    (tree / "README.md").write_text("nothing here")
    with pytest.raises(SystemExit, match=r"README\.md must hold"):
        results.main(["--table", "--root", str(tree)])


def test_a_run_is_not_repeated(tree, results, capsys):
    out = tree / "runs"
    trial = ["--datasets", "digits", "--methods", "KMeans", "--seeds", "0", "--epochs", "1"]
    results.main([*trial, "--out", str(out)])
    recorded = (out / "digits.json").read_text()
    assert 0.5 < json.loads(recorded)[0]["acc"] < 1
    results.main([*trial, "--out", str(out)])
    assert "is there already" in capsys.readouterr().out
    assert (out / "digits.json").read_text() == recorded


def test_other_parameters_replace_all_runs_of_a_method(results):
    new = row("IDFDClustering", 0, 0.9, lr=1)
    assert results.replaces(new, row("IDFDClustering", 0, 0.1, lr=1))
    assert not results.replaces(new, row("IDFDClustering", 1, 0.1, lr=1))
    assert results.replaces(new, row("IDFDClustering", 1, 0.1, lr=2))
    assert not results.replaces(new, row("ProPosClustering", 0, 0.1, lr=2))
