"""compile=True: one graph for each stage of a method, the same training, and a way out."""

import functools
import warnings

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import skdeepclust
from skdeepclust.datasets import make_image_blobs
from skdeepclust.engine.recorded import RecordedViews

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
two_methods = pytest.mark.parametrize("method", [METHODS[0], skdeepclust.ProPosClustering])
# The stages of a short training: SeCu's first epoch, ProPos' scattering, CDC's early heads.
STAGES = {
    "ProPosClustering": {"scattering_warmup": 2},
    "SeCuClustering": {"heads": (3, 6)},
    "CDCClustering": {"early_heads": (6,)},
}


def fit(method, **params):
    X, _ = make_image_blobs(48, random_state=0)
    params = STAGES.get(method.__name__, {}) | params
    given = {"max_epochs": 4, "batch_size": 24, "random_state": 0, "precision": "float32"}
    return method(3, **given | params).fit(X)


@pytest.fixture
def traced(monkeypatch):
    """The compiler's front end alone: its graphs run as they were written."""
    torch._dynamo.reset()
    counters.clear()
    compile_ = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", compile_)
    yield counters
    torch._dynamo.reset()


@pytest.mark.parametrize("method", METHODS)
def test_the_step_is_one_graph_and_trains_alike(method, traced):
    plain = fit(method)
    assert not traced["stats"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "Clusters .* hold no sample")
        warnings.filterwarnings("ignore", "max_epochs=.* ends before")
        compiled = fit(method, compile=True)
    assert not traced["graph_break"]
    assert 1 <= traced["stats"]["unique_graphs"] <= 4
    for row, other in zip(plain.history_, compiled.history_, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
    np.testing.assert_array_equal(plain.labels_, compiled.labels_)
    assert compiled.net_.objective._compiled_call_impl is None


@pytest.mark.parametrize(
    "method", [METHODS[0], pytest.param(skdeepclust.ProPosClustering, marks=pytest.mark.slow)]
)
def test_norms_over_less_than_the_batch_train_alike(method, traced):
    """Compiled code takes all of them at once; in float64, see below."""
    params = {"norm_batch_size": 12, "precision": "float64", "max_epochs": 3}
    plain = fit(method, **params)
    compiled = fit(method, compile=True, **params)
    for row, other in zip(plain.history_, compiled.history_, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-9)


@pytest.mark.parametrize("batch_size", [20, 47, pytest.param(100, marks=pytest.mark.slow)])
@two_methods
def test_batches_of_the_usual_size_are_compiled(method, batch_size, traced):
    """Of 48 samples: 20, 20 and 8; 47, which the last one joins; all. ProPos drops the last one."""
    kept = {"scattering_warmup": 9} if method is skdeepclust.ProPosClustering else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "compile=True")
        fit(method, compile=True, batch_size=batch_size, **kept)
    assert traced["stats"]["unique_graphs"] == 1


def test_a_queue_that_grows_is_not_compiled_for(traced):
    """Each of its lengths would take a graph."""
    fit(skdeepclust.CDCClustering, compile=True, early_heads=(), queue_size=200, max_epochs=12)
    assert traced["stats"]["unique_graphs"] == 1


def test_views_that_cannot_be_recorded_are_made_one_by_one(traced, monkeypatch):
    class Fails:
        def __call__(self, x, stretch):
            raise RuntimeError("no graphs here\nand more")

    monkeypatch.setattr(RecordedViews, "of", lambda *of_what: Fails())
    with pytest.warns(UserWarning, match="views cannot be recorded.*no graphs here$") as caught:
        model = fit(METHODS[0], compile=True)
    assert len([w for w in caught if "recorded" in str(w.message)]) == 1
    np.testing.assert_array_equal(model.labels_, fit(METHODS[0]).labels_)


def at_once(function, **options):
    raise RuntimeError("no compiler here\nand more")


def at_the_call(function, **options):
    def fails(*args, **kwargs):
        raise torch._dynamo.exc.TorchDynamoException("no compiler here\nand more")

    return fails


@pytest.mark.parametrize("compile_", [at_once, at_the_call])
@pytest.mark.parametrize("method", METHODS)
def test_what_does_not_compile_trains_all_the_same(method, compile_, monkeypatch):
    monkeypatch.setattr(torch, "compile", compile_)
    with pytest.warns(UserWarning, match="has no effect.*no compiler here$") as caught:
        model = fit(method, compile=True)
    assert len([w for w in caught if "compile" in str(w.message)]) == 1
    assert model.n_iter_ == 4 and all(np.isfinite(row["loss"]) for row in model.history_)


def test_an_error_of_the_users_is_told_as_it_is(traced):
    def explode(x):
        raise KeyError("mine")

    with warnings.catch_warnings(), pytest.raises(KeyError, match="mine"):
        warnings.simplefilter("error", UserWarning)
        fit(METHODS[0], compile=True, augment=explode)


def test_every_fit_of_a_process_is_compiled(traced):
    limit = 2  # of the versions that the compiler keeps of a function: 8, if left alone
    with torch._dynamo.config.patch(recompile_limit=limit):
        for fits in range(1, limit + 3):
            fit(METHODS[0], compile=True, max_epochs=1, temperature=float(fits))
            assert traced["stats"]["unique_graphs"] == fits


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_compiled_code_trains_alike(method):
    """In float64: in float32 other roundings turn single pseudo-labels, and then the training.

    Compiled code draws other random numbers, so ProPos goes without its noise.
    """
    params = {"precision": "float64"}
    if method is skdeepclust.ProPosClustering:
        params["noise_std"] = 0.0
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "compile=True")
        compiled = fit(method, compile=True, **params)
    torch._dynamo.reset()
    plain = fit(method, **params)
    for row, other in zip(plain.history_, compiled.history_, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-6)
