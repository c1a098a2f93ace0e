"""
Is the training healthy?
========================

Deep clustering can fail without an error: all images end up in one place, or in one cluster. The
loss does not tell, since a network that maps everything to one point has an easy life. This page
shows a good training, a spoilt one, and the figures that tell them apart.
"""

import textwrap
import warnings

import matplotlib.pyplot as plt

from skdeepclust import CollapseWarning, SeCuClustering
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import ClusterGalleryDisplay, TrainingCurvesDisplay

images, _ = load_digits_images(return_X_y=True)
images = images[:800]

# %%
# A good one
# ----------
#
# ``history_`` has a row for each epoch, and the display a panel for each of its figures: in blue
# the loss and its terms, in purple the health of the clustering.
#
# - ``label_change``, the share of images that changed cluster since the epoch before, falls.
# - ``size_entropy`` is 1 when all clusters are of equal size, and near 0 when one has everything.
# - ``feature_std`` tells how far the images are apart. It stays above the red zone.

healthy = SeCuClustering(10, backbone="mlp", max_epochs=20, random_state=0).fit(images)
TrainingCurvesDisplay.from_estimator(healthy)

# %%
# A spoilt one
# ------------
#
# The same with thirty times the learning rate. Training goes on to the end, and warns:

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", CollapseWarning)
    spoilt = SeCuClustering(10, backbone="mlp", max_epochs=20, lr=0.03, random_state=0)
    spoilt.fit(images)

for warning in caught:
    print(textwrap.fill(f"{warning.category.__name__}: {warning.message}", 79))

# %%
# The loss and the sizes of the clusters look harmless. But ``feature_std`` lies in the red zone:
# all images have nearly the same features. ``label_change`` stays high, because what decides among
# equal features is chance, and ``mixing`` falls: each batch as a whole goes to one cluster, a trick
# that keeps the sizes even.

TrainingCurvesDisplay.from_estimator(spoilt)

# %%
# The two side by side
# --------------------
#
# ``quantities=`` chooses panels, and ``ax=`` draws them into a figure of yours.

figure, axes = plt.subplots(1, 2, figsize=(7, 2.2), sharey=True, layout="constrained")
for ax, model, name in zip(axes, (healthy, spoilt), ("healthy", "spoilt"), strict=True):
    TrainingCurvesDisplay.from_estimator(model, quantities=["feature_std"], ax=ax)
    ax.set_title(name, loc="center", size=9)

# %%
# And the last proof: the members of a spoilt cluster have nothing in common.

ClusterGalleryDisplay.from_estimator(spoilt, images, n_members=8, clusters=[0, 1, 2, 3])

# sphinx_gallery_thumbnail_number = 1
