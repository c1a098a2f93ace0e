"""
Compare the methods
===================

The four methods and k-means on the same handwritten digits. All of them are told that there are
ten clusters, and none of them sees a class: the classes only score the result.
"""

import matplotlib.pyplot as plt
from sklearn.cluster import KMeans

from skdeepclust import CDCClustering, IDFDClustering, ProPosClustering, SeCuClustering
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import EmbeddingDisplay
from skdeepclust.metrics import clustering_report

images, target = load_digits_images(return_X_y=True)
images, target = images[:1200], target[:1200]

# %%
# Every method is an estimator
# ----------------------------
#
# A perceptron (``backbone="mlp"``) and 30 epochs make this a matter of seconds. Leave both out for
# the defaults, a small convolutional network and a longer training, which find far more.

short = {"n_clusters": 10, "backbone": "mlp", "max_epochs": 30, "random_state": 0}
methods = {
    "IDFD": IDFDClustering(**short),
    "ProPos": ProPosClustering(**short),
    "SeCu": SeCuClustering(**short),
    "CDC": CDCClustering(**short),
}

pixels = images.reshape(len(images), -1)
labels = {"k-means on pixels": KMeans(10, n_init=10, random_state=0).fit_predict(pixels)}
for name, method in methods.items():
    labels[name] = method.fit_predict(images)

# %%
# How well do the clusters agree with the digits?
# -----------------------------------------------
#
# The accuracy (ACC) gives each cluster the class that it fits best, no class twice. NMI and ARI
# need no such match. One run of a short training says little about which method is best;
# :doc:`/results` has several seeds of full ones.

print(f"{'method':<18}  ACC    NMI    ARI")
for name, found in labels.items():
    report = clustering_report(target, found)
    print(f"{name:<18} {report['acc']:.3f}  {report['nmi']:.3f}  {report['ari']:.3f}")

# %%
# What does each of them see?
# ---------------------------
#
# A map of the embedding: every point is an image, near points are images that the network finds
# similar. Colours are clusters, which bear the digit that they fit best.

figure, axes = plt.subplots(2, 2, figsize=(9, 9), layout="constrained")
for ax, (name, method) in zip(axes.flat, methods.items(), strict=True):
    ax.set_title(name, loc="left", weight="bold")
    EmbeddingDisplay.from_estimator(method, images, y=target, max_samples=500, ax=ax)
