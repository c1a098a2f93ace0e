"""What the benchmarks share: one thread, processor time, and data that need no download."""

import time

import torch
from numpy.random import RandomState

import skdeepclust
from skdeepclust.datasets import load_digits_images, make_image_blobs

SEED = 0
# Processor time: machines that run benchmarks seldom do nothing else.
timer = time.process_time

torch.set_num_threads(1)


def digits():
    return load_digits_images(return_X_y=True)


def blobs(n_samples=1024):
    X, _ = make_image_blobs(n_samples, n_classes=10, random_state=SEED)
    return X


def random_images(n_samples, side, channels=3):
    shape = (n_samples, channels, side, side)
    return RandomState(SEED).randint(0, 256, shape).astype("uint8")


def random_rows(n_samples, dim):
    return torch.randn(n_samples, dim, generator=torch.Generator().manual_seed(SEED))


def estimator(name, **params):
    method = getattr(skdeepclust, name)
    return method(10, device="cpu", random_state=SEED, **params)
