"""What must hold on a CUDA device besides everything that holds on a CPU."""

import io
import os
import pickle
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
import torch._inductor.config
from skorch.callbacks import Callback

import skdeepclust
from skdeepclust.datasets import make_image_blobs
from skdeepclust.ops.kmeans import _fused, kmeans

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("wide"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]


@pytest.fixture(scope="module")
def images():
    return make_image_blobs(300, image_shape=(3, 32, 32), random_state=0)[0]


def quick(method, **params):
    defaults = {"max_epochs": 3, "batch_size": 64, "device": "cuda", "random_state": 0}
    return method(3, **defaults | params)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16", "float16"])
def test_labels_are_the_prediction(method, precision, images):
    estimator = quick(method, precision=precision).fit(images)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(images))
    assert {p.device.type for p in estimator.net_.module_.parameters()} == {"cuda"}


@pytest.mark.parametrize("method", METHODS)
def test_auto_takes_cuda(method, images):
    estimator = quick(method, device="auto").fit(images)
    assert estimator.net_.objective.centers.device.type == "cuda"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", ["resnet18", "convnet"])
def test_deterministic_fits_repeat_bitwise(method, backbone, images):
    fits = [quick(method, backbone=backbone, deterministic=True).fit(images) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].labels_, fits[1].labels_)
    np.testing.assert_array_equal(fits[0].cluster_centers_, fits[1].cluster_centers_)
    np.testing.assert_array_equal(fits[0].transform(images), fits[1].transform(images))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 65, 299])
def test_subsets_are_predicted_bitwise_alike(method, n, images):
    estimator = quick(method, max_epochs=1).fit(images)
    np.testing.assert_array_equal(estimator.transform(images)[:n], estimator.transform(images[:n]))


@pytest.mark.parametrize("method", METHODS)
def test_global_state_of_the_device_stays(method, images):
    before = torch.cuda.get_rng_state()
    quick(method, deterministic=True).fit(images)
    assert torch.equal(before, torch.cuda.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("method", METHODS)
def test_the_graph_of_a_step_trains_alike(method, images):
    """All stages of a short training, without ProPos' noise: compiled code draws other numbers."""
    stages = {
        "ProPosClustering": {"noise_std": 0.0, "scattering_warmup": 2},
        "SeCuClustering": {"heads": (3, 6)},
        "CDCClustering": {"early_heads": (6,)},
    }
    params = {"precision": "float64", "max_epochs": 4, "backbone": "convnet", "batch_size": 50}
    params |= stages.get(method.__name__, {})
    graphs_or_error = torch._inductor.config.patch({"triton.cudagraph_or_error": True})
    with graphs_or_error, warnings.catch_warnings():
        warnings.filterwarnings("error", "compile=True")
        compiled = quick(method, compile=True, **params).fit(images)
    plain = quick(method, **params).fit(images)
    for row, other in zip(plain.history_, compiled.history_, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [10, 1000])
def test_kmeans_repeats_bitwise(metric, k):
    x = torch.randn(20_000, 64, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    runs = [
        kmeans(x, k, metric=metric, n_init=3, generator=torch.Generator("cuda").manual_seed(1))
        for _ in range(2)
    ]
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("dim", "k"), [(256, 10), (130, 200), (64, 1000)])
def test_kmeans_of_half_precision_loses_no_inertia(metric, dim, k):
    pytest.importorskip("triton", reason="Triton is not made for this system")
    assert _fused(torch.device("cuda"), k, dim) is not None
    x = torch.randn(40_000, dim, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    x += 3 * x[torch.arange(len(x), device="cuda") % k]  # clusters, and a mean
    half = kmeans(x, k, metric=metric, init=x[:k], max_iter=25)
    exact = kmeans(x.double(), k, metric=metric, init=x[:k].double(), max_iter=25)
    assert float(half[2]) == pytest.approx(float(exact[2]), rel=1e-3)
    rows = torch.nn.functional.normalize(x, dim=1) if metric == "cosine" else x
    nearest = torch.cdist(rows.double(), half[0].double()).argmin(1)
    assert (nearest == half[1]).double().mean() > 0.999  # but for ties in full precision


def test_a_round_of_kernels_is_lloyds():
    """Against one of PyTorch, from rows that bfloat16 holds exactly; as a graph as well."""
    pytest.importorskip("triton", reason="Triton is not made for this system")
    from skdeepclust.ops._lloyd import Rounds

    generator = torch.Generator("cuda").manual_seed(0)
    x = torch.randint(-8, 9, (40_000, 96), device="cuda", generator=generator).float()
    centers = torch.stack([x[:150], x[150:300]])
    advance = Rounds(x.bfloat16(), torch.zeros_like(x[0]), (2, 150), False)
    factors = np.array([1.7, 1.0])
    moved, told = advance(centers, factors)
    for run in range(2):
        labels = torch.cdist(x.double(), centers[run].double()).argmin(1)
        means = torch.stack([x[labels == cluster].mean(0) for cluster in range(150)])
        way = means - centers[run]
        torch.testing.assert_close(moved[run], centers[run] + factors[run] * way)
        torch.testing.assert_close(told[0, run], way.square().sum())
    launched = []
    for _ in range(2):  # as a graph, and one by one
        advance = Rounds(x.bfloat16(), torch.zeros_like(x[0]), (2, 150), False)
        advance._rounds = -9 * len(launched)
        found = centers
        for _ in range(6):
            found, told = advance(found, factors)
        assert (advance._graph is None) == bool(launched)
        launched.append((found.clone(), told.clone()))
    torch.testing.assert_close(*launched, rtol=0, atol=0)


def test_kmeans_is_the_one_of_the_cpu():
    x = torch.randn(500, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    host = kmeans(x, 6, init=x[:6])
    device = kmeans(x.cuda(), 6, init=x[:6].cuda())
    assert torch.equal(host[1], device[1].cpu())
    torch.testing.assert_close(host[0], device[0].cpu())


@pytest.mark.parametrize("method", METHODS)
def test_pickled_on_cuda_loads_on_a_machine_without(method, images, tmp_path):
    estimator = quick(method).fit(images)
    (tmp_path / "model").write_bytes(pickle.dumps(estimator))
    np.save(tmp_path / "X.npy", images)
    script = """
        import pickle, numpy as np, torch
        assert not torch.cuda.is_available()
        estimator = pickle.load(open("model", "rb"))
        np.save("z.npy", estimator.transform(np.load("X.npy")))
    """
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    z = np.load(tmp_path / "z.npy")
    with torch.backends.cudnn.flags(enabled=False):  # whose convolutions have but three digits
        expected = estimator.transform(images)
    np.testing.assert_allclose(z, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_pickle_comes_back_to_cuda(method, images):
    estimator = quick(method).fit(images)
    again = pickle.load(io.BytesIO(pickle.dumps(estimator)))
    np.testing.assert_array_equal(estimator.transform(images), again.transform(images))


@pytest.mark.parametrize("method", METHODS)
def test_a_broken_training_ends_bitwise_like_an_unbroken_one(method, images, tmp_path):
    class Crash(Callback):
        def on_batch_end(self, net, **kwargs):
            if net.run.step == 7:
                raise RuntimeError("crash")

    whole = quick(method, deterministic=True).fit(images)
    with pytest.raises(RuntimeError, match="crash"):
        quick(method, deterministic=True, checkpoint=tmp_path, callbacks=[Crash()]).fit(images)
    found = quick(method, deterministic=True, checkpoint=tmp_path).fit(images)
    np.testing.assert_array_equal(found.labels_, whole.labels_)
    np.testing.assert_array_equal(found.cluster_centers_, whole.cluster_centers_)


@pytest.mark.parametrize("method", METHODS)
def test_saved_on_cuda_loads_on_both(method, images, tmp_path):
    model = quick(method, backbone="convnet").fit(images)
    model.save(tmp_path / "model")
    found = skdeepclust.load(tmp_path / "model")
    np.testing.assert_array_equal(found.predict(images), model.labels_)
    elsewhere = skdeepclust.load(tmp_path / "model", device="cpu")
    assert (elsewhere.predict(images) == model.labels_).mean() > 0.98
