"""The vocabulary of a method: Objective, what the net trains (Learner), where it stands (Run)."""

from types import SimpleNamespace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skdeepclust.augment.views import Views
from skdeepclust.engine.device import laid_out, memory_format
from skdeepclust.engine.frozen import FrozenViews
from skdeepclust.engine.health import Vitals
from skdeepclust.engine.images import Images

__all__ = ["Learner", "Objective", "Run"]


class Run:
    """Where training stands; what the hooks of an objective may know.

    Parameters
    ----------
    images : Images
        Training samples.
    n_epochs, n_steps : int
        Epochs in all, steps per epoch.
    embed : callable
        ``embed(images) -> (n_samples, dim)`` eval-mode embedding of all samples.
    generator : torch.Generator
        On the device; for the objective's own random numbers.

    Attributes
    ----------
    epoch : int
        Epochs finished.
    step : int
        Steps finished, over all epochs.
    lr_share : float
        Factor on all learning rates, below 1 once training has diverged.
    """

    def __init__(
        self,
        images: Images,
        n_epochs: int,
        n_steps: int,
        embed: Any,
        generator: torch.Generator,
    ):
        self.images = images
        self.n_epochs = n_epochs
        self.n_steps = n_steps
        self.generator = generator
        self.epoch = 0
        self.step = 0
        self.lr_share = 1.0
        self._embed = embed
        self._features: tuple[int, Tensor] | None = None

    @property
    def progress(self) -> float:
        """Share of the training done, in [0, 1], by steps."""
        return self.step / max(1, self.n_epochs * self.n_steps)

    @property
    def telling(self) -> bool:
        """Whether features tell of success by now: a third of the training, 20 steps at least.

        Before that the running statistics of batch norms have hardly seen the data, and an
        eval-mode network maps everything to nearly the same point.
        """
        return self.step >= 20 and self.progress > 1 / 3

    def features(self) -> Tensor:
        """Eval-mode embedding (n_samples, dim) of all training samples, in order.

        Computed once per step, however many ask; in training in bfloat16 if its steps are, and in
        full precision when it ends.
        """
        if self._features is None or self._features[0] != self.step:
            self._features = (self.step, self._embed(self.images))
        return self._features[1]

    def forget_features(self) -> None:
        """Compute them afresh: the weights are others now."""
        self._features = None


class Objective(nn.Module):
    """A method: its networks, its state and its loss, as one module.

    Subclasses hold every tensor they need as a parameter or buffer, every number that changes
    in training as an attribute without underscore, so that checkpoints find them, and implement
    `forward`, `embed`, `health` and `on_train_end`; everything else has a default.

    Parameters
    ----------
    hp : SimpleNamespace
        The estimator's scalar parameters and ``n_samples``.

    Attributes
    ----------
    n_views : int
        Augmented views of each batch that `forward` receives.
    drop_last : bool
        Whether an epoch leaves out its last, smaller batch.
    stage : int
        Which of the method's stages it is, from 1.
    probability_temperature : float
        Temperature of the softmax that turns scores into ``predict_proba``.
    centers : Tensor of shape (n_clusters, embedding_dim)
        Buffer; set by `on_train_end`.
    """

    n_views: ClassVar[int] = 2
    drop_last: ClassVar[bool] = False
    stage: ClassVar[int] = 1
    probability_temperature: float = 0.1
    centers: Tensor

    def __init__(self, hp: SimpleNamespace):
        super().__init__()
        self.hp = hp
        self.register_buffer("centers", torch.zeros(hp.n_clusters, hp.embedding_dim))

    def forward(self, views: list[Tensor], index: Tensor) -> dict[str, Tensor]:
        """Named loss terms, already weighted; the engine sums and logs them."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward")

    def embed(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, embedding_dim): what is clustered; not yet normalised."""
        raise NotImplementedError(f"{type(self).__name__} must implement embed")

    def scores(self, z: Tensor) -> Tensor:
        """Normalised embedding (B, embedding_dim) -> (B, n_clusters), the higher the nearer."""
        return z @ F.normalize(self.centers, dim=1).T

    def probabilities(self, z: Tensor) -> Tensor:
        """Softmax of the scores (B, n_clusters), at `probability_temperature`."""
        return (self.scores(z) / self.probability_temperature).softmax(1)

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups.

        A group may carry ``lr_scale``, a factor on the scheduled learning rate, or
        ``fixed_lr``, a rate that no schedule touches.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def sampling_weights(self) -> Tensor | None:
        """Weights (n_samples,) to draw the coming epoch with, or None for a permutation."""
        return None

    def health(self, run: Run) -> Vitals:
        """Labels and spread of the features as training holds them.

        They must cost no pass over the images: history and collapse warnings ask for
        them after every epoch.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement health")

    @property
    def steady(self) -> bool:
        """Whether steps do alike by now; until then they are not compiled."""
        return True

    def on_epoch_begin(self, run: Run) -> None:
        """Prepare the epoch: pseudo-labels, frozen copies."""

    def on_step_end(self, run: Run) -> None:
        """After the optimizer's step: moving averages, banks."""

    def on_train_end(self, run: Run) -> None:
        """Set ``centers`` from the final features."""
        raise NotImplementedError(f"{type(self).__name__} must implement on_train_end")

    def reorder(self, order: Tensor) -> None:
        """Make cluster ``order[i]`` the new cluster i."""
        self.centers.copy_(self.centers[order])


class Learner(nn.Module):
    """Augmented views of a batch into the objective's loss; clean samples into embeddings.

    Parameters
    ----------
    views : Views or FrozenViews
        Augmentation and standardisation, with a frozen backbone also its features.
    objective : Objective
        The method.
    precision : torch.dtype or None
        What autocast computes in; None for no autocast.
    """

    def __init__(
        self, views: Views | FrozenViews, objective: Objective, precision: torch.dtype | None
    ):
        super().__init__()
        self.views = views
        self.objective = objective
        self.precision = precision
        self.memory_format = memory_format(objective)

    def forward(
        self,
        x: Tensor,
        index: Tensor,
        stretch: Tensor | None = None,
        views: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Loss terms of one training batch, whose views may be there already."""
        if views is None:
            views = [laid_out(view, self.memory_format) for view in self.views(x, stretch)]
        with torch.autocast(x.device.type, self.precision, enabled=self.precision is not None):
            return self.objective(views, index)

    def embed(self, x: Tensor, precision: torch.dtype | None = None) -> Tensor:
        """Unit-norm embedding (B, embedding_dim) of clean samples.

        Without autocast unless told: what a user sees must not depend on the hardware's fast
        types. (CUDA's convolutions take TF32 as ever, unless the user forbids it.)
        """
        x = laid_out(self.views.plain(x), self.memory_format)
        with torch.autocast(x.device.type, precision, enabled=precision is not None):
            z = self.objective.embed(x)
        return F.normalize(z.to(self.objective.centers.dtype), dim=1)
