"""The number of clusters, and splitters for clusterings, which have no held-out part."""

from skdeepclust.model_selection._kselection import KSelection
from skdeepclust.model_selection._split import TransductiveSplit

__all__ = ["KSelection", "TransductiveSplit"]
