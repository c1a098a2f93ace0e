"""Pictures of a clustering, of its training and of the choice of its number of clusters."""

from skdeepclust.inspection._confusion import ClusterConfusionDisplay
from skdeepclust.inspection._curves import TrainingCurvesDisplay
from skdeepclust.inspection._embedding import EmbeddingDisplay
from skdeepclust.inspection._gallery import ClusterGalleryDisplay
from skdeepclust.inspection._kselection import KSelectionDisplay
from skdeepclust.inspection._report import ClusterReport
from skdeepclust.inspection._silhouette import SilhouetteDisplay

__all__ = [
    "ClusterConfusionDisplay",
    "ClusterGalleryDisplay",
    "ClusterReport",
    "EmbeddingDisplay",
    "KSelectionDisplay",
    "SilhouetteDisplay",
    "TrainingCurvesDisplay",
]
