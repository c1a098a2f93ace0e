"""Real data: the 1,797 handwritten digits, against bars below what was measured."""

import time
import warnings

import pytest

import skdeepclust
from skdeepclust.datasets import load_digits_images
from skdeepclust.metrics import clustering_report

# Bars of ACC of one seed: after so many epochs (in every run) and with default parameters (marked
# slow), below what several seeds gave (asv_bench/results/digits.json). A new method needs a line.
BARS = {  # method: (epochs, bar, bar of the defaults)
    "IDFDClustering": (10, 0.70, 0.95),
    "ProPosClustering": (15, 0.80, 0.93),
    "SeCuClustering": (8, 0.55, 0.93),
    "CDCClustering": (8, 0.80, 0.95),
}
SECONDS = 60  # on two idle cores


@pytest.fixture(scope="module")
def all_digits():
    return load_digits_images(return_X_y=True)


def accuracy(estimator, images, target):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return clustering_report(target, estimator.fit_predict(images))["acc"]


def test_every_method_has_a_bar():
    assert BARS.keys() == skdeepclust.METHODS.keys()


@pytest.mark.parametrize("name", BARS)
def test_digits_in_few_epochs(name, all_digits):
    epochs, bar, _ = BARS[name]
    estimator = getattr(skdeepclust, name)(10, max_epochs=epochs, random_state=0)
    assert accuracy(estimator, *all_digits) >= bar


@pytest.mark.slow
@pytest.mark.parametrize("name", BARS)
def test_digits_with_default_parameters(name, all_digits):
    started = time.perf_counter()
    estimator = getattr(skdeepclust, name)(10, random_state=0)
    assert accuracy(estimator, *all_digits) >= BARS[name][2]
    assert time.perf_counter() - started <= SECONDS
