"""The health of a training in words, and its curves."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from skdeepclust.engine.health import ADVICE, signs
from skdeepclust.inspection._quantities import quantities, words

_UNSETTLED = 0.05  # share of images that still change cluster at the end
_EPOCHS = 500  # points of a curve

_ASIDE = ("epoch", "seconds")


def verdict(estimator: Any, sizes: np.ndarray) -> list[dict[str, str]]:
    """Say whether a clustering looks sound.

    Parameters
    ----------
    estimator : fitted clusterer
        Those of this package tell of their training.
    sizes : ndarray of shape (n_clusters,), int
        Members of each cluster.

    Returns
    -------
    list of dict
        ``kind``, "warning" or "good", and ``text``: a sentence or two.
    """
    history = getattr(estimator, "history_", None) or []
    warnings = [
        *_collapse(estimator, history, sizes),
        *_emptiness(sizes),
        *_ending(estimator, history),
    ]
    if warnings:
        return [{"kind": "warning", "text": text} for text in warnings]
    largest = sizes.max() / max(1, sizes.sum())
    text = "No sign of collapse: every" if hasattr(estimator, "net_") else "Every"
    text += f" cluster has members, the largest {largest:.0%} of all."
    change = _change(history)
    if not math.isnan(change):
        text += f" In the last epoch {change:.1%} of the images changed cluster."
    text += " Whether these are the groups that you look for, only looking can tell."
    return [{"kind": "good", "text": text}]


def _collapse(estimator: Any, history: Sequence[dict[str, Any]], sizes: np.ndarray) -> list[str]:
    if not hasattr(estimator, "net_"):
        return []
    last = history[-1] if history else {}
    dim = estimator.cluster_centers_.shape[1]
    std, mixing = last.get("feature_std", 1.0), last.get("mixing", 1.0)
    found = signs(sizes / max(1, sizes.sum()), std, mixing, dim)
    return [ADVICE[kind] for kind, bad in found.items() if bad]


def _emptiness(sizes: np.ndarray) -> list[str]:
    empty = [str(k) for k in np.flatnonzero(sizes == 0)]
    if not empty:
        return []
    return [f"No image is in cluster {', '.join(empty)}: try a smaller n_clusters."]


def _ending(estimator: Any, history: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    if getattr(getattr(estimator, "net_", None), "interrupted", False):
        found.append(f"Training was interrupted after {len(history)} epochs.")
    change = _change(history)
    if change > _UNSETTLED:
        found.append(
            f"In the last epoch {change:.0%} of the images still changed cluster: they have not "
            "settled. Try more max_epochs."
        )
    return found


def _change(history: Sequence[dict[str, Any]]) -> float:
    """Share of images that changed cluster in the last epoch; NaN if nobody counted."""
    return float(history[-1].get("label_change", math.nan)) if history else math.nan


def curves(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arrange a history for drawing.

    Parameters
    ----------
    history : sequence of dict
        ``history_`` of an estimator.

    Returns
    -------
    list of dict
        ``name``, ``words`` and ``values``: one number an epoch, None where there is none. Loss
        and its terms come first; what was never measured is left out.
    """
    if not history:
        return []
    rows = [history[i] for i in _spread(len(history))]
    found = []
    for name in quantities(history):
        values = [_number(row.get(name)) for row in rows]
        if name not in _ASIDE and any(value is not None for value in values):
            found.append({"name": name, "words": words(name), "values": values})
    return found


def _spread(n_epochs: int) -> list[int]:
    return np.unique(np.linspace(0, n_epochs - 1, min(n_epochs, _EPOCHS)).astype(int)).tolist()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) else None
