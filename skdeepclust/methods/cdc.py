"""CDC: contrastive representation disentanglement for clustering (Ding et al., 2023)."""

from numbers import Integral
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skdeepclust._sklearn import Interval
from skdeepclust.base import COUNT, POSITIVE, DeepClusterer
from skdeepclust.engine.health import Spread, Vitals
from skdeepclust.engine.objective import Objective, Run
from skdeepclust.nn.heads import Encoder, mlp
from skdeepclust.ops.collective import gather
from skdeepclust.ops.partition import linear_partition
from skdeepclust.ops.precision import full_precision
from skdeepclust.ops.sinkhorn import balance

__all__ = ["CDCClustering", "CDCObjective", "disentangled_contrast"]

# Sinkhorn's codes are of use from about four samples per cluster on.
_SAMPLES_PER_CLUSTER = 4
# The early heads have so many times n_clusters clusters, of 10 samples or more.
_FINER, _LEAST_MEMBERS = (3, 5, 8), 10
# Their temperature, over that of z_c, and their share of the epochs.
_EARLY_SHARE, _EARLY_EPOCHS = 0.5, 0.75


class CDCClustering(DeepClusterer):
    """Contrastive representation disentanglement for clustering (CDC).

    The representation of an image has two parts: z_c, one number per cluster, which is the
    cluster assignment itself, and z_n, which holds what is particular to the image. One
    contrastive loss reads both: an image has to find its other view among all images of the
    batch by the sum of their similarities. An equipartition constraint keeps the clusters of
    equal size, so that z_c can only tell images apart by kind.

    Parameters
    ----------
    {shared}
    temperature : float, default=1.0
        Temperature of the contrastive softmax. Small values let only images of the same
        cluster repel each other, and z_c stops learning.
    assignment_temperature : float, default=0.1
        Temperature of the softmax over the unit-norm z_c.
    category_scale : float, default=1.0
        Weight of the similarity of z_c beside that of z_n.
    instance_dim : int, default=128
        Dimension of z_n.
    sinkhorn_epsilon : float, default=0.05
        Entropy weight of the equipartition; small values make hard codes.
    sinkhorn_iterations : int, default=10
        Rounds of the Sinkhorn-Knopp algorithm.
    queue_size : int or None, default=None
        Earlier samples that join the batch under the equipartition. None means as many as a
        batch lacks to ``4 * n_clusters`` samples. Early heads have none.
    early_heads : tuple of int, default=None
        Numbers of clusters of the heads that train the representation in the first three
        quarters of the epochs, at half the `temperature`, in place of z_c, which then starts
        from groups of the embedding, see `skdeepclust.ops.partition.linear_partition`. None
        means 3, 5 and 8 times `n_clusters`, as far as the clusters hold 10 samples on average,
        and 3 times with any number of samples that is no smaller; ``()`` is the plain method.

    Attributes
    ----------
    {attributes}

    See Also
    --------
    SeCuClustering : Clusters by learned centres under a constraint on the cluster sizes.

    Notes
    -----
    There is no official code, and only the abstract could be consulted. Published: z_c with
    one dimension per cluster under an equipartition constraint, z_n, one contrastive loss over
    both, which gives negatives different weights, the hard ones larger gradients.
    **Reconstructed**: the rest, namely two heads on one projection of unit norm, a linear one
    for z_c, z_c of unit norm before the softmax and before Sinkhorn-Knopp, probabilities on the
    query side and balanced codes on the key side, keys without gradient, the early heads, and
    all values of parameters. The method of this name that is known for calibrated confidences is
    another one.

    Sizes of clusters: all are taken to be equal, which nothing relaxes; groups of very unequal
    size are split and joined.

    ``predict`` is the largest entry of z_c; ``predict_proba`` its softmax at temperature
    `assignment_temperature`. ``cluster_centers_`` are the means of the embeddings of each
    cluster and play no part in ``predict``.

    References
    ----------
    F. Ding, D. Zhang, Y. Yang, V. Krovi and F. Luo, "Contrastive Representation
    Disentanglement for Clustering", arXiv:2306.05439, 2023.

    Examples
    --------
    >>> from skdeepclust import CDCClustering
    >>> from skdeepclust.datasets import make_image_blobs
    >>> X, y = make_image_blobs(60, n_classes=3, random_state=0)
    >>> CDCClustering(3, max_epochs=5, random_state=0).fit(X).labels_.shape
    (60,)
    """

    max_epochs: int = 80
    warmup_epochs: float = 5

    temperature: float = 1.0
    assignment_temperature: float = 0.1
    category_scale: float = 1.0
    instance_dim: int = 128
    sinkhorn_epsilon: float = 0.05
    sinkhorn_iterations: int = 10
    queue_size: int | None = None
    early_heads: tuple[int, ...] | None = None

    # The groups have to stand out by the middle of the training, which takes steps.
    _least_steps: ClassVar[int] = 78

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepClusterer._parameter_constraints,
        "hidden_dim": [COUNT],
        "temperature": [POSITIVE],
        "assignment_temperature": [POSITIVE],
        "category_scale": [POSITIVE],
        "instance_dim": [COUNT],
        "sinkhorn_epsilon": [POSITIVE],
        "sinkhorn_iterations": [COUNT],
        "queue_size": [Interval(Integral, 0, None, closed="left"), None],
        "early_heads": [tuple, list, None],
    }

    def _objective(self, backbone: nn.Module, hp: SimpleNamespace) -> "CDCObjective":
        hp.early_heads = self._early_heads(hp.n_samples)
        return CDCObjective(backbone, hp)

    def _early_heads(self, n_samples: int) -> list[int]:
        if self.early_heads is None:
            sizes = [times * int(self.n_clusters) for times in _FINER]
            fit = [k for k in sizes if k * _LEAST_MEMBERS <= n_samples]
            return fit or [k for k in sizes[:1] if k <= n_samples]
        for k in self.early_heads:
            if not isinstance(k, Integral) or not self.n_clusters <= k <= n_samples:
                raise ValueError(
                    f"early_heads={self.early_heads!r} must be numbers of clusters from "
                    f"n_clusters={self.n_clusters} to n_samples={n_samples}"
                )
        return [int(k) for k in self.early_heads]


class CDCObjective(Objective):
    r"""CDC's encoder, its two heads and its loss.

    .. math:: L = \tfrac12 (L_{1 \to 2} + L_{2 \to 1})

    where each direction takes its queries from one view and its keys from the other; see
    `disentangled_contrast`.

    Parameters
    ----------
    backbone : nn.Module
        (B, *shape) -> (B, num_features).
    hp : SimpleNamespace
        Scalar parameters of `CDCClustering` and ``n_samples``.
    """

    labels: Tensor
    queue: Tensor

    def __init__(self, backbone: nn.Module, hp: SimpleNamespace):
        super().__init__(hp)
        self.probability_temperature = hp.assignment_temperature
        self.encoder = Encoder(backbone, None, hp.embedding_dim)
        self.category = nn.Linear(hp.embedding_dim, hp.n_clusters)
        if hp.early_heads:  # zero until it starts; a callback may restore weights from before
            nn.init.zeros_(self.category.weight)
        self.instance = mlp(hp.embedding_dim, hp.hidden_dim, hp.instance_dim)
        self.early = nn.ModuleList(nn.Linear(hp.embedding_dim, k) for k in hp.early_heads)
        self.spread = Spread(hp.embedding_dim)
        labels = torch.zeros(hp.n_samples, dtype=torch.int64)
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("queue", torch.empty(0, hp.n_clusters), persistent=False)
        self.is_early = False
        self._seen: Tensor | None = None

    def forward(self, views: list[Tensor], index: Tensor) -> dict[str, Tensor]:
        """Term ``contrast`` of two views; of the early heads, their mean."""
        z = self.encoder(torch.cat(views))
        with torch.autocast(z.device.type, enabled=False):
            z = F.normalize(z.to(self.category.weight.dtype), dim=1)
            heads = self.early if self.is_early else [self.category]
            s, n = [F.normalize(head(z), dim=1) for head in heads], self.instance(z)
        z, n, *s = map(gather, (z, n, *s))
        self._remember(index, z.detach(), s[0])
        losses = [self._contrast(scores, n) for scores in s]
        if not self.is_early:
            self._seen = s[0].detach().chunk(2)[0]
        return {"contrast": torch.stack(losses).mean()}

    def _contrast(self, s: Tensor, n: Tensor) -> Tensor:
        """Mean over both directions between the views."""
        hp = self.hp
        (s1, s2), (n1, n2) = s.chunk(2), n.chunk(2)
        p1, p2 = ((view / hp.assignment_temperature).softmax(1) for view in (s1, s2))
        q1, q2 = self._codes(s1.detach()), self._codes(s2.detach())
        how = hp.temperature * (_EARLY_SHARE if self.is_early else 1), hp.category_scale
        first = disentangled_contrast(p1, n1, q2, n2, *how)
        return (first + disentangled_contrast(p2, n2, q1, n1, *how)) / 2

    def _codes(self, s: Tensor) -> Tensor:
        """Balanced codes (B, K), in the company of the queue."""
        hp = self.hp
        room = hp.queue_size
        if room is None:
            room = max(0, _SAMPLES_PER_CLUSTER * hp.n_clusters - len(s))
        company = s[:0] if self.is_early else self.queue[:room].to(s)
        # What has diverged shows in the loss, and is reported with the epoch.
        joint = torch.cat([s, company]).nan_to_num()
        return balance(joint, hp.sinkhorn_epsilon, hp.sinkhorn_iterations)[: len(s)]

    @torch.no_grad()
    def _remember(self, index: Tensor, z: Tensor, s: Tensor) -> None:
        # Clusters of an early head are taken together by their numbers.
        folded = s[: len(index)].argmax(1) * self.hp.n_clusters // s.shape[1]
        self.labels[index] = folded
        self.spread.update(z)

    @property
    def _queue_size(self) -> int:
        if self.hp.queue_size is None:
            return _SAMPLES_PER_CLUSTER * self.hp.n_clusters
        return self.hp.queue_size

    @property
    def steady(self) -> bool:
        """Whether the queue grows no more."""
        return self.is_early or len(self.queue) == self._queue_size

    def on_step_end(self, run: Run) -> None:
        """Queue what the step saw; in place, once the queue is full: compiled steps read there."""
        if self.is_early:
            return
        assert self._seen is not None  # a step has just been made
        seen, self._seen = self._seen, None
        rows = torch.cat([seen, self.queue.to(seen)])[: self._queue_size]
        if rows.shape == self.queue.shape:
            self.queue.copy_(rows)
        else:
            self.queue = rows.clone()

    def on_epoch_begin(self, run: Run) -> None:
        """After three quarters, the early heads give place to z_c, which names the groups."""
        was_early = self.is_early
        self.is_early = bool(len(self.early)) and run.epoch < int(_EARLY_EPOCHS * run.n_epochs)
        if was_early and not self.is_early:
            self._start(run)

    def _start(self, run: Run) -> None:
        """Make z_c name the groups that the embedding has come to."""
        z, k = run.features(), self.hp.n_clusters
        weight, bias = linear_partition(z, k, generator=run.generator)
        self.category.weight.copy_(weight)
        self.category.bias.copy_(bias)

    def param_groups(self) -> list[dict[str, Any]]:
        """What learns throughout, early and late."""
        # Fused SGD wants the momenta of a group to begin in the same step.
        parts = nn.ModuleList([self.encoder, self.instance]), self.early, self.category
        groups = [{"params": list(part.parameters())} for part in parts]
        return [group for group in groups if group["params"]]

    def embed(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embedding_dim), what both heads read."""
        return self.encoder(x)

    def scores(self, z: Tensor) -> Tensor:
        """The category z_c at unit norm, (B, n_clusters)."""
        return F.normalize(self.category(z), dim=1)

    def health(self, run: Run) -> Vitals:
        """Largest entries of z_c over the epoch's batches."""
        return Vitals(self.labels, self.spread.value())

    def on_train_end(self, run: Run) -> None:
        """Means of the embedding of each cluster."""
        if not self.category.weight.any():  # training ended before z_c started
            self._start(run)
        z = run.features()
        member = F.one_hot(self.scores(z).argmax(1), self.hp.n_clusters).to(z.dtype)
        self.centers.copy_(F.normalize(member.T @ z, dim=1))

    def reorder(self, order: Tensor) -> None:
        """Make cluster ``order[i]`` the new cluster i."""
        super().reorder(order)
        self.category.weight.data = self.category.weight.data[order]
        self.category.bias.data = self.category.bias.data[order]


@full_precision
def disentangled_contrast(
    c: Tensor,
    n: Tensor,
    c_key: Tensor,
    n_key: Tensor,
    temperature: float = 1.0,
    category_scale: float = 1.0,
) -> Tensor:
    r"""Contrast each sample with the keys by the sum of the similarities of both parts.

    .. math::
        L = -\frac1B \sum_i \log \frac{\exp S_{ii}}{\sum_j \exp S_{ij}}, \qquad
        S_{ij} = \frac{\kappa\, c_i^T c'_j + n_i^T n'_j}{\tau}

    Equivalently, each negative of the contrast of z_n alone has the weight
    exp(kappa c_i^T c'_j / tau), which is the larger the more alike the clusters are.

    Parameters
    ----------
    c : Tensor of shape (B, K)
        Category part z_c of the queries: probabilities, used as given.
    n : Tensor of shape (B, d)
        Instance part z_n of the queries; normalised here.
    c_key : Tensor of shape (M, K)
        Category part of the keys: balanced codes, used as given; takes no gradient.
    n_key : Tensor of shape (M, d)
        Instance part of the keys; normalised here; takes no gradient. M >= B, and key i is
        the positive of query i.
    temperature : float, default=1.0
        Temperature tau.
    category_scale : float, default=1.0
        Weight kappa of the category part.

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    ValueError
        If there are fewer keys than queries.

    References
    ----------
    Ding et al. (2023); the form of the equation is a reconstruction, see `CDCClustering`.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.cdc import disentangled_contrast
    >>> c, n = torch.eye(3), torch.eye(3)
    >>> disentangled_contrast(c, n, c, n)  # log(1 + 2 / e ** 2)
    tensor(0.2395)
    """
    if len(c_key) < len(c):
        raise ValueError(f"c_key has {len(c_key)} rows for {len(c)} queries: each needs its key")
    category = category_scale * (c @ c_key.detach().T)
    instance = F.normalize(n, dim=1) @ F.normalize(n_key.detach(), dim=1).T
    similarity = (category + instance) / temperature
    return (similarity.logsumexp(1) - similarity.diagonal()).mean()
