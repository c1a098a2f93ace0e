"""The tables of README and documentation are made from the recorded runs."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "asv_bench"


@pytest.fixture(scope="module")
def results():
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("results", FOLDER / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before  # the script puts its own folder there


def row(method, seed, acc, device="cpu", threads=2, **settings):
    scores = {"acc": acc, "nmi": 0.5, "ari": 0.25, "seconds": 2.0 + seed, "n_iter": 3}
    versions = {"commit": None, "skdeepclust": "1", "torch": "2", "sklearn": "3"}
    machine = {"cpu": "Some CPU", "gpu": None, "cores": 2, "threads": threads}
    key = {"method": method, "seed": seed, "device": device, "settings": settings}
    return key | scores | versions | machine


def failed(method, seed, error, **more):
    lost = ("acc", "nmi", "ari", "seconds", "n_iter")
    kept = {name: value for name, value in row(method, seed, 0).items() if name not in lost}
    return kept | {"error": error} | more


@pytest.fixture
def tree(tmp_path, results):
    rows = [row("IDFDClustering", 0, 0.9), row("IDFDClustering", 1, 0.8), row("KMeans", 0, 0.7)]
    results.write(tmp_path / "asv_bench" / "results" / "digits.json", rows)
    (tmp_path / "docs").mkdir()
    readme = f"# Title\n\n{results.BEGIN}\nold\n{results.END}\n\nThe end.\n"
    (tmp_path / "README.md").write_text(readme)
    return tmp_path


def add(tree, results, *rows):
    path = tree / "asv_bench" / "results" / "digits.json"
    results.write(path, [*results.read(path), *rows])


def page(tree, results):
    return results.render(results.recorded(tree / "asv_bench" / "results"))[1]


def test_seconds_are_the_processors_on_one_thread(tree, results):
    busy = row("KMeans", 1, 0.7, threads=1) | {"seconds": 777.0, "cpu_seconds": 3.5}
    several = row("KMeans", 2, 0.7) | {"seconds": 4.5, "cpu_seconds": 888.0}
    other = busy | {"seed": 3, "cpu_seconds": 9.25, "cpu": "Another CPU"}
    more = busy | {"seed": 4, "cpu_seconds": 5.5}
    results.write(tree / "asv_bench" / "results" / "digits.json", [busy, several, other, more])
    shown = page(tree, results)
    assert "777" not in shown and "888" not in shown
    assert all(f"| {seconds} |" in shown for seconds in ("3.5", "4.5", "9.2", "5.5"))
    assert "| 4.5 ± 1.4 |" in shown  # of one clock and processor


def test_one_table_with_a_column_for_each_data_set(tree, results):
    results.write(tree / "asv_bench" / "results" / "coil20.json", [row("KMeans", 0, 0.6)])
    assert results.main(["--table", "--root", str(tree)]) == 0
    readme = (tree / "README.md").read_text()
    assert readme.startswith("# Title\n") and readme.endswith("\nThe end.\n")
    assert "\nold\n" not in readme and "1 to 2 each" in readme
    lines = [line for line in readme.splitlines() if line.startswith("|")]
    assert lines[0] == "| method | digits | COIL-20 |"
    ours = "| `IDFDClustering` | **0.850 ± 0.071** | not yet measured |"
    byol, peer = "| BYOL + k-means | not yet", "| k-means on pixels | 0.700 | **0.600** |"
    assert readme.index(ours) < readme.index(byol) < readme.index(peer)
    assert "UMAP" not in "".join(lines)  # nobody ran it


def test_page_shows_means_and_every_run(tree, results):
    add(tree, results, row("KMeans", 1, 0.7) | {"peak_memory_mb": 321, "n_clusters": 10})
    text = page(tree, results)
    scores = "0.850 ± 0.071 | 0.500 ± 0.000 | 0.250 ± 0.000"
    assert f"| `IDFDClustering` | 2 | {scores} | 2.5 ± 0.7 | - | not yet measured |" in text
    assert text.count("| `IDFDClustering` | cpu |") == 2
    assert (
        "| k-means on pixels | cpu | 0 | 0.7000 | 0.5000 | 0.2500 | - | 3 | 2.0 | - | - |" in text
    )
    assert "| 0.2500 | 10 | 3 | 3.0 | 321 | - |" in text
    assert "Some CPU, cores: 2, threads: 2" in text and "commit not recorded" in text


def test_gpu_times_have_their_column(tree, results):
    add(tree, results, row("IDFDClustering", 0, 0.1, device="cuda"))
    assert "| 0.850 ± 0.071 |" in page(tree, results)
    assert "| 2.5 ± 0.7 | - | 2.0 |" in page(tree, results)


def test_failures_are_shown(tree, results):
    slow = failed("SpectralClustering", 0, "not finished within 5 s", limit=5)
    add(tree, results, failed("DEC", 0, "ValueError: no\nmore"), slow, failed("KMeans", 1, "no"))
    summary, text = results.render(results.recorded(tree / "asv_bench" / "results"))
    assert "| DEC (ClustPy) | failed |" in summary
    assert "| spectral clustering on pixels | out of time |" in summary
    assert "| k-means on pixels | 0.700 (1 failed) |" in summary
    assert "- DEC (ClustPy), seed 0, failed: `ValueError: no`\n" in text
    assert "| DEC (ClustPy) | cpu | 0 | failed |" in text


def test_ablations_have_their_own_table(tree, results, monkeypatch):
    entrants = sys.modules["entrants"]
    monkeypatch.setitem(entrants.ABLATIONS, "IDFDClustering", [{"augment": "none"}])
    add(tree, results, row('IDFDClustering(augment="none")', 0, 0.95))
    summary, text = results.render(results.recorded(tree / "asv_bench" / "results"))
    assert "augment" not in summary and "**0.850" in summary
    own = text[text.index("## One parameter changed") :]
    assert own.index("| `IDFDClustering` |") < own.index('| `IDFDClustering(augment="none")` |')


def test_check_finds_what_is_out_of_date(tree, results, capsys):
    root = ["--root", str(tree)]
    assert results.main(["--check", *root]) == 1
    assert "README.md" in capsys.readouterr().out
    results.main(["--table", *root])
    assert results.main(["--check", *root]) == 0
    results.write(tree / "asv_bench" / "results" / "digits.json", [row("KMeans", 0, 0.6)])
    assert results.main(["--check", *root]) == 1


def test_the_plot_is_the_same_each_time(tree, results):
    root = ["--table", "--root", str(tree)]
    results.main(root)
    picture = tree / "docs" / "_static" / "results.svg"
    first = picture.read_bytes()
    assert "](_static/results.svg)" in (tree / "docs" / "results.md").read_text()
    results.main(root)
    assert picture.read_bytes() == first


def test_nothing_recorded(tree, results):
    (tree / "asv_bench" / "results" / "digits.json").unlink()
    results.main(["--table", "--root", str(tree)])
    nothing = "No results have been recorded yet"
    assert nothing in (tree / "README.md").read_text()
    assert nothing in (tree / "docs" / "results.md").read_text()


def test_readme_without_markers_is_refused(tree, results):
    (tree / "README.md").write_text("nothing here")
    with pytest.raises(SystemExit, match=r"README\.md must hold"):
        results.main(["--table", "--root", str(tree)])


def test_every_method_of_the_package_can_be_built(results):
    entrants = sys.modules["entrants"]
    for name, entrant in results.entrants().items():
        if not entrant.needs:
            for dataset in entrant.datasets:
                model = entrant.build(results.DATASETS[dataset], 0, "cpu")
                json.dumps(entrants.settings(model)), name
        if entrant.group in ("variant", "ablation"):
            known = model.get_params().keys()
            assert entrant.build.args[1].keys() <= known, name


def test_parameters_survive_json(results):
    values = {"heads": (10,), "loss": np.mean, "of": {"k": [None, 0.5]}}
    plain = sys.modules["entrants"]._plain(values)
    assert plain == {"heads": [10], "loss": "mean", "of": {"k": [None, 0.5]}}


def test_a_run_has_its_own_memory_and_is_not_repeated(tree, results, capsys):
    ballast = np.ones(100_000_000)  # 800 MB, which are none of the child's
    out = tree / "runs"
    trial = ["--datasets", "digits", "--methods", "KMeans", "--seeds", "0", "--out", str(out)]
    readme = (tree / "README.md").read_text()
    results.main(trial)
    del ballast
    recorded = (out / "digits.json").read_text()
    (found,) = json.loads(recorded)
    assert 0.5 < found["acc"] < 1 and found["n_clusters"] == 10 and found["threads"] == 1
    assert 30 < found["peak_memory_mb"] < 700
    results.main(trial)
    assert "0 rows to run" in capsys.readouterr().out
    assert (out / "digits.json").read_text() == recorded
    assert (tree / "README.md").read_text() == readme  # trials leave the tables alone


def test_a_crash_and_a_time_limit_are_recorded(tmp_path, results, capsys):
    trial = ["--datasets", "coil20", "--methods", "KMeans", "--seeds", "0"]
    home, out = tmp_path / "home", tmp_path / "runs"
    (home / "coil20").mkdir(parents=True)
    np.save(home / "coil20" / "train_x.npy", np.zeros((5, 4, 4), "uint8"))
    np.save(home / "coil20" / "train_y.npy", np.zeros(5))
    trial += ["--data-home", str(home), "--out", str(out)]
    results.main([*trial, "--limit", "0.01"])
    (found,) = results.read(out / "coil20.json")
    assert found["error"] == "not finished within 0.01 s" and found["limit"] == 0.01
    results.main(trial)  # with more time
    (found,) = results.read(out / "coil20.json")
    assert "n_samples=5 should be >= n_clusters=20" in found["error"]
    results.main(trial)
    assert "0 rows to run" in capsys.readouterr().out


def test_missing_data_and_packages_are_said(tmp_path, results, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "clustpy", None)
    monkeypatch.setitem(sys.modules, "clustpy.deep", None)
    trial = ["--data-home", str(tmp_path), "--out", str(tmp_path), "--methods", "DEC"]
    results.main([*trial, "--datasets", "digits", "coil20"])
    told = capsys.readouterr().out
    assert "coil20: skipped." in told and 'pip install "skdeepclust[bench]"' in told
    with pytest.raises(SystemExit, match="No method is named Nobody"):
        results.main([*trial, "Nobody", "--datasets", "digits"])


def test_other_parameters_or_threads_replace_all_runs_of_a_method(results):
    new = row("IDFDClustering", 0, 0.9, lr=1)
    assert results.replaces(new, row("IDFDClustering", 0, 0.1, lr=1))
    assert not results.replaces(new, row("IDFDClustering", 1, 0.1, lr=1))
    assert results.replaces(new, row("IDFDClustering", 1, 0.1, lr=2))
    assert results.replaces(new, row("IDFDClustering", 1, 0.1, lr=1, threads=1))
    assert not results.replaces(new, row("ProPosClustering", 0, 0.1, lr=2))
