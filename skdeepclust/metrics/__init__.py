"""Scores of a clustering, against known classes and without them."""

from skdeepclust.metrics._representation import representation_report
from skdeepclust.metrics._scorers import (
    davies_bouldin_scorer,
    hungarian_accuracy_scorer,
    silhouette_scorer,
    simplified_silhouette_scorer,
    stability_scorer,
)
from skdeepclust.metrics._scores import clustering_accuracy, clustering_report, match_labels

__all__ = [
    "clustering_accuracy",
    "clustering_report",
    "davies_bouldin_scorer",
    "hungarian_accuracy_scorer",
    "match_labels",
    "representation_report",
    "silhouette_scorer",
    "simplified_silhouette_scorer",
    "stability_scorer",
]
