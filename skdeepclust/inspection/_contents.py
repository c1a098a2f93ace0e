"""What a report knows of clusters, images and settings, as JSON takes it."""

import base64
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors

from skdeepclust.inspection._clusters import (
    color,
    confusion,
    encode_classes,
    order_clusters,
    sample,
)
from skdeepclust.inspection._embedding import project
from skdeepclust.inspection._gallery import check_scores, exemplars

_MEMBERS, _BORDERLINE = 10, 4
_NEIGHBORS = 8
_MEMORY = 64  # MiB of distances at a time
_MAPPED = 4000  # t-SNE of more takes minutes
_NONE = 0xFFFF
_CELLS = 40  # classes and clusters of the confusion matrix
_VALUE = 200  # characters of a parameter


class Contents:
    """Clusters in the order in which they are shown, and what is known of their members."""

    def __init__(self, labels: np.ndarray, scores: ArrayLike, y: ArrayLike | None):
        self.labels = labels
        self.scores = check_scores(scores, labels)
        self.clusters, self.names = order_clusters(labels, y)
        self.classes, self.codes = encode_classes([] if y is None else y)
        position = {k: i for i, k in enumerate(self.clusters)}
        self.position = np.array([position.get(k, _NONE) for k in range(self.scores.shape[1])])

    def choose(self, max_images: int, rng: np.random.RandomState) -> np.ndarray:
        """Indices of the images to show: those of the gallery first, then cluster by cluster."""
        n_members = min(_MEMBERS, max(1, max_images // (2 * len(self.clusters))))
        self.picked = {
            k: exemplars(self.scores, self.labels, k, n_members, min(_BORDERLINE, n_members))
            for k in self.clusters
        }
        first = np.concatenate([np.concatenate(both) for both in self.picked.values()])[:max_images]
        rest = np.setdiff1d(np.flatnonzero(self.labels >= 0), first)
        room = max_images - len(first)
        if len(rest) > room:
            rest = rng.choice(rest, room, replace=False)
        own = self.scores[rest, self.labels[rest]]
        return np.concatenate([first, rest[np.lexsort((-own, self.labels[rest]))]])

    def described(self, shown: np.ndarray) -> list[dict[str, Any]]:
        """Return each cluster with its name, size, colour and the positions of its gallery."""
        where = {int(i): position for position, i in enumerate(shown)}
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=len(self.position))
        return [
            {
                "label": k,
                "name": self.names.get(k),
                "size": int(sizes[k]),
                "color": color(position),
                "typical": [where[i] for i in self.picked[k][0].tolist() if i in where],
                "borderline": [where[i] for i in self.picked[k][1].tolist() if i in where],
            }
            for position, k in enumerate(self.clusters)
        ]

    def packed(self, shown: np.ndarray) -> dict[str, Any]:
        """Return what the page knows of each shown image, as binary arrays."""
        scores, labels = self.scores[shown].astype(np.float64), self.labels[shown]
        own = scores[np.arange(len(shown)), labels]
        scores[np.arange(len(shown)), labels] = -np.inf
        others = scores.max(axis=1)
        lead = own - np.where(np.isfinite(others), others, 0)
        other = np.where(np.isfinite(others), self.position[scores.argmax(axis=1)], _NONE)
        return {
            "index": _pack(shown, "u4"),
            "label": _pack(self.position[labels], "u2"),
            "other": _pack(other, "u2"),
            "own": _pack(own, "f4"),
            "lead": _pack(lead, "f4"),
            "classes": _pack(self.codes[shown], "u2") if self.classes else None,
        }

    def summary(self, n_shown: int) -> str:
        """Return in a sentence how many images, clusters and pictures there are."""
        count = int((self.labels >= 0).sum())
        part = f"; this page shows {n_shown:,} of them" if n_shown < count else ""
        return f"{count:,} images in {len(self.clusters):,} clusters{part}."

    def confusion(self) -> dict[str, Any] | None:
        """Return counts of classes (rows) in clusters (columns), and the scores in words."""
        if not self.classes:
            return None
        order, counts = confusion(self.codes, self.classes, self.labels, self.clusters, self.names)
        held = counts.any(axis=1)  # some may have but files that cannot be read
        rows, counts = np.asarray(order)[held], counts[held]
        kept = self.labels >= 0
        accuracy = np.trace(counts) / counts.sum()
        words = _scored(accuracy, self.codes[kept], self.labels[kept])
        if max(counts.shape) > _CELLS:
            words += f" The table shows {_CELLS} of {max(counts.shape)}."
        return {
            "rows": rows[:_CELLS].tolist(),
            "columns": list(range(min(_CELLS, len(self.clusters)))),
            "counts": counts[:_CELLS, :_CELLS].tolist(),
            "words": words,
        }


def _scored(accuracy: float, y: np.ndarray, labels: np.ndarray) -> str:
    return (
        f"Accuracy {accuracy:.3f} with each cluster matched to one class, "
        f"NMI {normalized_mutual_info_score(y, labels):.3f}, "
        f"ARI {adjusted_rand_score(y, labels):.3f}. "
        "The classes served to score, not to train. Click a number to see its images."
    )


# -- of the embedding -------------------------------------------------------------------------


def n_neighbors(n_shown: int) -> int:
    """Return how many neighbours the page tells of each image."""
    return min(_NEIGHBORS, n_shown - 1)


def neighbourhood(
    rows: np.ndarray, method: str, rng: np.random.RandomState
) -> dict[str, list[str]]:
    """Where images lie on the map, and which others are nearest.

    Parameters
    ----------
    rows : ndarray of shape (n_shown, dim)
        Embedding of the images on the page.
    method : str
        How the map is made.
    rng : RandomState
        Chooses which images are on the map, where they are many.

    Returns
    -------
    dict
        ``x`` and ``y``, and ``near`` (n_shown, n_neighbors) by position on the page.
    """
    index = NearestNeighbors(n_neighbors=n_neighbors(len(rows)), metric="cosine", algorithm="brute")
    with config_context(working_memory=_MEMORY):
        near = index.fit(rows).kneighbors(return_distance=False)
    mapped = sample(np.arange(len(rows)), _MAPPED, rng)
    places = project(rows[mapped], method, rng)
    low, high = places.min(axis=0), places.max(axis=0)
    scale = float((high - low).max()) or 1.0
    at = np.full((len(rows), 2), _NONE)
    at[mapped] = np.round((places - (low + high) / 2) / scale * (_NONE - 1) + (_NONE - 1) / 2)
    return {
        "x": _pack(at[:, 0], "u2"),
        "y": _pack(at[:, 1], "u2"),
        "near": _pack(near.ravel(), "u4"),
    }


def _pack(values: np.ndarray, kind: str) -> list[str]:
    """Return numbers as their little-endian bytes in base64, after the name of their type."""
    data = np.ascontiguousarray(values).astype(f"<{kind}").tobytes()
    return [kind, base64.b64encode(data).decode("ascii")]


# -- of files and settings --------------------------------------------------------------------


def relative_names(names: Sequence[str]) -> tuple[str | None, list[str]]:
    """Split the names of files into the folder of all and the rest, with forward slashes.

    Parameters
    ----------
    names : sequence of str
        Paths, or what stands for them.

    Returns
    -------
    folder : str or None
        None where the names are not those of files.
    names : list of str
    """
    if not any(map(os.path.lexists, names)):
        return None, [_text(name) for name in names]
    paths = [os.path.abspath(name) for name in names]
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # several drives
        return None, [_text(name) for name in names]
    return folder, [_text(Path(path).relative_to(folder).as_posix()) for path in paths]


def _text(name: str) -> str:
    """A file's name as a page can hold it: bytes that are no text become question marks."""
    return os.fsencode(name).decode("utf-8", "replace")


def link_to(folder: str | None, start: Path) -> str | None:
    """Return the beginning of links to the files of a folder, from the place of the page.

    Parameters
    ----------
    folder : str or None
        Of the files.
    start : Path
        Of the page.

    Returns
    -------
    str or None
        With a slash at its end; None where there is no way.
    """
    if folder is None:
        return None
    try:
        way = Path(os.path.relpath(folder, start.absolute())).as_posix()
    except ValueError:  # another drive
        return None
    return quote(os.fsencode(way)) + "/"


def parameters(estimator: Any) -> list[tuple[str, str, bool]]:
    """Return name and value of each parameter, and whether the value is not the default.

    Parameters
    ----------
    estimator : estimator
        Of scikit-learn's kind.

    Returns
    -------
    list of (str, str, bool)
    """
    defaults = inspect.signature(type(estimator)).parameters
    found = []
    for name, value in estimator.get_params(deep=False).items():
        text = " ".join(repr(value).split())
        own = name in defaults and repr(defaults[name].default) != repr(value)
        found.append((name, text[:_VALUE] + ("…" if len(text) > _VALUE else ""), own))
    return found
