"""
Your own method in thirty lines
===============================

A method is an *objective*, a PyTorch module whose ``forward`` returns named losses, and an
*estimator*, a table of defaults. This page adds one that the package does not have: Barlow
Twins (Zbontar et al., ICML 2021) with k-means on its features.
"""

from typing import ClassVar

from skdeepclust.base import POSITIVE, DeepClusterer
from skdeepclust.datasets import load_digits_images
from skdeepclust.engine.health import Vitals, feature_std
from skdeepclust.engine.objective import Objective
from skdeepclust.inspection import ClusterGalleryDisplay, TrainingCurvesDisplay
from skdeepclust.metrics import clustering_report
from skdeepclust.nn.heads import Encoder
from skdeepclust.ops.collective import gather
from skdeepclust.ops.kmeans import kmeans

# %%
# The objective
# -------------
#
# Two views of each image come in. The correlation of their features, over the batch, should be the
# identity: 1 for a feature with itself, so that views agree, and 0 for two features, so that each
# says something of its own.


class BarlowTwins(Objective):
    def __init__(self, backbone, hp):
        super().__init__(hp)
        self.encoder = Encoder(backbone, hp.hidden_dim, hp.embedding_dim)

    def forward(self, views, index):
        a, b = (gather(self.encoder(view)) for view in views)  # of all processes
        a, b = ((z - z.mean(0)) / (z.std(0) + 1e-6) for z in (a, b))
        correlation = a.T @ b / len(a)
        same = correlation.diagonal()
        others = correlation.square().sum() - same.square().sum()
        return {
            "agreement": (1 - same).square().sum(),
            "redundancy": self.hp.redundancy_weight * others,
        }

    def embed(self, x):
        return self.encoder(x)

    def clustered(self, run):
        """Centres and labels by k-means of the present features."""
        z = run.features()
        return kmeans(z, self.hp.n_clusters, metric="cosine", n_init=3, generator=run.generator)

    def health(self, run):
        # A pass over the images after each epoch; the methods of the package do without.
        return Vitals(self.clustered(run)[1], feature_std(run.features()))

    def on_train_end(self, run):
        self.centers.copy_(self.clustered(run)[0])


# %%
# The estimator
# -------------
#
# Its annotated fields are the constructor. All else is inherited: input of any kind, augmentation,
# ``predict`` and ``transform``, checkpoints, saved models, searches, several processes.


class BarlowTwinsClustering(DeepClusterer):
    max_epochs: int = 30  # a default of the base, changed
    redundancy_weight: float = 0.02  # a parameter of its own

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **DeepClusterer._parameter_constraints,
        "redundancy_weight": [POSITIVE],
    }

    def _objective(self, backbone, hp):
        return BarlowTwins(backbone, hp)


# %%
# It works
# --------

images, target = load_digits_images(return_X_y=True)
images, target = images[:1000], target[:1000]
model = BarlowTwinsClustering(10, backbone="mlp", random_state=0).fit(images)
print({name: round(score, 3) for name, score in clustering_report(target, model.labels_).items()})
ClusterGalleryDisplay.from_estimator(model, images, y=target)

# %%
# The history has its terms by name, and the figures of health.

TrainingCurvesDisplay.from_estimator(model)

# %%
# :doc:`/contributing` tells what a method needs that is to be part of the package, and shows
# another one, which makes new labels in every epoch.
