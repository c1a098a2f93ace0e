"""A map of the embedding in two dimensions."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.utils import check_array, check_random_state

from skdeepclust.inspection._clusters import (
    FAINT,
    INK,
    UNASSIGNED,
    check_labels,
    color,
    embedded,
    image_shape_of,
    order_clusters,
    sample,
)
from skdeepclust.inspection._matplotlib import blank, new_axes
from skdeepclust.inspection._pictures import as_pictures, to_unit, value_range

TITLES = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}
_SIDE, _SIDE_OF_PICTURES = 5.0, 7.0  # inches
_EQUAL = 1e-12  # embeddings that differ by less are one
_SMALLEST = 1 / 25  # of the map: thumbnails that are nearer to each other show nothing


class EmbeddingDisplay:
    """Samples as points in the plane, coloured by cluster.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    positions : ndarray of shape (n_samples, 2)
        Where each sample lies on the map.
    labels : ndarray of shape (n_samples,)
        Cluster of each sample; negative is none, drawn in grey.
    clusters : list of int
        Clusters in order of their colours.
    method : {"tsne", "umap", "pca"}
        How the map was made.
    names : dict of int to str, default=None
        Class that a cluster stands for, where there is one; it is written at the median of
        the cluster's samples in place of the number.
    thumbnails : dict of int to ndarray, default=None
        Pictures with values in [0, 1], of shape (H, W) or (H, W, C), by the row of `positions`
        where each is drawn. They are as large as they can be without overlap.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the map.
    figure_ : matplotlib.figure.Figure or SubFigure
        Figure of the map.

    See Also
    --------
    ClusterGalleryDisplay : Members of each cluster.

    Notes
    -----
    A t-SNE map shows which samples are neighbours. Distances between far groups, and the
    sizes of groups, mean nothing in it, and little in a map of UMAP. UMAP is faster where samples
    are many, and needs ``pip install umap-learn``. PCA keeps distances as well as two axes can.

    Colours are ten that suit people with a colour vision deficiency, and repeat beyond.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepclust.inspection import EmbeddingDisplay
    >>> embedding = np.random.default_rng(0).normal(size=(60, 8))
    >>> embedding[:30] += 3
    >>> labels = np.repeat([0, 1], 30)
    >>> display = EmbeddingDisplay.from_predictions(embedding, labels, method="pca")
    >>> display.positions.shape
    (60, 2)
    """

    def __init__(
        self,
        positions: np.ndarray,
        labels: np.ndarray,
        *,
        clusters: list[int],
        method: str,
        names: dict[int, str] | None = None,
        thumbnails: dict[int, np.ndarray] | None = None,
    ):
        self.positions = positions
        self.labels = labels
        self.clusters = clusters
        self.method = method
        self.names = names
        self.thumbnails = thumbnails

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: ArrayLike | None = None,
        method: str = "tsne",
        thumbnails: int = 0,
        max_samples: int | None = 2000,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Map the embedding of an estimator.

        Parameters
        ----------
        estimator : fitted clusterer
            With ``transform`` and ``predict``.
        X : array-like, tensor, path, list of paths or Dataset
            Samples as the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            Class of each sample; clusters then bear the names of the matched classes.
        method : {"tsne", "umap", "pca"}, default="tsne"
            How to get to two dimensions; ``"umap"`` needs the package umap-learn.
        thumbnails : int, default=0
            Draw the images of so many samples at most, spread over the map.
        max_samples : int, default=2000
            Show a random sample of so many; None shows all.
        random_state : int, RandomState or None, default=0
            Seed of the sample, of t-SNE and of UMAP.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        EmbeddingDisplay
            The display, plotted.

        Raises
        ------
        ImportError
            If matplotlib or, for its method, umap-learn is not installed.
        ValueError
            If a parameter is unusable, or thumbnails are wanted of what are no images.
        """
        rows, labels = embedded(estimator, X)
        return cls.from_predictions(
            rows,
            labels,
            y=y,
            method=method,
            images=X if thumbnails else None,
            image_shape=image_shape_of(estimator, X),
            thumbnails=thumbnails,
            max_samples=max_samples,
            random_state=random_state,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        embedding: ArrayLike,
        labels: ArrayLike,
        *,
        y: ArrayLike | None = None,
        method: str = "tsne",
        images: Any = None,
        image_shape: tuple[int, int, int] | None = None,
        thumbnails: int = 0,
        max_samples: int | None = 2000,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Map a given embedding.

        Parameters
        ----------
        embedding : array-like of shape (n_samples, dim)
            Rows to map. Those that are not finite, as of skipped files, are left out.
        labels : array-like of int, of shape (n_samples,)
            Cluster of each row; negative is none.
        y : array-like of shape (n_samples,), default=None
            Class of each row; clusters then bear the names of the matched classes.
        method : {"tsne", "umap", "pca"}, default="tsne"
            How to get to two dimensions; ``"umap"`` needs the package umap-learn.
        images : array-like, tensor, path, list of paths or Dataset, default=None
            Images (n_samples, H, W), (n_samples, C, H, W) or (n_samples, H, W, C), for
            `thumbnails`.
        image_shape : (C, H, W), default=None
            Unflattens rows and settles the layout of 4-D input.
        thumbnails : int, default=0
            Draw the images of so many samples at most, spread over the map.
        max_samples : int, default=2000
            Show a random sample of so many; None shows all.
        random_state : int, RandomState or None, default=0
            Seed of the sample, of t-SNE and of UMAP.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        EmbeddingDisplay
            The display, plotted.

        Raises
        ------
        ImportError
            If matplotlib or, for its method, umap-learn is not installed.
        ValueError
            If a parameter is unusable, or thumbnails are wanted of what are no images.
        """
        if method not in TITLES:
            raise ValueError(f"method must be one of {sorted(TITLES)}, got {method!r}")
        rows = check_array(embedding, ensure_all_finite=False, input_name="embedding")
        labels = check_labels(labels, len(rows))
        pictures = _pictures(images, image_shape, thumbnails, len(rows))
        clusters, names = order_clusters(labels, y)
        rng = check_random_state(random_state)
        shown = sample(np.flatnonzero(np.isfinite(rows).all(axis=1)), max_samples, rng)
        positions = project(rows[shown], method, rng)
        display = cls(positions, labels[shown], clusters=clusters, method=method, names=names)
        if thumbnails:
            scale = value_range(pictures)
            display.thumbnails = {
                row: to_unit(pictures[shown[row]], *scale) for row in display._spread(thumbnails)
            }
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        EmbeddingDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            side = _SIDE_OF_PICTURES if self.thumbnails else _SIDE
            ax = new_axes(side, side)
        self.ax_, self.figure_ = ax, ax.figure
        self._draw_points()
        self._draw_thumbnails()
        for k, place in self._medians().items():
            self._write_name(k, place)
        blank(ax)
        ax.use_sticky_edges = False  # of images, which leave no margin
        ax.margins(0.03)
        ax.set_aspect("equal", adjustable="datalim")
        caption = f"{TITLES[self.method]} of the embedding, {len(self.positions):,} samples"
        ax.set_xlabel(caption, size=8, color=FAINT)
        return self

    def _medians(self) -> dict[int, np.ndarray]:
        """Where the names of clusters stand; not of those of which none was sampled."""
        members = {k: self.positions[self.labels == k] for k in self.clusters}
        return {k: np.median(rows, axis=0) for k, rows in members.items() if len(rows)}

    def _extent(self) -> float:
        """Longer side of the map."""
        return max(float(np.ptp(self.positions, axis=0).max()), float(np.finfo(np.float32).tiny))

    def _spread(self, n: int) -> list[int]:
        """Rows far from each other and from the names, each the farthest from those before."""
        nearest, chosen = np.full(len(self.positions), np.inf), list[int]()
        places = list(self._medians().values())
        while True:
            for place in places:
                nearest = np.minimum(nearest, _distances(self.positions, place))
            if len(chosen) == n or nearest.max() <= _SMALLEST * self._extent():
                return chosen
            chosen.append(int(nearest.argmax()))
            places = [self.positions[chosen[-1]]]

    def _draw_points(self) -> None:
        self.ax_.scatter(
            *self.positions.T,
            c=self._colors(),
            s=float(np.clip(8000 / len(self.positions), 3, 20)),
            alpha=0.75,
            linewidths=0,
            rasterized=True,  # a vector file of thousands of points is slow to open
        )

    def _colors(self) -> list[str]:
        colors = {k: color(position) for position, k in enumerate(self.clusters)}
        return [colors.get(int(k), UNASSIGNED) for k in self.labels]

    def _draw_thumbnails(self) -> None:
        if not self.thumbnails:
            return
        from matplotlib.patches import Rectangle

        rows, colors = list(self.thumbnails), self._colors()
        side = 0.9 * _closest(self.positions[rows], self._extent() / 8)
        for row, picture in self.thumbnails.items():
            height, width = np.array(picture.shape[:2]) * side / max(picture.shape[:2])
            x, y = self.positions[row] - (width / 2, height / 2)
            self.ax_.imshow(
                picture,
                extent=(x, x + width, y, y + height),
                cmap="gray",
                vmin=0,
                vmax=1,
                zorder=2,
            )
            frame: Any = {"fill": False, "edgecolor": colors[row], "linewidth": 1.5, "zorder": 2}
            self.ax_.add_patch(Rectangle((x, y), width, height, **frame))

    def _write_name(self, k: int, place: np.ndarray) -> None:
        from matplotlib.patheffects import withStroke

        self.ax_.text(
            *place,
            self.names.get(k, f"cluster {k}") if self.names else str(k),
            size=11,
            weight="bold",
            color=INK,
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=3, foreground="white")],
            parse_math=False,  # a class may be named anything
            zorder=4,
        )


def _pictures(
    images: Any, image_shape: tuple[int, int, int] | None, thumbnails: int, n_samples: int
) -> Any:
    """Validate the images that thumbnails are made of."""
    if thumbnails < 0:
        raise ValueError(f"thumbnails must be at least 0, got {thumbnails}")
    if not thumbnails:
        return None
    if images is None:
        raise ValueError(f"thumbnails={thumbnails} needs images")
    pictures = as_pictures(images, image_shape)
    if len(pictures) != n_samples:
        raise ValueError(f"images holds {len(pictures)} images, but there are {n_samples} labels")
    return pictures


def _distances(positions: np.ndarray, place: np.ndarray) -> np.ndarray:
    """From each position, by the larger of the two axes: less than a side is overlap."""
    return np.abs(positions - place).max(axis=1)


def _closest(places: np.ndarray, most: float) -> float:
    """Least distance of two places."""
    pairs = [_distances(places[i + 1 :], place) for i, place in enumerate(places[:-1])]
    return min([most, *(float(row.min()) for row in pairs)])


def project(rows: np.ndarray, method: str, rng: np.random.RandomState) -> np.ndarray:
    """Place rows in the plane.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, dim)
        Finite rows of the embedding.
    method : {"tsne", "umap", "pca"}
        How.
    rng : RandomState
        Of t-SNE and UMAP.

    Returns
    -------
    ndarray of shape (n_samples, 2)
        Zeros if all rows are equal.

    Raises
    ------
    ValueError
        If there are less than 2 rows.
    ImportError
        If umap-learn is asked for and not installed.
    """
    if len(rows) < 2:
        raise ValueError(f"a map needs at least 2 finite rows of the embedding, got {len(rows)}")
    if np.ptp(rows, axis=0).max() < _EQUAL:  # on which t-SNE crashes
        return np.zeros((len(rows), 2))
    if rows.shape[1] < 2:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    with config_context(transform_output="default"):  # not a frame
        return _PROJECTIONS[method](rows, rng)


def _tsne(rows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)
    return TSNE(perplexity=perplexity, random_state=rng).fit_transform(rows)


def _umap(rows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError("method='umap' needs umap-learn: pip install umap-learn") from error
    if len(rows) < 3:  # it takes two neighbours at least
        return _pca(rows, rng)
    n_neighbors = min(15, len(rows) - 1)
    # A few rows have too few eigenvectors. With a seed UMAP takes one thread, and warns if not
    # told so.
    init = "spectral" if len(rows) > 15 else "random"
    return UMAP(n_neighbors, init=init, random_state=rng, n_jobs=1).fit_transform(rows)


def _pca(rows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(n_components=2, random_state=rng).fit_transform(rows)


_PROJECTIONS = {"tsne": _tsne, "umap": _umap, "pca": _pca}
