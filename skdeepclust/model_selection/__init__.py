"""Splitters for clusterings, which have no held-out part."""

from skdeepclust.model_selection._split import TransductiveSplit

__all__ = ["TransductiveSplit"]
