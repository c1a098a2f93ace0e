"""Scores of a clustering, against known classes and without them."""

from skdeepclust.metrics._scorers import hungarian_accuracy_scorer, silhouette_scorer
from skdeepclust.metrics._scores import clustering_accuracy, clustering_report, match_labels

__all__ = [
    "clustering_accuracy",
    "clustering_report",
    "hungarian_accuracy_scorer",
    "match_labels",
    "silhouette_scorer",
]
