"""Names of classes are data, whatever characters they have."""

import io

import numpy as np
import pandas as pd
import pytest

from skdeepclust.datasets import make_image_blobs
from skdeepclust.inspection import (
    ClusterConfusionDisplay,
    ClusterGalleryDisplay,
    EmbeddingDisplay,
    SilhouetteDisplay,
)

X, TARGET = make_image_blobs(30, 2, random_state=0)
Z = np.random.default_rng(0).normal(size=(30, 3)) + TARGET[:, None]
Y = np.array(["$5_$10", r"\frac{$a$"])[TARGET]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: ClusterConfusionDisplay.from_predictions(Y, TARGET),
        lambda: ClusterGalleryDisplay.from_predictions(X, TARGET, y=Y),
        lambda: EmbeddingDisplay.from_predictions(Z, TARGET, y=Y, method="pca"),
        lambda: SilhouetteDisplay.from_predictions(Z, TARGET, y=Y),
    ],
)
def test_dollars_are_drawn_as_they_are(draw):
    draw().figure_.savefig(io.BytesIO())


def test_nullable_integers_are_integers():
    y = pd.array(TARGET + 2**60, dtype="Int64")
    shown = ClusterConfusionDisplay.from_predictions(y, TARGET)
    assert shown.classes == [str(2**60), str(2**60 + 1)]


@pytest.mark.parametrize("odd", [None, 3])
def test_classes_that_have_no_order_are_sorted_as_texts(odd):
    shown = ClusterConfusionDisplay.from_predictions([["b", odd][k] for k in TARGET], TARGET)
    assert sorted(shown.classes) == sorted(["b", str(odd)])
    assert np.trace(shown.counts) == len(TARGET)
