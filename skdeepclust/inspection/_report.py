"""A page about a clustering: one HTML file that needs nothing else."""

import html
import importlib.resources
import json
import os
import re
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_random_state

from skdeepclust.engine.archive import replacing
from skdeepclust.inspection._clusters import (
    check_labels,
    image_shape_of,
    in_one_pass,
    innermost,
    predicted,
)
from skdeepclust.inspection._contents import (
    Contents,
    link_to,
    n_neighbors,
    neighbourhood,
    parameters,
    relative_names,
)
from skdeepclust.inspection._embedding import TITLES
from skdeepclust.inspection._gallery import scores_of
from skdeepclust.inspection._pictures import LazyPictures, as_pictures
from skdeepclust.inspection._thumbnails import make_sheets
from skdeepclust.inspection._verdict import curves, verdict

_SHEETS = 12 << 20  # bytes of all thumbnails: a page of 10,000 images stays below 20 MB
_SIDE = 192  # pixels of a thumbnail of a file, at most


class ClusterReport:
    """A page about a clustering: one HTML file to look through, with nothing to install.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    title : str
        Heading of the page.
    summary : str
        One sentence below it.
    content : dict
        What the page shows, of strings, numbers, lists and dicts.
    sheets : list of str
        Thumbnails: WebP in base64.
    root : str or None
        Folder of the image files, which the page links to.

    See Also
    --------
    ClusterGalleryDisplay : Members of each cluster, as a figure.
    EmbeddingDisplay : The map, as a figure.

    Notes
    -----
    The page holds the typical and borderline members of each cluster, all members with a search
    by name, each image's nearest neighbours, a map of the embedding to zoom into, the health of
    the training in words, its curves and all parameters; and with `y` the classes beside the
    clusters. It loads nothing, sends nothing, and holds thumbnails of at most `max_images` images.

    Examples
    --------
    >>> from skdeepclust import BackboneKMeans
    >>> from skdeepclust.datasets import load_digits_images
    >>> from skdeepclust.inspection import ClusterReport
    >>> images = load_digits_images().images[:200]
    >>> model = BackboneKMeans(10, backbone="identity", weights=None, random_state=0).fit(images)
    >>> report = ClusterReport.from_estimator(model, images, map_method="pca")
    >>> report.save("report.html")  # doctest: +SKIP
    """

    def __init__(
        self,
        title: str,
        *,
        summary: str,
        content: dict[str, Any],
        sheets: list[str],
        root: str | None = None,
    ):
        self.title = title
        self.summary = summary
        self.content = content
        self.sheets = sheets
        self.root = root

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: ArrayLike | None = None,
        title: str | None = None,
        max_images: int = 10_000,
        map_method: str = "tsne",
        random_state: int | np.random.RandomState | None = 0,
    ) -> Self:
        """Report on what an estimator makes of images.

        Parameters
        ----------
        estimator : fitted clusterer
            With ``transform``, and with ``predict_proba`` or ``predict`` alone; see
            `from_predictions`.
        X : array-like, tensor, path, list of paths or Dataset
            Images as the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            Class of each image, where it is known.
        title : str, default=None
            Heading; None names the method.
        max_images : int, default=10000
            Most images that the page shows; of more, a random sample beside the typical and
            borderline ones of each cluster.
        map_method : {"tsne", "pca", "umap"}, default="tsne"
            How the map is made; "umap" needs umap-learn.
        random_state : int, RandomState or None, default=0
            Seed of the sample and of the map.

        Returns
        -------
        ClusterReport

        Raises
        ------
        ValueError
            If X holds vectors, of which there is nothing to show, fewer than two images have a
            cluster, `max_images` is below 2, or `map_method` is unknown.
        ImportError
            If umap-learn, for its map, is not installed.
        """
        found = in_one_pass(estimator, X)
        rows, labels, proba = found or (estimator.transform(X), *predicted(estimator, X))
        report = cls.from_predictions(
            X,
            labels,
            embedding=rows,
            scores=None if proba is None else np.nan_to_num(proba),
            y=y,
            image_shape=image_shape_of(estimator, X),
            title=title or f"Clusters of {type(estimator).__name__}",
            max_images=max_images,
            map_method=map_method,
            random_state=random_state,
        )
        n_clusters = 0 if proba is None else proba.shape[1]
        sizes = np.bincount(labels[labels >= 0], minlength=n_clusters)
        trained = innermost(estimator)
        report.content["health"] = verdict(trained, sizes)
        report.content["curves"] = curves(getattr(trained, "history_", None) or [])
        report.content["parameters"] = parameters(estimator)
        return report

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        labels: ArrayLike,
        *,
        embedding: ArrayLike,
        scores: ArrayLike | None = None,
        y: ArrayLike | None = None,
        image_shape: tuple[int, int, int] | None = None,
        title: str | None = None,
        max_images: int = 10_000,
        map_method: str = "tsne",
        random_state: int | np.random.RandomState | None = 0,
    ) -> Self:
        """Report on given clusters.

        Parameters
        ----------
        X : array-like, tensor, path, list of paths or Dataset
            Images (n, H, W), (n, C, H, W) or (n, H, W, C), or rows with `image_shape`.
        labels : array-like of int, of shape (n_samples,)
            Cluster of each image; negative is none, such as of a file that cannot be read.
        embedding : array-like of shape (n_samples, dim)
            What neighbours and map are computed from.
        scores : array-like of shape (n_samples, n_clusters), default=None
            How well each image suits each cluster, such as ``predict_proba``; None takes minus
            the distance to the mean embedding of each cluster.
        y : array-like of shape (n_samples,), default=None
            Class of each image, where it is known.
        image_shape : (C, H, W), default=None
            Unflattens rows and settles the layout of 4-D input.
        title : str, default=None
            Heading; None is "Clusters".
        max_images : int, default=10000
            As of `from_estimator`.
        map_method : {"tsne", "pca", "umap"}, default="tsne"
            As of `from_estimator`.
        random_state : int, RandomState or None, default=0
            Seed of the sample and of the map.

        Returns
        -------
        ClusterReport

        Raises
        ------
        ValueError
            If the arguments do not fit together, X holds vectors, fewer than two images have a
            cluster, `max_images` is below 2, or `map_method` is unknown.
        ImportError
            If umap-learn, for its map, is not installed.
        """
        _check_options(max_images, map_method)
        pictures, root, names = _pictures(X, image_shape)
        labels = check_labels(labels, len(pictures))
        rows = check_array(embedding, ensure_all_finite=False, input_name="embedding")
        if len(rows) != len(labels):
            raise ValueError(f"embedding has {len(rows)} rows, but X holds {len(labels)} images")
        found = Contents(labels, scores_of(rows, labels) if scores is None else scores, y)
        rng = check_random_state(random_state)
        shown = found.choose(max_images, rng)
        if len(shown) < 2:
            raise ValueError("a report needs at least 2 images that have a cluster, got 1")
        if not np.isfinite(rows[shown]).all():
            raise ValueError("embedding must be finite wherever labels names a cluster")
        sheets = make_sheets(pictures, shown.tolist(), _SHEETS)
        content: dict[str, Any] = {
            "clusters": found.described(shown),
            "images": found.packed(shown)
            | neighbourhood(rows[shown], map_method, rng)
            | {"names": [names[i] for i in shown] if names else None},
            "neighbors": n_neighbors(len(shown)),
            "tile": [sheets.width, sheets.height],
            "columns": sheets.columns,
            "pixels": max(pictures.shape[1:3]) < sheets.width,
            "map": TITLES[map_method],
            "classes": found.classes,
            "confusion": found.confusion(),
            "health": [],
            "curves": [],
            "parameters": [],
            "skipped": [names[i] for i in np.flatnonzero(labels < 0)] if names else [],
        }
        title, summary = title or "Clusters", found.summary(len(shown))
        return cls(title, summary=summary, content=content, sheets=sheets.files, root=root)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page.

        Parameters
        ----------
        path : path
            Of the HTML file; what is there is replaced. Where the images are files, the page
            links to them relative to its own place.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If `path` is a folder.
        """
        with replacing(path) as file:
            page = self._page(link_to(self.root, Path(path).parent))
            file.write(page.encode("utf-8", "replace"))  # names may hold what is no text

    def _repr_html_(self) -> str:
        """The page inside a notebook."""
        page = html.escape(self._page(None), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:45rem;border:0"></iframe>'

    def _page(self, folder: str | None) -> str:
        data = json.dumps(self.content | {"folder": folder}, allow_nan=False)
        sheets = "\n".join(
            f'<script type="text/plain" class="sheet">{sheet}</script>' for sheet in self.sheets
        )
        parts = {
            "title": html.escape(self.title),
            "summary": html.escape(self.summary),
            "style": _part("report.css"),
            "script": _part("report.js"),
            "sheets": sheets,
            "report": data.replace("<", "\\u003c"),  # nothing in it can end the element
        }
        return re.sub("@([a-z]+)@", lambda found: parts[found[1]], _part("report.html"))


def _check_options(max_images: int, map_method: str) -> None:
    if max_images < 2:
        raise ValueError(f"max_images must be at least 2, got {max_images}")
    if map_method not in TITLES:
        raise ValueError(f"map_method must be one of {sorted(TITLES)}, got {map_method!r}")


def _pictures(
    X: Any, image_shape: tuple[int, int, int] | None
) -> tuple[np.ndarray | LazyPictures, str | None, list[str] | None]:
    """Pictures of thumbnail size, and of files their folder and their names in it."""
    pictures = as_pictures(X, image_shape)
    if not isinstance(pictures, LazyPictures):
        return pictures, None, None
    return pictures.with_side(_SIDE), *relative_names(pictures.lazy.names.tolist())


def _part(name: str) -> str:
    home = importlib.resources.files("skdeepclust.inspection") / "page"
    return (home / name).read_text(encoding="utf-8")
