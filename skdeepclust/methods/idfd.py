"""IDFD: instance discrimination and feature decorrelation (Tao et al., ICLR 2021)."""

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from skdeepclust._sklearn import StrOptions
from skdeepclust.base import NON_NEGATIVE, POSITIVE, UNIT, DeepClusterer
from skdeepclust.engine.health import Vitals, feature_std
from skdeepclust.engine.objective import Objective, Run
from skdeepclust.nn.heads import Encoder
from skdeepclust.ops.collective import gather
from skdeepclust.ops.kmeans import kmeans
from skdeepclust.ops.precision import full_precision

__all__ = [
    "IDFDClustering",
    "IDFDObjective",
    "feature_decorrelation",
    "feature_orthogonality",
    "instance_discrimination",
    "update_bank",
]

# Logits held at once: 64 MiB in float32.
_BUDGET = 1 << 24


class IDFDClustering(DeepClusterer):
    """Instance discrimination with feature decorrelation (IDFD), then k-means.

    Every image is a class of its own: its augmented view should find its own row in a memory
    bank of all images, by a softmax whose temperature of 1 tolerates similar neighbours. A
    second softmax makes the dimensions of the representation differ from each other. Clusters
    are found once, after training, by Euclidean k-means on the unit sphere.

    Parameters
    ----------
    {shared}
    temperature : float, default=1.0
        Temperature of the softmax over images. 0.07, as for learning features for
        classification, clusters far worse.
    decorrelation : {"softmax", "orthogonal"}, default="softmax"
        Decorrelation by a softmax over dimensions, or towards an orthonormal basis (the
        paper's IDFO, whose ``decorrelation_weight`` is 10).
    decorrelation_temperature : float, default=2.0
        Temperature of the softmax over dimensions.
    decorrelation_weight : float, default=1.0
        Weight of the decorrelation; 0 is instance discrimination and k-means.
    bank_momentum : float, default=0.5
        Share of the old row when a row of the bank is updated.

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ProPosClustering : Clusters while it learns.

    Notes
    -----
    ``predict_proba`` is the softmax of minus the squared distances to the centres, at
    temperature 0.1.

    Sizes of clusters: training knows no clusters; k-means at the end prefers groups of like
    spread, so that a small group beside a large one may be joined to it.

    Deviations from the official code, which is a script for CIFAR-10: both losses are means,
    as in the code (the paper sums over the images); the bank is updated once per step,
    explicitly; norms have an epsilon; k-means runs on the clean eval-mode embedding, so that
    new images are assigned as the training images are, where the paper clusters the memory
    bank; a last batch of one image joins the batch before it. The defaults are for small
    images and short runs. IDFO is not in the official code and follows the formula of the
    paper as it is quoted elsewhere.

    References
    ----------
    Y. Tao, K. Takagi and K. Nakata, "Clustering-friendly Representation Learning via Instance
    Discrimination and Feature Decorrelation", ICLR 2021.

    Examples
    --------
    >>> from skdeepclust import IDFDClustering
    >>> from skdeepclust.datasets import make_image_blobs
    >>> X, y = make_image_blobs(60, n_classes=3, random_state=0)
    >>> IDFDClustering(3, max_epochs=5, random_state=0).fit(X).labels_.shape
    (60,)
    """

    hidden_dim: int | None = None
    max_epochs: int = 150
    lr: float = 3e-3
    warmup_epochs: float = 5

    temperature: float = 1.0
    decorrelation: str = "softmax"
    decorrelation_temperature: float = 2.0
    decorrelation_weight: float = 1.0
    bank_momentum: float = 0.5

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepClusterer._parameter_constraints,
        "temperature": [POSITIVE],
        "decorrelation": [StrOptions({"softmax", "orthogonal"})],
        "decorrelation_temperature": [POSITIVE],
        "decorrelation_weight": [NON_NEGATIVE],
        "bank_momentum": [UNIT],
    }

    def _objective(self, backbone: nn.Module, hp: SimpleNamespace) -> "IDFDObjective":
        return IDFDObjective(backbone, hp)


class IDFDObjective(Objective):
    r"""IDFD's encoder, memory bank and loss.

    .. math:: L = L_{ID} + \alpha L_{FD}

    See `instance_discrimination` and `feature_decorrelation`.

    Parameters
    ----------
    backbone : nn.Module
        (B, *shape) -> (B, num_features).
    hp : SimpleNamespace
        Scalar parameters of `IDFDClustering` and ``n_samples``.
    """

    n_views: ClassVar[int] = 1
    bank: Tensor
    bank_centers: Tensor

    def __init__(self, backbone: nn.Module, hp: SimpleNamespace):
        super().__init__(hp)
        self.encoder = Encoder(backbone, hp.hidden_dim, hp.embedding_dim)
        # Uniform entries with E|m|^2 = 1.
        bound = math.sqrt(3 / hp.embedding_dim)
        bank = torch.empty(hp.n_samples, hp.embedding_dim).uniform_(-bound, bound)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("bank_centers", None, persistent=False)
        self._seen: tuple[Tensor, Tensor] | None = None

    def forward(self, views: list[Tensor], index: Tensor) -> dict[str, Tensor]:
        """Terms ``instance`` and ``decorrelation`` of one view (B, *shape)."""
        hp = self.hp
        z = gather(self.encoder(views[0]))
        self._seen = index, z.detach()
        terms = {"instance": instance_discrimination(z, self.bank, index, hp.temperature)}
        if hp.decorrelation_weight:
            if hp.decorrelation == "softmax":
                fd = feature_decorrelation(z, hp.decorrelation_temperature)
            else:
                fd = feature_orthogonality(z)
            terms["decorrelation"] = hp.decorrelation_weight * fd
        return terms

    def on_step_end(self, run: Run) -> None:
        """Update the bank with what the step saw, computed by the weights before the step."""
        assert self._seen is not None  # a step has just been made
        update_bank(self.bank, *self._seen, momentum=self.hp.bank_momentum)
        self._seen = None

    def embed(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embedding_dim)."""
        return self.encoder(x)

    def scores(self, z: Tensor) -> Tensor:
        """Minus the squared distances to the centres, (B, n_clusters)."""
        square = (z * z).sum(1, keepdim=True) + (self.centers * self.centers).sum(1)
        return z @ (2 * self.centers).T - square

    def health(self, run: Run) -> Vitals:
        """Clusters of the bank's rows, which follow from the last epoch's."""
        self.bank_centers, labels, _ = kmeans(
            self.bank,
            self.hp.n_clusters,
            init=self.bank_centers,
            max_iter=10,
            generator=run.generator,
        )
        return Vitals(labels, feature_std(F.normalize(self.bank, dim=1)))

    def on_train_end(self, run: Run) -> None:
        """Euclidean k-means of the embedding."""
        centers, _, _ = kmeans(
            run.features(), self.hp.n_clusters, n_init=20, generator=run.generator
        )
        self.centers.copy_(centers)


@full_precision
def instance_discrimination(
    z: Tensor, bank: Tensor, index: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Cross-entropy of each sample against its own row among all rows of the bank.

    .. math::
        L_{ID} = -\frac1b \sum_i \log
            \frac{\exp(v_i^T m_i / \tau)}{\sum_{j=1}^n \exp(v_i^T m_j / \tau)}

    Parameters
    ----------
    z : Tensor of shape (B, d)
        Embeddings; normalised here to v.
    bank : Tensor of shape (n_samples, d)
        Memory bank m, used as given; takes no gradient.
    index : Tensor of shape (B,), int64
        Row of each sample in the bank.
    temperature : float, default=1.0
        Temperature tau.

    Returns
    -------
    Tensor, scalar

    Notes
    -----
    The softmax is full, over all n rows, but no more than a fixed number of logits is held
    at once, forward or backward.

    References
    ----------
    Tao et al. (2021), equations 2 and 3, with the bank in place of the current features and
    the mean in place of the sum.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.idfd import instance_discrimination
    >>> z, bank = torch.eye(3), torch.eye(3)
    >>> instance_discrimination(z, bank, torch.arange(3))  # log(1 + 2 / e)
    tensor(0.5514)
    """
    return _InstanceDiscrimination.apply(F.normalize(z, dim=1), bank, index, temperature)


class _InstanceDiscrimination(torch.autograd.Function):
    """A streaming softmax: keeps the expected row of the bank instead of the logits.

    dL/dv_i = (E_p[m] - m_i) / (b tau), so the backward pass needs no second sweep.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
        peak = v.new_full((len(v), 1), -torch.inf)
        total = v.new_zeros(len(v), 1)
        expected = torch.zeros_like(v)
        for rows in bank.split(max(1, _BUDGET // len(v))):
            logits = v @ rows.T / temperature
            highest = torch.maximum(peak, logits.amax(1, keepdim=True))
            decay, weights = (peak - highest).exp(), (logits - highest).exp_()
            total = total * decay + weights.sum(1, keepdim=True)
            expected = torch.addmm(expected * decay, weights, rows)
            peak = highest
        own = bank[index]
        ctx.save_for_backward((expected / total - own) / (temperature * len(v)))
        log_partition = (peak + total.log())[:, 0]
        return (log_partition - (v * own).sum(1) / temperature).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * grads[0], None, None, None


@full_precision
def feature_decorrelation(z: Tensor, temperature: float = 2.0) -> Tensor:
    r"""Cross-entropy of each dimension against itself among all dimensions.

    .. math::
        L_{FD} = -\frac1d \sum_l \log
            \frac{\exp(g_l^T g_l / \tau_2)}{\sum_{m=1}^d \exp(g_l^T g_m / \tau_2)}

    where g_l is the l-th column of the row-normalised batch, normalised over the batch.

    Parameters
    ----------
    z : Tensor of shape (B, d)
        Embeddings, not normalised.
    temperature : float, default=2.0
        Temperature tau_2.

    Returns
    -------
    Tensor, scalar
        Between 4.353 and 4.852 for d = 128 and tau_2 = 2.

    References
    ----------
    Tao et al. (2021), equations 5 to 7, with the mean in place of the sum.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.idfd import feature_decorrelation
    >>> feature_decorrelation(torch.eye(4))  # nothing in common: log(1 + 3 / sqrt(e))
    tensor(1.0366)
    >>> feature_decorrelation(torch.ones(4, 4))  # features that are all the same: log 4
    tensor(1.3863)
    """
    logits = _gram(z) / temperature
    return (logits.logsumexp(1) - logits.diagonal()).mean()


@full_precision
def feature_orthogonality(z: Tensor) -> Tensor:
    r"""Squared distance of the dimensions' Gram matrix to the identity (IDFO).

    .. math:: L_{FO} = \lVert G - I \rVert_F^2, \qquad G_{lm} = g_l^T g_m

    Parameters
    ----------
    z : Tensor of shape (B, d)
        Embeddings, not normalised.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    Tao et al. (2021), equation 4.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.idfd import feature_orthogonality
    >>> feature_orthogonality(torch.eye(4))
    tensor(0.)
    """
    gram = _gram(z)
    return (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().sum()


def _gram(z: Tensor) -> Tensor:
    """Cosines (d, d) between the columns of the row-normalised batch."""
    columns = F.normalize(F.normalize(z, dim=1), dim=0)
    return columns.T @ columns


@torch.no_grad()
def update_bank(bank: Tensor, index: Tensor, z: Tensor, momentum: float = 0.5) -> Tensor:
    """Move the rows of the bank towards the embeddings, on the unit sphere.

    Parameters
    ----------
    bank : Tensor of shape (n_samples, d)
        Changed in place: m_i becomes normalise(momentum m_i + (1 - momentum) v_i).
    index : Tensor of shape (B,), int64
        Rows to update, all different.
    z : Tensor of shape (B, d)
        Embeddings; normalised here to v.
    momentum : float, default=0.5
        Share of the old row.

    Returns
    -------
    Tensor
        `bank`.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.methods.idfd import update_bank
    >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> update_bank(bank, torch.tensor([0]), torch.tensor([[0.0, 5.0]]))
    tensor([[0.7071, 0.7071],
            [0.0000, 1.0000]])
    """
    v = F.normalize(z.to(bank.dtype), dim=1)
    bank[index] = F.normalize(torch.lerp(v, bank[index], momentum), dim=1)
    return bank
