"""What faults are tried on: short trainings on the digits of scikit-learn."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402
import torch  # noqa: E402

import skdeepclust  # noqa: E402
from skdeepclust.datasets import load_digits_images  # noqa: E402

METHODS = list(skdeepclust.METHODS)
SHORT = {"max_epochs": 4, "warmup_epochs": 1, "random_state": 0}
OWN = {"ProPosClustering": {"scattering_warmup": 1}, "SeCuClustering": {"self_label_epochs": 2}}
TINY = {"max_epochs": 1, "backbone": "mlp", "embedding_dim": 4}


def images(n=300):
    return load_digits_images(return_X_y=True)[0][:n]


def make(name, **params):
    return getattr(skdeepclust, name)(10, **SHORT | OWN.get(name, {}) | params)


def same(first, second):
    """Whether labels, centres and weights are equal bit for bit."""
    states = first.net_.module_.state_dict(), second.net_.module_.state_dict()
    return (
        np.array_equal(first.labels_, second.labels_)
        and np.array_equal(first.cluster_centers_, second.cluster_centers_)
        and all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    )
