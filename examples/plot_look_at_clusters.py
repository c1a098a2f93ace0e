"""
Look at the clusters
====================

Scores say how good a clustering is, pictures say what is wrong with it. Nothing on this page but
its last figure needs to know the classes.
"""

from skdeepclust import IDFDClustering
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import (
    ClusterConfusionDisplay,
    ClusterGalleryDisplay,
    EmbeddingDisplay,
    SilhouetteDisplay,
)

images, target = load_digits_images(return_X_y=True)
model = IDFDClustering(10, backbone="mlp", max_epochs=30, random_state=0).fit(images)

# %%
# Typical and borderline members
# ------------------------------
#
# Each row is a cluster. At the left are the members of which the model is surest; at the right
# those that nearly went to another cluster. A good cluster has one theme at the left, and mistakes
# are to be looked for at the right.

ClusterGalleryDisplay.from_estimator(model, images, n_members=9, n_borderline=5)

# %%
# Silhouettes
# -----------
#
# The bar of an image is long when it is much nearer to its own cluster than to the next, and
# goes to the left of 0 when it is nearer to another one. A cluster whose bars are short, or whose
# area ends in a long tail, is two things at once or a part of something larger.

SilhouetteDisplay.from_estimator(model, images)

# %%
# The map
# -------
#
# ``thumbnails=`` puts images where there is room for them. Their frames have the colour of
# their cluster: at the seams one sees what the network confuses.

EmbeddingDisplay.from_estimator(model, images, thumbnails=60)

# %%
# With classes at hand
# --------------------
#
# If there are classes, even for a part of the images, the table of classes against clusters shows
# which are mixed up. Clusters are put into the order of the classes that they fit best.

ClusterConfusionDisplay.from_estimator(model, images, target)
# sphinx_gallery_thumbnail_number = 3
