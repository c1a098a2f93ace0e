"""Real data: the 1,797 handwritten digits, against bars below what was measured."""

import time
import warnings

import pytest

import skdeepclust
from skdeepclust import CollapseWarning
from skdeepclust.datasets import load_digits_images
from skdeepclust.metrics import clustering_report

# Bars of ACC with default parameters, TO BE CONFIRMED by the mean and spread of five seeds
# (issue 2 asks IDFD >= 0.97, ProPos >= 0.95; k-means 0.79): the mean less three spreads.
# A new method needs a line here.
BARS = {
    "IDFDClustering": 0.93,
    "ProPosClustering": 0.88,
}
SECONDS = 60  # issue 2, on two cores


@pytest.fixture(scope="module")
def all_digits():
    return load_digits_images(return_X_y=True)


def test_every_method_has_a_bar():
    assert BARS.keys() == skdeepclust.METHODS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", BARS)
def test_digits_in_full(name, all_digits):
    images, target = all_digits
    started = time.perf_counter()
    estimator = getattr(skdeepclust, name)(10, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        labels = estimator.fit_predict(images)
    assert clustering_report(target, labels)["acc"] >= BARS[name]
    assert time.perf_counter() - started <= SECONDS


# ACC after this many epochs of the default 100, for a suite that runs in minutes.
SHORT = {"IDFDClustering": (15, 0.80), "ProPosClustering": (25, 0.70)}


@pytest.mark.parametrize("name", SHORT)
def test_digits_in_few_epochs_beat_chance_and_noise(name, all_digits):
    images, target = all_digits
    epochs, bar = SHORT[name]
    estimator = getattr(skdeepclust, name)(10, max_epochs=epochs, random_state=0)
    assert clustering_report(target, estimator.fit_predict(images))["acc"] >= bar
