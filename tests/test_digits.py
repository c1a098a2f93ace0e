"""Real data: the 1,797 handwritten digits, against bars below what was measured."""

import time
import warnings

import pytest

import skdeepclust
from skdeepclust.datasets import load_digits_images
from skdeepclust.metrics import clustering_report

# Bars of ACC of one seed, below what several seeds gave (asv_bench/results/digits.json). A new
# method needs a line.
BARS = {  # of default parameters (marked slow)
    "IDFDClustering": 0.95,
    "ProPosClustering": 0.93,
    "SeCuClustering": 0.93,
    "CDCClustering": 0.95,
}
# Epochs and bar at half the width, in every run. Tests of SeCu and CDC ask more of such a training,
# and this, too. `.ci/run` asks more of the methods in the demo, in a third of the default epochs.
FEW_EPOCHS = {"IDFDClustering": (10, 0.70), "ProPosClustering": (12, 0.70)}
SECONDS = 60  # on two idle cores


@pytest.fixture(scope="module")
def all_digits():
    return load_digits_images(return_X_y=True)


def test_every_method_has_a_bar():
    assert BARS.keys() == skdeepclust.METHODS.keys()


def accuracy(estimator, images, target):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return clustering_report(target, estimator.fit_predict(images))["acc"]


@pytest.mark.usefixtures("half_wide")
@pytest.mark.parametrize("name", FEW_EPOCHS)
def test_digits_in_few_epochs(name, all_digits):
    epochs, bar = FEW_EPOCHS[name]
    estimator = getattr(skdeepclust, name)(10, max_epochs=epochs, random_state=0)
    assert accuracy(estimator, *all_digits) >= bar


@pytest.mark.slow
@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("name", BARS)
def test_digits_with_default_parameters(name, all_digits):
    started = time.perf_counter()
    estimator = getattr(skdeepclust, name)(10, random_state=0)
    assert accuracy(estimator, *all_digits) >= BARS[name]
    assert time.perf_counter() - started <= SECONDS
