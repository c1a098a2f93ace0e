"""k-means on the features of a network as it is: the baseline to try first."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from numpy.random import RandomState
from torch import Tensor, nn

from skdeepclust.backbones import make_backbone
from skdeepclust.clusterer import COUNT, ImageClusterer
from skdeepclust.engine.frozen import Features, standardised
from skdeepclust.engine.images import Images
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.engine.objective import Learner, Objective
from skdeepclust.ops.kmeans import kmeans
from skdeepclust.persistence import blank, rebuilt_backbone

__all__ = ["BackboneKMeans"]


@dataclass(eq=False, repr=False)
class BackboneKMeans(ImageClusterer):
    """Spherical k-means on the features of a network that is not trained.

    With a network that knows images like yours, nothing is simpler and little is better: try it
    before you train one.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters K.
    backbone : str, nn.Module or callable, default="auto"
        As of the methods; ``"auto"`` is ResNet-18 for images, and no network for vectors, which
        take no other.
    stem : {"auto", "small", "small-pool", "imagenet"}, default="auto"
        First layers of a ResNet.
    weights : None, "DEFAULT" or path, default="DEFAULT"
        Those for ImageNet of torchvision or timm, which are downloaded once; or a file,
        safetensors or a state dict of ``torch.save``. Modules and callables bring their own.
    image_shape : (C, H, W), default=None
        As of the methods.
    n_init : int, default=10
        Runs of k-means, of which the best is kept.
    device : str or torch.device, default="auto"
        ``"auto"`` takes CUDA, then MPS, then the CPU.
    on_error : {"raise", "skip"}, default="raise"
        Of image files that cannot be read, as of the methods.
    random_state : int, RandomState or None, default=None
        Seed. The global generators are left as they were.
    verbose : {0, 1, 2}, default=0
        1 shows bars while files are read and while the network sees them.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Cluster of each training sample; equal to ``predict`` of them.
    cluster_centers_ : ndarray of shape (n_clusters, num_features), float32
        Centres among the features.
    net_ : skorch.NeuralNet
        Holds the network and the centres.
    n_features_in_, image_shape_in_, image_paths_, skipped_
        As of the methods.

    Notes
    -----
    Weights learned with labels of ImageNet make this transfer, not unsupervised learning: say so
    beside its scores, all the more on data cut from ImageNet.

    Examples
    --------
    >>> from skdeepclust import BackboneKMeans
    >>> from skdeepclust.datasets import load_digits_images
    >>> images, target = load_digits_images(return_X_y=True)
    >>> model = BackboneKMeans(10, backbone="identity", weights=None, random_state=0).fit(images)
    >>> model.transform(images[:2]).shape
    (2, 64)
    """

    n_clusters: int = 8
    _: KW_ONLY
    backbone: Any = "auto"
    stem: str = "auto"
    weights: Any = "DEFAULT"
    image_shape: tuple[int, int, int] | None = None
    n_init: int = 10
    device: Any = "auto"
    on_error: str = "raise"
    random_state: int | RandomState | None = None
    verbose: int = 0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImageClusterer._parameter_constraints,
        "n_init": [COUNT],
    }

    def _prepare(self, images: Images) -> Images:
        """Features of the network, seen once."""
        if len(images.shape) == 1:
            self._expect_no_network()
            return images
        self._warn_of_random_weights()
        backbone = self._backbone(images.shape, len(images), images.device)
        return Features(images, backbone, augmented=False, show=self._shows_bars)

    def _backbone(self, shape: tuple[int, ...], n_samples: int, device: torch.device) -> nn.Module:
        name = self._backbone_name(shape, n_samples, device)
        theirs = not isinstance(name, str) and self.weights == "DEFAULT"
        return make_backbone(name, shape, self.stem, None if theirs else self.weights)

    def _expect_no_network(self) -> None:
        given = self.weights not in (None, "DEFAULT")
        name, value = ("weights", self.weights) if given else ("backbone", self.backbone)
        if given or not isinstance(value, str) or value not in ("auto", "identity"):
            raise ValueError(
                f"{name}={value!r} needs images, but X holds vectors: pass "
                f"image_shape=(channels, height, width), or leave {name} out"
            )

    def _foresee(self, shape: tuple[int, ...], n_samples: int, device: torch.device) -> None:
        self._backbone(shape, n_samples, device)

    @property
    def _wants_pretrained(self) -> bool:
        return True

    def _train(self, images: Images) -> ObjectiveNet:
        dim = images.shape[0]
        if isinstance(images, Features):
            views: Any = blank(images.source.shape, images.backbone)
            views.images = standardised(images.source, [])
        else:
            views = standardised(images, [])
        objective = self._centroids(dim)
        learner = Learner(views, objective, None).to(images.dtype)
        net = ObjectiveNet(learner, device=str(images.device)).initialize()
        seed = int(torch.randint(2**62, ()))
        generator = torch.Generator(images.device).manual_seed(seed)
        z, how = net.embed(images), {"n_init": int(self.n_init), "generator": generator}
        objective.centers.copy_(kmeans(z, int(self.n_clusters), metric="cosine", **how)[0])  # type: ignore[arg-type]
        return net

    def _centroids(self, dim: int) -> "Centroids":
        return Centroids(SimpleNamespace(n_clusters=int(self.n_clusters), embedding_dim=dim))

    def _rebuild(self, structure: Mapping[str, Any]) -> Learner:
        shape = structure["shape"]
        if len(shape) == 1:
            return Learner(blank(shape), self._centroids(shape[0]), None)
        backbone = rebuilt_backbone(self.backbone, structure)
        dim = int(backbone.num_features)  # type: ignore[arg-type]
        return Learner(blank(shape, backbone), self._centroids(dim), None)


class Centroids(Objective):
    """Centres among vectors as they are."""

    def embed(self, x: Tensor) -> Tensor:
        """The vectors (B, embedding_dim)."""
        return x
