"""
Cluster images in ten lines
===========================

ProPos clusters scikit-learn's handwritten digits without their classes, which then serve to score
the result. Give a file name to keep the picture: ``python examples/quickstart.py digits.png``.

This is a full training, of some minutes on one core, and the one page here that the documentation's
build does not run. ``skdeepclust demo`` tries every method, in a third of the epochs, and draws
this:

.. image:: /_static/demo.png
   :alt: Members of the ten clusters of handwritten digits, and maps of the embeddings
"""

# sphinx_gallery_thumbnail_path = '_static/demo.png'

import sys

from skdeepclust import ProPosClustering
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import ClusterGalleryDisplay
from skdeepclust.metrics import clustering_report

images, target = load_digits_images(return_X_y=True)  # 1,797 real images of 8 x 8 pixels
model = ProPosClustering(n_clusters=10, random_state=0).fit(images)

print(clustering_report(target, model.labels_))  # accuracy, NMI and ARI against the classes
gallery = ClusterGalleryDisplay.from_estimator(model, images)

if sys.argv[1:]:
    gallery.figure_.savefig(sys.argv[1])
