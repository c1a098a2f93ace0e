"""Pictures of a clustering: its members, and the map of its embedding."""

from skdeepclust.inspection._embedding import EmbeddingDisplay
from skdeepclust.inspection._gallery import ClusterGalleryDisplay

__all__ = ["ClusterGalleryDisplay", "EmbeddingDisplay"]
