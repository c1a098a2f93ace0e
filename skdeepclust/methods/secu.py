"""SeCu: stable cluster discrimination (Qian, ICCV 2023), and its predecessor CoKe."""

import itertools
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from skdeepclust._sklearn import Interval, StrOptions
from skdeepclust.base import NON_NEGATIVE, POSITIVE, UNIT, DeepClusterer
from skdeepclust.engine.health import Mixing, Spread, Vitals
from skdeepclust.engine.images import Images
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.engine.objective import Objective, Run
from skdeepclust.engine.warn import warn_user
from skdeepclust.nn.heads import Encoder
from skdeepclust.ops.collective import gather
from skdeepclust.ops.count import count_labels
from skdeepclust.ops.kmeans import kmeans
from skdeepclust.ops.precision import full_precision

__all__ = [
    "EntropyConstraint",
    "SeCuClustering",
    "SeCuObjective",
    "SelfLabelling",
    "SizeConstraint",
    "center_loss",
    "representation_loss",
    "self_labelling",
    "update_means",
]

# Over-clustering heads of n_clusters, 2 n_clusters, ... while clusters hold so many samples.
_MOST_HEADS, _LEAST_MEMBERS = 10, 10
# The official entropy weight of 6,000 for 50,000 images.
_ENTROPY_PER_SAMPLE = 0.12
# A prediction above it is taught in self-labelling.
_CONFIDENT = 0.99
_NOTHING_TAUGHT = (
    f"self_label_epochs: no prediction had a probability above {_CONFIDENT}, so that nothing was "
    "taught. Try a greater max_epochs, or evaluation='head'"
)


class SeCuClustering(DeepClusterer):
    """Stable cluster discrimination (SeCu).

    Images are classified into clusters whose centres are learned along with the
    representation. Two things keep that stable. The encoder learns from the labels and the
    centres of the epoch before, which hold still; and a centre learns only from its own
    members, the hard ones most, so that a batch without members does not push it away. A
    constraint on the cluster sizes prevents collapse. Further heads with more clusters help
    the representation.

    Parameters
    ----------
    {shared}
    constraint : {"size", "entropy"}, default="size"
        Lower bound on the cluster sizes by dual variables, or a penalty on the negative
        entropy of the sizes, for clusters of unequal size.
    min_size_ratio : float, default=0.9
        Least size of a cluster over the mean size, in (0, 1]; 1 asks for equal sizes.
    dual_lr : float, default=0.1
        Step size of the dual variables.
    entropy_weight : float, default=None
        Weight of the entropy; None means 0.12 per training sample.
    label_weight : float, default=0.2
        Share of the cluster label in the target of the representation; the other view's soft
        assignment has the rest.
    temperature : float, default=0.05
        Temperature of the softmax over the centres that teaches the encoder.
    center_temperature : float, default=0.05
        Temperature of the softmax that teaches the centres; a large one makes them plain
        means.
    center_lr : float, default=0.3
        Constant learning rate of the centres.
    centers : {"learned", "mean"}, default="learned"
        ``"mean"`` makes the centres running means of their members, as CoKe does, SeCu's
        predecessor.
    heads : tuple of int, default=None
        Numbers of clusters of the heads. The first is `n_clusters`, the head that predicts.
        None means `n_clusters`, twice, ..., ten times as many, as far as the clusters hold 10
        samples on average. Those of a recipe follow another `n_clusters`, in proportion.
    evaluation : {"kmeans", "head"}, default="kmeans"
        What gives the clusters. ``"head"`` is the first head, as published. ``"kmeans"`` is
        k-means of the final embedding, whose centres become those of the first head; until
        then that head only watches, and the further heads teach the encoder. Where it is the
        only one, it teaches.
    self_label_epochs : int, default=0
        Epochs of self-labelling after the training (SeCu*): confident predictions on the plain
        images teach the augmented ones.

    Attributes
    ----------
    {attributes}

    See Also
    --------
    CDCClustering : Clusters of equal size by one contrastive loss.

    Notes
    -----
    ``predict_proba`` is the softmax of the cosines to the centres, at temperature 0.1.
    ``history_`` has one more figure: ``mixing``, the number of clusters in a batch beyond the
    first, over that of a random batch, summed over the heads that teach the encoder. It falls
    to 0 when constant features satisfy the constraint by sending whole batches to one cluster
    after the other; that is warned of. The other figures are of the first head.

    Sizes of clusters: ``constraint="size"`` holds every cluster above ``min_size_ratio`` times
    the equal share. Lower it for groups of unequal size, or take ``constraint="entropy"``.

    Deviations from the official code: by default k-means evaluates, because on small data a
    first head that teaches from the start often settles in a wrong partition, in which the size
    constraint then holds it; ``evaluation="head"`` is the published way. In the first epoch the
    encoder makes no step at all, where the code makes steps of rate zero, whose momentum has a
    later effect. Both views pass the network as one batch, the code's one by one: a
    `norm_batch_size` as large as the batch keeps their statistics apart, in one process; of
    several, each normalises its share of both together; and the running statistics move once a
    step, not twice. SeCu's evaluation and
    self-labelling are not in the official code: the head's evaluation is the largest cosine of
    the plain image, the self-labelling that of SCAN, on the projection and the centres, with
    the second view's augmentation and, in place of Adam with weight decay 1e-4 on batches of
    1,000, AdamW at the same constant rate with the estimator's own weight decay, momentum and
    batches. The predictor and the three-layer projector of the code for ImageNet are not there,
    nor CoKe's losses of one and of many views and its second stage of averaged centres and soft
    labels. The defaults are for small images and short runs; data sets of up to 10,000 samples
    take batches of n_samples / 78, but of 64 at least, since the labels and the centres that
    teach move once an epoch.

    References
    ----------
    Q. Qian, "Stable Cluster Discrimination for Deep Clustering", ICCV 2023.

    Q. Qian, Y. Xu, J. Hu, H. Li and R. Jin, "Unsupervised Visual Representation Learning by
    Online Constrained K-Means", CVPR 2022 (CoKe).

    W. Van Gansbeke et al., "SCAN: Learning to Classify Images without Labels", ECCV 2020.

    Examples
    --------
    >>> from skdeepclust import SeCuClustering
    >>> from skdeepclust.datasets import make_image_blobs
    >>> X, y = make_image_blobs(60, n_classes=3, random_state=0)
    >>> SeCuClustering(3, max_epochs=5, random_state=0).fit(X).labels_.shape
    (60,)
    """

    warmup_epochs: float = 5

    constraint: str = "size"
    min_size_ratio: float = 0.9
    dual_lr: float = 0.1
    entropy_weight: float | None = None
    label_weight: float = 0.2
    temperature: float = 0.05
    center_temperature: float = 0.05
    center_lr: float = 0.3
    centers: str = "learned"
    heads: tuple[int, ...] | None = None
    evaluation: str = "kmeans"
    self_label_epochs: int = 0

    # What teaches moves once an epoch: small data sets need many steps in each.
    _least_steps: ClassVar[int] = 78

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepClusterer._parameter_constraints,
        "constraint": [StrOptions({"size", "entropy"})],
        "min_size_ratio": [Interval(Real, 0, 1, closed="right")],
        "dual_lr": [NON_NEGATIVE],
        "entropy_weight": [NON_NEGATIVE, None],
        "label_weight": [UNIT],
        "temperature": [POSITIVE],
        "center_temperature": [POSITIVE],
        "center_lr": [NON_NEGATIVE],
        "centers": [StrOptions({"learned", "mean"})],
        "heads": [tuple, list, None],
        "evaluation": [StrOptions({"kmeans", "head"})],
        "self_label_epochs": [Interval(Integral, 0, None, closed="left")],
    }

    @classmethod
    def _following(cls, params: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
        k, heads = overrides.get("n_clusters"), params.get("heads")
        if not heads or not isinstance(k, Integral):
            return {}
        return {"heads": tuple(int(k) * head // heads[0] for head in heads)}

    @property
    def _n_epochs(self) -> int:
        return int(self.max_epochs) + int(self.self_label_epochs)

    def _train(self, images: Images) -> ObjectiveNet:
        net = super()._train(images)
        if not self.self_label_epochs or net.interrupted:
            return net
        assert isinstance(net.objective, SeCuObjective)
        strong = self._augmentations(images, 2)[1]
        # SCAN's learning rate; the augmentation is that of the second view.
        stage = self._alone().set_params(
            max_epochs=self.self_label_epochs,
            augment=(nn.Identity(), strong),
            optimizer="adamw",
            lr=1e-4,
            schedule="constant",
            warmup_epochs=0,
            callbacks=[*(self.callbacks or ()), *self._task_callbacks(net.history)],
        )
        refined = stage._run(SelfLabelling(net.objective), images)
        taught = [row["self_labelling"] for row in refined.history if "self_labelling" in row]
        if taught and not any(taught):
            warn_user(_NOTHING_TAUGHT, ConvergenceWarning)
        for row in refined.history:
            row["epoch"] += len(net.history)
        refined.history[:0] = net.history
        return refined

    def _objective(self, backbone: nn.Module, hp: SimpleNamespace) -> "SeCuObjective":
        hp.heads = self._heads(hp.n_samples)
        if hp.entropy_weight is None:
            hp.entropy_weight = _ENTROPY_PER_SAMPLE * hp.n_samples
        return SeCuObjective(backbone, hp)

    def _rebuilt(self, backbone: nn.Module, hp: SimpleNamespace, stage: int) -> Objective:
        trained = self._objective(backbone, hp)
        return trained if stage == 1 else SelfLabelling(trained)

    def _heads(self, n_samples: int) -> list[int]:
        k = int(self.n_clusters)
        if self.heads is None:
            more = min(_MOST_HEADS, n_samples // (_LEAST_MEMBERS * k))
            return [k * times for times in range(1, max(1, more) + 1)]
        heads = [h if isinstance(h, Integral) else 0 for h in self.heads]
        if not heads or heads[0] != k or min(heads) < k or max(heads) > n_samples:
            raise ValueError(
                f"heads={self.heads!r} must be numbers of clusters, n_clusters={k} first, none "
                f"smaller than that or greater than n_samples={n_samples}"
            )
        return [int(h) for h in heads]


class SeCuObjective(Objective):
    r"""SeCu's encoder, centres, labels and losses.

    .. math:: L = \frac1H \sum_h L_x^h + L_c^h

    See `representation_loss`, which teaches the encoder only, and `center_loss`, which
    teaches the centres only.

    Parameters
    ----------
    backbone : nn.Module
        (B, *shape) -> (B, num_features).
    hp : SimpleNamespace
        Scalar parameters of `SeCuClustering`, ``heads`` and ``n_samples``.
    """

    assigners: Any  # an nn.ModuleList of constraints
    prototypes: Tensor
    frozen: Tensor
    labels: Tensor
    before: Tensor
    counts: Tensor
    first: Tensor

    def __init__(self, backbone: nn.Module, hp: SimpleNamespace):
        super().__init__(hp)
        self.encoder = Encoder(backbone, hp.hidden_dim, hp.embedding_dim)
        self.assigners = nn.ModuleList(_assigner(k, hp) for k in hp.heads)
        self.spread = Spread(hp.embedding_dim)
        # The centres of all heads, one after the other.
        prototypes = F.normalize(torch.randn(sum(hp.heads), hp.embedding_dim), dim=1)
        if hp.centers == "learned":
            self.prototypes = nn.Parameter(prototypes)
        else:
            self.register_buffer("prototypes", prototypes)
        self.register_buffer("frozen", prototypes.clone(), persistent=False)
        self.register_buffer("counts", torch.zeros(len(prototypes)), persistent=False)
        labels = torch.zeros(len(hp.heads), hp.n_samples, dtype=torch.int64)
        self.register_buffer("labels", labels, persistent=False)
        # Those of the epoch before: torch's compiler would read the bank after it was written.
        self.register_buffer("before", labels.clone(), persistent=False)
        self.first_epoch = True
        # Heads that do not teach the encoder, and their centres.
        self.watching = int(hp.evaluation == "kmeans" and len(hp.heads) > 1)
        self.watched = sum(hp.heads[: self.watching])
        self.mixing = Mixing(len(prototypes), len(hp.heads) - self.watching)
        first = torch.tensor([0, *itertools.accumulate(hp.heads[:-1])])
        self.register_buffer("first", first, persistent=False)

    def forward(self, views: list[Tensor], index: Tensor) -> dict[str, Tensor]:
        """Terms ``representation`` and, of centres that learn, ``centers`` of two views.

        In the first epoch the encoder takes no gradient, and its labels are the new ones.
        """
        hp = self.hp
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.first_epoch):
            z = gather(_encode(self.encoder, torch.cat(views), self.prototypes.dtype))
        z1, z2 = z.detach().chunk(2)
        old = self.before[:, index]
        new = self._assign(z1, z2, index, old)
        targets = (new if self.first_epoch else old)[self.watching :]
        teaching = self.frozen[self.watched :], targets, hp.heads[self.watching :]
        terms = {"representation": _representation(z, *teaching, hp.temperature, hp.label_weight)}
        if hp.centers == "learned":
            how = hp.heads, self.first, hp.center_temperature
            terms["centers"] = _centers(z.detach(), self.prototypes, new, *how)
        return terms

    @torch.no_grad()
    @full_precision
    def _assign(self, z1: Tensor, z2: Tensor, index: Tensor, old: Tensor) -> Tensor:
        """New labels (n_heads, B) by the constraints; the bank and the means follow them."""
        z = (z1 + z2) / 2
        scores = (z @ F.normalize(self.prototypes, dim=1).T).split(self.hp.heads, dim=1)
        known = [None] * len(scores) if self.first_epoch else old
        assigned = [
            assigner.assign(s, y)
            for assigner, s, y in zip(self.assigners, scores, known, strict=True)
        ]
        labels = torch.stack(assigned)
        self.labels[:, index] = labels
        if self.hp.centers == "mean":
            means = self.prototypes.split(self.hp.heads), self.counts.split(self.hp.heads)
            for centers, counts, y in zip(*means, labels, strict=True):
                update_means(centers, counts, z, y)
        self.spread.update(z1)
        self.mixing.update((labels + self.first[:, None])[self.watching :])
        return labels

    @property
    def steady(self) -> bool:
        """Whether the encoder learns; one epoch without is not worth compiling for."""
        return not self.first_epoch

    def on_epoch_begin(self, run: Run) -> None:
        """Freeze the centres that teach the encoder in this epoch."""
        self.first_epoch = run.epoch == 0
        self.before.copy_(self.labels)
        self.frozen.copy_(F.normalize(self.prototypes, dim=1))
        self.counts.zero_()

    def embed(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embedding_dim)."""
        return self.encoder(x)

    def param_groups(self) -> list[dict[str, Any]]:
        """The encoder, and the centres at their own constant rate."""
        groups: list[dict[str, Any]] = [{"params": list(self.encoder.parameters())}]
        if isinstance(self.prototypes, nn.Parameter):
            groups.append({"params": [self.prototypes], "fixed_lr": self.hp.center_lr})
        return groups

    def health(self, run: Run) -> Vitals:
        """The first head's labels, and whether those that teach come in whole batches."""
        return Vitals(self.labels[0], self.spread.value(), self.mixing.value())

    def on_train_end(self, run: Run) -> None:
        """The first head's centres, or those of k-means in their place."""
        k = self.hp.n_clusters
        centers: Tensor = self.prototypes[:k]
        if self.hp.evaluation == "kmeans":
            z = run.features()
            centers, _, _ = kmeans(z, k, metric="cosine", n_init=10, generator=run.generator)
        self.centers.copy_(F.normalize(centers, dim=1))


def _encode(encoder: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Unit-norm embedding in the type of the centres, whatever autocast made of it."""
    return F.normalize(encoder(x).to(dtype), dim=1)


class SelfLabelling(Objective):
    """SeCu's last stage: what is certain of a plain image is taught to its augmented view.

    Parameters
    ----------
    trained : SeCuObjective
        Its encoder is taken over.
    """

    stage: ClassVar[int] = 2
    labels: Tensor

    def __init__(self, trained: SeCuObjective):
        super().__init__(trained.hp)
        self.encoder = trained.encoder
        self.prototypes = nn.Parameter(trained.centers.clone())
        self.spread = Spread(self.hp.embedding_dim)
        labels = torch.zeros(self.hp.n_samples, dtype=torch.int64)
        self.register_buffer("labels", labels, persistent=False)

    def forward(self, views: list[Tensor], index: Tensor) -> dict[str, Tensor]:
        """Term ``self_labelling`` of the plain and the augmented view."""
        plain, augmented = views
        # First: autocast of torch 2.10 keeps copies of weights that were made without gradient.
        logits = self._logits(self._encode(augmented))
        with torch.no_grad():
            z = self._encode(plain)
            p = self._logits(z).softmax(1)
            self.labels[index] = p.argmax(1)
            self.spread.update(z)
        return {"self_labelling": self_labelling(logits, p)}

    def _encode(self, x: Tensor) -> Tensor:
        return gather(_encode(self.encoder, x, self.prototypes.dtype))

    @full_precision
    def _logits(self, z: Tensor) -> Tensor:
        return z @ F.normalize(self.prototypes, dim=1).T / self.hp.temperature

    def embed(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embedding_dim)."""
        return self.encoder(x)

    def health(self, run: Run) -> Vitals:
        """Labels of the plain views."""
        return Vitals(self.labels, self.spread.value())

    def on_train_end(self, run: Run) -> None:
        """The trained centres."""
        self.centers.copy_(F.normalize(self.prototypes, dim=1))


class SizeConstraint(nn.Module):
    r"""Assign samples to clusters that hold at least a share of the mean size.

    .. math::
        a_i = \arg\max_j s_{ij} + \rho_j, \qquad
        \rho_j \leftarrow \left[ \rho_j + \eta \left(
            \frac{\gamma}{K} - \frac{m_j}{b} \right) \right]_+

    where m_j of the b samples of the batch went to cluster j. With gamma = 1 the sizes are to
    be equal, and the dual variables rho may be negative.

    Parameters
    ----------
    n_clusters : int
        Number of clusters K.
    min_size_ratio : float
        Least size over mean size, gamma, in [0, 1]; at 0 the nearest centre wins.
    dual_lr : float
        Step size eta.

    References
    ----------
    Qian et al. (2022), the online assignment of CoKe; the official code of SeCu.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.secu import SizeConstraint
    >>> constraint = SizeConstraint(2, min_size_ratio=0.9, dual_lr=0.3)
    >>> scores = torch.tensor([[0.6, 0.5], [0.9, 0.5]])  # both samples like the first cluster best
    >>> constraint.assign(scores)
    tensor([0, 0])
    >>> constraint.assign(scores)  # the second one has become dearer to leave empty
    tensor([1, 0])
    """

    duals: Tensor

    def __init__(self, n_clusters: int, min_size_ratio: float, dual_lr: float):
        if not 0 <= min_size_ratio <= 1:
            raise ValueError(f"min_size_ratio={min_size_ratio} must be from 0 to 1")
        super().__init__()
        self.min_size_ratio = min_size_ratio
        self.dual_lr = dual_lr
        self.register_buffer("duals", torch.zeros(n_clusters))

    @torch.no_grad()
    def assign(self, scores: Tensor, previous: Tensor | None = None) -> Tensor:
        """Label the samples of a batch, then update the dual variables.

        Parameters
        ----------
        scores : Tensor of shape (B, K)
            Cosines to the centres.
        previous : None
            Ignored.

        Returns
        -------
        Tensor of shape (B,), int64
        """
        labels = (scores + self.duals).argmax(1)
        members = count_labels(labels, len(self.duals))
        shares = members.to(self.duals) / len(labels)
        self.duals += self.dual_lr * (self.min_size_ratio / len(self.duals) - shares)
        if self.min_size_ratio < 1:
            self.duals.clamp_min_(0)
        return labels


class EntropyConstraint(nn.Module):
    r"""Assign samples to clusters, with a penalty on unequal sizes in the whole data set.

    .. math::
        a_i = \arg\max_j s_{ij} - \alpha \left( H_{before} - H_{after} \right)

    where H is the entropy of the cluster sizes before and after sample i moves from its
    cluster to cluster j, by the counts at the start of the batch.

    Parameters
    ----------
    n_clusters : int
        Number of clusters K.
    n_samples : int
        Number of training samples N.
    weight : float
        Weight alpha, in proportion to N.

    Notes
    -----
    While the data set is seen for the first time, a sample has no cluster to leave, and the
    counts are of the samples so far. The very first batch follows the scores alone.

    References
    ----------
    Qian (2023); the official code.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.secu import EntropyConstraint
    >>> constraint = EntropyConstraint(2, n_samples=2, weight=0.5)
    >>> scores = torch.tensor([[0.6, 0.5], [0.9, 0.5]])  # both samples like the first cluster best
    >>> labels = constraint.assign(scores, None)
    >>> constraint.assign(scores, labels), constraint.counts
    (tensor([1, 0]), tensor([1., 1.]))
    """

    counts: Tensor

    def __init__(self, n_clusters: int, n_samples: int, weight: float):
        super().__init__()
        self.n_samples = n_samples
        self.weight = weight
        self.register_buffer("counts", torch.zeros(n_clusters))

    @torch.no_grad()
    def assign(self, scores: Tensor, previous: Tensor | None = None) -> Tensor:
        """Label the samples of a batch, then update the counts.

        Parameters
        ----------
        scores : Tensor of shape (B, K)
            Cosines to the centres.
        previous : Tensor of shape (B,), int64, or None
            Clusters of the samples so far; None for samples that are new.

        Returns
        -------
        Tensor of shape (B,), int64
        """
        growth = _growth(self.counts)
        if previous is None:
            total = self.counts.sum()
            penalty = (growth / (total + 1) * (total > 0))[None]
        else:
            loss = _growth(self.counts[previous] - 1)
            penalty = (growth - loss[:, None]) / self.n_samples
            penalty = penalty.scatter(1, previous[:, None], 0.0)
            self.counts -= count_labels(previous, len(self.counts))
        labels = (scores - self.weight * penalty).argmax(1)
        self.counts += count_labels(labels, len(self.counts))
        return labels


def _growth(n: Tensor) -> Tensor:
    """(n + 1) ln(n + 1) - n ln n, without the cancellation of large terms."""
    return torch.where(n > 0, n.log1p() + n * n.clamp_min(1).reciprocal().log1p(), 0.0)


def _assigner(n_clusters: int, hp: SimpleNamespace) -> nn.Module:
    if hp.constraint == "size":
        return SizeConstraint(n_clusters, hp.min_size_ratio, hp.dual_lr)
    return EntropyConstraint(n_clusters, hp.n_samples, hp.entropy_weight)


@full_precision
def representation_loss(
    z1: Tensor,
    z2: Tensor,
    frozen_centers: Tensor,
    labels: Tensor,
    temperature: float = 0.05,
    label_weight: float = 0.2,
) -> Tensor:
    r"""Cross-entropy of both views against the cluster label and the other view.

    .. math::
        L_x = \frac12 \sum_v \mathrm{CE}\big( (1 - \tau)\, p^{\bar v} + \tau\, e_y,\; p^v \big),
        \qquad p^v = \mathrm{softmax}(x^v \bar w / t)

    Parameters
    ----------
    z1, z2 : Tensor of shape (B, d)
        Embeddings of two views; normalised here to x.
    frozen_centers : Tensor of shape (K, d)
        Centres of the epoch's start; normalised here; take no gradient.
    labels : Tensor of shape (B,), int64
        Labels y of the previous epoch.
    temperature : float, default=0.05
        Temperature t.
    label_weight : float, default=0.2
        Share tau of the label in the target; the other view's prediction, without gradient,
        has the rest.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    Qian (2023), the representation's objective; the official code.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.secu import representation_loss
    >>> z, centers = torch.eye(2), torch.eye(2)
    >>> float(representation_loss(z, z, centers, torch.tensor([0, 1]))) < 1e-6
    True
    """
    x, w = F.normalize(torch.cat([z1, z2]), dim=1), F.normalize(frozen_centers.detach(), dim=1)
    return _representation(x, w, labels[None], [len(w)], temperature, label_weight)


@full_precision
def _representation(
    x: Tensor,
    w: Tensor,
    labels: Tensor,
    heads: list[int],
    temperature: float,
    label_weight: float,
) -> Tensor:
    """Mean `representation_loss` of heads; x of both views and all centres w have unit norm."""
    losses = []
    for logits, y in zip((x @ w.T / temperature).split(heads, dim=1), labels, strict=True):
        log_p = logits.log_softmax(1)
        other = torch.cat(log_p.detach().chunk(2)[::-1]).exp()
        soft = -(other * log_p).sum(1).mean()
        losses.append(soft.lerp(F.nll_loss(log_p, torch.cat([y, y])), label_weight))
    return torch.stack(losses).mean()


@full_precision
def center_loss(
    z1: Tensor, z2: Tensor, centers: Tensor, labels: Tensor, temperature: float = 0.05
) -> Tensor:
    r"""Cross-entropy that pulls a centre to its members and pushes none away.

    .. math::
        L_c = -\frac12 \sum_v \frac1B \sum_i \log \frac{\exp(x_i^v w_{a_i} / t)}
            {\exp(x_i^v w_{a_i} / t) + \sum_{k \ne a_i} \exp(x_i^v\, \mathrm{sg}(w_k) / t)}

    Parameters
    ----------
    z1, z2 : Tensor of shape (B, d)
        Embeddings of two views; normalised here to x; take no gradient.
    centers : Tensor of shape (K, d)
        Centres; normalised here to w. sg stops the gradient.
    labels : Tensor of shape (B,), int64
        Labels a that the samples have just been given.
    temperature : float, default=0.05
        Temperature t.

    Returns
    -------
    Tensor, scalar

    Notes
    -----
    A centre moves towards the mean of its members, each weighted by how little it is
    assigned to the centre; a centre without members gets no gradient at all.

    References
    ----------
    Qian (2023), the hardness-aware objective of the centres; the official code.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.secu import center_loss
    >>> z, centers = torch.eye(2), torch.eye(2)
    >>> float(center_loss(z, z, centers, torch.tensor([1, 0])))  # every sample in the wrong cluster
    20.0
    """
    x = F.normalize(torch.cat([z1, z2]).detach(), dim=1)
    return _centers(x, centers, labels[None], [len(centers)], labels.new_zeros(1), temperature)


@full_precision
def _centers(
    x: Tensor,
    centers: Tensor,
    labels: Tensor,
    heads: list[int],
    first: Tensor,
    temperature: float,
) -> Tensor:
    """Mean `center_loss` of heads, whose first centres `first` tells; x has unit norm."""
    w = F.normalize(centers, dim=1)
    both = torch.cat([labels, labels], dim=1)  # of both views
    mine = (both + first[:, None]).T
    own = (x[:, None] * w[mine]).sum(2)
    logits = (x @ w.detach().T).scatter(1, mine, own) / temperature
    parts = zip(logits.split(heads, dim=1), both, strict=True)
    return torch.stack([F.cross_entropy(part, y) for part, y in parts]).mean()


@torch.no_grad()
def update_means(centers: Tensor, counts: Tensor, z: Tensor, labels: Tensor) -> Tensor:
    r"""Move centres to the running means of their members, on the unit sphere.

    .. math:: w_j \leftarrow \frac{c_j w_j + \sum_{i: a_i = j} z_i}{c_j + m_j}

    then normalised.

    Parameters
    ----------
    centers : Tensor of shape (K, d)
        Updated in place; centres without members stay as they are.
    counts : Tensor of shape (K,)
        Samples c that each centre has taken in since the epoch's start; updated in place. At
        0 the old centre is forgotten.
    z : Tensor of shape (B, d)
        Means of the unit-norm embeddings of both views, not normalised again.
    labels : Tensor of shape (B,), int64
        Clusters a of the samples.

    Returns
    -------
    Tensor
        `centers`.

    References
    ----------
    Qian et al. (2022), the online update of the centres in the first stage of CoKe.
    """
    members = count_labels(labels, len(centers))
    sums = torch.zeros_like(centers).index_add_(0, labels, z.to(centers))
    updated = F.normalize(counts[:, None] * centers + sums, dim=1)
    centers.copy_(torch.where((members > 0)[:, None], updated, centers))
    counts += members
    return centers


@full_precision
def self_labelling(logits: Tensor, probabilities: Tensor, threshold: float = _CONFIDENT) -> Tensor:
    """Cross-entropy against the confident predictions, all clusters of equal weight.

    Parameters
    ----------
    logits : Tensor of shape (B, K)
        Of the augmented view.
    probabilities : Tensor of shape (B, K)
        Of the plain view; take no gradient.
    threshold : float, default=0.99
        Least probability of a confident prediction.

    Returns
    -------
    Tensor, scalar
        0 if no prediction is confident.

    References
    ----------
    Van Gansbeke et al. (2020), the self-labelling step of SCAN.
    """
    highest, labels = probabilities.detach().max(1)
    confident = (highest > threshold).to(logits.dtype)
    sizes = torch.zeros_like(logits[0]).index_add_(0, labels, confident)
    weights = confident / sizes.clamp_min(1)[labels]
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (weights * losses).sum() / (sizes > 0).sum().clamp_min(1)
