"""What the benchmarks share: profiles, data that need no download, and abstract benchmarks.

config.json names the profile, and SKDEEPCLUST_BENCH_PROFILE another one: "fast" takes some
minutes on two cores, "full" has the sizes that matter. Everything has one thread.
"""

import json
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from numpy.random import RandomState

import skdeepclust
from skdeepclust.datasets import load_digits_images, make_image_blobs

SEED = 0
METHODS = tuple(skdeepclust.METHODS)
CLASSES = {name: getattr(skdeepclust, name) for name in METHODS}  # imported before processes fork
CONFIG = json.loads(Path(__file__).with_name("config.json").read_text())
PROFILE = CONFIG["profiles"][os.environ.get("SKDEEPCLUST_BENCH_PROFILE", CONFIG["profile"])]
# Processor time: machines that run benchmarks seldom do nothing else.
timer = time.process_time

torch.set_num_threads(1)


def digits():
    return load_digits_images(return_X_y=True)


def blobs(n_samples=PROFILE["images"]):
    X, _ = make_image_blobs(n_samples, n_classes=10, random_state=SEED)
    return X


def random_images(n_samples, side=PROFILE["side"], channels=3):
    shape = (n_samples, channels, side, side)
    return RandomState(SEED).randint(0, 256, shape).astype("uint8")


def random_rows(n_samples, dim):
    return torch.randn(n_samples, dim, generator=torch.Generator().manual_seed(SEED))


def estimator(name, **params):
    return CLASSES[name](10, device="cpu", random_state=SEED, **params)


class Estimator(ABC):
    """Setting up, one epoch and the final clustering of each method."""

    params = METHODS
    param_names = ("method",)
    timer = timer
    timeout = 600

    @abstractmethod
    def data(self):
        """Images to fit."""

    def setup(self, method):
        self.X = self.data()
        self.model = estimator(method, max_epochs=1)

    def time_fit_epoch(self, method):
        self.model.fit(self.X)

    def peakmem_fit_epoch(self, method):
        self.model.fit(self.X)


class Fitted(ABC):
    """What a fitted estimator of each method does with so many images."""

    params = (METHODS, tuple(PROFILE["predicted"]))
    param_names = ("method", "n_images")
    timer = timer
    timeout = 600

    def setup_cache(self):
        X = random_images(256)
        return {name: estimator(name, max_epochs=1).fit(X) for name in METHODS}

    @abstractmethod
    def images(self, n_images):
        """Images to look at."""

    def setup(self, models, method, n_images):
        self.X = self.images(n_images)


class Predictor(Fitted):
    def time_predict(self, models, method, n_images):
        models[method].predict(self.X)

    def peakmem_predict(self, models, method, n_images):
        models[method].predict(self.X)


class Transformer(Fitted):
    def time_transform(self, models, method, n_images):
        models[method].transform(self.X)

    def peakmem_transform(self, models, method, n_images):
        models[method].transform(self.X)
