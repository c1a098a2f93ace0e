"""The public contract, for every method: what goes in, what comes out, and what stays as it was."""

import copy
import inspect
import io
import pickle
import random
import re
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import skdeepclust
from skdeepclust.backbones.mlp import Flatten
from skdeepclust.datasets import make_image_blobs
from skdeepclust.metrics import (
    clustering_accuracy,
    hungarian_accuracy_scorer,
    silhouette_scorer,
)
from skdeepclust.model_selection import TransductiveSplit

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
each_method = pytest.mark.parametrize("method", METHODS)
OUTPUTS = ["predict", "transform", "predict_proba"]
LIGHT = {"epochs": 2, "warmup": 1, "_dim": 8, "batch_size": 16}

FLOATS, TARGET = make_image_blobs(40, random_state=0)
UINT8 = np.rint(FLOATS * 255).astype(np.uint8)
COLOR = np.rint(make_image_blobs(40, image_shape=(3, 8, 8), random_state=0)[0] * 255).astype("u1")
VECTORS = FLOATS.reshape(40, -1)[:, :10].astype(np.float64)
for data in (FLOATS, UINT8, COLOR, VECTORS):
    data.flags.writeable = False


def fast(method, n_clusters=3, **params):
    """Light settings, derived from the names of the fields so that new methods are covered."""
    light = {"random_state": 0}
    for name, default in method().get_params().items():
        for ending, value in LIGHT.items():
            if name.endswith(ending) and default is not None:
                light[name] = min(value, default)
    return method(n_clusters, **light | params)


def assert_same_fit(first, second):
    np.testing.assert_array_equal(first.labels_, second.labels_)
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)


@pytest.fixture(scope="module", params=METHODS, ids=lambda m: m.__name__)
def fitted(request):
    return fast(request.param).fit(UINT8)


# -- signature ----------------------------------------------------------------------------------

# Name and default of every public parameter, in order; `...` is a default that methods choose.
SHARED = {
    "n_clusters": 8, "backbone": "auto", "stem": "auto", "weights": None, "freeze_backbone": False,
    "image_shape": None, "augment": "auto", "embedding_dim": ..., "hidden_dim": ...,
    "max_epochs": ..., "batch_size": 256, "norm_batch_size": None, "optimizer": ..., "lr": ...,
    "momentum": ..., "weight_decay": ..., "schedule": ..., "warmup_epochs": ..., "device": "auto",
    "precision": "auto", "compile": False, "callbacks": None, "checkpoint": None,
    "checkpoint_every": 1, "on_error": "raise", "deterministic": False, "random_state": None,
    "verbose": 0, "storage": "auto", "start_resolution": None,
}  # fmt: skip
OWN = {
    "IDFDClustering": {
        "temperature": 1.0, "decorrelation": "softmax", "decorrelation_temperature": 2.0,
        "decorrelation_weight": 1.0, "bank_momentum": 0.5,
    },
    "ProPosClustering": {
        "temperature": 0.5, "scattering_weight": 0.1, "noise_std": 0.001, "scattering_warmup": ...,
        "ema_momentum": 0.996, "ema_schedule": "constant", "recluster_every": 1,
        "predictor_lr_scale": 10, "resample": False,
    },
    "SeCuClustering": {
        "constraint": "size", "min_size_ratio": 0.9, "dual_lr": 0.1, "entropy_weight": None,
        "label_weight": 0.2, "temperature": 0.05, "center_temperature": 0.05, "center_lr": ...,
        "centers": "learned", "heads": None, "evaluation": "kmeans", "self_label_epochs": 0,
    },
    "CDCClustering": {
        "temperature": 1.0, "assignment_temperature": 0.1, "category_scale": 1.0,
        "instance_dim": 128, "sinkhorn_epsilon": 0.05, "sinkhorn_iterations": 10,
        "queue_size": None, "early_heads": None,
    },
}  # fmt: skip


@each_method
def test_signature(method):
    parameters = inspect.signature(method).parameters
    expected = SHARED | OWN[method.__name__]
    assert list(parameters) == list(expected)
    for name, default in expected.items():
        if default is not ...:
            assert parameters[name].default == default, name
            assert type(parameters[name].default) in (type(default), float), name


def test_one_pass_gives_what_three_methods_give(fitted):
    z, labels, proba = fitted._in_one_pass(UINT8)
    np.testing.assert_array_equal(z, fitted.transform(UINT8))
    np.testing.assert_array_equal(labels, fitted.predict(UINT8))
    np.testing.assert_array_equal(proba, fitted.predict_proba(UINT8))


@each_method
def test_n_clusters_is_the_only_positional_parameter(method):
    kinds = {p.name: p.kind for p in inspect.signature(method).parameters.values()}
    assert kinds.pop("n_clusters") == inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
    assert method(5).n_clusters == 5
    with pytest.raises(TypeError):
        method(5, "resnet18")


@each_method
def test_every_parameter_has_a_constraint_and_a_word_in_the_docstring(method):
    for name in method().get_params():
        assert name in method._parameter_constraints, name
        assert f"\n{name} : " in method.__doc__, name


@each_method
def test_bases_in_scikit_learns_order(method):
    names = [base.__name__ for base in method.__mro__]
    order = ["ClassNamePrefixFeaturesOutMixin", "TransformerMixin", "ClusterMixin", "BaseEstimator"]
    assert [name for name in names if name in order] == order


# -- labels_ and the shapes of outputs ---------------------------------------------------------


def test_labels_are_the_prediction_of_the_training_images(fitted):
    np.testing.assert_array_equal(fitted.labels_, fitted.predict(UINT8))
    assert fitted.labels_.dtype == np.int64 and fitted.labels_.shape == (40,)


@each_method
@pytest.mark.parametrize("n", [65, 130])
def test_labels_are_the_prediction_beyond_one_batch(method, n):
    X, _ = make_image_blobs(n, random_state=1)
    estimator = fast(method).fit(X)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))


@each_method
def test_vectors(method):
    estimator = fast(method).fit(VECTORS)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(VECTORS))
    assert estimator.image_shape_in_ is None and estimator.n_features_in_ == 10
    with pytest.raises(ValueError, match="vectors"):
        estimator.predict(UINT8)


@each_method
def test_three_blobs_are_told_apart_entirely(method):
    X, y = make_blobs(300, n_features=16, centers=3, random_state=0)
    labels = method(3, max_epochs=10, random_state=0).fit_predict(X)
    assert clustering_accuracy(y, labels) == 1


def test_transform_gives_unit_rows(fitted):
    z = fitted.transform(UINT8)
    assert z.dtype == np.float32 and z.shape == (40, fitted.embedding_dim)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)


def test_probabilities(fitted):
    p = fitted.predict_proba(UINT8)
    assert p.dtype == np.float32 and p.shape == (40, 3)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert (p >= 0).all()
    np.testing.assert_array_equal(p.argmax(1), fitted.predict(UINT8))


def test_centers(fitted):
    assert fitted.cluster_centers_.shape == (3, fitted.embedding_dim)
    assert fitted.cluster_centers_.dtype == np.float32


def test_image_attributes(fitted):
    assert fitted.image_shape_in_ == (1, 8, 8) and fitted.n_features_in_ == 64


@each_method
def test_fit_predict_and_fit_transform(method):
    estimator = fast(method)
    np.testing.assert_array_equal(estimator.fit_predict(UINT8), estimator.labels_)
    np.testing.assert_array_equal(estimator.fit_transform(UINT8), estimator.transform(UINT8))


def test_feature_names(fitted):
    names = list(fitted.get_feature_names_out())
    prefix = type(fitted).__name__.lower()
    assert names == [f"{prefix}{i}" for i in range(fitted.embedding_dim)]


def test_feature_names_of_a_column_of_files(tmp_path):
    for i, image in enumerate(UINT8[:12, 0]):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    frame = pd.DataFrame({"path": sorted(map(str, tmp_path.glob("*.png"))), "x": range(12)})
    estimator = fast(METHODS[0])
    mixed = ColumnTransformer([("images", estimator, "path"), ("rest", "passthrough", ["x"])])
    found = mixed.set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns) == list(mixed.get_feature_names_out())
    assert found.shape == (12, estimator.embedding_dim + 1) and found.columns[-1] == "rest__x"


def test_columns_of_other_frames_have_names_too():
    X = pl.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), schema=list("abc"))
    estimator = fast(METHODS[0]).fit(X)
    assert list(estimator.feature_names_in_) == list("abc")
    np.testing.assert_array_equal(estimator.predict(X), estimator.labels_)
    np.testing.assert_array_equal(fast(METHODS[0]).fit(X.to_numpy()).labels_, estimator.labels_)
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(X.select("c", "b", "a"))


def test_what_single_precision_rounds_away_is_told():
    X = np.random.default_rng(0).normal((0, 1e9, 0), size=(40, 3))
    with pytest.warns(UserWarning, match=r"X\[:, 1\] varies by .* around 1e\+09"):
        fast(METHODS[0]).fit(X)
    for kept, precision in ((X, "float64"), (X - X.mean(0), "float32")):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "X")
            fast(METHODS[0], precision=precision).fit(kept)


def test_pandas_output(fitted):
    frame = copy.deepcopy(fitted).set_output(transform="pandas").transform(UINT8)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == list(fitted.get_feature_names_out())
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(UINT8))


def test_score_lies_between_minus_one_and_one(fitted):
    score = fitted.score(UINT8)
    assert type(score) is float and -1 <= score <= 1
    assert fitted.score(UINT8, TARGET) == score


def test_score_knows_no_clusters_without_samples():
    X = np.repeat(UINT8[:3], 20, axis=0)
    method = METHODS[0]
    with pytest.warns(UserWarning, match="hold no sample. Try a smaller n_clusters, or a greater"):
        estimator = fast(method, n_clusters=5, augment=None).fit(X)
    assert estimator.score(X) > 0.99
    # One cluster beside others of the training, of which the centres are known.
    assert 0.99 < estimator.score(X[:20]) <= 1


@each_method
def test_score_of_a_collapsed_representation(method):
    class Constant(Flatten):
        def forward(self, x):
            return torch.ones(len(x), self.num_features, device=x.device)

    assert fast(method, backbone=Constant).fit(UINT8).score(UINT8) == -1
    # Norms that have seen little only look like it.
    assert fast(method).fit(UINT8).score(UINT8) > -1


# -- one X in many clothes ---------------------------------------------------------------------


class Items(Dataset):
    def __init__(self, *columns):
        self.columns = columns

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, i):
        item = tuple(column[i] for column in self.columns)
        return item if len(item) > 1 else item[0]


def memmap(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


LAYOUTS = {
    "NHWC": lambda X, _: X.transpose(0, 2, 3, 1),
    "NHWC copy": lambda X, _: X.transpose(0, 2, 3, 1).copy(),
    "flat": lambda X, _: X.reshape(len(X), -1),
    "tensor": lambda X, _: torch.tensor(X),
    "NHWC tensor": lambda X, _: torch.tensor(X).permute(0, 2, 3, 1),
    "memmap": memmap,
    "items": lambda X, _: Items(X),
    "tensor items with labels": lambda X, _: TensorDataset(torch.tensor(X), torch.tensor(TARGET)),
    "items with labels": lambda X, _: Items(X, TARGET),
    "fortran": lambda X, _: np.asfortranarray(X),
    "not writeable": lambda X, _: X,
    "flat frame": lambda X, _: pd.DataFrame(X.reshape(len(X), -1)),
}


@pytest.mark.parametrize(("method", "channels"), [*((m, 1) for m in METHODS), (METHODS[0], 3)])
def test_equal_images_give_equal_fits(method, channels, tmp_path):
    X = UINT8 if channels == 1 else COLOR
    reference = fast(method).fit(X)
    z = reference.transform(X)
    layouts = LAYOUTS | ({"NHW": lambda X, _: X[:, 0]} if channels == 1 else {})
    for name, dress in layouts.items():
        dressed = dress(X, tmp_path)
        shape = X.shape[1:] if name.startswith("flat") else None
        estimator = fast(method, image_shape=shape).fit(dressed)
        np.testing.assert_array_equal(estimator.labels_, reference.labels_, err_msg=name)
        np.testing.assert_array_equal(estimator.transform(dressed), z, err_msg=name)


@each_method
def test_predict_takes_another_layout_than_fit(method):
    estimator = fast(method).fit(UINT8)
    for X in (UINT8[:, 0], UINT8.transpose(0, 2, 3, 1), UINT8.reshape(40, -1), torch.tensor(UINT8)):
        np.testing.assert_array_equal(estimator.predict(X), estimator.labels_)


@each_method
def test_floats_of_the_same_values_give_the_same_fit(method):
    X = UINT8.copy()
    X[0, 0, 0, :2] = 0, 255  # floats are read by their range
    reference = fast(method).fit(X)
    for dtype in (np.float32, np.float64, np.int64):
        np.testing.assert_array_equal(fast(method).fit(X.astype(dtype)).labels_, reference.labels_)


@each_method
def test_vectors_in_many_clothes(method):
    reference = fast(method).fit(VECTORS)
    frame = pd.DataFrame(VECTORS, columns=[f"f{i}" for i in range(10)])
    for X in (
        frame,
        VECTORS.tolist(),
        torch.tensor(VECTORS),
        Items(VECTORS),
        Items(VECTORS, TARGET),
    ):
        estimator = fast(method).fit(X)
        assert_same_fit(estimator, reference)
        np.testing.assert_array_equal(estimator.predict(X), reference.labels_)


@each_method
def test_images_of_a_settled_layout(method):
    X = np.repeat(COLOR, 4, axis=1)  # 12 channels
    first = fast(method, image_shape=(12, 8, 8)).fit(X)
    second = fast(method, image_shape=(12, 8, 8)).fit(X.transpose(0, 2, 3, 1))
    assert_same_fit(first, second)


# -- repeatability ------------------------------------------------------------------------------


@each_method
def test_same_seed_same_fit(method):
    first, second = fast(method).fit(UINT8), fast(method).fit(UINT8)
    assert_same_fit(first, second)
    assert [r["loss"] for r in first.history_] == [r["loss"] for r in second.history_]


@each_method
def test_seeds_matter_and_None_draws_anew(method):
    first = fast(method).fit(UINT8).transform(UINT8)
    assert not np.array_equal(first, fast(method, random_state=1).fit(UINT8).transform(UINT8))
    draws = [fast(method, random_state=None).fit(UINT8).transform(UINT8) for _ in range(2)]
    assert not np.array_equal(*draws)


@each_method
def test_a_random_state_instance(method):
    fits = [fast(method, random_state=np.random.RandomState(3)).fit(UINT8) for _ in range(2)]
    assert_same_fit(*fits)


@each_method
def test_global_seeds_have_no_say(method):
    torch.manual_seed(1)
    np.random.seed(1)
    first = fast(method).fit(UINT8)
    torch.manual_seed(2)
    np.random.seed(2)
    assert_same_fit(first, fast(method).fit(UINT8))


@each_method
def test_fitting_twice_is_fitting_once(method):
    estimator = fast(method)
    assert_same_fit(fast(method).fit(UINT8), estimator.fit(COLOR).fit(UINT8))
    assert estimator.image_shape_in_ == (1, 8, 8)


class Backbone(nn.Module):
    num_features = 6

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6))

    def forward(self, x):
        return self.layers(x)


@each_method
def test_a_backbone_instance_starts_afresh_in_every_fit(method):
    torch.manual_seed(0)
    estimator = fast(method, backbone=Backbone())
    first = estimator.fit(UINT8).transform(UINT8)
    np.testing.assert_array_equal(first, estimator.fit(UINT8).transform(UINT8))
    np.testing.assert_array_equal(first, clone(estimator).fit(UINT8).transform(UINT8))


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_joblib_workers_give_the_same_labels(n_jobs):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # bitwise equality is promised for equal thread counts
    try:
        here = [fast(method).fit(UINT8) for method in METHODS]
        work = joblib.delayed(fit_single_threaded)
        there = joblib.Parallel(n_jobs=n_jobs, backend="loky")(
            work(fast(method), UINT8) for method in METHODS
        )
    finally:
        torch.set_num_threads(threads)
    for mine, estimator in zip(here, there, strict=True):
        assert_same_fit(mine, estimator)


def fit_single_threaded(estimator, X):
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X)


def test_any_subset_in_any_order_is_predicted_bitwise_alike(fitted):
    X, _ = make_image_blobs(140, random_state=3)
    X = np.rint(X * 255).astype(np.uint8)
    whole = {name: getattr(fitted, name)(X) for name in OUTPUTS}
    rng = np.random.default_rng(0)
    for size in [1, 2, 3, 7, 63, 64, 65, 128, 139]:
        chosen = rng.permutation(140)[:size]
        for name, expected in whole.items():
            part = getattr(fitted, name)(X[chosen])
            np.testing.assert_array_equal(part, expected[chosen], err_msg=f"{name} of {size}")


def test_pickle_joblib_and_deepcopy_round_trips(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "model")
    copies = [
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "model"),
        copy.deepcopy(fitted),
    ]
    for other in copies:
        for name in OUTPUTS:
            np.testing.assert_array_equal(getattr(other, name)(UINT8), getattr(fitted, name)(UINT8))
        assert other.score(UINT8) == fitted.score(UINT8)
        # NaN is not equal to itself.
        np.testing.assert_equal(other.history_, fitted.history_)
        other.fit(UINT8)


def test_a_pickle_of_a_gpu_would_load_without_one(fitted):
    """Tensors are nowhere but in skorch's archive, which goes to what device there is."""
    net, rest = fitted.net_.__getstate__(), {k: v for k, v in vars(fitted).items() if k != "net_"}
    archive = net.pop("__cuda_dependent_attributes__")
    assert b"_load_from_bytes" in archive
    assert b"_load_from_bytes" not in pickle.dumps([net, rest])


def test_a_pickle_does_not_hold_the_images(fitted):
    """Neither the samples nor anything of their size belongs into a model."""
    X = np.zeros((2000, 1, 8, 8), np.uint8)
    X[:] = np.random.default_rng(0).integers(0, 256, X.shape)
    estimator = fast(type(fitted), max_epochs=1, batch_size=256).fit(X)
    state = estimator.net_.module_.state_dict()
    assert not [name for name, value in state.items() if value.shape[:1] == (2000,)]
    buffer = io.BytesIO()
    pickle.dump(estimator, buffer)
    assert X[:50].tobytes() not in buffer.getvalue()


# -- what fit leaves as it was -------------------------------------------------------------------


def globals_now():
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),
        "random": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "grad": torch.is_grad_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "matmul": torch.get_float32_matmul_precision(),
    }


@each_method
@pytest.mark.parametrize(("deterministic", "seed"), [(False, 0), (True, 0), (False, None)])
def test_global_state_is_untouched(method, deterministic, seed):
    before = globals_now()
    estimator = fast(method, deterministic=deterministic, random_state=seed).fit(UINT8)
    for name in [*OUTPUTS, "score"]:
        getattr(estimator, name)(UINT8)
    assert globals_now() == before


@each_method
def test_global_state_is_untouched_after_an_error(method):
    def explode(x):
        torch.rand(1)
        raise RuntimeError("in the augmentation")

    before = globals_now()
    with pytest.raises(RuntimeError, match="in the augmentation"):
        fast(method, augment=explode, deterministic=True).fit(UINT8)
    assert globals_now() == before


@each_method
def test_the_default_dtype_has_no_say(method):
    reference = fast(method).fit(UINT8)
    torch.set_default_dtype(torch.float64)
    try:
        estimator = fast(method).fit(UINT8)
        assert {p.dtype for p in estimator.net_.module_.parameters()} == {torch.float32}
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert estimator.transform(UINT8).dtype == reference.transform(UINT8).dtype


@each_method
def test_half_precision_trains_with_the_weights_of_every_step(method):
    """Autocast casts weights once, and keeps them until the outermost context ends."""
    cached = fast(method, precision="bfloat16").fit(UINT8)
    torch.set_autocast_cache_enabled(False)
    try:
        expected = fast(method, precision="bfloat16").fit(UINT8)
    finally:
        torch.set_autocast_cache_enabled(True)
    assert_same_fit(cached, expected)
    losses = [[row["loss"] for row in fitted.history_] for fitted in (cached, expected)]
    assert losses[0] == losses[1]


@each_method
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("enabled", [True, False])
def test_the_autocast_of_others_has_no_say(method, precision, enabled):
    reference = fast(method, precision=precision).fit(UINT8)
    expected = [getattr(reference, name)(UINT8) for name in (*OUTPUTS, "score")]
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        estimator = fast(method, precision=precision).fit(UINT8)
        for fitted in (reference, estimator):
            found = [getattr(fitted, name)(UINT8) for name in (*OUTPUTS, "score")]
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)
    assert_same_fit(estimator, reference)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, pixels in enumerate(UINT8):
        Image.fromarray(pixels.squeeze()).save(folder / f"{i:02d}.png")
    return folder


@each_method
def test_a_default_device_has_no_say(method, pictures, tmp_path):
    def all_of_it(name):
        fitted = fast(method, image_shape=UINT8.shape[1:]).fit(pictures)
        fitted.save(tmp_path / name)
        loaded = skdeepclust.load(tmp_path / name)
        outputs = [getattr(m, name)(UINT8) for m in (fitted, loaded) for name in OUTPUTS]
        return [fitted.labels_, fitted.score(UINT8), *outputs]

    expected = all_of_it("one")
    with torch.device("meta"):  # where nothing can be read back
        found = all_of_it("other")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@each_method
def test_the_samples_are_not_written(method):
    for X in (UINT8.copy(), FLOATS.copy(), VECTORS.copy()):
        before = X.copy()
        fast(method, augment=lambda x: x).fit(X).predict(X)
        np.testing.assert_array_equal(X, before)


def test_every_tensor_of_the_objective_is_a_parameter_or_buffer(fitted):
    """What is not, is lost to `to(device)`, checkpoints and `state_dict`."""
    registered = {
        id(t) for t in (*fitted.net_.module_.parameters(), *fitted.net_.module_.buffers())
    }
    for name, module in fitted.net_.module_.named_modules():
        loose = [
            attribute for attribute, value in vars(module).items()
            if isinstance(value, torch.Tensor) and id(value) not in registered
        ]  # fmt: skip
        assert not loose, f"{name}: {loose}"


# -- edges --------------------------------------------------------------------------------------


@each_method
@pytest.mark.parametrize("X", [UINT8, VECTORS], ids=["images", "vectors"])
def test_one_cluster(method, X):
    estimator = fast(method, 1).fit(X)
    assert not estimator.labels_.any()
    np.testing.assert_allclose(estimator.predict_proba(X), 1)
    assert estimator.history_[-1]["size_entropy"] == 1


@each_method
def test_as_many_clusters_as_samples_and_more_than_a_batch(method):
    estimator = fast(method, 40, batch_size=8).fit(UINT8)
    assert estimator.cluster_centers_.shape[0] == 40
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(UINT8))
    found = np.unique(estimator.labels_)
    np.testing.assert_array_equal(found, np.arange(len(found)))


@each_method
@pytest.mark.parametrize("n", [2, 3])
def test_as_few_samples_as_can_be(method, n):
    estimator = fast(method, 2).fit(UINT8[:n])
    assert estimator.labels_.shape == (n,)


@each_method
def test_one_lone_sample_beyond_full_batches(method):
    estimator = fast(method, batch_size=13).fit(UINT8)  # 40 = 3 x 13 + 1
    assert estimator.labels_.shape == (40,)


@each_method
def test_empty_clusters_come_last_with_a_warning(method):
    X = np.repeat(UINT8[TARGET == 0][:1], 20, axis=0)
    X[10:] = UINT8[TARGET == 1][0]
    with pytest.warns(ConvergenceWarning, match=r"Clusters \[2, 3, 4\] of 5"):
        estimator = fast(method, 5, max_epochs=20).fit(X)
    assert np.unique(estimator.labels_).tolist() == [0, 1]
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))
    assert np.isfinite(estimator.cluster_centers_).all()
    assert estimator.cluster_centers_.shape[0] == 5


@each_method
@pytest.mark.parametrize("name", ["n_clusters", "max_epochs", "batch_size", "norm_batch_size"])
def test_numpy_integers_are_integers(method, name):
    """Also of a type that the square of 20 does not fit."""
    plain = fast(method, 20, norm_batch_size=8)
    numpy = fast(method, 20).set_params(norm_batch_size=8)
    numpy.set_params(**{name: np.uint8(getattr(plain, name))})
    assert_same_fit(plain.fit(UINT8), numpy.fit(UINT8))


@each_method
def test_numpy_floats_are_numbers(method):
    plain = fast(method)
    numpy = fast(method).set_params(temperature=np.float32(plain.temperature))
    assert_same_fit(plain.fit(UINT8), numpy.fit(UINT8))


# -- scikit-learn's tools -------------------------------------------------------------------------


@each_method
def test_clone_and_repr(method):
    estimator = fast(method, backbone=Backbone())
    copied = clone(estimator)
    assert not hasattr(copied, "labels_") and copied.backbone is not estimator.backbone
    assert method.__name__ in repr(estimator)
    assert estimator._repr_html_()


@each_method
def test_grid_search_over_the_training_images(method):
    search = GridSearchCV(
        fast(method), {"n_clusters": np.arange(2, 4)}, scoring=hungarian_accuracy_scorer,
        cv=TransductiveSplit(), error_score="raise",
    ).fit(UINT8, TARGET)  # fmt: skip
    assert search.best_params_["n_clusters"] in (2, 3)
    expected = hungarian_accuracy_scorer(search.best_estimator_, UINT8, TARGET)
    assert search.best_score_ == expected  # refit repeats the fit


@each_method
def test_cross_validation(method):
    for scoring in (hungarian_accuracy_scorer, silhouette_scorer, None):
        scores = cross_val_score(
            fast(method), UINT8, TARGET, scoring=scoring, cv=2, error_score="raise"
        )
        assert np.isfinite(scores).all()


@each_method
def test_pipeline_on_vectors(method):
    piped = Pipeline([("scale", StandardScaler()), ("cluster", fast(method))]).fit(VECTORS)
    scaled = StandardScaler().fit_transform(VECTORS)
    np.testing.assert_array_equal(piped.predict(VECTORS), fast(method).fit(scaled).labels_)
    assert piped.transform(VECTORS).shape == (40, piped[-1].embedding_dim)


def invert(X):
    return 255 - X


@each_method
def test_pipeline_on_images(method):
    step = FunctionTransformer(invert)
    piped = Pipeline([("invert", step), ("cluster", fast(method))])
    labels = piped.fit_predict(UINT8)
    np.testing.assert_array_equal(labels, fast(method).fit(255 - UINT8).labels_)
    np.testing.assert_array_equal(piped.predict(UINT8), labels)


# -- verbose ----------------------------------------------------------------------------------


@each_method
def test_verbosity(method, capsys):
    silent = fast(method).fit(UINT8)
    captured = capsys.readouterr()
    assert not captured.out and not captured.err
    bar = fast(method, verbose=1).fit(UINT8)
    captured = capsys.readouterr()
    assert "loss" in captured.err and not captured.out
    lines = fast(method, verbose=2).fit(UINT8)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert_same_fit(silent, bar)
    assert_same_fit(silent, lines)


# -- bad input: one clear error, before any training step ---------------------------------------


class Untrained(nn.Module):
    """An augmentation that must never be reached."""

    def forward(self, x):
        raise AssertionError("training has begun")


def spoiled(value, X=FLOATS):
    X = X.copy()
    X[3].flat[5] = value
    return X


BAD_X = {
    "NaN": (spoiled(np.nan), ValueError, "^Input X contains NaN: leave such samples out"),
    "infinite": (spoiled(np.inf), ValueError, "inf"),
    "NaN vector": (spoiled(np.nan, VECTORS), ValueError, "NaN"),
    "beyond float32": (spoiled(1e300, FLOATS.astype(float)), ValueError, "float32"),
    "fewer samples than clusters": (UINT8[:2], ValueError, "n_samples=2.*n_clusters=3"),
    "one sample": (UINT8[:1], ValueError, "1 sample|n_samples=1"),
    "empty": (UINT8[:0], ValueError, "0 sample"),
    "empty list": ([], ValueError, "X|sample|array"),
    "no features": (np.empty((9, 0)), ValueError, "0 feature"),
    "no pixels": (np.empty((9, 1, 0, 8)), ValueError, "empty dimension|0 feature"),
    "1-D": (np.arange(9.0), ValueError, "1D array|dimensions"),
    "5-D": (UINT8[:, None], ValueError, "dimensions"),
    "a number": (3.0, ValueError, "X|array"),
    "None": (None, (ValueError, TypeError), "X|NoneType|array"),
    "ambiguous layout": (np.zeros((9, 3, 8, 3)), ValueError, "image_shape"),
    "unknown layout": (np.zeros((9, 5, 8, 9)), ValueError, "image_shape"),
    "complex": (FLOATS + 1j, ValueError, "Complex"),
    "sparse": (scipy.sparse.csr_matrix(VECTORS), TypeError, "Sparse data.*toarray"),
    "sparse array": (scipy.sparse.csr_array(VECTORS), TypeError, "Sparse data.*toarray"),
    "tensor without values": (torch.tensor(VECTORS).to("meta"), TypeError, "meta"),
    "sparse tensor": (torch.tensor(VECTORS).to_sparse(), TypeError, "sparse"),
    "strings": (np.array([["a", "b"]] * 9), ValueError, "X|string|numeric"),
    "long doubles": (np.full((9, 2), np.longdouble("3.5e38")), ValueError, "X .*float32"),
    "words": (np.array([["", 1]] * 9, object), ValueError, "X holds what is no number"),
    "objects": (np.array([[object(), 1]] * 9), TypeError, "X .*argument must be .* number"),
    "dates": (np.zeros((9, 2), "datetime64[s]"), (TypeError, ValueError), "dtype|DType"),
    "a path": ("images/", FileNotFoundError, "images/"),
    "a loader": (DataLoader(Items(FLOATS)), TypeError, r"X\.dataset"),
    "an iterator": (iter(FLOATS), TypeError, r"list\(X\)"),
    "one picture": (Image.fromarray(UINT8[0, 0]), TypeError, r"pass a list of them, \[X\]"),
    "ragged": ([[1.0, 2.0], [3.0]] * 5, ValueError, "X must have rows of one length"),
    "mixed sizes": (Items([*FLOATS[:8], FLOATS[8, :, 1:]]), ValueError, r"X\[8\]"),
    "arrays in cells": (pd.DataFrame({"image": list(VECTORS)}), ValueError, r"X .* np\.stack"),
    "arrays in a column": (pl.DataFrame({"image": VECTORS}), ValueError, r"X .* np\.stack"),
    "a lazy frame": (pl.DataFrame(VECTORS).lazy(), TypeError, r"X\.collect\(\)"),
}  # fmt: skip


@each_method
@pytest.mark.parametrize("case", BAD_X)
def test_bad_X_at_fit(method, case):
    X, kind, message = BAD_X[case]
    with pytest.raises(kind, match=message) as caught:
        fast(method, augment=Untrained()).fit(X)
    assert re.search(r"\bX\b|images/|image_shape|n_samples|sparse|Sparse", str(caught.value))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (8, 8, 3)])
def test_one_sample_is_told_how_to_be_passed(shape):
    images = np.random.default_rng(0).integers(256, size=(30, *shape), dtype=np.uint8)
    model = fast(METHODS[0]).fit(images)
    one = images[0].squeeze()
    with pytest.raises(ValueError, match=r"X of shape .* is one sample: pass X\[None\]"):
        model.predict(one)
    assert model.predict(one[None]) == model.labels_[0]


@pytest.mark.parametrize("case", ["NaN", "infinite", "complex", "empty", "a path", "1-D", "5-D"])
def test_bad_X_at_predict(fitted, case):
    X, kind, message = BAD_X[case]
    for name in [*OUTPUTS, "score"]:
        with pytest.raises(kind, match=message):
            getattr(fitted, name)(X)


@pytest.mark.parametrize(
    "X", [COLOR, UINT8[..., :7], UINT8[:, 0, 1:], UINT8.reshape(40, -1)[:, 1:]]
)
def test_another_image_shape_at_predict(fitted, X):
    for name in [*OUTPUTS, "score"]:
        with pytest.raises(ValueError, match=r"image_shape|features"):
            getattr(fitted, name)(X)


def no_width(shape):
    return nn.Flatten()


BAD_PARAMETERS = [
    ("n_clusters", 0), ("n_clusters", 2.5), ("n_clusters", "3"), ("n_clusters", 41),
    ("backbone", "vgg"), ("backbone", 3), ("backbone", nn.Flatten()), ("backbone", no_width),
    ("stem", "large"), ("image_shape", (1, 8)), ("image_shape", (1, 8, -8)),
    ("image_shape", (3, 8, 8)), ("image_shape", (1.0, 8, 8)), ("image_shape", 8),
    ("augment", "cutout"), ("augment", 3), ("augment", "vectors"), ("augment", (None,) * 5),
    ("embedding_dim", 0), ("hidden_dim", 0), ("max_epochs", 0), ("max_epochs", 1.5),
    ("batch_size", 1), ("norm_batch_size", 1), ("optimizer", "adam"), ("lr", 0), ("lr", -1.0),
    ("lr", "high"), ("momentum", 1.0), ("weight_decay", -0.1), ("schedule", "linear"),
    ("warmup_epochs", -1), ("device", "cuda:99"), ("device", "tpu9"), ("device", 0.5),
    ("precision", "float8"), ("callbacks", "stop"), ("checkpoint", 3),
    ("checkpoint_every", 0), ("callbacks", (3, 8)), ("embedding_dim", True), ("backbone", int),
    ("weights", "x" * 999), ("compile", 2), ("deterministic", "yes"),
    ("random_state", "seed"), ("random_state", -1), ("verbose", 3), ("temperature", 0),
]  # fmt: skip


@each_method
@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS, ids=lambda v: repr(v)[:20])
def test_a_bad_parameter_is_named_before_training(method, name, value):
    params = {"augment": Untrained()} | {name: value}
    n_clusters = params.pop("n_clusters", 3)
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=name):
        fast(method, n_clusters, **params).fit(UINT8)


@each_method
def test_networks_that_do_not_fit_the_memory(method):
    with pytest.raises(MemoryError, match="embedding_dim=1000000000000"):
        fast(method, embedding_dim=10**12).fit(UINT8)


@each_method
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["lr", "weight_decay", "temperature"])
def test_parameters_that_are_not_finite_are_named(method, name, value):
    with pytest.raises(ValueError, match=name):
        fast(method, augment=Untrained(), **{name: value}).fit(UINT8)


@each_method
def test_an_augmentation_that_changes_the_shape_is_named(method):
    with pytest.raises(ValueError, match="augment"):
        fast(method, augment=lambda x: x[..., :4]).fit(UINT8)


@each_method
def test_a_failed_fit_leaves_no_half_fitted_estimator(method):
    """predict after a refused fit must not fail by an AttributeError."""
    from sklearn.exceptions import NotFittedError

    estimator = fast(method, backbone="vgg")
    with pytest.raises(ValueError, match="backbone"):
        estimator.fit(UINT8)
    with pytest.raises(NotFittedError):
        estimator.predict(UINT8)
    estimator.set_params(backbone="auto").fit(UINT8)
    with pytest.raises(ValueError, match="n_samples=2"):
        estimator.fit(np.zeros((2, 10, 12)))  # of another shape than the network that there is
    with pytest.raises(NotFittedError):
        estimator.predict(UINT8)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)  # as pipelines ask
