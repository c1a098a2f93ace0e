"""
How many clusters are there?
============================

Every method is told the number of clusters. When nobody knows it,
:class:`~skdeepclust.model_selection.KSelection` chooses one without labels: it trains once, and
asks which number suits the trained representation best.
"""

import matplotlib.pyplot as plt
from sklearn.frozen import FrozenEstimator

from skdeepclust import IDFDClustering
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import ClusterGalleryDisplay, KSelectionDisplay, SilhouetteDisplay
from skdeepclust.model_selection import KSelection

images, _ = load_digits_images(return_X_y=True)

# %%
# Train once
# ----------
#
# The network is trained with 20 clusters, twice as many as there are digits. IDFD does not use that
# number before the end of its training, so that it favours none.

network = IDFDClustering(20, backbone="mlp", max_epochs=30, random_state=0)
selection = KSelection(network, n_clusters=range(2, 16), random_state=0).fit(images)
print("clusters:", selection.best_n_clusters_)

# %%
# Look at the whole curve
# -----------------------
#
# The default criterion merges many small clusters step by step, and looks for the widest gap
# between one merge and the next. A second peak that is nearly as high is a second answer.

KSelectionDisplay.from_estimator(selection)

# %%
# Ask another criterion
# ---------------------
#
# The trained network can be kept, within scikit-learn's ``FrozenEstimator``. The silhouette likes
# small tight groups, such as one way among others to write a digit, and often finds more clusters.
# Two criteria that agree are worth more than one; :doc:`/no_idea_of_k` tells when each fails.

trained = FrozenEstimator(selection.estimator_)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for ax, criterion in zip(axes, ("silhouette", "davies_bouldin"), strict=True):
    second = KSelection(trained, range(2, 16), criterion=criterion, n_init=3, random_state=0)
    KSelectionDisplay.from_estimator(second.fit(images), ax=ax)

# %%
# See what was chosen
# -------------------
#
# The selection is a clusterer itself, of the number that it chose.

SilhouetteDisplay.from_estimator(selection, images)

# %%
# Their members tell whether the number makes sense:

ClusterGalleryDisplay.from_predictions(images, selection.labels_, n_borderline=0)
