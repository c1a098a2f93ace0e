"""Real data: the 1,797 handwritten digits, against bars below what was measured."""

import time

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


def test_every_method_has_a_bar():
    assert BARS.keys() == skdeepclust.METHODS.keys()


@pytest.mark.parametrize("name", BARS)
def test_digits_in_few_epochs(name, few_epochs, all_digits):
    epochs, bar, _ = BARS[name]
    labels = few_epochs(name, epochs).labels_
    assert clustering_report(all_digits[1], labels)["acc"] >= bar


@pytest.mark.slow
@pytest.mark.usefixtures("wide")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BARS)
def test_digits_with_default_parameters(name, all_digits):
    images, target = all_digits
    started = time.perf_counter()
    labels = getattr(skdeepclust, name)(10, random_state=0).fit_predict(images)
    assert clustering_report(target, labels)["acc"] >= BARS[name][2]
    assert time.perf_counter() - started <= SECONDS
