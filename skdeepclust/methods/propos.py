"""ProPos: prototype scattering and positive sampling (Huang et al., TPAMI 2022)."""

import math
from numbers import Integral
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skdeepclust._sklearn import Interval, StrOptions
from skdeepclust.base import COUNT, NON_NEGATIVE, POSITIVE, UNIT, DeepClusterer
from skdeepclust.engine.health import Vitals, feature_std
from skdeepclust.engine.objective import Objective, Run
from skdeepclust.nn.ema import EMA
from skdeepclust.nn.heads import Encoder, mlp
from skdeepclust.ops.collective import draw, gather
from skdeepclust.ops.kmeans import kmeans
from skdeepclust.ops.precision import full_precision

__all__ = ["ProPosClustering", "ProPosObjective", "alignment", "prototype_scattering"]


class ProPosClustering(DeepClusterer):
    """BYOL with prototype scattering and positive sampling (ProPos).

    An online network predicts what a slowly following target network makes of another view of
    the same image; a little noise on the embedding stands for its neighbours. Once the
    warm-up is over, k-means labels of each epoch form prototypes, which are pushed apart.
    Spherical k-means on the target network's embedding gives the clusters.

    Parameters
    ----------
    {shared}
    temperature : float, default=0.5
        Temperature of the prototype scattering.
    scattering_weight : float, default=0.1
        Weight of the prototype scattering. In its configurations for ResNet-18 on CIFAR-10
        and for ImageNet-1k, the official code divides it by the number of devices, of which
        there were 4 and 8: 0.025 is worth a try.
        With ``scattering_weight=0, noise_std=0`` the method is BYOL and k-means.
    noise_std : float, default=0.001
        Standard deviation of the noise on the unnormalised embedding.
    scattering_warmup : int or None, default=None
        Epochs without scattering and noise, in which the representation forms. Too short, and
        mistakes of the first clusters last; as long as `max_epochs`, and the method is BYOL.
        None takes half of `max_epochs`.
    ema_momentum : float, default=0.996
        Share of the target's old weights at each step.
    ema_schedule : {"constant", "cosine"}, default="constant"
        Whether the momentum rises to 1 during training.
    recluster_every : int, default=1
        Epochs between two k-means labellings.
    predictor_lr_scale : float, default=10
        Factor on the learning rate of the predictor.
    resample : bool, default=False
        Draw training samples with replacement so that all pseudo-clusters weigh the same.

    Attributes
    ----------
    {attributes}

    See Also
    --------
    IDFDClustering : Clusters once, after training.

    Notes
    -----
    ``predict_proba`` is the softmax of the cosines to the centres, at temperature 0.1.

    Sizes of clusters: every prototype that a batch holds counts alike, but small clusters are
    often missing from a batch; ``resample=True`` draws all clusters equally often.

    Deviations from the official code: prototypes and their empty clusters are those of the
    whole batch, labels stay with their images, and the scattering keeps its full weight
    whatever the number of devices; both views pass the network as one batch, which moves the
    running statistics of batch norm once a step where two forward passes do twice; of the three
    k-means runs of an epoch one starts from the last centres; resampling weighs by the true
    cluster sizes. The defaults are for small images and short runs.

    References
    ----------
    Z. Huang, J. Chen, J. Zhang and H. Shan, "Learning Representation for Clustering via
    Prototype Scattering and Positive Sampling", IEEE TPAMI, 2022.

    Examples
    --------
    >>> from skdeepclust import ProPosClustering
    >>> from skdeepclust.datasets import make_image_blobs
    >>> X, y = make_image_blobs(60, n_classes=3, random_state=0)
    >>> ProPosClustering(3, max_epochs=5, random_state=0).fit(X).labels_.shape
    (60,)
    """

    warmup_epochs: float = 5

    temperature: float = 0.5
    scattering_weight: float = 0.1
    noise_std: float = 0.001
    scattering_warmup: int | None = None
    ema_momentum: float = 0.996
    ema_schedule: str = "constant"
    recluster_every: int = 1
    predictor_lr_scale: float = 10
    resample: bool = False

    # The target follows by steps: small data sets need many in each epoch.
    _least_steps: ClassVar[int] = 78

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepClusterer._parameter_constraints,
        "hidden_dim": [COUNT],
        "temperature": [POSITIVE],
        "scattering_weight": [NON_NEGATIVE],
        "noise_std": [NON_NEGATIVE],
        "scattering_warmup": [Interval(Integral, 0, None, closed="left"), None],
        "ema_momentum": [UNIT],
        "ema_schedule": [StrOptions({"constant", "cosine"})],
        "recluster_every": [COUNT],
        "predictor_lr_scale": [POSITIVE],
        "resample": ["boolean"],
    }

    def _objective(self, backbone: nn.Module, hp: SimpleNamespace) -> "ProPosObjective":
        return ProPosObjective(backbone, hp)


class ProPosObjective(Objective):
    r"""ProPos' online and target networks, pseudo-labels and loss.

    .. math:: L = L_{PSA} + \lambda\, [e > e_0]\, L_{PSL}

    each the mean over both directions between the views; see `alignment` and
    `prototype_scattering`.

    Parameters
    ----------
    backbone : nn.Module
        (B, *shape) -> (B, num_features).
    hp : SimpleNamespace
        Scalar parameters of `ProPosClustering` and ``n_samples``.
    """

    drop_last: ClassVar[bool] = True
    labels: Tensor
    spread: Tensor

    def __init__(self, backbone: nn.Module, hp: SimpleNamespace):
        super().__init__(hp)
        self.online = Encoder(backbone, hp.hidden_dim, hp.embedding_dim)
        self.predictor = mlp(hp.embedding_dim, hp.hidden_dim, hp.embedding_dim, std=0.01)
        self.target = EMA(self.online)
        self.register_buffer("labels", None, persistent=False)
        self.register_buffer("spread", None, persistent=False)
        self.warm = False

    def forward(self, views: list[Tensor], index: Tensor) -> dict[str, Tensor]:
        """Terms ``alignment`` and, after the warm-up, ``scattering`` of two views."""
        hp = self.hp
        first, second = views
        z = self.online(torch.cat([first, second]))
        with torch.no_grad():
            target = self.target(torch.cat([second, first]))
        noisy = z
        if self.warm and hp.noise_std:
            noisy = z + hp.noise_std * draw(torch.randn_like, z)
        z, target, prediction = map(gather, (z, target, self.predictor(noisy)))
        terms = {"alignment": alignment(prediction, target)}
        if self.warm and hp.scattering_weight:
            labels, k = self.labels[index], hp.n_clusters
            directions = zip(z.chunk(2), target.chunk(2), strict=True)
            both = [prototype_scattering(o, t, labels, k, hp.temperature) for o, t in directions]
            terms["scattering"] = hp.scattering_weight * (both[0] + both[1]) / 2
        return terms

    def on_epoch_begin(self, run: Run) -> None:
        """Label all samples by spherical k-means on the target network's embedding."""
        warmup = self.hp.scattering_warmup
        self.warm = run.epoch >= (run.n_epochs // 2 if warmup is None else warmup)
        if run.epoch % self.hp.recluster_every == 0:
            self._cluster(run, n_init=3)

    def on_step_end(self, run: Run) -> None:
        """Let the target follow the online network."""
        self.target.update(self.online, self._momentum(run.progress))

    def _momentum(self, progress: float) -> float:
        m = self.hp.ema_momentum
        if self.hp.ema_schedule == "constant":
            return m
        return 1 - (1 - m) * (1 + math.cos(math.pi * progress)) / 2

    def embed(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embedding_dim), by the target network."""
        return self.target(x)

    def param_groups(self) -> list[dict[str, Any]]:
        """The online network, and the predictor with its own rate."""
        return [
            {"params": list(self.online.parameters())},
            {"params": list(self.predictor.parameters()), "lr_scale": self.hp.predictor_lr_scale},
        ]

    def sampling_weights(self) -> Tensor | None:
        """Equal mass for every pseudo-cluster that holds samples."""
        if not self.hp.resample:
            return None
        return 1 / torch.bincount(self.labels)[self.labels]

    def health(self, run: Run) -> Vitals:
        """The epoch's pseudo-labels and the spread of the features that gave them."""
        return Vitals(self.labels, self.spread)

    def on_train_end(self, run: Run) -> None:
        """Spherical k-means of the final embedding."""
        self._cluster(run, n_init=10)

    def _cluster(self, run: Run, n_init: int) -> None:
        features = run.features()
        # One run goes on from the last centres, the others start afresh: the best one wins.
        centers, labels, _ = kmeans(
            features,
            self.hp.n_clusters,
            metric="cosine",
            init=None if self.labels is None else self.centers,
            n_init=n_init,
            generator=run.generator,
        )
        self.centers.copy_(centers)
        if self.labels is None:
            self.labels = labels.clone()
        else:  # in place: compiled steps read there
            self.labels.copy_(labels)
        self.spread = feature_std(features)


@full_precision
def alignment(prediction: Tensor, target: Tensor) -> Tensor:
    r"""Squared distance of unit vectors, as BYOL has it.

    .. math:: L_{PSA} = 2 - \frac2b \sum_i \cos(g(z_i + \sigma\epsilon_i), z'_i)

    Parameters
    ----------
    prediction : Tensor of shape (B, d)
        Predictions of the online network, not normalised.
    target : Tensor of shape (B, d)
        Embeddings of the other view by the target network, not normalised; takes no
        gradient.

    Returns
    -------
    Tensor, scalar
        In [0, 4].

    References
    ----------
    Huang et al. (2022), the positive sampling alignment.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.propos import alignment
    >>> prediction = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> target = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> alignment(prediction, target)  # of 0 and 2
    tensor(1.)
    """
    return 2 - 2 * F.cosine_similarity(prediction, target.detach(), dim=1, eps=1e-12).mean()


@full_precision
def prototype_scattering(
    online: Tensor,
    target: Tensor,
    labels: Tensor,
    n_clusters: int,
    temperature: float = 0.5,
) -> Tensor:
    r"""Cross-entropy of each online prototype against its target prototype.

    .. math::
        L_{PSL} = -\frac1{|S|} \sum_{k \in S} \log
            \frac{e^{\mu_k^T \mu'_k / \tau}}
                 {e^{\mu_k^T \mu'_k / \tau} + \sum_{j \ne k} e^{\mu_k^T \mu_j / \tau}}

    where mu_k and mu'_k are the normalised means of the normalised embeddings with label k,
    and S is the set of labels in the batch. The positive is online against target, the
    negatives are online against online.

    Parameters
    ----------
    online : Tensor of shape (B, d)
        Embeddings of the online network, not normalised.
    target : Tensor of shape (B, d)
        Embeddings of the other view by the target network, not normalised; takes no
        gradient.
    labels : Tensor of shape (B,), int64
        Pseudo-label of each sample.
    n_clusters : int
        Number of clusters K.
    temperature : float, default=0.5
        Temperature tau.

    Returns
    -------
    Tensor, scalar

    Notes
    -----
    The logit of a cluster without samples is -10 rather than minus infinity, as in the
    official code.

    References
    ----------
    Huang et al. (2022), the prototype scattering loss.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.propos import prototype_scattering
    >>> z, labels = torch.eye(2), torch.arange(2)
    >>> apart = prototype_scattering(z, z, labels, n_clusters=2)
    >>> near = prototype_scattering(z + 1, z + 1, labels, n_clusters=2)
    >>> bool(apart < near)
    True
    """
    mu, present = _prototypes(online, labels, n_clusters)
    mu_target, _ = _prototypes(target.detach(), labels, n_clusters)
    logits = mu @ mu.T / temperature
    logits = logits.masked_fill(~present, -10.0)
    positive = (mu * mu_target).sum(1) / temperature
    logits = torch.diagonal_scatter(logits, positive)
    loss = logits.logsumexp(1) - positive
    return (loss * present).sum() / present.sum()


def _prototypes(z: Tensor, labels: Tensor, n_clusters: int) -> tuple[Tensor, Tensor]:
    """Normalised class means (K, d), and which classes have members (K,)."""
    member = F.one_hot(labels, n_clusters).to(z.dtype)
    sums = member.T @ F.normalize(z, dim=1)
    return F.normalize(sums, dim=1), member.any(0)
