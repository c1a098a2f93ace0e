from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.model_selection import check_cv, cross_val_predict

from skdeepclust.model_selection import TransductiveSplit


class Sized:
    """A collection that says how many samples it has and gives none away."""

    def __len__(self):
        return 4


@pytest.mark.parametrize(
    "X",
    [
        ["a", "b", "c", "d"],
        np.zeros((4, 3, 8, 8)),
        torch.zeros(4, 2),
        np.zeros((4, 2)).view(np.matrix),
        Sized(),
    ],
    ids=["list", "4-D", "tensor", "matrix", "sized"],
)
def test_both_parts_are_all_samples(X):
    [(train, test)] = TransductiveSplit().split(X, y=None, groups=None)
    np.testing.assert_array_equal(train, np.arange(4))
    np.testing.assert_array_equal(test, np.arange(4))


def test_parts_do_not_share_memory():
    [(train, test)] = TransductiveSplit().split(np.zeros((4, 1)))
    assert not np.shares_memory(train, test)


@pytest.mark.parametrize("path", ["photos", Path("photos")])
def test_a_path_is_no_collection_of_letters(path):
    with pytest.raises(TypeError, match=r"X='photos' is a path.*ImageFiles\('photos'\)"):
        next(TransductiveSplit().split(path))


def test_it_is_a_scikit_learn_splitter():
    splitter = TransductiveSplit()
    assert check_cv(splitter) is splitter
    assert splitter.get_n_splits() == splitter.get_n_splits([1, 2], [0, 1], None) == 1
    assert repr(clone(splitter, safe=False)) == "TransductiveSplit()"


def test_every_sample_is_predicted_by_the_fit_on_all():
    X = np.array([[0.0], [0.1], [5.0], [5.1]])
    labels = cross_val_predict(KMeans(2, random_state=0), X, cv=TransductiveSplit())
    np.testing.assert_array_equal(labels, KMeans(2, random_state=0).fit_predict(X))
