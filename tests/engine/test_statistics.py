"""Statistics of the training samples against numpy."""

import numpy as np
import pytest
import torch

from skdeepclust import IDFDClustering
from skdeepclust.engine import images as module
from skdeepclust.engine.images import Images


def statistics(data):
    return Images(data, torch.device("cpu"), torch.float32).statistics


def floats(*shape, dtype=np.float32, offset=0.0):
    return (np.random.default_rng(0).normal(size=shape) * 3 + offset).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_images_are_mapped_by_their_range(dtype):
    X = floats(20, 3, 5, 4, dtype=dtype)
    seen = statistics(X)
    low, high = float(X.min()), float(X.max())
    assert (seen.low, seen.high) == (low, high)
    scaled = (X.astype(np.float64) - low) / (high - low)
    np.testing.assert_allclose(seen.mean, scaled.mean((0, 2, 3)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(seen.std, scaled.std((0, 2, 3)), rtol=0, atol=1e-12)


def test_uint8_images_are_mapped_from_0_to_255():
    X = np.random.default_rng(0).integers(10, 90, (20, 3, 5, 4), dtype=np.uint8)
    seen = statistics(X)
    assert (seen.low, seen.high) == (0, 255)
    np.testing.assert_allclose(seen.mean, (X / 255).mean((0, 2, 3)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(seen.std, (X / 255).std((0, 2, 3)), rtol=0, atol=1e-12)


def test_vectors_have_a_mean_and_std_per_feature():
    X = floats(50, 4)
    seen = statistics(X)
    np.testing.assert_allclose(seen.mean, X.astype(np.float64).mean(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(seen.std, X.astype(np.float64).std(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(20, 3, 5, 4), (50, 4)])
def test_chunks_change_nothing(monkeypatch, shape):
    X = floats(*shape)
    whole = statistics(X)
    monkeypatch.setattr(module, "CHUNK", 7)
    chunked = statistics(X)
    assert (whole.low, whole.high) == (chunked.low, chunked.high)
    np.testing.assert_allclose(whole.mean, chunked.mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(whole.std, chunked.std, rtol=0, atol=1e-12)


def test_channels_last_memory_gives_the_same():
    X = floats(20, 3, 5, 4)
    strided = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(statistics(X).mean, statistics(strided).mean, atol=1e-14)


def test_a_large_offset_costs_no_digits():
    X = floats(1000, 2, dtype=np.float64, offset=1e8)
    np.testing.assert_allclose(statistics(X).std, X.std(0), rtol=1e-8)


def test_the_first_sample_may_be_an_outlier():
    X = floats(1000, 2, dtype=np.float64)
    X[0] = 1e4
    np.testing.assert_allclose(statistics(X).std, X.std(0), rtol=1e-9)


def test_constant_images():
    seen = statistics(np.full((5, 3, 4, 4), 0.7, np.float32))
    assert seen.low == seen.high == pytest.approx(0.7)
    np.testing.assert_array_equal(seen.std, np.zeros(3))
    assert np.isfinite(seen.mean).all()


def test_a_channel_that_another_dwarfs_is_constant():
    images = np.random.default_rng(0).random((20, 3, 5, 5))
    images[0, 1] = 1e30
    found = statistics(images)
    assert found.std[[0, 2]].tolist() == [0, 0] and found.std[1] > 0.1
    IDFDClustering(2, max_epochs=2, random_state=0).fit(images)  # does not diverge


def test_a_feature_below_single_precision_is_constant():
    rows = np.random.default_rng(0).random((20, 3))
    rows[:, 1] *= 1e-54
    assert statistics(rows).std[1] == 0
    IDFDClustering(2, max_epochs=2, random_state=0).fit(rows)  # does not diverge


def test_a_constant_feature_has_exactly_no_spread():
    X = floats(50, 3)
    X[:, 1] = 0.1
    assert statistics(X).std[1] == 0


def test_the_samples_are_not_written():
    X = floats(20, 3, 5, 4, dtype=np.float64)
    X.flags.writeable = False
    statistics(X)
