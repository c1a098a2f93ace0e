"""scikit-learn's checks, and a 4-D twin of each that concerns images."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
from joblib import dump, load
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import skdeepclust
from skdeepclust.datasets import make_image_blobs

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
OUTPUTS = ["predict", "transform", "predict_proba"]


@parametrize_with_checks([method() for method in METHODS])
def test_scikit_learns_checks(estimator, check):
    # What they ask holds of any training, but for the quality of the clusters.
    epochs = 20 if "clustering" in check.func.__name__ else 5
    check(clone(estimator).set_params(max_epochs=epochs))


@pytest.mark.slow
@parametrize_with_checks([method(precision="float64") for method in METHODS])
def test_scikit_learns_checks_in_double_precision(estimator, check):
    test_scikit_learns_checks(estimator, check)


@pytest.mark.slow
@pytest.mark.usefixtures("wide")
@parametrize_with_checks([method() for method in METHODS])
def test_scikit_learns_checks_by_default(estimator, check):
    check(estimator)


# -- twins ------------------------------------------------------------------------------------

X, y = make_image_blobs(40, random_state=0)
X.flags.writeable = False
FAST = {"n_clusters": 3, "random_state": 0}
FAST_BY_ENDING = {"epochs": 2, "warmup": 1, "_dim": 8, "batch_size": 16}


def fast(method, **params):
    """Light settings, derived from the names of the fields so that new methods are covered."""
    light = dict(FAST)
    for name, default in method().get_params().items():
        for ending, value in FAST_BY_ENDING.items():
            if name.endswith(ending) and default is not None:
                light[name] = min(value, default)
    return method(**light | params)


def outputs(estimator, X=X):
    return {name: getattr(estimator, name)(X) for name in OUTPUTS}


def assert_same(first, second):
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def twin_overwrite_params(method):
    estimator = fast(method)
    before = copy.deepcopy(estimator.get_params())
    estimator.fit(X)
    assert estimator.get_params() == before


def twin_dont_overwrite_parameters(method):
    estimator = fast(method)
    before = set(vars(estimator))
    added = set(vars(estimator.fit(X))) - before
    assert all(name.endswith("_") or name.startswith("_") for name in added)


def twin_fit_returns_self(method):
    estimator = fast(method)
    assert estimator.fit(X) is estimator
    assert estimator.fit(X, y) is estimator


def twin_readonly_memmap_input(method, tmp_path):
    dump(X, tmp_path / "X")
    mapped = load(tmp_path / "X", mmap_mode="r")
    estimator = fast(method).fit(mapped)
    assert_same(outputs(estimator, mapped), outputs(estimator))


def twin_n_features_in_after_fitting(method):
    estimator = fast(method).fit(X)
    assert estimator.n_features_in_ == 64
    assert estimator.image_shape_in_ == (1, 8, 8)
    for name in [*OUTPUTS, "score"]:
        for bad in (X[:, :, :7], np.repeat(X, 3, axis=1), X.reshape(40, 1, 4, 16)):
            with pytest.raises(ValueError, match="image_shape_in_"):
                getattr(estimator, name)(bad)


def twin_negative_values(method):
    estimator = fast(method).fit(X - 0.5)
    assert np.isfinite(estimator.transform(X - 0.5)).all()


def twin_dtypes(method):
    for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_):
        data = (X * (1 if np.dtype(dtype).kind == "f" else 200)).astype(dtype)
        outputs(fast(method, max_epochs=1).fit(data), data)


def twin_complex(method):
    with pytest.raises(ValueError, match="Complex data not supported"):
        fast(method).fit(X + 1j)


def twin_object(method):
    data = X.astype(object)
    assert_same(
        outputs(fast(method).fit(data), data), outputs(fast(method).fit(data.astype(float)))
    )
    data[0, 0, 0, 0] = {"foo": "bar"}
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        fast(method).fit(data)


def twin_empty(method):
    for shape in [(0, 1, 8, 8), (12, 1, 0, 8), (12, 1, 8, 0), (12, 0, 8, 8)]:
        with pytest.raises(ValueError):
            fast(method).fit(np.empty(shape))


def twin_pipeline(method):
    piped = make_pipeline(fast(method)).fit(X)
    assert_same(outputs(fast(method).fit(X)), outputs(piped))


def twin_nan_inf(method):
    estimator = fast(method).fit(X)
    for value in (np.nan, np.inf):
        bad = X.copy()
        bad[3, 0, 2, 2] = value
        for call in (clone(estimator).fit, *(getattr(estimator, name) for name in OUTPUTS)):
            with pytest.raises(ValueError, match=r"NaN|inf"):
                call(bad)


def twin_pickle(method):
    estimator = fast(method).fit(X)
    assert_same(outputs(estimator), outputs(pickle.loads(pickle.dumps(estimator))))


def twin_f_contiguous(method):
    data = np.asfortranarray(X)
    assert_same(outputs(fast(method).fit(data), data), outputs(fast(method).fit(X)))


def twin_not_an_array(method):
    class NotAnArray:
        def __array__(self, dtype=None, copy=None):
            return np.array(X, dtype=dtype)

    estimator = fast(method).fit(NotAnArray())
    assert_same(outputs(estimator, NotAnArray()), outputs(fast(method).fit(X)))


def twin_lists(method):
    assert_same(outputs(fast(method).fit(X.tolist())), outputs(fast(method).fit(X.astype(float))))


def twin_transformer_general(method):
    estimator = fast(method)
    first = estimator.fit_transform(X)
    np.testing.assert_array_equal(first, estimator.transform(X))
    np.testing.assert_array_equal(first, estimator.fit_transform(X, y))
    assert first.shape == (40, estimator.embedding_dim)


def twin_preserve_dtypes(method):
    assert fast(method).fit_transform(X).dtype == np.float32


def twin_n_iter(method):
    assert fast(method).fit(X).n_iter_ >= 1


def twin_labels_predict(method):
    estimator = fast(method).fit(X)
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))
    np.testing.assert_array_equal(estimator.labels_, clone(estimator).fit_predict(X))


def twin_clustering(method, wide):
    assert_clusters(method(3, max_epochs=30, random_state=0))


def assert_clusters(estimator):
    data, truth = make_image_blobs(50, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # healthy trainings are silent
        estimator.fit(data)
    assert adjusted_rand_score(truth, estimator.labels_) > 0.4
    assert estimator.labels_.shape == (50,) and estimator.labels_.dtype == np.int64
    found = np.unique(estimator.labels_)
    np.testing.assert_array_equal(found, np.arange(len(found)))


def twin_order(method):
    estimator, order = fast(method).fit(X), np.random.default_rng(0).permutation(40)
    assert_same({k: v[order] for k, v in outputs(estimator).items()}, outputs(estimator, X[order]))


def twin_subset(method):
    estimator = fast(method).fit(X)
    parts = [outputs(estimator, X[i : i + 1]) for i in range(0, 40, 7)]
    joined = {k: np.concatenate([part[k] for part in parts]) for k in OUTPUTS}
    assert_same(joined, {k: v[::7] for k, v in outputs(estimator).items()})


def twin_one_sample(method):
    with pytest.raises(ValueError, match="1 sample"):
        fast(method, n_clusters=1).fit(X[:1])


def twin_one_pixel(method):
    try:
        fast(method).fit(X[:, 0, :1, :1])
    except ValueError as error:
        assert "image" in str(error)


def twin_dict_unchanged(method):
    estimator = fast(method).fit(X)
    before = dict(vars(estimator))
    outputs(estimator)
    assert vars(estimator) == before


def twin_idempotent(method):
    estimator = fast(method)
    assert_same(outputs(estimator.fit(X[:30])), outputs(estimator.fit(X[:30])))


def twin_unfitted(method):
    for name in [*OUTPUTS, "score"]:
        with pytest.raises(NotFittedError):
            getattr(fast(method), name)(X)


def twin_n_features_in(method):
    estimator = fast(method)
    assert not hasattr(estimator, "n_features_in_")
    assert estimator.fit(X).n_features_in_ == 64


def twin_wrong_dimensions(method):
    estimator = fast(method).fit(X)
    for call in (clone(estimator).fit, estimator.predict):
        with pytest.raises(ValueError):
            call(X[0].ravel())
        with pytest.raises(ValueError, match="dimensions"):
            call(X[:, None])


TWINS = {
    "check_estimators_overwrite_params": twin_overwrite_params,
    "check_dont_overwrite_parameters": twin_dont_overwrite_parameters,
    "check_estimators_fit_returns_self": twin_fit_returns_self,
    "check_fit_score_takes_y": twin_fit_returns_self,
    "check_readonly_memmap_input": twin_readonly_memmap_input,
    "check_n_features_in_after_fitting": twin_n_features_in_after_fitting,
    "check_positive_only_tag_during_fit": twin_negative_values,
    "check_estimators_dtypes": twin_dtypes,
    "check_complex_data": twin_complex,
    "check_dtype_object": twin_object,
    "check_estimators_empty_data_messages": twin_empty,
    "check_pipeline_consistency": twin_pipeline,
    "check_estimators_nan_inf": twin_nan_inf,
    "check_estimators_pickle": twin_pickle,
    "check_f_contiguous_array_estimator": twin_f_contiguous,
    "check_transformer_data_not_an_array": (twin_not_an_array, twin_lists),
    "check_transformer_general": twin_transformer_general,
    "check_transformer_preserve_dtypes": twin_preserve_dtypes,
    "check_transformer_n_iter": twin_n_iter,
    "check_clusterer_compute_labels_predict": twin_labels_predict,
    "check_clustering": twin_clustering,
    "check_methods_sample_order_invariance": twin_order,
    "check_methods_subset_invariance": twin_subset,
    "check_fit2d_1sample": twin_one_sample,
    "check_fit2d_1feature": twin_one_pixel,
    "check_dict_unchanged": twin_dict_unchanged,
    "check_fit_idempotent": twin_idempotent,
    "check_estimators_unfitted": twin_unfitted,
    "check_transformers_unfitted": twin_unfitted,
    "check_fit_check_is_fitted": twin_unfitted,
    "check_n_features_in": twin_n_features_in,
    "check_fit1d": twin_wrong_dimensions,
    "check_fit2d_predict1d": twin_wrong_dimensions,
}

_NO_DATA = "looks at the class and its parameters, not at X"
_SPARSE = "scipy's sparse matrices have two dimensions; test_contract refuses sparse tensors"
NO_TWIN = {
    "check_estimator_cloneable": _NO_DATA,
    "check_estimator_tags_renamed": _NO_DATA,
    "check_valid_tag_types": _NO_DATA,
    "check_estimator_repr": _NO_DATA,
    "check_no_attributes_set_in_init": _NO_DATA,
    "check_do_not_raise_errors_in_init_or_set_params": _NO_DATA,
    "check_mixin_order": _NO_DATA,
    "check_parameters_default_constructible": _NO_DATA,
    "check_get_params_invariance": _NO_DATA,
    "check_set_params": _NO_DATA,
    "check_estimator_sparse_tag": _SPARSE,
    "check_estimator_sparse_array": _SPARSE,
    "check_estimator_sparse_matrix": _SPARSE,
    "check_array_api_input": "skipped by scikit-learn unless SCIPY_ARRAY_API=1",
    "check_estimators_partial_fit_n_features": "there is no partial_fit",
}

_PAIRS = [
    (method, twin)
    for method in METHODS
    for twin in dict.fromkeys(
        twin
        for value in TWINS.values()
        for twin in (value if isinstance(value, tuple) else (value,))
    )
]


@pytest.mark.parametrize(
    ("method", "twin"), _PAIRS, ids=[f"{m.__name__}-{t.__name__[5:]}" for m, t in _PAIRS]
)
def test_twin_for_images(method, twin, request):
    _, *fixtures = inspect.signature(twin).parameters
    twin(method, *map(request.getfixturevalue, fixtures))


@pytest.mark.slow
@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("method", METHODS)
def test_clusters_of_images_by_default(method):
    assert_clusters(method(3, random_state=0))


@pytest.mark.parametrize("method", METHODS)
def test_every_check_has_a_twin_or_a_reason(method):
    names = {check.func.__name__ for _, check in estimator_checks_generator(method())}
    assert names <= TWINS.keys() | NO_TWIN.keys()
    assert not TWINS.keys() & NO_TWIN.keys()
