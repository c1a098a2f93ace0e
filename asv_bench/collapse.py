"""Collapses that are planted, which must be told, and healthy trainings, which must be silent."""

import warnings

import numpy as np
import torch
from skorch.callbacks import Callback
from subjects import METHODS, images
from torch import nn

import skdeepclust
from skdeepclust import CollapseWarning
from skdeepclust.datasets import load_digits_images, make_image_blobs


class Constant(nn.Module):
    """(Nearly) the same features whatever the image."""

    num_features = 16

    def __init__(self, share=0.0):
        super().__init__()
        self.features = nn.Parameter(torch.ones(16))
        self.layer = nn.Linear(64, 16)
        self.share = share

    def forward(self, x):
        return self.features + self.share * self.layer(x.flatten(1)).tanh()


class Death(Callback):
    """All weights become 0 in the middle of the training, and stay so."""

    @torch.no_grad()
    def on_batch_end(self, net, **kwargs):
        if net.run.progress > 0.5:
            for parameter in net.objective.parameters():
                parameter.zero_()


def mostly_equal():
    X = np.repeat(images(1), 100, axis=0)
    X[:3] = images(4)[1:]
    return X


EQUAL = np.full((100, 8, 8), 128, np.uint8)
PLANTED = {
    "equal images": (lambda: EQUAL, {"augment": None}),
    "mostly equal images": (mostly_equal, {"augment": None}),
    "a constant network": (lambda: images(100), {"backbone": Constant()}),
    "a nearly constant network": (lambda: images(100), {"backbone": Constant(1e-4)}),
    "weights that die": (lambda: images(100), {"callbacks": [Death()]}),
}


def some_classes(classes, n=200):
    X, y = load_digits_images(return_X_y=True)
    return X[np.isin(y, classes)][:n]


def unequal():
    """A class with as many images as the other two together."""
    return np.concatenate([some_classes([0], 120), some_classes([1, 6], 120)])


HEALTHY = {
    "two blobs": (lambda: make_image_blobs(80, 2, random_state=2)[0], 2),
    "three blobs": (lambda: make_image_blobs(120, 3, random_state=3)[0], 3),
    "five blobs": (lambda: make_image_blobs(200, 5, random_state=5)[0], 5),
    "noisy blobs": (lambda: make_image_blobs(120, 3, noise=0.3, random_state=9)[0], 3),
    "digits 1": (lambda: images(300), 10),
    "digits 2": (lambda: images(600)[300:], 10),
    "digits 3": (lambda: images(900)[600:], 10),
    "two digits": (lambda: some_classes([3, 8]), 2),
    "three digits": (lambda: some_classes([1, 4, 7]), 3),
    "five digits": (lambda: some_classes([0, 2, 3, 5, 9]), 5),
    "too many clusters": (lambda: some_classes([0, 1]), 8),
    "unequal digits": (unequal, 3),
    "vectors": (lambda: images(300).reshape(300, -1) / 16, 10),
}  # fmt: skip


def told(name, X, n_clusters, seed, **params):
    """What a training warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = getattr(skdeepclust, name)(n_clusters, random_state=seed, max_epochs=40, **params)
        model.fit(X)
    return [str(w.message) for w in caught if w.category is CollapseWarning]


def some(kinds, scale):
    """A share of all kinds, each with every method."""
    pairs = [(kind, name) for kind in kinds for name in METHODS]
    return pairs[: round(len(pairs) * scale)]


def collapse(scale):
    """Five kinds of collapse and 13 data sets, each with every method."""
    planted, healthy = some(PLANTED, scale), some(HEALTHY, scale)
    reported, alarms = [], []
    for i, (kind, name) in enumerate(planted):
        data, params = PLANTED[kind]
        words = told(name, data(), 3 + i % 3, i, **params)
        reported += [f"{kind}, {name}"] if words else []
        print(kind, name, words or "SILENT")
    for i, (kind, name) in enumerate(healthy):
        data, k = HEALTHY[kind]
        words = told(name, data(), k, i)
        alarms += [f"{kind}, {name}"] if words else []
        if words:
            print(kind, name, words)
    passed = len(reported) + len(healthy) - len(alarms)
    return {
        "passed": passed, "of": len(planted) + len(healthy), "planted": len(planted),
        "reported": len(reported), "healthy": len(healthy), "false_alarms": len(alarms),
    }  # fmt: skip
