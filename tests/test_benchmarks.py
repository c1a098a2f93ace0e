"""The asv suite imports and sets up; asv itself measures."""

import importlib
from pathlib import Path

import pytest
import torch

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
