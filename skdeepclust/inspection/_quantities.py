"""The quantities of a history: which there are, in what order, and what they tell."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

# In the order in which they follow the loss and its terms.
_WORDS = {
    "label_change": "share of images that changed cluster since the epoch before: should fall",
    "size_entropy": "1 when all clusters are of equal size, near 0 when one holds everything",
    "empty_clusters": "should be 0",
    "mixing": "near 0 when whole batches become clusters",
    "feature_std": "near 0 when all images are embedded alike",
    "lr": "learning rate",
    "images_per_second": "speed",
}
LAST = tuple(_WORDS)


def words(name: str) -> str:
    """What a quantity tells."""
    if name == "loss":
        return "what training lowers; a low one alone proves nothing"
    return _WORDS.get(name, "a term of the loss")


def quantities(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the numbers that a history holds: the losses, then health, then lr and speed."""
    found = {
        name
        for row in history
        for name, value in row.items()
        if isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    }
    names = dict.fromkeys(name for row in history for name in row if name in found)
    first = [name for name in names if name not in LAST]
    return first + [name for name in LAST if name in names]
