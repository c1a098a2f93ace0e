"""Pictures of a clustering: its members, the map of its embedding, and a page of both."""

from skdeepclust.inspection._embedding import EmbeddingDisplay
from skdeepclust.inspection._gallery import ClusterGalleryDisplay
from skdeepclust.inspection._report import ClusterReport

__all__ = ["ClusterGalleryDisplay", "ClusterReport", "EmbeddingDisplay"]
