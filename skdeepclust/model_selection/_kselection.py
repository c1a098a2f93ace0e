"""The number of clusters, from one trained representation."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import RandomState
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    adjusted_rand_score,
    davies_bouldin_score,
    pairwise_distances_argmin,
    silhouette_score,
)
from sklearn.utils import check_array, get_tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdeepclust._sklearn import Interval, StrOptions, TransformingClusterer, fit_context
from skdeepclust.engine.device import cpu_by_default
from skdeepclust.engine.isolation import draw_seed
from skdeepclust.engine.warn import warn_user
from skdeepclust.ops.kmeans import kmeans
from skdeepclust.ops.scale import unscaled
from skdeepclust.ops.silhouette import simplified_silhouette
from skdeepclust.ops.ward import merge_gaps, ward_heights

__all__ = ["KSelection"]

# The numbers to choose from when none are given.
_LEAST, _MOST = 2, 20
# Clusters that merging begins with: so many, and some for each that is asked for. 40 to 400
# found the same numbers on real images.
_CENTERS, _CENTERS_PER_CLUSTER, _LEAST_ROWS = 100, 5, 10
_HALVES = 5  # random halves of the samples whose clusters are compared, in pairs

# -- criteria -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Embedded:
    """Rows to cluster, and how."""

    rows: Tensor  # (n, dim)
    n_init: int
    max_samples: int
    seed: int

    def random(self) -> torch.Generator:
        return torch.Generator(self.rows.device).manual_seed(self.seed)

    def clustered(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Centres, labels and inertia; the same ones whenever asked for."""
        return kmeans(self.rows, k, n_init=self.n_init, generator=self.random())

    def some(self) -> Tensor:
        """Indices of `max_samples` rows, or of all."""
        if len(self.rows) <= self.max_samples:
            return torch.arange(len(self.rows), device=self.rows.device)
        order = torch.randperm(len(self.rows), generator=self.random(), device=self.rows.device)
        return order[: self.max_samples]


def _merge(embedded: _Embedded, ks: list[int]) -> list[float]:
    """Gaps between the heights of Ward's merges of many small clusters."""
    n = len(embedded.rows)
    wanted = max(_CENTERS, _CENTERS_PER_CLUSTER * ks[-1])
    m = min(n, max(ks[-1] + 1, min(wanted, n // _LEAST_ROWS)))
    centers, labels, _ = embedded.clustered(m)
    sizes = labels.bincount(minlength=m)
    heights = ward_heights(centers[sizes > 0], sizes[sizes > 0])
    # Centres without samples are of rows that are equal, which merge at height 0.
    gaps = merge_gaps(F.pad(heights, (0, m - 1 - len(heights))))
    return [float(gaps[k - 1]) for k in ks]


def _stability(embedded: _Embedded, ks: list[int]) -> list[float]:
    """Mean agreement, by ARI, of the clusters that random halves give to all rows."""
    rows, random, scores = embedded.rows, embedded.random(), []
    half, asked = max(ks[-1], len(rows) // 2), rows[embedded.some()].cpu().numpy()
    orders = [torch.rand(len(rows), generator=random, device=rows.device) for _ in range(_HALVES)]
    halves = [order.argsort()[:half] for order in orders]
    for k in ks:
        labels = []
        for part in halves:
            centers, *_ = kmeans(rows[part], k, n_init=embedded.n_init, generator=embedded.random())
            labels.append(_nearest(asked, centers.cpu().numpy()))
        pairs = [adjusted_rand_score(*pair) for pair in itertools.combinations(labels, 2)]
        # That all agree on a single cluster is no finding.
        scores.append(float(np.mean(pairs)) if any(map(np.any, labels)) else 0.0)
    return scores


_Curve = Callable[[_Embedded, list[int]], list[float]]


def _geometric(score: Callable[[Tensor, Tensor, Tensor], float], lowest: float) -> _Curve:
    """Curve of a score of (rows, centers, labels), `lowest` where not all clusters have rows."""

    def curve(embedded: _Embedded, ks: list[int]) -> list[float]:
        some, scores = embedded.some(), []
        for k in ks:
            centers, labels, _ = embedded.clustered(k)
            defined = len(labels.unique()) == k and 1 < len(labels[some].unique()) < len(some)
            clustered = embedded.rows[some], centers, labels[some]
            scores.append(float(score(*clustered)) if defined else lowest)
        return scores

    return curve


def _nearest(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Index of the nearest centre of each row, wherever they lie, see `unscaled`."""
    origin = centers.mean(0)
    return pairwise_distances_argmin(rows - origin, centers - origin)


def _silhouette(z: Tensor, centers: Tensor, labels: Tensor) -> float:
    return silhouette_score(unscaled(z.cpu().numpy()), labels.cpu().numpy())


def _davies_bouldin(z: Tensor, centers: Tensor, labels: Tensor) -> float:
    return -davies_bouldin_score(unscaled(z.cpu().numpy()), labels.cpu().numpy())


_CURVES: dict[str, _Curve] = {
    "merge": _merge,
    "silhouette": _geometric(_silhouette, -1.0),
    "simplified_silhouette": _geometric(simplified_silhouette, -1.0),  # type: ignore[arg-type]
    "davies_bouldin": _geometric(_davies_bouldin, float(np.finfo(np.float32).min)),
    "stability": _stability,
}

# -- the estimator ------------------------------------------------------------------------


class KSelection(MetaEstimatorMixin, TransformingClusterer):
    r"""Number of clusters, chosen without labels from one trained representation.

    The estimator is fitted once and embeds the samples once. k-means then clusters the
    embedding for each number of clusters k, and a criterion that needs no labels scores it;
    the k of the greatest score is taken.

    Parameters
    ----------
    estimator : estimator with `fit` and `transform`
        Where the representation comes from: a deep clusterer, another transformer or a
        pipeline. It is cloned, and trained with the number of clusters that it has, if any:
        a method whose training does not use it, such as
        :class:`~skdeepclust.IDFDClustering`, favours none. What is trained already is left as
        it is within scikit-learn's `FrozenEstimator`, for instance to compare criteria. To
        cluster X itself take scikit-learn's `FunctionTransformer`, not its `KMeans`, whose
        transform is the distances to its centres.
    n_clusters : iterable of int or int, default=None
        Numbers k to choose from, each at least 2 and less than the number of samples. None
        is 2 to 20, or as many as there are samples for. A single integer, also 1, leaves no
        choice.
    criterion : str, default="merge"
        What is greatest at the k that is taken:

        - ``"merge"``: the gap between the merges, from many small clusters down to one by
          Ward's rule, that lead to k clusters and that would lead on, see
          :func:`skdeepclust.ops.ward.merge_gaps`. A cluster counts by its size, so that a few
          odd samples are none;
        - ``"silhouette"``: the mean silhouette;
        - ``"simplified_silhouette"``: the same by distances to centres;
        - ``"davies_bouldin"``: minus the index of Davies and Bouldin;
        - ``"stability"``: how far k-means on random halves of the samples finds the same
          clusters, as mean adjusted Rand index of pairs.
    n_init : int, default=10
        Runs of each k-means, of which the best is kept.
    max_samples : int, default=10000
        Rows that the scores other than ``"merge"`` look at, drawn at random. k-means sees all.
    random_state : int, RandomState or None, default=None
        Seed of k-means and of what is drawn, not of the estimator, which has its own.

    Attributes
    ----------
    best_n_clusters_ : int
        The number chosen; the least one among equals.
    best_score_ : float
        Its score.
    scores_ : dict of int to float
        Score of each k, in ascending order of k. Greater is better for every criterion.
    n_clusters_range_ : ndarray of shape (n_candidates,), int64
        The numbers tried, ascending.
    estimator_ : estimator
        The fitted estimator. Its own `labels_` are of its own number of clusters.
    labels_ : ndarray of shape (n_samples,), int64
        Cluster of each sample by k-means with `best_n_clusters_`; -1 where the embedding is not
        finite, as of skipped files.
    cluster_centers_ : ndarray of shape (n_chosen, dim)
        Centres of these clusters in the embedding.
    n_features_in_, feature_names_in_
        Those of `estimator_`, where it has them.

    See Also
    --------
    skdeepclust.metrics.silhouette_scorer : Scores for searches that train anew for each k.

    Notes
    -----
    All criteria judge the representation's own geometry: they find the groups that it shows,
    which are those of a person's classes only as far as it brings them out. Groups within
    groups have several right numbers. Look at the whole of `scores_`.

    Beyond one fit, the cost is that of k-means, `n_init` runs for each k; ``"stability"`` takes
    five of them on half of the samples, ``"merge"`` one, with 100 centres, or five times the
    largest k if that is more, but at most one per ten samples. No n x n matrix is held.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.decomposition import PCA
    >>> from skdeepclust.model_selection import KSelection
    >>> X, y = make_blobs(500, n_features=20, centers=6, random_state=0)
    >>> selection = KSelection(PCA(8, random_state=0), n_clusters=range(2, 12), random_state=0)
    >>> selection.fit(X).best_n_clusters_
    6
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": "no_validation",
        "n_clusters": "no_validation",
        "criterion": [StrOptions(set(_CURVES))],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        n_clusters: Iterable[int] | int | None = None,
        *,
        criterion: str = "merge",
        n_init: int = 10,
        max_samples: int = 10_000,
        random_state: int | RandomState | None = None,
    ):
        self.estimator = estimator
        self.n_clusters = n_clusters
        self.criterion = criterion
        self.n_init = n_init
        self.max_samples = max_samples
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    @cpu_by_default
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the estimator, choose the number of clusters and cluster.

        Parameters
        ----------
        X : array-like
            Samples, as the estimator takes them.
        y : None
            Ignored: the choice reads no labels.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the estimator has no `transform`.
        ValueError
            If a parameter is unusable, before any training where the number of samples can be
            told, or fewer samples than clusters have a finite embedding.
        """
        if not hasattr(self.estimator, "transform"):
            name = type(self.estimator).__name__
            raise TypeError(f"estimator must have transform, which {name} has not")
        ks, n_samples = _numbers(self.n_clusters), _count(X)
        if n_samples is not None:
            _candidates(ks, n_samples)
        tasks = self._init_callback_context(max_subtasks=1)
        tasks.call_on_fit_task_begin(estimator=self, X=X, y=y)
        inner = clone(self.estimator)
        with tasks.subcontext("fit the estimator").propagate_callback_context(inner):
            self.estimator_ = inner.fit(X, None)  # FrozenEstimator insists on y
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):  # of a fit before
                delattr(self, name)
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        rows = self._embed(X)
        finite = rows[np.isfinite(rows).all(axis=1)]
        self._choose(finite, _candidates(ks, len(finite)))
        self.labels_ = self._assign(rows)
        tasks.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _choose(self, rows: np.ndarray, ks: list[int]) -> None:
        seed = draw_seed(self.random_state)
        z = torch.from_numpy(rows).to(_device(self.estimator_))
        embedded = _Embedded(z, int(self.n_init), int(self.max_samples), int(seed))
        self.n_clusters_range_ = np.array(ks)
        self.scores_ = dict(zip(ks, _CURVES[self.criterion](embedded, ks), strict=True))
        self.best_n_clusters_ = max(self.scores_, key=self.scores_.__getitem__)
        self.best_score_ = self.scores_[self.best_n_clusters_]
        self.cluster_centers_ = embedded.clustered(self.best_n_clusters_)[0].cpu().numpy()
        sizes = np.bincount(self._assign(rows), minlength=self.best_n_clusters_)
        if (sizes == 0).any():
            # Labels count from 0 without a gap.
            self.cluster_centers_ = self.cluster_centers_[np.argsort(sizes == 0, kind="stable")]
            message = f"{(sizes == 0).sum()} of {len(sizes)} clusters hold no sample"
            warn_user(f"{message}: too few distinct embeddings", ConvergenceWarning)

    def predict(self, X: Any) -> np.ndarray:
        """Assign each sample to the nearest of the chosen clusters.

        Parameters
        ----------
        X : array-like
            Samples, as the estimator takes them.

        Returns
        -------
        ndarray of shape (n_samples,), int64
            Cluster of each sample; -1 where its embedding is not finite.
        """
        check_is_fitted(self, "labels_")
        return self._assign(self._embed(X))

    def transform(self, X: Any) -> np.ndarray:
        """Embed each sample by the fitted estimator.

        Parameters
        ----------
        X : array-like
            Samples, as the estimator takes them.

        Returns
        -------
        ndarray of shape (n_samples, dim)
            The estimator's `transform`.
        """
        check_is_fitted(self, "labels_")
        return self._embed(X)

    @cpu_by_default
    def score(self, X: Any, y: Any = None) -> float:
        """Mean simplified silhouette of the samples under the chosen clusters.

        Parameters
        ----------
        X : array-like
            Samples, as the estimator takes them.
        y : None
            Ignored.

        Returns
        -------
        float
            A value in [-1, 1], whatever the criterion; samples whose embedding is not finite are
            left out.

        Raises
        ------
        ValueError
            If no sample has a finite embedding.
        """
        check_is_fitted(self, "labels_")
        rows = self._embed(X)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if not len(rows):
            raise ValueError("X holds no sample whose embedding is finite")
        centers = self.cluster_centers_
        parts = rows.astype(centers.dtype), centers, self._assign(rows), self.labels_
        return float(simplified_silhouette(*map(torch.from_numpy, parts)))

    def _embed(self, X: Any) -> np.ndarray:
        rows = check_array(
            self.estimator_.transform(X),
            ensure_all_finite=False,
            estimator=self.estimator_,
            input_name="the embedding",
        )
        # What is no floating number may be an integer that single precision does not hold.
        return rows.astype(np.float32 if rows.dtype in ("f2", "f4") else np.float64, copy=False)

    def _assign(self, rows: np.ndarray) -> np.ndarray:
        labels = np.full(len(rows), -1, dtype=np.int64)
        finite = np.isfinite(rows).all(axis=1)
        if finite.any():
            labels[finite] = _nearest(rows[finite], self.cluster_centers_)
        return labels

    @property
    def _n_features_out(self) -> int:
        return self.cluster_centers_.shape[1]

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        if inner.transformer_tags is not None:
            tags.transformer_tags = inner.transformer_tags
        return tags


def _numbers(n_clusters: Iterable[int] | int | None) -> list[int] | None:
    """Numbers that were asked for, ascending; None where the samples are to settle them."""
    if n_clusters is None:
        return None
    if np.iterable(n_clusters) and not isinstance(n_clusters, str):
        ks, least = list(n_clusters), _LEAST
    else:
        ks, least = [n_clusters], 1
    if not ks:
        raise ValueError("n_clusters is empty: there is nothing to choose from")
    whole = all(isinstance(k, Integral) and not isinstance(k, bool) for k in ks)
    if not whole or min(ks) < least:
        raise ValueError(f"n_clusters must be integers of at least {least}, got {n_clusters!r}")
    return sorted({int(k) for k in ks})


def _candidates(ks: list[int] | None, n_samples: int) -> list[int]:
    """Numbers to choose from for so many samples."""
    if ks is None:
        ks = list(range(_LEAST, min(_MOST, n_samples - 1) + 1))
    if not ks:
        raise ValueError(f"n_samples={n_samples} leaves n_clusters nothing to choose from")
    if ks[-1] >= n_samples:
        raise ValueError(f"n_clusters={ks[-1]} must be less than n_samples={n_samples}")
    return ks


def _count(X: Any) -> int | None:
    """Number of samples, if X tells it before it is read."""
    if getattr(X, "shape", ()):
        return int(X.shape[0])
    return len(X) if hasattr(X, "__len__") and not isinstance(X, str) else None


def _device(estimator: Any) -> torch.device:
    """Where a deep clusterer was trained; the CPU for others."""
    net = getattr(estimator, "net_", None)
    return torch.device(getattr(net, "device", "cpu"))
